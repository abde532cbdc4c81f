"""Calibration archives have the same bytes on every run."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from workbench.calib.pack import pack, pack_images, pack_numpy
from workbench.errors import ToolError

FILES = [("a.bin", b"one"), ("b.bin", b"")]


def test_members_carry_nothing_of_this_machine(tmp_path):
    """Owner, group and date are zero, the mode is fixed, the format is ustar."""
    pack(FILES, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        for member, (name, content) in zip(archive, FILES, strict=True):
            assert (member.name, member.size) == (name, len(content))
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert member.mode == 0o644
            assert archive.extractfile(member).read() == content
    assert (tmp_path / "x.tar").read_bytes()[257:263] == b"ustar\0"


def test_bytes_are_the_same_twice(tmp_path):
    """Packing again gives the same archive, and nothing is left beside it."""
    pack(FILES, tmp_path / "x.tar")
    pack(iter(FILES), tmp_path / "y.tar")
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar", "y.tar"]


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_names_must_ascend(tmp_path, names):
    """Files in another order, or twice, would make the bytes depend on the caller; nothing is published."""
    with pytest.raises(ValueError, match="names must ascend"):
        pack([(name, b"") for name in names], tmp_path / "x.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_archive(tmp_path):
    """When the pictures stop coming, what was published before is still whole."""
    pack(FILES, tmp_path / "x.tar")
    before = (tmp_path / "x.tar").read_bytes()

    def broken():
        yield "a", b"x"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        pack(broken(), tmp_path / "x.tar")
    assert (tmp_path / "x.tar").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_a_place_that_cannot_be_written_is_a_tool_error(tmp_path):
    """A file in the way of the folder ends in three parts."""
    (tmp_path / "file").touch()
    with pytest.raises(ToolError, match="cannot write the calibration archive") as caught:
        pack(FILES, tmp_path / "file" / "x.tar")
    assert caught.value.fix


def test_images_are_packed_in_order(tmp_path):
    """The PNG files of a folder, sorted, and nothing else."""
    for name in ("00001.png", "00000.png", "report.json"):
        (tmp_path / name).write_text(name)
    assert pack_images(tmp_path, tmp_path / "out" / "image.tar") == 2
    with tarfile.open(tmp_path / "out" / "image.tar") as archive:
        assert archive.getnames() == ["00000.png", "00001.png"]


def test_tensors_are_npy_one_with_the_batch_axis(tmp_path):
    """Each tensor is a .npy of format 1.0, float32, row-major, that numpy reads back without pickle."""
    tensors = [np.full((1, 3, 2, 2), value, np.float32) for value in (1, 2)]
    assert pack_numpy(iter(tensors), tmp_path / "image.tar") == 2
    with tarfile.open(tmp_path / "image.tar") as archive:
        assert archive.getnames() == ["00000.npy", "00001.npy"]
        data = archive.extractfile("00001.npy").read()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    assert np.array_equal(np.load(io.BytesIO(data), allow_pickle=False), tensors[1])


def test_other_types_of_tensor_are_refused(tmp_path):
    """A float64 tensor would be twice the file, and a network's input is not one."""
    with pytest.raises(ValueError, match="float32, not float64"):
        pack_numpy([np.zeros((1, 3))], tmp_path / "x.tar")
