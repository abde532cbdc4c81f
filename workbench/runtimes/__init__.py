"""Run a model file, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import RecipeError, ToolError
from workbench.runtimes._runner import Runner

SUFFIXES = (".onnx", ".tflite", ".pb", ".axmodel")


def open_model(
    path: Path, *, threads: int | None = None, runner: str = "auto", hardware: str = "", timeout: float = 3600.0
) -> Runner:
    """A runner for the model in `path`, chosen by its suffix.

    Args:
        path: a .onnx, .tflite, .pb or .axmodel file.
        threads: for .onnx and .tflite; None means all cores of this process.
        runner: for .axmodel, as are `hardware` and `timeout`: see `workbench.runtimes.axmodel.open_axmodel`.
        hardware: the chip it was compiled for.
        timeout: seconds.

    Raises:
        RecipeError: another suffix.
        ToolError: there is no such file, it is a folder or damaged, or nothing on this machine runs it.
    """
    if path.is_dir():
        raise ToolError("a folder, not a model file", where=str(path), fix=_inside(path))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise RecipeError(
            f"{suffix!r} is no kind of model file" if suffix else "a model file needs a suffix",
            where=str(path),
            fix=f"one of: {', '.join(SUFFIXES)}",
        )
    if not path.is_file():
        raise ToolError("no such file", where=str(path), fix="check the path")
    # Each runtime is a heavy import: only the one that is needed.
    if suffix == ".onnx":
        from workbench.runtimes.onnxruntime import OnnxRunner

        return OnnxRunner(path, threads=threads)
    if suffix == ".tflite":
        from workbench.runtimes.litert import LiteRtRunner

        return LiteRtRunner(path, threads=threads)
    if suffix == ".pb":
        from workbench.runtimes.tensorflow import TensorFlowRunner

        return TensorFlowRunner(path)
    from workbench.runtimes.axmodel import open_axmodel

    return open_axmodel(path, runner=runner, hardware=hardware, timeout=timeout)


def _inside(folder: Path) -> str:
    """A way out for somebody who named a folder: the model files in it."""
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError:
        names = []
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"name a file in it: {', '.join(names[:8])}{more}" if names else f"name a file: {', '.join(SUFFIXES)}"
