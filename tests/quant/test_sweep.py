"""Facts about baking: weights on their grids that every quantizer finds again, and biases corrected once."""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError, UnsupportedError
from workbench.graph import constants, io
from workbench.quant.observe import observe
from workbench.quant.qdq import write_qdq
from workbench.quant.sweep import bake
from workbench.runtimes.onnxruntime import OnnxRunner


def model(text, **held):
    """A graph from its text and the arrays its text only names."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, data in held.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data, np.float32), name))
    return ir.serde.deserialize_model(proto)


def random(*shape, seed=0):
    """Seeded normal float32 values."""
    return np.random.default_rng([seed, zlib.crc32(repr(shape).encode())]).standard_normal(shape).astype(np.float32)


CHAIN = """g (float[1,3,8,8] x) => (float[1,5,8,8] y) {
    c = Conv <pads = [1,1,1,1]> (x, w, b)
    k = Clip (c, zero, six)
    d = Conv <group = 8, pads = [1,1,1,1]> (k, dw)
    r = Relu (d)
    j = Concat <axis = 1> (r, x)
    y = Conv (j, p, q)
}"""


def chain(power=1):
    """Conv and Clip, a depthwise convolution without a bias, a Concat and a 1x1 Conv; odd powers make them uneven."""
    return model(
        CHAIN, w=random(8, 3, 3, 3) ** power, b=random(8), zero=0, six=6, dw=random(8, 1, 3, 3) ** power,
        p=random(5, 11, 1, 1) ** power, q=random(5),
    )  # fmt: skip


def feeds(network, count=8):
    """Seeded inputs that are neither centred nor independent of each other."""
    found = []
    for seed in range(count):
        feed = {v.name: random(*v.shape.numpy(), seed=seed) for v in network.graph.inputs}
        found.append({name: np.abs(data + data.mean() + np.float32(0.5)) for name, data in feed.items()})
    return found


def ranges_of(network, samples):
    """What its own inputs do to it."""
    return observe(io.to_bytes(network), samples, progress=Silent())


def baked(network, samples=None, **options):
    """The report of baking `network` with its own inputs."""
    samples = samples or feeds(network)
    settings = {"correct_bias": True, "rounding": "nearest", "progress": Silent(), **options}
    return bake(network, ranges_of(network, samples), samples, **settings)


def outputs(network, samples):
    """Every first output, (samples, ...)."""
    with OnnxRunner(io.to_bytes(network), optimize=False) as runner:
        return np.stack([next(iter(runner.run(sample).values())) for sample in samples]).astype(np.float64)


def integers(network, samples, names):
    """The integers that our own quantizer finds for these weights."""
    quantized = write_qdq(network, ranges_of(network, samples))
    found = {}
    for node in quantized.graph:
        if node.op_type == "DequantizeLinear" and node.inputs[0].is_initializer():
            for name in names:
                if node.inputs[0].name == f"{name}/quantized":
                    found[name] = node.inputs[0].const_value.numpy()
    assert set(found) == set(names)
    return found


def weight(network, name):
    """A float constant."""
    return constants.array(network.graph.initializers[name])


@pytest.mark.parametrize("rounding", ["nearest", "optimal"])
def test_the_mean_error_is_gone(rounding):
    """On the samples it was corrected with, no channel that the quantized network makes is off by a tenth of a step.

    Weights of very uneven size, whose small ones rounding moves much, were off by half a step and more.
    """
    network = chain(power=3)
    samples = feeds(network)
    ranges = ranges_of(network, samples)
    true = outputs(network, samples)
    step = (ranges["y"].high - ranges["y"].low) / 255
    before = outputs(write_qdq(network, ranges), samples) - true
    report = bake(network, ranges, samples, correct_bias=True, rounding=rounding, progress=Silent())
    after = outputs(write_qdq(network, ranges), samples) - true
    assert np.abs(before.mean(axis=(0, 1, 3, 4))).max() > 0.5 * step
    assert np.abs(after.mean(axis=(0, 1, 3, 4))).max() < 0.1 * step
    assert np.square(after).mean() < np.square(before).mean()
    assert [layer.name for layer in report.layers] == ["Conv -> 'c'", "Conv -> 'd'", "Conv -> 'y'"]
    assert all(0.8 < layer.cosine < 1 and layer.bias_shift > 0 for layer in report.layers)
    assert (report.left, report.used, report.given) == ((), 8, 8)


def test_dependent_layers_are_not_corrected_twice():
    """The first layer's error is taken up by its own bias; the second, exact by itself, has nothing left to correct.

    Two corrections worked out beside each other would both take it up.
    """
    first = np.full((1, 4, 1, 1), 0.4 / 127, np.float32)  # four weights that round to 0 beside a large one
    first = np.concatenate([first, np.ones((1, 1, 1, 1), np.float32)], axis=1)
    network = model(
        "g (float[1,5,8,8] x) => (float[1,1,8,8] y) { c = Conv (x, w, b) y = Conv (c, p, q) }",
        w=first, b=[0], p=np.full((1, 1, 1, 1), 2), q=[0],
    )  # fmt: skip
    report = baked(network)
    lost = 4 * 0.4 / 127 * np.mean([sample["x"][:, :4].mean() for sample in feeds(network)])
    assert report.layers[0].bias_shift == pytest.approx(lost, rel=0.1)
    assert report.layers[1].bias_shift < 0.1 * 2 * lost


@pytest.mark.parametrize("rounding", ["nearest", "optimal"])
def test_weights_are_on_their_grid(rounding):
    """Every weight is a whole number of its channel's scale, and the channel keeps its extreme."""
    network = chain()
    peaks = {
        name: np.abs(weight(network, name)).reshape(len(weight(network, name)), -1).max(1) for name in ["w", "dw", "p"]
    }
    baked(network, rounding=rounding)
    for name, peak in peaks.items():
        rows = weight(network, name).reshape(len(peak), -1)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.abs(rows).max(axis=1), peak, rtol=3e-7)
        steps = rows / (peak / np.float32(127))[:, None]
        assert np.abs(steps - np.rint(steps)).max() < 1e-4


