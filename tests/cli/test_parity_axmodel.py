"""`workbench parity` of a float model and its compiled one: every runner, every kind of input, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import _sshd
import _tiny
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from workbench.cli import main
from workbench.runtimes import open_model

ONNX, COMPILED = "dist/tiny/tiny.onnx", "dist/tiny/tiny.ax650.axmodel"
STANDIN = f'#!/bin/sh\nexec "{sys.executable}" "{_sshd.STANDINS / "pulsar2.py"}" "$@"\n'
CLOSE = ("--cosine", "0.99")


def converted(folder: Path, changes: dict[str, str], path: str) -> Path:
    """Convert the tiny recipe with the stand-in toolchain; returns a folder with dist/tiny and pictures."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "pulsar2").write_text(STANDIN)
    (folder / "bin" / "pulsar2").chmod(0o755)
    recipe = _tiny.write(folder, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{path}")
        patch.setenv("WORKBENCH_HOME", str(folder / "home"))
        patch.setenv("WORKBENCH_MIRROR", str(folder))
        for name in ("PULSAR2_HOME", "PULSAR2_IMAGE", "PULSAR2_ENGINE", "STANDIN_FAIL"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        result = CliRunner().invoke(main, ["convert", str(recipe), "--require", "axmodel"])
    assert result.exit_code == 0, result.output
    (folder / "pictures").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).resize((60, 40)).save(folder / "pictures" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """A conversion for a chip that is fed 8-bit pixels."""
    return converted(tmp_path_factory.mktemp("pixels") / "work", {"mean: [128]": "color: BGR, mean: [128]"}, _path())


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """A conversion for a chip that is fed a camera's NV21 in the range of video."""
    changes = {"chips: [AX650]": "chips: [AX650], input: nv21, csc: limited"}
    return converted(tmp_path_factory.mktemp("camera") / "work", changes, _path())


@pytest.fixture
def call(pixels, programs, monkeypatch):
    """Run `workbench parity` beside a copy of the conversion, with the stand-in toolchain on PATH."""
    programs("pulsar2")
    return caller(pixels, monkeypatch)


def caller(folder, monkeypatch):
    """A function that runs the command in `folder`."""
    monkeypatch.chdir(folder)

    def run(*arguments, code=0):
        result = CliRunner().invoke(main, ["parity", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        return json.loads(result.stdout) if "--json" in arguments and code in (0, 4) else result

    return run


def _path() -> str:
    return "/usr/bin:/bin"


def test_pictures_reach_both_sides(call):
    """The float model gets normalized BGR floats, the compiled one BGR bytes, in one start."""
    report = call(ONNX, COMPILED, "--inputs", "pictures", *CLOSE, "--json")

    assert report["runtimes"] == {"a": "onnxruntime", "b": "pulsar2 run (7.0-standin)"}
    assert report["inputs"].startswith("3 pictures of pictures; tiny.onnx prepared as its manifest says")
    assert report["notes"] == [
        "tiny.ax650.axmodel: image: fed BGR pixels 0..255 as uint8 NHWC; it normalizes them itself"
    ]
    assert 0.99 < report["outputs"][0]["cosine"] < 1
    assert report["outputs"][0]["samples"] == 3
    shown = call(ONNX, COMPILED, "--inputs", "pictures", *CLOSE).stdout
    assert "run by: onnxruntime and pulsar2 run (7.0-standin)" in shown
    assert "passed" in shown


def test_generated_pixels_reach_both_sides(call):
    """Whole numbers of 0..255, normalized for the float side: as close as pictures are; --range narrows them."""
    report = call(ONNX, COMPILED, *CLOSE, "--json")
    assert report["inputs"].startswith(
        "4 generated, whole pixels in 0..255, seed 0; tiny.onnx prepared as its manifest"
    )
    assert report["outputs"][0]["cosine"] > 0.99
    assert call(COMPILED, ONNX, *CLOSE, "--json")["outputs"][0]["cosine"] > 0.99
    narrow = call(ONNX, COMPILED, "--range", "100", "150", *CLOSE, "--json")
    assert "whole pixels in 100..150" in narrow["inputs"]
    assert "stay within 0 255" in call(ONNX, COMPILED, "--range", "-1", "1", code=2).stderr
    assert "holds no pixels" in call(ONNX, COMPILED, "--range", "0.2", "0.8", code=2).stderr


def test_noise_is_not_what_it_was_calibrated_on(call):
    """A limit that generated inputs miss: the fix is pictures before anything else."""
    result = call(ONNX, COMPILED, "--cosine", "1", code=4)

    assert "fix: give pictures with --inputs: it was calibrated on pictures" in result.stderr


def test_arrays_reach_both_sides(call, tmp_path):
    """An .npz holds the inputs of the first, whichever that is; what is no pixel is refused before anything runs."""
    random = np.random.default_rng(5).integers(0, 256, (2, 32, 48, 3))
    np.savez(tmp_path / "floats.npz", image=((random.transpose(0, 3, 1, 2) - 128) / 256).astype(np.float32))
    np.savez(tmp_path / "bytes.npz", image=random.astype(np.uint8))
    np.savez(tmp_path / "no_pixels.npz", image=np.full((1, 3, 32, 48), 0.123, np.float32))

    one = call(ONNX, COMPILED, "--inputs", tmp_path / "floats.npz", *CLOSE, "--json")
    other = call(COMPILED, ONNX, "--inputs", tmp_path / "bytes.npz", *CLOSE, "--json")
    assert one["inputs"].startswith("2 runs from floats.npz; tiny.onnx prepared as its manifest says")
    np.testing.assert_allclose(one["outputs"][0]["cosine"], other["outputs"][0]["cosine"], atol=1e-6)
    refused = call(ONNX, COMPILED, "--inputs", tmp_path / "no_pixels.npz", code=2)
    assert "holds what no pixel becomes, and the other model takes pixels" in refused.stderr


def test_without_a_word_on_pixels_there_is_no_comparison(call, pixels, tmp_path):
    """Outside dist nothing says how pixels become numbers, unless a recipe does."""
    for name in (ONNX, COMPILED):
        shutil.copy(pixels / name, tmp_path)
    files = tmp_path / "tiny.onnx", tmp_path / "tiny.ax650.axmodel"

    refused = call(*files, code=2)
    assert "tiny.onnx takes float32 and tiny.ax650.axmodel takes uint8, and nothing says how pixels become numbers" in (
        " ".join(refused.stderr.split())
    )
    assert "add --recipe" in refused.stderr
    assert call(*files, "--recipe", "tiny.yaml", *CLOSE, "--json")["passed"]
    assert call(ONNX, files[1], *CLOSE, "--json")["passed"]  # one of the two is known


def test_the_chip_is_told_to_the_simulation(call, pixels, tmp_path, programs):
    """The file's name says the chip, which is not always the tool's default."""
    program = programs("pulsar2")
    told = tmp_path / "told"
    program.write_text(program.read_text().replace("exec", f'echo "$*" >>"{told}"\nexec', 1))
    shutil.copy(pixels / COMPILED, tmp_path / "tiny.ax630c.axmodel")
    call(ONNX, tmp_path / "tiny.ax630c.axmodel", *CLOSE)
    shutil.copy(pixels / COMPILED, tmp_path / "compiled.axmodel")
    call(ONNX, tmp_path / "compiled.axmodel", *CLOSE)

    runs = [line for line in told.read_text().splitlines() if line.startswith("run")]
    assert "--target_hardware AX620E" in runs[0]
    assert "--target_hardware" not in runs[1]


def test_a_camera_gets_yuv(camera, programs, monkeypatch):
    """The kit beside the model says which; pictures and generated pixels are converted, and that is told."""
    programs("pulsar2")
    call = caller(camera, monkeypatch)
    with open_model(camera / COMPILED) as runner:
        assert runner.inputs[0].shape == (1, 48, 48, 1)

    made = json.loads((camera / "dist/tiny/parity.json").read_text())
    (judged,) = [one for one in made["artifacts"] if one["precision"] == "axmodel"]
    assert judged["notes"] == ["image: fed NV21, limited range, made of the RGB pixels; it normalizes them itself"]
    assert judged["passed"]
    report = call(ONNX, COMPILED, "--inputs", "pictures", *CLOSE, "--json")
    assert report["notes"] == [
        "tiny.onnx: image: fed what is left of the pixels after NV21, limited range, as the other",
        f"tiny.ax650.axmodel: {judged['notes'][0]}",
    ]
    assert call(ONNX, COMPILED, *CLOSE, "--json")["outputs"][0]["cosine"] > 0.99
    assert call(COMPILED, ONNX, *CLOSE, "--json")["outputs"][0]["cosine"] > 0.99


def test_a_board_by_ssh(call, tmp_path):
    """The same comparison on a board: same numbers, and the latency that its program printed."""
    with _sshd.serving(tmp_path / "board", tmp_path / "programs") as board:
        report = call(ONNX, COMPILED, "--inputs", "pictures", "--runner", board.address, *CLOSE, "--json")
        shown = call(ONNX, COMPILED, "--inputs", "pictures", "--runner", board.address, *CLOSE).stdout
        assert board.left() == []
        assert board.starts == 2
        _sshd.use_key(board, "stranger")
        refused = call(ONNX, COMPILED, "--runner", board.address, code=3)

    assert report["latency_ms"] == {"b": {"minimum": 7.658, "average": 7.662, "maximum": 7.672}}
    assert report["runtimes"]["b"].startswith("ax_run_model on ")
    assert "7.662 ms an inference (7.658 to 7.672 ms)" in shown
    simulated = call(ONNX, COMPILED, "--inputs", "pictures", *CLOSE, "--json")
    assert report["outputs"] == simulated["outputs"]
    assert "the board does not accept your key" in refused.stderr


def test_outputs_made_by_hand(call, tmp_path, programs):
    """The inputs are written, run with the line of the README, and compared with the same command."""
    folder = tmp_path / "by_hand"
    asked = (ONNX, COMPILED, "--inputs", "pictures", "--runner", f"dump:{folder}", *CLOSE)
    first = call(*asked, code=3)
    assert "the inputs of 3 samples were written" in first.stderr
    (line,) = [one.strip() for one in (folder / "README.txt").read_text().splitlines() if "pulsar2 run" in one]
    model = Path(COMPILED).absolute()
    words = [str(model) if word == model.name else word for word in line.split()]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)

    report = call(*asked, "--json")
    assert report["runtimes"]["b"] == "outputs in by_hand"
    assert report["outputs"] == call(ONNX, COMPILED, "--inputs", "pictures", *CLOSE, "--json")["outputs"]
    other = call(ONNX, COMPILED, "--runner", f"dump:{folder}", code=3)
    assert "made from another input 'image'" in other.stderr


def test_nan_of_a_chip_is_a_failure(call, monkeypatch):
    """It passes the runner and fails the comparison."""
    monkeypatch.setenv("STANDIN_FAIL", "nan")
    result = call(ONNX, COMPILED, *CLOSE, code=4)
    assert "NaN or Inf in the compared side" in result.stderr
    assert "find the first layer that answers NaN" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((ONNX, ONNX, "--runner", "pulsar2"), "is for a .axmodel, and neither file is one"),
        ((COMPILED, COMPILED, "--runner", "dump:x"), "would be the answer of both models"),
        ((ONNX, COMPILED, "--runner", "simulator"), "no such runner"),
        ((ONNX, COMPILED, "--runner", "ssh://-oProxyCommand=id"), "is no host name"),
        ((ONNX, COMPILED, "--timeout", "0"), "--timeout"),
    ],
)
def test_runners_that_make_no_sense(call, arguments, told):
    """Told before anything is opened."""
    assert told in " ".join(call(*arguments, code=2).stderr.split())
