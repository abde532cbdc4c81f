"""Rules on what goes in and comes out: names, normalization, colours, layouts, sizes."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.catalog import did_you_mean
from workbench.recipe.yaml_marks import At
from workbench.targets.pulsar2.facts import Facts
from workbench.targets.pulsar2.rules_finding import EVERY, Finding, Findings, calibration_of, processor_of, warning
from workbench.targets.pulsar2.schema import BuildConfig

YUV = ("YUV420SP", "YVU420SP", "YUYV422", "UYVY422")
_SMALLEST_STD = 0.05  # a divisor below it turns 0..255 pixels into thousands: it is a factor such as 1/255
_BIAS = (-9, 8)  # bounds of the three last columns of a csc_mat, and of the others (vendor's page of the field, 7.0)
_FACTOR = (-524289, 524288)


def divisors(config: BuildConfig) -> Findings:
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


def pairs(config: BuildConfig) -> Findings:
    """Mean and std have as many values as each other."""
    for at, _, ((mean_key, mean), (std_key, std)) in _normalizations(config):
        filled = at[0] == "input_processors" and not (mean and std)  # what is empty there is the calibration's
        if len(mean) != len(std) and not filled:
            what = f"{len(std)} values, but {mean_key} has {len(mean)}"
            yield Finding((*at, std_key), what, "write one of each for every channel")


def silent_normalization(config: BuildConfig) -> Findings:
    """Mean and std left empty are the calibration's: a float input is then normalized on the chip, unasked."""
    for index, one in enumerate(config.input_processors):
        data = calibration_of(config, one.tensor_name)
        if data is None or one.src_dtype not in ("FP32", "FP16"):
            continue
        _, given = data
        for key, values, default, nothing in (
            ("mean", one.mean, given.calibration_mean, 0.0),
            ("std", one.std, given.calibration_std, 1.0),
        ):
            if not values and any(value != nothing for value in default):
                written = ", ".join([f"{nothing:g}"] * len(default))
                yield Finding(
                    ("input_processors", index, key),
                    f"left empty it is calibration_{key}, so the chip normalizes a {one.src_dtype} input",
                    f"write [{written}] to embed nothing, or {list(default)} if that is meant",
                )


def same_pixels(config: BuildConfig) -> Findings:
    """What 8-bit pixels become on the chip is what the calibration pictures became."""
    for index, one in enumerate(config.input_processors):
        data = calibration_of(config, one.tensor_name)
        if data is None or data[1].calibration_format != "Image" or one.src_dtype != "U8":
            continue
        given = data[1]
        for key, values, calibrated, nothing in (
            ("mean", one.mean, given.calibration_mean, 0.0),
            ("std", one.std, given.calibration_std, 1.0),
        ):
            if values and _even(values, calibrated, nothing) != _even(calibrated, values, nothing):
                yield Finding(
                    ("input_processors", index, key),
                    f"{list(values)}, but the pictures were calibrated with {list(calibrated) or 'none'}:"
                    " the network is fed other values than it was measured on",
                    f"write the same in both, or leave {key} empty",
                )


def color_conversion(config: BuildConfig) -> Findings:
    """YUV needs a conversion, and only YUV has one; a matrix has 12 numbers within bounds."""
    for index, one in enumerate(config.input_processors):
        at = ("input_processors", index)
        if one.src_format in YUV and one.csc_mode == "NoCSC":
            what = f"{one.src_format} needs a colour conversion"
            yield Finding((*at, "csc_mode"), what, "use FullRange, LimitedRange or Matrix")
        if one.src_format not in YUV and one.csc_mode != "NoCSC":
            what = f"{one.csc_mode} converts YUV, and src_format is {one.src_format}"
            yield Finding((*at, "csc_mode"), what, f"use NoCSC, or one of {', '.join(YUV)} as src_format")
        if one.src_format in YUV and one.src_dtype != "U8":
            what = f"{one.src_format} is made of bytes, not of {one.src_dtype}"
            yield Finding((*at, "src_dtype"), what, "write U8")
        if one.src_format in YUV and one.tensor_format == "GRAY":
            yield Finding((*at, "tensor_format"), "a YUV input becomes RGB or BGR, not GRAY", "feed GRAY as it is")
        if one.csc_mode == "Matrix" and len(one.csc_mat) != 12:
            what = f"{len(one.csc_mat)} numbers, a conversion matrix has 12"
            yield Finding((*at, "csc_mat"), what, "write three rows of four")
        elif one.csc_mode != "Matrix" and one.csc_mat:
            what = f"it has no effect with csc_mode {one.csc_mode}"
            yield warning((*at, "csc_mat"), what, "set csc_mode to Matrix, or remove it")
        for place, value in enumerate(one.csc_mat if len(one.csc_mat) == 12 else ()):
            low, high = _BIAS if place % 4 == 3 else _FACTOR
            if one.csc_mode == "Matrix" and not low < value < high:
                what = f"{value:g} is not between {low} and {high}"
                yield Finding((*at, "csc_mat", place), what, "every fourth number is a bias, of pixels as 0..1")