LAYERS = {
    "conv": chain(),
    "gemm": model(
        "g (float[4,6] x) => (float[4,5] y) { h = Gemm (x, w) r = Relu (h) y = Gemm <transB = 1> (r, v, b) }",
        w=random(6, 7), v=random(5, 7), b=random(5),
    ),
    "matmul": model(
        "g (float[2,4,6] x) => (float[2,4,5] y) { h = MatMul (x, w) a = Add (h, b) y = MatMul (a, v) }",
        w=random(6, 7), v=random(7, 5), b=random(7),
    ),
    "transposed": model(
        "g (float[1,4,5,5] x) => (float[1,3,10,10] y) { y = ConvTranspose <strides = [2,2]> (x, w, b) }",
        w=random(4, 3, 2, 2), b=random(3),
    ),
}  # fmt: skip
WEIGHTS = {"conv": ("w", "dw", "p"), "gemm": ("w", "v"), "matmul": ("w", "v"), "transposed": ("w",)}


class Reader:
    """Calibration data as onnxruntime wants it."""

    def __init__(self, samples):
        self._samples = iter(samples)

    def get_next(self):
        """The next sample, or None."""
        return next(self._samples, None)


def onnxruntime_integers(network, samples, names, folder):
    """The integers that onnxruntime's quantizer finds, per channel, QDQ, symmetric int8."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    (folder / "float.onnx").write_bytes(io.to_bytes(network))
    quantize_static(
        str(folder / "float.onnx"),
        str(folder / "int8.onnx"),
        Reader(samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
    )
    held = {
        value.name: onnx.numpy_helper.to_array(value) for value in onnx.load(folder / "int8.onnx").graph.initializer
    }
    return {name: held[f"{name}_quantized"] for name in names}


@pytest.mark.parametrize("rounding", ["nearest", "optimal"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_quantizer_finds_the_same_integers(name, rounding, tmp_path):
    """Ours and onnxruntime's agree on every weight of the baked graph, and they are those that were chosen."""
    network, names = io.from_bytes(io.to_bytes(LAYERS[name])), WEIGHTS[name]
    samples = feeds(network)
    baked(network, rounding=rounding)
    ours, theirs = integers(network, samples, names), onnxruntime_integers(network, samples, names, tmp_path)
    for key in names:
        assert np.array_equal(ours[key], theirs[key])
        assert np.abs(ours[key]).max() == 127
        peak = np.abs(weight(network, key)).max()
        assert np.abs(weight(network, key)).min() < peak  # not all alike, so that the agreement means something


@pytest.mark.parametrize("rounding", ["nearest", "optimal"])
@pytest.mark.parametrize("name", LAYERS)
def test_baking_again_keeps_the_integers(name, rounding):
    """Weights that are on their grid stay on it, however they would be rounded."""
    network, names = io.from_bytes(io.to_bytes(LAYERS[name])), WEIGHTS[name]
    samples = feeds(network)
    baked(network, rounding=rounding)
    once = integers(network, samples, names)
    report = baked(network, rounding=rounding)
    twice = integers(network, samples, names)
    assert all(np.array_equal(once[key], twice[key]) for key in names)
    assert all(layer.rounded < 1e-5 for layer in report.layers)


