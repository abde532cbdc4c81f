"""Fit the parameters of a checkpoint to those of a network by the recipe's rules, or say what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from workbench.catalog import did_you_mean
from workbench.engine.progress import Progress
from workbench.errors import SourceError
from workbench.recipe.schema import Strict

_SHOWN = 8
_COUNTERS = "num_batches_tracked"  # batch norms before PyTorch 0.4.1 did not count; evaluation never reads it


class Rename(Strict):
    """One replacement of the start of parameter names."""

    start: Annotated[str, Field(alias="from", min_length=1, description="how names in the file begin")]
    to: Annotated[str, Field(description="what the network's names have instead; may be empty")]


class StateDict(Strict):
    """Where the parameters are in the checkpoint, and how their names become the network's."""

    key: Annotated[
        str | None, Field(min_length=1, description="the checkpoint's entry that holds the parameters, e.g. state_dict")
    ] = None
    drop_prefix: Annotated[
        str | None, Field(min_length=1, description="taken off the file's names where they begin with it, e.g. module.")
    ] = None
    rename: Annotated[
        tuple[Rename, ...], Field(description="replacements of the start of the file's names, each applied in turn")
    ] = ()
    drop_first: Annotated[
        bool,
        Field(
            description="the file's names lack the first component of the network's: conv1.weight for net.conv1.weight"
        ),
    ] = False


def select(checkpoint: Any, options: StateDict, where: str) -> dict[str, Any]:
    """The {name: tensor} part of a loaded checkpoint.

    Raises:
        SourceError: there is no such key, or what is there is no mapping of names to tensors.
    """
    found = checkpoint
    if options.key is not None:
        if not isinstance(checkpoint, Mapping) or options.key not in checkpoint:
            keys = [str(key) for key in checkpoint] if isinstance(checkpoint, Mapping) else []
            raise SourceError(
                f"the checkpoint has no entry {options.key!r}; it has {_some(keys)}",
                where=where,
                fix=f"correct source.state_dict.key: {did_you_mean(options.key, keys[:_SHOWN])}"
                if _nested(checkpoint)
                else "remove source.state_dict.key: the parameters are at the top level",
            )
        found = checkpoint[options.key]
    if isinstance(found, Mapping) and found and all(_is_tensor(value) for value in found.values()):
        return {str(name): value for name, value in found.items()}
    nested = _nested(found)
    if nested:
        raise SourceError(
            f"the parameters are not at the top of the checkpoint; it has {_some(map(str, found))}",
            where=where,
            fix=f"write source.state_dict.key: {nested[0]}",
        )
    raise SourceError(
        "no parameters inside: not a mapping of names to tensors",
        where=where,
        fix="give a checkpoint saved with torch.save(network.state_dict(), file)",
    )


def fit(
    network: Mapping[str, Sequence[int]], file: Mapping[str, Any], options: StateDict, where: str, progress: Progress
) -> dict[str, Any]:
    """{the network's name: tensor}, complete except for batch counters.

    Args:
        network: name and shape of every entry of the network's state_dict.
        file: the file's names and tensors (anything with a ``shape``).
        options: the renaming rules.
        where: the file, for messages.
        progress: told which counters are missing.

    Raises:
        SourceError: a rule is ambiguous, or parameters are missing, unexpected or of another shape; all are listed.
    """
    renamed = _renamed(file, options, where)
    keys = _expected(network, renamed, options, where)
    fitted = {name: renamed[key] for name, key in keys.items() if key in renamed}
    missing = [name for name in network if name not in fitted]
    counters = [name for name in missing if name.rpartition(".")[2] == _COUNTERS]
    missing = [name for name in missing if name not in set(counters)]
    read = {keys[name] for name in fitted}
    unexpected = [key for key in renamed if key not in read]
    misshapen = [
        f"{name} {list(tensor.shape)}, network {list(network[name])}"
        for name, tensor in fitted.items()
        if list(tensor.shape) != list(network[name])
    ]
    complaints = [
        f"{title}: {_some(names)}"
        for title, names in (
            ("missing from the file", missing),
            ("unexpected in the file", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]
    if complaints:
        raise SourceError(
            "\n  ".join(
                [f"the checkpoint does not fit the network's {len(network)} parameters and buffers", *complaints]
            ),
            where=where,
            fix=_hint(network, renamed, missing) or "give this network's checkpoint, or correct source.factory",
        )
    if counters:
        progress.note(f"the checkpoint lacks {len(counters)} {_COUNTERS} (saved by an old PyTorch); not needed")
    return fitted


def _renamed(file: Mapping[str, Any], options: StateDict, where: str) -> dict[str, Any]:
    rules = [*([(options.drop_prefix, "")] if options.drop_prefix else []), *((r.start, r.to) for r in options.rename)]
    renamed: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, tensor in file.items():
        new = name
        for start, to in rules:
            if new.startswith(start):
                new = to + new[len(start) :]
        if new in renamed:
            raise SourceError(
                f"{origin[new]!r} and {name!r} both become {new!r}",
                where=where,
                fix="make source.state_dict.rename more specific",
            )
        renamed[new] = tensor
        origin[new] = name
    return renamed


def _expected(
    network: Mapping[str, Sequence[int]], file: Mapping[str, Any], options: StateDict, where: str
) -> dict[str, str]:
    """The name that each of the network's parameters has in the (renamed) file."""
    if not options.drop_first:
        return {name: name for name in network}
    keys = {name: name.partition(".")[2] for name in network}
    owner: dict[str, str] = {}
    for name, key in keys.items():
        if key in owner and key in file:
            raise SourceError(
                f"drop_first is ambiguous: {key!r} in the file could be {owner[key]!r} or {name!r}",
                where=where,
                fix="write source.state_dict.rename rules instead",
            )
        owner.setdefault(key, name)
    return keys


def _hint(network: Mapping[str, Sequence[int]], file: Mapping[str, Any], missing: Sequence[str]) -> str:
    """A rule that would make every name fit, where there is an easy one."""
    names = {name for name in network if name.rpartition(".")[2] != _COUNTERS}
    if not missing:
        return ""
    first = next(iter(file)).partition(".")[0] + "."
    if names <= {key.removeprefix(first) for key in file}:
        return f"write source.state_dict.drop_prefix: '{first}'"
    if {name.partition(".")[2] for name in names} <= set(file):
        return "write source.state_dict.drop_first: true"
    return ""


def _nested(found: Any) -> list[str]:
    """The entries of a checkpoint that hold parameters."""
    if not isinstance(found, Mapping):
        return []
    return [
        str(key)
        for key, value in found.items()
        if isinstance(value, Mapping) and value and all(_is_tensor(inner) for inner in value.values())
    ]


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more if listed else "none"
