import errno

import pytest

from workbench.engine.runner import outlook, run
from workbench.engine.stage import Stage, Step
from workbench.engine.store import Store
from workbench.errors import ToolError


class Log:
    """A reporter that keeps what it hears."""

    def __init__(self):
        self.ran, self.skipped, self.warned = [], [], []

    def begin(self, stage):
        self.ran.append(stage)

    def end(self, done):
        if not done.ran:
            self.skipped.append(done.step.name)

    def step(self, done, total, what):
        """Not kept."""

    def note(self, text):
        """Not kept."""

    def warn(self, text):
        self.warned.append(text)


def write(settings, inputs, out, progress):
    """Write the settings, after what the needed steps wrote."""
    before = "".join((folder / "text").read_text() for folder in inputs.values())
    progress.warn(f"wrote {settings}")
    (out / "text").write_text(before + settings)


def chain(first="a", second="b"):
    """Two steps, the second reading the first."""
    one = Step(Stage("one", 1, write), first)
    return [one, Step(Stage("two", 1, write), second, needs=(one,))]


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "home")


def test_a_second_run_runs_nothing_and_repeats_the_warnings(store):
    """Unchanged steps are taken from the store, and what they warned of is not lost."""
    first = run(chain(), store, "r", Log())
    log = Log()
    second = run(chain(), store, "r", log)

    assert (first["two"].files / "text").read_text() == "ab"
    assert log.ran == []
    assert log.skipped == ["one", "two"]
    assert second["two"].warnings == ("wrote b",)


def test_a_change_runs_what_depends_on_it_and_plan_says_why(store):
    """Only the changed step and those after it run; the outlook names the setting."""
    run(chain(), store, "r", Log())
    changed = chain(second="c")

    assert [(look.step.name, look.reasons) for look in outlook(changed, store, "r")] == [
        ("one", ()),
        ("two", ('settings: "b" -> "c"',)),
    ]
    log = Log()
    run(changed, store, "r", log)
    assert log.ran == ["two"]


def test_a_failure_leaves_earlier_results_and_no_half_result(store):
    """What was finished stays; the failed step has no entry and runs again."""

    def broken(settings, inputs, out, progress):
        (out / "half").write_text("x")
        raise ToolError("broken")

    one = chain()[0]
    steps = [one, Step(Stage("two", 1, broken), "b", needs=(one,))]
    with pytest.raises(ToolError, match="broken"):
        run(steps, store, "r", Log())

    assert [bool(look.reasons) for look in outlook(steps, store, "r")] == [False, True]
    log = Log()
    run(chain(), store, "r", log)
    assert log.ran == ["two"]


def test_ctrl_c_in_a_stage_is_not_swallowed_and_the_next_run_continues(store):
    """An interrupt passes through, and leaves what was finished."""

    def interrupted(settings, inputs, out, progress):
        (out / "half").write_text("x")
        raise KeyboardInterrupt

    one = chain()[0]
    with pytest.raises(KeyboardInterrupt):
        run([one, Step(Stage("two", 1, interrupted), "b", needs=(one,))], store, "r", Log())

    log = Log()
    assert (run(chain(), store, "r", log)["two"].files / "text").read_text() == "ab"
    assert log.ran == ["two"]


def test_a_full_disk_is_an_error_with_a_fix(store):
    """OSError inside a stage is the disk's word, not a bug."""

    def full(settings, inputs, out, progress):
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "x"))

    with pytest.raises(ToolError, match="the disk refuses: No space left on device") as caught:
        run([Step(Stage("one", 1, full), "a")], store, "r", Log())
    assert "free some space" in caught.value.fix


def test_a_home_that_is_a_file_is_an_error_with_a_fix(tmp_path):
    """The cache folder cannot be made where a file is."""
    (tmp_path / "home").write_text("")

    with pytest.raises(ToolError, match="the disk refuses"):
        run(chain(), Store(tmp_path / "home"), "r", Log())
