"""Tell which tensors of a network's nested result are the recipe's outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.catalog import did_you_mean
from workbench.errors import RecipeError, SourceError
from workbench.recipe.schema import OutputSpec


@dataclass(frozen=True)
class Picker:
    """The places of the recipe's outputs in a result, e.g. ``heads.0``, in the recipe's order."""

    paths: tuple[str, ...]

    def __call__(self, result: Any) -> tuple[Any, ...]:
        """The recipe's outputs of one result."""
        tensors = dict(_flatten(result))
        return tuple(tensors[path] for path in self.paths)


def match(result: Any, outputs: Sequence[OutputSpec]) -> Picker:
    """Match `result` with the recipe: by name where the network names its results, else by position.

    Args:
        result: tensors in tuples, lists and mappings.
        outputs: the recipe's outputs.

    Raises:
        RecipeError: another number of outputs, or other names.
        SourceError: the network gives something that is no tensor.
    """
    tensors = dict(_flatten(result))
    if len(tensors) != len(outputs):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors.values())
        raise RecipeError(
            f"the network gives {len(tensors)} output{'s' * (len(tensors) != 1)}, the recipe names {len(outputs)}",
            fix=f"name them all, in this order: {shapes}; the pass cut_outputs drops some later",
            at=("outputs",),
        )
    if not isinstance(result, Mapping):
        return Picker(tuple(tensors))
    for index, spec in enumerate(outputs):
        if spec.source_tensor not in tensors:
            raise RecipeError(
                f"the network has no output called {spec.source_tensor!r}",
                fix=did_you_mean(spec.source_tensor, tensors),
                at=("outputs", index, "tensor" if spec.tensor else "name"),
            )
    return Picker(tuple(spec.source_tensor for spec in outputs))


def _flatten(result: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if hasattr(result, "shape") and hasattr(result, "dtype"):
        yield path or "0", result
        return
    if isinstance(result, Mapping):
        parts = list(result.items())
    elif isinstance(result, tuple | list):
        parts = list(enumerate(result))
    elif result is None:
        return
    else:
        raise SourceError(
            f"the network gives a {type(result).__name__} where a tensor was expected",
            fix="write a factory whose network returns its raw tensors only",
        )
    for key, part in parts:
        yield from _flatten(part, f"{path}.{key}" if path else str(key))
