"""What a recipe may say: pydantic models, unknown keys forbidden.

Surgery passes, targets and sources bring their own options (see `catalog`), so those three parts are kept open
here and filled by `load`, which knows the catalogue.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Layout = Literal["NCHW", "NHWC"]
Color = Literal["RGB", "BGR", "GRAY"]
Fit = Literal["stretch", "letterbox", "pad"]
Meaning = Literal["heatmap", "paf", "center", "regression", "offset"]
Precision = Literal["float", "fp16", "int8", "int16x8", "mixed", "axmodel"]
Whole = Annotated[int, Field(strict=True)]  # not `true`, which Python counts as 1
Number = Annotated[float, Field(strict=True)]
Size = Annotated[Whole, Field(gt=0, le=16384)]
Shape4 = tuple[Size, Size, Size, Size]
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]*$")]
TensorName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.\-/:]*$")]
# The name of a tensor inside the canonical graph, whose exporters write anything: '/stage/Relu_output_0', '317', 'a b'.
InnerTensor = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
FileName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]
# A dot would make the folder dist/<name> look like one that the publisher keeps for itself.
RecipeName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]*$")]
Sha1 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{40}$"), AfterValidator(str.lower)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


class FieldError(ValueError):
    """What a validator raises when it knows which key is wrong and how to mend it.

    Args:
        key: path from what is validated to the key, e.g. ``("std", 0)``; empty for the whole.
        what: one sentence that states what is wrong.
        fix: what the user can do about it.
    """

    def __init__(self, key: tuple[str | int, ...], what: str, fix: str) -> None:
        super().__init__(f"{what} ({fix})")
        self.key = key
        self.what = what
        self.fix = fix


_NAME_RULE = "letters, digits, _ . - after a letter or _"
_FILE_RULE = "letters, digits, _ . - after a letter or digit"
_TENSOR_RULE = "any characters but control characters"


class Strict(BaseModel):
    """The base of everything a user may write: frozen, and a key that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def to_nchw(shape: Shape4, layout: Layout) -> Shape4:
    """`shape` as (batch, channels, height, width)."""
    if layout == "NCHW":
        return shape
    n, h, w, c = shape
    return (n, c, h, w)


