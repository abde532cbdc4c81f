"""Give the graph's inputs and outputs other names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import onnx_ir as ir
from pydantic import Field

from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import walk
from workbench.recipe.schema import TensorName
from workbench.surgery._pass import Edits, Pass, near


@dataclass(frozen=True, kw_only=True)
class RenameIo(Pass):
    """Rename inputs and outputs of the graph.

    1. All names change at once, so two names can be exchanged.
    2. A new name that another tensor has is refused; nothing else is renamed out of the way.
    3. An old name that is gone, while its new name is an input or output, counts as done.
    """

    names: Annotated[
        dict[Annotated[str, Field(min_length=1)], TensorName],
        Field(min_length=1, description="name of an input or output -> the name it gets"),
    ]

    @classmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """Give an exporter's names their meaning."""
        text = """<ir_version: 8, opset_import: ["": 17]>
        exported (float[1,3,4,4] input_1) => (float[1,3,4,4] relu_2) {
            relu_2 = Relu(input_1)
        }"""
        return cls(names={"input_1": "image", "relu_2": "heatmap"}), ir.from_onnx_text(text)

    def requires(self, model: ir.Model) -> None:
        """Every old name is an input or output, and no new name is taken.

        Raises:
            RecipeError: an old name is unknown; a new name is used twice, or by another tensor.
            UnsupportedError: the output is a weight.
        """
        ports = _ports(model)
        seen: dict[str, str] = {}
        for old, new in self.names.items():
            at = ("names", old)
            if old not in ports and new not in ports:
                raise RecipeError(f"no input or output called '{old}'", fix=near(old, ports), at=at)
            if new in seen:
                raise RecipeError(f"'{seen[new]}' and '{old}' would both be called '{new}'", fix="choose two", at=at)
            seen[new] = old
            if old in ports and ports[old].is_initializer():
                raise UnsupportedError(f"'{old}' is a constant", where="rename_io", fix="cut it off with cut_outputs")
        moving = {old for old in self.names if old in ports}
        taken = (set(walk.tensors(model.graph)) | walk.inner_names(model.graph)) - moving
        for old in sorted(moving):
            if self.names[old] in taken:
                raise RecipeError(
                    f"'{old}' cannot be called '{self.names[old]}': another tensor is",
                    fix="choose a name that is free",
                    at=("names", old),
                )

    def apply(self, model: ir.Model) -> Edits:
        """Rename what is there."""
        ports = _ports(model)
        renamed = {old: new for old, new in self.names.items() if old in ports and old != new}
        for old, new in renamed.items():
            ports[old].name = new
        return Edits(
            changed=tuple(f"{_kind(ports[old])} '{old}': now '{new}'" for old, new in renamed.items()),
            left=tuple(f"'{new}': has its name already" for old, new in self.names.items() if old not in renamed),
            renamed=renamed,
        )


def _ports(model: ir.Model) -> dict[str, ir.Value]:
    return {value.name: value for value in (*model.graph.inputs, *model.graph.outputs) if value.name}


def _kind(value: ir.Value) -> str:
    return "input" if value.is_graph_input() else "output"


PASS = RenameIo
