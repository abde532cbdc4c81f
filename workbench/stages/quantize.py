"""Write the INT8 emulation: the canonical graph with QuantizeLinear and DequantizeLinear where the chip rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from workbench.engine.progress import Progress
from workbench.engine.stage import Stage
from workbench.engine.store import write_json
from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import io
from workbench.quant.cost import cost, long_sums
from workbench.quant.plan import Plan, plan, widened
from workbench.quant.qdq import write_qdq
from workbench.quant.ranges import Ranges
from workbench.recipe.schema import Quantization

U16_KEY = ("quantization", "u16")


@dataclass(frozen=True)
class Settings:
    """What this stage sees of the recipe."""

    quantization: Quantization

    @classmethod
    def of(cls, quantization: Quantization) -> Settings:
        """Its part of `quantization`."""
        return cls(quantization.only("u16"))


def run(settings: Settings, inputs: Mapping[str, Path], out: Path, progress: Progress) -> None:
    """Write ``model.onnx``, the QDQ graph, all at 8 bits; where the recipe names tensors at 16 also ``mixed.onnx``.

    ``mixed.json`` beside it says which tensors were asked for, which stand on 16 bits, and what that costs.

    Raises:
        RecipeError: a name of ``quantization.u16`` is no activation of this graph, or inside an operator.
    """
    model = io.read(inputs["bake"] / "model.onnx")
    ranges = Ranges.from_json((inputs["calibrate"] / "ranges.json").read_text("utf-8"))
    u16 = settings.quantization.u16
    if u16:
        check(u16, plan(model, ranges))
    _write(write_qdq(model, ranges), io.not_deployable(model), out / "model.onnx")
    if not u16:
        return
    _write(write_qdq(model, ranges, u16), io.not_deployable(model), out / "mixed.onnx")
    decided = plan(model, ranges, u16)
    price, sums = cost(model, decided), long_sums(model, decided)
    progress.note(f"mixed: {price}")
    write_json(
        out / "mixed.json",
        {
            "asked": list(u16),
            "u16": list(widened(decided, u16)),
            "cost": price.to_json(),
            "sums_beyond_32_bits": list(sums),
        },
    )


def check(u16: tuple[str, ...], decided: Plan) -> None:
    """Raise RecipeError for the first of `u16` that cannot stand on 16 bits; `decided` is any plan of the graph."""
    for index, name in enumerate(u16):
        try:
            widened(decided, [name])
        except UnsupportedError as error:
            what = f"{'.'.join(U16_KEY)}[{index}]: {error.what}"
            raise RecipeError(what, fix=error.fix, at=(*U16_KEY, index)) from error


def _write(quantized: ir.Model, not_deployable: str, path: Path) -> None:
    if not_deployable:
        io.mark_not_deployable(quantized, not_deployable)
    io.write(quantized, path)


STAGE = Stage("quantize", 1, run, tools=("onnx", "onnx-ir", "numpy"), rooms=("quant",))
