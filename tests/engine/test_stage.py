from pathlib import Path

from workbench.engine.stage import OutsideFile, Stage, Step, difference, digest, record


def nothing(settings, inputs, out, progress):
    """A stage that does nothing."""


FIRST = Step(Stage("first", 1, nothing), {"fold": True}, outside={"weights": OutsideFile(Path("w"), "ab12")})
SECOND = Step(Stage("second", 3, nothing), {"limit": 0.5}, needs=(FIRST,))


def test_the_key_is_a_readable_record():
    """Stage and version, settings, what it reads, and the tools that matter."""
    assert record(FIRST) == {
        "stage": "first@1",
        "settings": {"fold": True},
        "inputs": {},
        "files": {"weights": "ab12"},
        "tools": {},
    }
    assert record(SECOND)["inputs"] == {"first": digest(FIRST)}


def test_the_digest_of_a_key_is_pinned():
    """Nobody changes the cache key by accident: every user's store would be lost."""
    assert digest(FIRST) == "c72cfe19261efe37434a2a31b9bf1abb149f555186dbbf6fc841168643daa151"


def test_paths_are_not_in_the_key():
    """The same content elsewhere gives the same result."""
    moved = Step(FIRST.stage, FIRST.settings, outside={"weights": OutsideFile(Path("/elsewhere"), "ab12")})

    assert digest(moved) == digest(FIRST)


def test_a_difference_is_told_in_words():
    """`plan` shows which setting, file, tool or earlier step moved."""
    changed = Step(Stage("second", 4, nothing), {"limit": 0.7}, needs=(Step(FIRST.stage, {"fold": False}),))

    assert difference(record(SECOND), record(changed)) == [
        "first changed",
        "settings.limit: 0.5 -> 0.7",
        'stage: "second@3" -> "second@4"',
    ]
    assert difference(None, record(FIRST)) == ["first run"]
    assert difference(record(FIRST), record(FIRST)) == []
