"""Walk a graph operator by operator over a set of samples, each operator a little onnxruntime session of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx.numpy_helper
import onnx_ir as ir

from workbench.errors import ToolError
from workbench.graph import constants, shapes, walk
from workbench.quant.scheme import Grid
from workbench.runtimes.onnxruntime import OnnxRunner

Array = npt.NDArray[np.generic]

# onnxruntime's own operators take 16 bits in any opset, and its optimizer never gives a lone pair of them to a
# convolution: a DequantizeLinear of ONNX in front of one makes recent versions round float weights on their own.
_MICROSOFT = "com.microsoft"
_TINY = 1e-30  # a sum of float32 squares below it may have lost most of them


@dataclass(frozen=True)
class Step:
    """One operator, with the activations it takes into itself.

    Args:
        nodes: in graph order.
        reads: the activations it needs, inputs of the graph included.
        makes: the tensors that later steps or the outside read.
        frees: what nobody reads after it.
    """

    nodes: tuple[ir.Node, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    frees: tuple[str, ...]


def steps(model: ir.Model, inside: Mapping[str, str], keep: Collection[str] = ()) -> tuple[Step, ...]:
    """The operators of `model` in graph order; inferred types and shapes are written into it.

    Args:
        model: without subgraphs.
        inside: by tensor within an operator, the tensor that its last node makes; see `plan.inside_operators`.
        keep: tensors that no step frees.

    Raises:
        UnsupportedError: the graph's shapes contradict each other.
    """
    shapes.refresh(model)
    groups: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        if walk.is_op(node, "Constant"):
            continue
        first = next((value.name for value in node.outputs if value.name), "")
        groups.setdefault(inside.get(first, first), []).append(node)
    outlines = [(tuple(nodes), _reads(nodes), _makes(nodes)) for nodes in groups.values()]
    last: dict[str, int] = {}
    for index, (_, reads, makes) in enumerate(outlines):
        last.update(dict.fromkeys((*makes, *reads), index))
    return tuple(
        Step(nodes, reads, makes, tuple(name for name in last if last[name] == index and name not in keep))
        for index, (nodes, reads, makes) in enumerate(outlines)
    )


def session_bytes(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    outputs: Sequence[str],
    *,
    grids: Mapping[str, Grid] | None = None,
) -> bytes:
    """An ONNX model of `nodes` alone, with the constants they read as they are now.

    Args:
        model: the whole, for its opsets.
        nodes: of its graph, in order.
        outputs: the tensors to answer.
        grids: outputs and constants that stand on a grid: rounded to it, as float32.
    """
    grids = grids or {}
    proto = onnx.ModelProto()
    proto.ir_version = max(model.ir_version, 8)
    for domain, version in {**model.opset_imports, _MICROSOFT: 1}.items():
        proto.opset_import.add(domain=domain, version=version)
    proto.functions.extend(ir.serde.serialize_function(function) for function in model.functions.values())
    graph = proto.graph
    graph.name = "step"
    graph.node.extend(ir.serde.serialize_node(node) for node in nodes)
    made = {value.name for node in nodes for value in node.outputs}
    seen: set[str] = set()
    for value in (value for node in nodes for value in node.inputs if value is not None):
        name = str(value.name)
        if name in made or name in seen:
            continue
        seen.add(name)
        data = constants.array(value)
        if data is None:
            graph.input.append(ir.serde.serialize_value(value))
        else:
            grid = grids.get(name)
            held = data if grid is None else grid.dequantize(grid.quantize(data.astype(np.float32)))
            graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(held), name))
    kinds = {value.name: value for node in nodes for value in node.outputs}
    for name in outputs:
        graph.output.append(ir.serde.serialize_value(kinds[name]))
        if name in grids:
            _round(graph, name, grids[name], made | seen)
    data_bytes: bytes = proto.SerializeToString(deterministic=True)
    return data_bytes


class Side:
    """The living tensors of one walk: by name, one array a sample.

    Raises:
        ToolError: a sample does not fit the inputs of the model, or holds NaN or Inf.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Mapping[str, Array]]) -> None:
        self._live: dict[str, list[Array]] = {str(value.name): [] for value in model.graph.inputs}
        self._count = len(samples)
        for index, sample in enumerate(samples):
            if set(sample) != set(self._live):
                raise ToolError(
                    f"sample {index + 1} has inputs {sorted(sample)}", fix=f"the model has {sorted(self._live)}"
                )
            for value in model.graph.inputs:
                self._live[str(value.name)].append(_fitting(value, sample[str(value.name)], index))

    def __getitem__(self, name: str) -> list[Array]:
        return self._live[name]

    def stand_on(self, name: str, grid: Grid) -> None:
        """Round the tensor `name` to `grid`."""
        self._live[name] = [grid.dequantize(grid.quantize(array.astype(np.float32))) for array in self._live[name]]

    def run(self, step: Step, network: bytes) -> None:
        """Make the tensors of `step` for all samples, by the session of `session_bytes`.

        Raises:
            ToolError: onnxruntime cannot load or run it, or a tensor is NaN or infinite.
        """
        made: dict[str, list[Array]] = {name: [] for name in step.makes}
        with OnnxRunner(network) as runner:
            names = [port.name for port in runner.inputs]
            for index in range(self._count):
                for name, array in runner.run({name: self._live[name][index] for name in names}).items():
                    _refuse_nan(name, array, index, walk.label(step.nodes[-1]))
                    made[name].append(array)
        self._live.update(made)

    def free(self, step: Step) -> None:
        """Forget what nobody reads after `step`."""
        for name in step.frees:
            self._live.pop(name, None)

    def mean(self, name: str) -> Array:
        """The mean over the samples, float32, in the shape of the tensor."""
        arrays = self._live[name]
        total = arrays[0].astype(np.float32)
        for array in arrays[1:]:
            np.add(total, array, out=total)
        return np.divide(total, np.float32(len(arrays)))