def test_nearest_is_what_the_quantizer_would_do():
    """Without correction, baking changes no integer of the quantized network."""
    network = chain()
    samples = feeds(network)
    ranges, before = ranges_of(network, samples), integers(network, samples, ["w", "dw", "p"])
    report = bake(network, ranges, samples, correct_bias=False, rounding="nearest", progress=Silent())
    after = integers(network, samples, ["w", "dw", "p"])
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert np.array_equal(weight(network, "b"), random(8))
    assert all(layer.bias_shift == 0 and not layer.chosen for layer in report.layers)
    assert all(layer.nearest == layer.rounded > 0 for layer in report.layers)


def test_chosen_weights_move_outputs_less():
    """Choosing by the inputs beats the nearest weights in every layer; alone, a layer then errs by less than half."""
    assert all(layer.chosen and layer.rounded < layer.nearest for layer in baked(chain(), rounding="optimal").layers)
    made = []
    for rounding in ("nearest", "optimal"):
        network = model(
            "g (float[1,3,8,8] x) => (float[1,6,8,8] y) { m = Concat <axis = 1> (x, x, x, x) y = Conv (m, w, b) }",
            w=random(6, 12, 1, 1), b=random(6),
        )  # fmt: skip
        samples = feeds(network)
        true = outputs(network, samples)
        baked(network, rounding=rounding, u16=["x", "y"])
        made.append(np.square(outputs(network, samples) - true).mean())
    assert made[1] < made[0] / 4


@pytest.mark.parametrize("rounding", ["nearest", "optimal"])
def test_the_same_bytes_twice(rounding):
    """Two runs make the same file and the same report."""
    networks = [chain(), chain()]
    reports = [baked(network, rounding=rounding) for network in networks]
    assert io.to_bytes(networks[0]) == io.to_bytes(networks[1])
    assert reports[0] == reports[1]


def test_a_matmul_is_corrected_in_the_sum_behind_it():
    """The constant that is added takes the shift up; a MatMul without one is left, with the reason."""
    network = io.from_bytes(io.to_bytes(LAYERS["matmul"]))
    samples = feeds(network)
    ranges, true = ranges_of(network, samples), outputs(network, samples)
    before = np.abs((outputs(write_qdq(network, ranges), samples) - true).mean(axis=(0, 1, 2))).max()
    report = baked(network)
    assert report.left == ("MatMul -> 'y': no bias corrected: no constant is added behind it",)
    assert report.layers[0].bias_shift == pytest.approx(np.abs(weight(network, "b") - random(7)).max(), rel=1e-3)
    assert report.layers[1].bias_shift == 0
    after = np.abs((outputs(write_qdq(network, ranges), samples) - true).mean(axis=(0, 1, 2))).max()
    assert after < before


def test_layers_without_a_bias_get_one():
    """A Conv and a Gemm are given a new constant; alpha stays out of it, with the reason."""
    network = chain()
    baked(network)
    assert weight(network, "dw/bias").shape == (8,)
    network = io.from_bytes(io.to_bytes(LAYERS["gemm"]))
    baked(network)
    assert weight(network, "w/bias").shape == (7,)
    network = model("g (float[4,6] x) => (float[4,7] y) { y = Gemm <alpha = 2.0> (x, w) }", w=random(6, 7))
    report = baked(network)
    assert report.left == ("Gemm -> 'y': no bias corrected: alpha and beta are not 1",)


