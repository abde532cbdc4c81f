"""A compiled model on a board: a real sshd on the loopback interface, and everything that can go wrong with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import _sshd
import numpy as np
import pytest
from onnx import TensorProto, helper

from workbench.errors import ToolError
from workbench.runtimes import _samples, open_model
from workbench.runtimes._runner import Latency

sys.path.insert(0, str(_sshd.STANDINS))
from pulsar2_parts.container import pack


def compiled(path: Path) -> Path:
    """Two inputs, bytes and floats; two outputs of odd names: x as floats doubled, and the sum of both."""
    ports = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, 2, 3, 1]),
        helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 2, 3, 1]),
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 3, 1]) for name in ("-a/0", "b")]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["p", "p"], ["-a/0"]),
        helper.make_node("Add", ["p", "more"], ["b"]),
    ]
    graph = helper.make_graph(nodes, "g", ports, results)
    path.write_bytes(pack(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), [1]))
    return path


def feeds(count: int) -> list[dict[str, np.ndarray]]:
    """Different numbers for each sample."""
    random = np.random.default_rng(3)
    return [
        {
            "pixels": random.integers(0, 256, (1, 2, 3, 1)).astype(np.uint8),
            "more": random.normal(size=(1, 2, 3, 1)).astype(np.float32),
        }
        for _ in range(count)
    ]


@pytest.fixture
def board(tmp_path, programs):
    """A board, and a machine whose PATH holds little but an ssh."""
    with _sshd.serving(tmp_path / "board", tmp_path / "programs") as serving:
        yield serving


@pytest.fixture
def model(tmp_path):
    """A compiled model."""
    return compiled(tmp_path / "m.axmodel")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder of its own for what this machine writes aside."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def refused(model: Path, address: str, samples: int = 1, **options: float) -> str:
    """Run the model and return the three parts of the error."""
    with pytest.raises(ToolError) as caught, open_model(model, runner=address, **options) as runner:
        list(runner.run_all(feeds(samples)))
    assert caught.value.exit_code == 3
    assert caught.value.where
    assert caught.value.fix
    return str(caught.value)


def test_samples_go_there_and_back_in_one_start(board, model, scratch):
    """Three samples, bytes and floats, odd names: right, in order, one start, with the latency; nothing is left."""
    given = feeds(3)
    with open_model(model, runner=board.address) as runner:
        results = list(runner.run_all(given))
        assert runner.runtime.startswith("ax_run_model on ")
        assert runner.latency == Latency(7.658, 7.662, 7.672)
        assert len(list(board.tmp.glob("workbench-*"))) == 1

    assert board.starts == 1
    for feed, result in zip(given, results, strict=True):
        np.testing.assert_array_equal(result["-a/0"], 2 * feed["pixels"].astype(np.float32))
        np.testing.assert_array_equal(result["b"], feed["pixels"] + feed["more"])
    assert board.left() == []
    assert list(scratch.iterdir()) == []


def test_many_samples_go_in_batches(board, model, scratch, monkeypatch):
    """What does not fit one start takes several; the connection and the model stay."""
    monkeypatch.setattr(_samples, "MOST", 2)
    given = feeds(5)
    with open_model(model, runner=board.address) as runner:
        results = list(runner.run_all(given))
        (once,) = runner.run_all(given[:1])

    assert board.starts == 4
    for feed, result in zip([*given, given[0]], [*results, once], strict=True):
        np.testing.assert_array_equal(result["b"], feed["pixels"] + feed["more"])


def test_a_folder_of_the_board_may_be_named(board, model):
    """For boards whose /tmp is small; a folder that is not there is told with that way out."""
    large = board.folder / "large"
    large.mkdir()
    with open_model(model, runner=f"{board.address}{large}") as runner:
        assert len(list(large.iterdir())) == 1
        runner.run(feeds(1)[0])
    assert list(large.iterdir()) == []

    text = refused(model, f"{board.address}/absent")
    assert "the board has no folder to write to" in text
    assert f"name one: {board.address}/folder" in text


def test_unknown_host_key(board, model):
    """A board never seen is not trusted; how to make it known is said."""
    board.known_hosts.write_text("")

    text = refused(model, board.address)
    assert "the board's host key is not known here" in text
    assert f"compare the fingerprint: ssh -p {board.port} " in text
    assert board.known_hosts.read_text() == ""


def test_changed_host_key(board, model):
    """A board that shows another key than before is named as such."""
    key = (board.folder / "stranger.pub").read_text().split()
    board.known_hosts.write_text(f"[127.0.0.1]:{board.port} {key[0]} {key[1]}\n")

    text = refused(model, board.address)
    assert "the board's host key is not the one that is known for it" in text
    assert f"ssh-keygen -R '[127.0.0.1]:{board.port}'" in text


def test_refused_key(board, model):
    """A key that the board does not know: ssh-copy-id is the cure; no password is asked."""
    _sshd.use_key(board, "stranger")

    text = refused(model, board.address)
    assert "the board does not accept your key" in text
    assert f"ssh-copy-id -p {board.port} " in text


def test_unreachable(board, model):
    """Nobody listens there."""
    assert "nothing answers by ssh there" in refused(model, "ssh://127.0.0.1:1")
    assert "no such host" in refused(model, "ssh://root@board.invalid")


def test_no_ssh_here(model, programs, monkeypatch):
    """A machine without the client."""
    assert "no ssh program here" in refused(model, "ssh://root@board")


def test_board_without_the_program(board, model):
    """A machine that is no board of AXera's."""
    (board.programs / "ax_run_model").unlink()

    assert "ax_run_model is not on the board" in refused(model, board.address)
    assert board.left() == []


