"""ONNX files as sources: brought to opset 18 and a static batch, with onnxruntime's numbers of the file as it is."""

import numpy as np
import onnx
import pytest
from onnx import parser

from workbench.engine.progress import Silent
from workbench.errors import RecipeError, SourceError, UnsupportedError
from workbench.graph import io
from workbench.recipe.schema import InputSpec, OutputSpec
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.sources import onnx as source

BODY = """{
    a = Conv<pads=[1,1,1,1]>(x, w)
    b = BatchNormalization(a, s, t, m, v)
    y = Relu(b)
    z = MaxPool<kernel_shape=[2,2], strides=[2,2]>(y)
}"""
KERNEL = ",".join(str(i / 9) for i in range(-9, 9))
WEIGHTS = (
    f"<float[2,1,3,3] w = {{{KERNEL}}},"
    " float[2] s = {1,2}, float[2] t = {0,1}, float[2] m = {0,0}, float[2] v = {1,2}>"
)
INPUTS = (InputSpec(name="image", tensor="x", shape=(1, 1, 4, 6), color="GRAY"),)
OUTPUTS = (
    OutputSpec(name="half", tensor="z", shape=(1, 2, 2, 3), meaning="heatmap"),
    OutputSpec(name="heat", tensor="y", shape=(1, 2, 4, 6), meaning="heatmap"),
)


def write(folder, opset=18, ports="(float[N,1,4,6] x) => (float[N,2,4,6] y, float[N,2,2,3] z)", body=BODY):
    """Write a small network and return its file."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> net {ports} {WEIGHTS} {body}'
    path = folder / "net.onnx"
    onnx.save_model(parser.parse_model(text), path)
    return path


def export(path, inputs=INPUTS, outputs=OUTPUTS):
    """Export on two pictures."""
    fed = [{"image": np.random.default_rng(seed).standard_normal((1, 1, 4, 6)).astype(np.float32)} for seed in (0, 1)]
    return source.export(source.Options(), path, inputs, outputs, fed, base=path.parent, progress=Silent()), fed


@pytest.mark.parametrize("opset", [9, 13, 17, 18, 21])
def test_older_and_newer_opsets_are_converted(tmp_path, opset):
    """Opset 17 and 18 stay; others become 18; numbers stay those of the file."""
    found, fed = export(write(tmp_path, opset))

    assert found.model.opset_imports == {"": opset if opset in (17, 18) else 18}
    with OnnxRunner(write(tmp_path, opset), optimize=False) as original, OnnxRunner(io.to_bytes(found.model)) as now:
        for sample, golden in zip(fed, found.golden, strict=True):
            want = original.run({"x": sample["image"]})
            assert np.array_equal(golden["heat"], want["y"])
            assert np.array_equal(golden["half"], want["z"])
            np.testing.assert_allclose(now.run(sample)["half"], want["z"], rtol=1e-5, atol=1e-6)


def test_the_recipe_s_names_order_and_batch(tmp_path):
    """A dynamic batch becomes the recipe's, outputs stand in the recipe's order under its names."""
    graph = export(write(tmp_path))[0].model.graph

    assert [(value.name, list(value.shape)) for value in (*graph.inputs, *graph.outputs)] == [
        ("image", [1, 1, 4, 6]),
        ("half", [1, 2, 2, 3]),
        ("heat", [1, 2, 4, 6]),
    ]
    assert all(node.outputs[0].shape[0] == 1 for node in graph)


def test_weights_among_the_inputs_are_no_inputs(tmp_path):
    """Old exporters list initializers as inputs; they stay weights."""
    path = write(tmp_path, 9)
    proto = onnx.load(path)
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, 1, list(tensor.dims)))
    onnx.save_model(proto, path)

    assert [value.name for value in export(path)[0].model.graph.inputs] == ["image"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "what", "at"),
    [
        ({"tensor": "xx"}, {}, "no tensor called 'xx'", ("inputs", 0, "tensor")),
        ({}, {"tensor": "yy"}, "no tensor called 'yy'", ("outputs", 1, "tensor")),
        (
            {"shape": (1, 1, 5, 6)},
            {},
            r"\[1, 1, 5, 6\] in the recipe, \[\?, 1, 4, 6\] in the file",
            ("inputs", 0, "shape"),
        ),
        (
            {},
            {"shape": (1, 2, 4, 5)},
            r"\[1, 2, 4, 5\] in the recipe, \[\?, 2, 4, 6\] in the file",
            ("outputs", 1, "shape"),
        ),
        ({"shape": (1, 4, 6, 1), "layout": "NHWC"}, {}, "onnx networks are taken as NCHW", ("inputs", 0, "layout")),
    ],
)
def test_a_recipe_that_contradicts_the_file_is_told_where(tmp_path, inputs, outputs, what, at):
    """Names with their near miss, shapes with the file's own."""
    ins = (InputSpec.model_validate({**INPUTS[0].model_dump(), **inputs}),)
    outs = (OUTPUTS[0], OutputSpec.model_validate({**OUTPUTS[1].model_dump(), **outputs}))
    with pytest.raises(RecipeError, match=what) as caught:
        export(write(tmp_path), ins, outs)

    assert caught.value.at == at
    assert caught.value.fix


