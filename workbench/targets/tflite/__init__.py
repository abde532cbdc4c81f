"""TensorFlow Lite, NHWC with a named signature, made from the canonical ONNX by TensorFlow's own converter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workbench.engine.progress import track
from workbench.recipe.schema import FieldError, Precision, Strict
from workbench.targets._target import Artifact, TargetJob

VERSION = 1
TOOLS: tuple[str, ...] = ("ai-edge-litert", "flatbuffers", "tensorflow", "tensorflow-cpu")
Variant = Literal["fp32", "fp16"]
_PRECISION: dict[Variant, Precision] = {"fp32": "float", "fp16": "fp16"}


def _unique(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    for index, name in enumerate(variants):
        if name in variants[:index]:
            raise FieldError((index,), f"variant {name} is named twice", "remove one")
    return variants


class Options(Strict):
    """Which files are written."""

    variants: Annotated[
        tuple[Variant, ...],
        Field(min_length=1, description="fp32, or fp16: weights in half precision, computed in float32"),
        AfterValidator(_unique),
    ] = ("fp32",)


def precisions(options: Options) -> frozenset[Precision]:
    """What the variants are judged as."""
    return frozenset(_PRECISION[variant] for variant in options.variants)


def _counted(operators: Mapping[str, int]) -> str:
    # half-precision weights are widened by one DEQUANTIZE each, once, when the file is loaded
    total = sum(count for name, count in operators.items() if name != "DEQUANTIZE")
    moved = operators.get("TRANSPOSE", 0)
    return f"{total} operators, {moved} of them TRANSPOSE" if moved else f"{total} operators"


def build(job: TargetJob[Options]) -> list[Artifact]:
    """Write ``<name>.<variant>.tflite`` for every variant; the same ONNX gives the same bytes.

    Raises:
        UnsupportedError: nodes that cannot be lowered; all of them are named.
        ToolError: the converter fails, or the disk is full.
    """
    from workbench.graph import io
    from workbench.runtimes.tensorflow import import_tensorflow
    from workbench.targets.tflite import converter, lowering

    tf = import_tensorflow()
    lowered = lowering.lower(job.model, tf)
    artifacts = []
    for variant in track(job.options.variants, job.progress, "TensorFlow Lite files"):
        path = f"{job.name}.{variant}.tflite"
        made = converter.convert(lowered, variant, tf)
        io.write_bytes(made.data, job.out / path)
        job.progress.note(f"{path}: {_counted(made.operators)}")
        artifacts.append(Artifact(path, _PRECISION[variant]))
    return artifacts
