"""Running another program to its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes._process import run_logged, tail


def run(code: str, tmp_path: Path, **options: object) -> int:
    """Run Python `code` in `tmp_path`, logging there."""
    return run_logged([sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "log", progress=Silent(), **options)


def gone(pid_file: Path) -> bool:
    """Whether the process that wrote its id there has ended (a zombie counts)."""
    stat = Path("/proc") / pid_file.read_text() / "stat"
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


GRANDCHILD = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
pathlib.Path('pid').write_text(str(child.pid)); print('ready', flush=True); child.wait()
"""


def test_both_streams_go_to_the_log(tmp_path):
    """Stdout and stderr end up in the log, and the exit code is returned."""
    code = run("import sys; print('one', flush=True); print('two', file=sys.stderr); sys.exit(3)", tmp_path)
    assert code == 3
    assert tail(tmp_path / "log") == ["one", "two"]


def test_megabytes_of_output_do_not_block(tmp_path):
    """A program that prints more than a pipe holds runs to its end, and only the log's tail is read."""
    assert run("for i in range(100_000): print(i, 'x' * 40)", tmp_path) == 0
    lines = tail(tmp_path / "log")
    assert lines[-1].startswith("99999 ")
    assert len(lines) < 2000


def test_no_input_is_offered(tmp_path):
    """A program that asks a question gets the end of its input, not a terminal."""
    assert run("import sys; sys.exit(len(sys.stdin.read()))", tmp_path) == 0


def test_a_hanging_program_is_ended_with_its_children(tmp_path):
    """After the time limit neither the program nor what it started is left, and the error names the log."""
    with pytest.raises(ToolError, match="did not finish within 1 s and was stopped") as caught:
        run(GRANDCHILD, tmp_path, timeout=1.0)
    assert caught.value.where == str(tmp_path / "log")
    assert gone(tmp_path / "pid")


def test_a_program_that_ignores_term_is_killed(tmp_path, monkeypatch):
    """SIGKILL follows when SIGTERM is ignored."""
    monkeypatch.setattr("workbench.runtimes._process._GRACE", 0.2)
    code = "import os, signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    code += "pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    with pytest.raises(ToolError, match="was stopped"):
        run(code, tmp_path, timeout=1.0)
    assert gone(tmp_path / "pid")


def test_ctrl_c_ends_the_group_and_passes_on(tmp_path):
    """KeyboardInterrupt ends the program and its children, calls `stop` first, and is not swallowed."""
    stopped: list[bool] = []

    def interrupt() -> None:
        end = time.monotonic() + 10
        while not (tmp_path / "log").exists() or b"ready" not in (tmp_path / "log").read_bytes():
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident
    assert main is not None
    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        run(GRANDCHILD, tmp_path, timeout=20.0, stop=lambda: stopped.append(True))
    helper.join()
    assert stopped == [True]
    assert gone(tmp_path / "pid")


@pytest.mark.parametrize("will", [False, True])
def test_kill_9_of_this_process_leaves_nothing_running(tmp_path, will):
    """A process that is killed without a chance to clean up leaves neither program nor children; its will is done."""
    script = f"""
import sys
from pathlib import Path
from workbench.engine.progress import Silent
from workbench.runtimes._process import run_logged
run_logged([sys.executable, "-c", {GRANDCHILD!r}], cwd=Path("."), log=Path("log"), progress=Silent(),
           will={["/bin/sh", "-c", "echo done > will"] if will else []!r})
"""
    ours = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    end = time.monotonic() + 30
    log = tmp_path / "log"
    while not log.exists() or b"ready" not in log.read_bytes():
        assert time.monotonic() < end
        time.sleep(0.02)
    ours.kill()
    ours.wait()
    assert gone(tmp_path / "pid")
    assert (tmp_path / "will").exists() == will


def test_what_a_program_leaves_behind_ends_with_it(tmp_path):
    """A child in the background of a program that has ended is not left running."""
    code = "import subprocess, sys, pathlib; "
    code += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    code += "pathlib.Path('pid').write_text(str(p.pid))"
    assert run(code, tmp_path) == 0
    assert gone(tmp_path / "pid")


def test_a_listener_hears_lines_and_silences(tmp_path):
    """Every line, ended by a newline or a carriage return, the rest at the end, and how long nothing came."""
    heard: list[str] = []
    silences: list[float] = []

    class Listener:
        def lines(self, new):
            heard.extend(new)

        def silent(self, seconds):
            silences.append(seconds)

    code = "import sys, time; print('one', end='\\r', flush=True); time.sleep(0.5); print('two\\n\\nrest', end='')"
    run(code, tmp_path, listener=Listener())
    assert heard == ["one", "two", "rest"]
    assert max(silences) > 0.2


def test_a_line_without_an_end_is_handed_on_in_pieces(tmp_path):
    """A megabyte without a newline is not kept in memory."""
    pieces: list[str] = []

    class Listener:
        def lines(self, new):
            pieces.extend(new)

        def silent(self, seconds):
            """Nothing to do."""

    run("print('x' * 1_000_000, end='')", tmp_path, listener=Listener())
    assert sum(map(len, pieces)) == 1_000_000
    assert max(map(len, pieces)) < 200_000


def test_a_signal_is_a_negative_code(tmp_path):
    """A program killed by a signal returns its number, negative."""
    assert run("import os; os.kill(os.getpid(), 9)", tmp_path) == -9


def test_a_program_that_is_none(tmp_path):
    """What cannot be started is a ToolError that names it."""
    with pytest.raises(ToolError, match="cannot start"):
        run_logged(["/nowhere/tool"], cwd=tmp_path, log=tmp_path / "log", progress=Silent())


def test_a_log_that_cannot_be_written(tmp_path):
    """A log below a plain file is a ToolError before anything starts."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="cannot write the log"):
        run_logged([sys.executable], cwd=tmp_path, log=tmp_path / "file" / "log", progress=Silent())


def test_tail_reads_what_a_terminal_would_show(tmp_path):
    """Colours, control characters, overwritten progress lines and empty lines are left out."""
    (tmp_path / "log").write_bytes(b"\x1b[31mred\x1b[0m\r\n\n10%\r20%\r30%\nbell\x07 \xff\n\n")
    assert tail(tmp_path / "log") == ["red", "30%", "bell \ufffd"]
