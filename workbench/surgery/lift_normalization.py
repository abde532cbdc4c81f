"""Move the normalization at an input out of the graph, into the recipe's mean and std."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import onnx_ir as ir
from pydantic import Field

from workbench.graph import splice, walk
from workbench.surgery._affine import Doubles, affine
from workbench.surgery._pass import Edits, Pass, PreprocessChange, control_flow, require_named


@dataclass(frozen=True, kw_only=True)
class LiftNormalization(Pass):
    """Remove the chain of Add, Sub, Mul and Div with constants that an input passes first.

    1. The chain is a * x + b, a and b one number or one a channel; it becomes mean = -b / a and std = 1 / a, so the
       input then wants (x - mean) / std. The constants are gathered in double precision.
    2. The longest beginning of the chain whose a is positive everywhere is taken: a std is a positive divisor.
    3. The input must feed nothing but the chain. A tensor that is a graph output stays in the graph.
    4. The input keeps its name.
    """

    inputs: Annotated[
        tuple[str, ...] | None, Field(min_length=1, description="only these inputs; all pictures when left out")
    ] = None

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Pixels become -1..1 inside the graph."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        normalizing (float[1,3,2,2] image) => (float[1,3,2,2] y) <float half = {127.5}, float one = {1.0}> {
            scaled = Div(image, half)
            centred = Sub(scaled, one)
            y = Relu(centred)
        }"""
        return cls(), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every named input exists.

        Raises:
            RecipeError: one does not.
        """
        require_named({v.name: v for v in model.graph.inputs if v.name}, self.inputs or (), "inputs", "input")

    def apply(self, model: ir.Model) -> Edits:
        """Visit every picture input."""
        changed: list[str] = []
        left = list(control_flow(model))
        renamed: dict[str, str] = {}
        preprocess: dict[str, PreprocessChange] = {}
        for value in model.graph.inputs:
            if self.inputs is not None and value.name not in self.inputs:
                continue
            chain, change, reason = _chain(value)
            if reason is not None:
                left.append(reason)
            if change is None or not value.name:
                continue
            preprocess[value.name] = change
            end = chain[-1].outputs[0]
            if end.name:
                renamed[end.name] = value.name
            end.replace_all_uses_with(value)
            changed += [f"{walk.label(node)}: lifted into mean and std of input '{value.name}'" for node in chain]
            for node in reversed(chain):
                splice.remove(node)
        return Edits(changed=tuple(changed), left=tuple(left), renamed=renamed, preprocess=preprocess)


def _chain(value: ir.Value) -> tuple[list[ir.Node], PreprocessChange | None, str | None]:
    """The nodes that can be lifted, what they do to the input, and why the chain ends where it does."""
    if value.shape is None or len(value.shape) != 4 or not isinstance(value.shape[1], int):
        return [], None, None
    channels = value.shape[1]
    scale, shift = np.ones(channels), np.zeros(channels)
    chain: list[ir.Node] = []
    lifted, change, reason = 0, None, None
    here = value
    while True:
        node = walk.only_consumer(here)
        if node is None:
            if (other := _arithmetic_reader(here, channels)) is not None:
                reason = f"{walk.label(other)}: '{here.name}' also feeds {walk.readers(here)}"
            break
        step = affine(node, here, channels, rank=4)
        if step is None:
            break
        if node.outputs[0].is_graph_output():
            reason = f"{walk.label(node)}: its result is a graph output"
            break
        if not np.isfinite(step[0]).all():
            reason = f"{walk.label(node)}: it divides by zero"
            break
        scale, shift = scale * step[0], shift * step[0] + step[1]
        chain.append(node)
        if (scale > 0).all():
            lifted, reason = len(chain), None
            change = PreprocessChange(mean=_numbers(-shift / scale), std=_numbers(1 / scale))
        elif reason is None:
            reason = f"{walk.label(node)}: it scales by a number that is not positive, and a std must be"
        here = node.outputs[0]
    return chain[:lifted], change, reason


def _arithmetic_reader(value: ir.Value, channels: int) -> ir.Node | None:
    return next((node for node in walk.consumers(value) if affine(node, value, channels, rank=4) is not None), None)


def _numbers(values: Doubles) -> tuple[float, ...]:
    numbers = tuple(float(value) + 0.0 for value in values)  # + 0.0 makes -0.0 a plain 0
    return numbers[:1] if len(set(numbers)) == 1 else numbers


PASS = LiftNormalization
