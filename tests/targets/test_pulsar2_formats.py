"""Configurations as people write them: four notations, their lines, and files that nobody should have to read."""

from __future__ import annotations

import os
import re

import pytest

from workbench.errors import RecipeError, RecipeErrors, ToolError
from workbench.targets.pulsar2 import formats, jsonc

JSON = """{
  // the model, from js
  "input": "m.onnx", # and python
  "output_dir": "out//put", /* two
  lines */ "npu_mode": "NPU2",
  "quant": {"input_configs": [{"tensor_name": "#x", "calibration_dataset": "c.tar", "calibration_mean": [1, -2.5e0]}]}
}
"""
YAML = """# by hand
input: m.onnx
output_dir: out//put
npu_mode: NPU2
quant:
  input_configs:
    - {tensor_name: "#x", calibration_dataset: c.tar, calibration_mean: [1, -2.5]}
"""
TOML = """input = "m.onnx"
output_dir = "out//put"  # here
npu_mode = "NPU2"
[[quant.input_configs]]
tensor_name = "#x"
calibration_dataset = "c.tar"
calibration_mean = [1, -2.5]
"""
PROTOTXT = """input: "m.onnx" output_dir: "out//put"  # here
npu_mode: NPU2
quant {
  input_configs { tensor_name: "#x" calibration_dataset: "c.tar" calibration_mean: 1 calibration_mean: -2.5 }
}
"""
TEXTS = {"json": JSON, "yaml": YAML, "toml": TOML, "prototxt": PROTOTXT}


@pytest.mark.parametrize("form", ["yaml", "toml", "prototxt"])
def test_every_notation_says_the_same(form):
    """The four texts are one configuration."""
    assert formats.parse(TEXTS[form], "c", form)[0] == formats.parse(JSON, "c")[0]


