"""Files that protobuf reads and that are no graphs."""

import os

import numpy as np
import onnx
import pytest
from _surgery import graph

from workbench.errors import ToolError
from workbench.graph import io
from workbench.graph.damage import damages

TEXT = """(float[1,1,2,2] x) => (float[1,1,4,4] y) {
    y = Resize<mode = "nearest">(x, , scales)
}"""


def data():
    """A sound file."""
    return io.to_bytes(graph(TEXT, scales=np.array([1, 1, 2, 2], np.float32)))


def read(tmp_path, content):
    """Read bytes as a model file."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return io.read(path)


def test_a_sound_file_has_none(tmp_path):
    """Nothing is found, and it is read."""
    assert list(damages(onnx.ModelProto.FromString(data()).graph)) == []
    assert read(tmp_path, data()).graph.num_nodes() == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"nearest", b"near\xffst", "attribute 'mode' of 'Resize' node '' is no text"),
        (b"scales", b"scal\xffs", "a name of 'Resize' node '' is no text"),
    ],
)
def test_bytes_that_are_no_text(tmp_path, old, new, message):
    """The node is named, with a fix."""
    with pytest.raises(ToolError, match=message) as caught:
        read(tmp_path, data().replace(old, new))

    assert caught.value.where.endswith("model.onnx")
    assert caught.value.fix


@pytest.mark.parametrize("where", ["initializer", "constant", "inside"])
def test_tensors_that_are_cut_off(tmp_path, where):
    """Fewer bytes than the shape says: in an initializer, in a Constant node, in a branch."""
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[4], raw_data=bytes(15))
    value = onnx.helper.make_tensor_value_info("y", 1, [4])
    node = onnx.helper.make_node("Constant", [], ["y"], value=tensor)
    inner = onnx.helper.make_graph([node], "inner", [], [value])
    outer = {
        "initializer": onnx.helper.make_graph([], "g", [], [value], [tensor]),
        "constant": onnx.helper.make_graph([node], "g", [], [value]),
        "inside": onnx.helper.make_graph(
            [onnx.helper.make_node("If", ["f"], ["y"], then_branch=inner, else_branch=inner)], "g", [], [value]
        ),
    }[where]
    with pytest.raises(ToolError, match=r"tensor 't' of shape \[4\] has 15 bytes"):
        read(tmp_path, onnx.helper.make_model(outer).SerializeToString())


def test_element_types_that_are_none(tmp_path):
    """A type that ONNX does not define, or none at all."""
    for kind in (0, 77):
        tensor = onnx.TensorProto(name="t", data_type=kind, dims=[1], raw_data=b"1234")
        value = onnx.helper.make_tensor_value_info("t", 1, [1])
        model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [value], [tensor]))
        with pytest.raises(ToolError, match=f"tensor 't' has the element type {kind}"):
            read(tmp_path, model.SerializeToString())


def test_attributes_without_a_type(tmp_path):
    """Nothing says which of its fields counts."""
    model = onnx.ModelProto.FromString(data())
    model.graph.node[0].attribute[0].ClearField("type")

    with pytest.raises(ToolError, match="attribute 'mode' of 'Resize' node '' has no type"):
        read(tmp_path, model.SerializeToString())


def test_device_configurations_without_a_name(tmp_path):
    """Nothing can be written back that has one."""
    model = onnx.ModelProto.FromString(data())
    if not hasattr(model.graph.node[0], "device_configurations"):
        pytest.skip("this ONNX has no device configurations")
    model.graph.node[0].device_configurations.add()

    with pytest.raises(ToolError, match="has a device configuration without a name"):
        read(tmp_path, model.SerializeToString())


def test_packed_types_and_texts_are_sound():
    """Two 4-bit numbers share a byte, and strings have no fixed size."""
    four = onnx.TensorProto(name="q", data_type=onnx.TensorProto.INT4, dims=[3], raw_data=b"\x21\x03")
    texts = onnx.TensorProto(name="s", data_type=onnx.TensorProto.STRING, dims=[2], string_data=[b"a", b"bc"])

    assert list(damages(onnx.GraphProto(name="g", initializer=[four, texts]))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(float[4] x) => (float[4] y) { y = Relu(lost) }", "'Relu' node '' reads 'lost', which nothing makes"),
        ("(float[4] x) => (float[4] y) { a = Relu(x)  a = Elu(x)  y = Add(a, a) }", "'a' is made twice"),
        ("(float[4] x) => (float[4] y) { z = Relu(x) }", "output 'y' is made by nothing"),
    ],
)
def test_tensors_that_are_lost(tmp_path, capfd, text, message):
    """A name that nothing or too much makes is told as such, and no library speaks beside us."""
    proto = onnx.parser.parse_graph(f"g {text}")
    with pytest.raises(ToolError, match=message):
        read(tmp_path, onnx.helper.make_model(proto).SerializeToString())

    assert capfd.readouterr().err == ""


def test_branches_see_what_is_around_them():
    """A branch reads tensors of the graph that it stands in."""
    inner = onnx.parser.parse_graph("then () => (float[4] t) { t = Relu(a) }")
    outer = onnx.parser.parse_graph("g (bool c, float[4] x) => (float[4] y) { a = Elu(x)  y = Relu(a) }")
    outer.node[1].CopyFrom(onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))

    assert list(damages(outer)) == []
    outer.node[0].output[0] = "b"
    assert "'Relu' node '' reads 'a', which nothing makes" in list(damages(outer))


def test_what_is_no_plain_file(tmp_path):
    """A pipe would wait for ever, and a device never end."""
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "zero.onnx"):
        with pytest.raises(ToolError, match="not a plain file"):
            io.read(tmp_path / name)
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ToolError, match="2147483648 bytes, and a protobuf holds 2 GB"):
        io.read(tmp_path / "huge.onnx")
