"""`workbench eval`: do the files of a network see the same people, and the right ones?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import _options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.cli._artifacts import Chosen
    from workbench.cli._sight import Seen
    from workbench.engine.progress import Progress
    from workbench.pose.decode import Decoder
    from workbench.pose.labels import Label, Labels


@click.command(short_help="Compare the people that the files of a network see.")
@click.argument("named", nargs=-1, required=True, type=_options.FILE, metavar="RECIPE|MODEL...")
@click.option("--images", required=True, type=_options.FILE, metavar="DIR", help="Folder of pictures.")
@click.option("--annotations", type=_options.FILE, help="Labels of these pictures, as a COCO-style json.")
@click.option("--recipe", type=_options.FILE, help="For model files: the recipe that says what their outputs mean.")
@click.option("--samples", type=click.IntRange(min=1), help="Use so many pictures, evenly spread; all when left out.")
@click.option("--dist", type=_options.FILE, default=Path("dist"), show_default=True, help="Where results are.")
@_options.toolchain
@_options.as_json
def command(
    named: tuple[Path, ...],
    images: Path,
    annotations: Path | None,
    recipe: Path | None,
    samples: int | None,
    dist: Path,
    as_json: bool,
) -> None:
    """Decode people from what every file of a network answers, and compare them with those of the float one.

    For a RECIPE these are the files in dist/<recipe>/. Of several MODEL files the first is the reference. A row says
    how far joints moved (in pixels of the picture, in torsos, and how many by at most 5 % of the picture), which were
    lost or gained, who was missed or invented, and limbs that join two people of the reference.

    With --annotations each file is also judged by labels: PCK (shares of the person's box), PCKh (from head top to
    neck, where both are labelled) and COCO's average precision of keypoints.

    Exits with 4 when the reference finds nobody: there is nothing to compare then.

    Example: workbench eval recipes/cpm.yaml --images pictures/ --annotations labels.json
    """
    import json

    from workbench.calib.pictures import choose
    from workbench.calib.sets import find_pictures
    from workbench.cli import _artifacts, _evaluated
    from workbench.cli._display import Display, output
    from workbench.errors import RecipeError
    from workbench.pose import labels as labelling

    if not images.is_dir():
        raise RecipeError("no such folder", where=str(images), fix="name a folder of pictures with --images")
    meant = _artifacts.chosen(named, recipe, dist)
    reader = _reader(meant)
    folder = images.resolve()
    every = find_pictures(str(folder), Path()).paths
    paths = choose(every, samples or len(every))
    told = labels = None
    if annotations is not None:
        told = labelling.read(annotations, reader.skeleton)
        of = labelling.of_pictures(told, [path.relative_to(folder).as_posix() for path in every], str(annotations))
        names = [path.relative_to(folder).as_posix() for path in paths]
        labels = {place: of[name] for place, name in enumerate(names) if name in of}
    with Display(meant.loaded.recipe.name) as display:
        looked = _look(meant, reader, paths, display)
    reference = looked[0]
    assert not isinstance(reference, Exception)  # noqa: S101 -- _look raises then
    if told is not None and labels is not None:
        _check_sizes(told, labels, paths, reference, str(annotations))
    entries: list[dict[str, Any]] = []
    for one, seen in zip(meant.artifacts, looked, strict=True):
        entry = {"file": one.label, "reference": one is meant.artifacts[0], "optional": one.optional}
        if isinstance(seen, Exception):
            entries.append({**entry, "failed": getattr(seen, "what", str(seen))})
            continue
        entry |= _evaluated.seen_entry(seen)
        entry["agreement"] = None if entry["reference"] else _evaluated.compared(reference, seen, reader.skeleton)
        entry["labels"] = None if labels is None else _evaluated.scored(seen, labels, reader.skeleton)
        entries.append(entry)
    result = {
        "recipe": meant.loaded.recipe.name,
        "skeleton": reader.skeleton.name,
        "pictures": {"folder": folder.name, "count": len(paths), "labelled": None if labels is None else len(labels)},
        "artifacts": entries,
        "not_deployable_because": list(meant.random),
        "notes": _notes(meant, looked, paths, labels, told),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _evaluated.show(result, output())
    _judge(meant, looked, entries, images)


def _reader(meant: Chosen) -> Decoder:
    from workbench.errors import RecipeError
    from workbench.pose.decode import decoder
    from workbench.pose.skeletons import skeleton

    recipe = meant.loaded.recipe
    _, _, height, width = recipe.inputs[0].nchw
    try:
        return decoder(recipe.outputs, skeleton(recipe.joints), (width, height))
    except RecipeError as error:
        error.where = meant.loaded.marks.where(error.at or ())
        raise


def _look(meant: Chosen, reader: Decoder, paths: Sequence[Path], display: Any) -> list[Seen | Exception]:
    """What each file sees, or why it could not be asked; that of the reference is an error at once."""
    from workbench.cli._sight import look
    from workbench.errors import RecipeError, WorkbenchError

    looked: list[Seen | Exception] = []
    for one in meant.artifacts:
        display.begin(one.label)
        progress: Progress = display
        try:
            looked.append(look(one.path, one.told.specs, one.told.origin, reader, paths, progress))
        except WorkbenchError as error:
            if isinstance(error, RecipeError) or not looked:
                raise
            looked.append(error)
    return looked


def _check_sizes(
    told: Labels, labels: Mapping[int, Sequence[Label]], paths: Sequence[Path], seen: Seen, where: str
) -> None:
    """Labels in pixels of pictures of another size are labels of other pictures."""
    from workbench.errors import RecipeError

    by_name = {Path(name.replace("\\", "/")).name: size for name, size in told.sizes.items()}
    for place in labels:
        size = by_name.get(paths[place].name, seen.sizes[place])
        if size != seen.sizes[place]:
            width, height = seen.sizes[place]
            raise RecipeError(
                f"{paths[place].name} is {width} x {height} pixels, and {size[0]} x {size[1]} in the labels",
                where=where,
                fix="give the pictures that were labelled",
            )


def _notes(
    meant: Chosen,
    looked: Sequence[Seen | Exception],
    paths: Sequence[Path],
    labels: Mapping[int, Sequence[Label]] | None,
    told: Labels | None,
) -> list[str]:
    from workbench.cli._prepared import count

    notes = [one.told.note for one in meant.artifacts]
    notes += [note for seen in looked if not isinstance(seen, Exception) for note in seen.notes]
    if labels is not None and len(labels) < len(paths):
        notes.append(f"{count(len(paths) - len(labels), 'picture')} without labels: compared, not scored")
    if told is not None and (without := [name for name in told.skeleton.joints if name not in told.joints]):
        notes.append(f"not labelled, so not scored: {', '.join(without)}")
    if known := _calibrated(meant, paths):
        notes.append(f"{count(known, 'picture')} also calibrated: on them 8 bits look better than they are")
    return list(dict.fromkeys(note for note in notes if note))


def _calibrated(meant: Chosen, paths: Sequence[Path]) -> int:
    """How many of the pictures ranges were measured on."""
    from workbench.calib.pictures import choose, hold_out, same_content
    from workbench.calib.sets import find_pictures
    from workbench.errors import WorkbenchError

    recipe = meant.loaded.recipe
    if recipe.quantization is None:
        return 0
    try:
        found = find_pictures(recipe.calibration.pictures, meant.loaded.base)
    except WorkbenchError:  # they are not on this machine, so none of them is among these
        return 0
    _, rest = hold_out(found.paths, recipe.parity.samples)
    return len(same_content(paths, choose(rest, recipe.calibration.count)))


def _judge(
    meant: Chosen, looked: Sequence[Seen | Exception], entries: Sequence[Mapping[str, Any]], images: Path
) -> None:
    """Nobody to compare with is an error, and so is a file that could not be asked."""
    from workbench.errors import ParityError

    if not entries[0]["people"]:
        fix = "give pictures of people; check color, mean and std of the recipe's inputs, and its joints"
        if meant.random:
            fix = "random weights see nobody: convert with the real ones (workbench convert --weights FILE)"
        raise ParityError(
            f"the reference finds nobody in {images.name}: an evaluation of nothing",
            where=str(meant.artifacts[0].path),
            fix=fix,
        )
    for one, seen in zip(meant.artifacts, looked, strict=True):
        if isinstance(seen, Exception) and not one.optional:
            raise seen
