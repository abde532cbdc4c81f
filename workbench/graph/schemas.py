"""ONNX's own definitions of its operators."""

from __future__ import annotations

from functools import cache

import onnx


@cache
def schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """The definition of an operator of ONNX's own domain at an operator set; None when there is none."""
    try:
        return onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
