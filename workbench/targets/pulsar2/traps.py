"""What fails in real builds although the operator tables allow it, or in other words than theirs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from workbench.graph import constants, walk
from workbench.targets.pulsar2.findings import Finding, Verdict
from workbench.targets.pulsar2.limits import View
from workbench.targets.pulsar2.operators import Table

# Listed, and yet the compiler fails when it cannot read these, default or not.
WRITTEN_OUT = {"Elu": ("alpha",), "LeakyRelu": ("alpha",), "TopK": ("axis", "largest", "sorted")}
# Known to end the whole build, where one might hope for the CPU to take over.
NO_FALLBACK = ("Mod", "SequenceEmpty", "LRN", "IsNaN")
_IDENTITIES = {"Mul": "multiplies", "Div": "divides"}
# What only moves numbers: one range for all that goes in.
_MOVES = ("Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split", "Gather")
_KEEP_RANGE = (*_MOVES, "MaxPool", "Expand", "Tile")
_BOUNDED = ("Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Softsign", "Sin", "Cos")
_DEEPEST = 64  # moves between an output and what makes it; a hostile graph may have any number


def of_node(view: View, table: Table) -> Iterator[Finding]:
    """The traps that one node of a listed operator runs into."""
    node = view.node
    if not walk.is_op(node) or node.op_type not in table.operators:
        return
    missing = [name for name in WRITTEN_OUT.get(node.op_type, ()) if name not in node.attributes]
    if missing:
        limit = "must be written out: the build fails on the default"
        yield finding(node, ", ".join(missing), "not written", limit, "blocked")
    if node.op_type in _IDENTITIES and (other := _one(view)) is not None:
        shown = any(value.is_graph_output() for value in node.outputs)
        limit = "the optimizer removes it, and the output disappears" if shown else "the optimizer removes it"
        found = f"{_IDENTITIES[node.op_type]} by exactly 1 ('{other}')"
        yield finding(node, "operand", found, limit, "blocked" if shown else "by hand")
    if node.op_type == "ConvTranspose":
        limit = "plain cases have failed in real builds: build it alone first"
        yield finding(node, "operator", "is listed", limit, "by hand")


def unlisted(node: ir.Node, table: Table) -> str:
    """What to say of an operator that the table does not list."""
    if node.op_type in NO_FALLBACK:
        return f"not in {table.chip}'s table: no CPU fallback, the whole build fails"
    return f"not in {table.chip}'s table"


def of_outputs(graph: ir.Graph) -> list[Finding]:
    """Outputs that put probabilities and raw numbers into one tensor: at 8 bits one scale serves both."""
    found = []
    seen: set[ir.Node] = set()
    for output in graph.outputs:
        for node in _concats(output):
            if node in seen:
                continue
            seen.add(node)
            bounded, free = _kinds(node)
            if bounded and free:
                text = f"joins {', '.join(sorted(bounded))} and {', '.join(sorted(free))} in '{output.name}'"
                limit = "one 8-bit scale serves both, and probabilities vanish: give each its own output"
                found.append(finding(node, "ranges", text, limit, "by hand"))
    return found


def finding(node: ir.Node, attribute: str, found: str, limit: str, verdict: Verdict) -> Finding:
    """A finding about `node`."""
    return Finding(
        node=name(node),
        operator=node.op_type,
        tensor=_first(node),
        attribute=attribute,
        found=found,
        limit=limit,
        verdict=verdict,
    )


def name(node: ir.Node) -> str:
    """The node's name, or that of the first tensor it makes."""
    return node.name or _first(node)


def _first(node: ir.Node) -> str:
    return next((str(value.name) for value in node.outputs if value.name), "")


def _one(view: View) -> str | None:
    """The constant operand that changes nothing; None when there is none, or when it makes the other one larger."""
    node = view.node
    if len(node.inputs) != 2:
        return None
    for index in (1,) if node.op_type == "Div" else (1, 0):
        value, other = node.inputs[index], node.inputs[1 - index]
        found = constants.array(value)
        if found is None or value is None or other is None or found.size == 0 or (found != np.ones_like(found)).any():
            continue
        if view.shapes.get(str(other.name)) == view.shapes.get(str(node.outputs[0].name)):
            return str(value.name)
    return None


def _concats(output: ir.Value) -> Iterator[ir.Node]:
    """The last Concat before `output`, if only moves come after it."""
    value: ir.Value | None = output
    for _ in range(_DEEPEST):
        node = walk.producer(value, *_MOVES)
        if node is None:
            return
        if node.op_type == "Concat":
            yield node
            return
        value = node.inputs[0]


def _kinds(concat: ir.Node) -> tuple[set[str], set[str]]:
    """The operators, bounded and not, whose results come together in `concat`."""
    bounded: set[str] = set()
    free: set[str] = set()
    seen: set[ir.Node] = set()
    waiting = [value for value in concat.inputs if value is not None]
    while waiting:
        value = waiting.pop()
        if constants.array(value) is not None:
            continue
        node = value.producer()
        if node in seen:
            continue
        if node is None:
            free.add(f"input '{value.name}'")
            continue
        seen.add(node)
        if walk.is_op(node, *_KEEP_RANGE):
            waiting += [one for one in node.inputs[: None if node.op_type == "Concat" else 1] if one is not None]
        else:
            (bounded if _is_bounded(node) else free).add(node.op_type)
    return bounded, free


def _is_bounded(node: ir.Node) -> bool:
    """Whether the operator says how large its results can be, and that is not much."""
    if walk.is_op(node, "Clip"):
        bounds = [constants.scalar(value) for value in node.inputs[1:3]]
        return len(bounds) == 2 and None not in bounds
    return walk.is_op(node, *_BOUNDED)
