from pathlib import Path

from workbench.engine.stage import OutsideFile, Stage, Step, code_digest, difference, digest, record


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
        "code": {},
    }
    assert record(SECOND)["inputs"] == {"first": digest(FIRST)}


def test_the_digest_of_a_key_is_pinned():
    """Nobody changes the cache key by accident: every user's store would be lost."""
    assert digest(FIRST) == "a55b28fcdd8d3f39900e0df55521690f98751e2885f941c1f008544ae72375da"


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


def test_the_code_of_a_room_is_in_the_key():
    """An edited pass, operator or observer runs its stage again, without anybody raising a version."""
    with_code = Step(Stage("first", 1, nothing, rooms=("quant", "targets/tflite")), {})

    assert record(with_code)["code"] == {"quant": code_digest("quant"), "targets/tflite": code_digest("targets/tflite")}
    assert code_digest("quant") != code_digest("targets/tflite")