@pytest.mark.parametrize("program", ["tar", "ax_run_model"])
def test_board_without_space_for_the_files(board, model, program):
    """A full disk makes tar fail, or the program itself."""
    real = shutil.which("cat", path="/bin:/usr/bin")
    if program == "tar":
        board.install("tar", f'{real} >/dev/null; echo "tar: model.axmodel: No space left on device" >&2; exit 2')
    else:
        board.fail("space")

    text = refused(model, board.address)
    assert "no space left on the board" in text
    assert f"{board.address}/folder" in text
    assert board.left() == []


def test_program_that_fails(board, model, scratch):
    """Its last words are shown, and all of them are kept."""
    board.fail("crash")

    text = refused(model, board.address)
    assert "exit code 1:\n    [ERROR] ax_engine: create handle failed, ret=0x80060082\n" in text
    (log,) = scratch.iterdir()
    assert str(log) in text
    assert "ret=0x80060082" in log.read_text()
    assert board.left() == []


@pytest.mark.parametrize(
    ("how", "told"),
    [("short", "ax_run_model wrote 12 bytes for output '-a/0' of float32"), ("missing", "wrote no output '-a/0'")],
)
def test_outputs_that_are_none(board, model, how, told):
    """Half a tensor, and no tensor."""
    board.fail(how)

    assert told in refused(model, board.address)
    assert board.left() == []


def test_nan_is_left_to_the_comparison(board, model):
    """What the chip computed is returned, whatever it is."""
    board.fail("nan")
    with open_model(model, runner=board.address) as runner:
        assert np.isnan(runner.run(feeds(1)[0])["b"]).all()


@pytest.mark.parametrize("how", ["hang", "endless"])
def test_a_board_that_takes_too_long_is_stopped(board, model, scratch, how):
    """Silent or talkative, it is ended with all that it started, and the log does not grow with what it printed."""
    board.fail(how)

    text = refused(model, board.address, timeout=4.0)
    assert "not finished within 4 s: it was stopped" in text
    assert "--timeout" in text
    assert board.left() == []
    assert sum(path.stat().st_size for path in scratch.iterdir()) < 2_000_000
    assert not running(str(board.folder))


def test_interrupt_leaves_nothing_on_the_board(board, model):
    """After Ctrl-C, and after a SIGKILL that no program can answer, the board has no folder and runs nothing."""
    board.fail("hang")
    code = (
        "import sys; from pathlib import Path; import numpy as np; from workbench.runtimes import open_model\n"
        f"with open_model(Path({str(model)!r}), runner={board.address!r}) as runner:\n"
        "    feed = {port.name: np.zeros(port.shape, port.dtype) for port in runner.inputs}\n"
        "    print('ready', flush=True); runner.run(feed)\n"
    )
    for number in (signal.SIGINT, signal.SIGKILL):
        started = board.starts
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        while board.starts == started and child.poll() is None:
            time.sleep(0.05)
        os.killpg(child.pid, number)
        _, trouble = child.communicate(timeout=60)
        assert child.returncode in (-number, 128 + number), trouble
        assert board.left() == []
        assert not running(str(board.folder / "programs"))


def running(text: str) -> list[str]:
    """Command lines of processes with `text` in them that are `ax_run_model`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if text.encode() in path.read_bytes() and b"ax_run_model.py" in path.with_name("cmdline").read_bytes():
                found.append(path.with_name("cmdline").read_bytes().decode())
        except OSError:
            continue
    return found
