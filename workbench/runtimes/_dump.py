"""Outputs that were produced elsewhere, by hand: a folder with one sub-folder a sample, and the inputs they belong to.

    DIR/inputs/0000/<tensor>.bin     what to feed, written here
    DIR/list.txt                     0000, 0001, ...: one sample a line
    DIR/0000/<tensor>.bin or .npy    what came out, put there by whoever ran the model

A tensor's file is named after it, with every character but letters, digits, ``_`` and ``-`` as ``_``; a ``.bin`` is raw
and little-endian, in the shape and type that the model declares.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from workbench.errors import ToolError
from workbench.runtimes._runner import Array, Port, Runner
from workbench.runtimes._samples import (
    LIST,
    Samples,
    byte_size,
    disk_full,
    file_name,
    sample_name,
    static,
    wrong_size,
)

INPUTS, README = "inputs", "README.txt"
_NPY_HEADER = 1 << 16  # more than any header of an .npy
_WHO = "whoever ran the model"


class DumpRunner(Runner):
    """A `Runner` that reads outputs instead of making them; where there are none yet it writes the inputs.

    Args:
        folder: DIR of the picture above; made when it is missing.
        path: the compiled model.
        samples: its tensors as files.

    Raises:
        ToolError: the folder is a file.
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __init__(self, folder: Path, path: Path, samples: Samples) -> None:
        if folder.exists() and not folder.is_dir():
            raise ToolError("not a folder", where=str(folder), fix="name a folder with --runner dump:DIR")
        self.runtime = f"outputs in {folder.name or folder}"
        self.inputs, self.outputs = samples.inputs, samples.outputs
        self._folder, self._path, self._samples = folder, path, samples

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs of the first sample; see `Runner.run`."""
        (result,) = self.run_all([feeds])
        return result

    def run_all(self, feeds: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
        """The outputs of each sample; see `Runner.run_all`.

        Raises:
            ToolError: there are no outputs at all, so that the inputs were written; one is missing, has another size or
                type; or a sample's inputs are not those that were written for it.
        """
        if not (self._folder / sample_name(0)).is_dir():
            raise self._ask(feeds)
        known = (self._folder / INPUTS).is_dir()
        if not known:
            self.notes = ("that the outputs belong to these inputs is not known: there is no folder 'inputs' to tell",)
        for index, feed in enumerate(feeds):
            name = sample_name(index)
            if known:
                self._check(self._folder / INPUTS / name, feed)
            yield {port.name: self._read(self._folder / name, port) for port in self.outputs}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to free."""

    def _ask(self, feeds: Iterable[Mapping[str, Array]]) -> ToolError:
        """Write the inputs, and say how to run them."""
        aside = self._folder / f".{INPUTS}.{os.getpid()}.part"
        names = []
        try:
            for index, feed in enumerate(feeds):
                names.append(sample_name(index))
                self._samples.write(aside / names[-1], feed)
            place = self._folder / INPUTS
            if place.exists():
                self._forget(place)
            aside.rename(place)
            (self._folder / LIST).write_text("".join(f"{name}\n" for name in names), "utf-8")
            (self._folder / README).write_text(self._manual(len(names)), "utf-8")
        except OSError as error:
            raise disk_full(error, self._folder) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return ToolError(
            f"no outputs there yet: the inputs of {len(names)} sample{'s' * (len(names) != 1)} were written",
            where=str(self._folder),
            fix=f"run them as {README} there says, then give the same command again",
        )

    def _forget(self, place: Path) -> None:
        """Remove inputs that were written before, and nothing that somebody else has put there."""
        wanted = {file_name(port.name) for port in self.inputs}
        for entry in sorted(place.rglob("*")):
            ours = (entry.is_dir() and entry.name.isdigit()) or entry.name in wanted
            if entry.is_symlink() or not ours:
                raise ToolError(
                    "the folder holds something that was not written by this command",
                    where=str(entry),
                    fix="name another folder with --runner dump:DIR",
                )
        shutil.rmtree(place)

    def _manual(self, count: int) -> str:
        def listed(ports: Iterable[Port]) -> str:
            return "".join(f"    {file_name(port.name)}: {port.dtype} {list(port.shape)}\n" for port in ports)

        return (
            f"Inputs for {self._path.name}: {count} sample{'s' * (count != 1)}, one folder each in {INPUTS}/, raw"
            " little-endian.\n\n"
            "On the board, with this folder and the model copied there:\n"
            f"    ax_run_model -m {self._path.name} -i {INPUTS} -o . -l {LIST} --use-tensor-name\n"
            "In AXera's simulation:\n"
            f"    pulsar2 run --model {self._path.name} --input_dir {INPUTS} --output_dir . --list {LIST}\n\n"
            "Then copy the folders 0000, 0001, ... back to where this file is. Each holds one file per output,\n"
            ".bin as those programs write it, or .npy:\n"
            f"{listed(self.outputs)}\n"
            f"The inputs are:\n{listed(self.inputs)}"
        )

    def _check(self, folder: Path, feed: Mapping[str, Array]) -> None:
        for port in self.inputs:
            file = folder / file_name(port.name)
            try:
                same = file.stat().st_size == byte_size(port) and file.read_bytes() == feed[port.name].tobytes()
            except OSError:
                same = False
            if not same:
                raise ToolError(
                    f"the outputs were made from another input {port.name!r} than the one given now",
                    where=str(file),
                    fix="give the same --inputs, --samples and --seed as then, or begin with a new folder",
                )

    def _read(self, folder: Path, port: Port) -> Array:
        npy = folder / f"{file_name(port.name).removesuffix('.bin')}.npy"
        if not npy.is_file():
            return self._samples.read_one(folder, port, _WHO)
        size = npy.stat().st_size
        if not byte_size(port) < size <= byte_size(port) + _NPY_HEADER:
            raise wrong_size(port, size, npy, _WHO)
        try:
            array: Array = np.load(npy, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ToolError(f"not an array: {error}", where=str(npy), fix="write it with numpy.save") from error
        if array.shape != static(port) or array.dtype.name != port.dtype:
            raise ToolError(
                f"{array.dtype} {list(array.shape)}, where the model declares {port.dtype} {list(port.shape)}",
                where=str(npy),
                fix="save the model's own output, before any decoding",
            )
        return array
