"""What the words of the operator tables mean: each rule looks at one node and says what is wrong with it.

    unlimited: true            nothing to hold
    one_of: [a, b]             an attribute has one of these values; what ONNX takes when it is absent counts
    not: a                     it has any other value than this
    each: 1                    every entry of a list of numbers is this; an absent list counts as ones
    absent: true               an attribute or input is not given; `false`: it is
    last_axis: true            an axis is the last one of the first input
    rank: 1                    an input has so many axes
    scalar_initializer: true   an input is one constant number that is stored as an initializer
    slope: per_channel         a slope has the shape (channel,) or (1, channel, 1, 1) of an input with four axes
    within_end_pads: true      no entry is larger than the padding at the end of its axis
    information: true          no limit, but worth knowing
    by_hand: "look at ..."     a person must judge

A limit that has `when: {name: {word: value}}` counts only for nodes where all of these hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx_ir as ir

from workbench.graph import constants, walk
from workbench.graph.schemas import schema
from workbench.targets.pulsar2.operators import Limit, Rule, Subject

Dims = tuple[int | str | None, ...]


class Unknown(Exception):  # noqa: N818 -- it is no error: a person must look
    """A rule cannot be decided; the message says what is not known."""


@dataclass(frozen=True)
class View:
    """A node, with what stands for absent attributes.

    Attributes:
        opset: the graph's operator set.
        shapes: of every tensor, by name.
    """

    node: ir.Node
    opset: int
    shapes: Mapping[str, Dims] = field(repr=False)

    @property
    def schema(self) -> onnx.defs.OpSchema | None:
        """ONNX's definition of the operator; None when it has none."""
        return schema(self.node.op_type, self.opset) if walk.is_op(self.node) else None

    def attribute(self, name: str) -> Any:
        """The value of an attribute: what is written, ONNX's default, or None."""
        written = self.node.attributes.get(name)
        if written is not None:
            if written.is_ref():
                raise Unknown(f"{name} is known only to the caller of a function")
            return _plain(written)
        return self.default(name)

    def default(self, name: str) -> Any:
        """What ONNX takes for an absent attribute; None when that is computed, or nothing."""
        known = self.schema
        definition = known.attributes.get(name) if known is not None else None
        if definition is None or definition.default_value.type == onnx.AttributeProto.UNDEFINED:
            return None
        return _plain(ir.serde.deserialize_attribute(definition.default_value))

    def input(self, name: str) -> ir.Value | None:
        """The tensor given for the input of this name; None when there is none, or an empty constant."""
        known = self.schema
        places = [one.name for one in known.inputs] if known is not None else []
        if name not in places or places.index(name) >= len(self.node.inputs):
            return None
        value = self.node.inputs[places.index(name)]
        found = constants.array(value)
        return None if found is not None and found.size == 0 else value

    def dims(self, value: ir.Value | None) -> Dims:
        """The shape of a tensor.

        Raises:
            Unknown: nobody knows it.
        """
        name = value.name if value is not None else None
        if not name or name not in self.shapes:
            raise Unknown(f"the shape of '{name or 'a tensor'}' is not known")
        return self.shapes[name]


Check = Callable[[View, Subject, str, Any], str | None]


def broken(view: View, limit: Limit) -> str | None:
    """What the node has that `limit` forbids, e.g. ``is SAME_UPPER``; None when it holds or does not count.

    Raises:
        Unknown: a person must decide; the message says what.
    """
    if any(_asks(view, name, rule) is not None for name, rule in limit.when):
        return None
    return _word(limit.rule)(view, limit.subject, limit.name, limit.rule.value)


def counts(view: View, limit: Limit) -> bool:
    """Whether the conditions of `limit` hold for the node."""
    return all(_asks(view, name, rule) is None for name, rule in limit.when)


def _asks(view: View, name: str, rule: Rule) -> str | None:
    known = view.schema
    subject: Subject = "input" if known is not None and name in [one.name for one in known.inputs] else "attribute"
    return _word(rule)(view, subject, name, rule.value)


def _word(rule: Rule) -> Check:
    check = RULES.get(rule.word)
    if check is None:
        raise Unknown(f"the table's rule '{rule}' cannot be interpreted")
    return check


