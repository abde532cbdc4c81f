"""int8 and int16x8 files: what they hold, how near they are to the float network, on which grids they stand."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _lite import SIZE, agreement, network, one, pictures, rand, target_job, tensors
from test_tflite import pose_net

from workbench.calib.feeds import feeds
from workbench.engine.progress import Silent
from workbench.errors import ToolError, UnsupportedError
from workbench.graph import io
from workbench.quant.observe import observe
from workbench.quant.plan import plan
from workbench.quant.ranges import Range, Ranges
from workbench.runtimes.litert import LiteRtRunner
from workbench.targets._target import Artifact
from workbench.targets.tflite import Options, build, flatbuffer, precisions

SAME = {"pads": [1, 1, 1, 1]}
CONV = ("Conv", [SIZE, rand(4, 3, 3, 3), rand(4)], ["c"], SAME)
TWICE = np.array([1, 1, 2, 2], np.float32)
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def operators(path):
    """How often each operator occurs in the file."""
    return flatbuffer.operators(flatbuffer.unpack(path.read_bytes()))


def seen(folder):
    """The ranges of ``canonical.onnx`` over the pictures, as the calibration would measure them."""
    job = target_job(pose_net(), folder, "int8")
    return observe(job.model, feeds(job.pictures, job.inputs), progress=Silent())


@pytest.mark.parametrize(("variant", "least"), [("int8", 0.999), ("int16x8", 0.9999)])
def test_a_pose_network_in_integers_is_near_the_float_one(variant, least, tmp_path):
    """Every operator is computed in integers, names and shapes stay, and only the edges are float."""
    (artifact,) = build(target_job(pose_net(), tmp_path, variant))

    path = tmp_path / f"net.{variant}.tflite"
    assert artifact == Artifact(path.name, variant)
    assert min(agreement(pose_net(), path, tmp_path).values()) > least
    counts = operators(path)
    assert (counts["QUANTIZE"], counts["DEQUANTIZE"]) == (1, 2)
    floats = {name for name, (kind, *_) in tensors(path).items() if kind == "float32"}
    assert floats == {"x0", "heat", "pafs/out:0"}
    with LiteRtRunner(path) as runner:
        assert [(port.name, port.shape) for port in runner.outputs] == [
            ("heat", (1, 8, 12, 17)),
            ("pafs/out:0", (1, 8, 12, 4)),
        ]


@pytest.mark.parametrize(("variant", "kind"), [("int8", "int8"), ("int16x8", "int16")])
def test_integer_edges_give_the_same_numbers(variant, kind, tmp_path):
    """With io: integer the file takes and gives integers, and stands for the same values."""
    path = tmp_path / f"net.{variant}.tflite"
    build(target_job(pose_net(), tmp_path, variant))
    with_float = agreement(pose_net(), path, tmp_path)
    build(target_job(pose_net(), tmp_path, variant, io="integer"))

    held = tensors(path)
    assert {held[name][0] for name in ("x0", "heat", "pafs/out:0")} == {kind}
    assert not {"QUANTIZE", "DEQUANTIZE"} & operators(path).keys()
    assert agreement(pose_net(), path, tmp_path) == pytest.approx(with_float, abs=1e-6)


CASES = {
    "concat": [("Relu", ["c"], ["r"], {}), ("Concat", ["c", "r"], ["y"], {"axis": 1})],
    "relu6": [("Clip", ["c", np.float32(0), np.float32(6)], ["r"], {}), ("Conv", ["r", rand(2, 4, 1, 1)], ["y"], {})],
    "clip": [("Clip", ["c", np.float32(0), np.float32(3)], ["r"], {}), ("Conv", ["r", rand(2, 4, 1, 1)], ["y"], {})],
    "pool": [("MaxPool", ["c"], ["y"], {"kernel_shape": [2, 2], "strides": [2, 2]})],
    "linear": [("Resize", ["c", None, TWICE], ["y"], {"mode": "linear"})],
    "nearest": [("Resize", ["c", None, TWICE], ["y"], NEAREST)],
    "add": [("Relu", ["c"], ["r"], {}), ("Add", ["c", "r"], ["y"], {})],
    "sigmoid": [("Mul", ["c", np.float32(0.1)], ["m"], {}), ("Sigmoid", ["m"], ["y"], {})],
    "outputs": [("Relu", ["c"], ["r"], {}), ("Neg", ["c"], ["n"], {}), ("Conv", ["r", rand(2, 4, 1, 1)], ["y"], {})],
    "inside": [("HardSigmoid", ["c"], ["r"], {}), ("Conv", ["r", rand(2, 4, 1, 1)], ["y"], {})],
}


@pytest.mark.parametrize("variant", ["int8", "int16x8"])
@pytest.mark.parametrize("case", CASES)
def test_operators_of_pose_networks_are_near_float(case, variant, tmp_path):
    """Each operator by itself behind a convolution, its weights in 8 bits, is near what onnxruntime computes."""
    nodes = [node for node in CASES[case] if node[0] != "Neg"]
    if case == "outputs":
        nodes = [*nodes, ("Conv", ["r", rand(3, 4, 1, 1)], ["z"], {})]
    model = network([CONV, *nodes])

    build(target_job(model, tmp_path, variant))

    found = agreement(model, tmp_path / f"net.{variant}.tflite", tmp_path)
    assert len(found) == (2 if case == "outputs" else 1)
    assert min(found.values()) > 0.999


def test_grids_are_those_of_the_emulation(tmp_path):
    """Ranges from outside become TensorFlow Lite's scales and zero points, shared as the chip shares them."""
    ranges = seen(tmp_path)
    # something that no extremes of these pictures are, as Percentile and its like choose it
    ranges = Ranges({name: Range(0.7 * one.low, 0.6 * one.high) for name, one in ranges.items()}, ranges.samples)
    (tmp_path / "ranges.json").write_text(ranges.to_json(), "utf-8")

    build(target_job(pose_net(), tmp_path, "int8", ranges=tmp_path / "ranges.json"))

    grids = plan(io.read(tmp_path / "canonical.onnx"), ranges).grids
    held = tensors(tmp_path / "net.int8.tflite")
    for name in ("rr", "e", "m", "f", "h", "a", "k"):
        kind, scale, zero_point = held[name]
        assert kind == "int8"
        assert (scale, zero_point) == (pytest.approx(grids[name].scale, rel=1e-5), grids[name].zero_point - 128), name
    assert held["e"] == held["m"] == held["k"] == held["a"]


