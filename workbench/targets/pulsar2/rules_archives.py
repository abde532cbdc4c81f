"""Rules on the calibration archives themselves: every member is a sample that the model takes, and there are enough.

Members are read one at a time in memory and never unpacked. A ``NumpyObject`` is a pickle and stays unread.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from workbench.calib.archives import Member, read_archive
from workbench.calib.pictures import LARGEST
from workbench.errors import ToolError
from workbench.recipe.yaml_marks import At
from workbench.targets.pulsar2.facts import Facts
from workbench.targets.pulsar2.rules_finding import EVERY, Finding, Findings, warning
from workbench.targets.pulsar2.rules_target import shapes_given
from workbench.targets.pulsar2.schema import BuildConfig, InputQuantConfig

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "Image": (".png", ".jpg", ".jpeg", ".bmp", ".webp"),
    "Numpy": (".npy",),
    "Binary": (".bin",),
    "NumpyObject": (".npy",),
}
_LARGEST_MEMBER = 128 * 2**20  # bytes of one sample that are read
_HEADER = 64 * 1024  # bytes of an .npy that say what it is
_SHOWN = 3  # bad members told; the archive is read no further
_TOOL_PICTURES = ("JPEG", "PNG", "BMP", "WEBP")


def archives(config: BuildConfig, known: Facts | None, base: Path) -> Findings:
    """Every archive is there, is safe to unpack, and holds samples of the stated kind that fit the model's input.

    Args:
        config: the configuration.
        known: the model's facts; without them shapes are not compared.
        base: the folder that relative paths start from.
    """
    stems: dict[str, tuple[int, frozenset[str]]] = {}
    for index, one in enumerate(config.quant.input_configs):
        at: At = ("quant", "input_configs", index, "calibration_dataset")
        path = base / one.calibration_dataset
        found: list[str] = []
        bad = 0
        try:
            for finding in _members(config, one, known, path, found):
                bad += 1
                yield Finding(at, *finding)
                if bad == _SHOWN:
                    break
        except ToolError as error:
            yield Finding(at, error.what, error.fix, where=error.where or str(path))
            continue
        if bad < _SHOWN:
            yield from _enough(one, index, len(found))
            stems[one.tensor_name] = index, frozenset(str(PurePosixPath(name).with_suffix("")) for name in found)
    yield from _paired(stems)


def _members(
    config: BuildConfig, one: InputQuantConfig, known: Facts | None, path: Path, found: list[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong with each member, and the fix; the names of all go to `found`."""
    shape, dtype = _wanted(config, one, known)
    read = {"Image": _LARGEST_MEMBER, "Numpy": _HEADER, "Binary": 0, "NumpyObject": 0}[one.calibration_format]
    for member, content in read_archive(path, read):
        found.append(member.name)
        suffix = PurePosixPath(member.name).suffix.lower()
        if suffix not in _SUFFIXES[one.calibration_format]:
            yield f"{member.name!r} is no sample for calibration_format {one.calibration_format}", _other(suffix)
        elif one.calibration_format == "Image":
            if why := _no_picture(content, member):
                yield f"{member.name!r} is no picture that can be read: {why}", "pack PNG or JPEG pictures"
        elif one.calibration_format == "Numpy":
            wrong = _no_tensor(content, member, shape, dtype)
            if wrong is not None:
                yield f"{member.name!r} {wrong[0]}", wrong[1]
        elif one.calibration_format == "Binary" and shape and member.size != math.prod(shape) * _bytes(dtype):
            wanted = math.prod(shape) * _bytes(dtype)
            what = f"{member.name!r} has {member.size} bytes, a {dtype} tensor {list(shape)} has {wanted}"
            yield what, "write the model's input as it is, batch axis included"


def _wanted(config: BuildConfig, one: InputQuantConfig, known: Facts | None) -> tuple[tuple[int, ...], str]:
    """Shape and type of a sample; an empty shape when it is not known."""
    if known is None:
        return (), "float32"
    name = next(iter(known.inputs), "") if one.tensor_name == EVERY else one.tensor_name
    if one.tensor_name == EVERY and len(set(known.inputs.values())) > 1:
        return (), "float32"
    shape = shapes_given(config).get(name, known.inputs.get(name, ()))
    return (shape if shape and all(shape) else ()), known.dtypes.get(name) or "float32"


def _bytes(dtype: str) -> int:
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 4


def _no_picture(content: bytes, member: Member) -> str:
    """Why `content` cannot be decoded; empty when it can."""
    if member.size > len(content):
        return f"{member.size} bytes are no picture"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_TOOL_PICTURES) as picture:
                width, height = picture.size
                if width * height > LARGEST:
                    return f"{width} x {height} pixels"
                picture.load()
    except UnidentifiedImageError:
        return f"not one of {', '.join(_TOOL_PICTURES)}"
    except Exception as error:  # decoders on hostile bytes raise nearly anything: struct, zlib, Key, Value, Overflow
        return " ".join(str(error).split())[:120] or type(error).__name__
    return ""


def _no_tensor(content: bytes, member: Member, shape: tuple[int, ...], dtype: str) -> tuple[str, str] | None:
    """Why the .npy is not the tensor that the model takes, and the fix."""
    header = _npy(content)
    if header is None:
        return "is no .npy file", "write it with numpy.save, allow_pickle=False"
    got, kind, offset = header
    if kind.hasobject:
        return "holds Python objects, which are a pickle", "save an array of numbers, or use NumpyObject"
    if str(kind) != dtype:
        return f"is {kind}, the model's input is {dtype}", f"save it as {dtype}, in this machine's byte order"
    if member.size != offset + math.prod(got) * kind.itemsize:
        return "is shorter or longer than its header says", "write it again; was it copied whole?"
    if shape and got != shape:
        if got == shape[1:]:
            return f"is {list(got)}: the batch axis is missing", f"save it as {list(shape)}"
        return f"is {list(got)}, the model's input is {list(shape)}", f"save it as {list(shape)}"
    return None


def _npy(content: bytes) -> tuple[tuple[int, ...], Any, int] | None:
    """Shape, dtype and offset of the data; the header is a literal, and nothing in it is run."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0), (3, 0)):
            return None
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    if any(size < 0 for size in shape):
        return None
    return tuple(int(size) for size in shape), dtype, file.tell()


def _other(suffix: str) -> str:
    fits = [name for name, suffixes in _SUFFIXES.items() if suffix in suffixes]
    return f"set calibration_format to {' or '.join(fits)}" if fits else "pack nothing but samples"


def _enough(one: InputQuantConfig, index: int, count: int) -> Findings:
    at: At = ("quant", "input_configs", index, "calibration_dataset")
    if count == 0:
        yield Finding(at, "the archive is empty", "pack samples; 32 is the usual number")
    elif "calibration_size" in one.model_fields_set and count < one.calibration_size:
        what = f"the archive has {count} of the {one.calibration_size} samples that calibration_size asks for"
        yield warning((*at[:-1], "calibration_size"), what, f"pack more, or write {count} or -1")


def _paired(stems: Mapping[str, tuple[int, frozenset[str]]]) -> Findings:
    """Samples of several inputs belong together by name: those of one name are one run of the model."""
    first = next(iter(stems.values()), None)
    for name, (index, names) in stems.items():
        if first is not None and names != first[1] and names and first[1]:
            odd = min(names ^ first[1])
            what = (
                f"samples of several inputs go together by name, and {odd!r} is not there for both {name!r} and others"
            )
            at: At = ("quant", "input_configs", index, "calibration_dataset")
            yield Finding(at, what, "name the members alike in every archive")
