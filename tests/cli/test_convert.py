import json
from types import SimpleNamespace

import _tiny
import pytest
from click.testing import CliRunner

from workbench.cli import main
from workbench.cli.convert import _missed


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `workbench` in a folder of its own, the tiny recipe's weights in a mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_MIRROR", str(tmp_path / "recipes"))

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return run


def test_convert_ends_with_a_table(call, tmp_path):
    """Each artifact with size, hash, parity and what checked it; what was skipped, with the fix."""
    result = call("convert", _tiny.write(tmp_path / "recipes"))

    line = next(line for line in result.stdout.splitlines() if line.startswith("tiny.onnx"))
    assert "1.000000" in line
    assert "onnxruntime: ok" in line
    assert "skipped: no Pulsar2 toolchain" in result.stdout
    assert "PULSAR2_HOME" in result.stdout
    assert "NOT DEPLOYABLE" not in result.output
    for stage in ("pictures", "export", "simplify", "surgery", "calibrate", "quantize", "parity"):
        assert f".  {stage}" in result.stderr


def test_convert_speaks_pure_json(call, tmp_path):
    """With --json, stdout is one document, whatever else is told on stderr."""
    result = call("convert", _tiny.write(tmp_path / "recipes"), "--json")

    (outcome,) = json.loads(result.stdout)
    assert outcome["manifest"]["recipe"] == "tiny"
    assert outcome["parity"]["passed"] is True


def test_a_missed_limit_is_exit_4_and_names_it(call, tmp_path):
    """The table is still shown; the error says which artifact, output, metric, value and limit."""
    result = call("convert", _tiny.write(tmp_path / "recipes", **{"cosine: 0.9": "cosine: 1.0"}), code=4)

    assert "FAILED" in result.stdout
    assert "tiny.int8.onnx: heat: cosine" in result.stderr
    assert (tmp_path / "dist" / "tiny.failed" / "parity.json").is_file()
    assert not (tmp_path / "dist" / "tiny").exists()


def test_all_recipes_are_checked_before_the_first_starts(call, tmp_path):
    """A typo in the second recipe stops the first, too: nothing has run."""
    good = _tiny.write(tmp_path / "recipes")
    bad = tmp_path / "recipes" / "bad.yaml"
    bad.write_text("name: bad\n")
    result = call("convert", good, bad, code=2)

    assert "bad.yaml:1:1: recipe: key" in result.stderr or "key 'inputs' is missing" in result.stderr
    assert not (tmp_path / "dist").exists()


def test_one_failure_does_not_stop_the_others(call, tmp_path):
    """Two recipes, the first without weights: the second is published, the exit code is the first's."""
    good = _tiny.write(tmp_path / "recipes")
    bad = tmp_path / "bad.yaml"
    text = good.read_text().replace("name: tiny", "name: bad")
    start = text.index("sha256: ") + 8
    bad.write_text(text[:start] + "0" * 64 + text[start + 64 :])
    result = call("convert", bad, good, code=3)

    assert "WORKBENCH_MIRROR" in result.stderr
    assert (tmp_path / "dist" / "tiny" / "manifest.json").is_file()


def test_require_weights_refuses_random_ones(call, tmp_path):
    """A seeded recipe is an error when real weights are asked for."""
    from pathlib import Path

    recipe = Path(__file__).resolve().parents[2] / "recipes" / "openpose.yaml"
    result = call("convert", recipe, "--require-weights", code=3)

    assert "pass --weights FILE" in result.stderr


def test_plan_and_convert_agree(call, tmp_path):
    """What plan announces is what runs; after that it announces nothing."""
    recipe = _tiny.write(tmp_path / "recipes")
    before = call("plan", recipe, "--json")
    call("convert", recipe)
    after = call("plan", recipe)

    assert all(stage["runs"] for stage in json.loads(before.stdout)[0]["stages"])
    assert "first run" not in after.stdout
    assert after.stdout.count("unchanged") == len(json.loads(before.stdout)[0]["stages"])


def test_calib_show_and_pack(call, tmp_path):
    """The pictures that judge are none of those that calibrate, and the archive holds the latter."""
    import tarfile

    recipe = _tiny.write(tmp_path / "recipes")
    shown = json.loads(call("calib", "show", recipe, "--json").stdout)
    call("calib", "pack", recipe, "--out", tmp_path / "packed")

    assert not set(shown["parity"]) & set(shown["calibration"])
    with tarfile.open(tmp_path / "packed" / "image.tar") as archive:
        assert len(archive.getnames()) == len(shown["calibration"]) == 6


def test_parity_of_a_model_with_itself_and_with_its_int8(call, tmp_path):
    """Equal files pass, the INT8 file misses a strict limit with exit 4, and --json says the same."""
    call("convert", _tiny.write(tmp_path / "recipes"))
    float_model, int8 = tmp_path / "dist/tiny/tiny.onnx", tmp_path / "dist/tiny/tiny.int8.onnx"

    assert "passed" in call("parity", float_model, float_model, "--max-abs", "0").stdout
    result = call("parity", float_model, int8, "--cosine", "0.9999999", "--json", code=4)
    report = json.loads(result.stdout)
    assert report["passed"] is False
    assert "heat: cosine" in report["failures"][0]


def test_parity_takes_arrays_and_says_what_is_wrong_with_them(call, tmp_path):
    """An .npz by input names, in whole batches; anything else is a usage error."""
    import numpy as np

    call("convert", _tiny.write(tmp_path / "recipes"))
    model = tmp_path / "dist/tiny/tiny.onnx"
    good, named, shaped = (tmp_path / f"{name}.npz" for name in ("good", "named", "shaped"))
    np.savez(good, image=np.zeros((3, 3, 32, 48), np.float32))
    np.savez(named, picture=np.zeros((1, 3, 32, 48), np.float32))
    np.savez(shaped, image=np.zeros((1, 3, 48, 32), np.float32))

    assert "3 runs from good.npz" in call("parity", model, model, "--inputs", good).stdout
    assert "the model wants image" in call("parity", model, model, "--inputs", named, code=2).stderr
    assert "[1, 3, 48, 32]" in call("parity", model, model, "--inputs", shaped, code=2).stderr
    (tmp_path / "junk.npz").write_bytes(b"junk")
    assert "cannot read the inputs" in call("parity", model, model, "--inputs", "junk.npz", code=2).stderr


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [("a.onnx", b"junk", 3), ("a.tflite", b"junk", 3), ("a.pb", b"junk", 3), ("a.txt", b"", 2)],
)
def test_parity_of_what_is_no_model(call, tmp_path, name, data, code):
    """Damaged files are exit 3, an unknown kind of file exit 2; each with a fix."""
    (tmp_path / name).write_bytes(data)
    result = call("parity", name, name, code=code)

    assert name in result.stderr
    assert "fix:" in result.stderr


@pytest.mark.parametrize(("file", "helps"), [("tiny.int8.onnx", True), ("tiny.mixed.onnx", True), ("tiny.onnx", False)])
def test_a_missed_limit_of_8_bits_points_to_the_search(file, helps):
    """Settings cure what quantization lost, and nothing else."""
    outcome = SimpleNamespace(folder="dist/tiny.failed", manifest={"recipe": "tiny"}, failures=[f"{file}: heat: low"])
    assert ("workbench tune" in _missed(outcome).fix) is helps
