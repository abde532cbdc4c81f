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
            "inputs[0].shape[3]: should be a whole number, got 'x'",
            "shape: static shape",
        ),
        ("[1, 3, 64, 64]", "[1, 4, 64, 64]", "5:26", "RGB pictures have 3 channels", "write a shape with 3 channels"),
        ("[1, 3, 64, 64]", "[1, 64, 64, 3]", "5:26", "read as NCHW has 64", "fix: write layout: NHWC"),
        ("[1, 3, 64, 64]", "[1, 1, 64, 64]", "5:26", "RGB pictures have 3 channels", "fix: write color: GRAY"),
        ("[1, 3, 64, 64]", "[1, 3, 64, 64], color: GRAY", "5:26", "GRAY pictures have 1", "write color: RGB or BGR"),
        ("[1, 3, 64, 64]", "[1, 3, 64, 64], mean: [1, 2]", "5:48", "inputs[0].mean: mean has 2", "write one value"),
        ("[1, 3, 64, 64]", "[1, 3, 64, 64], std: [1, 0, 1]", "5:51", "inputs[0].std[1]: std is a divisor", "e.g. 255"),
        ("[1, 3, 64, 64]", "[1, 3, 64, 64], range: [0, 1]", "5:49", "does not hold", "write range: [0, 255], or"),
        ("[1, 3, 64, 64]", "[true, 3, 64, 64]", "5:27", "should be a whole number, got true", "static shape"),
        ("[1, 3, 64, 64]", "5", "5:26", "inputs[0].shape: should be a list in brackets, e.g. [5]", "static shape"),
        ("[1, 3, 64, 64]", "[1, 3, 8, 8, 8]", "5:26", "inputs[0].shape: should have at most 4 entries", "static"),
        ("[fp32]", "fp32", "16:22", "should be a list in brackets, e.g. [fp32], got 'fp32'", "variants: fp32, fp16"),
        (
            "[fp32]",
            "[]",
            "16:22",
            "targets.tflite.variants: should have at least 1 entry, got []",
            "variants: fp32, fp16",
        ),
        ("[fp32]", "[fp32, fp32]", "16:29", "variants[1]: variant fp32 is named twice", "fix: remove one"),
        (
            "{variants: [fp32]}",
            "5",
            "16:11",
            "targets.tflite: should be a mapping (key: value), got 5",
            "it may have: io, variants",
        ),
        (
            "- fold_batchnorm",
            "- fold_pad: []",
            "10:15",
            "fold_pad: should be a mapping (key: value), got []",
            "remove it: fold_pad has no options",
        ),
        ("- fold_batchnorm", "- fold_pad: {a: 1}", "10:16", "unknown key 'a'", "remove it: fold_pad has no options"),
        (
            "- cut_outputs: {tensors: [heat]}",
            "- cut_outputs:",
            "11:17",
            "'tensors' is missing",
            "add it: tensors: names",
        ),
        ("  onnx:", "  onnx: {a: 1}", "15:10", "targets.onnx.a: unknown key 'a'", "remove it: onnx has no options"),
        ("count: 8", "count: yes", "12:22", "calibration.count: should be a whole number, got true", "pictures used"),
        ("count: 8", "count: '8'", "12:22", "calibration.count: should be a whole number, got '8'", "pictures used"),
        ("count: 8", "count: 8, minimum: 9", "12:34", "minimum: minimum 9 is more than the 8", "raise count, or lower"),
        ("parity:\n", "parity:\n  samples: yes\n", "18:12", "should be a whole number, got true", "golden pictures"),
        (
            "name: tiny",
            "name: tiny.failed",
            "1:7",
            "name: 'tiny.failed' is not as it should be",
            "letters, digits, _ -",
        ),
        (
            "name: image",
            "name: 9x",
            "5:12",
            "'9x' is not as it should be",
            "letters, digits, _ . - after a letter or _",
        ),
        ("https://ex", "http://ex", "3:29", "weights.url: 'http://", "begins with https://"),
        (
            "{file: w.pth",
            "{sha256: 12, file: w.pth",
            "3:19",
            "weights.sha256: should be text, got 12",
            "64 hexadecimal",
        ),
        ("joints: coco17", "joints: null", "8:9", "joints: should be text, got null", "the skeleton, e.g. coco17"),
        ("joints: coco17", "joints: 2024-01-31\nx: 1", "9:1", "unknown key 'x'", "one of"),
        ("MoveNet", "MoveNett", "2:32", "source.factory: the zoo has no", "mean 'workbench.zoo.movenet:MoveNet'?"),
        ('"workbench.zoo.movenet:MoveNet"', "os:getcwd", "2:32", "'os' is not in workbench.zoo", "say where its code"),
        ("workbench.zoo.movenet:MoveNet", "a b:c", "2:32", "'a b:c' is not as it should be", "package.module:callable"),
        ('MoveNet"', 'MoveNet", arguments: {a: [1]}', "2:80", "source.arguments.a: an argument is text", "one plain"),
        ('MoveNet"', 'MoveNet", commit: abc', "2:73", "source.commit: 'abc' is not as it should be", "40 hexadecimal"),
        ("name: heat,", "name: image,", "7:12", "'image' is also the name of inputs[0]", "rename one"),
        (
            "  - {name: image, shape: [1, 3, 64, 64]}\n",
            "  - {name: image, shape: [1, 3, 64, 64]}\n  - {name: depth, tensor: image, shape: [1, 3, 64, 64]}\n",
            "6:27",
            "inputs[1].tensor: 'image' is also the tensor of inputs[0]",
            "of each input",
        ),
        ("float: {max_abs: 1e-4}", "float: {}", "19:12", "gates nothing", "at least one, e.g. cosine"),
        ("    int8: {cosine: 0.9}\n", "", "19:5", "the INT8 model has no limit", "add int8"),
        ("joints: coco17\n", "", "1:1", "key 'joints' is missing", "add it: joints: the skeleton, e.g. coco17"),
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
    path = write(tmp_path, GOOD.replace("    int8:", "    fp16: {cosine: 0.99}\n    int8:"))

    assert load(path, ["targets.tflite.variants=[fp32, fp16]"]).recipe.targets[1].options.variants == ("fp32", "fp16")
    assert load(path, ["inputs[0].fit=pad"]).recipe.inputs[0].fit == "pad"
    with pytest.raises(RecipeErrors, match=r"--set calibration.count=many: calibration.count: should be a whole"):
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
        ("calibration[0]=1", "calibration is not a list"),
        ("name.x=1", "name is a plain value"),
        ("name={a: 1, a: 2}", "key 'a' is written twice"),
        (f"inputs[{'9' * 5000}]=1", "not an override"),
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


