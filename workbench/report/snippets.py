"""How to run each artifact: a short program per runtime, with the very preprocessing the network was judged with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.recipe.schema import InputSpec


@dataclass(frozen=True)
class Snippet:
    """A way to run some of the artifacts.

    Attributes:
        title: the runtime.
        files: the artifacts it runs.
        code: what to copy.
        note: a trap, one sentence; may be empty.
    """

    title: str
    files: tuple[str, ...]
    code: str
    note: str = ""


def snippets(paths: Sequence[str], inputs: Sequence[InputSpec], fed: Mapping[str, str]) -> list[Snippet]:
    """One for each runtime that runs one of `paths`.

    Args:
        paths: the published models; others are left out.
        inputs: after surgery.
        fed: what the compiled model takes for each input: ``u8``, ``fp32``, ``nv12`` or ``nv21``.
    """
    made = []
    onnx = tuple(path for path in paths if path.endswith(".onnx") and "/" not in path)
    lite = tuple(path for path in paths if path.endswith(".tflite"))
    chip = tuple(path for path in paths if path.endswith(".axmodel"))
    if onnx:
        note = (
            "On x86 without VNNI the session option keeps 8-bit sums exact; see the README."
            if any(".int8." in path or ".mixed." in path for path in onnx)
            else ""
        )
        made.append(Snippet("onnxruntime", onnx, _onnx(onnx[0], inputs), note))
    if lite:
        made.append(Snippet("LiteRT", lite, _lite(lite[0], inputs), "TFLite tensors are NHWC."))
    if chip:
        made.append(Snippet("axengine on the board", chip, _axengine(chip[0], inputs, fed), _chip_note(inputs, fed)))
        made.append(Snippet("ax_run_model on the board", chip, _ax_run_model(chip[0], inputs)))
    return made


def _prepare(spec: InputSpec, layout: str, indent: str = "", raw: bool = False) -> list[str]:
    """Lines of Python that make ``x`` from ``picture``."""
    _, _, height, width = spec.nchw
    lines = ['picture = ImageOps.exif_transpose(Image.open("picture.jpg"))']
    mode = "L" if spec.color == "GRAY" else "RGB"
    if spec.fit == "stretch":
        lines.append(f'picture = picture.convert("{mode}").resize(({width}, {height}), Image.Resampling.BILINEAR)')
    else:
        fill: Any = spec.fill if mode == "L" else (spec.fill,) * 3
        corner = "(0, 0)" if spec.fit == "pad" else f"(({width} - size[0]) // 2, ({height} - size[1]) // 2)"
        lines += [
            f"scale = min({width} / picture.width, {height} / picture.height)",
            "size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))",
            f'bars = Image.new("{mode}", ({width}, {height}), {fill!r})',
            f'bars.paste(picture.convert("{mode}").resize(size, Image.Resampling.BILINEAR), {corner})',
            "picture = bars",
        ]
    kind = "uint8" if raw else "float32"
    lines.append(f"x = np.asarray(picture, np.{kind}).reshape({height}, {width}, -1)")
    if spec.color == "BGR":
        lines.append("x = x[:, :, ::-1]  # RGB to BGR")
    mean, std = spec.per_channel
    if not raw and (any(mean) or any(one != 1 for one in std)):
        means, stds = (f"np.float32([{', '.join(map(repr, values))}])" for values in (mean, std))
        lines.append(f"x = (x - {means}) / {stds}")
    if layout == "NCHW":
        lines.append("x = x.transpose(2, 0, 1)")
    lines.append("x = np.ascontiguousarray(x[None])")
    return [indent + line for line in lines]


def _inputs(inputs: Sequence[InputSpec], layout: str, raw: Mapping[str, str] | None = None) -> list[str]:
    """Lines that fill the dict ``feeds``."""
    lines = ["feeds = {}"]
    for spec in inputs:
        pixels = raw is not None and raw.get(spec.name, "u8") != "fp32"
        lines += [*_prepare(spec, "NHWC" if pixels else layout, raw=pixels), f"feeds[{spec.name!r}] = x"]
    return lines


def _onnx(path: str, inputs: Sequence[InputSpec]) -> str:
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "from PIL import Image, ImageOps",
        "",
        *_inputs(inputs, "NCHW"),
        "",
        "options = onnxruntime.SessionOptions()",
        'options.add_session_config_entry("session.x64quantprecision", "1")',
        f'session = onnxruntime.InferenceSession({path!r}, options, providers=["CPUExecutionProvider"])',
        "names = [output.name for output in session.get_outputs()]",
        "outputs = dict(zip(names, session.run(names, feeds)))  # NCHW",
    ]
    return "\n".join(lines) + "\n"


def _lite(path: str, inputs: Sequence[InputSpec]) -> str:
    lines = [
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        "from PIL import Image, ImageOps",
        "",
        *_inputs(inputs, "NHWC"),
        "",
        f"network = Interpreter({path!r}).get_signature_runner()",
        "for name, detail in network.get_input_details().items():",
        '    scale, zero = detail["quantization"]',
        '    if scale and detail["dtype"] != np.float32:  # a file with integer inputs',
        '        info = np.iinfo(detail["dtype"])',
        "        whole = np.rint(feeds[name] / scale) + zero",
        '        feeds[name] = np.clip(whole, info.min, info.max).astype(detail["dtype"])',
        "outputs = network(**feeds)  # NHWC",
    ]
    return "\n".join(lines) + "\n"


def _axengine(path: str, inputs: Sequence[InputSpec], fed: Mapping[str, str]) -> str:
    lines = [
        "import axengine",
        "import numpy as np",
        "from PIL import Image, ImageOps",
        "",
        *_inputs(inputs, "NCHW", fed),
        "",
        f"session = axengine.InferenceSession({path!r})",
        "names = [output.name for output in session.get_outputs()]",
        "outputs = dict(zip(names, session.run(None, feeds)))",
    ]
    return "\n".join(lines) + "\n"


def _ax_run_model(path: str, inputs: Sequence[InputSpec]) -> str:
    names = " ".join(f"{spec.name}.bin" for spec in inputs)
    lines = [
        f"# given/one/ holds the input tensor as raw bytes, as prepared for axengine: {names}",
        "mkdir -p given/one made && echo one > list.txt",
        f"ax_run_model -m {shlex.quote(path)} -w 1 -r 5 -i given -o made -l list.txt --use-tensor-name",
    ]
    return "\n".join(lines) + "\n"


def _chip_note(inputs: Sequence[InputSpec], fed: Mapping[str, str]) -> str:
    cameras = [spec.name for spec in inputs if fed.get(spec.name, "u8") in ("nv12", "nv21")]
    if cameras:
        return f"{', '.join(cameras)}: give the camera's {fed[cameras[0]].upper()} bytes instead of x."
    if all(fed.get(spec.name, "u8") == "fp32" for spec in inputs):
        return ""
    return "Pixels as they are: the compiled model subtracts mean and divides by std itself."
