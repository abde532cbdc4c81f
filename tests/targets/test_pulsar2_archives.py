"""Calibration archives held against configuration and model: member by member, unpacked nowhere."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from _build_config import FACTS, calibrated, quant
from PIL import Image

from workbench.targets.pulsar2.facts import Facts
from workbench.targets.pulsar2.rules_archives import archives

SHAPE = (1, 3, 8, 8)


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    """A picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (1, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: object, *, pickled: bool = False) -> bytes:
    """An array as a file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


GOOD = {
    "Image": {"a.png": png(), "sub/b.PNG": png((5, 9))},
    "Numpy": {"a.npy": npy(np.zeros(SHAPE, np.float32)), "b.npy": npy(np.ones(SHAPE, np.float32))},
    "Binary": {"a.bin": bytes(4 * 192), "b.bin": bytes(4 * 192)},
    "NumpyObject": {"a.npy": npy({"image": 1}, pickled=True)},
}


def packed(path: Path, members: dict[str, bytes]) -> Path:
    """An archive of the kind its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def found(base: Path, known: Facts | None = FACTS, **changes: object) -> list[tuple[str, str, str]]:
    """Level, sentence and file of every finding for one archive ``c.tar``."""
    made = quant(input_configs=[calibrated(**changes)])
    return [(one.level, str(one), one.where) for one in archives(made, known, base)]


@pytest.mark.parametrize("name", ["c.tar", "c.tar.gz", "c.zip"])
@pytest.mark.parametrize("form", GOOD)
def test_good_archives(tmp_path, name, form):
    """Samples of the right kind in each archive format give no finding."""
    packed(tmp_path / name, GOOD[form])
    assert found(tmp_path, calibration_dataset=name, calibration_format=form) == []


@pytest.mark.parametrize(
    ("form", "members", "what"),
    [
        ("Image", {"a.npy": GOOD["Numpy"]["a.npy"]}, "'a.npy' is no sample for calibration_format Image"),
        ("Numpy", {"a.png": png()}, "'a.png' is no sample for calibration_format Numpy"),
        ("Image", {"a.png": b"no picture"}, "'a.png' is no picture that can be read: not one of JPEG"),
        ("Image", {"a.png": png()[:50]}, "'a.png' is no picture that can be read"),
        ("Image", {".DS_Store": b"x"}, "'.DS_Store' is no sample"),
        ("Numpy", {"a.npy": b"no array"}, "'a.npy' is no .npy file"),
        ("Numpy", {"a.npy": npy(np.zeros(SHAPE))}, "'a.npy' is float64, the model's input is float32"),
        ("Numpy", {"a.npy": npy(np.zeros(SHAPE, ">f4"))}, "'a.npy' is >f4"),
        ("Numpy", {"a.npy": npy(np.zeros(SHAPE[1:], np.float32))}, "'a.npy' is [3, 8, 8]: the batch axis is missing"),
        ("Numpy", {"a.npy": npy(np.zeros((1, 8, 8, 3), np.float32))}, "'a.npy' is [1, 8, 8, 3], the model's input is"),
        ("Numpy", {"a.npy": npy({"image": 1}, pickled=True)}, "'a.npy' holds Python objects, which are a pickle"),
        ("Numpy", {"a.npy": npy(np.zeros(SHAPE, np.float32))[:-4]}, "'a.npy' is shorter or longer than its header"),
        ("Numpy", {"a.npy": b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 16}, "'a.npy' is no .npy file"),
        ("Binary", {"a.bin": bytes(767)}, "'a.bin' has 767 bytes, a float32 tensor [1, 3, 8, 8] has 768"),
        ("Image", {}, "the archive is empty"),
    ],
)
def test_samples_that_the_tool_would_choke_on(tmp_path, form, members, what):
    """Wrong kind, type, shape, batch axis, length; pickles; nothing at all."""
    packed(tmp_path / "c.tar", members)
    ((level, text, file),) = found(tmp_path, calibration_format=form)
    assert (level, file) == ("error", "")
    assert text.startswith(f"quant.input_configs[0].calibration_dataset: {what}")


