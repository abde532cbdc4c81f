"""Archives from elsewhere are listed, and refused when unpacking them would do harm."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile

import pytest

from workbench.calib.archives import Member, check_archive
from workbench.calib.pack import pack
from workbench.errors import ToolError


def tar_of(path, *members, mode="w", **more):
    """A tar with (TarInfo, bytes) members."""
    with tarfile.open(path, mode, **more) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def info(name, kind=tarfile.REGTYPE, link=""):
    """A member's header."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_are_listed(tmp_path, mode):
    """Files of a tar and a tar.gz, in order; folders are no files."""
    path = tar_of(tmp_path / "x", (info("d", tarfile.DIRTYPE), b""), (info("d/a.png"), b"123"), mode=mode)
    assert check_archive(path) == (Member("d/a.png", 3),)


def test_our_own_archives_pass(tmp_path):
    """What `pack` writes is accepted."""
    pack([("a.npy", b"xx")], tmp_path / "x.tar")
    assert check_archive(tmp_path / "x.tar") == (Member("a.npy", 2),)


def test_zips_are_listed(tmp_path):
    """Files of a zip, in order."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d/", "")
        archive.writestr("d/a.png", "123")
    assert check_archive(tmp_path / "x.zip") == (Member("d/a.png", 3),)


@pytest.mark.parametrize("name", ["/etc/passwd", "../a", "a/../../b", "C:\\a", "a\\..\\b", "C:a"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name, kind):
    """Absolute names, '..', and what another system would read as such."""
    path = tmp_path / "x"
    if kind == "tar":
        tar_of(path, (info(name), b"1"))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "1")
    with pytest.raises(ToolError, match="is not a name inside the archive's folder"):
        check_archive(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    """A tar holds plain files, or it is refused."""
    path = tar_of(tmp_path / "x.tar", (info("a", kind, "b"), b""))
    with pytest.raises(ToolError, match="'a' is not a plain file"):
        check_archive(path)


def test_links_in_a_zip_are_refused(tmp_path):
    """A zip can hold links too."""
    entry = zipfile.ZipInfo("a")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ToolError, match="'a' is not a plain file"):
        check_archive(tmp_path / "x.zip")


def test_a_name_twice_is_refused(tmp_path):
    """Two members that would be one file after unpacking."""
    path = tar_of(tmp_path / "x.tar", (info("a"), b"1"), (info("./a"), b"2"))
    with pytest.raises(ToolError, match=r"is in it twice"):
        check_archive(path)


def test_what_is_no_archive_is_said_to_be_none(tmp_path):
    """Text, an empty file, a truncated tar.gz, a broken zip, and nothing at all."""
    whole = tar_of(tmp_path / "x.tgz", (info("a"), bytes(range(256)) * 400), mode="w:gz").read_bytes()
    samples = {"text": b"hello", "empty": b"", "cut": whole[: len(whole) // 2], "zip": b"PK\x03\x04" + bytes(50)}
    for name, data in samples.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ToolError, match=r"not a tar, tar\.gz or zip, or damaged") as caught:
            check_archive(tmp_path / name)
        assert caught.value.where.endswith(name)
    with pytest.raises(ToolError, match="no such archive"):
        check_archive(tmp_path / "gone")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_not_read(tmp_path, kind):
    """A small gzip whose name header claims (and has) hundreds of megabytes is refused without taking them."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 200_000_000
    with gzip.open(tmp_path / "x.tgz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(200):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(ToolError, match="larger than any header"):
        check_archive(tmp_path / "x.tgz")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_a_huge_claim_is_refused(tmp_path):
    """A member that claims terabytes ends the listing before anything is skipped over."""
    header = tarfile.TarInfo("a")
    header.size = 2**42
    (tmp_path / "x.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    with pytest.raises(ToolError, match="claims to be larger than any calibration set"):
        check_archive(tmp_path / "x.tar")
