"""TensorFlow Lite, NHWC with a named signature, made from the canonical ONNX by TensorFlow's own converter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workbench.engine.progress import track
from workbench.recipe.schema import FieldError, Precision, Strict
from workbench.targets._target import Artifact, TargetJob

VERSION = 2
TOOLS: tuple[str, ...] = ("ai-edge-litert", "flatbuffers", "onnxruntime", "tensorflow", "tensorflow-cpu")
ROOMS = ("quant",)
Variant = Literal["fp32", "fp16", "int8", "int16x8"]
_PRECISION: dict[Variant, Precision] = {"fp32": "float", "fp16": "fp16", "int8": "int8", "int16x8": "int16x8"}
_ORDER: tuple[Variant, ...] = tuple(_PRECISION)


def _unique(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    for index, name in enumerate(variants):
        if name in variants[:index]:
            raise FieldError((index,), f"variant {name} is named twice", "remove one")
    return variants


class Options(Strict):
    """Which files are written."""

    variants: Annotated[
        tuple[Variant, ...],
        Field(
            min_length=1,
            description="fp32, fp16 (weights in half precision, computed in float32), int8 (all in 8 bits) or int16x8"
            " (activations in 16)",
        ),
        AfterValidator(_unique),
    ] = ("fp32",)
    io: Annotated[
        Literal["float", "integer"],
        Field(description="inputs and outputs of int8 and int16x8: float, or the integers they are computed in"),
    ] = "float"


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

    int8 and int16x8 are made from the graph that was prepared for 8 bits, where there is one, on the ranges of the
    calibration; without ranges these are the extremes over all pictures.

    Raises:
        UnsupportedError: nodes that cannot be lowered, or not computed in integers; all of them are named.
        ToolError: the converter fails, a range is missing or not finite, or the disk is full.
    """
    from workbench.graph import io
    from workbench.runtimes.tensorflow import import_tensorflow
    from workbench.targets.tflite import calibrated, converter, lowering

    tf = import_tensorflow()
    source, lowered, ready = None, None, None
    for variant in track(sorted(job.options.variants, key=_ORDER.index), job.progress, "TensorFlow Lite files"):
        wanted = job.model if variant in ("fp32", "fp16") else job.baked or job.model
        if wanted != source or lowered is None:
            source, lowered = wanted, lowering.lower(wanted, tf)
        if variant == "fp32" or variant == "fp16":
            made = converter.convert(lowered, variant, tf)
        else:
            ready = ready or calibrated.prepare(job, wanted, lowered, tf)
            made = calibrated.convert(ready, variant, integer_io=job.options.io == "integer", tf=tf)
        path = _path(job, variant)
        io.write_bytes(made.data, job.out / path)
        job.progress.note(f"{path}: {_counted(made.operators)}")
    return [Artifact(_path(job, variant), _PRECISION[variant]) for variant in job.options.variants]


def _path(job: TargetJob[Options], variant: Variant) -> str:
    return f"{job.name}.{variant}.tflite"
