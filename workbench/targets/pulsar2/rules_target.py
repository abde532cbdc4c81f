"""Rules on the chip, the kind of model, its sizes, and settings that need or exclude each other."""

from __future__ import annotations

import re

from workbench.catalog import did_you_mean
from workbench.targets.pulsar2 import chips
from workbench.targets.pulsar2.facts import Facts
from workbench.targets.pulsar2.rules_finding import Finding, Findings, warning
from workbench.targets.pulsar2.schema import BuildConfig, CompilerConfig, QuantConfig

OLDEST_OPSET = 11
_SHOWN = 80  # characters of what cannot be read
_TUNING = ("enable_adaround", "enable_lsq", "enable_brecq")
_FINETUNE = ("finetune_epochs", "finetune_block_size", "finetune_batch_size", "finetune_lr")
_SIZES = re.compile(r"[0-9]{1,9}(?:x[0-9]{1,9}){0,15}")


def npu_mode(config: BuildConfig) -> Findings:
    """A chip has only some of the NPU modes."""
    chip = chips.find(config.target_hardware)
    if config.npu_mode not in chip.npu_modes:
        yield Finding(("npu_mode",), f"{chip.name} has no {config.npu_mode}", f"use {' or '.join(chip.npu_modes)}")


def model_type(config: BuildConfig) -> Findings:
    """QDQ models are documented for two chips only."""
    chip = chips.find(config.target_hardware)
    if config.model_type == "QuantONNX" and not chip.quantonnx:
        able = " and ".join(one.name for one in chips.CHIPS if one.quantonnx)
        yield Finding(("model_type",), f"QuantONNX is not for {chip.name}, only for {able}", "use model_type ONNX")


def tuning_device(config: BuildConfig) -> Findings:
    """Adaptive rounding needs a CUDA GPU, and so does nothing else that is documented."""
    asked = [name for name in _TUNING if getattr(config.quant, name)]
    if asked and not config.quant.device.startswith("cuda"):
        what = f"{', '.join(asked)} needs a CUDA GPU, and device is {config.quant.device}"
        yield Finding(("quant", "device"), what, "write cuda:0 and start the tool where there is one (--gpus all)")


def without_effect(config: BuildConfig) -> Findings:
    """A setting of something that is switched off does nothing."""
    quant, compiler = config.quant, config.compiler
    asked = any(getattr(quant, name) for name in _TUNING)
    for names, on, switch in (
        (("precision_analysis_method", "precision_analysis_mode"), quant.precision_analysis, "precision_analysis"),
        (("smooth_quant_threshold", "smooth_quant_strength"), quant.enable_smooth_quant, "enable_smooth_quant"),
        (_FINETUNE, asked, f"one of {', '.join(_TUNING)}"),
    ):
        for name in names:
            if not on and _said(quant, name):
                yield warning(("quant", name), f"it has no effect without {switch}", f"set {switch}, or remove it")
    for name, level in (("check_rtol", 1), ("check_atol", 1), ("check_cosine_simularity", 3)):
        if compiler.check != level and _said(compiler, name):
            what = f"it has an effect with check {level} alone, and check is {compiler.check}"
            yield warning(("compiler", name), what, f"set compiler.check to {level}, or remove it")
    if compiler.check == 0 and _said(compiler, "check_mode"):
        yield warning(("compiler", "check_mode"), "it has no effect with check 0", "set compiler.check, or remove it")


def check_levels(config: BuildConfig) -> Findings:
    """There are two levels of the quantizer's check and four of the compiler's."""
    for at, value, most in (("quant", config.quant.check, 1), ("compiler", config.compiler.check, 3)):
        if not 0 <= value <= most:
            yield Finding((at, "check"), f"there is no check {value}", f"write 0 to {most}")


def batches(config: BuildConfig) -> Findings:
    """Static and dynamic batch sizes exclude each other; sizes are positive, each once."""
    compiler = config.compiler
    sizes = compiler.static_batch_sizes
    if sizes and compiler.max_dynamic_batch_size > 0:
        what = "static_batch_sizes and max_dynamic_batch_size exclude each other"
        yield Finding(("compiler", "max_dynamic_batch_size"), what, "keep one of the two")
    if compiler.max_dynamic_batch_size < 0:
        yield Finding(("compiler", "max_dynamic_batch_size"), "a batch is positive", "write 0 for none")
    for index, size in enumerate(sizes):
        if size < 1 or size in sizes[:index]:
            what = f"{size} is written twice" if size > 0 else f"a batch of {size}"
            yield Finding(("compiler", "static_batch_sizes", index), what, "write positive sizes, each once")


def sub_configs(config: BuildConfig) -> Findings:
    """A part that is compiled in its own way has a start, an end, and no parts of its own."""
    top = config.compiler
    if top.start_tensor_names or top.end_tensor_names:
        what = "start and end belong to an entry of sub_configs, not to the whole"
        yield Finding(("compiler", "start_tensor_names"), what, "move them there")
    for index, one in enumerate(top.sub_configs):
        at = ("compiler", "sub_configs", index)
        if not one.start_tensor_names or not one.end_tensor_names:
            what = "a part needs start_tensor_names and end_tensor_names"
            yield Finding(at, what, "write tensors of frontend/optimized_quant_axmodel.onnx")
        if one.sub_configs:
            yield Finding((*at, "sub_configs"), "a part has no parts of its own", "move them up beside it")