@pytest.mark.parametrize(
    ("form", "old", "new", "where", "what", "fix"),
    [
        ("json", '"NPU2"', '"NPU9"', "c:5:24", "npu_mode: 'NPU9' is not allowed", "did you mean"),
        ("json", "[1, -2.5e0]", '[1, "2"]', "c:6:109", "calibration_mean[1]: should be a number", "a number"),
        ("json", '"npu_mode"', '"npu_moed"', "c:5:12", "unknown key 'npu_moed'", "did you mean 'npu_mode'?"),
        ("json", '"npu_mode"', '"input"', "c:5:12", "key 'input' is written twice (first at c:3:3)", "keep one"),
        ("json", "}\n}", "}", "c:7:1", "it ends before a '}'", "whole"),
        ("json", '"NPU2",', '"NPU2"', "c:6:3", "a comma or '}' is missing", "write one"),
        ("json", "]}]}\n}", "]}]},\n}", "c:6:119", "a comma before '}'", "remove the comma"),
        ("json", '"NPU2"', "NPU2", "c:5:24", "'NPU2' is no value", '"NPU2"'),
        ("json", '"NPU2"', '"NPU2', "c:5:30", "invalid control character", "close the quotes"),
        ("json", '"NPU2"', "'NPU2'", "c:5:24", "a value is missing", "double quotes"),
        ("json", '"npu_mode":', '"npu_mode"', "c:5:23", "no colon after the key 'npu_mode'", "value"),
        ("json", '"npu_mode":', "npu_mode:", "c:5:12", "a key in double quotes is missing", "value"),
        ("json", "lines */", "lines", "c:4:29", "a comment is not closed", "*/"),
        ("json", "}\n}", "}\n} {}", "c:7:3", "something follows the end", "remove"),
        ("yaml", "NPU2", "NPU9", "c:4:11", "npu_mode: 'NPU9' is not allowed", "did you mean"),
        ("yaml", "[1, -2.5]", "[1, yes]", "c:7:77", "calibration_mean[1]: should be a number", "a number"),
        ("yaml", "npu_mode", "input", "c:4:1", "key 'input' is written twice (first at c:2:1)", "keep one"),
        ("yaml", "npu_mode:", "\tnpu_mode:", "c:4:1", "not YAML", "indentation"),
        ("yaml", "NPU2", "!!python/name:os.system x", "c:4:11", "is not for BuildConfigs", "plain"),
        ("toml", '"NPU2"', '"NPU9"', "c:3:12", "npu_mode: 'NPU9' is not allowed", "did you mean"),
        ("toml", "[1, -2.5]", "[1, nan]", "c:7:20", "calibration_mean[1]: should be a finite number", "a number"),
        ("toml", "npu_mode", "npu_moed", "c:3:1", "unknown key 'npu_moed'", "did you mean 'npu_mode'?"),
        ("toml", "npu_mode", "input", "c:3:", "not TOML: cannot overwrite a value", "mend"),
        ("toml", '"NPU2"', "1979-05-27", "c:3:12", "a date or time is no value", "quotes"),
        ("toml", '"NPU2"', "'NPU2", "c", "not TOML: expected", "mend"),
        ("prototxt", "NPU2", "NPU9", "c:2:11", "'NPU9' is not allowed", "did you mean 'NPU4'?"),
        ("prototxt", "npu_mode", "npu_moed", "c:2:1", "unknown key 'npu_moed'", "did you mean 'npu_mode'?"),
        ("prototxt", "npu_mode: NPU2", 'input: "b"', "c:2:8", 'multiple "input" fields', "check"),
        ("prototxt", "c.tar", "c", "c", "", ""),
    ],
)
def test_mistakes_have_their_place(form, old, new, where, what, fix):
    """Each mistake is an error with file, line and column where the notation gives them, and a fix."""
    text = TEXTS[form].replace(old, new, 1)
    if not what:  # no mistake at all: the replacement above only shows that texts are really changed
        formats.parse(text, "c", form)
        return
    with pytest.raises(RecipeError) as caught:
        formats.parse(text, "c", form)
    (error,) = getattr(caught.value, "errors", None) or (caught.value,)
    assert what in error.what
    assert error.where.startswith(where.rstrip(":")) if where.endswith(":") else error.where == where
    assert fix in error.fix


