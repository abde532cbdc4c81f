"""Rules on calibration: which data, how much of it, for which inputs."""

from __future__ import annotations

from workbench.targets.pulsar2.facts import Facts
from workbench.targets.pulsar2.rules_finding import EVERY, Finding, Findings, calibration_of, processor_of, warning
from workbench.targets.pulsar2.schema import BuildConfig

ARCHIVES = (".tar", ".tar.gz", ".zip")
_TUNED_ON = 128  # samples that the vendor names as the least for the tuning algorithms
_FLOATS = ("float32",)


def calibration_archive(config: BuildConfig) -> Findings:
    """Calibration data comes in an archive."""
    for index, one in enumerate(config.quant.input_configs):
        if not one.calibration_dataset.endswith(ARCHIVES):
            yield Finding(
                ("quant", "input_configs", index, "calibration_dataset"),
                f"{one.calibration_dataset!r} is no {', '.join(ARCHIVES)} file",
                "pack the samples into a tar archive",
            )


def calibration_size(config: BuildConfig) -> Findings:
    """At least one sample is used, -1 uses all; the tuning algorithms want many."""
    tuned = config.quant.enable_adaround or config.quant.enable_lsq or config.quant.enable_brecq
    for index, one in enumerate(config.quant.input_configs):
        at = ("quant", "input_configs", index, "calibration_size")
        size = one.calibration_size
        if size == 0 or size < -1:
            yield Finding(at, f"{size} samples are none", "write how many at most, or -1 for all")
        elif tuned and 0 < size < _TUNED_ON:
            what = f"{size} samples are few for the tuning that is switched on"
            yield warning(at, what, f"use {_TUNED_ON} to 512")


def numpy_objects(config: BuildConfig) -> Findings:
    """One NumpyObject holds all inputs, by name, so it is for all of them."""
    entries = config.quant.input_configs
    for index, one in enumerate(entries):
        if one.calibration_format == "NumpyObject" and len(entries) == 1 and one.tensor_name != EVERY:
            what = "a NumpyObject has an entry for every input"
            yield warning(("quant", "input_configs", index, "tensor_name"), what, f"write {EVERY}")


def every_input_calibrated(config: BuildConfig, known: Facts) -> Findings:
    """A model that the tool quantizes needs data for each of its inputs."""
    given = [one.tensor_name for one in config.quant.input_configs]
    if config.model_type == "ONNX" and EVERY not in given:
        for name in known.inputs:
            if name not in given:
                yield Finding(("quant", "input_configs"), f"no calibration data for input {name!r}", "add an entry")


def pictures_fit(config: BuildConfig, known: Facts) -> Findings:
    """Pictures calibrate inputs that are pictures: four axes, one or three channels."""
    for name, shape in known.inputs.items():
        found = calibration_of(config, name)
        if found is None or found[1].calibration_format != "Image" or not shape:
            continue
        at = ("quant", "input_configs", found[0], "calibration_format")
        processor = processor_of(config, name)
        nhwc = processor is not None and processor[1].tensor_layout == "NHWC"
        if len(shape) != 4:
            what = f"Image is for inputs of four axes, {name!r} has {len(shape)}"
            yield Finding(at, what, "use Numpy or Binary, with the tensors themselves")
        elif shape[3 if nhwc else 1] not in (0, 1, 3):
            what = f"Image has 1 or 3 channels, {name!r} {list(shape)} has {shape[3 if nhwc else 1]}"
            yield Finding(at, what, "use Numpy or Binary, or correct tensor_layout")


def float_inputs(config: BuildConfig, known: Facts) -> Findings:
    """What pictures become is float32, so the model's input has to be."""
    for name, dtype in known.dtypes.items():
        found = calibration_of(config, name)
        if found is not None and found[1].calibration_format == "Image" and dtype not in _FLOATS:
            at = ("quant", "input_configs", found[0], "calibration_format")
            what = f"pictures become float32, and the model's input {name!r} is {dtype or 'of another type'}"
            yield Finding(at, what, "use Numpy with that type, or a model that takes float32")


RULES = (calibration_archive, calibration_size, numpy_objects)
MODEL_RULES = (every_input_calibrated, pictures_fit, float_inputs)
