"""Facts about what one grid costs: what the whole network loses with nothing else rounded, however it is found."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import onnx.parser
import pytest
from _conflict import HEAD, network, pictures
from onnx.reference import ReferenceEvaluator

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.graph import io
from workbench.pose.displacement import reference, task_error
from workbench.quant import sensitivity as module
from workbench.quant.observe import observe
from workbench.quant.plan import plan
from workbench.quant.sensitivity import sensitivity

JUDGE = partial(reference, heatmaps=["heat"], joints=4)
BRANCHES = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,8,8] image) => (float[1,2,8,8] heat, float[1,2,4,4] small) {
    half = Constant <value = float {0.5}> ()
    a = Mul (image, half)
    b = Sigmoid (a)
    c = Concat <axis = 1> (a, b)
    pooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
    left, right = Split <axis = 1, num_outputs = 2> (c)
    d = Mul (left, right)
    heat = Add (d, image)
    small = Relu (pooled)
}""".replace(", num_outputs = 2", "")


def measured(proto, samples, **options):
    """The sensitivities of a network, by tensor."""
    model = io.from_bytes(proto.SerializeToString())
    ranges = observe(proto.SerializeToString(), samples, progress=Silent())
    judge = options.pop("judge", JUDGE)
    found = sensitivity(model, ranges, samples, judge, progress=options.pop("progress", Silent()), **options)
    return model, ranges, {one.tensor: one for one in found}


def node_by_node(proto, feed, grids):
    """The outputs with the tensors of `grids` rounded as soon as they are made; nothing shared with the package."""
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}

    def rounded(name, value):
        if name not in grids:
            return value
        grid = grids[name]
        steps = np.clip(np.rint(value / np.float32(grid.scale)) + grid.zero_point, grid.lowest, grid.highest)
        return ((steps - grid.zero_point) * np.float32(grid.scale)).astype(np.float32)

    held |= {name: rounded(name, value) for name, value in feed.items()}
    for node in proto.graph.node:
        names = [name for name in node.input if name]
        kinds = [onnx.helper.make_tensor_value_info(name, 1, held[name].shape) for name in names]
        ends = [onnx.helper.make_tensor_value_info(name, 1, None) for name in node.output]
        one = onnx.helper.make_model(
            onnx.helper.make_graph([node], "one", kinds, ends), opset_imports=list(proto.opset_import)
        )
        values = ReferenceEvaluator(one).run(None, {name: held[name] for name in names})
        held |= {name: rounded(name, value) for name, value in zip(node.output, values, strict=True)}
    return {value.name: held[value.name] for value in proto.graph.output}


def whole(proto, samples, grids):
    """`node_by_node` over all samples."""
    runs = [node_by_node(proto, feed, grids) for feed in samples]
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


@pytest.mark.parametrize("kind", ["conflict", "branches"])
def test_each_grid_costs_what_a_walk_through_the_network_finds(kind):
    """Concats, a moved tensor, an output on a grid, one grid on both sides of an operator: all as node by node."""
    if kind == "conflict":
        proto, samples, judge = network(), pictures(3), JUDGE
    else:
        proto = onnx.parser.parse_model(BRANCHES)
        random = np.random.default_rng(0)
        samples = [{"image": random.normal(0, 1, (1, 2, 8, 8)).astype(np.float32)} for _ in range(3)]
        judge = partial(reference, heatmaps=["heat"], joints=2)
    model, ranges, found = measured(proto, samples, judge=judge)
    decided = plan(model, ranges)
    true = judge(whole(proto, samples, {}))

    assert set(found) == {decided.owner[name] for name in decided.owner if name not in decided.operands}
    for owner, one in found.items():
        grids = {name: decided.grids[name] for name in one.members}
        assert set(one.members) == {name for name in decided.owner if decided.owner[name] == owner} - decided.operands
        error = task_error(true, whole(proto, samples, grids))
        assert one.cosine == pytest.approx(error.cosine, abs=2e-6), owner
        assert one.worst == pytest.approx(error.worst_cosine, abs=2e-6), owner
        assert one.displacement == pytest.approx(np.nan_to_num(error.displacement), abs=1e-6), owner


def test_the_sensitive_head_is_found():
    """The tensor that 8 bits cannot hold costs five times what any other one does."""
    _, _, found = measured(network(), pictures(4))
    ranked = sorted(found.values(), key=lambda one: -one.loss)
    assert ranked[0].tensor == HEAD
    assert ranked[0].loss > 5 * ranked[1].loss


class Steps(Silent):
    """Keeps what it is told, and has a user who presses Ctrl-C at a number of grids."""

    def __init__(self, at=None):
        self.told = []
        self.at = at

    def step(self, done, total, what):
        self.told.append((done, total, what))
        if done == self.at:
            raise KeyboardInterrupt


def test_an_interrupted_search_goes_on_to_the_same_figures(tmp_path):
    """After Ctrl-C at the third grid the next call begins there, and answers as one without an interruption."""
    samples = pictures(3)
    with pytest.raises(KeyboardInterrupt):
        measured(network(), samples, partial=tmp_path, progress=Steps(at=3))
    steps = Steps()
    _, _, resumed = measured(network(), samples, partial=tmp_path, progress=steps)
    _, _, fresh = measured(network(), samples)

    total = len(fresh)
    assert steps.told == [(done, total, "grids tried alone") for done in range(3, total + 1)]
    assert resumed == fresh


def test_what_is_kept_belongs_to_one_network_and_its_pictures(tmp_path):
    """Another network, and other pictures, begin at nothing."""
    measured(network(), pictures(2), partial=tmp_path)
    for proto, samples in ((network(shift=12), pictures(2)), (network(), pictures(2, seed=4))):
        steps = Steps()
        measured(proto, samples, partial=tmp_path, progress=steps)
        assert steps.told[0][0] == 0


def test_few_values_at_a_time_give_the_same_figures(monkeypatch):
    """With memory for one grid at a time the figures are the same up to float rounding."""
    _, _, at_once = measured(network(), pictures(3))
    monkeypatch.setattr(module, "_BYTES", 1)
    _, _, one_by_one = measured(network(), pictures(3))
    for name, one in at_once.items():
        assert one_by_one[name].cosine == pytest.approx(one.cosine, abs=1e-6)


def test_no_pictures_is_an_error():
    """Nothing to judge by is told, with what to do."""
    model = io.from_bytes(network().SerializeToString())
    with pytest.raises(ToolError, match="no pictures to judge by") as caught:
        sensitivity(model, {}, [], JUDGE, progress=Silent())
    assert caught.value.fix