LAUGHS = "a: &a [x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "deep.json": "[" * 200_000,
    "deep_objects.json": '{"a":' * 100_000,
    "digits.json": '{"a": ' + "9" * 100_000 + "}",
    "half.json": '{"input": "\\ud83d", "output_dir": "o"}',
    "nan.json": '{"input": "a", "output_dir": "b", "compiler": {"check_rtol": NaN}}',
    "infinite.json": '{"input": "a", "output_dir": "b", "compiler": {"check_rtol": 1e999}}',
    "open.json": "/*" * 50_000,
    "empty.json": "",
    "list.json": "[]",
    "deep.yaml": "[" * 50_000,
    "laughs.yaml": LAUGHS,
    "empty.yaml": "# nothing\n",
    "list.yaml": "- a\n",
    "int_keys.yaml": "1: 2\n",
    "deep.toml": "a=" + "[" * 50_000,
    "dotted.toml": ".".join(["a"] * 5_000) + "=1",
    "digits.toml": "a=" + "9" * 10_000,
    "hexadecimal.toml": "[quant]\nfinetune_epochs=0x" + "F" * 9_000,
    "deep.prototxt": "compiler {" + "sub_configs {" * 20_000,
    "open.prototxt": 'input: "a',
    "odd.prototxt": 'op_processors { op_name: "x" attrs { fields { key: "k" value { } } } }',
    "long.json": '{"input": "a", "const_processors": [{"data": [' + "0, " * 30_000 + "0]}]}",
    "long.toml": "a = [" + "0, " * 30_000 + "]",
    "long.prototxt": 'const_processors { name: "a" }' * 30_000,
    "keys.json": "{" + ", ".join(f'"k{index}": 1' for index in range(5_000)) + "}",
    "zero.json": '{"input": "\0"}',
    "suffix.cfg": "{}",
    "nosuffix": "{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_an_error(tmp_path, name):
    """Deep, huge, binary and odd files are errors with a place and a fix; never a traceback."""
    path = tmp_path / name
    path.write_text(HOSTILE[name], "utf-8")
    with pytest.raises(RecipeError) as caught:
        formats.read(path)
    for error in getattr(caught.value, "errors", None) or (caught.value,):
        assert error.where.startswith(str(path))
        assert error.fix
        assert len(error.what) < 500


def test_not_all_mistakes_of_a_wild_file_are_told():
    """Fifty are, and how many there are besides."""
    with pytest.raises(RecipeErrors) as caught:
        formats.parse("\n".join(f"k{index}: 1" for index in range(500)), "c", "yaml")
    assert len(caught.value.errors) == 51
    assert str(caught.value).endswith("c: 452 more mistakes\n  fix: mend these first")


def test_what_is_no_text(tmp_path):
    """Bytes that are no UTF-8, a file of many megabytes, a folder, a pipe and a missing file."""
    (tmp_path / "b.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(RecipeError, match="not UTF-8 text"):
        formats.read(tmp_path / "b.json")
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(3_000_000_000)
    with pytest.raises(RecipeError, match="too many for a BuildConfig"):
        formats.read(tmp_path / "huge.json")
    with pytest.raises(ToolError, match="No such file"):
        formats.read(tmp_path / "none.json")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("folder.json", "pipe.json"):
        with pytest.raises(ToolError, match="not a file"):
            formats.read(tmp_path / name)


def test_what_the_command_line_says_fills_gaps(tmp_path):
    """The vendor's examples leave input and output_dir to the command line; what a file says stays."""
    (tmp_path / "c.json").write_text('{"input": "mine.onnx"}')
    read, _ = formats.read(tmp_path / "c.json", {"input": "other.onnx", "output_dir": "out"})
    assert (read.input, read.output_dir) == ("mine.onnx", "out")
    with pytest.raises(RecipeErrors, match="key 'output_dir' is missing"):
        formats.read(tmp_path / "c.json")


def test_a_windows_file_is_read(tmp_path):
    """A byte order mark, tabs and CRLF are no mistakes, and lines are still counted."""
    (tmp_path / "c.json").write_bytes(b'\xef\xbb\xbf{\r\n\t"input": "a",\r\n\t"output_dir": 1}\r\n')
    with pytest.raises(RecipeErrors, match=re.escape("c.json:3:16: output_dir: should be text, got 1")):
        formats.read(tmp_path / "c.json")


def test_places_and_comments():
    """Each value, key and comment has its place; text that looks like a comment is text."""
    document = jsonc.parse('{"a": [1, "//x"], // one\n /* two */ "b": {}} # three', "f")
    assert document.data == {"a": [1, "//x"], "b": {}}
    assert document.marks.values[("a", 1)] == "f:1:11"
    assert document.marks.keys[("b",)] == "f:2:12"
    assert document.comments == {1: "one", 2: "three"}


def test_toml_tables_have_places():
    """Tables, lists of tables and dotted keys; a line inside a text is no key."""
    text = "\n".join(
        [
            'input = """',
            "output_dir = 1",
            '"""',
            'output_dir = "o"',
            "[compiler]",
            "npu_perf = 1",
            "[[compiler.sub_configs]]",
            "[[compiler.sub_configs]]",
            "quant.check = 1",
        ]
    )
    _, marks = formats.plain(text, "f", "toml")
    assert marks.where(("compiler", "npu_perf")) == "f:6:12"
    assert marks.where(("compiler", "sub_configs", 1)) == "f:8:1"
    assert marks.where(("compiler", "sub_configs", 1, "quant", "check")) == "f:9:15"
    assert marks.where(("compiler", "sub_configs", 1, "quant"), key=True) == "f:9:1"