def test_an_output_the_recipe_does_not_name_is_a_mistake(tmp_path):
    """All of the file's outputs are named, or a pass cuts them later."""
    with pytest.raises(RecipeError, match="the file has 2 outputs, the recipe names 1; not named: y") as caught:
        export(write(tmp_path), outputs=OUTPUTS[:1])

    assert caught.value.at == ("outputs",)
    assert "cut_outputs" in caught.value.fix


@pytest.mark.parametrize("content", [b"", b"not onnx", bytes(range(256))])
def test_what_is_no_model_is_an_error(tmp_path, content):
    """The file is named."""
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        export(path)

    assert caught.value.where == str(path)
    assert caught.value.fix


def test_missing_weights_are_an_error(tmp_path):
    """A graph cannot be seeded."""
    with pytest.raises(SourceError, match="kind onnx cannot be built from random weights"):
        source.export(source.Options(), None, INPUTS, OUTPUTS, [], base=tmp_path, progress=Silent())


def test_integer_inputs_are_unsupported(tmp_path):
    """Artifacts are made from float32; the tensor is named, and the file."""
    path = write(
        tmp_path,
        ports="(uint8[N,1,4,6] p) => (float[N,2,4,6] y, float[N,2,2,3] z)",
        body=BODY.replace("{", "{ x = Cast<to=1>(p)", 1),
    )
    inputs = (InputSpec(name="image", tensor="p", shape=(1, 1, 4, 6), color="GRAY"),)
    with pytest.raises(UnsupportedError, match="tensor 'p' is uint8") as caught:
        export(path, inputs)

    assert str(path) in caught.value.where


def test_a_file_onnxruntime_cannot_run_is_an_error(tmp_path):
    """An operator of nobody's ends in a sentence, not in a traceback."""
    path = write(tmp_path)
    proto = onnx.load(path)
    proto.graph.node[0].op_type = "Konv"
    onnx.save_model(proto, path)
    with pytest.raises((SourceError, UnsupportedError)) as caught:
        export(path)

    assert str(path) in caught.value.where


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("name", "domain"), [("Odd", "my"), ("Odd", "")])
def test_an_unknown_operator_is_named_with_its_node(tmp_path, opset, name, domain):
    """It is told before converter and runtime see the file, whose messages name neither node nor remedy."""
    path = write(tmp_path, opset)
    proto = onnx.load_model(path)
    proto.graph.node[2].op_type, proto.graph.node[2].domain, proto.graph.node[2].name = name, domain, "bend"
    if domain:
        proto.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    onnx.save_model(proto, path)
    with pytest.raises(SourceError, match=f"operator {domain or 'ai.onnx'}::Odd is not standard ONNX") as caught:
        export(path)
    assert caught.value.where == f"{path}: Odd 'bend'"
    assert caught.value.fix.startswith("cut the network before it")


def test_a_weight_that_is_no_number_is_named(tmp_path):
    """Where the outputs are NaN, the first weight that is NaN tells more than they do."""
    path = write(tmp_path)
    proto = onnx.load_model(path)
    kernel = next(one for one in proto.graph.initializer if one.name == "w")
    broken = onnx.numpy_helper.to_array(kernel).copy()
    broken[1, 0, 2, 2] = np.nan
    kernel.CopyFrom(onnx.numpy_helper.from_array(broken, "w"))
    onnx.save_model(proto, path)
    with pytest.raises(SourceError, match="NaN or infinity in output 'half' of sample 0") as caught:
        export(path)
    assert "weight 'w' of Conv" in caught.value.fix
