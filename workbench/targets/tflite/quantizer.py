"""From a float file and the span of each of its activations to integers, by TensorFlow's own quantizers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from workbench.errors import ToolError, UnsupportedError
from workbench.quant.ranges import Range
from workbench.runtimes._quiet import native_quiet, quiet
from workbench.targets.tflite import flatbuffer, saturation, tables

Integers = Literal["int8", "int16x8"]

_EDGES = frozenset({"DEQUANTIZE", "QUANTIZE"})
_SHOWN = 5


def quantize(
    data: bytes,
    spans: Mapping[int, Range],
    variant: Integers,
    *,
    integer_io: bool,
    tf: Any,
    told: Callable[[str], str] = str,
) -> Any:
    """The `ModelT` tree of `data` in integers.

    Weights are S8, symmetric and per output channel, biases as wide as the sums they start; activations are S8 with a
    zero point for int8, S16 around 0 for int16x8. No sample is run: the spans stand where TensorFlow's calibration
    writes what it has seen, so that its quantizers take the choice of any method.

    Args:
        data: a float .tflite file.
        spans: by place in the first graph, for every float activation.
        variant: int8 or int16x8.
        integer_io: whether inputs and outputs are integers too; otherwise they stay float, and are quantized inside.
        tf: the TensorFlow module.
        told: what a message calls a tensor, by its name in the file.

    Raises:
        UnsupportedError: operators that cannot be computed in integers; they are named.
        ToolError: the quantizer fails, or this TensorFlow has none where it is looked for.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = flatbuffer.unpack(data)
    for index, span in spans.items():
        parameters = schema.QuantizationParametersT()
        parameters.min, parameters.max = [span.low], [span.high]
        model.subgraphs[0].tensors[index].quantization = parameters
    _unshare(model)
    run = _int8(tf, integer_io) if variant == "int8" else _int16(tf, integer_io)
    try:
        with quiet(), native_quiet():
            made: bytes = run(flatbuffer.pack(model))
    except Exception as error:  # both throw what their native code throws, RuntimeError or a class of no public module
        raise _failure(str(error), model, variant, told) from error
    quantized = flatbuffer.unpack(made)
    if variant == "int8":
        tables.use_tables(quantized)
    saturation.drop_idle_limits(quantized)
    if left := _left_in_float(quantized, integer_io):
        raise _refused(left, quantized, variant, told)
    return quantized


def _int8(tf: Any, integer_io: bool) -> Callable[[bytes], bytes]:
    try:
        from tensorflow.lite.python.convert import mlir_quantize
    except ImportError as error:
        raise _missing(tf) from error
    edge = tf.int8 if integer_io else tf.float32

    def run(data: bytes) -> bytes:
        made: bytes = mlir_quantize(data, input_data_type=edge, output_data_type=edge)
        return made

    return run


def _int16(tf: Any, integer_io: bool) -> Callable[[bytes], bytes]:
    try:
        from tensorflow.lite.python.optimize.calibrator import Calibrator
    except ImportError as error:
        raise _missing(tf) from error
    edge = tf.int16 if integer_io else tf.float32

    def nothing() -> Iterator[Any]:
        return iter(())

    def run(data: bytes) -> bytes:
        # Its calibration keeps what the tensors say already, when it is given no sample.
        made = Calibrator(data).calibrate_and_quantize(nothing, edge, edge, False, tf.int16, tf.int64)
        return bytes(made)

    return run


def _unshare(model: Any) -> None:
    """Give every reader of a constant its own copy.

    The 16-bit quantizer writes a constant's integers over it, in the scale of one reader: of two convolutions with
    equal biases, which the converter makes one tensor, the second computed with a bias 19 times too large.
    """
    graph = model.subgraphs[0]
    tensors, buffers = set(), set()
    for operator in graph.operators or ():
        operator.inputs = [int(index) for index in operator.inputs]
        for place, index in enumerate(operator.inputs):
            if index < 0 or not flatbuffer.constant(model, index):
                continue
            if index in tensors:
                graph.tensors.append(copy.copy(graph.tensors[index]))
                operator.inputs[place] = index = len(graph.tensors) - 1
            tensors.add(index)
            tensor = graph.tensors[index]
            if tensor.buffer in buffers:
                model.buffers.append(copy.copy(model.buffers[tensor.buffer]))
                tensor.buffer = len(model.buffers) - 1
            buffers.add(tensor.buffer)


def _left_in_float(model: Any, integer_io: bool) -> list[tuple[str, Any]]:
    """The operators that a quantizer did not turn into integers, by schema name."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    left: list[tuple[str, Any]] = []
    edges: list[tuple[str, Any]] = []
    for kind, operator in flatbuffer.named_operators(model):
        places = [int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0]
        if any(graph.tensors[index].type == schema.TensorType.FLOAT32 for index in places):
            (edges if kind in _EDGES else left).append((kind, operator))
    return left or (edges if integer_io else [])


def _failure(text: str, model: Any, variant: Integers, told: Callable[[str], str]) -> ToolError:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    _, found, refused = (lines[0] if lines else "").partition("not yet supported for op: ")
    if found:
        refused = refused.strip("'.")
        named = [(kind, op) for kind, op in flatbuffer.named_operators(model) if kind == refused]
        return _refused(named, model, variant, told)
    return ToolError(
        f"TensorFlow's quantizer failed: {lines[0] if lines else 'it does not say why'}",
        fix=f"simplify the graph or cut it, or drop the {variant} variant",
    )


def _refused(
    operators: list[tuple[str, Any]], model: Any, variant: Integers, told: Callable[[str], str]
) -> UnsupportedError:
    """The error that `operators` of `model` cannot be computed in integers, by kind, with what they make."""
    graph = model.subgraphs[0]
    made: dict[str, list[str]] = {}
    for kind, operator in operators:
        made.setdefault(kind, []).append(told(graph.tensors[operator.outputs[0]].name.decode("utf-8", "replace")))
    shown = [f"{kind} for {', '.join(list(dict.fromkeys(names))[:_SHOWN])}" for kind, names in sorted(made.items())]
    return UnsupportedError(
        f"TensorFlow Lite does not compute these operators in {variant}: {'; '.join(shown)}",
        fix=f"cut the graph before them (surgery pass cut_outputs), or drop the {variant} variant",
    )


def _missing(tf: Any) -> ToolError:
    return ToolError(
        f"TensorFlow {tf.__version__} has no quantizer where 2.18 to 2.21 have it", fix="install tensorflow 2.21"
    )
