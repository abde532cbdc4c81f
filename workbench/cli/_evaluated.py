"""What `workbench eval` found: an entry for every file, and the table made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from workbench.cli._display import table
from workbench.cli._prepared import count
from workbench.pose.agreement import agreement, total
from workbench.pose.scores import scores

if TYPE_CHECKING:
    from rich.console import Console

    from workbench.cli._sight import Seen
    from workbench.pose.agreement import Agreement
    from workbench.pose.labels import Label
    from workbench.pose.skeletons import Skeleton

Entry = dict[str, Any]

_COMPARED = (
    ("median px", "median_px", "{:.2f}"),
    ("mean px", "mean_px", "{:.2f}"),
    ("mean torsos", "mean_torsos", "{:.3f}"),
    ("within 5 %", "near", "{:.1%}"),
    ("lost", "lost", "{}"),
    ("gained", "gained", "{}"),
    ("missed", "missed", "{}"),
    ("invented", "invented", "{}"),
    ("re-attached", "reattached", "{}"),
)
_LABELLED = (("PCK@0.1", "pck_0.1", "{:.3f}"), ("PCKh", "pckh", "{:.3f}"), ("AP", "ap", "{:.3f}"))
# A column is left out where the terminal is narrower: json has all.
_WANTED = {"mean torsos": 140, "re-attached": 125, "people": 110, "invented": 104, "gained": 100, "median px": 96}


def seen_entry(seen: Seen) -> Entry:
    """Who was found, and where."""
    everybody = [person for people in seen.people for person in people]
    return {
        "runtime": seen.runtime,
        "people": len(everybody),
        "joints": int(sum(person.found.sum() for person in everybody)),
        "pictures_with_nobody": sum(not people for people in seen.people),
    }


def compared(reference: Seen, seen: Seen, skeleton: Skeleton) -> Entry:
    """The agreement of two files over all pictures; numbers about joints are None when no joint was found by both."""
    pictures = zip(reference.people, seen.people, reference.sizes, strict=True)
    found = total(agreement(before, after, skeleton, size) for before, after, size in pictures)
    return {
        "people": found.people,
        "missed": found.missed,
        "invented": found.invented,
        "joints": found.joints,
        "near": found.near / found.joints if found.joints else None,
        "lost": found.lost,
        "gained": found.gained,
        "reattached": found.reattached,
        **_ways(found),
    }


def _ways(found: Agreement) -> Entry:
    """Median, mean and longest way of a joint in pixels, in shares of the picture and in torsos of its person."""
    told: Entry = {}
    for unit, ways in (("px", found.pixels), ("share", found.shares), ("torsos", found.torsos)):
        for name, summed in (("median", np.median), ("mean", np.mean), ("worst", np.max)):
            told[f"{name}_{unit}"] = float(summed(ways)) if ways else None
    return told


def scored(seen: Seen, labels: Mapping[int, Sequence[Label]], skeleton: Skeleton) -> Entry | None:
    """The scores on the pictures (by their place) that have labels; None when nobody is labelled."""
    judged = scores([seen.people[place] for place in labels], list(labels.values()), skeleton)
    if judged is None:
        return None
    told = asdict(judged)
    return {**{f"pck_{share:g}": value for share, value in told.pop("pck").items()}, **told}


def show(result: Entry, console: Console) -> None:
    """Print the table; a narrow terminal gets fewer columns rather than broken names."""
    entries: list[Entry] = result["artifacts"]
    labelled = [column for column in _LABELLED if any(_known(one, column[1]) for one in entries)]
    heads = ["file", "people", "joints", *(head for head, _, _ in (*_COMPARED, *labelled))]
    rows = [_row(one, labelled) for one in entries]
    kept = [place for place, head in enumerate(heads) if console.width >= _WANTED.get(head, 0)]
    columns = [(heads[place], "right" if place else "left") for place in kept]
    console.print(table("", columns, [[row[place] for place in kept] for row in rows]))
    pictures = result["pictures"]
    console.print(f"{count(pictures['count'], 'picture')} of {escape(pictures['folder'])}; moved, lost, gained: joints")
    console.print("missed, invented: people; re-attached: limbs; all against the reference; every number is in --json")
    judged = next((one["labels"] for one in entries if one.get("labels")), None)
    if judged:
        said = f"{count(judged['joints'], 'labelled joint')} of {judged['people']} people"
        console.print(f"{said} on {count(pictures['labelled'], 'picture')}: PCK in shares of the person's box")
    for one in entries:
        if "failed" in one:
            mark = "[yellow]not run[/]" if one["optional"] else "[bold red]failed[/]"
            console.print(f"{mark}: {escape(one['file'])}: {escape(one['failed'])}")
    for note in result["notes"]:
        console.print(f"note: {escape(note)}")
    for reason in result["not_deployable_because"]:
        console.print(f"[bold red]NOT DEPLOYABLE[/]: {escape(reason)}; what such a network sees is noise")


def _known(entry: Entry, score: str) -> bool:
    return (entry.get("labels") or {}).get(score) is not None


def _row(entry: Entry, labelled: Sequence[tuple[str, str, str]]) -> list[str]:
    name = escape(entry["file"]) + (" (reference)" if entry["reference"] else "")
    if "failed" in entry:
        return [name, *["-"] * (2 + len(_COMPARED) + len(labelled))]
    cells = [_cell(entry["agreement"], key, form) for _, key, form in _COMPARED]
    cells += [_cell(entry.get("labels"), key, form) for _, key, form in labelled]
    return [name, str(entry["people"]), str(entry["joints"]), *cells]


def _cell(told: Mapping[str, Any] | None, key: str, form: str) -> str:
    value = None if told is None else told[key]
    return "-" if value is None else form.format(value)
