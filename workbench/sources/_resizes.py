"""Give the Resize nodes of a TensorFlow export the sizes and modes that other tools agree on."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from workbench.graph import attributes, constants, shapes, walk

_NEAREST = "tf_half_pixel_for_nn"


def repair(model: ir.Model) -> None:
    """Change Resize nodes in place, without changing what they compute.

    What the graph says about the shapes of its outputs is dropped: it may contradict the scales.

    1. Scales that do not divide evenly become sizes: tf2onnx writes 7/12 as a float32, and 12 times that is 6.99...,
       which ONNX rounds down to 6.
    2. ``tf_half_pixel_for_nn`` left the standard with opset 13; floor((i + 0.5) * s) is half_pixel rounded up.

    Raises:
        UnsupportedError: the graph's shapes contradict each other.
    """
    for value in model.graph.outputs:
        value.shape = None
    for node in walk.nodes(model.graph, "Resize"):
        if attributes.text(node, "coordinate_transformation_mode", "half_pixel") == _NEAREST:
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", "half_pixel"
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "round_prefer_ceil")
        scales = constants.array(node.inputs[2]) if len(node.inputs) > 2 else None
        if scales is None or not scales.size:
            continue
        # Only now, for this node: the shapes behind an earlier Resize are right once that one is repaired.
        before = _shape(model, node.inputs[0])
        if before is None:
            continue
        exact = np.array(before, np.float64) * scales.astype(np.float64)
        sizes = np.rint(exact).astype(np.int64)
        if not np.array_equal(exact, sizes):
            node.replace_input_with(2, None)
            constants.put(model.graph, node, 3, sizes, f"{node.name or 'resize'}_sizes")
    shapes.refresh(model)


def _shape(model: ir.Model, value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of `value`; nodes behind it may contradict each other as yet, so the inference is not strict."""
    if value is None:
        return None
    inferred = onnx.shape_inference.infer_shapes(shapes.outline(model), strict_mode=False, data_prop=True).graph
    for known in (*inferred.input, *inferred.value_info):
        if known.name == value.name and known.type.tensor_type.HasField("shape"):
            sizes = tuple(dim.dim_value for dim in known.type.tensor_type.shape.dim)
            return sizes if all(sizes) else None
    return None
