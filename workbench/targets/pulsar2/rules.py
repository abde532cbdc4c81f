"""What must hold between the fields of a BuildConfig, and between it and the model, before the tool is started.

A rule is a function from the configuration (and the model's facts) to findings, each at the path of a field. Only what
is certain is a rule: Pulsar2 would fail late, or silently build something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError, RecipeErrors
from workbench.graph.io import not_deployable, read_proto
from workbench.recipe.complaints import dotted, placed
from workbench.recipe.yaml_marks import At, Marks
from workbench.targets.pulsar2 import chips
from workbench.targets.pulsar2.schema import BuildConfig

FP32_OPERATORS = ("LeakyRelu", "Sigmoid", "Relu", "Add", "Mul", "Div", "Sub", "Concat", "Softmax")
ARCHIVES = (".tar", ".tar.gz", ".zip")
YUV = ("YUV420SP", "YVU420SP", "YUYV422", "UYVY422")
EVERY = "DEFAULT"  # a tensor_name that stands for all inputs
_SMALLEST_STD = 0.05  # a divisor below it turns 0..255 pixels into thousands: it is a factor such as 1/255


@dataclass(frozen=True)
class Facts:
    """What the rules know of the model: name to shape, of its inputs and its outputs; a size not static is 0.

    Attributes:
        not_deployable: why the model must not be shipped; empty when nothing speaks against it.
        nodes: the names of its nodes, as they stand, empty and repeated ones included; None when nobody looked.
    """

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    not_deployable: str = ""
    nodes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """One mistake: the path of the field, what is wrong and the fix."""

    at: At
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{dotted(self.at)}: {self.what}"


def facts(model: Path) -> Facts:
    """Read the inputs, the outputs and the names of the nodes of an ONNX file.

    Raises:
        ToolError: the file cannot be read.
    """
    proto = read_proto(model)
    graph = proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    shapes = {
        value.name: tuple(int(size.dim_value) for size in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output)
    }
    return Facts(
        {value.name: shapes[value.name] for value in graph.input if value.name not in constants},
        {value.name: shapes[value.name] for value in graph.output},
        not_deployable(proto),
        tuple(node.name for node in graph.node),
    )


def check(config: BuildConfig, known: Facts | None = None) -> list[Finding]:
    """The findings of all `RULES`, and of all `MODEL_RULES` when the model's facts are `known`."""
    found = [finding for rule in RULES for finding in rule(config)]
    if known is not None:
        found += [finding for rule in MODEL_RULES for finding in rule(config, known)]
    return found


def enforce(config: BuildConfig, known: Facts | None, marks: Marks) -> None:
    """Raise RecipeErrors with every finding, each with the line that `marks` knows."""
    found = check(config, known)
    if found:
        raise RecipeErrors([placed(RecipeError(one.what, fix=one.fix), one.at, marks) for one in found])


def npu_mode(config: BuildConfig) -> Iterator[Finding]:
    """A chip has only some of the NPU modes."""
    chip = chips.find(config.target_hardware)
    if config.npu_mode not in chip.npu_modes:
        yield Finding(("npu_mode",), f"{chip.name} has no {config.npu_mode}", f"use {' or '.join(chip.npu_modes)}")


def model_type(config: BuildConfig) -> Iterator[Finding]:
    """QDQ models are documented for two chips only."""
    chip = chips.find(config.target_hardware)
    if config.model_type == "QuantONNX" and not chip.quantonnx:
        able = " and ".join(one.name for one in chips.CHIPS if one.quantonnx)
        yield Finding(("model_type",), f"QuantONNX is not for {chip.name}, only for {able}", "use model_type ONNX")


def calibration_archive(config: BuildConfig) -> Iterator[Finding]:
    """Calibration data comes in an archive."""
    for index, one in enumerate(config.quant.input_configs):
        if not one.calibration_dataset.endswith(ARCHIVES):
            yield Finding(
                ("quant", "input_configs", index, "calibration_dataset"),
                f"{one.calibration_dataset!r} is no {', '.join(ARCHIVES)} file",
                "pack the samples into a tar archive",
            )