class InputSpec(Strict):
    """One input of the network and how a picture becomes it.

    The tensor is ``(pixel - mean) / std`` with pixels 0..255 in `color` order;
    `mean` and `std` have one value or one per channel.
    """

    name: Annotated[Name, Field(description=f"name of the input in every artifact; {_NAME_RULE}")]
    tensor: Annotated[
        InnerTensor | None, Field(description=f"its name inside the source, when that differs; {_TENSOR_RULE}")
    ] = None
    shape: Annotated[
        Shape4, Field(description="static shape in the source's layout, batch first, e.g. [1, 3, 192, 192]")
    ]
    layout: Annotated[Layout, Field(description="layout of the source's tensor; artifacts are NCHW (TFLite: NHWC)")] = (
        "NCHW"
    )
    color: Annotated[Color, Field(description="channel order the network was trained on")] = "RGB"
    mean: Annotated[tuple[Number, ...], Field(min_length=1, description="subtracted from 0..255 pixels")] = (0.0,)
    std: Annotated[tuple[Number, ...], Field(min_length=1, description="divisor, e.g. 255, not 1/255")] = (1.0,)
    range: Annotated[tuple[Number, Number] | None, Field(description="values the tensor may take; checked")] = None
    fit: Annotated[
        Fit, Field(description="stretch; letterbox (centred); pad (top left): the latter two keep the aspect")
    ] = "stretch"
    fill: Annotated[Whole, Field(ge=0, le=255, description="grey of the bars of letterbox and pad")] = 0

    @property
    def nchw(self) -> Shape4:
        """The canonical shape (batch, channels, height, width)."""
        return to_nchw(self.shape, self.layout)

    @property
    def pixels(self) -> InputSpec:
        """The same input of a model that normalizes by itself: it wants 0..255."""
        return self.model_copy(update={"mean": (0.0,), "std": (1.0,), "range": None})

    @property
    def source_tensor(self) -> str:
        """The name of this input inside the source network."""
        return self.tensor or self.name

    @property
    def folder(self) -> str:
        """What its fitted pictures' folder is called: by the source's name, which stays when surgery renames it."""
        tensor = self.source_tensor
        plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", tensor)
        return tensor if plain else hashlib.sha256(tensor.encode()).hexdigest()[:32]

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value that 0..255 pixels can become."""
        if self.range is not None:
            return self.range
        ends = [(pixel - m) / s for m, s in zip(*self.per_channel, strict=True) for pixel in (0.0, 255.0)]
        return min(ends), max(ends)

    @property
    def per_channel(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """`mean` and `std`, one value a channel."""
        channels = self.nchw[1]
        mean = self.mean * channels if len(self.mean) == 1 else self.mean
        std = self.std * channels if len(self.std) == 1 else self.std
        return mean, std

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        channels = self.nchw[1]
        expected = 1 if self.color == "GRAY" else 3
        if channels != expected:
            raise FieldError(
                ("shape",),
                f"{self.color} pictures have {expected} channel{'s' * (expected > 1)}, but shape {list(self.shape)}"
                f" read as {self.layout} has {channels}",
                self._other_reading(expected),
            )
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                what = f"{key} has {len(values)} values for {channels} channels"
                raise FieldError((key,), what, "write one value, or one a channel")
        for index, value in enumerate(self.std):
            if value <= 0:
                what = f"std is a divisor and must be positive, got {value:g}"
                raise FieldError(("std", index), what, "write what the pixels are divided by, e.g. 255")
        if self.range is not None:
            ends = [(pixel - m) / s for m, s in zip(*self.per_channel, strict=True) for pixel in (0.0, 255.0)]
            slack = 1e-6 * max(1.0, *map(abs, ends))
            if self.range[0] > min(ends) + slack or self.range[1] < max(ends) - slack:
                raise FieldError(
                    ("range",),
                    f"range {list(self.range)} does not hold what mean and std make of 0..255:"
                    f" {min(ends):g}..{max(ends):g}",
                    f"write range: [{min(ends):.9g}, {max(ends):.9g}], or correct mean and std",
                )
        return self

    def _other_reading(self, expected: int) -> str:
        """How a shape with another number of channels than `color` has was probably meant."""
        other: Layout = "NHWC" if self.layout == "NCHW" else "NCHW"
        if to_nchw(self.shape, other)[1] == expected:
            return f"write layout: {other}"
        if self.nchw[1] == 1:
            return "write color: GRAY"
        if self.nchw[1] == 3:
            return "write color: RGB or BGR"
        return f"write a shape with {expected} channel{'s' * (expected > 1)}"


class OutputSpec(Strict):
    """One output of the network and what it means."""

    name: Annotated[Name, Field(description=f"name of the output in every artifact; {_NAME_RULE}")]
    tensor: Annotated[
        InnerTensor | None, Field(description=f"its name inside the source, when that differs; {_TENSOR_RULE}")
    ] = None
    shape: Annotated[Shape4, Field(description="static shape in the source's layout, batch first; checked at export")]
    layout: Annotated[Layout, Field(description="layout of the source's tensor")] = "NCHW"
    meaning: Annotated[Meaning, Field(description="heatmap, paf, center, regression or offset")]

    @property
    def nchw(self) -> Shape4:
        """The canonical shape (batch, channels, height, width)."""
        return to_nchw(self.shape, self.layout)

    @property
    def source_tensor(self) -> str:
        """The name of this output inside the source network."""
        return self.tensor or self.name


class Weights(Strict):
    """The file that holds the weights, where it is published and how it is recognised."""

    file: Annotated[FileName, Field(description=f"file name, as published; {_FILE_RULE}")]
    url: Annotated[
        str | None, Field(pattern=r"^https://", description="where it can be downloaded; begins with https://")
    ] = None
    page: Annotated[
        str | None,
        Field(
            pattern=r"^https://",
            description="where a person finds it, when it has no direct address; begins with https://",
        ),
    ] = None
    sha256: Annotated[Sha256 | None, Field(description="SHA-256 of the file, 64 hexadecimal digits")] = None
    git_blob: Annotated[Sha1 | None, Field(description="git blob SHA-1 of the file, 40 hexadecimal digits")] = None
    licence: Annotated[str | None, Field(description="SPDX name")] = None
    otherwise: Annotated[
        Literal["fail", "seeded"], Field(description="seeded: build with random weights, marked NOT DEPLOYABLE")
    ] = "fail"


class Calibration(Strict):
    """The pictures that ranges are measured on."""

    pictures: Annotated[
        str, Field(description="people (the drawn set), a folder, a glob, or a COCO json; relative to the recipe")
    ] = "people"
    count: Annotated[Whole, Field(ge=2, le=100_000, description="pictures used, evenly spread over the sorted set")] = (
        32
    )
    minimum: Annotated[
        Whole | None,
        Field(ge=2, description="fewer readable pictures than this is an error; 8, or count if that is less"),
    ] = None

    crops: Annotated[
        Whole,
        Field(
            ge=0, le=64, description="parts of each picture beside the whole, seeded: people cut off, as in real use"
        ),
    ] = 0

    @property
    def least(self) -> int:
        """Fewer readable pictures than this is an error."""
        return min(8, self.count) if self.minimum is None else self.minimum

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.minimum is not None and self.minimum > self.count:
            what = f"minimum {self.minimum} is more than the {self.count} pictures that count asks for"
            raise FieldError(("minimum",), what, "raise count, or lower minimum")
        return self


class Quantization(Strict):
    """The numeric scheme of the INT8 emulation: U8 activations per tensor, S8 weights per channel."""

    method: Annotated[
        Literal["MinMax", "Percentile", "MSE", "KL"], Field(description="how activation ranges are chosen")
    ] = "MinMax"
    percentile: Annotated[
        float, Field(ge=0, le=100, description="for method Percentile, the share of the values to hold, in percent")
    ] = 99.99
    pictures: Annotated[
        Whole | None, Field(ge=2, description="pictures the ranges are measured on; all of the set when left out")
    ] = None
    equalize: Annotated[
        bool, Field(description="bring channels, and branches that meet in a Concat, to one range; exact in float")
    ] = True
    split: Annotated[
        dict[InnerTensor, Annotated[Whole, Field(ge=2, le=16)]],
        Field(
            description="activations whose range is cut into so many parts, each on channels of its own: finer steps"
        ),
    ] = {}
    unroll: Annotated[
        tuple[InnerTensor, ...],
        Field(description="sums that are never formed: the convolutions behind read the addends, in this order"),
    ] = ()
    correct_bias: Annotated[
        bool, Field(description="shift each layer's bias by the mean error that quantization gives its output")
    ] = True
    rounding: Annotated[
        Literal["nearest", "optimal"],
        Field(description="optimal: round weights up or down so that each layer's output stays (GPTQ); slower"),
    ] = "nearest"
    u16: Annotated[
        tuple[InnerTensor, ...],
        Field(description="activation tensors at 16 bits in <name>.mixed.onnx and on the chip"),
    ] = ()

    def only(self, *keys: str) -> Quantization:
        """What a stage that reads `keys` sees: the rest at its default, so that changing it runs no such stage anew."""
        return Quantization.model_validate({key: getattr(self, key) for key in keys})

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for key, names in (("unroll", self.unroll), ("u16", self.u16)):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise FieldError((key, index), f"tensor {name!r} is listed twice", "remove one")
        for index, name in enumerate(self.u16):
            if name in self.split:
                what = f"tensor {name!r} is split, so there is no such tensor any more"
                raise FieldError(("u16", index), what, f"name its parts: {name}/split")
            if name in self.unroll:
                what = f"the sum {name!r} is unrolled, so there is no such tensor any more"
                raise FieldError(("u16", index), what, "take it out of one of the two")
        return self


class Limits(Strict):
    """How far an artifact may be from the source network; at least one is needed."""

    cosine: Annotated[Number | None, Field(ge=-1, le=1, description="at least")] = None
    max_abs: Annotated[Number | None, Field(ge=0, description="at most")] = None
    mean_abs: Annotated[Number | None, Field(ge=0, description="at most")] = None
    relative_l2: Annotated[Number | None, Field(ge=0, description="at most")] = None
    snr_db: Annotated[Number | None, Field(description="at least")] = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise FieldError((), "a limit without a number gates nothing", "write at least one, e.g. cosine: 0.999")
        return self


class Parity(Strict):
    """The gate: how many pictures are compared, and the limits per precision."""

    samples: Annotated[
        Whole, Field(ge=1, le=1024, description="golden pictures, evenly spread over the calibration set")
    ] = 4
    limits: Annotated[
        dict[Precision, Limits], Field(min_length=1, description="limits by precision, e.g. {float: {max_abs: 1e-4}}")
    ]


@dataclass(frozen=True)
class Call:
    """A catalogue entry as a recipe calls it: its name and its validated options."""

    name: str
    options: Any


class Recipe(BaseModel):
    """A whole recipe. `source`, `surgery` and `targets` hold catalogue calls once loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Annotated[
        RecipeName,
        Field(
            description="also the folder in dist/ and the start of every file name; letters, digits, _ - after a letter"
            " or digit"
        ),
    ]
    about: Annotated[str, Field(description="one line for people")] = ""
    source: Annotated[
        Call,
        Field(description="where the network comes from, e.g. {kind: torch, factory: 'workbench.zoo.movenet:MoveNet'}"),
    ]
    weights: Annotated[
        Weights | None, Field(description="the file with the weights, e.g. {file: w.pth, url: https://...}")
    ] = None
    inputs: Annotated[
        tuple[InputSpec, ...],
        Field(min_length=1, description="a list, e.g. [{name: image, shape: [1, 3, 192, 192]}]"),
    ]
    outputs: Annotated[
        tuple[OutputSpec, ...],
        Field(min_length=1, description="a list, e.g. [{name: heatmaps, shape: [1, 17, 48, 48], meaning: heatmap}]"),
    ]
    joints: Annotated[str, Field(description="the skeleton, e.g. coco17 (all are in workbench/pose/skeletons.py)")]
    surgery: Annotated[tuple[Call, ...], Field(description="passes in order, e.g. [fold_batchnorm]")] = ()
    calibration: Annotated[
        Calibration, Field(description="pictures the ranges are measured on, e.g. {pictures: people, count: 28}")
    ] = Calibration()
    quantization: Annotated[
        Quantization | None, Field(description="the INT8 emulation, e.g. {method: MinMax}; left out: none")
    ] = None
    targets: Annotated[tuple[Call, ...], Field(description="what is written, e.g. {onnx: {}, tflite: {}}")]
    parity: Annotated[Parity, Field(description="the gate, e.g. {limits: {float: {max_abs: 1e-4}}}")]
