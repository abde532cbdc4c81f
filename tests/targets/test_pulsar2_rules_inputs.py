"""Rules on inputs and outputs: each mistake gives one finding, at the path of its field, with its fix."""

from __future__ import annotations

import pytest
from _build_config import FACTS, calibrated, config, finds, processed, quant, told

from workbench.targets.pulsar2.facts import Facts

YUV = {"src_format": "YUV420SP", "src_layout": "NHWC"}
AT = "input_processors[0]"


@pytest.mark.parametrize(
    ("made", "level", "finding", "fix"),
    [
        (
            quant(input_configs=[calibrated(calibration_std=[1, 0, 1])]),
            "error",
            "quant.input_configs[0].calibration_std: std is a divisor and cannot be zero",
            "divided by",
        ),
        (
            quant(input_configs=[calibrated(calibration_mean=[0] * 3, calibration_std=[1 / 255] * 3)]),
            "error",
            "quant.input_configs[0].calibration_std: std is a divisor, and 0.00392157 looks like a factor",
            "write its inverse, 255",
        ),
        (
            quant(input_configs=[calibrated(calibration_std=[255.0])]),
            "error",
            "quant.input_configs[0].calibration_std: 1 values, but calibration_mean has 3",
            "every channel",
        ),
        (
            config(input_processors=[processed(src_dtype="FP32", std=[1.0] * 3, mean=[])]),
            "error",
            f"{AT}.mean: left empty it is calibration_mean",
            "write [0, 0, 0]",
        ),
        (
            config(input_processors=[processed(mean=[0] * 3, std=[255] * 3)]),
            "error",
            f"{AT}.mean: [0.0, 0.0, 0.0], but the pictures were calibrated with [1.0, 2.0, 3.0]",
            "the same in both",
        ),
        (
            config(input_processors=[processed(**YUV)]),
            "error",
            f"{AT}.csc_mode: YUV420SP needs a colour conversion",
            "FullRange, LimitedRange or Matrix",
        ),
        (
            config(input_processors=[processed(csc_mode="FullRange")]),
            "error",
            f"{AT}.csc_mode: FullRange converts YUV, and src_format is BGR",
            "NoCSC",
        ),
        (
            config(input_processors=[processed(**YUV, csc_mode="FullRange", src_dtype="S8")]),
            "error",
            f"{AT}.src_dtype: YUV420SP is made of bytes, not of S8",
            "U8",
        ),
        (
            config(input_processors=[processed(**YUV, csc_mode="FullRange", tensor_format="GRAY")]),
            "error",
            f"{AT}.tensor_format: a YUV input becomes RGB or BGR",
            "GRAY",
        ),
        (
            config(input_processors=[processed(**YUV, csc_mode="Matrix", csc_mat=[1.0] * 9)]),
            "error",
            f"{AT}.csc_mat: 9 numbers, a conversion matrix has 12",
            "three rows of four",
        ),
        (
            config(input_processors=[processed(**YUV, csc_mode="Matrix", csc_mat=[1.0] * 11 + [-276.8])]),
            "error",
            f"{AT}.csc_mat[11]: -276.8 is not between -9 and 8",
            "bias",
        ),
        (
            config(input_processors=[processed(**YUV, csc_mode="LimitedRange", csc_mat=[1.0] * 12)]),
            "warning",
            f"{AT}.csc_mat: it has no effect with csc_mode LimitedRange",
            "Matrix",
        ),
        (
            config(input_processors=[processed(src_format="RGB")]),
            "error",
            f"{AT}.src_format: Pulsar2 does not turn RGB into BGR",
            "swap_input_channels",
        ),
        (
            config(input_processors=[processed(src_dtype="FP32", src_layout="NHWC", mean=[0] * 3, std=[1] * 3)]),
            "warning",
            f"{AT}.src_layout: a float input is passed through, yet turned from NHWC into NCHW",
            "NCHW",
        ),
        (
            config(input_processors=[processed(padding_mode="reflect")]),
            "error",
            f"{AT}.padding_mode: 'reflect' is not offered",
            "constant",
        ),
        (
            config(input_processors=[processed(padding=[0, 0, 1])]),
            "error",
            f"{AT}.padding: 3 numbers",
            "every axis",
        ),
        (
            config(
                input_processors=[processed(src_extra_shapes=[{"shape": [1, 3, 4, 4]}]), processed(tensor_name="other")]
            ),
            "error",
            "input_processors[1].src_extra_shapes: 0 extra shapes, another input has 1",
            "as many",
        ),
        (
            config(input_processors=[processed(), processed()]),
            "error",
            "input_processors[1].tensor_name: 'image' is described twice",
            "keep one",
        ),
        (
            quant(input_configs=[calibrated(), calibrated()]),
            "error",
            "quant.input_configs[1].tensor_name: 'image' is described twice",
            "keep one",
        ),
    ],
)
def test_a_broken_rule_is_the_only_finding(made, level, finding, fix):
    """Each mistake gives one finding without any model."""
    finds(made, None, level, finding, fix)


