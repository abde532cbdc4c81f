"""The one preprocessing: a picture becomes the pixels, then the tensor, that a network sees everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from workbench.recipe.schema import InputSpec

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """How picture coordinates became input coordinates: ``input = picture * scale + offset``.

    Both are in pixels with the origin at the corner (not the centre) of the top left pixel.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float

    def to_input(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Points (..., 2) of the upright picture, as x, y of the input."""
        return np.asarray(points, np.float64) * (self.scale_x, self.scale_y) + (self.offset_x, self.offset_y)

    def to_picture(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Points (..., 2) of the input, as x, y of the upright picture: the inverse of `to_input`."""
        return (np.asarray(points, np.float64) - (self.offset_x, self.offset_y)) / (self.scale_x, self.scale_y)


def fit_geometry(size: tuple[int, int], spec: InputSpec) -> Fit:
    """How a picture of `size` (width, height), orientation already applied, is placed into the input.

    The content is a whole number of pixels, so the two scales of letterbox and pad differ by that rounding.
    """
    width, height = size
    (x, y), (across, down) = _placement(size, spec)
    return Fit(across / width, down / height, float(x), float(y))


def upright(picture: Image.Image) -> Image.Image:
    """`picture` turned as its EXIF orientation says, in one of the 8-bit modes RGB, RGBA and L.

    16-bit grey is scaled to 8 bits; palettes, CMYK and the like are resolved.
    """
    turned = ImageOps.exif_transpose(picture)
    see_through = "transparency" in turned.info  # a colour or palette entry that means "nothing here"
    if turned.mode in ("RGB", "RGBA", "L") and not see_through:
        return turned
    if turned.mode.startswith("I"):
        # Pillow clips 16-bit grey at 255 when it converts to L, which turns most of the picture white.
        wide = np.asarray(turned).astype(np.int64)
        return Image.fromarray(np.clip((wide + 128) // 257, 0, 255).astype(np.uint8))
    return turned.convert("RGBA" if see_through or turned.mode in ("LA", "PA") else "RGB")


def fit_picture(picture: Image.Image, spec: InputSpec) -> Pixels:
    """`picture` as the pixels of the input.

    Orientation is applied, transparency is laid over the grey of `spec.fill`, and the picture is resized by Pillow's
    bilinear filter (which averages when it shrinks) and placed as `spec.fit` says: ``stretch`` fills the input,
    ``letterbox`` keeps the aspect in the centre, ``pad`` keeps it at the top left; bars have the grey of `spec.fill`.

    Returns:
        uint8 (H, W, 3) RGB whatever `spec.color` is, or (H, W, 1) when it is GRAY.
    """
    _, _, height, width = spec.nchw
    plain = upright(picture)
    (x, y), content = _placement(plain.size, spec)
    if plain.mode == "RGBA":
        ground = Image.new("RGBA", plain.size, (spec.fill, spec.fill, spec.fill, 255))
        plain = Image.alpha_composite(ground, plain)
    mode = "L" if spec.color == "GRAY" else "RGB"
    fitted = plain.convert(mode).resize(content, Image.Resampling.BILINEAR)
    if content != (width, height):
        bars = Image.new(mode, (width, height), spec.fill if mode == "L" else (spec.fill,) * 3)
        bars.paste(fitted, (x, y))
        fitted = bars
    return np.asarray(fitted, dtype=np.uint8).reshape(height, width, -1)


def to_tensor(fitted: Pixels, spec: InputSpec) -> Floats:
    """Fitted pixels as the network's tensor.

    Args:
        fitted: uint8 (H, W, 3) RGB or (H, W, 1), as `fit_picture` returns it.
        spec: gives colour order, mean and std; ``(pixel - mean) / std`` in float32.

    Returns:
        float32 (1, C, H, W), contiguous.
    """
    _, channels, height, width = spec.nchw
    if fitted.dtype != np.uint8 or fitted.shape != (height, width, channels):
        raise ValueError(
            f"input {spec.name} takes uint8 ({height}, {width}, {channels}), not {fitted.dtype} {fitted.shape}"
        )
    ordered = fitted[:, :, ::-1] if spec.color == "BGR" else fitted
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in spec.per_channel)
    planes = ordered.transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(((planes - mean) / std)[np.newaxis])


def _placement(size: tuple[int, int], spec: InputSpec) -> tuple[tuple[int, int], tuple[int, int]]:
    """Top left corner and size of the content inside the input, in whole pixels."""
    width, height = size
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels has no content")
    _, _, down, across = spec.nchw
    if spec.fit == "stretch":
        return (0, 0), (across, down)
    scale = min(across / width, down / height)
    content = (min(across, max(1, round(width * scale))), min(down, max(1, round(height * scale))))
    if spec.fit == "pad":
        return (0, 0), content
    return ((across - content[0]) // 2, (down - content[1]) // 2), content
