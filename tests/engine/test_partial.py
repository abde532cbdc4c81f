"""Facts about what an unfinished step keeps: it outlives everything but success, and is never half a file."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import _counting
import pytest
from _counting import Log, counting

from workbench.engine import partial
from workbench.engine.runner import run
from workbench.engine.stage import Stage, Step, digest
from workbench.engine.store import Store
from workbench.errors import ToolError

KEY = "ab" * 32
OLD = 1_000_000_000  # seconds; the year 2001


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "home")


def killed(store, after):
    """Run the counting step in a process that is killed at `after`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(_counting.__file__).parents[1])}
    command = [sys.executable, _counting.__file__, str(store.home), str(after)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL


def text_of(done):
    """What the counting stage wrote."""
    return (done["count"].files / "text").read_text()


def test_a_killed_run_goes_on_where_it_was(store):
    """After kill -9 in the middle, the next run does only what is left; then nothing is kept any more."""
    killed(store, after=2)

    log = Log()
    done = run([counting()], store, "r", log)

    assert text_of(done) == "0 1 2 3 4"
    assert log.notes == ["made 3", "made 4"]
    assert log.steps[0] == 3
    assert list((store.home / "partial").iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ToolError("broken"), RuntimeError("a bug"), OSError(28, "full")])
def test_it_outlives_every_error(store, error):
    """Ctrl-C, an error, a bug and a full disk keep what was done."""

    def broken(settings, inputs, out, progress):
        partial.write(inputs["partial"] / "half", b"done")
        raise error

    with pytest.raises((KeyboardInterrupt, ToolError, RuntimeError)):
        run([Step(Stage("one", 1, broken, resumable=True), "a")], store, "r", Log())

    def whole(settings, inputs, out, progress):
        (out / "found").write_bytes(partial.read(inputs["partial"] / "half") or b"nothing")

    step = Step(Stage("one", 1, whole, resumable=True), "a")
    assert (run([step], store, "r", Log())["one"].files / "found").read_bytes() == b"done"


def test_another_key_finds_nothing(store):
    """What was done with other settings is not met."""
    with pytest.raises(KeyboardInterrupt):
        run([counting(after=2, how=signal.SIGINT)], store, "r", Log())
    other = counting()
    log = Log()
    run([Step(other.stage, "b")], store, "r", log)
    assert log.steps[0] == 0


def test_a_stage_that_is_not_resumable_has_no_such_folder(store):
    """Nothing is given and nothing is made."""

    def plain(settings, inputs, out, progress):
        (out / "keys").write_text(str(sorted(inputs)))

    done = run([Step(Stage("one", 1, plain), "a")], store, "r", Log())
    assert (done["one"].files / "keys").read_text() == "[]"
    assert not (store.home / "partial").exists()


def test_two_processes_at_one_step_do_not_share(store):
    """The second gets an empty folder of its own, and takes nothing away from the first."""
    with partial.kept(store, KEY) as first:
        partial.write(first / "a", b"1")
        with partial.kept(store, KEY) as second:
            assert list(second.iterdir()) == []
            partial.write(second / "a", b"2")
        assert not second.exists()
        assert partial.read(first / "a") == b"1"
    assert list((store.home / "partial").iterdir()) == []


def left(store, key, *, when=None):
    """What an interrupted run with this key leaves, at a time in the past."""
    with suppress(KeyboardInterrupt), partial.kept(store, key) as folder:
        partial.write(folder / "a", b"1")
        raise KeyboardInterrupt
    if when is not None:
        for path in (folder / "a", folder, folder.with_suffix(".lock")):
            os.utime(path, (when, when))
    return folder


def test_the_sweep_removes_what_nobody_came_back_for(store):
    """Older than a week goes; younger stays, and so does an old folder in which one file is young."""
    old, young, touched = (left(store, 32 * part, when=when) for part, when in (("aa", OLD), ("bb", None), ("cc", OLD)))
    os.utime(touched / "a")
    partial.sweep(store)
    assert not old.exists()
    assert not old.with_suffix(".lock").exists()
    assert young.exists()
    assert touched.exists()


def test_the_sweep_leaves_a_running_process_alone(store):
    """However old, a folder that a process works on is not removed."""
    with partial.kept(store, KEY) as folder:
        for path in (folder, folder.with_suffix(".lock")):
            os.utime(path, (OLD, OLD))
        partial.sweep(store)
        assert folder.exists()


def test_the_sweep_removes_what_a_result_made_useless(store):
    """A process killed between publishing and cleaning up leaves nothing for long."""
    step = counting()
    run([step], store, "r", Log())
    folder = left(store, digest(step))
    partial.sweep(store)
    assert not folder.exists()


def test_a_damaged_file_is_no_file(tmp_path):
    """Every truncation and every changed byte is noticed."""
    path = tmp_path / "a"
    partial.write(path, b"some data")
    whole = path.read_bytes()
    assert partial.read(path) == b"some data"
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 4]) + whole[index + 1 :])
        assert partial.read(path) is None
        path.write_bytes(whole[:index])
        assert partial.read(path) is None
    assert partial.read(tmp_path / "missing") is None
    assert partial.read(tmp_path) is None


def test_an_empty_note_is_a_note(tmp_path):
    """No data is told from no file."""
    partial.write(tmp_path / "a", b"")
    assert partial.read(tmp_path / "a") == b""
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_disk_that_refuses_is_an_error_with_a_fix(store):
    """A file where the folder should be is told, not a traceback."""
    store.home.mkdir()
    (store.home / "partial").write_text("")
    with pytest.raises(ToolError, match="the disk refuses") as caught:
        run([counting()], store, "r", Log())
    assert caught.value.fix
