"""`workbench parity` on odd numbers, damaged arrays, and files that prepare pictures differently."""

import json
import shutil
import struct

import _tiny
import numpy as np
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from workbench.cli import main

SPEC = {"name": "image", "shape": [1, 3, 32, 48], "mean": [128.0], "std": [256.0]}


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `workbench parity` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, ["parity", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return run


def raw(dtype=TensorProto.FLOAT, name="image"):
    """The tiny network with its normalization inside: it takes pixels."""
    model = _tiny.network()
    for key, value in (("m", 128), ("s", 256)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), key))
    model.graph.node[0].input[0] = "n1"
    nodes = [
        helper.make_node("Cast", [name], ["n"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["n", "m"], ["n0"]),
        helper.make_node("Div", ["n0", "s"], ["n1"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    model.graph.input[0].name = name
    model.graph.input[0].type.tensor_type.elem_type = dtype
    return model


@pytest.fixture
def files(tmp_path):
    """A raw network of pixels with its recipe, a lifted one in dist with a manifest, and two pictures."""
    recipe = _tiny.write(tmp_path / "recipes", **{"mean: [128], std: [256]": "mean: [0], std: [1]"})
    shutil.move(recipe.with_name("tiny.onnx"), tmp_path / "plain.onnx")
    (tmp_path / "raw.onnx").write_bytes(raw().SerializeToString())
    dist = tmp_path / "dist" / "tiny"
    dist.mkdir(parents=True)
    (dist / "lifted.onnx").write_bytes(_tiny.network().SerializeToString())
    manifest(dist)
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path


def manifest(folder, **changes):
    """Write the manifest of `lifted.onnx`."""
    content = {"recipe": "tiny", "files": [{"path": "lifted.onnx"}], "inputs": [SPEC], **changes}
    (folder / "manifest.json").write_text(json.dumps(content))


def test_each_file_is_prepared_in_its_own_way(call, files):
    """The raw file gets pixels as the recipe says, the lifted one what its manifest says: they agree."""
    lifted, recipe = files / "dist/tiny/lifted.onnx", files / "recipes/tiny.yaml"
    result = call("raw.onnx", lifted, "--recipe", recipe, "--inputs", "pictures", "--json")

    report = json.loads(result.stdout)
    assert report["inputs"] == (
        "2 pictures of pictures; raw.onnx prepared as tiny.yaml says, lifted.onnx prepared as its manifest says"
    )
    assert report["outputs"][0]["relative_l2"] < 1e-5
    assert report["notes"] == []
    swapped = call(lifted, "raw.onnx", "--recipe", recipe, "--inputs", "pictures", "--relative-l2", "1e-5")
    assert "passed" in swapped.stdout


def test_the_preparation_matters(call, files):
    """The same network outside dist is fed by the recipe, and then the numbers are others."""
    result = call("raw.onnx", "plain.onnx", "--recipe", "recipes/tiny.yaml", "--inputs", "pictures", code=4)

    assert "heat: cosine" in result.stderr


def test_files_of_dist_need_no_recipe(call, files):
    """Both manifests say all there is to know; one picture is one picture."""
    lifted = files / "dist/tiny/lifted.onnx"
    result = call(lifted, lifted, "--inputs", "pictures", "--samples", "1", "--max-abs", "0", "--json")

    assert json.loads(result.stdout)["inputs"] == "1 picture of pictures; lifted.onnx prepared as its manifest says"


def test_an_artifact_in_a_folder_of_its_own_has_a_manifest_too(call, files):
    """The manifest lists it with its folder."""
    dist = files / "dist/tiny"
    (dist / "chip").mkdir()
    (dist / "lifted.onnx").rename(dist / "chip" / "lifted.onnx")
    manifest(dist, files=[{"path": "chip/lifted.onnx"}])

    assert "as its manifest says" in call(*[dist / "chip/lifted.onnx"] * 2, "--inputs", "pictures").stdout.replace(
        "\n", " "
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": None},
        {"inputs": "image"},
        {"inputs": [{"name": "image"}]},
        {"files": None},
        {"files": [3, {"path": "other.onnx"}]},
    ],
)
def test_a_manifest_that_does_not_say_leaves_it_to_the_recipe(call, files, changes):
    """Without a recipe that is an error, with one it is told which was used."""
    dist = files / "dist/tiny"
    manifest(dist, **changes)
    model = dist / "lifted.onnx"

    refused = call(model, model, "--inputs", "pictures", code=2)
    assert "pictures need a recipe to become inputs" in refused.stderr
    assert "add --recipe" in refused.stderr
    used = call(model, model, "--inputs", "pictures", "--recipe", "recipes/tiny.yaml", "--json")
    report = json.loads(used.stdout)
    assert report["inputs"].endswith("lifted.onnx prepared as tiny.yaml says")
    assert bool(report["notes"]) is ("inputs" in changes)


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "\udcff"])
def test_a_damaged_manifest_is_no_manifest(call, files, text):
    """A list, half a file, deep nesting, no text: as if it were not there."""
    (files / "dist/tiny/manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    model = files / "dist/tiny/lifted.onnx"

    assert "add --recipe" in call(model, model, "--inputs", "pictures", code=2).stderr


def test_an_input_of_bytes_gets_the_pixels(call, files):
    """A uint8 input is not normalized a second time, whatever the specs say of mean and std."""
    (files / "bytes.onnx").write_bytes(raw(TensorProto.UINT8).SerializeToString())
    manifest(files, files=[{"path": "bytes.onnx"}])
    result = call(files / "dist/tiny/lifted.onnx", "bytes.onnx", "--inputs", "pictures", "--relative-l2", "1e-5")

    assert "passed" in result.stdout


def test_pictures_do_not_become_int8(call, files):
    """What the stored numbers would mean is not known."""
    (files / "signed.onnx").write_bytes(raw(TensorProto.INT8).SerializeToString())
    result = call("signed.onnx", "signed.onnx", "--recipe", "recipes/tiny.yaml", "--inputs", "pictures", code=2)

    assert "'image' is int8; pictures become floats, or uint8 pixels" in result.stderr


def test_names_of_inputs_are_found_or_mapped(call, files):
    """--map-input names B's; an A that the recipe does not know is an error with its names."""
    (files / "named.onnx").write_bytes(raw(name="picture").SerializeToString())
    asked = ("--recipe", "recipes/tiny.yaml", "--inputs", "pictures")

    assert "passed" in call("raw.onnx", "named.onnx", *asked, "--map-input", "image=picture").stdout
    refused = call("named.onnx", "raw.onnx", *asked, code=2)
    assert "no input of the file is called 'image', as tiny.yaml says; it has picture" in refused.stderr
    recipe = files / "recipes/tiny.yaml"
    recipe.write_text(recipe.read_text().replace("{name: image,", "{name: image, tensor: picture,"))
    assert "passed" in call("named.onnx", "raw.onnx", *asked).stdout


def test_a_recipe_of_another_size_is_an_error(call, files):
    """The file and both shapes are named."""
    recipe = files / "recipes/tiny.yaml"
    recipe.write_text(recipe.read_text().replace("32, 48]", "32, 64]"))
    result = call("raw.onnx", "raw.onnx", "--recipe", recipe, "--inputs", "pictures", code=2)

    assert "the file does not take what tiny.yaml describes" in result.stderr
    assert "1x3x32x64" in result.stderr


@pytest.mark.parametrize("inputs", [(), ("--inputs", "good.npz")])
def test_a_recipe_without_pictures_is_an_error(call, files, inputs):
    """It would have been ignored silently."""
    result = call("raw.onnx", "raw.onnx", "--recipe", "recipes/tiny.yaml", *inputs, code=2)

    assert "--recipe is used only with --inputs PICTURES" in result.stderr


def test_a_missing_folder_of_pictures_is_an_error(call, files):
    """Told as a path of the command line."""
    result = call("raw.onnx", "raw.onnx", "--recipe", "recipes/tiny.yaml", "--inputs", "absent", code=2)

    assert "absent: no such folder" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cosine", "2"),
        ("--cosine", "nan"),
        ("--cosine", "x"),
        ("--max-abs", "-1"),
        ("--max-abs", "inf"),
        ("--relative-l2", "nan"),
        ("--range", "nan", "1"),
        ("--range", "0", "inf"),
        ("--range", "-1e308", "1e308"),
        ("--range", "1", "0"),
        ("--seed", "-1"),
    ],
)
def test_numbers_that_are_none_are_usage_errors(call, files, arguments):
    """Nothing is run with them; the option is named."""
    result = call("raw.onnx", "raw.onnx", *arguments, code=2)

    assert arguments[0] in result.stderr


