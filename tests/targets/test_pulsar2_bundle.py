"""A report for the vendor: what is in it, what is not, and that it repeats the build."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import _tiny
import numpy as np
import onnx
import pytest
from _pulsar2 import engine  # noqa: F401 -- a fixture

from workbench.errors import RecipeError, ToolError
from workbench.runtimes.pulsar2_tool import Toolchain
from workbench.targets.pulsar2 import bundle, compiling, packing
from workbench.targets.pulsar2.bundle import Case, of_kit, pack

TOOL = Toolchain("container", "7.0", "abcd", "/usr/bin/docker", "pulsar2:7.0")
TOP = "pulsar2-report-net-AX650"


def npy(index):
    """A calibration sample of the tiny network."""
    buffer = io.BytesIO()
    np.save(buffer, np.full((1, 3, 32, 48), index / 8, np.float32))
    return buffer.getvalue()


def config(**changes):
    """A configuration that the stand-in compiles."""
    return {
        "input": "../model.onnx",
        "output_dir": "build",
        "target_hardware": "AX650",
        "npu_mode": "NPU1",
        "quant": {
            "input_configs": [
                {
                    "tensor_name": "image",
                    "calibration_dataset": "calibration/image.tar",
                    "calibration_format": "Numpy",
                    "calibration_size": -1,
                }
            ],
            "calibration_method": "MinMax",
            "precision_analysis": False,
        },
        "input_processors": [
            {
                "tensor_name": "image",
                "src_dtype": "FP32",
                "src_layout": "NCHW",
                "tensor_layout": "NCHW",
                "mean": [0.0] * 3,
            }
            | {"std": [1.0] * 3}
        ],
        **changes,
    }


def archive(path, names=tuple(f"{index:05d}.npy" for index in range(6))):
    """A calibration archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for index, name in enumerate(names):
            data = npy(index)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mtime, member.uname = 1700000000, "alice"
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def kit(tmp_path):
    """dist/net/pulsar2/AX650 after a build that failed."""
    folder = tmp_path / "dist" / "net.failed" / "pulsar2" / "AX650"
    archive(folder / "calibration" / "image.tar")
    (folder / "config.json").write_text(json.dumps(config(), indent=2))
    (folder / "build.log").write_text(f"open {folder}/config.json\nread /home/alice/x\nKeyError\n")
    (folder / "key.v2c").write_text("licence")
    (folder.parent / "model.onnx").write_bytes(_tiny.network().SerializeToString())
    return folder