def _nothing(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    return None


def _one_of(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    found = view.attribute(name)
    if not isinstance(value, tuple):
        raise Unknown(f"one_of needs a list, not {value!r}")
    known = view.schema
    if name not in view.node.attributes and known is not None and name not in known.attributes:
        return None  # newer than the operator set, as noop_with_empty_axes of ReduceMean is before 18
    return None if found in value else f"is {shown(found)}"


def _not(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    found = view.attribute(name)
    return f"is {shown(found)}" if found == value else None


def _each(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    found = view.attribute(name)
    if found is None:
        return None
    entries = found if isinstance(found, tuple) else (found,)
    return f"is {shown(found)}" if any(entry != value for entry in entries) else None


def _absent(view: View, subject: Subject, name: str, value: Any) -> str | None:
    given = name in view.node.attributes or view.input(name) is not None
    if given is not bool(value):
        return None
    if not given:
        return "is not given"
    return (
        f"is {shown(view.attribute(name))}" if subject == "attribute" and name in view.node.attributes else "is given"
    )


def _last_axis(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    found = view.attribute(name)
    if found == -1:
        return None
    rank = len(view.dims(view.node.inputs[0] if view.node.inputs else None))
    return None if found == rank - 1 else f"is {shown(found)} of {rank} axes"


def _rank(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    rank = len(view.dims(view.input(name)))
    return None if rank == value else f"has {rank} dimension{'' if rank == 1 else 's'}"


def _scalar_initializer(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    given = view.input(name)
    found = constants.array(given)
    if found is None or given is None:
        return "is computed at run time"
    if found.size != 1:
        return f"has the shape {_dims(found.shape)}"
    if not given.is_initializer():
        raise Unknown("a Constant node, which is not said to be taken for an initializer")
    return None


def _slope(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    dims = view.dims(view.node.inputs[0] if view.node.inputs else None)
    slope = view.dims(view.input(name))
    if len(dims) != 4:
        raise Unknown(f"an input with {len(dims)} axes, of which nothing is said")
    if slope == (1, dims[1], 1, 1):
        return None
    if slope == (dims[1],):
        if dims[1] == 1:
            return None
        # ONNX lines up shapes at the end: there (channel,) means one slope a column, which the sentence cannot mean.
        raise Unknown(f"the shape {_dims(slope)}, which ONNX reads as one slope a column")
    return f"has the shape {_dims(slope)} for {dims[1]} channels"


def _within_end_pads(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    extra = view.attribute(name)
    if not extra:
        return None
    pads = view.attribute("pads") or (0,) * (2 * len(extra))
    ends = pads[len(pads) // 2 :]
    if len(ends) != len(extra):
        raise Unknown(f"{name} {shown(extra)} does not fit the pads {shown(pads)}")
    outside = any(more > end for more, end in zip(extra, ends, strict=True))
    return f"is {shown(extra)}, the pads end with {shown(tuple(ends))}" if outside else None


def _by_hand(view: View, subject: Subject, name: str, value: Any) -> str | None:  # noqa: ARG001 -- a check
    raise Unknown(str(value))


RULES: Mapping[str, Check] = {
    "unlimited": _nothing,
    "one_of": _one_of,
    "not": _not,
    "each": _each,
    "absent": _absent,
    "last_axis": _last_axis,
    "rank": _rank,
    "scalar_initializer": _scalar_initializer,
    "slope": _slope,
    "within_end_pads": _within_end_pads,
    "information": _nothing,
    "by_hand": _by_hand,
}


def shown(value: Any) -> str:
    """An attribute's value for a message."""
    if value is None:
        return "absent"
    if isinstance(value, tuple):
        return f"[{', '.join(shown(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dims(dims: Sequence[int | str | None]) -> str:
    return f"({', '.join('?' if one is None else str(one) for one in dims)}{',' if len(dims) == 1 else ''})"


def _plain(attribute: ir.Attr) -> Any:
    """An attribute as plain Python; element types by ONNX's lower-case names."""
    if attribute.type == ir.AttributeType.INT:
        number = attribute.as_int()
        return type_name(number) if attribute.name == "to" else number
    if attribute.type == ir.AttributeType.FLOAT:
        return attribute.as_float()
    if attribute.type == ir.AttributeType.STRING:
        return attribute.as_string()
    if attribute.type == ir.AttributeType.INTS:
        return tuple(attribute.as_ints())
    if attribute.type == ir.AttributeType.FLOATS:
        return tuple(attribute.as_floats())
    if attribute.type == ir.AttributeType.STRINGS:
        return tuple(attribute.as_strings())
    return attribute.type.name.lower()


_TYPES = {"float": "float32", "double": "float64"}


def type_name(number: int) -> str:
    """An ONNX element type as the tables write it: 1 is ``float32``."""
    try:
        name = ir.DataType(number).name.lower()
    except ValueError:
        return f"element type {number}"
    return _TYPES.get(name, name)
