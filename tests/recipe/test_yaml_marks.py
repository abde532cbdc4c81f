import os

import pytest

from workbench.errors import RecipeError, RecipeErrors
from workbench.recipe import yaml_marks


def test_every_key_and_value_has_its_place():
    """Lines and columns are those an editor shows."""
    data, marks = yaml_marks.parse("a: 1\nb:\n  - {c: x}\n", "r.yaml")

    assert data == {"a": 1, "b": [{"c": "x"}]}
    assert marks.where(("b", 0, "c")) == "r.yaml:3:9"
    assert marks.where(("b", 0, "c"), key=True) == "r.yaml:3:6"


def test_a_missing_key_is_placed_at_what_is_around_it():
    """The nearest enclosing thing that is written down stands in."""
    _, marks = yaml_marks.parse("a:\n  b: 1\n", "r.yaml")

    assert marks.where(("a", "missing")) == "r.yaml:2:3"


def test_duplicate_keys_are_all_reported_with_both_places():
    """YAML would silently take the last one."""
    with pytest.raises(RecipeErrors) as caught:
        yaml_marks.parse("a: 1\nb: 2\na: 3\nb: 4\n", "r.yaml")

    text = str(caught.value)
    assert "r.yaml:3:1: key 'a' is written twice (first at r.yaml:1:1)" in text
    assert "r.yaml:4:1: key 'b' is written twice (first at r.yaml:2:1)" in text


@pytest.mark.parametrize("text", ["1e-4", "1E+3", "-2e5", "1.5e-3"])
def test_numbers_with_exponents_are_numbers(text):
    """YAML 1.1 reads 1e-4 as text; a recipe reads it as people do."""
    assert yaml_marks.value(text) == float(text)


def test_a_hash_of_digits_stays_text():
    """A sha256 of 64 digits, or with one e among them, is not a huge number."""
    assert yaml_marks.value("1" * 64) == "1" * 64
    assert yaml_marks.value("12e" + "3" * 37) == "12e" + "3" * 37


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the recipe is empty"),
        ("# only a comment\n", "the recipe is empty"),
        ("- a\n- b\n", "a recipe is a mapping of keys"),
        ("just words", "a recipe is a mapping of keys"),
        ("a: [1, 2\n", "not YAML"),
        ("a: 1\n b: 2\n", "not YAML"),
        ("a: *nobody\n", "not YAML"),
        ("1: a\n", "a key must be text, not 1"),
        ("? [a]\n: b\n", "a key must be text"),
        (
            "a: !!python/object/apply:os.system [ls]\nb: !!python/name:os.system ''\n",
            "r.yaml:2:4: the tag !!python/name",
        ),
        ("a: !!python/object:builtins.dict {b: 1}\n", "r.yaml:1:4: the tag !!python/object:builtins.dict is not for"),
        ("a: !!set {b, c}\n", "the tag !!set is not for recipes"),
        ("a: !mine b\n", "the tag !mine is not for recipes"),
        ("a: !!int b\n", "cannot read the value 'b'"),
        ("[" * 5000, "r.yaml: too deeply nested"),
        ("<<: {a: 1}\n", "a key must be text, not <<"),
        ('a: 1\nb: "x\\uD800"\n', "r.yaml:2:4: half of a character"),
        ('a: 1\n"b\\uDFFF": 1\n', "r.yaml:2:1: half of a character"),
    ],
)
def test_what_is_no_recipe_is_refused_with_a_line(text, message):
    """Empty, not YAML, not a mapping, tags that want code: an error each, never a traceback."""
    with pytest.raises(RecipeError, match=message):
        yaml_marks.parse(text, "r.yaml")


def test_a_key_that_is_no_text_is_one_mistake():
    """The value below it is not looked at, and no type of the reader is shown."""
    with pytest.raises(RecipeErrors) as caught:
        yaml_marks.parse("? [a, b]\n: !!set {c}\n", "r.yaml")

    assert str(caught.value) == "r.yaml:1:3: a key must be text\n  fix: write key: value"


def test_a_date_is_the_text_that_was_written():
    """YAML 1.1 would make it a Python date, which no recipe has."""
    assert yaml_marks.value("2024-01-31") == "2024-01-31"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: 1, a: 2}", "key 'a' is written twice"),
        ("!!python/tuple [1]", "the tag !!python/tuple is not for recipes"),
        ("[" * 5000, "too deeply nested"),
    ],
)
def test_a_value_of_the_command_line_is_held_to_the_same_rules(text, message):
    """What a file may not hold, an override may not either."""
    with pytest.raises(RecipeError, match=message):
        yaml_marks.value(text)


def test_aliases_cannot_blow_up():
    """Nine levels of ten aliases each would be a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    with pytest.raises(RecipeError, match="too many or too deeply nested"):
        yaml_marks.parse("\n".join(lines), "r.yaml")


def test_files_that_are_not_text_are_refused(tmp_path):
    """A picture given as a recipe, a folder, a file that is not there."""
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RecipeError, match="not UTF-8 text"):
        yaml_marks.read(path)
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        yaml_marks.read(tmp_path)
    with pytest.raises(RecipeError, match="cannot read the recipe: No such file"):
        yaml_marks.read(tmp_path / "none.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    """Opening one that nobody writes to would never return."""
    os.mkfifo(tmp_path / "r.yaml")

    with pytest.raises(RecipeError, match="cannot read the recipe: not a file"):
        yaml_marks.read(tmp_path / "r.yaml")


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path):
    """A recipe is small; a model given in its place is not."""
    (tmp_path / "r.yaml").write_bytes(b"#" * 1_000_001)

    with pytest.raises(RecipeError, match="more than 1000000 bytes are too many for a recipe"):
        yaml_marks.read(tmp_path / "r.yaml")
