"""`workbench inspect`: what a person sees, what a script reads, and what goes wrong."""

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from workbench.cli import main

SHOWN = """\
net.onnx  ONNX, 408 B
Producer    me 1.0
IR version  8
Opset       17
Parameters  54 float32 (216 B)
MACs        864 in one run
       tensor type                  \x20
input  image  float32 [1, 3, 4, 4]  \x20
output [b]heat float32 [1, 2, 4, 4]  \x20
Operators   1: 1 Conv
NOT DEPLOYABLE: seeded
"""


@pytest.fixture
def net(tmp_path):
    """A file with one convolution, marked as not to be shipped; an output's name looks like markup."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])
    heat = helper.make_tensor_value_info("[b]heat", TensorProto.FLOAT, [1, 2, 4, 4])
    weight = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["image", "w"], ["[b]heat"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "g", [image], [heat], [weight])
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], producer_name="me", producer_version="1.0"
    )
    model.metadata_props.add(key="workbench.not_deployable", value="seeded")
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def test_what_a_person_sees(net):
    """A screen of facts; the mark against shipping is on it."""
    result = CliRunner().invoke(main, ["inspect", str(net)])

    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines()] == [line.split() for line in SHOWN.splitlines()]


def test_what_a_script_reads(net):
    """One object for one file, a list for several."""
    one = json.loads(CliRunner().invoke(main, ["inspect", str(net), "--json"]).output)
    assert (one["file"], one["kind"], one["macs"], one["size"]) == ("net.onnx", "ONNX", 864, net.stat().st_size)

    several = json.loads(CliRunner().invoke(main, ["inspect", str(net), str(net), "--json"]).output)
    assert [entry["file"] for entry in several] == ["net.onnx", "net.onnx"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_missing_file_is_an_error(tmp_path, options):
    """Exit code 3, the path and a fix, whatever the form of the answer."""
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "no.onnx"), *options])

    assert result.exit_code == 3
    assert "no.onnx: no such file" in result.stderr.replace("\n", "")
    assert "fix: check the path" in result.stderr