def test_a_plain_value_is_set_whole(tmp_path):
    """There is nothing inside a text to set."""
    from workbench.errors import RecipeError

    with pytest.raises(RecipeError) as caught:
        load(write(tmp_path, GOOD), ["name.x=1"])
    assert str(caught.value) == "--set name.x=1: name is a plain value\n  fix: set it whole: name=1"


def count(text):
    """How many mistakes a message tells."""
    return text.count("\n  fix: ")


@pytest.mark.parametrize("factory", ["workbench.zoo.movenet:MoveNett", "os:getcwd", "a b:c"])
def test_a_wrong_factory_is_one_mistake(tmp_path, factory):
    """The source that could not be read is not taken for one of another kind."""
    assert count(mistakes(tmp_path, GOOD.replace("workbench.zoo.movenet:MoveNet", factory))) == 1


@pytest.mark.parametrize("written", ["source:\n", "source: 5\n", "source: {}\n"])
def test_a_source_without_a_kind_does_not_hide_other_mistakes(tmp_path, written):
    """Empty, a number, an empty mapping: the kind is missing, and a typo elsewhere is told as well."""
    source = GOOD.splitlines(keepends=True)[1]
    text = mistakes(tmp_path, GOOD.replace(source, written).replace("count: 8", "cuont: 8"))

    assert "tiny.yaml:2:1: source: 'kind' is missing\n  fix: add kind: onnx | tf_graph | torch" in text
    assert "unknown key 'cuont'" in text
    assert count(text) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("source=null", "source: 'kind' is missing"),
        ("targets.tflit.variants=[fp32]", "targets.tflit: no target called 'tflit'"),
        ("targets.onnx.options.x=3", "targets.onnx.options: unknown key 'options'"),
        ("targets=null", "targets: no target, so nothing would be written"),
        ("targets=onnx", "targets: should be a mapping (key: value)"),
        ("inputs[0].mean=[true]", "inputs[0].mean[0]: should be a number, got true"),
        (
            "targets.pulsar2.chips=[AX65O]",
            "targets.pulsar2.chips[0]: no chip called 'AX65O'\n  fix: did you mean 'AX650'?",
        ),
        (
            "quantization={split: {a: 2}, u16: [a]}",
            "quantization.u16[0]: tensor 'a' is split, so there is no such tensor any more\n"
            "  fix: name its parts: a/split",
        ),
        (
            "quantization={unroll: [a], u16: [a]}",
            "quantization.u16[0]: the sum 'a' is unrolled, so there is no such tensor any more",
        ),
        ("targets.pulsar2.chips=[M57, M57]", "targets.pulsar2.chips[1]: chip M57 is listed twice\n  fix: remove one"),
        ("targets.pulsar2.timeout_minutes=true", "targets.pulsar2.timeout_minutes: should be a whole number, got true"),
        ("inputs=null", "inputs: should be a list in brackets, got null"),
        ("parity.limits.int8.cosine=x", "parity.limits.int8.cosine: should be a number, got 'x'"),
    ],
)
def test_what_an_override_creates_is_blamed_on_it(tmp_path, override, message):
    """Also the mappings on the way to its value, which no line of the file wrote."""
    text = mistakes(tmp_path, GOOD, [override])

    assert text.startswith(f"--set {override}: {message}")
    assert count(text) == 1


