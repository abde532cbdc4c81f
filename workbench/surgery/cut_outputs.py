"""Cut the graph at named tensors, so that decoding runs on the CPU and the NPU sees only the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import onnx_ir as ir
from pydantic import Field

from workbench.errors import RecipeError
from workbench.graph import walk
from workbench.surgery import _outputs
from workbench.surgery._pass import Edits, Pass, near


@dataclass(frozen=True, kw_only=True)
class CutOutputs(Pass):
    """Make the named tensors the graph's outputs, in that order, and drop what only other outputs needed.

    1. The tensors keep their names; an intermediate tensor gets its inferred shape and type.
    2. Nodes and weights that no output depends on are removed.
    3. Graph inputs stay, even when nothing reads them any more; that is reported.
    """

    chooses_outputs: ClassVar[bool] = True

    tensors: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(min_length=1, description="names of the tensors that become the outputs, in order"),
    ]

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Cut the arg-max off a heatmap."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        decoded (float[1,3,4,4] image) => (int64[1,1,4,4] best) {
            heat = Relu(image)
            best = ArgMax<axis=1>(heat)
        }"""
        return cls(tensors=("heat",)), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every tensor exists and is made by a node.

        Raises:
            RecipeError: a name is unknown, named twice, or that of an input or a weight.
        """
        known = walk.made(model.graph)
        inside = walk.inner_names(model.graph)
        other = walk.tensors(model.graph)
        for index, name in enumerate(self.tensors):
            at = ("tensors", index)
            if name in self.tensors[:index]:
                raise RecipeError(f"tensor '{name}' is named twice", fix="name each output once", at=at)
            if name in known:
                continue
            if name in other:
                raise RecipeError(
                    f"'{name}' is {'an input' if other[name].is_graph_input() else 'a constant'}, not a result",
                    fix="name a tensor that a node makes",
                    at=at,
                )
            if name in inside:
                raise RecipeError(f"'{name}' lies inside a subgraph", fix="name a tensor outside it", at=at)
            raise RecipeError(f"no tensor called '{name}'", fix=near(name, known), at=at)

    def apply(self, model: ir.Model) -> Edits:
        """Replace the outputs, then remove what became dead."""
        graph = model.graph
        changed: list[str] = []
        before = tuple(value.name or "" for value in graph.outputs)
        known = walk.made(graph)
        if before != self.tensors:
            chosen = [known[name] for name in self.tensors]
            _outputs.declare(model, [value for value in chosen if not value.is_graph_output()])
            graph.outputs.clear()
            graph.outputs.extend(chosen)
            changed.append(f"outputs: {', '.join(self.tensors)} (were {', '.join(before)})")
        changed += _outputs.prune(graph)
        return Edits(changed=tuple(changed), left=_outputs.idle_inputs(graph))


PASS = CutOutputs