def test_a_float_input_is_not_normalized_unasked():
    """Empty mean and std are the calibration's: for a float input both have to be written out."""
    found = told(config(input_processors=[processed(src_dtype="FP32")]), FACTS)
    assert [(level, text.split(",")[0]) for level, text, _ in found] == [
        ("error", f"{AT}.mean: left empty it is calibration_mean"),
        ("error", f"{AT}.std: left empty it is calibration_std"),
    ]
    assert "write [0, 0, 0] to embed nothing" in found[0][2]
    assert "write [1, 1, 1] to embed nothing" in found[1][2]


def test_one_processor_for_all_inputs_is_held_against_the_data():
    """DEFAULT meets the entry of a named input, too."""
    made = config(input_processors=[processed(tensor_name="DEFAULT", mean=[0] * 3, std=[255] * 3)])
    finds(made, FACTS, "error", f"{AT}.mean: [0.0, 0.0, 0.0], but", "same")


@pytest.mark.parametrize(
    ("made", "finding", "fix"),
    [
        (
            config(input_processors=[processed(tensor_name="imgae")]),
            f"{AT}.tensor_name: the model has no input 'imgae'",
            "did you mean 'image'?",
        ),
        (
            config(output_processors=[{"tensor_name": "hat"}]),
            "output_processors[0].tensor_name: the model has no output 'hat'",
            "did you mean 'heat'?",
        ),
        (
            config(output_processors=[{"tensor_name": "heat", "dst_perm": [0, 2, 3]}]),
            "output_processors[0].dst_perm: [0, 2, 3] is no order of the 4 axes of 'heat'",
            "0, 1, 2, 3",
        ),
        (
            quant(input_configs=[calibrated(calibration_mean=[1.0], calibration_std=[2.0])]),
            "quant.input_configs[0].calibration_mean: 1 values for the 3 channels of 'image'",
            "every channel",
        ),
        (
            config(input_processors=[processed(tensor_format="GRAY", src_format="GRAY")]),
            f"{AT}.tensor_format: channels: GRAY has 1, but 'image' [1, 3, 8, 8] read as NCHW 3",
            "channels",
        ),
        (
            config(input_processors=[processed(src_extra_shapes=[{"shape": [3, 4, 4]}])]),
            f"{AT}.src_extra_shapes[0].shape: [3, 4, 4] for an input of 4 axes",
            "4 sizes",
        ),
    ],
)
def test_a_contradiction_to_the_model(made, finding, fix):
    """What the model lacks is found when the model is known."""
    finds(made, FACTS, "error", finding, fix)


def test_a_wrong_layout_is_told_apart_from_a_wrong_format():
    """Where the channels would fit in the other layout, that is the fix."""
    known = Facts({"image": (1, 8, 8, 3)}, {})
    made = quant(input_configs=[calibrated(calibration_format="Numpy", calibration_mean=[], calibration_std=[])])
    finds(made, known, "error", f"{AT}.tensor_layout: channels: BGR has 3", "write NHWC")


@pytest.mark.parametrize(("shape", "wide", "high"), [((1, 3, 7, 8), 8, 7), ((1, 3, 8, 7), 7, 8)])
def test_yuv_needs_an_even_size(shape, wide, high):
    """One pair of chroma is for two by two pixels."""
    made = config(input_processors=[processed(**YUV, csc_mode="FullRange")])
    what = f"{AT}.src_format: YUV420SP needs an even size, 'image' is {wide} wide and {high} high"
    finds(made, Facts({"image": shape}, {}), "error", what, "another size")