def damage(good, bad):
    """Spoil the stored bytes of an archive, so that its checksum fails."""
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 0xFF
    bad.write_bytes(data)


@pytest.fixture
def arrays(files):
    """Arrays for `plain.onnx`, good and bad."""
    good = np.random.default_rng(0).uniform(0, 1, (2, 3, 32, 48)).astype(np.float32)
    np.savez(files / "good.npz", image=good)
    np.savez_compressed(files / "packed.npz", image=good)
    damage(files / "good.npz", files / "checksum.npz")
    damage(files / "packed.npz", files / "deflate.npz")
    (files / "cut.npz").write_bytes((files / "good.npz").read_bytes()[:5000])
    (files / "zip.npz").write_bytes(b"PK\x03\x04" + b"x" * 100)
    (files / "empty.npz").write_bytes(b"")
    np.save(files / "array.npy", good)
    shutil.copy(files / "array.npy", files / "renamed.npz")
    np.savez(files / "objects.npz", image=np.array([{}], object))
    np.savez(files / "text.npz", image=np.full((2, 3, 32, 48), "a"))
    np.savez(files / "complex.npz", image=good + 1j)
    np.savez(files / "nhwc.npz", image=good.transpose(0, 2, 3, 1))
    np.savez(files / "none.npz", image=good[:0])
    np.savez(files / "scalar.npz", image=np.float32(1))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000), }\n"
    huge = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    import zipfile

    with zipfile.ZipFile(files / "huge.npz", "w") as archive:
        archive.writestr("image.npy", huge)
    return files


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.npz", "no such file"),
        ("checksum.npz", "cannot read the inputs"),
        ("deflate.npz", "cannot read the inputs"),
        ("cut.npz", "cannot read the inputs"),
        ("zip.npz", "cannot read the inputs"),
        ("empty.npz", "cannot read the inputs"),
        ("huge.npz", "cannot read the inputs"),
        ("objects.npz", "cannot read the inputs: Object arrays"),
        ("array.npy", "one array without a name (.npy), not an .npz"),
        ("renamed.npz", "one array without a name (.npy), not an .npz"),
        ("text.npz", "array 'image' holds <U1, not numbers"),
        ("complex.npz", "array 'image' holds complex64, not numbers"),
        ("nhwc.npz", "it is NHWC and the model takes NCHW: give numpy.transpose(array, (0, 3, 1, 2))"),
        ("none.npz", "do not hold the same number of samples, or none"),
        ("scalar.npz", "array 'image' is [], the model wants [1, 3, 32, 48]"),
    ],
)
def test_arrays_that_cannot_be_used_are_told(call, arrays, name, words):
    """Damage, other kinds of file and other kinds of array: each is an error of three parts."""
    result = call("plain.onnx", "plain.onnx", "--inputs", name, code=2)

    assert words in " ".join(result.stderr.split())
    assert name in result.stderr
    assert "fix:" in result.stderr


