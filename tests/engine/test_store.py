import json
import math

from workbench.engine.store import write_json


def test_numbers_that_json_lacks_become_words(tmp_path):
    """Everything else stays as it is, sorted, and the file is plain JSON."""
    path = tmp_path / "note.json"
    write_json(path, {"b": [math.inf, {"c": (math.nan, -math.inf)}], "a": 0.1, "\u00e9": None})

    def refuse(word):
        raise AssertionError(word)

    told = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert told == {"a": 0.1, "b": ["Infinity", {"c": ["NaN", "-Infinity"]}], "\u00e9": None}
    assert list(told) == ["a", "b", "\u00e9"]
    assert [one.name for one in tmp_path.iterdir()] == ["note.json"]
