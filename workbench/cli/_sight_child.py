"""The process that runs one model for `_sight`: the job comes as JSON, people go back; a line for every picture."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.calib.feeding import Camera
from workbench.calib.pictures import Unreadable, open_picture
from workbench.calib.preprocess import Fit, fit_geometry, fit_picture
from workbench.catalog import did_you_mean
from workbench.cli._prepared import Side, Told, both
from workbench.cli._sight import describe, to_json
from workbench.errors import RecipeError, ToolError, WorkbenchError
from workbench.parity.pairing import Pair, pair
from workbench.pose.decode import Decoder, decoder
from workbench.pose.person import Person
from workbench.pose.skeletons import skeleton
from workbench.recipe.schema import InputSpec, OutputSpec
from workbench.runtimes import open_model
from workbench.runtimes._runner import Array, Port, Runner


def main() -> None:
    """Read the job, run the model, print the answer."""
    pipe = os.dup(1)
    os.dup2(2, 1)  # what a runtime prints is no answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one that started this ends it
    job = json.load(sys.stdin)
    with os.fdopen(pipe, "w", encoding="utf-8") as out:

        def say(told: Any) -> None:
            out.write(json.dumps(told) + "\n")
            out.flush()

        try:
            say(_seen(job, say))
        except WorkbenchError as error:
            say({"error": describe(error)})


def _seen(job: dict[str, Any], say: Callable[[Any], None]) -> dict[str, Any]:
    path, pictures = Path(job["model"]), [Path(one) for one in job["pictures"]]
    specs = tuple(InputSpec.model_validate_json(json.dumps(one)) for one in job["inputs"])
    outputs = [OutputSpec.model_validate_json(json.dumps(one)) for one in job["outputs"]]
    _, _, height, width = specs[0].nchw
    reader = decoder(outputs, skeleton(job["joints"]), (width, height))
    hardware, cameras = _compiled(path)
    sizes: list[tuple[int, int]] = []
    people: list[list[Any]] = []
    with open_model(path, hardware=hardware) as model:
        side = Side(path, model, cameras)
        told = Told(specs, job["origin"])
        feeds = both(side, side, (told, told), {})[0]
        pairs = _pairs(outputs, model, path)
        fits: list[Fit] = []

        def fed() -> Iterator[dict[str, Array]]:
            for picture_path in pictures:
                picture = open_picture(picture_path)
                if isinstance(picture, Unreadable):
                    raise ToolError(
                        f"not a picture: {picture.reason}", where=str(picture_path), fix="remove it from the folder"
                    )
                sizes.append(picture.size)
                fits.append(fit_geometry(picture.size, specs[0]))
                yield {one.port.name: one.of_pixels(fit_picture(picture, one.spec)) for one in feeds}

        for place, answers in enumerate(model.run_all(fed())):
            maps = {one.reference: np.asarray(one.to_reference(answers[one.got]), np.float32) for one in pairs}
            people.append([to_json(one) for one in _decoded(reader, maps, fits[place], path, pictures[place])])
            say(place + 1)
        notes = [f"{one.reference}: {one.note}" for one in pairs if one.note and "transposed" not in one.note]
        notes += [f"{path.name}: {one.note}" for one in feeds if one.note]
        notes += model.notes
        return {"runtime": model.runtime, "notes": notes, "sizes": sizes, "people": people}


def _compiled(path: Path) -> tuple[str, Mapping[str, Camera]]:
    """The chip and the cameras of a compiled model."""
    if path.suffix.lower() != ".axmodel":
        return "", {}
    from workbench.targets.pulsar2.fed import compiled  # it takes a second, and files of other kinds are many

    known = compiled(path)
    return known.hardware, known.cameras


def _decoded(reader: Decoder, maps: dict[str, Any], fit: Fit, path: Path, picture: Path) -> list[Person]:
    """The people in pixels of the picture."""
    for name, values in maps.items():
        wanted = next(spec for spec in reader.outputs.values() if spec.name == name).nchw
        if values.shape != wanted:
            raise ToolError(
                f"output {name!r} is {list(values.shape)}, and {list(wanted)} (NCHW) was declared",
                where=str(path),
                fix="give the recipe it was made with",
            )
    try:
        found = reader(maps)
    except ToolError as error:
        raise ToolError(f"{error.what} for {picture.name}", where=str(path), fix=error.fix) from error
    return [Person(fit.to_picture(one.joints), one.confidence) for one in found]


def _pairs(outputs: Sequence[OutputSpec], model: Runner, path: Path) -> tuple[Pair, ...]:
    """Which output of the file each one is: by the recipe's name, or that of the source."""
    ports = {port.name: port for port in model.outputs}
    mapping: dict[str, str] = {}
    for spec in outputs:
        source = spec.source_tensor
        known = [name for name in (spec.name, source, source.removesuffix(":0")) if name in ports]
        if not known:
            guess = did_you_mean(spec.name, list(ports)) if len(ports) > 1 else ""
            raise RecipeError(
                f"no output of the file is called {spec.name!r}; it has {', '.join(ports) or 'none'}",
                where=str(path),
                fix=f"give the recipe it was made with. {guess}".strip(),
            )
        mapping[spec.name] = known[0]
    wanted = [Port(spec.name, spec.nchw, "float32") for spec in outputs]
    read = [ports[name] for name in mapping.values()]
    try:
        return pair(wanted, read, reference_layout="NCHW", got_layout=model.layout, mapping=mapping)
    except WorkbenchError as error:
        raise RecipeError(error.what, where=str(path), fix="give the recipe it was made with") from error


if __name__ == "__main__":
    main()
