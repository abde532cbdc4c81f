"""An export becomes the canonical graph: the recipe's names and shapes, float, standard operators."""

import onnx_ir as ir
import pytest

from workbench.errors import UnsupportedError
from workbench.recipe.schema import InputSpec, OutputSpec
from workbench.sources._canonical import canonical

INPUT = (InputSpec(name="image", shape=(1, 3, 4, 6)),)
OUTPUT = (OutputSpec(name="heat", shape=(1, 4, 6, 3), layout="NHWC", meaning="heatmap"),)


def graph(body, head='<ir_version: 8, opset_import: ["": 18]>', ports="(float[N,3,4,6] x) => (float y)"):
    """A graph in ONNX text."""
    return ir.from_onnx_text(f"{head} main {ports} {{ {body} }}")


def test_names_shapes_and_traces():
    """Ends are renamed, the batch is fixed, notes of the exporter are gone, inner shapes are known."""
    model = graph("a = Relu(x) y = Neg(a)")
    model.graph[0].metadata_props["pkg.torch.stack"] = "/home/me/net.py"
    model.doc_string = "made by"
    clean = canonical(model, INPUT, OUTPUT)
    values = [*clean.graph.inputs, clean.graph[0].outputs[0], *clean.graph.outputs]

    assert [(value.name, list(value.shape)) for value in values] == [
        ("image", [1, 3, 4, 6]),
        ("a", [1, 3, 4, 6]),
        ("heat", [1, 3, 4, 6]),
    ]
    assert not clean.graph[0].metadata_props
    assert not clean.doc_string


def test_a_name_in_the_way_is_moved():
    """An inner tensor called like an output does not clash, nor do ends that swap names."""
    model = graph("heat = Relu(x) image = Neg(heat) y = Abs(image)")
    clean = canonical(model, INPUT, OUTPUT)
    assert [node.outputs[0].name for node in clean.graph] == ["heat_inner", "image_inner", "heat"]

    swapped = graph("image = Relu(heat)", ports="(float[1,3,4,6] heat) => (float image)")
    clean = canonical(swapped, INPUT, OUTPUT)
    assert (clean.graph.inputs[0].name, clean.graph.outputs[0].name) == ("image", "heat")


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (graph("y = Cast<to=1>(x)", ports="(uint8[1,3,4,6] x) => (float y)"), "tensor 'image' is uint8 in the source"),
        (graph("y = Relu(x)", head='<ir_version: 8, opset_import: ["": 13]>'), "the export has opset 13"),
        (
            graph("y = my.Odd(x)", head='<ir_version: 8, opset_import: ["": 18, "my": 1]>'),
            "operator my::Odd is not standard ONNX",
        ),
        (graph("y = Transpose<perm=[0,2,3,1]>(x)"), "the shapes of the graph contradict each other"),
    ],
)
def test_what_cannot_be_canonical_is_unsupported(model, what):
    """Other types, opsets, operators and shapes are named."""
    with pytest.raises(UnsupportedError, match=what) as caught:
        canonical(model, INPUT, OUTPUT)

    assert caught.value.fix


def test_one_tensor_under_two_names_is_unsupported():
    """A tensor has one name in a graph."""
    model = graph("y = Relu(x)")
    model.graph.outputs.append(model.graph.outputs[0])
    two = (OUTPUT[0], OutputSpec(name="again", shape=(1, 3, 4, 6), meaning="heatmap"))
    with pytest.raises(UnsupportedError, match="under two of the recipe's names"):
        canonical(model, INPUT, two)