def test_pictures_are_not_read_when_ranges_are_known(tmp_path):
    """A network all of whose tensors ONNX has needs no picture; one with an operator made of several needs some."""
    read = []

    class Told(Silent):
        def step(self, done, total, what):
            if what == "samples observed" and done:
                read.append((done, total))

    softmax = network([CONV, ("Softmax", ["c"], ["s"], {"axis": 2}), ("Conv", ["s", rand(2, 4, 1, 1)], ["y"], {})])
    for model, expected in ((pose_net(), []), (softmax, [(1, None), (2, None)])):
        job = target_job(model, tmp_path, "int8", ranges=tmp_path / "ranges.json", progress=Told())
        ranges = observe(job.model, list(feeds(job.pictures, job.inputs))[:2], progress=Silent())
        (tmp_path / "ranges.json").write_text(ranges.to_json(), "utf-8")
        read.clear()
        build(job)
        assert read == expected


def test_integers_are_made_from_the_baked_graph(tmp_path):
    """Where a graph was prepared for 8 bits, int8 comes from it and fp32 from the canonical one."""
    (tmp_path / "baked.onnx").write_bytes(one("Neg", SIZE).SerializeToString())
    baked = network([("Conv", [SIZE, rand(5, 3, 1, 1)], ["y"], {})])
    (tmp_path / "baked.onnx").write_bytes(baked.SerializeToString())
    artifacts = build(target_job(network([CONV]), tmp_path, "int8", "fp32", baked=tmp_path / "baked.onnx"))

    assert artifacts == [Artifact("net.int8.tflite", "int8"), Artifact("net.fp32.tflite", "float")]
    assert min(agreement(baked, tmp_path / "net.int8.tflite", tmp_path).values()) > 0.999
    assert min(agreement(network([CONV]), tmp_path / "net.fp32.tflite", tmp_path).values()) > 0.999999