def constants_given(config: BuildConfig) -> Findings:
    """A constant is replaced by numbers or by a file, not by both."""
    for index, one in enumerate(config.const_processors):
        at = ("const_processors", index)
        if bool(one.data) == bool(one.data_path):
            what = "both data and data_path" if one.data else "neither data nor data_path"
            yield Finding(at, f"{what} replace {one.name!r}", "write one of the two")
        elif one.data_path and not one.data_path.endswith((".bin", ".npy", ".txt")):
            yield Finding((*at, "data_path"), f"{one.data_path!r} is no .bin, .npy or .txt file", "convert it")


def input_shapes(config: BuildConfig) -> Findings:
    """Shapes are written ``name:1x3x224x224``, several with semicolons, each input once."""
    names: set[str] = set()
    for part in config.input_shapes.split(";") if config.input_shapes else ():
        one = _input_shape(part)
        if one is None:
            fix = "write name:1x3x224x224, several with ; between them"
            yield Finding(("input_shapes",), f"{part[:_SHOWN]!r} is no name:shape", fix)
        elif one[0] in names or 0 in one[1]:
            what = f"{one[0]!r} is written twice" if one[0] in names else f"{part!r} has a size of zero"
            yield Finding(("input_shapes",), what, "write each input once, with positive sizes")
        names |= {one[0]} if one else set()


def qdq_model(config: BuildConfig, known: Facts) -> Findings:
    """QuantONNX is for a model in QDQ form, and ONNX for one that is not quantized yet."""
    if known.nodes is None:
        return
    if config.model_type == "QuantONNX" and not known.quantized:
        yield Finding(("model_type",), "the model has no QuantizeLinear: it is not in QDQ form", "use ONNX")
    if config.model_type == "ONNX" and known.quantized:
        what = "the model is quantized already (QuantizeLinear), and would be quantized again"
        yield warning(("model_type",), what, "use QuantONNX, or give the float model")


def opset(config: BuildConfig, known: Facts) -> Findings:  # noqa: ARG001 -- the signature of a rule
    """The tool takes opset 11 and later."""
    if 0 < known.opset < OLDEST_OPSET:
        fix = "export it anew, or use onnx.version_converter"
        yield Finding(("input",), f"the model has opset {known.opset}, the tool takes {OLDEST_OPSET} and later", fix)


def static_shapes(config: BuildConfig, known: Facts) -> Findings:
    """Every input has a static shape, in the model or by input_shapes, which names inputs of the model."""
    given = shapes_given(config)
    for name, shape in known.inputs.items():
        if name not in given and (0 in shape or not shape):
            what = f"input {name!r} has no static shape: {list(shape)} (0 is unknown)"
            yield Finding(("input_shapes",), what, f"write {name}:1x3x224x224 with its sizes, or export it static")
        elif name in given and shape and len(given[name]) != len(shape):
            what = f"{list(given[name])} for {name!r}, which has {len(shape)} axes"
            yield Finding(("input_shapes",), what, f"write {len(shape)} sizes")
        elif name in given and all(shape) and given[name] != shape:
            what = f"{name!r} is {list(shape)} in the model and becomes {list(given[name])}"
            fix = "calibration data must have the new size; is it meant?"
            yield warning(("input_shapes",), what, fix)
    for name in given:
        if name not in known.inputs:
            yield Finding(("input_shapes",), f"the model has no input {name!r}", did_you_mean(name, known.inputs))


def patched_nodes(config: BuildConfig, known: Facts) -> Findings:
    """Attributes are overridden on nodes that the model has, constants on constants of the same size."""
    for key, entries in (
        ("op_processors", config.op_processors),
        ("quant_op_processors", config.quant_op_processors),
    ):
        there = {node.name for node in known.nodes or () if node.name}
        for index, op in enumerate(entries):
            if known.nodes is not None and op.op_name not in there:
                what = f"the model has no node {op.op_name!r}"
                yield Finding((key, index, "op_name"), what, did_you_mean(op.op_name, there))
    for index, one in enumerate(config.const_processors):
        if known.nodes is not None and one.name not in known.constants:
            what = f"the model has no constant {one.name!r}"
            yield Finding(("const_processors", index, "name"), what, did_you_mean(one.name, known.constants))


def shapes_given(config: BuildConfig) -> dict[str, tuple[int, ...]]:
    """What ``input_shapes`` says, by input; parts that are no shape are left out."""
    return dict(one for part in config.input_shapes.split(";") if (one := _input_shape(part)))


def _input_shape(part: str) -> tuple[str, tuple[int, ...]] | None:
    """Name and sizes in ``name:1x3x224x224``; a name may have colons of its own."""
    name, _, sizes = (text.strip() for text in part.rpartition(":"))
    if not name or "," in name or not _SIZES.fullmatch(sizes):
        return None
    return name, tuple(map(int, sizes.split("x")))


def _said(message: QuantConfig | CompilerConfig, name: str) -> bool:
    return name in message.model_fields_set


RULES = (
    npu_mode,
    model_type,
    tuning_device,
    without_effect,
    check_levels,
    batches,
    sub_configs,
    constants_given,
    input_shapes,
)
MODEL_RULES = (qdq_model, opset, static_shapes, patched_nodes)
