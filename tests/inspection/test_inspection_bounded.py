"""Files that are damaged, or made to break readers: one three-part error each, in little memory."""

import os
import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from workbench.errors import ToolError
from workbench.inspection import bounded
from workbench.inspection.bounded import describe

# In a process of its own, whose largest child is the reader and no other test's.
ASK = """
import resource, sys
from pathlib import Path
from workbench.errors import ToolError
from workbench.inspection.bounded import describe
try:
    describe(Path(sys.argv[1]))
except ToolError as error:
    print(error.where, error.fix, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, sep="\\n")
"""


def field(number, data):
    """A protobuf field of bytes."""
    size, length = b"", len(data)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


def whole(kind):
    """The bytes of a valid small file."""
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    node = helper.make_node("neu mode" if kind == "axmodel" else "Relu", ["x"], ["y"], neu_name="npu")
    if kind == "onnx":
        del node.attribute[:]
    return helper.make_model(helper.make_graph([node], "g", info[:1], info[1:])).SerializeToString()


def trouble(path):
    """Whether `path` is refused; the error must be whole."""
    try:
        describe(path)
    except ToolError as error:
        return bool(error.what and error.fix) and error.where == str(path)
    return False


@pytest.mark.parametrize("kind", ["onnx", "axmodel"])
def test_truncated_files(kind, tmp_path):
    """A file cut anywhere is an error or still a whole protobuf, never a crash."""
    data = whole(kind)
    errors = 0
    for length in range(0, len(data), max(1, len(data) // 6)):
        path = tmp_path / f"cut{length}.{kind}"
        path.write_bytes(data[:length])
        errors += trouble(path)
    assert errors >= 4


@pytest.mark.parametrize("suffix", ["onnx", "axmodel", "tflite"])
@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 64, b"\x1c\0\0\0TFL3" + bytes(range(256)) * 8, b"#!/bin/sh\n" * 20, field(7, field(1, b"") * 9)],
    ids=["empty", "zeros", "flatbuffer", "script", "bare"],
)
def test_files_of_something_else(suffix, data, tmp_path):
    """Whatever a file holds, there is a what, a where and a fix."""
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(data)
    assert trouble(path) or describe(path).operators == {"": 9}  # nine empty nodes are a graph, if a strange one


def test_a_file_that_unfolds_in_memory(tmp_path):
    """Ten million empty nodes in 20 MB: the reader may take a few times the file, and is ended beyond."""
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, field(1, b"") * 10_000_000))
    asked = subprocess.run([sys.executable, "-c", ASK, str(path)], capture_output=True, text=True, check=True)
    where, fix, peak = asked.stdout.splitlines()
    assert where == str(path)
    assert fix
    assert int(peak) * 1024 < 1.2e9  # imports, room for parsing anything, and six times the file


def test_a_reader_that_crashes_does_not_take_us_along(tmp_path, monkeypatch):
    """A parser's segmentation fault is an error about the file."""
    path = tmp_path / "m.onnx"
    path.write_bytes(whole("onnx"))
    crash = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    run = subprocess.run
    monkeypatch.setattr(bounded.subprocess, "run", lambda _, **options: run(crash, **options))
    with pytest.raises(ToolError, match="cannot read the model: its parser was ended by SIGSEGV"):
        describe(path)


def test_a_reader_that_fails_is_not_said_to_need_memory(tmp_path, monkeypatch):
    """An exception that nobody thought of is told as what it is."""
    path = tmp_path / "m.onnx"
    path.write_bytes(whole("onnx"))
    fail = [sys.executable, "-c", "raise KeyError('x')"]
    run = subprocess.run
    monkeypatch.setattr(bounded.subprocess, "run", lambda _, **options: run(fail, **options))
    with pytest.raises(ToolError, match="cannot read the model: its parser failed on it"):
        describe(path)


def test_programs_beside_the_file_are_not_run(tmp_path, monkeypatch):
    """A folder that holds a module with the name of one of ours may be the folder one stands in."""
    path = tmp_path / "m.onnx"
    path.write_bytes(whole("onnx"))
    (tmp_path / "onnx_ir.py").write_text("raise SystemExit('hostile')\n")
    monkeypatch.chdir(tmp_path)
    assert describe(path).operators == {"Relu": 1}


@pytest.mark.parametrize("place", ["doc_string", "producer_name", "neu_name"])
def test_names_that_are_no_text(place, tmp_path):
    """Protobuf reads a byte that is no UTF-8 where a name belongs; a compiled model with one is damaged."""
    proto = onnx.ModelProto.FromString(whole("axmodel"))
    proto.doc_string, proto.producer_name = "doc_string", "producer_name"
    path = tmp_path / "m.axmodel"
    data = proto.SerializeToString()
    start = data.index(place.encode())
    path.write_bytes(data[:start] + b"\xff" + data[start + 1 :])
    with pytest.raises(ToolError, match="a name in it is no text") as error:
        describe(path)
    assert error.value.where == str(path)


def test_a_reader_that_never_ends_is_ended(tmp_path, monkeypatch):
    """A file that takes too long is an error."""
    path = tmp_path / "m.onnx"
    path.write_bytes(whole("onnx"))
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    run = subprocess.run
    monkeypatch.setattr(bounded.subprocess, "run", lambda _, **options: run(sleep, **{**options, "timeout": 0.2}))
    with pytest.raises(ToolError, match="it takes too long to read"):
        describe(path)


def test_a_file_larger_than_the_format_is_refused_unread(tmp_path):
    """A sparse file of 3 GB costs nothing."""
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 3 * 10**9)
    with pytest.raises(ToolError, match=r"3\.0 GB, more than any such file holds"):
        describe(path)


def test_weights_in_another_file_are_named(tmp_path):
    """An ONNX whose weights lie elsewhere is not followed there."""
    proto = onnx.ModelProto.FromString(whole("onnx"))
    tensor = proto.graph.initializer.add(name="w", data_type=1, dims=[4], data_location=1)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path = tmp_path / "m.onnx"
    onnx.save_model(proto, path)
    with pytest.raises(ToolError, match="initializer 'w' lives in another file"):
        describe(path)
