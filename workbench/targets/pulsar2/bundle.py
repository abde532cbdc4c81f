"""Pack a build for the vendor: configuration, model, some calibration samples, log, versions, a script to repeat it.

Nothing is packed but what is listed here: no licence files, no other file of the folder. The same files give the same
bytes. The tool's own documents ask for these things when a model cannot be handed out: the model with other weights,
the whole log, the configuration, the smallest data set, and the command.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from workbench.engine.store import default_home
from workbench.errors import ToolError
from workbench.graph.io import is_compiled, read_proto
from workbench.runtimes.pulsar2_tool import CONTAINER_SCRIPT, LICENCES, MISSING, Toolchain
from workbench.targets.pulsar2 import render
from workbench.targets.pulsar2.packing import Entry, sampled, write
from workbench.targets.pulsar2.redact import redacted
from workbench.targets.pulsar2.strip import stripped

CASE = "case"  # folder of the configuration inside, so that ../model.onnx means the same as in a kit
LOG = "build.log"
_ARGUMENTS = ("build", "--input", "../model.onnx", "--output_dir", "build", "--config")
_LONGEST_LOG = 32 * 2**20
_SHORTENED = re.compile(rb"^\[\.\.\. \d+ bytes left out \.\.\.\]$", re.MULTILINE)  # a kit's log, by `compiling`
_LARGEST_CONFIG = 4_000_000
_PATH = r"""["']?\s*[:=]\s*(?P<value>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,#}\]"']+)"""
_DATASET = re.compile(rf"\bcalibration_dataset{_PATH}")
_OWN = re.compile(rf"(?<![\w.])(?P<key>input|output_dir|work_dir){_PATH}")


@dataclass(frozen=True)
class Case:
    """The files of one build.

    Attributes:
        name: for the report's file.
        config: the configuration, in whatever form.
        model: the ONNX it compiles.
        log: what the tool printed; None when it has not run.
    """

    name: str
    config: Path
    model: Path
    log: Path | None


@dataclass(frozen=True)
class Packed:
    """A report that was written.

    Attributes:
        path: the archive.
        files: what is in it, with sizes in bytes.
        stripped: how many tensors have other values; None when the model was packed with its own.
        absent: archives that the configuration names and that are not there.
    """

    path: Path
    files: Mapping[str, int]
    stripped: int | None
    absent: tuple[str, ...]


def of_kit(folder: Path) -> Case:
    """The build of a kit, ``dist/<recipe>/pulsar2/<chip>/``.

    Raises:
        ToolError: the folder is no kit.
    """
    config = folder / render.CONFIG
    model = folder.parent / Path(render.MODEL).name
    if config.is_file() and not model.is_file():
        named = (_unquoted(found["value"]) for found in _OWN.finditer(_text(config)) if found["key"] == "input")
        model = folder / next(named, str(model))
    for path, what in ((config, "no configuration"), (model, "no model beside it")):
        if not path.is_file():
            raise ToolError(
                f"not a kit: {what}",
                where=str(path),
                fix="name dist/<recipe>/pulsar2/<chip>, or give --config and --model",
            )
    parts = folder.resolve().parts
    recipe = parts[-3].removesuffix(".failed") if len(parts) > 3 else "model"
    log = folder / LOG
    return Case(f"{recipe}-{parts[-1]}", config, model, log if log.is_file() else None)


def pack(
    case: Case, to: Path, tool: Toolchain | None, engine: str, samples: int = 2, *, weights: bool = False
) -> Packed:
    """Write the report of `case` to `to`, a .tar.gz or a .zip.

    Args:
        case: the build's files.
        to: the archive; replaced when it is there.
        tool: the toolchain of this machine, for its version.
        engine: the container engine's name and version; empty without one.
        samples: how many of every calibration archive.
        weights: keep the model's own weights.

    Raises:
        ToolError: a file cannot be read or is not what it should be, or the archive cannot be written.
    """
    hidden = {str(case.config.resolve().parent): ".", str(Path.cwd()): "<here>", str(default_home()): "<cache>"}
    written = _text(case.config)
    text, archives = _config(written, case.config)
    entries = [Entry(f"{CASE}/{_config_name(case.config)}", redacted(text, hidden).encode())]
    told, absent = [], []
    for path, source in archives.items():
        if not source.is_file():
            absent.append(redacted(str(source), hidden))
            continue
        data, count, total = sampled(source, samples)
        entries.append(Entry(f"{CASE}/{path}", data))
        told.append({"path": path, "count": count, "total": total})
    model, replaced = _model(case.model, weights)
    entries.append(Entry("model.onnx", model))
    log, shortened = _log(case.log)
    if case.log is not None:
        entries.append(Entry(LOG, redacted(log, hidden).encode()))
    versions = _versions(tool, engine)
    entries.append(Entry("versions.json", (json.dumps(versions, indent=2) + "\n").encode()))
    facts = {
        "name": case.name,
        "inside": CASE,
        "root": "..",
        "config": _config_name(case.config),
        "arguments": [*_ARGUMENTS, _config_name(case.config)],
        "versions": versions,
        "moved": text != written,
        "kept": weights,
        "stripped": replaced,
        "samples": told,
        "log": LOG if case.log is not None else "",
        "shortened": shortened,
        "absent": absent,
        "licences": str(LICENCES),
        "script": CONTAINER_SCRIPT,
        "missing": MISSING,
    }
    entries.append(Entry("reproduce.sh", render.template("reproduce.sh.j2", facts).encode(), executable=True))
    entries.append(Entry("README.md", render.template("bundle.md.j2", facts).encode()))
    top = f"pulsar2-report-{case.name}"
    write(top, entries, to)
    return Packed(to, {one.name: len(one.data) for one in entries}, replaced, tuple(absent))


def _config(text: str, path: Path) -> tuple[str, dict[str, Path]]:
    """The configuration with the paths of the report, and by those the calibration archives they stand for.

    Its form may be any of the tool's, and it may be what is wrong: so it is changed as text, where a path stands.
    """
    archives: dict[str, Path] = {}
    changes: list[tuple[int, int, str]] = []
    for found in _DATASET.finditer(text):
        value = _unquoted(found["value"])
        source = path.parent / value
        stem = re.sub(r"[^\w-]", "_", Path(value).name.partition(".")[0]) or "data"
        inside = f"calibration/{stem}.tar"
        number = 1
        while archives.get(inside, source) != source:
            number += 1
            inside = f"calibration/{stem}_{number}.tar"
        archives[inside] = source
        if value != inside:
            changes.append((*found.span("value"), json.dumps(inside)))
    seen: set[str] = set()
    for found in _OWN.finditer(text):
        wanted = {"input": "../model.onnx", "output_dir": "build", "work_dir": "build"}[found["key"]]
        if found["key"] not in seen and _unquoted(found["value"]) not in ("", wanted):
            changes.append((*found.span("value"), json.dumps(wanted)))
        seen.add(found["key"])
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text, archives


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value[1:-1]
    return value.strip("'")


def _config_name(path: Path) -> str:
    return f"config{path.suffix.lower()}"


def _model(path: Path, weights: bool) -> tuple[bytes, int | None]:
    """The model's bytes; with how many tensors replaced, or None when it is as it was."""
    if weights:
        try:
            return path.read_bytes(), None
        except OSError as error:
            raise ToolError(
                f"cannot read the model: {error.strerror}", where=str(path), fix="check the path"
            ) from error
    try:
        proto = read_proto(path)
    except ToolError as error:
        error.fix = f"{error.fix}; --keep-weights packs the file as it is"
        raise
    if is_compiled(proto):
        raise ToolError(
            "a compiled model cannot be without its weights",
            where=str(path),
            fix="give the ONNX it was compiled from, or pack it as it is with --keep-weights",
        )
    made = stripped(proto)
    return made.data, made.tensors


def _log(path: Path | None) -> tuple[str, bool]:
    """The log's text; without its middle, and True, where it is longer than anybody reads."""
    if path is None:
        return "", False
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= _LONGEST_LOG:
                whole = file.read()
                return whole.decode("utf-8", "replace"), _SHORTENED.search(whole) is not None
            head = file.read(_LONGEST_LOG // 4)
            file.seek(size - _LONGEST_LOG * 3 // 4)
            cut = f"\n... {size - _LONGEST_LOG} bytes left out ...\n"
            return head.decode("utf-8", "replace") + cut + file.read().decode("utf-8", "replace"), True
    except OSError as error:
        raise ToolError(f"cannot read the log: {error.strerror}", where=str(path), fix="check the path") from error


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ToolError("no such configuration", where=str(path), fix="check the path")
        with path.open("rb") as file:
            raw = file.read(_LARGEST_CONFIG + 1)
    except OSError as error:
        what = f"cannot read the configuration: {error.strerror}"
        raise ToolError(what, where=str(path), fix="check the path and its permissions") from error
    if len(raw) > _LARGEST_CONFIG:
        what = f"more than {_LARGEST_CONFIG} bytes are no configuration"
        raise ToolError(what, where=str(path), fix="check the path")
    return raw.decode("utf-8", "replace")


def _versions(tool: Toolchain | None, engine: str) -> dict[str, Any]:
    try:
        own = version("pose-workbench")
    except PackageNotFoundError:
        own = "unknown"
    found = {"version": tool.version, "build": tool.build, "kind": tool.kind, "image": tool.image} if tool else None
    return {
        "workbench": own,
        "pulsar2": found or "not on the machine that packed this",
        "engine": engine or "none",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "processors": os.cpu_count(),
    }
