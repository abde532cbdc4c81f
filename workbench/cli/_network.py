"""What an ONNX file says of itself: its pictures in and its tensors out, or why it cannot be quantized as it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from pydantic import TypeAdapter, ValidationError

from workbench.errors import RecipeError, ToolError, UnsupportedError
from workbench.graph import io, naming, walk
from workbench.recipe.schema import InnerTensor

Dims = tuple[int | None, ...]

_QUANTIZED = re.compile(r"(Dynamic)?(Dequantize|Quantize)Linear|QLinear\w+|\w+Integer")
_NCHW_EXPORT = "export it as NCHW, e.g. tf2onnx --inputs-as-nchw IN --outputs-as-nchw OUT"


@dataclass(frozen=True)
class Tensor:
    """An input or output: what it is called in the file and in the artifacts, and its static NCHW shape."""

    tensor: str
    name: str
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Network:
    """An ONNX file that can be quantized.

    Attributes:
        sha256: of the file.
        notes: what was taken for granted, for people.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sha256: str
    notes: tuple[str, ...]


def inspect(path: Path, size: tuple[int, int] | None = None) -> Network:
    """Read the inputs and outputs of the network in `path`.

    Args:
        path: an ONNX file.
        size: height and width of the pictures, for a network that leaves them open.

    Raises:
        ToolError: the file cannot be read or is no ONNX graph.
        RecipeError: `size` is needed, or contradicts the file.
        UnsupportedError: it is quantized already, takes no pictures or other things beside them, is not NCHW, or gives
            tensors that a recipe has no place for; the tensor or node is named.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ToolError("cannot read the model: not a file", where=str(path), fix="give a .onnx file")
    graph = io.read(path).graph
    try:
        _refuse_quantized(graph)
        values = [value for value in graph.inputs if value.name not in graph.initializers]
        notes: list[str] = []
        shapes = {str(value.name): _picture(value, size, notes) for value in values}
        if not shapes:
            raise UnsupportedError("the network has no input", fix="give a network that takes pictures")
        found = _answers(path, graph.outputs, shapes)
        names = _Names()
        inputs = [Tensor(name, names(name, "input"), shape) for name, shape in shapes.items()]
        outputs = [Tensor(name, names(name, "output"), shape) for name, shape in found.items()]
        for one in (*inputs, *outputs):
            _check_name(one.tensor)
    except (ToolError, RecipeError) as error:
        error.where = error.where if str(path) in error.where else f"{path}: {error.where}".removesuffix(": ")
        raise
    notes += [f"output {one.tensor} is called {one.name}" for one in (*inputs, *outputs) if one.tensor != one.name]
    return Network(tuple(inputs), tuple(outputs), hashlib.sha256(path.read_bytes()).hexdigest(), tuple(notes))


def _refuse_quantized(graph: ir.Graph) -> None:
    for node in graph.all_nodes():
        if _QUANTIZED.fullmatch(node.op_type):
            raise UnsupportedError(
                f"the model is quantized already ({node.op_type})",
                where=walk.label(node),
                fix="give the float model it was made from",
            )


def _picture(value: ir.Value, size: tuple[int, int] | None, notes: list[str]) -> tuple[int, int, int, int]:
    """The static shape of an input, after it was made sure that a picture can become it."""
    name = str(value.name)
    _check_float(value, "input")
    dims = _dims(value)
    if dims is None or len(dims) != 4:
        raise UnsupportedError(
            f"input {name!r} is {_show(dims)}, which is no picture: those have four dimensions",
            fix="give a network whose inputs are all pictures, or cut the other inputs away",
        )
    batch, channels, height, width = dims
    if channels not in (1, 3):
        if dims[3] in (1, 3):
            raise UnsupportedError(f"input {name!r} is {_show(dims)}, which is NHWC", fix=_NCHW_EXPORT)
        raise UnsupportedError(
            f"input {name!r} is {_show(dims)}: a picture has 1 or 3 channels, here second of the four",
            fix="give a network that takes pictures, with a static number of channels",
        )
    if batch is not None and batch > 1:
        raise UnsupportedError(
            f"input {name!r} is {_show(dims)}: {batch} pictures at a time", fix="export the network with a batch of one"
        )
    if size is None and (height is None or width is None):
        raise RecipeError(
            f"input {name!r} has a dynamic shape, {_show(dims)}", fix="add --size HEIGHT WIDTH, or export it static"
        )
    if size is not None and any(have not in (None, want) for have, want in zip((height, width), size, strict=True)):
        raise RecipeError(f"input {name!r} is {_show(dims)}, and --size is {size[0]} {size[1]}", fix="leave --size out")
    high, wide = size or (height or 0, width or 0)
    notes.append(f"input {name} {_show(dims)} is read as NCHW: {channels} channels, {high} high, {wide} wide")
    if batch is None:
        notes.append(f"input {name}: one picture at a time, as the file leaves that open")
    return (1, channels, high, wide)


def _answers(
    path: Path, outputs: Sequence[ir.Value], inputs: Mapping[str, tuple[int, int, int, int]]
) -> dict[str, tuple[int, int, int, int]]:
    """The static shapes of the outputs; where the file does not tell them, the network is run once on nothing."""
    known: dict[str, Dims | None] = {}
    for value in outputs:
        _check_float(value, "output")
        known[str(value.name)] = _dims(value)
    if any(dims is None or None in dims for dims in known.values()):
        from workbench.runtimes._quiet import quiet
        from workbench.runtimes.onnxruntime import OnnxRunner

        with quiet(), OnnxRunner(path, optimize=False) as runner:
            results = runner.run({name: np.zeros(shape, np.float32) for name, shape in inputs.items()})
        known = {name: results[name].shape for name in known}
    found = {}
    for name, dims in known.items():
        if dims is None or len(dims) != 4:
            raise UnsupportedError(
                f"output {name!r} is {_show(dims)}; artifacts have outputs of four dimensions",
                fix="cut the network before the layer that flattens it, e.g. with onnx.utils.extract_model",
            )
        first, second, third, fourth = (size or 0 for size in dims)
        found[name] = (first, second, third, fourth)
    if not found:
        raise UnsupportedError("the network has no output", fix="was it exported whole?")
    return found


def _check_float(value: ir.Value, what: str) -> None:
    if value.dtype not in (None, ir.DataType.FLOAT):
        raise UnsupportedError(
            f"{what} {value.name!r} is {value.dtype.name.lower()}, not float32", fix="export the network in float32"
        )


def _check_name(name: str) -> None:
    """Make sure that a recipe can speak of the tensor."""
    try:
        TypeAdapter(InnerTensor).validate_python(name)
    except ValidationError as error:
        raise UnsupportedError(
            f"a recipe cannot name the tensor {name!r}",
            fix="rename it in the file: up to 512 characters, none of them a tab or line end",
        ) from error


def _dims(value: ir.Value) -> Dims | None:
    """The sizes of a tensor, None for those that are left open; None for a tensor whose rank nobody knows."""
    if value.shape is None:
        return None
    return tuple(size if isinstance(size, int) and size > 0 else None for size in value.shape)


def _show(dims: Dims | None) -> str:
    return "of unknown shape" if dims is None else f"[{', '.join('?' if size is None else str(size) for size in dims)}]"


class _Names:
    """Names for artifacts, each once: what a tensor is called, without the signs that not every format can hold."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, tensor: str, kind: str) -> str:
        """The name of `tensor`, which is a `kind`."""
        wanted = plain(tensor)
        if not re.match(r"[A-Za-z_]", wanted):
            wanted = f"{kind}_{wanted}".rstrip("_")
        return naming.unique(wanted, self._taken)


def plain(text: str, otherwise: str = "") -> str:
    """`text` of letters, digits and ``_ . -`` alone, at most 100 of them; `otherwise` where nothing is left."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", text).strip("_.-")[:100] or otherwise
