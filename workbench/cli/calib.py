"""`workbench calib`: calibration pictures, drawn, looked at or packed."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli import _options


@click.group(short_help="Draw, show or pack calibration pictures.")
def command() -> None:
    """Draw the calibration people, or see and pack what a recipe is calibrated on."""


@command.command()
@click.option(
    "--out", type=_options.FILE, default=Path("calib_data/people"), show_default=True, help="Folder to write."
)
@click.option("--count", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Pictures to draw.")
@click.option("--seed", type=int, default=None, help="Another seed draws other people.")
def synth(out: Path, count: int, seed: int | None) -> None:
    """Draw people with exact COCO-17 keypoints: the same bytes on every run (CC0)."""
    from workbench.calib.people import SEED, draw_people
    from workbench.cli._display import Display

    with Display("people") as display:
        draw_people(out, count, SEED if seed is None else seed, progress=display)
    click.echo(f"{count} pictures, keypoints.json and manifest.json in {out}")


@command.command()
@_options.recipe
@_options.overrides
@_options.as_json
def show(recipe: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say which pictures a recipe is calibrated on and which it is judged by."""
    import json

    from workbench.calib.pictures import Unreadable, choose, fingerprint, hold_out, open_picture
    from workbench.pipeline import check, located, picture_set, store_of_environment
    from workbench.recipe.load import load

    loaded = load(recipe, overrides)
    spec = loaded.recipe.calibration
    store = store_of_environment()
    with located(loaded):
        found = picture_set(loaded, store)
        check(loaded, store)
    golden, rest = hold_out(found.paths, loaded.recipe.parity.samples)
    used = choose(rest, spec.count)
    opened = [open_picture(path) for path in (*golden, *used)]
    unreadable = [entry for entry in opened if isinstance(entry, Unreadable)]
    report = {
        "origin": found.origin,
        "found": len(found.paths),
        "fingerprint": fingerprint(found.paths, found.root),
        "parity": [path.name for path in golden],
        "calibration": [path.name for path in used],
        "crops": spec.crops,
        "unreadable": {entry.path.name: entry.reason for entry in unreadable},
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    click.echo(f"{found.origin}: {len(found.paths)} pictures")
    click.echo(f"parity       {len(golden)}: {', '.join(path.name for path in golden)}")
    click.echo(f"calibration  {len(used)}: {', '.join(path.name for path in used)}")
    if spec.crops:
        click.echo(f"crops        {spec.crops} of each that calibrates")
    for entry in unreadable:
        click.echo(f"unreadable   {entry.path.name}: {entry.reason}")
    click.echo(f"fingerprint  {report['fingerprint']}")


@command.command()
@_options.recipe
@_options.overrides
@click.option("--out", type=_options.FILE, required=True, help="Folder for <input>.tar.")
@click.option("--format", "form", type=click.Choice(["image", "numpy"]), default="image", show_default=True)
def pack(recipe: Path, overrides: tuple[str, ...], out: Path, form: str) -> None:
    """Write the calibration archives Pulsar2 reads: fitted PNG pictures, or float32 .npy tensors."""
    import tempfile

    from workbench.calib.pack import pack_images, pack_numpy
    from workbench.calib.pictures import hold_out, read_fitted, write_fitted
    from workbench.calib.preprocess import to_tensor
    from workbench.cli._display import Display
    from workbench.pipeline import picture_set, store_of_environment
    from workbench.recipe.load import load

    loaded = load(recipe, overrides)
    calibration = loaded.recipe.calibration
    found = picture_set(loaded, store_of_environment())
    _, rest = hold_out(found.paths, loaded.recipe.parity.samples)
    out.mkdir(parents=True, exist_ok=True)
    for spec in loaded.recipe.inputs:
        with Display(spec.name) as display, tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / spec.name
            fitted = write_fitted(
                rest,
                spec,
                folder,
                count=calibration.count,
                minimum=calibration.least,
                crops=calibration.crops,
                progress=display,
            )
            archive = out / f"{spec.name}.tar"
            if form == "image":
                pack_images(folder, archive)
            else:
                pack_numpy((to_tensor(picture, spec) for picture in read_fitted(folder)), archive)
        click.echo(f"{archive}: {len(fitted.written)} pictures")