def divisors(config: BuildConfig) -> Iterator[Finding]:
    """A std divides pixels: 255, not 1/255, which makes every output zero."""
    for at, _, (_, (key, values)) in _normalizations(config):
        if 0 in values:
            yield Finding((*at, key), "std is a divisor and cannot be zero", "write what pixels are divided by")
        elif any(abs(value) < _SMALLEST_STD for value in values):
            small = min(values, key=abs)
            yield Finding(
                (*at, key),
                f"std is a divisor, and {small:g} looks like a factor",
                f"write its inverse, {1 / small:g}, when pixels are multiplied by it",
            )


def pairs(config: BuildConfig) -> Iterator[Finding]:
    """Mean and std have as many values as each other."""
    for at, _, ((mean_key, mean), (std_key, std)) in _normalizations(config):
        if len(mean) != len(std):
            what = f"{len(std)} values, but {mean_key} has {len(mean)}"
            yield Finding((*at, std_key), what, "write one of each for every channel")


def color_conversion(config: BuildConfig) -> Iterator[Finding]:
    """YUV needs a conversion; RGB and BGR have none, whatever the formats promise."""
    for index, one in enumerate(config.input_processors):
        at = ("input_processors", index)
        if one.src_format in YUV and one.csc_mode == "NoCSC":
            what = f"{one.src_format} needs a colour conversion"
            yield Finding((*at, "csc_mode"), what, "use FullRange, LimitedRange or Matrix")
        if one.csc_mode == "Matrix" and len(one.csc_mat) != 12:
            what = f"{len(one.csc_mat)} numbers, a conversion matrix has 12"
            yield Finding((*at, "csc_mat"), what, "write three rows of four")
        if {one.src_format, one.tensor_format} == {"RGB", "BGR"}:
            yield Finding(
                (*at, "src_format"),
                f"Pulsar2 does not turn {one.src_format} into {one.tensor_format}: the network sees swapped colours",
                "write the same in both, and swap in the first convolution (the pass swap_input_channels)",
            )


def layer_selectors(config: BuildConfig) -> Iterator[Finding]:
    """A mixed-precision entry has exactly one selector."""
    for index, one in enumerate(config.quant.layer_configs):
        at = ("quant", "layer_configs", index)
        if bool(one.start_tensor_names) != bool(one.end_tensor_names):
            yield Finding(at, "start_tensor_names and end_tensor_names come together", "write both, or neither")
            continue
        selectors = {
            "layer_name": one.layer_name,
            "layer_names": one.layer_names,
            "op_type": one.op_type,
            "op_types": one.op_types,
            "start_tensor_names + end_tensor_names": one.start_tensor_names,
        }
        used = [name for name, value in selectors.items() if value]
        if len(used) != 1:
            found = f"{len(used)} selectors ({', '.join(used)})" if used else "no selector"
            yield Finding(at, f"{found}, an entry has exactly one", f"write one of {', '.join(selectors)}")


def float_operators(config: BuildConfig) -> Iterator[Finding]:
    """FP32 is silently ignored for all but nine operators."""
    for index, one in enumerate(config.quant.layer_configs):
        types = (one.op_type,) if one.op_type else one.op_types
        refused = [kind for kind in types if kind not in FP32_OPERATORS]
        if one.data_type == "FP32" and refused:
            able = f"only {', '.join(FP32_OPERATORS)} take it"
            yield Finding(
                ("quant", "layer_configs", index, "data_type"),
                f"FP32 is silently ignored for {', '.join(refused)}",
                "Conv takes output_data_type FP32 instead" if "Conv" in refused else able,
            )


def described_once(config: BuildConfig) -> Iterator[Finding]:
    """No tensor is described twice in one list."""
    for at, _, names in _named(config):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Finding((*at, index, "tensor_name"), f"{name!r} is described twice", "keep one of the two")