def test_a_range_that_is_missing_is_named(tmp_path):
    """Ranges of another network are refused, by the tensor that has none."""
    (tmp_path / "ranges.json").write_text(Ranges({"x0": Range(-2, 2)}, 4).to_json(), "utf-8")

    with pytest.raises(UnsupportedError, match="tensor 'c' has no range"):
        build(target_job(network([CONV]), tmp_path, "int8", ranges=tmp_path / "ranges.json"))


def test_a_limit_that_the_grid_is_costs_no_operator(tmp_path):
    """A Clip at 3 leaves no Minimum behind, as its output's grid ends there; one whose grid goes on keeps it."""
    clip = ("Clip", ["c", np.float32(0), np.float32(3)], ["r"], {})
    alone = network([CONV, clip, ("Conv", ["r", rand(2, 4, 1, 1)], ["y"], {})])
    joined = network(
        [CONV, clip, ("Conv", ["c", rand(4, 4, 1, 1)], ["d"], {}), ("Concat", ["r", "d"], ["y"], {"axis": 1})]
    )
    kept = []
    for model in (alone, joined):
        build(target_job(model, tmp_path, "int8"))
        kept.append(operators(tmp_path / "net.int8.tflite").get("MINIMUM", 0))
        assert min(agreement(model, tmp_path / "net.int8.tflite", tmp_path).values()) > 0.999
    assert kept == [0, 1]


@pytest.mark.parametrize("variant", ["int8", "int16x8"])
def test_a_limit_for_one_reader_does_not_cut_the_other(variant, tmp_path):
    """TensorFlow's 8-bit quantizer gives a Minimum's input the Minimum's range; another reader needs all of it."""
    nodes = [
        CONV,
        ("Relu", ["c"], ["r"], {}),
        ("Min", ["r", np.full((1, 4, 1, 1), 0.5, np.float32)], ["m"], {}),
        ("Conv", ["r", rand(2, 4, 1, 1)], ["whole"], {}),
        ("Conv", ["m", rand(2, 4, 1, 1)], ["cut"], {}),
    ]
    model = network(nodes)

    build(target_job(model, tmp_path, variant))

    assert min(agreement(model, tmp_path / f"net.{variant}.tflite", tmp_path).values()) > 0.995


def test_equal_constants_keep_their_own_scales(tmp_path):
    """Two convolutions with one bias in the file, in scales far apart: the 16-bit quantizer must not mix them up."""
    bias = rand(4)
    nodes = [
        ("Conv", [SIZE, 10 * rand(4, 3, 1, 1), bias], ["c"], {}),
        ("Conv", ["c", 0.001 * rand(4, 4, 1, 1), bias], ["y"], {}),
    ]

    build(target_job(network(nodes), tmp_path, "int16x8"))

    assert agreement(network(nodes), tmp_path / "net.int16x8.tflite", tmp_path)["y"] > 0.9999


def test_elu_is_a_table(tmp_path):
    """LiteRT has an 8-bit Elu that TensorFlow's quantizer does not know: it is used, and named as in ONNX."""
    nodes = [CONV, ("Elu", ["c"], ["e"], {}), ("Conv", ["e", rand(2, 4, 1, 1)], ["y"], {})]

    build(target_job(network(nodes), tmp_path, "int8"))

    assert operators(tmp_path / "net.int8.tflite") == {"CONV_2D": 2, "DEQUANTIZE": 1, "ELU": 1, "QUANTIZE": 1}
    assert tensors(tmp_path / "net.int8.tflite")["e"][0] == "int8"
    assert agreement(network(nodes), tmp_path / "net.int8.tflite", tmp_path)["y"] > 0.999


