"""`workbench eval`: networks that see drawn joints by construction, moved, blinded and broken."""

import json
import shutil
import sys

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from workbench.cli import main
from workbench.pose.skeletons import AI_CHALLENGER14

WIDTH, HEIGHT, JOINTS = 96, 64, 14
# Of the joints: what a resized edge mixes of one and black is never another.
GREYS = np.array([250, 240, 230, 194, 167, 162, 157, 152, 113, 103, 76, 71, 51, 42])
RECIPE = """\
name: drawn
source: {kind: onnx}
weights: {file: drawn.onnx, url: "https://example.invalid/drawn.onnx"}
inputs:
  - {name: image, shape: [1, 3, 64, 96]}
outputs:
  - {name: heat, shape: [1, 14, 32, 48], meaning: heatmap}
joints: ai_challenger14
calibration: {pictures: elsewhere}
targets: {onnx: {}}
parity: {limits: {float: {max_abs: 1}}}
"""


def network(right=0, blind=(), scale=1.0):
    """Joint j is where the picture has the grey `GREYS[j]`: cells of 2 pixels, moved `right` by so many cells.

    Joints in `blind` are not seen; the answer is `scale` times what it was.
    """
    seen = np.full((JOINTS, 1, 1), scale, np.float32)
    seen[list(blind)] = 0
    constants = {
        "copy": np.tile(np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1), (JOINTS, 1, 1, 1)),
        "levels": GREYS.astype(np.float32).reshape(-1, 1, 1),
        "steep": np.float32(-1 / 2),
        "one": np.float32(1),
        "seen": seen,
        "pads": np.array([0, 0, 0, right, 0, 0, 0, -right], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["image", "copy"], ["grey"]),
        helper.make_node("Sub", ["grey", "levels"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["away"]),
        helper.make_node("Mul", ["away", "steep"], ["down"]),
        helper.make_node("Add", ["down", "one"], ["near"]),
        helper.make_node("Relu", ["near"], ["spots"]),
        helper.make_node("AveragePool", ["spots"], ["cells"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Mul", ["cells", "seen"], ["known"]),
        helper.make_node("Pad", ["known", "pads"], ["heat"]),
    ]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("heat", TensorProto.FLOAT, [1, JOINTS, 32, 48])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FIGURE = (  # cells of the heatmap, in the order of the joints
    *((20, 5), (20, 9), (16, 9), (13, 13), (11, 17), (24, 9), (27, 13), (29, 17)),
    *((17, 17), (16, 21), (15, 26), (23, 17), (24, 21), (25, 26)),
)


def joints(seed):
    """Places (14, 2) of a standing person, in pixels of the input: the middles of cells."""
    return 2.0 * (np.array(FIGURE) + np.array([3 * seed, 0])) + 1


def picture(path, seed, times=1, half=1):
    """A picture `times` as large as the input, with a grey square at every joint, `half` its side in pixels of that."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for joint, (x, y) in enumerate(joints(seed).astype(int)):
        pixels[y - half : y + half, x - half : x + half] = GREYS[joint]
    large = pixels.repeat(times, 0).repeat(times, 1)
    Image.fromarray(large).save(path)


def labels(path, names, seeds, size=(WIDTH, HEIGHT), **changes):
    """A json with the true joints of pictures."""
    width, height = size
    annotations = []
    for number, seed in enumerate(seeds):
        places = np.concatenate([joints(seed) * (width / WIDTH, height / HEIGHT), np.full((JOINTS, 1), 2)], axis=1)
        annotations.append({"image_id": number, "category_id": 1, "keypoints": places.ravel().tolist()})
    data = {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height} for number, name in enumerate(names)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "keypoints": [name.replace("l_", "left_", 1) for name in AI_CHALLENGER14.joints]}],
    }
    path.write_text(json.dumps({**data, **changes}), "utf-8")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a recipe, three pictures and their labels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawn.yaml").write_text(RECIPE, "utf-8")
    (tmp_path / "pictures").mkdir()
    for seed in range(3):
        picture(tmp_path / "pictures" / f"{seed}.png", seed)
    labels(tmp_path / "labels.json", [f"{seed}.png" for seed in range(3)], range(3))
    return tmp_path


def files(folder, **networks):
    """Write the networks as ``<name>.onnx``; their paths."""
    for name, model in networks.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    return [str(folder / f"{name}.onnx") for name in networks]


def converted(folder, *, deployable=True, **networks):
    """A ``dist/drawn`` as a conversion leaves it."""
    dist = folder / "dist" / "drawn"
    dist.mkdir(parents=True)
    files(dist, **networks)
    manifest = {
        "recipe": "drawn",
        "files": [
            {"path": f"{name}.onnx", "precision": "float" if name == "drawn" else "int8", "parity": True}
            for name in sorted(networks)
        ],
        "inputs": [{"name": "image", "shape": [1, 3, HEIGHT, WIDTH]}],
        "deployable": deployable,
        "not_deployable_because": [] if deployable else ["seeded random weights"],
    }
    (dist / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return dist


def call(*arguments, code=0):
    """Run `workbench eval`."""
    result = CliRunner().invoke(main, ["eval", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def test_every_file_of_a_recipe_has_a_row(here):
    """The float file is the reference; what another moved, lost and gained is counted, and so is what labels say."""
    converted(here, drawn=network(blind=[13]), moved=network(right=2), blind=network(blind=[0, 1, 13]))
    result = call("drawn.yaml", "--images", "pictures", "--annotations", "labels.json", "--json")
    told = json.loads(result.stdout)
    reference, blind, moved = told["artifacts"]

    assert [one["file"] for one in told["artifacts"]] == ["drawn.onnx", "blind.onnx", "moved.onnx"]
    assert [one["reference"] for one in told["artifacts"]] == [True, False, False]
    assert (reference["people"], reference["joints"], reference["agreement"]) == (3, 39, None)
    assert (blind["agreement"]["lost"], blind["agreement"]["gained"], blind["agreement"]["joints"]) == (6, 0, 33)
    assert blind["agreement"]["worst_px"] == 0
    assert (moved["agreement"]["lost"], moved["agreement"]["gained"], moved["agreement"]["joints"]) == (0, 3, 39)
    assert moved["agreement"]["mean_px"] == pytest.approx(4)  # two cells of two pixels
    assert moved["agreement"]["median_share"] == pytest.approx(4 / WIDTH)
    assert moved["agreement"]["near"] == 1
    assert reference["labels"]["pckh"] == pytest.approx(13 / 14)
    assert reference["labels"]["pck_0.05"] == pytest.approx(13 / 14)
    assert moved["labels"]["people"] == 3
    assert moved["labels"]["pck_0.05"] == 0  # the box is 42 pixels high
    assert moved["labels"]["pck_0.1"] == 1
    assert 0 < reference["labels"]["ap"] <= 1


def test_people_come_back_in_pixels_of_the_picture(here):
    """A letterbox is undone: a picture four times as large, of another aspect, is met within half a cell."""
    (here / "drawn.yaml").write_text(RECIPE.replace("64, 96]}", "64, 96], fit: letterbox}"), "utf-8")
    shutil.rmtree(here / "pictures")
    (here / "pictures").mkdir()
    path = here / "pictures" / "wide.png"
    picture(path, 0, times=4, half=3)  # a larger square: its edges are mixed with what is around it
    Image.open(path).crop((0, 32, WIDTH * 4, HEIGHT * 4 - 32)).save(path)
    (one,) = files(here, drawn=network())
    labels(here / "labels.json", ["wide.png"], [0], size=(WIDTH * 4, HEIGHT * 4))
    data = json.loads((here / "labels.json").read_text("utf-8"))
    data["images"][0]["height"] -= 64
    keypoints = data["annotations"][0]["keypoints"]
    keypoints[1::3] = [y - 32 for y in keypoints[1::3]]
    data["annotations"][0]["bbox"] = [0, 0, 80, 80]  # a twentieth is 4 pixels, and a cell is 8
    (here / "labels.json").write_text(json.dumps(data), "utf-8")
    arguments = ["--recipe", "drawn.yaml", "--images", "pictures", "--annotations", "labels.json", "--json"]
    told = json.loads(call(one, *arguments).stdout)["artifacts"][0]

    assert told["joints"] == JOINTS
    assert told["labels"]["pck_0.05"] == 1


def test_the_table_and_what_it_says(here):
    """People read who is the reference, what is counted, and that random weights are not to be deployed."""
    converted(here, deployable=False, drawn=network(), moved=network(right=2))
    result = call("drawn.yaml", "--images", "pictures", "--annotations", "labels.json", "--samples", 2)

    head, reference, moved, *rest = (line for line in result.stdout.splitlines() if line.strip())
    assert head.split()[:5] == ["file", "people", "joints", "median", "px"]
    assert "PCK@0.1" in head
    assert reference.split()[:4] == ["drawn.onnx", "(reference)", "2", "28"]
    assert moved.split()[:5] == ["moved.onnx", "2", "28", "4.00", "4.00"]
    text = "\n".join(rest)
    assert "2 pictures of pictures" in text
    assert "28 labelled joints of 2 people on 2 pictures" in text
    assert "NOT DEPLOYABLE: seeded random weights; what such a network sees is noise" in text


def test_a_reference_that_finds_nobody_fails_the_run(here):
    """An evaluation of nothing is an error, and random weights are named as its reason."""
    (blind,) = files(here, blind=network(blind=range(JOINTS)))
    result = call(blind, "--recipe", "drawn.yaml", "--images", "pictures", code=4)

    assert "blind.onnx: the reference finds nobody in pictures: an evaluation of nothing" in result.stderr
    assert "fix: give pictures of people" in result.stderr
    converted(here, deployable=False, drawn=network(blind=range(JOINTS)))
    result = call("drawn.yaml", "--images", "pictures", code=4)
    assert "fix: random weights see nobody: convert with the real ones" in result.stderr


def test_another_that_finds_nobody_is_a_row(here):
    """Everybody is missed; there is no way to speak of."""
    one, blind = files(here, drawn=network(), blind=network(blind=range(JOINTS)))
    told = json.loads(call(one, blind, "--recipe", "drawn.yaml", "--images", "pictures", "--json").stdout)
    entry = told["artifacts"][1]

    assert (entry["people"], entry["pictures_with_nobody"]) == (0, 3)
    assert (entry["agreement"]["missed"], entry["agreement"]["near"], entry["agreement"]["mean_px"]) == (3, None, None)


def test_a_broken_file_does_not_hide_the_others(here):
    """NaN in one is told with the file and the picture; the rows of the others are printed, and the exit code is 3."""
    broken = network(scale=np.nan)
    one, nan, moved = files(here, drawn=network(), nan=broken, moved=network(right=2))
    result = call(one, nan, moved, "--recipe", "drawn.yaml", "--images", "pictures", "--json", code=3)
    told = json.loads(result.stdout)["artifacts"]

    assert "hold values that are not finite for 0.png" in told[1]["failed"]
    assert told[2]["agreement"]["mean_px"] == pytest.approx(4)
    assert "nan.onnx: heatmap channels" in result.stderr
    text = call(one, nan, "--recipe", "drawn.yaml", "--images", "pictures", code=3).stdout
    assert "failed: nan.onnx: heatmap channels" in text
    assert "nan.onnx: heatmap" in call(nan, one, "--recipe", "drawn.yaml", "--images", "pictures", code=3).stderr


def test_a_model_that_crashes_its_runtime_is_named(here, monkeypatch):
    """The process survives, and says which file did it and by which signal."""
    from workbench.cli import _sight

    real, crash = sys.executable, here / "crash.sh"
    crash.write_text(
        f'#!/bin/sh\nread -r job\ncase "$job" in *bad.onnx*) echo "kernel panics" >&2; kill -SEGV $$;; esac\n'
        f'printf \'%s\' "$job" | {real} "$@"\n',
        "utf-8",
    )
    crash.chmod(0o755)
    monkeypatch.setattr(_sight.sys, "executable", str(crash))
    one, bad = files(here, drawn=network(), bad=network())
    result = call(one, bad, "--recipe", "drawn.yaml", "--images", "pictures", code=3)

    assert "bad.onnx: the model ended its runtime (SIGSEGV): kernel panics" in result.stderr
    assert "drawn.onnx (reference)" in result.stdout


def test_a_file_of_another_recipe(here):
    """Outputs of other names or shapes are a mistake of the command line, told with both."""
    other = network()
    other.graph.output[0].name = other.graph.node[-1].output[0] = "heatmaps"
    small = network()
    small.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 14
    one, renamed = files(here, drawn=network(), other=other)
    common = ["--recipe", "drawn.yaml", "--images", "pictures"]

    error = call(one, renamed, *common, code=2).stderr
    assert "other.onnx: no output of the file is called 'heat'; it has heatmaps" in error
    recipe = here / "drawn.yaml"
    recipe.write_text(RECIPE.replace("[1, 14, 32, 48]", "[1, 14, 16, 24]"), "utf-8")
    assert "output 'heat' has shape 1x14x16x24" in call(one, *common, code=2).stderr
    recipe.write_text(RECIPE.replace("ai_challenger14", "coco17"), "utf-8")
    error = call(one, *common, code=2).stderr
    assert "no heatmap of coco17's 17 joints" in error
    assert "drawn.yaml:7:" in error


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["drawn.yaml", "--images", "nowhere"], 2, "nowhere: no such folder"),
        (["one.onnx", "--recipe", "drawn.yaml", "--images", "empty"], 2, "no picture"),
        (["drawn.yaml", "--images", "pictures"], 3, "the recipe was not converted: no manifest.json"),
        (["drawn.yaml", "drawn.yaml", "--images", "pictures"], 2, "give one recipe"),
        (["one.onnx", "drawn.yaml", "--images", "pictures"], 2, "name the recipe with --recipe"),
        (["one.onnx", "--images", "pictures"], 2, "add --recipe"),
        (["two.onnx", "--recipe", "drawn.yaml", "--images", "pictures"], 3, "two.onnx: no such file"),
        (["pictures", "--recipe", "drawn.yaml", "--images", "pictures"], 3, "a folder, not a model file"),
        (["labels.json", "--recipe", "drawn.yaml", "--images", "pictures"], 2, "neither a recipe nor a model file"),
        (["one.onnx", "--recipe", "drawn.yaml", "--images", "pictures", "--annotations", "x"], 2, "no such file"),
        (["one.onnx", "--recipe", "drawn.yaml", "--images", "bad"], 3, "a.jpg: not a picture"),
        (["bad.onnx", "--recipe", "drawn.yaml", "--images", "pictures"], 3, "bad.onnx: onnxruntime cannot load"),
    ],
)
def test_what_is_wrong_with_the_command_line(here, arguments, code, message):
    """Every mistake is three parts and an exit code."""
    files(here, one=network())
    (here / "bad.onnx").write_bytes(b"nothing")
    (here / "empty").mkdir()
    (here / "bad").mkdir()
    (here / "bad" / "a.jpg").write_bytes(b"text")
    error = call(*arguments, code=code).stderr

    assert message in error
    assert "fix: " in error


def test_labels_of_other_pictures_are_an_error(here):
    """Before anything runs by their names, and after the reference by their size."""
    (one,) = files(here, drawn=network())
    common = [one, "--recipe", "drawn.yaml", "--images", "pictures", "--annotations", "labels.json"]
    labels(here / "labels.json", ["7.png"], [0])
    assert "labels.json: it is about other pictures: '7.png'" in call(*common, code=2).stderr
    labels(here / "labels.json", ["0.png"], [0], size=(640, 480))
    assert "0.png is 96 x 64 pixels, and 640 x 480 in the labels" in call(*common, code=2).stderr


def test_pictures_without_labels_are_compared_and_not_scored(here):
    """And that is said, as are the joints that nobody labelled."""
    (one,) = files(here, drawn=network())
    categories = [{"id": 1, "keypoints": [f"x{place}" for place in range(13)] + ["left_ankle"]}]
    labels(here / "labels.json", ["1.png"], [1], categories=categories)
    common = [one, "--recipe", "drawn.yaml", "--images", "pictures", "--annotations", "labels.json", "--json"]
    told = json.loads(call(*common).stdout)

    assert told["pictures"] == {"folder": "pictures", "count": 3, "labelled": 1}
    assert told["artifacts"][0]["labels"]["joints"] == 1
    assert told["artifacts"][0]["labels"]["pckh"] is None
    assert "2 pictures without labels: compared, not scored" in told["notes"]
    assert any(note.startswith("not labelled, so not scored: head_top, neck") for note in told["notes"])


def test_pictures_that_calibrated_are_told(here):
    """An 8-bit file looks better on the pictures its ranges were measured on."""
    (here / "drawn.yaml").write_text(
        RECIPE.replace("{pictures: elsewhere}", "{pictures: pictures, count: 2, minimum: 2}")
        .replace("targets:", "quantization: {}\ntargets:")
        .replace("parity: {limits: {", "parity: {samples: 1, limits: {int8: {cosine: 0}, "),
        "utf-8",
    )
    (one,) = files(here, drawn=network())
    result = call(one, "--recipe", "drawn.yaml", "--images", "pictures")

    assert "note: 2 pictures also calibrated" in result.stdout


def test_a_manifest_that_names_files_outside_is_not_followed(here):
    """Paths of a manifest stay in its folder; one that lists no float model has nothing to compare with."""
    dist = converted(here, drawn=network())
    manifest = json.loads((dist / "manifest.json").read_text("utf-8"))
    for path in ("../../one.onnx", "/etc/one.onnx"):
        manifest["files"][0]["path"] = path
        (dist / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        assert "lists no float model" in call("drawn.yaml", "--images", "pictures", code=3).stderr
    manifest["files"] = [3, {"path": 4}]
    (dist / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert "lists no float model" in call("drawn.yaml", "--images", "pictures", code=3).stderr


def test_the_networks_of_this_file_are_valid():
    """What the tests call a network is one."""
    onnx.checker.check_model(network(right=1), full_check=True)
