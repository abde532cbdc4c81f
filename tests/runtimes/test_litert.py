"""LiteRT behind the Runner protocol: names, types, threads, and files that are not what they say."""

from pathlib import Path

import numpy as np
import pytest

from workbench.errors import ToolError
from workbench.runtimes.litert import LiteRtRunner, extremes
from workbench.targets.tflite.flatbuffer import pack

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def tiny(path: Path, *, signatures=("serving_default",), dtype="FLOAT32", scale=0.0, zero_point=0, custom=b"") -> Path:
    """Write a file that doubles its one input: ``in`` + ``in`` -> ``out``, called ``x`` and ``y`` in its signatures."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    model.operatorCodes = [schema.OperatorCodeT()]
    kind = schema.BuiltinOperator.CUSTOM if custom else schema.BuiltinOperator.ADD
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = kind
    model.operatorCodes[0].customCode = custom or None
    graph = schema.SubGraphT()
    graph.tensors = []
    for name in (b"in", b"out"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, [1, 2, 3, 1], 0
        tensor.type = getattr(schema.TensorType, dtype)
        if scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
        graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 0], [1]
    if not custom:
        operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.subgraphs = [graph]
    model.signatureDefs = []
    for key in signatures:
        signature = schema.SignatureDefT()
        signature.signatureKey = key.encode()
        signature.inputs, signature.outputs = [named(b"x", 0)], [named(b"y", 1)]
        model.signatureDefs.append(signature)
    path.write_bytes(pack(model))
    return path


def named(name: bytes, index: int):
    """A signature's name for tensor `index`."""
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


NUMBERS = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)


def test_ports_carry_the_names_of_the_signature(tmp_path):
    """A file with a signature is fed and read by its names, in NHWC."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite"), threads=1) as runner:
        assert [(port.name, port.shape, port.dtype) for port in runner.inputs] == [("x", (1, 2, 3, 1), "float32")]
        assert [port.name for port in runner.outputs] == ["y"]
        assert (runner.layout, runner.runtime) == ("NHWC", "LiteRT")
        np.testing.assert_array_equal(runner.run({"x": NUMBERS})["y"], 2 * NUMBERS)


def test_file_without_signature_has_tensor_names(tmp_path):
    """An old file, without a signature, is fed and read by the names of its tensors."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite", signatures=())) as runner:
        np.testing.assert_array_equal(runner.run({"in": NUMBERS})["out"], 2 * NUMBERS)


def test_first_signature_by_name_is_taken_without_a_default(tmp_path):
    """Without serving_default the first signature in name order is taken."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite", signatures=("b", "a"))) as runner:
        assert [port.name for port in runner.inputs] == ["x"]


@pytest.mark.parametrize("dtype", ["INT8", "INT16", "UINT8"])
def test_quantized_tensors_are_fed_and_read_as_values(dtype, tmp_path):
    """Integers with a scale are float32 outside: halves go to even, and what does not fit to the nearest end."""
    path = tiny(tmp_path / "a.tflite", dtype=dtype, scale=0.5, zero_point=2 if dtype != "INT16" else 0)
    values = np.float32([0, 0.25, 0.75, 7, 1e9, np.inf]).reshape(NUMBERS.shape)

    with LiteRtRunner(path) as runner:
        assert [port.dtype for port in (*runner.inputs, *runner.outputs)] == ["float32", "float32"]
        result = runner.run({"x": values})["y"]

    assert result.dtype == np.float32
    np.testing.assert_array_equal(result.ravel()[:4], [0, 0, 2, 14])
    most = (np.iinfo(dtype.lower()).max - (2 if dtype != "INT16" else 0)) * 0.5
    np.testing.assert_array_equal(result.ravel()[4:], [most, most])


def test_bytes_that_are_their_values_stay_bytes(tmp_path):
    """A file that takes pixels takes bytes."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite", dtype="UINT8", scale=1.0)) as runner:
        assert [port.dtype for port in (*runner.inputs, *runner.outputs)] == ["uint8", "uint8"]
        np.testing.assert_array_equal(runner.run({"x": NUMBERS.astype(np.uint8)})["y"], (2 * NUMBERS).astype(np.uint8))


def test_nan_is_no_integer(tmp_path):
    """NaN cannot be quantized, and is refused rather than turned into some number."""
    path = tiny(tmp_path / "a.tflite", dtype="INT8", scale=0.5)
    told = "NaN has no place among the integers of input 'x'"

    with LiteRtRunner(path) as runner, pytest.raises(ToolError, match=told):
        runner.run({"x": NUMBERS * np.float32(np.nan)})


