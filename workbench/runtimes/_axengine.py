"""Compiled models on an AXera NPU of this machine, through the vendor's `axengine`: the only door to it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Port, Runner

PROVIDERS = ("AxEngineExecutionProvider", "AXCLRTExecutionProvider")  # the NPU of this SoC, a PCIe card
_FAILURES = (AssertionError, OSError, RuntimeError, TypeError, ValueError)  # it checks its inputs with assert


def find() -> tuple[ModuleType | None, str]:
    """The module `axengine`, or None and why it cannot be used."""
    try:
        module = importlib.import_module("axengine")
    except ModuleNotFoundError as error:
        return None, "not installed" if error.name == "axengine" else f"it misses {error.name}"
    except (ImportError, OSError, RuntimeError) as error:
        return None, f"it cannot be loaded: {error}"  # installed where there is no NPU driver
    return module, ""


class AxEngineRunner(Runner):
    """A `Runner` over an `axengine` session, on the NPU of this SoC or a PCIe card.

    Args:
        module: what `find` returned.
        path: a compiled model.
        provider: one of `PROVIDERS`; the first that the package offers when empty.

    Raises:
        ToolError: there is no NPU, or it refuses the model.
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(self, module: ModuleType, path: Path, provider: str = "") -> None:
        self._path = path
        chosen: dict[str, Any] = {"providers": [provider]} if provider else {}
        try:
            self._session = module.InferenceSession(str(path), **chosen)
            self.inputs = tuple(map(_port, self._session.get_inputs()))
            self.outputs = tuple(map(_port, self._session.get_outputs()))
            self.runtime = f"axengine ({self._session.get_providers()})"
        except _FAILURES as error:
            raise ToolError(
                f"axengine cannot load the model: {error}",
                where=str(path),
                fix="check that it was compiled for this chip and that the NPU is free",
            ) from error

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once; see `Runner.run`.

        Raises:
            ToolError: `feeds` does not fit the inputs, or the NPU fails.
        """
        # A Fortran-ordered array would be copied as it lies in memory, so transposed views are straightened here.
        straight = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        try:
            # None, not names: every output, in the model's order, whatever order the names would be in.
            results = self._session.run(None, straight)
        except _FAILURES as error:
            raise ToolError(
                f"axengine cannot run the model: {error}",
                where=str(self._path),
                fix="check the inputs it is given, and that the NPU is free",
            ) from error
        return {port.name: np.asarray(result) for port, result in zip(self.outputs, results, strict=True)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the NPU."""
        del self._session


def _port(node: Any) -> Port:
    return Port(str(node.name), tuple(int(size) for size in node.shape), np.dtype(node.dtype).name)