def tensor_names(config: BuildConfig, known: Facts) -> Iterator[Finding]:
    """Names are those of the model."""
    for at, kind, names in _named(config):
        there = known.inputs if kind == "input" else known.outputs
        for index, name in enumerate(names):
            if name != EVERY and name not in there:
                what = f"the model has no {kind} {name!r}"
                yield Finding((*at, index, "tensor_name"), what, did_you_mean(name, there))


def every_input_calibrated(config: BuildConfig, known: Facts) -> Iterator[Finding]:
    """A model that the tool quantizes needs data for each of its inputs."""
    given = [one.tensor_name for one in config.quant.input_configs]
    if config.model_type == "ONNX" and EVERY not in given:
        for name in known.inputs:
            if name not in given:
                yield Finding(("quant", "input_configs"), f"no calibration data for input {name!r}", "add an entry")


def channel_counts(config: BuildConfig, known: Facts) -> Iterator[Finding]:
    """Mean has one value for every channel of its tensor."""
    for at, name, ((key, mean), _) in _normalizations(config):
        shape = known.inputs.get(name, ())
        if mean and len(shape) == 4 and len(mean) != shape[1]:
            what = f"{len(mean)} values for the {shape[1]} channels of {name!r}"
            yield Finding((*at, key), what, "write one for every channel")


def layers_are_nodes(config: BuildConfig, known: Facts) -> Iterator[Finding]:
    """A layer is called by the name of exactly one node: of an unknown name Pulsar2 says nothing."""
    if known.nodes is None:
        return
    for index, one in enumerate(config.quant.layer_configs):
        singly = [(("layer_name",), one.layer_name)] if one.layer_name else []
        for at, name in [*singly, *((("layer_names", place), name) for place, name in enumerate(one.layer_names))]:
            count = known.nodes.count(name)
            if count != 1:
                what = f"{count} nodes of the model are called {name!r}" if count else f"the model has no node {name!r}"
                fix = "give them names of their own" if count else did_you_mean(name, filter(None, set(known.nodes)))
                yield Finding(("quant", "layer_configs", index, *at), what, fix)


def layers_once(config: BuildConfig) -> Iterator[Finding]:
    """No layer is configured twice."""
    seen: dict[str, int] = {}
    for index, one in enumerate(config.quant.layer_configs):
        for name in dict.fromkeys((one.layer_name, *one.layer_names)):
            if name in seen and name:
                what = f"layer {name!r} is also in entry {seen[name]}"
                yield Finding(("quant", "layer_configs", index), what, "keep one of the two")
            seen.setdefault(name, index)


def _named(config: BuildConfig) -> tuple[tuple[At, str, list[str]], ...]:
    """The lists that name tensors: where each stands, what it names, and the names."""
    return (
        (("quant", "input_configs"), "input", [one.tensor_name for one in config.quant.input_configs]),
        (("input_processors",), "input", [one.tensor_name for one in config.input_processors]),
        (("output_processors",), "output", [one.tensor_name for one in config.output_processors]),
    )


_Values = tuple[str, tuple[float, ...]]


def _normalizations(config: BuildConfig) -> Iterator[tuple[At, str, tuple[_Values, _Values]]]:
    """Each pair of mean and std: where it stands, its tensor, and both with their keys."""
    for index, data in enumerate(config.quant.input_configs):
        mean, std = ("calibration_mean", data.calibration_mean), ("calibration_std", data.calibration_std)
        yield ("quant", "input_configs", index), data.tensor_name, (mean, std)
    for index, one in enumerate(config.input_processors):
        yield ("input_processors", index), one.tensor_name, (("mean", one.mean), ("std", one.std))


RULES: tuple[Callable[[BuildConfig], Iterator[Finding]], ...] = (
    npu_mode,
    model_type,
    calibration_archive,
    divisors,
    pairs,
    color_conversion,
    layer_selectors,
    layers_once,
    float_operators,
    described_once,
)
MODEL_RULES: tuple[Callable[[BuildConfig, Facts], Iterator[Finding]], ...] = (
    tensor_names,
    every_input_calibrated,
    channel_counts,
    layers_are_nodes,
)
