"""The only door to onnxsim, a program of its own: ``python _onnxsim.py MODEL RESULT``.

It is not imported but run, so that a crash of its C++ code, what it prints and its memory end with the process. It
takes about 1 s to start, where importing it costs 2 to 3 s anyway.
"""

from __future__ import annotations

import sys


def main(model: str, result: str) -> None:
    """Simplify the file `model` into the file `result`; any failure is an exception, and so an exit code."""
    # onnxsim imports torch, if it can, for quantizers that are not used here: 2 s and 150 MB.
    sys.modules["torch"] = None  # type: ignore[assignment]
    import onnx
    import onnxsim

    simplified, checked = onnxsim.simplify(onnx.load(model))
    if not checked:
        raise RuntimeError("onnxsim calls its own result invalid")
    onnx.save(simplified, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
