"""The contract of a surgery pass: requires, apply, ensures, and a report of what was done and what was left alone.

A pass is one file of this folder. The file name is its name in a recipe; ``PASS`` at module level is its class, a
frozen keyword-only dataclass whose fields are its options. Files that begin with an underscore are machinery.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Mapping
from typing import ClassVar, Self, final

import onnx
import onnx_ir as ir
import yaml
from pydantic import ConfigDict, TypeAdapter

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError, UnsupportedError
from workbench.graph import shapes, walk

_OLDEST_OPSET = 13  # since then Clip, Pad, Squeeze and Split take what passes look at as inputs, not attributes


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreprocessChange:
    """How the tensor that an input wants now follows from the one it wanted before.

    ``new = (old - mean) / std`` per channel, one value or one a channel; then the channels are reversed.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    reverse_channels: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edits:
    """What a pass did. It is true when the graph changed.

    Attributes:
        changed: what was done, one line a node or tensor.
        left: what was left alone, ``node or tensor: reason``.
        renamed: tensors that have another name now, old name -> the name of the tensor with the same values.
        removed: tensors that are gone, in graph order; filled in by the base class. A tensor that is neither renamed
            nor removed has the values it had.
        preprocess: what an input wants now, by input name.
    """

    changed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    removed: tuple[str, ...] = ()
    preprocess: Mapping[str, PreprocessChange] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changed)


class Pass(abc.ABC):
    """The base of all passes. Call an instance to run it: the model is changed in place.

    A pass implements `apply` and `example`, and `requires` when it can say early that it cannot be done.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    chooses_outputs: ClassVar[bool] = False
    """Whether the graph may have other outputs afterwards; every other pass keeps them, or says so in `renamed`."""

    @final
    def __call__(self, model: ir.Model) -> Edits:
        """Run the three steps. After an error the model is in no defined state and must be thrown away.

        Raises:
            RecipeError: the options name what the graph does not have.
            UnsupportedError: the graph is not one that passes take.
        """
        before = shapes.outline(model)
        _takes(model)
        shapes.check(before)
        names = _Names.of(model)
        self.requires(model)
        edits = self.apply(model)
        if not edits:
            # Compared as bytes: two equal messages that hold a NaN compare unequal.
            if _bytes(shapes.outline(model)) != _bytes(before):
                raise RuntimeError(f"pass {self.name()} changed the graph and did not say so")
            return edits
        self.ensures(model)
        names.compare(self, model, edits)
        alive = walk.made(model.graph)
        removed = tuple(name for name in names.made if name not in alive and name not in edits.renamed)
        return dataclasses.replace(edits, removed=removed)

    def requires(self, model: ir.Model) -> None:  # noqa: B027 -- most passes take every graph
        """Refuse a model, or options that do not fit it, before anything is changed.

        Raises:
            RecipeError: an option names a node or tensor that is not there.
            UnsupportedError: the pass cannot be done on this graph.
        """

    @abc.abstractmethod
    def apply(self, model: ir.Model) -> Edits:
        """Change `model` in place and say what was done; no `changed` line means that nothing was touched."""

    def ensures(self, model: ir.Model) -> None:
        """Check what is left: a valid graph whose shapes can be inferred.

        Raises:
            RuntimeError: it is not; a bug of the pass.
        """
        try:
            shapes.check(shapes.outline(model))
        except UnsupportedError as error:
            raise RuntimeError(f"pass {self.name()} left a broken graph: {error.what}") from error

    @classmethod
    @abc.abstractmethod
    def example(cls) -> tuple[Self, ir.Model]:
        """The smallest graph that this pass changes, with the options that do it; for documentation and tests."""

    @classmethod
    def name(cls) -> str:
        """The name in a recipe: the file's."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def summary(cls) -> str:
        """One line of help: the first of the class docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    @classmethod
    def example_line(cls) -> str:
        """The example as a recipe says it, e.g. ``- cut_outputs: {tensors: [heat]}``."""
        return as_yaml(cls.example()[0])


def as_yaml(step: Pass) -> str:
    """`step` as one line of a recipe's `surgery` list, without the options that have their default."""
    given: dict[str, object] = TypeAdapter(type(step)).dump_python(step, mode="json", exclude_defaults=True)
    if not given:
        return f"- {step.name()}"
    options = yaml.safe_dump(given, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return f"- {step.name()}: {options.strip()}"


def control_flow(model: ir.Model) -> tuple[str, ...]:
    """A line for every node whose subgraphs a pass does not enter."""
    return tuple(
        f"{walk.label(node)}: passes do not enter subgraphs"
        for node in model.graph
        if next(walk.inner_graphs(node), None) is not None
    )


def _bytes(proto: onnx.ModelProto) -> bytes:
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _takes(model: ir.Model) -> None:
    """Whether passes can work on this model at all.

    Raises:
        UnsupportedError: an old operator set, or local functions.
    """
    opset = walk.opset(model)
    if opset < _OLDEST_OPSET:
        raise UnsupportedError(f"operator set {opset} is too old for surgery", fix="export at opset 17 or 18")
    if model.functions:
        names = ", ".join(sorted(function.name for function in model.functions.values()))
        raise UnsupportedError(f"the graph calls local functions ({names})", fix="inline them before surgery")


@dataclasses.dataclass(frozen=True)
class _Names:
    """The names a graph shows to the outside, and those of the tensors its nodes make."""

    inputs: tuple[str | None, ...]
    outputs: tuple[str | None, ...]
    made: tuple[str, ...]

    @classmethod
    def of(cls, model: ir.Model) -> _Names:
        graph = model.graph
        return cls(
            tuple(value.name for value in graph.inputs),
            tuple(value.name for value in graph.outputs),
            tuple(walk.made(graph)),
        )

    def compare(self, step: Pass, model: ir.Model, edits: Edits) -> None:
        """Check that no input or output got lost.

        Raises:
            RuntimeError: one did; a bug of the pass.
        """
        now = _Names.of(model)

        def follow(names: tuple[str | None, ...]) -> tuple[str | None, ...]:
            return tuple(edits.renamed.get(name, name) if name else name for name in names)

        if now.inputs != follow(self.inputs):
            raise RuntimeError(f"pass {step.name()} turned the inputs {self.inputs} into {now.inputs}")
        if not step.chooses_outputs and now.outputs != follow(self.outputs):
            raise RuntimeError(f"pass {step.name()} turned the outputs {self.outputs} into {now.outputs}")


def require_named(known: Mapping[str, object], names: tuple[str, ...], option: str, what: str) -> None:
    """Check that every name an option gives exists.

    Raises:
        RecipeError: one does not; the near miss is named.
    """
    for index, name in enumerate(names):
        if name not in known:
            raise RecipeError(f"no {what} called '{name}'", fix=near(name, known), at=(option, index))


def near(name: str, known: Mapping[str, object]) -> str:
    """The fix for an unknown name: what was probably meant, or where to look when a list would fill the screen."""
    guess = did_you_mean(name, known)
    if len(guess) <= 200:
        return guess
    return f"none of the {len(known)} names is near; look at the exported ONNX in a viewer"
