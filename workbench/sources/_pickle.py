"""Read off a refused checkpoint which code its pickle wants to call, without running any of it."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LARGEST = 64 * 2**20  # bytes of pickle that are looked at; tensors are stored outside of it
# What plain checkpoints are made of: tensors, storages, sizes and dtypes; not whole networks such as torch.nn...Linear.
_HARMLESS = re.compile(r"torch\.(_utils\.|storage\.)?\w+|collections\.(OrderedDict|Counter)|_codecs\.encode")


def wanted_code(path: Path) -> str | None:
    """What a checkpoint would call besides torch's own constructors, e.g. ``posix.system``, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any("/code/" in name for name in names):
                return "TorchScript"
            pickled = next((name for name in names if name.endswith("/data.pkl")), None)
            if pickled is None:
                return None
            with archive.open(pickled) as entry:
                data = entry.read(_LARGEST)
    except Exception:  # no archive, or a damaged one, whose directory makes zipfile fail in any way
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST)
        except OSError:
            return None
    return next((name for name in _globals(io.BytesIO(data)) if not _HARMLESS.fullmatch(name)), None)


def _globals(stream: BinaryIO) -> Iterator[str]:
    """Every ``module.name`` that the pickles in a row in `stream` look up, as far as they can be read."""
    strings: list[str] = []
    while True:
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL" and len(strings) >= 2:
                    yield ".".join(strings[-2:])
                elif isinstance(argument, str):
                    strings.append(argument)
        except Exception:  # what comes next is no pickle: any of its decoders may have failed
            return
