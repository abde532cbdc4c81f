"""Small graphs from text, run before and after surgery on the same picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from workbench.engine.progress import Silent
from workbench.graph import io, shapes, walk
from workbench.recipe.schema import InputSpec
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.surgery._pass import Pass
from workbench.surgery._run import Surgery, run_passes


def graph(text: str, opset: int = 17, **weights: np.ndarray) -> ir.Model:
    """A model from ``(inputs) => (outputs) { nodes }`` in ONNX's text form; `weights` become initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}, "custom": 1]> tiny {text}')
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(data), name) for name, data in weights.items()
    )
    return ir.serde.deserialize_model(proto)


def operators(model: ir.Model) -> list[str]:
    """The operators of the graph in order."""
    return [node.op_type for node in model.graph]


def node(model: ir.Model, output: str) -> ir.Node:
    """The node that makes `output`."""
    found = walk.tensors(model.graph)[output].producer()
    assert found is not None
    return found


def random(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Float32 numbers, the same on every run."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def run(model: ir.Model, feeds: Mapping[str, np.ndarray], also: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The outputs of `model`, and its inner tensors `also`, by name, without onnxruntime's own optimization."""
    copy = io.from_bytes(io.to_bytes(model))
    shapes.refresh(copy)
    tensors = walk.tensors(copy.graph)
    copy.graph.outputs.extend(tensors[name] for name in also if not tensors[name].is_graph_output())
    with OnnxRunner(io.to_bytes(copy), optimize=False) as runner:
        return runner.run({port.name: feeds[port.name] for port in runner.inputs})


def specs(model: ir.Model, batch: int = 1) -> tuple[InputSpec, ...]:
    """What a recipe would say of the picture inputs of `model`: plain 0..255 pixels."""
    found = []
    for value in model.graph.inputs:
        dims = tuple(dim if isinstance(dim, int) else batch for dim in value.shape or ())
        if len(dims) == 4 and dims[1] in (1, 3):
            found.append(InputSpec(name=str(value.name), shape=dims, color="RGB" if dims[1] == 3 else "GRAY"))
    return tuple(found)


def prepare(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """RGB or grey planes 0..255 as the tensor `spec` describes."""
    mean, std = (np.array(values, np.float32).reshape(1, -1, 1, 1) for values in spec.per_channel)
    ordered = pixels[:, ::-1] if spec.color == "BGR" else pixels
    return np.ascontiguousarray((ordered - mean) / std)


def operate(model: ir.Model, *steps: Pass) -> Surgery:
    """Run `steps`, and assert that every tensor that still exists has the values it had.

    Outputs and inner tensors are compared by name, renamed ones by their new name; pictures go through the
    preprocessing that holds before and after.
    """
    before = io.from_bytes(io.to_bytes(model))
    wanted = next((step.batch for step in steps if step.name() == "static_batch"), 1)
    old_specs = specs(before, wanted)
    result = run_passes(model, [(step.name(), step) for step in steps], old_specs, progress=Silent())
    old_feeds, new_feeds = {}, {}
    described = {spec.name: (spec, after) for spec, after in zip(old_specs, result.inputs, strict=True)}
    for index, value in enumerate(before.graph.inputs):
        name = str(value.name)
        if name in described:
            spec, after = described[name]
            shape = (wanted, *spec.nchw[1:])
            pixels = np.random.default_rng(index).integers(0, 256, shape).astype(np.float32)
            old_feeds[name], new_feeds[after.name] = prepare(pixels, spec), prepare(pixels, after)
        else:
            dims = tuple(dim if isinstance(dim, int) else wanted for dim in value.shape or ())
            old_feeds[name] = new_feeds[result.now_called(name) or name] = random(*dims, seed=index)
    now = set(walk.made(model.graph))
    pairs = {old: new for old in walk.made(before.graph) if (new := result.now_called(old)) in now}
    assert pairs, "nothing can be compared"
    expected = run(before, old_feeds, tuple(pairs))
    got = run(model, new_feeds, tuple(pairs.values()))
    for old, new in pairs.items():
        assert expected[old].shape == got[new].shape, f"{old} -> {new}"
        np.testing.assert_allclose(got[new], expected[old], rtol=2e-5, atol=2e-5, err_msg=f"{old} -> {new}")
    return result
