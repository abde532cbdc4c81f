"""Read a calibration archive: each sample as the float tensor that the model takes, or the tool's late complaint."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


def samples(dataset: dict[str, Any], processor: dict[str, Any], name: str, shape: tuple[int, ...]) -> list[np.ndarray]:
    """The samples of input `name`, float32 of `shape`, at most ``calibration_size`` of them.

    Raises:
        ValueError: the archive has another suffix, no or unfit members.
    """
    form = dataset.get("calibration_format", "Image")
    limit = dataset.get("calibration_size", 32)
    found = []
    for member, data in sorted(members(Path(dataset["calibration_dataset"]))):
        if limit >= 0 and len(found) >= limit:
            break
        if form == "Image":
            if member.lower().endswith(_IMAGES):
                found.append(_image(data, dataset, processor, shape))
            continue
        if form == "Binary":
            array = np.frombuffer(data, "<f4")
            if array.size != int(np.prod(shape)):
                raise ValueError(f"{member}: cannot reshape array of size {array.size} into shape {shape}")
            array = array.reshape(shape)
        elif form == "Numpy":
            array = np.load(io.BytesIO(data), allow_pickle=False)
        else:
            # The format is a pickled dict; only archives that the tests wrote come here.
            array = np.load(io.BytesIO(data), allow_pickle=True).item()[name]
        if array.dtype != np.float32:
            raise ValueError(f"{member}: dtype {array.dtype} does not match float32 of tensor {name}")
        if array.shape != shape:
            raise ValueError(f"{member}: shape {array.shape} does not match {shape} of tensor {name}")
        found.append(array)
    if not found:
        raise ValueError(f"calibration dataset of {name} is empty: {dataset['calibration_dataset']}")
    return found


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file in a tar, tar.gz or zip archive."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for one in archive.infolist():
                if not one.is_dir():
                    yield one.filename, archive.read(one)
    elif path.name.endswith((".tar", ".tar.gz")):
        with tarfile.open(path) as archive:
            for one in archive:
                content = archive.extractfile(one) if one.isfile() else None
                if content is not None:
                    yield one.name, content.read()
    else:
        raise ValueError(f"unsupported archive format: {path}")


def _image(data: bytes, dataset: dict[str, Any], processor: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) != 4:
        raise ValueError(f"calibration_format Image needs a 4-D input, not {shape}")
    if processor.get("tensor_layout", "NCHW") == "NHWC":
        height, width = shape[1:3]
    else:
        height, width = shape[2:]
    order = processor.get("tensor_format", "AutoColorSpace")
    picture = Image.open(io.BytesIO(data)).convert("L" if order == "GRAY" else "RGB")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, np.float32).reshape(height, width, -1)
    if order in ("BGR", "AutoColorSpace"):
        pixels = pixels[:, :, ::-1]
    mean, std = dataset.get("calibration_mean") or [0.0], dataset.get("calibration_std") or [1.0]
    pixels = (pixels - np.float32(mean)) / np.float32(std)
    if processor.get("tensor_layout", "NCHW") == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    pixels = np.ascontiguousarray(pixels[np.newaxis], np.float32)
    if pixels.shape != shape:
        raise ValueError(f"image of shape {pixels.shape} does not match {shape}")
    return pixels