REFUSED = [
    ("int8", [("Sin", ["c"], ["s"], {}), ("Sin", ["s"], ["y"], {})], "in int8: SIN for s, y"),
    ("int8", [("Mish", ["c"], ["e"], {})], "in int8: NEG for e"),
    ("int16x8", [("HardSwish", ["c"], ["e"], {})], "in int16x8: HARD_SWISH for e"),
    ("int16x8", [("Elu", ["c"], ["e"], {}), ("Relu", ["e"], ["y"], {})], "in int16x8: ELU for e"),
]


@pytest.mark.parametrize(("variant", "nodes", "told"), REFUSED, ids=[told for *_, told in REFUSED])
def test_operators_without_integers_are_named(variant, nodes, told, tmp_path):
    """What cannot be computed in integers is refused by operator and ONNX tensor; nothing is left in float."""
    with pytest.raises(UnsupportedError) as caught:
        build(target_job(network([CONV, *nodes], opset=18), tmp_path, variant))

    assert f"TensorFlow Lite does not compute these operators {told}" in caught.value.what
    assert caught.value.fix.endswith(f"or drop the {variant} variant")


def test_without_pictures_there_is_no_range(tmp_path):
    """A network without ranges and without pictures cannot be quantized."""
    job = target_job(network([CONV]), tmp_path, "int8")
    for path in pictures(tmp_path).rglob("*.png"):
        path.unlink()

    with pytest.raises(ToolError, match="no samples to observe"):
        build(job)


def test_random_weights_are_marked_in_integer_files(tmp_path):
    """A network that must not be shipped says so in these files, too."""
    model = network([CONV])
    model.metadata_props.add(key="workbench.not_deployable", value="seeded")
    build(target_job(model, tmp_path, "int8", "int16x8"))

    for variant in ("int8", "int16x8"):
        file = flatbuffer.unpack((tmp_path / f"net.{variant}.tflite").read_bytes())
        assert file.description == b"workbench; NOT DEPLOYABLE: seeded"


def test_integers_are_the_same_bytes_in_every_process(tmp_path, capfd):
    """Neither time, nor place, nor the process changes a byte, and nothing reaches the terminal."""
    build(target_job(pose_net(), tmp_path, "int8", "int16x8"))
    assert capfd.readouterr() == ("", "")
    first = [(tmp_path / f"net.{variant}.tflite").read_bytes() for variant in ("int8", "int16x8")]
    (tmp_path / "again").mkdir()
    script = (
        "import sys; from pathlib import Path\n"
        "sys.path.append('tests/targets')\n"
        "from _lite import target_job; from test_tflite import pose_net; from workbench.targets.tflite import build\n"
        "build(target_job(pose_net(), Path(sys.argv[1]), 'int8', 'int16x8'))"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "again")],
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ".", "PATH": "", "TMPDIR": str(tmp_path)},
    )

    again = [(tmp_path / "again" / f"net.{variant}.tflite").read_bytes() for variant in ("int8", "int16x8")]
    assert [hashlib.sha256(data).hexdigest() for data in first] == [hashlib.sha256(data).hexdigest() for data in again]
    assert str(tmp_path).encode() not in b"".join(first)


def test_each_variant_is_judged_by_its_own_limit():
    """An int16x8 file is held to int16x8, not to what 8 bits may lose."""
    assert precisions(Options(variants=("fp32", "int8", "int16x8"))) == {"float", "int8", "int16x8"}


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("variant", ["int8", "int16x8"])
def test_numbers_at_the_ends_of_float_are_no_trouble(scale, variant, tmp_path):
    """A dead network, and ones whose values are next to nothing or huge, have grids and answer."""
    first = ("Conv", [SIZE, rand(4, 3, 3, 3) * np.float32(scale), rand(4) * np.float32(scale)], ["c"], SAME)
    model = network([first, ("Relu", ["c"], ["r"], {}), ("Conv", ["r", rand(2, 4, 1, 1), rand(2)], ["y"], {})])

    build(target_job(model, tmp_path, variant))

    assert agreement(model, tmp_path / f"net.{variant}.tflite", tmp_path)["y"] > 0.999
