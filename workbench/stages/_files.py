"""The notes stages leave for later ones: names of pictures, input specs after surgery, and the artifacts of targets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.engine.store import sha256_file, write_json
from workbench.recipe.schema import InputSpec
from workbench.targets._target import Artifact

Golden = dict[str, npt.NDArray[np.float32]]


def write_inputs(folder: Path, inputs: Sequence[InputSpec]) -> None:
    """Keep `inputs` in ``inputs.json``."""
    write_json(folder / "inputs.json", [spec.model_dump(mode="json") for spec in inputs])


def read_inputs(folder: Path) -> tuple[InputSpec, ...]:
    """What `write_inputs` kept."""
    return tuple(InputSpec.model_validate(spec) for spec in json.loads((folder / "inputs.json").read_text("utf-8")))


def read_names(pictures: Path) -> list[str]:
    """The file names that the calibration pictures of the folder `pictures` came with, in their order."""
    used: list[str] = json.loads((pictures / "pictures.json").read_text("utf-8"))["calibration"]["used"]
    return used


def write_artifacts(folder: Path, artifacts: Sequence[Artifact]) -> None:
    """Keep `artifacts` in ``artifacts.json``, and size and hash of every file in `folder` in ``files.json``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): [path.stat().st_size, sha256_file(path)] for path in files}
    write_json(folder / "files.json", hashes)
    write_json(folder / "artifacts.json", [asdict(artifact) for artifact in artifacts])


def read_hashes(folder: Path) -> dict[str, tuple[int, str]]:
    """{path: (bytes, sha256)} of every file a target wrote."""
    found = json.loads((folder / "files.json").read_text("utf-8"))
    return {path: (size, sha256) for path, (size, sha256) in found.items()}


def read_artifacts(folder: Path) -> tuple[Artifact, ...]:
    """What `write_artifacts` kept."""
    return tuple(Artifact(**entry) for entry in json.loads((folder / "artifacts.json").read_text("utf-8")))


def write_golden(path: Path, golden: Golden) -> None:
    """Keep `golden` in an ``.npz``."""
    arrays: dict[str, Any] = dict(golden)
    np.savez(path, **arrays)


def read_golden(path: Path) -> Golden:
    """{output: float32 (samples, C, H, W)} from an ``.npz``."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