def contents(path):
    """Name and bytes of every file of a report."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            return {name: packed.read(name) for name in packed.namelist()}
    with tarfile.open(path) as packed:
        return {member.name: packed.extractfile(member).read() for member in packed}


def test_a_kit_becomes_a_report(kit, tmp_path):
    """Configuration, model, two samples, log, versions, script and a page, and nothing else."""
    made = pack(of_kit(kit), tmp_path / "r.tar.gz", TOOL, "docker 28.1, as root")
    found = contents(made.path)
    assert sorted(found) == [
        f"{TOP}/README.md",
        f"{TOP}/build.log",
        f"{TOP}/case/calibration/image.tar",
        f"{TOP}/case/config.json",
        f"{TOP}/model.onnx",
        f"{TOP}/reproduce.sh",
        f"{TOP}/versions.json",
    ]
    assert json.loads(found[f"{TOP}/case/config.json"]) == config()
    versions = json.loads(found[f"{TOP}/versions.json"])
    assert versions["pulsar2"] == {"version": "7.0", "build": "abcd", "kind": "container", "image": "pulsar2:7.0"}
    assert versions["engine"] == "docker 28.1, as root"
    page = found[f"{TOP}/README.md"].decode()
    assert "| `case/calibration/image.tar` | 2 of 6 calibration samples |" in page
    assert made.absent == ()
    assert made.stripped == 7


def test_nothing_of_the_machine_and_no_licence_is_in_it(kit, tmp_path):
    """Paths of the kit and of homes are gone from log and members; licence files are never packed."""
    archive(kit / "calibration" / "image.tar", ("00000.npy", "a.v2c", "b.npy"))
    made = pack(of_kit(kit), tmp_path / "r.tar.gz", TOOL, "")
    found = contents(made.path)
    assert found[f"{TOP}/build.log"].decode() == "open ./config.json\nread /home/user/x\nKeyError\n"
    everything = b"".join(found.values())
    for private in (str(tmp_path).encode(), b"alice", b"v2c\n", b"a.v2c"):
        assert private not in everything
    with tarfile.open(made.path) as packed:
        assert {(one.uid, one.gid, one.uname, one.mtime) for one in packed} == {(0, 0, "", 0)}


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_the_same_bytes_on_every_run(kit, tmp_path, suffix):
    """Two reports of one build are one file, in both forms, and the script stays a program."""
    first = pack(of_kit(kit), tmp_path / f"a{suffix}", TOOL, "").path
    os.utime(kit / "config.json", (1, 1))
    second = pack(of_kit(kit), tmp_path / f"b{suffix}", TOOL, "").path
    assert first.read_bytes() == second.read_bytes()
    assert len(contents(first)) == 7
    if suffix == ".zip":
        with zipfile.ZipFile(first) as packed:
            assert packed.getinfo(f"{TOP}/reproduce.sh").external_attr >> 16 == 0o100755


def test_weights_are_kept_when_asked_for(kit, tmp_path):
    """--keep-weights packs the model as it is; else no weight of it is in the report."""
    kept = contents(pack(of_kit(kit), tmp_path / "a.zip", TOOL, "", weights=True).path)[f"{TOP}/model.onnx"]
    assert kept == (kit.parent / "model.onnx").read_bytes()
    made = contents(pack(of_kit(kit), tmp_path / "b.zip", TOOL, "").path)
    weights = [tensor.raw_data for tensor in onnx.ModelProto.FromString(kept).graph.initializer]
    assert not any(data in made[f"{TOP}/model.onnx"] for data in weights)
    assert "the values of 7 tensors are replaced" in made[f"{TOP}/README.md"].decode()


@pytest.mark.parametrize("back_end", ["path", "package", "container"])
def test_the_script_repeats_the_build(kit, tmp_path, programs, monkeypatch, request, back_end):
    """reproduce.sh of an unpacked report compiles with each kind of toolchain, on stripped weights and two samples."""
    made = pack(of_kit(kit), tmp_path / "r.tar.gz", TOOL, "")
    with tarfile.open(made.path) as packed:
        packed.extractall(tmp_path / "there", filter="data")
    programs("pulsar2", tmp_path / "package" / "bin" if back_end == "package" else tmp_path / "programs")
    if back_end == "package":
        monkeypatch.setenv("PULSAR2_HOME", str(tmp_path / "package"))
    if back_end == "container":
        request.getfixturevalue("engine")
        monkeypatch.setenv("PULSAR2_IMAGE", "pulsar2:6.0")
    script = tmp_path / "there" / TOP / "reproduce.sh"
    done = subprocess.run([script], cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (script.parent / "case" / "build" / "compiled.axmodel").is_file()


def test_a_configuration_by_hand_is_moved(tmp_path):
    """Archives anywhere, in any form, come to lie beside it; its text changes only where a path stood."""
    for name in ("one", "two"):
        archive(tmp_path / name / "image.tar.gz")
    written = tmp_path / "mine.yaml"
    written.write_text(
        f"# by hand\ninput: {tmp_path}/secret.onnx\noutput_dir: '/out'  # there\nquant:\n  input_configs:\n"
        f"    - tensor_name: a\n      calibration_dataset: {tmp_path}/one/image.tar.gz\n"
        f'    - tensor_name: b\n      calibration_dataset: "two/image.tar.gz"\n'
        "    - {tensor_name: c, calibration_dataset: gone.tar}\n"
    )
    (tmp_path / "m.onnx").write_bytes(_tiny.network().SerializeToString())
    made = pack(Case("mine", written, tmp_path / "m.onnx", None), tmp_path / "r.zip", None, "", 1)
    found = contents(made.path)
    text = found["pulsar2-report-mine/case/config.yaml"].decode()
    assert text == (
        '# by hand\ninput: "../model.onnx"\noutput_dir: "build"  # there\nquant:\n  input_configs:\n'
        '    - tensor_name: a\n      calibration_dataset: "calibration/image.tar"\n'
        '    - tensor_name: b\n      calibration_dataset: "calibration/image_2.tar"\n'
        '    - {tensor_name: c, calibration_dataset: "calibration/gone.tar"}\n'
    )
    assert {name.rpartition("/")[2] for name in found if "calibration" in name} == {"image.tar", "image_2.tar"}
    assert made.absent == ("./gone.tar",)
    page = found["pulsar2-report-mine/README.md"].decode()
    assert "There is no log" in page
    assert "Not here when this was packed: ./gone.tar" in page
    assert b"config.yaml" in found["pulsar2-report-mine/reproduce.sh"]


def test_a_configuration_that_cannot_be_parsed_is_packed(kit, tmp_path):
    """It may be what is wrong: the report has it as it is."""
    (kit / "config.json").write_text('{"input": "../model.onnx", // half\n "npu_moed": ')
    made = pack(of_kit(kit), tmp_path / "r.zip", None, "")
    assert contents(made.path)[f"{TOP}/case/config.json"] == b'{"input": "../model.onnx", // half\n "npu_moed": '


def test_a_log_nobody_reads_loses_its_middle(kit, tmp_path, monkeypatch):
    """Start and end of a huge log are packed, and the page says so."""
    monkeypatch.setattr(bundle, "_LONGEST_LOG", 400)
    (kit / "build.log").write_text("first\n" + "x" * 10_000 + "\nlast\n")
    found = contents(pack(of_kit(kit), tmp_path / "r.zip", None, "").path)
    log = found[f"{TOP}/build.log"].decode()
    assert log.startswith("first\n")
    assert log.endswith("\nlast\n")
    assert "bytes left out" in log
    assert len(log) < 500
    assert "without its middle" in found[f"{TOP}/README.md"].decode()


def test_a_log_that_lost_its_middle_before_is_not_called_whole(kit, tmp_path, monkeypatch):
    """The kit's log was cut when it was published: the page says so as well."""
    (kit / "build.log").write_text("first\n" + "x" * 10_000 + "\nlast\n")
    page = contents(pack(of_kit(kit), tmp_path / "whole.zip", None, "").path)[f"{TOP}/README.md"].decode()
    assert "all that the tool printed" in page
    monkeypatch.setattr(compiling, "_LONGEST", 400)
    compiling._shorten(kit / "build.log")
    page = contents(pack(of_kit(kit), tmp_path / "cut.zip", None, "").path)[f"{TOP}/README.md"].decode()
    assert "without its middle" in page