def swapped_colours(config: BuildConfig) -> Findings:
    """The tool turns no RGB into BGR, whatever the formats promise."""
    for index, one in enumerate(config.input_processors):
        if {one.src_format, one.tensor_format} == {"RGB", "BGR"}:
            yield Finding(
                ("input_processors", index, "src_format"),
                f"Pulsar2 does not turn {one.src_format} into {one.tensor_format}: the network sees swapped colours",
                "write the same in both, and swap in the first convolution (the pass swap_input_channels)",
            )


def float_layouts(config: BuildConfig) -> Findings:
    """A float input that is passed through has one layout; two embed a transposition."""
    for index, one in enumerate(config.input_processors):
        plain = one.mean and one.std and not any(one.mean) and set(one.std) == {1.0}
        if one.src_dtype == "FP32" and plain and one.src_layout != one.tensor_layout:
            what = f"a float input is passed through, yet turned from {one.src_layout} into {one.tensor_layout}"
            fix = f"write {one.tensor_layout}, unless the caller has {one.src_layout}"
            yield warning(("input_processors", index, "src_layout"), what, fix)


def padding(config: BuildConfig) -> Findings:
    """Only constant padding is offered, and its list has a start and an end for every axis."""
    for index, one in enumerate(config.input_processors):
        if one.padding_mode != "constant":
            what = f"{one.padding_mode!r} is not offered"
            yield Finding(("input_processors", index, "padding_mode"), what, "write constant, and pad others yourself")
        for key, values in (("padding", one.padding), ("slicing", one.slicing)):
            if len(values) % 2:
                what = f"{len(values)} numbers: every axis has one at its start and one at its end"
                yield Finding(("input_processors", index, key), what, "write a start and an end for every axis")


def extra_shapes(config: BuildConfig) -> Findings:
    """Every input has as many extra shapes as the others, for they are used together."""
    counts = {len(one.src_extra_shapes) for one in config.input_processors}
    if len(counts) > 1:
        for index, one in enumerate(config.input_processors):
            if len(one.src_extra_shapes) < max(counts):
                what = f"{len(one.src_extra_shapes)} extra shapes, another input has {max(counts)}"
                at = ("input_processors", index, "src_extra_shapes")
                yield Finding(at, what, "write as many for each: those of one place are used together")


def described_once(config: BuildConfig) -> Findings:
    """No tensor is described twice in one list."""
    for at, _, names in _named(config):
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Finding((*at, index, "tensor_name"), f"{name!r} is described twice", "keep one of the two")


def tensor_names(config: BuildConfig, known: Facts) -> Findings:
    """Names are those of the model."""
    for at, kind, names in _named(config):
        there = known.inputs if kind == "input" else known.outputs
        for index, name in enumerate(names):
            if name != EVERY and name not in there:
                what = f"the model has no {kind} {name!r}"
                yield Finding((*at, index, "tensor_name"), what, did_you_mean(name, there))


def channel_counts(config: BuildConfig, known: Facts) -> Findings:
    """Mean has one value for every channel of its tensor."""
    for at, name, ((key, mean), _) in _normalizations(config):
        for tensor in known.inputs if name == EVERY else (name,):
            channels = _channels(config, known, tensor)
            if channels and len(mean) not in (0, channels):
                what = f"{len(mean)} values for the {channels} channels of {tensor!r}"
                yield Finding((*at, key), what, "write one for every channel")