def test_weights_taken_away_by_an_override_are_missed_there(tmp_path):
    """A frozen graph without its file, because of the command line or because of the recipe."""
    text = GOOD.replace('kind: torch, factory: "workbench.zoo.movenet:MoveNet"', "kind: tf_graph")
    weights = GOOD.splitlines(keepends=True)[2]

    told = mistakes(tmp_path, text, ["weights=null"])
    assert told.startswith("--set weights=null: weights: a tf_graph graph needs its file")
    assert "tiny.yaml:2:16: source.kind: a tf_graph graph needs its file" in mistakes(
        tmp_path, text.replace(weights, "")
    )


def test_a_source_without_options_says_so(tmp_path):
    """A frozen graph has no factory."""
    text = mistakes(tmp_path, GOOD.replace("kind: torch", "kind: tf_graph"))

    assert "source.factory: unknown key 'factory'\n  fix: remove it: tf_graph has no options" in text


@pytest.mark.parametrize("key", ["name", "source", "inputs", "outputs", "joints", "targets", "parity"])
def test_a_missing_key_says_what_to_write(tmp_path, key):
    """Every key that a recipe needs has an example or a rule in the fix."""
    kept = "".join(part for part in _sections(GOOD) if not part.startswith(f"{key}:"))
    text = mistakes(tmp_path, kept)

    assert f"{key}: key {key!r} is missing\n  fix: add it: {key}: " in text


def _sections(text):
    """A recipe in parts, one a key of the first level."""
    parts = []
    for line in text.splitlines(keepends=True):
        if line.startswith(" "):
            parts[-1] += line
        else:
            parts.append(line)
    return parts


def test_hashes_are_kept_in_lower_case(tmp_path):
    """Some tools print them in capitals."""
    text = GOOD.replace("file: w.pth", f"file: w.pth, sha256: {'AB' * 32}, git_blob: {'Cd' * 20}")
    text = text.replace("kind: torch", f"kind: torch, repository: 'https://example.org/x', commit: {'EF' * 20}")
    recipe = load(write(tmp_path, text)).recipe

    assert (recipe.weights.sha256, recipe.weights.git_blob) == ("ab" * 32, "cd" * 20)
    assert recipe.source.options.commit == "ef" * 20


@pytest.mark.parametrize(("written", "least"), [("count: 4", 4), ("count: 20", 8), ("count: 20, minimum: 12", 12)])
def test_the_fewest_pictures_never_exceed_those_asked_for(tmp_path, written, least):
    """Eight, or all of them when fewer are asked for, or what the recipe says."""
    assert load(write(tmp_path, GOOD.replace("count: 8", written))).recipe.calibration.least == least


def test_every_precision_that_is_written_needs_a_limit(tmp_path):
    """A file that nothing judges would be published as if it had passed."""
    text = mistakes(tmp_path, GOOD.replace("[fp32]", "[fp32, fp16]"))

    assert "tiny.yaml:19:5: parity.limits: targets.tflite writes fp16, which has no limit" in text
    assert "fix: add fp16: {cosine: 0.999}" in text
    assert count(text) == 1
    text = mistakes(tmp_path, GOOD.replace("[fp32]", "[fp32, int8, int16x8]"))
    assert "tiny.yaml:19:5: parity.limits: targets.tflite writes int16x8, which has no limit" in text
    assert "fix: add int16x8: {cosine: 0.98}" in text
    assert count(text) == 1


def test_an_npu_mode_that_a_chip_lacks_is_blamed_on_the_mode(tmp_path):
    """The fix names the modes that the chip has."""
    text = mistakes(tmp_path, GOOD.replace("  onnx:\n", "  pulsar2: {chips: [AX630C], npu_mode: NPU3}\n"))

    assert "tiny.yaml:15:40: targets.pulsar2.npu_mode: AX630C has no NPU3\n  fix: use NPU1 or NPU2" in text
