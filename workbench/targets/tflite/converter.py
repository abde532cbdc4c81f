"""From the TensorFlow graph to the bytes of a .tflite file, by TensorFlow's own converter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workbench.errors import ToolError, UnsupportedError
from workbench.runtimes._quiet import quiet
from workbench.targets.tflite import flatbuffer, origins
from workbench.targets.tflite.lowering import Lowered


@dataclass(frozen=True)
class Converted:
    """A .tflite file, how often each operator occurs in it, and which ONNX tensor a tensor of it is, by its place."""

    data: bytes
    operators: Mapping[str, int]
    origins: Mapping[int, str]


def convert(lowered: Lowered, variant: Literal["fp32", "fp16"], tf: Any) -> Converted:
    """The .tflite file of `lowered`; fp16 keeps the weights in half precision, computing stays float32.

    Raises:
        UnsupportedError: an operator that TensorFlow Lite does not have.
        ToolError: the converter fails.
    """
    try:
        with quiet():
            # This entrance takes a graph that has nothing to freeze as it is. The one for functions copies the weights
            # five times, and writes a SavedModel when the file shall have a signature: `flatbuffer.finish` adds one,
            # with names that TensorFlow would not take.
            converter = tf.compat.v1.lite.TFLiteConverter(
                lowered.graph_def,
                None,
                None,
                [(edge.node, list(edge.shape)) for edge in lowered.inputs],
                [edge.node for edge in lowered.outputs],
            )
            converter.exclude_conversion_metadata = True  # it holds the versions of the tools
            if variant == "fp16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            data = converter.convert()
    except Exception as error:  # ConverterError derives from Exception alone and lives in no public module
        raise _failure(str(error)) from error
    model = flatbuffer.unpack(data)
    found = origins.find(model, lowered)
    origins.rename(model, found)
    return Converted(*finish(model, lowered), found)


def finish(model: Any, lowered: Lowered) -> tuple[bytes, dict[str, int]]:
    """See `flatbuffer.finish`, with the names of `lowered`."""
    names = [edge.name for edge in lowered.inputs], [edge.name for edge in lowered.outputs]
    return flatbuffer.finish(model, *names, lowered.not_deployable)


def _failure(text: str) -> ToolError:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for key in ("Flex ops:", "Custom ops:"):
        missing = next((line.removeprefix(key).strip() for line in lines if line.startswith(key)), "")
        if missing:
            return flatbuffer.not_builtin(missing)
    return UnsupportedError(
        f"TensorFlow's converter failed: {lines[0] if lines else 'it does not say why'}",
        fix="simplify the graph or cut it, or drop the tflite target",
    )
