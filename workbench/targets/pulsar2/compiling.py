"""Compile a written kit with a toolchain that was found, and take over only a result that is one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from workbench.engine.progress import Progress
from workbench.errors import ToolError
from workbench.graph.io import is_compiled, read_proto
from workbench.runtimes.pulsar2_tool import Toolchain
from workbench.targets.pulsar2 import render
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.widths import WIDTHS_AT, doubts

LOG = "build.log"
TABLE = "precision_analysis_table.txt"
_TABLE_AT = f"quant/debug/{TABLE}"


def compile_kit(
    toolchain: Toolchain,
    name: str,
    chip: str,
    options: Options,
    out: Path,
    progress: Progress,
    u16: Sequence[str] = (),
) -> list[str]:
    """Compile the kit in ``out/pulsar2/<chip>/`` and the model beside it to ``out/<name>.<chip>.axmodel``.

    The tool sees a copy of both, never `out` itself. Its log stays in the kit,
    whether it succeeds or not. Tensors of `u16` that it left at 8 bits are a warning.

    Returns:
        The files added, relative to `out`: the compiled model first.

    Raises:
        ToolError: the tool failed, or what it wrote is no compiled model.
    """
    inside = render.folder(chip)
    kit = out / inside
    log = kit / LOG
    progress.note(f"{chip}: compiling with {toolchain}")
    work = out / ".pulsar2-work"
    try:
        _copy(kit, work / inside, out / render.MODEL, work / render.MODEL)
        arguments = render.arguments(chip, options)
        toolchain.run(arguments, work, log, progress, options.timeout_minutes * 60.0, inside=inside)
        built = work / inside / render.OUTPUT_DIR
        compiled = built / render.OUTPUT_NAME
        _check(compiled, log)
        added = {f"{name}.{chip.lower()}.axmodel": compiled}
        if options.precision_analysis and _is_plain(built / _TABLE_AT):
            added[f"{inside}/{TABLE}"] = built / _TABLE_AT
        elif options.precision_analysis:
            progress.warn(f"{chip}: Pulsar2 wrote no {_TABLE_AT}")
        for doubt in doubts(built / WIDTHS_AT, u16, chip) if u16 else ():
            progress.warn(doubt)
        for path, source in added.items():
            _take(source, out / path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return [*added, f"{inside}/{LOG}"]


def _check(compiled: Path, log: Path) -> None:
    """Raise ToolError unless the file is a compiled model."""
    fix = "read the log; the vendor's tool said it succeeded"
    if not _is_plain(compiled):
        raise ToolError(f"pulsar2 build ended well but wrote no {render.OUTPUT_NAME}", where=str(log), fix=fix)
    try:
        proto = read_proto(compiled)
    except ToolError as error:
        raise ToolError(f"pulsar2 build wrote a damaged model: {error.what}", where=str(log), fix=fix) from error
    if not is_compiled(proto):
        raise ToolError("pulsar2 build wrote a model without an NPU part", where=str(log), fix=fix)


def _is_plain(path: Path) -> bool:
    """Whether the tool wrote a plain file there: a link could lead anywhere."""
    return path.is_file() and not path.is_symlink()


def _copy(kit: Path, to: Path, model: Path, model_to: Path) -> None:
    try:
        shutil.copytree(kit, to)
        shutil.copyfile(model, model_to)
    except OSError as error:
        raise _disk(error, to) from error


def _take(source: Path, to: Path) -> None:
    try:
        shutil.copyfile(source, to)
    except OSError as error:
        to.unlink(missing_ok=True)
        raise _disk(error, to) from error


def _disk(error: OSError, where: Path) -> ToolError:
    return ToolError(f"cannot copy: {error.strerror or error}", where=str(where), fix="free some disk space")