def test_good_arrays_are_used(call, arrays):
    """Packed or not, the runs are counted; a wider type is narrowed."""
    for name in ("good.npz", "packed.npz"):
        assert f"2 runs from {name}" in call("plain.onnx", "plain.onnx", "--inputs", name).stdout
    np.savez(arrays / "wide.npz", image=np.zeros((1, 3, 32, 48)))
    assert "1 run from wide.npz" in call("plain.onnx", "plain.onnx", "--inputs", "wide.npz", "--max-abs", "0").stdout


def test_arrays_for_bytes_must_be_bytes(call, arrays):
    """Whole numbers of any type are taken, halves and negatives are not."""
    (arrays / "bytes.onnx").write_bytes(raw(TensorProto.UINT8).SerializeToString())
    np.savez(arrays / "whole.npz", image=np.full((1, 3, 32, 48), 200))
    np.savez(arrays / "half.npz", image=np.full((1, 3, 32, 48), 0.5))

    assert "1 run" in call("bytes.onnx", "bytes.onnx", "--inputs", "whole.npz").stdout
    refused = call("bytes.onnx", "bytes.onnx", "--inputs", "half.npz", code=2)
    assert "values that are no uint8" in refused.stderr


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT64, TensorProto.FLOAT16])
def test_generated_numbers_stay_within_the_type(call, files, kind, recwarn):
    """Values beyond what the input can hold are cut off without a warning."""
    (files / "typed.onnx").write_bytes(raw(kind).SerializeToString())
    call("typed.onnx", "typed.onnx", "--range", "-1000", "1000")

    assert [str(one.message) for one in recwarn.list if issubclass(one.category, RuntimeWarning)] == []


def test_inputs_of_text_are_refused(call, files):
    """A model that reads strings cannot be fed."""
    ports = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (files / "text.onnx").write_bytes(model.SerializeToString())

    assert "input 'x' holds tensor(string), not numbers" in call("text.onnx", "text.onnx", code=2).stderr


def test_a_folder_is_no_model(call, files):
    """Its model files are named."""
    result = call("dist/tiny", "raw.onnx", code=3)

    assert "a folder, not a model file" in result.stderr
    assert "name a file in it: lifted.onnx" in result.stderr