def test_types_are_the_models(tmp_path):
    """An input of integers is calibrated with integers."""
    known = Facts({"image": (1, 4)}, {}, dtypes={"image": "int64"})
    packed(tmp_path / "c.tar", {"a.npy": npy(np.zeros((1, 4), np.int64))})
    assert found(tmp_path, known, calibration_format="Numpy") == []
    packed(tmp_path / "c.tar", {"a.npy": npy(np.zeros((1, 4), np.float32))})
    assert "is float32, the model's input is int64" in found(tmp_path, known, calibration_format="Numpy")[0][1]


def test_without_a_model_shapes_are_not_compared(tmp_path):
    """What is known of the format is still held against the samples."""
    packed(tmp_path / "c.tar", {"a.npy": npy(np.zeros((7, 7), np.float32))})
    assert found(tmp_path, None, calibration_format="Numpy") == []


def test_the_size_that_was_asked_for(tmp_path):
    """Fewer samples than calibration_size is a warning where it was written, and none where it is the default."""
    packed(tmp_path / "c.tar", GOOD["Image"])
    assert found(tmp_path) == found(tmp_path, calibration_size=2) == found(tmp_path, calibration_size=-1) == []
    ((level, text, _),) = found(tmp_path, calibration_size=32)
    assert level == "warning"
    assert "calibration_size: the archive has 2 of the 32 samples" in text


def test_only_the_first_few_are_told(tmp_path):
    """A hundred bad members are three findings."""
    packed(tmp_path / "c.tar", {f"{index:03}.txt": b"" for index in range(100)})
    assert len(found(tmp_path)) == 3


def linked(path: Path) -> None:
    """A tar with a link."""
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("a.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda path: packed(path, {"/etc/a.png": png()}), "archive refused: '/etc/a.png' is not a name inside"),
        (lambda path: packed(path, {"../a.png": png()}), "archive refused: '../a.png' is not a name inside"),
        (linked, "archive refused: 'a.png' is not a plain file"),
        (lambda path: path.write_bytes(b"no archive at all" * 99), "not a tar, tar.gz or zip, or damaged"),
        (lambda path: path.write_bytes(gzip.compress(bytes(10_000))[:25]), "not a tar, tar.gz or zip, or damaged"),
        (Path.exists, "no such archive"),
    ],
)
def test_hostile_and_missing_archives_are_files_to_blame(tmp_path, write, what):
    """What would leave its folder, or cannot be read, is told with the file."""
    write(tmp_path / "c.tar")
    ((level, text, file),) = found(tmp_path)
    assert (level, file) == ("error", str(tmp_path / "c.tar"))
    assert text.startswith(f"quant.input_configs[0].calibration_dataset: {what}")


def test_a_bomb_is_not_unpacked(tmp_path):
    """A picture that claims gigapixels, and a member of gigabytes of zeros, are refused without the memory for them."""
    huge = png().replace((8).to_bytes(4, "big") * 2, (60_000).to_bytes(4, "big") * 2)
    packed(tmp_path / "c.tar", {"a.png": huge})
    assert "'a.png' is no picture that can be read" in found(tmp_path)[0][1]
    with (
        zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.png", "w", force_zip64=True) as member,
    ):
        for _ in range(400):
            member.write(bytes(2**20))
    tracemalloc.start()
    try:
        assert "bytes are no picture" in found(tmp_path, calibration_dataset="c.zip")[0][1]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300e6  # the first 128 MiB of it, and the pieces they were read in


def test_samples_of_several_inputs_go_together_by_name(tmp_path):
    """Names without their suffix have to be the same in every archive."""
    known = Facts({"image": SHAPE, "depth": SHAPE}, {})
    packed(tmp_path / "a.tar", {"1.png": png(), "2.png": png()})
    packed(tmp_path / "b.tar", {"1.npy": npy(np.zeros(SHAPE, np.float32)), "3.npy": npy(np.zeros(SHAPE, np.float32))})
    made = quant(
        input_configs=[
            calibrated(calibration_dataset="a.tar"),
            {"tensor_name": "depth", "calibration_dataset": "b.tar", "calibration_format": "Numpy"},
        ]
    )
    (finding,) = archives(made, known, tmp_path)
    assert str(finding).startswith("quant.input_configs[1].calibration_dataset: samples of several inputs go together")
    assert "'2'" in finding.what
    packed(tmp_path / "b.tar", {"1.npy": GOOD["Numpy"]["a.npy"], "2.npy": GOOD["Numpy"]["b.npy"]})
    assert list(archives(made, known, tmp_path)) == []