def cosine(first: Sequence[Array], second: Sequence[Array]) -> float:
    """The cosine between two tensors, all samples as one; 1 when both are zero everywhere, 0 when one is."""
    both, one, other = _products(first, second, _product)
    if not all(_TINY < size < math.inf for size in (one, other)):
        both, one, other = _products(first, second, _wide_product)
    if not (one and other):
        return float(one == other)
    return both / math.sqrt(one) / math.sqrt(other)


def _products(
    first: Sequence[Array], second: Sequence[Array], product: Callable[[Array, Array], float]
) -> tuple[float, float, float]:
    """The sums over all samples of ``a.b``, ``a.a`` and ``b.b``."""
    pairs = list(zip(first, second, strict=True))
    return (
        sum(product(a, b) for a, b in pairs),
        sum(product(a, a) for a, _ in pairs),
        sum(product(b, b) for _, b in pairs),
    )


def peak_bytes(model: ir.Model, walked: Iterable[Step]) -> int:
    """The most bytes that live at once for one sample on one side of a walk; unknown shapes count as nothing."""
    sizes = {str(value.name): _bytes(value) for value in (*model.graph.inputs, *walk.made(model.graph).values())}
    live = {str(value.name) for value in model.graph.inputs}
    peak = 0
    for step in walked:
        live.update(step.makes)
        peak = max(peak, sum(sizes[name] for name in live))
        live.difference_update(step.frees)
    return peak


def evenly(count: int, most: int) -> tuple[int, ...]:
    """At most `most` of the indexes below `count`, evenly spaced, first and last among them where `most` > 1."""
    chosen = min(count, max(most, 1))
    if chosen == 1:
        return (0,)
    return tuple(index * (count - 1) // (chosen - 1) for index in range(chosen))


def _reads(nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    made = {value for node in nodes for value in node.outputs}
    read = [value for node in nodes for value in node.inputs if value is not None and value not in made]
    return tuple(dict.fromkeys(str(value.name) for value in read if constants.array(value) is None))


def _makes(nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    """What others read of the outputs of `nodes`; all of them when nobody reads any."""
    made = [value for node in nodes for value in node.outputs if value.name]
    read = [value for value in made if value.is_graph_output() or set(walk.consumers(value)) - set(nodes)]
    return tuple(str(value.name) for value in read or made)


def _round(graph: onnx.GraphProto, name: str, grid: Grid, taken: Collection[str | None]) -> None:
    """Let the last node's output `name` pass through the integers of `grid`."""
    before, integers, scale, zero = (_free(f"{name}/{part}", taken) for part in ("float", "integers", "scale", "zero"))
    for node in graph.node:
        for ends in (node.input, node.output):
            for index, end in enumerate(ends):
                if end == name:
                    ends[index] = before
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(grid.scale, np.float32), scale))
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(grid.zero_point, grid.dtype), zero))
    make = onnx.helper.make_node
    graph.node.append(make("QuantizeLinear", [before, scale, zero], [integers], domain=_MICROSOFT))
    graph.node.append(make("DequantizeLinear", [integers, scale, zero], [name], domain=_MICROSOFT))


def _free(wanted: str, taken: Collection[str | None]) -> str:
    while wanted in taken:
        wanted += "_"
    return wanted


def _bytes(value: ir.Value) -> int:
    shape = walk.static_shape(value)
    return 0 if shape is None or value.dtype is None else int(np.prod(shape) * value.dtype.itemsize)


def _fitting(value: ir.Value, data: Array, index: int) -> Array:
    array = np.asarray(data)
    shape, dtype = walk.static_shape(value), None if value.dtype is None else value.dtype.numpy()
    if (shape is not None and array.shape != shape) or (dtype is not None and array.dtype != dtype):
        raise ToolError(
            f"sample {index + 1} has {value.name!r} as {array.dtype} {list(array.shape)}",
            fix=f"the model takes {dtype} {None if shape is None else list(shape)}",
        )
    _refuse_nan(str(value.name), array, index, "")
    return array


def _refuse_nan(name: str, array: Array, index: int, where: str) -> None:
    # A sum of squares is finite for all but huge values, and as quick as reading the tensor once.
    if array.dtype.kind != "f" or math.isfinite(_product(array, array)) or np.isfinite(array).all():
        return
    raise ToolError(
        f"tensor {name!r} is NaN or infinite for sample {index + 1}",
        where=where,
        fix="check the weights, and the preprocessing of that picture",
    )


def _product(first: Array, second: Array) -> float:
    return float(np.vdot(np.asarray(first, np.float32), np.asarray(second, np.float32)))


def _wide_product(first: Array, second: Array) -> float:
    """The same of values whose squares float32 does not hold."""
    return float(np.vdot(np.asarray(first, np.float64), np.asarray(second, np.float64)))
