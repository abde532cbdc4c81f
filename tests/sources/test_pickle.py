"""What a refused checkpoint wanted to call is read off without calling it."""

import os
import pickle
import zipfile

import pytest

from workbench.sources._pickle import wanted_code


class Evil:
    """Unpickling this would run a command."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_raw_pickle_is_read(tmp_path, protocol):
    """Both ways of naming a global are seen, by old and new protocols."""
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"a": Evil()}, protocol=protocol))

    assert wanted_code(path) == "posix.system"


def test_pickles_in_a_row_are_read(tmp_path):
    """Old torch files begin with harmless pickles."""
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(1, protocol=2) + pickle.dumps(1001, protocol=2) + pickle.dumps(Evil(), protocol=2))

    assert wanted_code(path) == "posix.system"


def test_an_archive_is_read(tmp_path):
    """New torch files are zip archives with the pickle inside; TorchScript archives carry code of their own."""
    with zipfile.ZipFile(tmp_path / "evil.pth", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Evil(), protocol=2))
    with zipfile.ZipFile(tmp_path / "script.pth", "w") as archive:
        archive.writestr("script/code/__torch__.py", "")

    assert wanted_code(tmp_path / "evil.pth") == "posix.system"
    assert wanted_code(tmp_path / "script.pth") == "TorchScript"


@pytest.mark.parametrize(
    "content", [b"", b"<html>no</html>", b"PK\x03\x04 cut", bytes(range(256)), pickle.dumps([1, "a"])]
)
def test_what_wants_no_code_gives_nothing(tmp_path, content):
    """Empty, cut and plain files want nothing; nor does a file that is not there."""
    path = tmp_path / "file.pth"
    path.write_bytes(content)

    assert wanted_code(path) is None
    assert wanted_code(tmp_path / "absent.pth") is None


def test_a_damaged_archive_gives_nothing(tmp_path):
    """An archive whose directory is no text is neither read nor a reason to fail."""
    path = tmp_path / "file.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("n\u00e4t/data.pkl", pickle.dumps(Evil(), protocol=2))
    path.write_bytes(path.read_bytes().replace("\u00e4".encode(), b"\xe4\x00"))

    assert wanted_code(path) is None
