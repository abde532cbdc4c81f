"""Fitted pictures as the inputs of a model file: floats, pixels or a camera's YUV, as each input is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.calib.nv12 import Order, Range, from_nv12, to_nv12
from workbench.calib.preprocess import Pixels, to_tensor
from workbench.errors import RecipeError
from workbench.parity.pairing import Layout, Pair, pair
from workbench.recipe.schema import InputSpec
from workbench.runtimes._runner import Array, Port

_WHOLE = 0.02  # how far from a whole number a pixel may be after (x * std + mean) in float32 or float16


@dataclass(frozen=True)
class Camera:
    """The YUV that an input takes: range of its values, and which chroma comes first (uv: NV12, vu: NV21)."""

    levels: Range = "full"
    order: Order = "uv"

    def __str__(self) -> str:
        return f"{'NV12' if self.order == 'uv' else 'NV21'}, {self.levels} range"


@dataclass(frozen=True)
class Feed:
    """How pixels become one input of a file.

    Attributes:
        spec: what the network wants.
        port: what the file declares.
        pair: brings the network's NCHW into the file's layout.
        camera: the YUV it takes; None when it takes pixels or floats.
        beside: the YUV that another file takes of the same pixels, so that this one sees what is left of them there.
    """

    spec: InputSpec
    port: Port
    pair: Pair
    camera: Camera | None = None
    beside: Camera | None = None

    @property
    def takes_pixels(self) -> bool:
        """Whether the file normalizes by itself."""
        return self.port.dtype == "uint8"

    @property
    def note(self) -> str:
        """What is done beyond the spec's normalization; empty when nothing is."""
        name, left = self.port.name, f"what is left of the pixels after {self.beside}" if self.beside else ""
        if self.camera is not None:
            return f"{name}: fed {self.camera}, made of the RGB pixels; it normalizes them itself"
        if self.takes_pixels:
            layout = "NHWC" if self.pair.permutation is not None else "NCHW"
            what = f"{name}: fed {self.spec.color} pixels 0..255 as uint8 {layout}; it normalizes them itself"
            return f"{what}: {left}" if left else what
        return f"{name}: fed {left}, as the other" if left else ""

    def of_pixels(self, pixels: Pixels) -> Array:
        """Fitted pixels, uint8 (H, W, 3) RGB or (H, W, 1), as this input, repeated to fill its batch."""
        batch = self.spec.nchw[0]
        if self.camera is not None:
            planes = to_nv12(pixels, self.camera.levels, self.camera.order)
            return np.repeat(planes.reshape(1, *_sizes(self.port)[1:]), batch, axis=0)
        if self.beside is not None:
            levels, order = self.beside.levels, self.beside.order
            pixels = from_nv12(to_nv12(pixels, levels, order), levels, order)
        spec = self.spec.pixels if self.takes_pixels else self.spec
        tensor = to_tensor(pixels, spec).astype(self.port.dtype)
        return self.pair.from_reference(np.repeat(tensor, batch, axis=0))

    def to_pixels(self, array: Array) -> Pixels:
        """The pixels that `of_pixels` would make `array` of; the first of a batch.

        Raises:
            RecipeError: it holds something that no pixel becomes.
        """
        one = array[:1]
        if self.camera is not None:
            _, _, height, width = self.spec.nchw
            planes = one.reshape(height * 3 // 2, width).astype(np.uint8)
            return from_nv12(planes, self.camera.levels, self.camera.order)
        values = self.pair.to_reference(one)[0].astype(np.float64)
        if not self.takes_pixels:
            mean, std = (np.array(numbers).reshape(-1, 1, 1) for numbers in self.spec.per_channel)
            values = values * std + mean
        whole = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinity - infinity: a NaN, which compares false below
            away = float(np.abs(values - whole).max())
        if not (away <= _WHOLE and whole.min() >= 0 and whole.max() <= 255):
            low, high = self.spec.value_range
            raise RecipeError(
                f"input {self.port.name!r} holds what no pixel becomes, and the other model takes pixels",
                fix=f"give (pixel - mean) / std of whole pixels: steps between {low:g} and {high:g}; or pictures",
            )
        rows = whole.astype(np.uint8).transpose(1, 2, 0)
        return np.ascontiguousarray(rows[:, :, ::-1] if self.spec.color == "BGR" else rows)


def feeds_of(
    specs: Sequence[InputSpec],
    ports: Sequence[Port],
    layout: Layout,
    *,
    mapping: Mapping[str, str] | None = None,
    cameras: Mapping[str, Camera] | None = None,
) -> tuple[Feed, ...]:
    """How each spec becomes which input of a file.

    Args:
        specs: what the network wants.
        ports: the file's inputs; those of uint8 take pixels, in the shape of a YUV picture a camera's.
        layout: of the file.
        mapping: name of a spec -> name of its port, where they differ.
        cameras: kind of YUV by the name of the port; NV12 in full range where nothing is said.

    Raises:
        ParityError: an input is missing or too many, or has another shape.
        RecipeError: an input takes neither floats nor uint8.
    """
    mapping = mapping or {}
    by_name = {mapping.get(spec.name, spec.name): spec for spec in specs}
    yuv = {port.name for port in ports if port.name in by_name and is_camera(port, by_name[port.name])}
    # A YUV picture is paired as if it were the pixels that it stands for.
    seen = [Port(port.name, by_name[port.name].nchw, port.dtype) if port.name in yuv else port for port in ports]
    wanted = [Port(spec.name, spec.nchw, "float32") for spec in specs]
    pairs = pair(wanted, seen, reference_layout="NCHW", got_layout=layout, mapping=mapping, what="input")
    declared = {port.name: port for port in ports}
    found = []
    for spec, one in zip(specs, pairs, strict=True):
        port = declared[one.got]
        if not (port.dtype.startswith("float") or port.dtype == "uint8"):
            raise RecipeError(
                f"input {port.name!r} is {port.dtype}; pictures become floats, or uint8 pixels",
                fix="give --inputs an .npz",
            )
        camera = (cameras or {}).get(port.name, Camera()) if port.name in yuv else None
        found.append(Feed(spec, port, one, camera))
    return tuple(found)


def is_camera(port: Port, spec: InputSpec) -> bool:
    """Whether `port` is declared as a YUV 4:2:0 picture of the size that `spec` wants: uint8 (N, H * 3 / 2, W, 1)."""
    batch, channels, height, width = spec.nchw
    even = channels == 3 and height % 2 == 0 and width % 2 == 0
    return even and port.dtype == "uint8" and port.shape in _yuv_shapes(batch, height, width)


def looks_like_camera(port: Port) -> bool:
    """Whether `port` could be a YUV 4:2:0 picture, for those who know no spec."""
    if port.dtype != "uint8" or len(port.shape) != 4 or None in port.shape:
        return False
    _, height, width, channels = _sizes(port)
    return channels == 1 and height % 3 == 0 and width % 2 == 0


def _yuv_shapes(batch: int, height: int, width: int) -> tuple[tuple[int, ...], ...]:
    return (batch, height * 3 // 2, width, 1), (batch, 1, height * 3 // 2, width)


def _sizes(port: Port) -> tuple[int, ...]:
    return tuple(size or 1 for size in port.shape)
