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
from workbench.targets.pulsar2.results import widths

LOG = "build.log"
TABLE = "precision_analysis_table.txt"
_TABLE_AT = f"quant/debug/{TABLE}"
_PROFILE_AT = "compiler/debug/subgraph_npu_0/b1/op_profile.csv"
_REPORTS = (_TABLE_AT, widths.WIDTHS_AT, _PROFILE_AT)
_LARGEST = 64 * 2**20  # bytes of one report; a network of a thousand layers makes two
_LONGEST = 16 * 2**20  # bytes of log that are kept: half from its start, half from its end


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

    The tool sees a copy of both, never `out` itself. Its log stays in the kit, whether it succeeds or not, and what it
    reports when it says that it did; the model is taken over last, when nothing speaks against it.

    Returns:
        The files added, relative to `out`: the compiled model first.

    Raises:
        ToolError: the tool failed, what it wrote is no compiled model, or a tensor of `u16` stayed at 8 bits.
    """
    inside = render.folder(chip)
    kit = out / inside
    log = kit / LOG
    progress.note(f"{chip}: compiling with {toolchain}")
    work = out / ".pulsar2-work"
    built = work / inside / render.OUTPUT_DIR
    try:
        _copy(kit, work / inside, out / render.MODEL, work / render.MODEL)
        try:
            arguments = render.arguments(chip, options)
            toolchain.run(arguments, work, log, progress, options.timeout_minutes * 60.0, inside=inside)
        finally:
            _shorten(log)
        reports = _take_reports(built, work, kit, f"{chip}: ", progress)
        compiled = built / render.OUTPUT_NAME
        _check(compiled, work, log)
        if options.precision_analysis and TABLE not in reports:
            progress.warn(f"{chip}: Pulsar2 wrote no {_TABLE_AT}")
        if u16:
            _check_widths(kit / Path(widths.WIDTHS_AT).name, u16, chip, progress)
        model = f"{name}.{chip.lower()}.axmodel"
        _take(compiled, out / model)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return [model, *(f"{inside}/{report}" for report in reports), f"{inside}/{LOG}"]


def _check(compiled: Path, work: Path, log: Path) -> None:
    """Raise ToolError unless the file is a compiled model."""
    fix = "read the log; the vendor's tool said it succeeded"
    if not _is_plain(compiled, work):
        raise ToolError(f"pulsar2 build ended well but wrote no {render.OUTPUT_NAME}", where=str(log), fix=fix)
    try:
        proto = read_proto(compiled)
    except ToolError as error:
        raise ToolError(f"pulsar2 build wrote a damaged model: {error.what}", where=str(log), fix=fix) from error
    if not is_compiled(proto):
        raise ToolError("pulsar2 build wrote a model without an NPU part", where=str(log), fix=fix)


def _check_widths(path: Path, u16: Sequence[str], chip: str, progress: Progress) -> None:
    """Raise ToolError for tensors that certainly have no 16 bits; warn of those that nobody can be sure of."""
    try:
        found = widths.effect(path, u16)
    except ToolError as error:
        progress.warn(f"{chip}: cannot see which tensors have 16 bits: {widths.WIDTHS_AT}: {error.what}")
        return
    widths.enforce(found, u16, chip, path)
    for doubt in widths.doubts(found, u16, chip):
        progress.warn(doubt)


def _take_reports(built: Path, work: Path, kit: Path, who: str, progress: Progress) -> list[str]:
    """Copy what the tool reports, as far as it is there, into the kit; returns the names."""
    taken = []
    for path in _REPORTS:
        source = built / path
        if not _is_plain(source, work):
            continue
        if source.stat().st_size > _LARGEST:
            progress.warn(f"{who}{path} has {source.stat().st_size >> 20} MB and is left out")
            continue
        _take(source, kit / source.name)
        taken.append(source.name)
    return taken


def _shorten(log: Path) -> None:
    """Cut the middle out of a log that is too long to be published; its end says why a build failed."""
    try:
        size = log.stat().st_size
        if size <= _LONGEST:
            return
        with log.open("r+b") as file:
            file.seek(size - _LONGEST // 2)
            end = file.read()
            file.seek(_LONGEST // 2)
            file.write(b"\n[... %d bytes left out ...]\n" % (size - _LONGEST))
            file.write(end)
            file.truncate()
    except OSError:
        return  # a log that cannot be read is the error of the one who reads it


def _is_plain(path: Path, work: Path) -> bool:
    """Whether the tool wrote a plain file there: a link could lead anywhere, as could a folder above it."""
    return path.is_file() and path.resolve() == work.resolve() / path.relative_to(work)


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