def test_extremes_cover_all_runs(tmp_path):
    """The smallest and largest value of any tensor over all feeds, the input's and what is made of it."""
    data = tiny(tmp_path / "a.tflite").read_bytes()

    assert extremes(data, [0, 1], iter([{"x": NUMBERS}, {"x": -3 * NUMBERS}])) == {0: (-15.0, 5.0), 1: (-30.0, 10.0)}


def test_extremes_refuse_what_has_none(tmp_path):
    """No feeds, a feed that does not fit, and a tensor that is not finite are errors that say which."""
    data = tiny(tmp_path / "a.tflite").read_bytes()

    with pytest.raises(ToolError, match="no samples to observe"):
        extremes(data, [1], iter([]))
    with pytest.raises(ToolError, match="LiteRT cannot run the model"):
        extremes(data, [1], iter([{"x": NUMBERS[:, :1]}]))
    with pytest.raises(ToolError, match="tensor 'out' is NaN or infinite for sample 1"):
        extremes(data, [1], iter([{"x": NUMBERS}, {"x": NUMBERS * np.float32(np.nan)}]))


def test_a_transposed_view_is_fed_as_it_reads(tmp_path):
    """Arrays need not be contiguous."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite")) as runner:
        view = NUMBERS.reshape(1, 3, 2, 1).transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(runner.run({"x": view})["y"], 2 * view)


def test_results_are_not_overwritten_by_the_next_run(tmp_path):
    """What a run returned stays what it was."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite")) as runner:
        first = runner.run({"x": NUMBERS})["y"]
        runner.run({"x": NUMBERS + 1})
        np.testing.assert_array_equal(first, 2 * NUMBERS)


@pytest.mark.parametrize(
    ("feeds", "told"),
    [
        ({}, "the model takes ['x']"),
        ({"in": NUMBERS}, "the model takes ['x'], given were ['in']"),
        ({"x": NUMBERS.astype(np.float64)}, "FLOAT64"),
        ({"x": NUMBERS[:, :1]}, "LiteRT cannot run the model"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds, told, tmp_path):
    """Other names, types or shapes than the ports' are an error, not a wrong result."""
    with LiteRtRunner(tiny(tmp_path / "a.tflite")) as runner, pytest.raises(ToolError) as caught:
        runner.run(feeds)
    assert told in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1, -40])
def test_truncated_file_is_refused(size, tmp_path):
    """A download that stopped early is an error with the path and the fix."""
    path = tiny(tmp_path / "a.tflite")
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ToolError, match="LiteRT cannot load the model") as caught:
        LiteRtRunner(path)
    assert caught.value.where == str(path)
    assert "whole .tflite file" in caught.value.fix


def test_other_files_are_refused(tmp_path):
    """Text, a folder and nothing at all are no models."""
    (tmp_path / "a.tflite").write_text("not a model, " * 50)

    with pytest.raises(ToolError, match="LiteRT cannot load the model"):
        LiteRtRunner(tmp_path / "a.tflite")
    for path in (tmp_path, tmp_path / "none.tflite"):
        with pytest.raises(ToolError, match="no such file"):
            LiteRtRunner(path)


def test_custom_operator_is_named(tmp_path):
    """A file with an operator LiteRT does not have says which."""
    with pytest.raises(ToolError, match="MyOwn"):
        LiteRtRunner(tiny(tmp_path / "a.tflite", custom=b"MyOwn"))


def test_file_without_a_graph_is_refused(tmp_path):
    """A file that holds no graph would end the process inside LiteRT, so it is not shown to it."""
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    (tmp_path / "a.tflite").write_bytes(pack(model))

    with pytest.raises(ToolError, match="there is no graph inside"):
        LiteRtRunner(tmp_path / "a.tflite")


def test_damaged_bytes_never_end_the_process(tmp_path):
    """Single bytes changed anywhere give a model or an error, never a crash."""
    data = tiny(tmp_path / "a.tflite").read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for place in random.choice(len(data), 150, replace=False):
        broken = bytearray(data)
        broken[place] = random.integers(256)
        (tmp_path / "b.tflite").write_bytes(bytes(broken))
        try:
            with LiteRtRunner(tmp_path / "b.tflite", threads=1) as runner:
                runner.run({port.name: np.zeros((1, 2, 3, 1), port.dtype) for port in runner.inputs})
            outcomes.add("runs")
        except ToolError:
            outcomes.add("refused")
    assert outcomes == {"runs", "refused"}
