"""Weights on the 8-bit grid of their channel come out of other quantizers as the very integers they were made from."""

import numpy as np
import onnx
import pytest
from _lite import SIZE, network, pictures, rand, target_job
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from workbench.calib.feeds import feeds
from workbench.quant.scheme import weight_scales
from workbench.targets.tflite import build
from workbench.targets.tflite.integers import weights

SAME = {"pads": [1, 1, 1, 1]}


def integers(*shape, seed=0, full=True):
    """Random integers -127..127; every channel (axis 0) holds an end of them when `full`."""
    found = np.random.default_rng([seed, *shape]).integers(-127, 128, shape)
    if full:
        rows = found.reshape(shape[0], -1)
        rows[:, 0] = np.where(np.arange(shape[0]) % 2, 127, -127)
    return found.astype(np.int8)


def on_grid(whole, peaks):
    """Float weights with these integers and these largest magnitudes a channel."""
    scales = (np.asarray(peaks, np.float32) / np.float32(127)).reshape(-1, *[1] * (whole.ndim - 1))
    return (whole.astype(np.float32) * scales).astype(np.float32)


def graph(plain, depthwise, last, peaks, bias):
    """Conv, depthwise Conv and 1x1 Conv, as pose networks have them, with these integers as weights."""
    return network(
        [
            ("Conv", [SIZE, on_grid(plain, peaks[0]), bias], ["c"], SAME),
            ("Relu", ["c"], ["r"], {}),
            ("Conv", ["r", on_grid(depthwise, peaks[1]), bias], ["d"], {"group": 8, **SAME}),
            ("Clip", ["d", np.float32(0), np.float32(6)], ["e"], {}),
            ("Conv", ["e", on_grid(last, peaks[2])], ["heat"], {}),
        ]
    )


MADE = integers(8, 3, 3, 3), integers(8, 1, 3, 3), integers(5, 8, 1, 1)
PEAKS = [np.geomspace(0.003, 40, 8), np.geomspace(0.5, 9, 8)[::-1], np.array([1e-3, 0.1, 0.7, 3.3, 11])]


def to_onnx(found):
    """The integers in ONNX's order of axes."""
    return found.values.transpose((0, 3, 1, 2) if found.axis == 0 else (3, 0, 1, 2))


@pytest.mark.parametrize("variant", ["int8", "int16x8"])
def test_tensorflow_keeps_integers(variant, tmp_path):
    """TensorFlow's quantizers find the integers and the scales of Conv, depthwise Conv and 1x1 Conv again, by name."""
    build(target_job(graph(*MADE, PEAKS, rand(8)), tmp_path, variant))

    found = weights((tmp_path / f"net.{variant}.tflite").read_bytes())

    assert [found[name].operator for name in ("r", "e", "heat")] == ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    for name, whole, peaks in zip(("r", "e", "heat"), MADE, PEAKS, strict=True):
        np.testing.assert_array_equal(to_onnx(found[name]), whole, err_msg=name)
        np.testing.assert_allclose(found[name].scales, peaks / 127, rtol=1e-6)
        np.testing.assert_array_equal(np.abs(found[name].rows.reshape(len(whole), -1)).max(axis=1), 127)


def test_onnxruntime_keeps_integers(tmp_path):
    """The static quantizer of onnxruntime finds the same integers."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.left = feeds(pictures(tmp_path), target_job(model, tmp_path, "int8").inputs)

        def get_next(self):
            return next(self.left, None)

    model = graph(*MADE, PEAKS, rand(8))
    (tmp_path / "float.onnx").write_bytes(model.SerializeToString())
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "quantized.onnx",
        Samples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )

    made = onnx.load(tmp_path / "quantized.onnx").graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.initializer}
    producers = {output: node for node in made.node for output in node.output}
    convolutions = [node for node in made.node if node.op_type == "Conv"]
    assert len(convolutions) == 3
    for node, whole in zip(convolutions, MADE, strict=True):
        np.testing.assert_array_equal(constants[producers[node.input[1]].input[0]], whole)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(peaks=st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=8), seed=st.integers(0, 1000))
def test_integers_survive_any_scale(peaks, seed, tmp_path):
    """Whatever the scales, float32 rounding of integer * scale does not move an integer."""
    plain, depthwise = integers(8, 3, 3, 3, seed=seed), integers(8, 1, 3, 3, seed=seed)
    model = network(
        [
            ("Conv", [SIZE, on_grid(plain, peaks)], ["c"], SAME),
            ("Conv", ["c", on_grid(depthwise, peaks)], ["heat"], {"group": 8, **SAME}),
        ]
    )
    build(target_job(model, tmp_path, "int8"))

    found = weights((tmp_path / "net.int8.tflite").read_bytes())

    np.testing.assert_array_equal(to_onnx(found["c"]), plain)
    np.testing.assert_array_equal(to_onnx(found["heat"]), depthwise)


def test_dead_channels_stay_dead(tmp_path):
    """A channel of zeros has zeros as integers, and a scale that is a number."""
    whole = integers(8, 3, 3, 3)
    whole[3] = 0
    peaks = np.where(np.arange(8) == 3, 0, 2.0)
    build(target_job(network([("Conv", [SIZE, on_grid(whole, peaks), rand(8)], ["heat"], SAME)]), tmp_path, "int8"))

    (found,) = weights((tmp_path / "net.int8.tflite").read_bytes()).values()

    np.testing.assert_array_equal(to_onnx(found), whole)
    assert np.isfinite(found.scales).all()


def test_tiny_weights_under_a_large_bias_follow_the_scheme(tmp_path):
    """Where the 32-bit bias would not fit, TensorFlow raises the weight's scale to the one our scheme chooses."""
    whole = integers(4, 3, 1, 1)
    values = on_grid(whole, [1e-9, 1, 1, 1])
    bias = np.float32([500, 1, 1, 1])
    build(target_job(network([("Conv", [SIZE, values, bias], ["heat"], {})]), tmp_path, "int8", io="integer"))

    (found,) = weights((tmp_path / "net.int8.tflite").read_bytes()).values()

    step = (255 / 64) / 255  # pixels 0..255 less 128, through 64
    expected = weight_scales(values, 0, input_scale=step, bias=bias)
    np.testing.assert_allclose(found.scales, expected, rtol=1e-2)
    np.testing.assert_array_equal(to_onnx(found)[1:], whole[1:])
