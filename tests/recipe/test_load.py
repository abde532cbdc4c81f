from pathlib import Path

import pytest

from workbench.errors import RecipeErrors
from workbench.recipe.load import load

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))

GOOD = """\
name: tiny
source: {kind: torch, factory: "workbench.zoo.movenet:MoveNet"}
weights: {file: w.pth, url: "https://example.org/w.pth", otherwise: seeded}
inputs:
  - {name: image, shape: [1, 3, 64, 64]}
outputs:
  - {name: heat, shape: [1, 17, 16, 16], meaning: heatmap}
joints: coco17
surgery:
  - fold_batchnorm
  - cut_outputs: {tensors: [heat]}
calibration: {count: 8}
quantization: {method: MinMax}
targets:
  onnx:
  tflite: {variants: [fp32]}
parity:
  limits:
    float: {max_abs: 1e-4}
    int8: {cosine: 0.9}
"""


def write(tmp_path, text):
    """`text` as a recipe file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(text, "utf-8")
    return path


def mistakes(tmp_path, text, overrides=()):
    """The text of everything wrong with a recipe."""
    with pytest.raises(RecipeErrors) as caught:
        load(write(tmp_path, text), overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_like_its_file(path):
    """The recipes we ship load, and their name is the file's."""
    loaded = load(path)

    assert loaded.recipe.name == path.stem
    assert {"onnx", "tflite", "pulsar2"} == {call.name for call in loaded.recipe.targets}


def test_a_good_recipe_loads(tmp_path):
    """Passes by bare name or with options, a target without options, exponents as numbers."""
    recipe = load(write(tmp_path, GOOD)).recipe

    assert [call.name for call in recipe.surgery] == ["fold_batchnorm", "cut_outputs"]
    assert recipe.surgery[1].options.tensors == ("heat",)
    assert recipe.parity.limits["float"].max_abs == 1e-4


@pytest.mark.parametrize(
    ("old", "new", "where", "what", "fix"),
    [
        ("count: 8", "cuont: 8", "12:15", "calibration.cuont: unknown key 'cuont'", "did you mean 'count'?"),
        (
            "- fold_batchnorm",
            "- fold_batchnrm",
            "10:5",
            "surgery[0]: no pass called 'fold_batchnrm'",
            "'fold_batchnorm'",
        ),
        ("tensors:", "tensor:", "11:19", "unknown key 'tensor'", "did you mean 'tensors'?"),
        ("  tflite:", "  tflit:", "16:3", "targets.tflit: no target called 'tflit'", "did you mean 'tflite'?"),
        ("[fp32]", "[fp23]", "16:23", "'fp23' is not allowed", "did you mean 'fp32'?"),
        ("kind: torch", "kind: troch", "2:16", "source.kind: no source called 'troch'", "did you mean 'torch'?"),
        ("method: MinMax", "method: MinMacs", "13:24", "'MinMacs' is not allowed", "did you mean 'MinMax'?"),
        ("meaning: heatmap", "meaning: heatmaps", "7:51", "'heatmaps' is not allowed", "did you mean 'heatmap'?"),
        (
            "[1, 3, 64, 64]",
            "[1, 3, 64]",
            "5:26",
            "inputs[0].shape[3]: value 4 is missing",
            "add it: shape: static shape",
        ),
        (
            "[1, 3, 64, 64]",
            "[1, 3, 64, x]",
            "5:37",
            "inputs[0].shape[3]: input should be a valid integer",
            "shape: static shape",
        ),
        ("[1, 3, 64, 64]", "[1, 4, 64, 64]", "5:5", "RGB pictures have 3 channels", "correct the values"),
        ("name: heat,", "name: image,", "7:12", "'image' is also the name of inputs[0]", "rename one"),
        ("float: {max_abs: 1e-4}", "float: {}", "19:12", "gates nothing", "correct"),
        ("    int8: {cosine: 0.9}\n", "", "19:5", "the INT8 model has no limit", "add int8"),
        ("joints: coco17\n", "", "1:1", "key 'joints' is missing", "add it"),
        ("kind: torch, factory", "factory", "2:1", "'kind' is missing", "add kind: onnx | tf_graph | torch"),
        ("  onnx:\n  tflite: {variants: [fp32]}\n", "  {}\n", "15:3", "no target", "add onnx"),
    ],
)
def test_a_mistake_has_its_line_its_name_and_its_fix(tmp_path, old, new, where, what, fix):
    """Each kind of mistake is placed at line and column and says how to mend it."""
    assert old in GOOD
    text = mistakes(tmp_path, GOOD.replace(old, new))

    assert f"tiny.yaml:{where}: " in text
    assert what in text
    assert fix in text


def test_all_mistakes_are_shown_at_once_in_the_order_of_lines(tmp_path):
    """Three typos in three places are three errors in one run."""
    text = mistakes(
        tmp_path,
        GOOD.replace("cuont", "count")
        .replace("coco17", "coco17\ncolour: red")
        .replace("count", "cuont")
        .replace("fp32", "fp31"),
    )

    assert text.index("unknown key 'colour'") < text.index("unknown key 'cuont'") < text.index("'fp31' is not allowed")


def test_an_override_is_validated_like_the_file(tmp_path):
    """--set changes a value, and a wrong one is placed at the option's own text."""
    path = write(tmp_path, GOOD)

    assert load(path, ["targets.tflite.variants=[fp32, fp16]"]).recipe.targets[1].options.variants == ("fp32", "fp16")
    assert load(path, ["inputs[0].fit=pad"]).recipe.inputs[0].fit == "pad"
    with pytest.raises(RecipeErrors, match=r"--set calibration.count=many: calibration.count: input should be"):
        load(path, ["calibration.count=many"])
    with pytest.raises(RecipeErrors, match=r"unknown key 'cuont'"):
        load(path, ["calibration.cuont=3"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nonsense", "not an override"),
        ("a..b=1", "not an override"),
        ("inputs[7].fit=pad", "inputs has 1 entries"),
        ("inputs.fit=pad", "inputs is not a mapping"),
        ("name=[", "not a YAML value"),
    ],
)
def test_an_override_that_is_none_says_how_to_write_one(tmp_path, override, message):
    """Wrong syntax, wrong index, wrong kind."""
    from workbench.errors import RecipeError

    with pytest.raises(RecipeError, match=message.replace("[", r"\[")) as caught:
        load(write(tmp_path, GOOD), [override])
    assert caught.value.fix


def test_seeded_weights_are_for_torch_only(tmp_path):
    """A frozen graph is its own weights."""
    text = mistakes(tmp_path, GOOD.replace('kind: torch, factory: "workbench.zoo.movenet:MoveNet"', "kind: tf_graph"))

    assert "only a torch network can be built without its file" in text
