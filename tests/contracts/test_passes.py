"""What every surgery pass promises, held over all files of the folder: a new one is tested before it has a test."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import yaml
from _surgery import graph, operate
from pydantic import TypeAdapter, ValidationError

from workbench import catalog
from workbench.errors import WorkbenchError
from workbench.graph import io
from workbench.surgery._pass import Pass, as_yaml

NAMES = catalog.names("pass")

TANGLE = """(float[1,3,8,8] image, bool flag) => (float[1,3,8,8] y, float[1,6,8,8] z, float[1,3,8,8] c) {
    c = Conv<auto_pad = "SAME_UPPER">(image, w)
    low = Clip(c)
    r = Relu(low)
    n = BatchNormalization(r, g, b, m, v)
    f = custom.Twist(n)
    p = Pad(r, amounts)
    q = MaxPool<kernel_shape = [3, 3]>(p)
    y = If(flag) <
        then_branch = yes () => (float[1,3,8,8] t) { t = Relu(q) },
        else_branch = no () => (float[1,3,8,8] e) { e = Neg(q) }
    >
    z = Concat<axis = 1>(q, f)
}"""


@pytest.fixture(params=NAMES)
def step_class(request):
    """The class of each pass in the folder."""
    return catalog.load("pass", request.param).PASS


def tangle() -> ir.Model:
    """Nearly everything that a pass must not touch, in one graph."""
    per_channel = {name: np.full(3, value, np.float32) for name, value in zip("gbmv", (1, 0, 0.5, 2), strict=True)}
    return graph(
        TANGLE,
        w=np.linspace(-1, 1, 81, dtype=np.float32).reshape(3, 3, 3, 3),
        amounts=np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        **per_channel,
    )


def test_there_are_passes():
    """The folder is found, with the passes that the first recipes need."""
    assert {"cut_outputs", "fold_batchnorm", "lift_normalization"} <= set(NAMES)


def test_it_explains_itself(step_class):
    """A pass has a one-line help, numbered rules, and a file that says what it is."""
    assert issubclass(step_class, Pass)
    assert re.fullmatch(r"[A-Z`].{20,118}\.", step_class.summary())
    assert "\n1. " in (step_class.__doc__ or "").replace("    ", "")
    module = sys.modules[step_class.__module__]
    assert (module.__doc__ or "").strip()
    assert module.__name__.rpartition(".")[2] == step_class.name()
    assert "".join(part.capitalize() for part in step_class.name().split("_")) == step_class.__name__


def test_its_options_have_a_schema(step_class):
    """Options become JSON Schema, each with a description, and a key that is not one is refused."""
    schema = TypeAdapter(step_class).json_schema()
    assert schema["additionalProperties"] is False
    assert json.dumps(schema)
    for name, option in schema["properties"].items():
        assert option.get("description"), name
    given = TypeAdapter(step_class).dump_python(step_class.example()[0], mode="json")
    with pytest.raises(ValidationError, match=r"[Uu]nexpected"):
        TypeAdapter(step_class).validate_python({**given, "no_such_option": 1})


def test_its_example_is_one_line_of_a_recipe(step_class):
    """The line that documentation shows makes the very options of the example."""
    line = step_class.example_line()
    assert "\n" not in line
    (entry,) = yaml.safe_load(line)
    name, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    assert name == step_class.name()
    again = TypeAdapter(step_class).validate_python(options)
    assert again == step_class.example()[0]
    assert as_yaml(again) == line


def test_it_changes_its_example_once(step_class):
    """A pass changes its own example; a second run changes nothing, not even a byte."""
    step, model = step_class.example()
    untouched = io.to_bytes(model)
    first = step(model)
    assert first
    assert first.changed
    changed = io.to_bytes(model)
    assert changed != untouched
    assert not step(model)
    assert io.to_bytes(model) == changed


def test_it_keeps_the_numbers(step_class):
    """Every tensor that is still there has its values, outputs first of all, on the same picture."""
    step, model = step_class.example()
    result = operate(model, step)
    assert result.log[0][1]


def test_a_file_that_needs_no_change_is_left_alone(step_class):
    """A file on which a pass has nothing to do keeps every byte."""
    step, model = step_class.example()
    edits = step(model)
    done = io.from_bytes(io.to_bytes(model))
    if any(change.reverse_channels for change in edits.preprocess.values()):
        # To swap is its own inverse, so a file cannot show that it was done; one without colours needs none.
        done = graph("(float[1,1,2,2] image) => (float[1,1,2,2] y) { y = Relu(image) }")
    before = io.to_bytes(done)
    assert not step(done)
    assert io.to_bytes(done) == before


def test_it_says_why_it_leaves_something(step_class):
    """On a graph full of traps a pass either refuses with a fix, or names each thing it left, with the reason."""
    model = tangle()
    try:
        step = TypeAdapter(step_class).validate_python({})
    except ValidationError:
        step = step_class.example()[0]
    refusal = None
    try:
        edits = step(model)
    except WorkbenchError as error:
        refusal = error
    if refusal is not None:
        assert refusal.fix
        return
    for line in edits.left:
        assert re.fullmatch(r"\S.*: \S.{8,}", line), line
    assert any("If" in line for line in edits.left)
    for line in edits.changed:
        assert re.fullmatch(r"\S.*: \S.*", line), line


FINGERPRINT = """
import hashlib, json
from workbench import catalog
from workbench.graph import io
found = {}
for name in catalog.names("pass"):
    step, model = catalog.load("pass", name).PASS.example()
    edits = step(model)
    found[name] = hashlib.sha256(io.to_bytes(model) + repr(edits).encode()).hexdigest()
print(json.dumps(found))
"""


def test_results_do_not_depend_on_the_process():
    """Every pass gives the same bytes and the same account under another hash seed."""
    here = {}
    for name in NAMES:
        step, model = catalog.load("pass", name).PASS.example()
        edits = step(model)
        here[name] = hashlib.sha256(io.to_bytes(model) + repr(edits).encode()).hexdigest()
    done = subprocess.run(
        [sys.executable, "-c", FINGERPRINT],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == here