def test_what_is_no_kit(tmp_path, kit):
    """A folder without configuration or model is an error that says what a kit is."""
    with pytest.raises(ToolError, match="not a kit: no configuration") as caught:
        of_kit(tmp_path)
    assert "dist/<recipe>/pulsar2/<chip>" in caught.value.fix
    (kit.parent / "model.onnx").unlink()
    with pytest.raises(ToolError, match="not a kit: no model beside it"):
        of_kit(kit)


def test_a_model_elsewhere_is_found_by_the_configuration(kit, tmp_path):
    """Where none is beside the kit, it is the one that the configuration names."""
    (kit.parent / "model.onnx").rename(kit.parent.parent / "net.onnx")
    (kit / "config.json").write_text(json.dumps(config(input="../../net.onnx")))
    found = contents(pack(of_kit(kit), tmp_path / "r.zip", None, "").path)
    assert json.loads(found[f"{TOP}/case/config.json"])["input"] == "../model.onnx"
    assert f"{TOP}/model.onnx" in found


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda kit: (kit.parent / "model.onnx").write_bytes(b"no"), "not an ONNX file"),
        (lambda kit: (kit / "calibration" / "image.tar").write_bytes(b"no tar"), "damaged"),
        (lambda kit: archive(kit / "calibration" / "image.tar", ("../out.npy",)), "archive refused"),
        (lambda kit: archive(kit / "calibration" / "image.tar", ()), "without samples"),
    ],
    ids=["model", "archive", "climbing", "empty"],
)
def test_files_that_are_not_what_they_should_be(kit, tmp_path, damage, told):
    """Hostile or damaged files are one error, and no report is left half-written."""
    damage(kit)
    with pytest.raises(ToolError, match=told):
        pack(of_kit(kit), tmp_path / "out" / "r.tar.gz", None, "")
    assert not list(tmp_path.rglob("r.tar.gz*"))


def test_a_compiled_model_is_not_stripped(kit, tmp_path):
    """Its weights hang on no node: the error says what to give instead."""
    node = onnx.helper.make_node("neu mode", ["x"], ["y"])
    value = onnx.helper.make_tensor_value_info("y", 1, [1])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [value])), kit.parent / "model.onnx")
    with pytest.raises(ToolError, match="a compiled model cannot be without its weights") as caught:
        pack(of_kit(kit), tmp_path / "r.zip", None, "")
    assert "--keep-weights" in caught.value.fix


def test_a_suffix_that_is_none(tmp_path):
    """A report is a .tar.gz or a .zip."""
    with pytest.raises(RecipeError, match=r"report\.rar"):
        packing.check_name(Path("report.rar"))


def test_a_place_that_cannot_be_written(kit, tmp_path):
    """A disk that refuses is one error, and leaves nothing."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="cannot write the report"):
        pack(of_kit(kit), tmp_path / "file" / "r.zip", None, "")
