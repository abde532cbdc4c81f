"""Tell Pulsar2 which layers carry 16 bits, so that the tensors that a recipe names are stored with them.

What the vendor documents (precision_debug_guides, 7.0): a layer's ``data_type`` is what it reads and computes; its
output takes the type that the next layer reads, whatever the layer itself says; the type of a layer that only moves
data follows from the layer that computes behind it; a Concat that is not listed falls back to U8. So a tensor at 16
bits needs the layers that read it, those that move it, and those that make it.

A convolution has ``output_data_type`` besides (it is for Conv alone): one that reads U8 and makes U16 says just that,
and its multiplications stay at 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from workbench.graph import walk
from workbench.quant import scheme
from workbench.quant.plan import inside_operators
from workbench.targets.pulsar2.schema import LayerConfig

# Operators that public configurations put on U16 and that built; of others nobody has told.
_SEEN_AT_U16 = frozenset(
    {
        "Add",
        "Concat",
        "Conv",
        "Gather",
        "Gemm",
        "MatMul",
        "Mul",
        "Relu",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Tanh",
        "Unsqueeze",
    }
)
_REMOVED = frozenset({"Dropout", "Identity"})
_FOLLOWING = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def layer_configs(model: ir.Model, u16: Collection[str]) -> tuple[LayerConfig, ...]:
    """The entries of ``quant.layer_configs`` that put `u16` on 16 bits: at most three, each with ``layer_names`` alone.

    Args:
        model: the graph handed to Pulsar2, whose nodes have names (`graph.naming`).
        u16: its tensors at 16 bits, all that share a grid with one of them included.
    """
    inside = inside_operators(model.graph)
    both: list[str] = []  # U16 in every way
    makers: list[str] = []  # convolutions from U16 to U16, whose output has a type of its own
    starts: list[str] = []  # convolutions from U8 to U16
    for node in model.graph:
        reads = any(value is not None and value.name in u16 for value in node.inputs)
        makes = any(inside.get(str(value.name), value.name) in u16 for value in node.outputs)
        if walk.is_op(node, "Conv") and makes:
            (makers if reads else starts).append(str(node.name))
        elif reads or makes:
            both.append(str(node.name))
    entries = []
    if both:
        entries.append(LayerConfig(layer_names=tuple(both), data_type="U16"))
    if makers:
        entries.append(LayerConfig(layer_names=tuple(makers), data_type="U16", output_data_type="U16"))
    if starts:
        entries.append(LayerConfig(layer_names=tuple(starts), data_type="U8", output_data_type="U16"))
    return tuple(entries)


def reasons(model: ir.Model, u16: Collection[str]) -> dict[str, str]:
    """Why each layer of `layer_configs` is there, by its name: ``makes`` or ``reads`` and one tensor of `u16`."""
    inside = inside_operators(model.graph)
    found: dict[str, str] = {}
    for node in model.graph:
        made = [inside.get(str(value.name), str(value.name)) for value in node.outputs]
        read = [str(value.name) for value in node.inputs if value is not None]
        for verb, names in (("makes", made), ("reads", read)):
            for name in names:
                if name in u16:
                    found.setdefault(str(node.name), f"{verb} {name}")
    return found


def notes(model: ir.Model, u16: Sequence[str], entries: Sequence[LayerConfig]) -> str:
    """``u16.txt`` of a kit: what was asked for, what the tool may do otherwise, and how to see what it did."""
    named = {name for entry in entries for name in entry.layer_names}
    listed = [node for node in model.graph if node.name in named]
    lines = [
        f"config.json puts {len(listed)} layers on U16, for these {len(u16)} tensors:",
        *(f"  {name}" for name in u16),
        "",
        "A layer is in the list because it makes, moves or reads one of them: by the vendor's documentation the output",
        "of a layer takes the type that the next layer reads. Other inputs of such a layer are widened with it.",
        "",
        "To see what the tool made of it, after a build:",
        "  build/quant/quant_axmodel.json  has each tensor below its layer; bit_width should be 16",
        "  build/frontend/optimized.onnx   has the names that layer_configs go by; its optimizer may change some",
        "workbench convert looks into the first by itself and warns of tensors that stayed at 8 bits.",
    ]
    inputs = [str(value.name) for value in model.graph.inputs if value.name in u16]
    if inputs:
        lines += ["", f"No layer makes {', '.join(inputs)}: how an input is read is up to the tool."]
    for why, some in _doubts(model.graph, listed):
        lines += ["", why, *(f"  {walk.label(node)}" for node in some)]
    return "\n".join(lines) + "\n"


def _doubts(graph: ir.Graph, listed: Sequence[ir.Node]) -> list[tuple[str, list[ir.Node]]]:
    """Of the layers `listed`, those for which the tool may not do what it is told, by reason."""
    inside = inside_operators(graph)
    fused = [
        node
        for node in listed
        if walk.is_op(node, *scheme.FUSED) and any(value is not None and value.name in inside for value in node.inputs)
    ]
    kinds = [
        ("Computed inside the layer before them, whose name may stand for both:", fused),
        (
            "Only move data: the tool gives them the type of the layer that computes behind them:",
            [node for node in listed if node.op_type in _FOLLOWING],
        ),
        ("Probably removed by its optimizer:", [node for node in listed if node.op_type in _REMOVED]),
        (
            "No public configuration with U16 for these operators is known; a chip may have them in U8 alone:",
            [node for node in listed if node.op_type not in _SEEN_AT_U16 | _FOLLOWING | _REMOVED and node not in fused],
        ),
    ]
    return [(why, nodes) for why, nodes in kinds if nodes]