def test_shared_constants_are_told_apart():
    """Two layers with one weight share the baked one; the bias they shared becomes one for each."""
    network = model(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
            a = Conv (x, w, b)
            c = Relu (a)
            d = Conv (c, w, b)
            y = Relu (d)
        }""",
        w=random(4, 4, 1, 1), b=random(4),
    )  # fmt: skip
    baked(network)
    first, second = (node for node in network.graph if node.op_type == "Conv")
    assert first.inputs[1] is second.inputs[1]
    assert not np.array_equal(constants.array(first.inputs[2]), constants.array(second.inputs[2]))
    baked(network, rounding="optimal")
    onnx.checker.check_model(io.to_proto(network))


def test_a_weight_beside_a_huge_bias_keeps_its_scale():
    """A channel whose scale its bias decides stays on that scale: our quantizer finds the same integers again."""
    network = model(
        "g (float[1,2,4,4] x) => (float[1,3,4,4] y) { y = Conv (x, w, b) }",
        w=np.float32([[1, 0.3], [1e-6, 3e-7], [0, 0]]).reshape(3, 2, 1, 1), b=[0.1, 30000, 5],
    )  # fmt: skip
    samples = feeds(network)
    before = integers(network, samples, ["w"])["w"]
    report = baked(network)
    after = integers(network, samples, ["w"])["w"]
    assert np.array_equal(before, after)
    assert np.abs(before[1]).max() < 127
    assert weight(network, "b")[1:].tolist() == [30000, 5]
    assert report.layers[0].bias_shift > 0


def test_a_grouped_transposed_convolution_shares_its_scales():
    """Output channels of two groups have one scale, and both groups' biases are corrected."""
    network = model(
        "g (float[1,4,5,5] x) => (float[1,6,10,10] y) { y = ConvTranspose <strides = [2,2], group = 2> (x, w) }",
        w=random(4, 3, 2, 2),
    )
    samples = feeds(network)
    for rounding in ("nearest", "optimal"):
        baked(network, rounding=rounding)
        assert weight(network, "w/bias").shape == (6,)
        found = integers(network, samples, ["w"])["w"]
        assert (np.abs(found).max(axis=(0, 2, 3)) == 127).all()


def test_16_bits_need_less_correction():
    """With its input and output at 16 bits a layer errs by its weights alone."""
    network = model(
        "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv (x, w, b) }",
        w=np.rint(100 * random(4, 3, 1, 1).clip(-1.2, 1.2)), b=random(4),
    )  # fmt: skip
    data = weight(network, "w").copy()
    data[:, 0] = 127
    network.graph.initializers["w"].const_value = ir.tensor(data)
    wide = io.from_bytes(io.to_bytes(network))
    narrow, wider = baked(network), baked(wide, u16=["x", "y"])
    assert wider.layers[0].bias_shift < narrow.layers[0].bias_shift / 10


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.notes, self.steps = [], []

    def note(self, text):
        """Keep a note."""
        self.notes.append(text)

    def step(self, done, total, what):
        """Keep a step."""
        self.steps.append((done, total))


def test_only_as_many_samples_as_fit():
    """A small budget takes evenly spaced samples and says so; two are taken whatever it is."""
    told = Notes()
    report = baked(chain(), budget=40_000, progress=told)
    assert (report.used, report.given) == (3, 8)
    assert told.notes == ["3 of 8 samples fit into 4e-05 GB; evenly spaced ones serve"]
    assert told.steps == [(done, 4) for done in range(1, 5)]
    assert baked(chain(), budget=1).used == 2


@pytest.mark.parametrize("count", [0, 1])
def test_one_sample_is_too_few(count):
    """Fewer than two samples are refused."""
    network = chain()
    samples = feeds(network)
    with pytest.raises(ToolError, match=f"{count} samples are too few"):
        bake(
            network,
            ranges_of(network, samples),
            samples[:count],
            correct_bias=True,
            rounding="nearest",
            progress=Silent(),
        )


def test_what_is_not_finite_is_named():
    """NaN and Inf in a sample, in a constant and in what a layer makes: the tensor is named, and the sample."""
    network = chain()
    samples = feeds(network)
    ranges = ranges_of(network, samples)
    settings = {"correct_bias": True, "rounding": "nearest", "progress": Silent()}
    with pytest.raises(ToolError, match="tensor 'x' is NaN or infinite for sample 3"):
        bake(network, ranges, [*samples[:2], {"x": samples[0]["x"] * np.float32(np.inf)}], **settings)
    for name in ("b", "dw"):
        with pytest.raises(ToolError, match=f"constant '{name}' holds NaN or Inf"):
            bake(broken(name, np.nan), ranges, samples, **settings)
    with pytest.raises(ToolError, match="tensor 'y' is NaN or infinite for sample 1"):
        bake(broken("p", 3e38), ranges, samples, **settings)


def broken(name, value):
    """The chain with one weight replaced."""
    network = chain()
    data = weight(network, name).copy()
    data.flat[:] = value
    network.graph.initializers[name].const_value = ir.tensor(data)
    return network


def test_a_tensor_without_a_range_is_refused():
    """Ranges of another network do not fit."""
    network = chain()
    samples = feeds(network)
    with pytest.raises(UnsupportedError, match="has no range"):
        bake(network, {}, samples, correct_bias=True, rounding="nearest", progress=Silent())