def formats_fit(config: BuildConfig, known: Facts) -> Findings:
    """The channels are where tensor_layout says, and as many as tensor_format has."""
    for name, shape in known.inputs.items():
        found = processor_of(config, name)
        if found is None or len(shape) != 4 or found[1].tensor_format == "AutoColorSpace":
            continue
        index, one = found
        wanted = 1 if one.tensor_format == "GRAY" else 3
        channels = shape[1] if one.tensor_layout == "NCHW" else shape[3]
        if channels in (wanted, 0):
            continue
        what = f"{one.tensor_format} has {wanted}, but {name!r} {list(shape)} read as {one.tensor_layout} {channels}"
        other = shape[3] if one.tensor_layout == "NCHW" else shape[1]
        key, fix = "tensor_format", "name what its channels are"
        if other == wanted:
            key, fix = "tensor_layout", f"write {'NHWC' if one.tensor_layout == 'NCHW' else 'NCHW'}"
        yield Finding(("input_processors", index, key), f"channels: {what}", fix)


def yuv_sizes(config: BuildConfig, known: Facts) -> Findings:
    """A YUV picture has an even width, and an even height where lines share their colours."""
    for name, shape in known.inputs.items():
        found = processor_of(config, name)
        if found is None or found[1].src_format not in YUV or len(shape) != 4:
            continue
        index, one = found
        height, width = shape[2:] if one.tensor_layout == "NCHW" else shape[1:3]
        if width % 2 or (one.src_format.endswith("420SP") and height % 2):
            what = f"{one.src_format} needs an even size, {name!r} is {width} wide and {height} high"
            yield Finding(("input_processors", index, "src_format"), what, "use another size, or U8 RGB or BGR")


def output_axes(config: BuildConfig, known: Facts) -> Findings:
    """A permutation of an output names each of its axes once."""
    for index, one in enumerate(config.output_processors):
        for name, shape in known.outputs.items():
            perm = one.dst_perm
            if perm and one.tensor_name in (name, EVERY) and sorted(perm) != list(range(len(shape))):
                what = f"{list(perm)} is no order of the {len(shape)} axes of {name!r}"
                fix = f"write each of {', '.join(map(str, range(len(shape))))} once"
                yield Finding(("output_processors", index, "dst_perm"), what, fix)


def extra_shapes_fit(config: BuildConfig, known: Facts) -> Findings:
    """An extra shape has as many sizes as the input, all positive."""
    for index, one in enumerate(config.input_processors):
        rank = len(known.inputs.get(one.tensor_name, ()))
        for place, extra in enumerate(one.src_extra_shapes):
            if rank and (len(extra.shape) != rank or min(extra.shape) < 1):
                what = f"{list(extra.shape)} for an input of {rank} axes"
                at: At = ("input_processors", index, "src_extra_shapes", place, "shape")
                yield Finding(at, what, f"write {rank} sizes")


def _channels(config: BuildConfig, known: Facts, name: str) -> int:
    """How many channels the model's input `name` has; 0 when that is not known."""
    shape = known.inputs.get(name, ())
    found = processor_of(config, name)
    layout = found[1].tensor_layout if found else "NCHW"
    return (shape[1] if layout == "NCHW" else shape[3]) if len(shape) == 4 else 0


def _even(values: tuple[float, ...], other: tuple[float, ...], nothing: float) -> tuple[float, ...]:
    """`values`, one a channel, as many as `other` has; where there are none, those that change nothing."""
    return (values or (nothing,)) * (len(other) if len(values) <= 1 and len(other) > 1 else 1)


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


RULES = (
    divisors,
    pairs,
    silent_normalization,
    same_pixels,
    color_conversion,
    swapped_colours,
    float_layouts,
    padding,
    extra_shapes,
    described_once,
)
MODEL_RULES = (
    tensor_names,
    channel_counts,
    formats_fit,
    yuv_sizes,
    output_axes,
    extra_shapes_fit,
)
