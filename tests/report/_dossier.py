"""A small run as the report's dossier has it: every section filled, strings hostile."""

import numpy as np

from workbench.recipe.schema import InputSpec, OutputSpec
from workbench.report.calibration import Summary
from workbench.report.imagery import photo
from workbench.report.page import Dossier
from workbench.report.poses import Candidates, gallery
from workbench.report.snippets import snippets

EVIL = "<script>alert(1)</script>\"'"
SPEC = InputSpec(name="image", shape=(1, 3, 64, 48), color="BGR", mean=(128,), std=(256,), fit="letterbox", fill=7)
HEAT = OutputSpec(name="heat", shape=(1, 15, 16, 12), meaning="heatmap")
ROW = {
    "name": "<heat>",
    "cosine": 0.5,
    "worst_cosine": "nan",
    "max_abs": 1.0,
    "mean_abs": 0.1,
    "relative_l2": 0.2,
    "snr_db": "inf",
}
ARTIFACT = {"artifact": "x.onnx", "outputs": [ROW], "passed": False, "failures": ["heat: cosine 0.5 is below 0.9"]}
LAYERS = [
    {"tensor": f"<t{index}>", "operator": "Conv", "per_layer": 1 - 10.0**-index, "end_to_end": 0.9}
    for index in range(1, 5)
]
CHANGED = [
    {
        "tensor": f"<r{index}>",
        "before": {"low": 0.0, "high": 1.0},
        "after": {"low": 0.0, "high": float(index)},
        "smallest": 1.0,
        "largest": 2.0,
        "left": "",
    }
    for index in (1, 2, 3)
]
BAKE = {
    "equalized": {"changed": CHANGED, "declined": [], "noise": [0.1, 0.01]},
    "split": {"a": 2},
    "unrolled": [],
    "swept": None,
    "difference": 1e-7,
}
FINDING = {
    "node": "<n>",
    "operator": "Resize",
    "attribute": "mode",
    "found": "is cubic",
    "limit": "linear",
    "verdict": "by hand",
    "passes": [],
}
CHECK = {
    "table": "a table",
    "opset": 17,
    "ok": 5,
    "rewrite": 0,
    "by_hand": 1,
    "blocked": 0,
    "findings": [FINDING],
    "notes": ["<note>"],
}


def maps(shift=0, without=()):
    """Heatmaps (2, 15, 16, 12) of 14 joints, a spot each; `shift` cells to the right, some channels flat."""
    found = np.zeros((2, 15, 16, 12), np.float32)
    for joint in range(14):
        if joint not in without:
            y, x = 1 + joint, (joint * 5) % 8 + shift
            found[:, joint, y - 1 : y + 2, x : x + 3] = 0.5
            found[:, joint, y, x + 1] = 1.0
    return found


def pictures(answers=None):
    """The gallery of two pictures; by default one artifact that lost a joint and moved the others by two cells."""
    pixels = [np.full((64, 48, 3), 90 + index, np.uint8) for index in range(2)]
    answers = {"<x>.int8.onnx": {"heat": maps(2, without=(3,))}} if answers is None else answers
    return gallery(Candidates(pixels, {"heat": maps()}, answers), [HEAT], "ai_challenger14", ["<a>.png", "b.png"])


def dossier(**changes):
    """A failed run with everything in it."""
    parts = {
        "recipe": EVIL,
        "about": "a & b",
        "not_deployable": "seeded",
        "parity": {"passed": False, "reference": "torch", "samples": 2, "artifacts": [ARTIFACT]},
        "files": [("x.onnx", 1_500_000, "ab" * 32)],
        "skipped": [("x.axmodel", "no toolchain", "get one")],
        "surgery": [{"pass": "fold_pad", "changed": ["Pad_1"], "left": ["Pad_2: mode reflect"]}],
        "simplify": {"reverted": "", "differences": []},
        "checks": {"AX650": CHECK},
        "source": "onnx",
        "weights": {"file": EVIL, "origin": "given", "sha256": "cd" * 32},
        "tools": {"numpy": "2.0"},
        "inputs": (SPEC,),
        "gallery": pictures(),
        "bake": BAKE,
        "layers": LAYERS,
        "calibration": Summary(
            EVIL,
            2,
            ((EVIL, photo(np.zeros((8, 8, 3), np.uint8), 88)),),
            (1.0,),
            (2.0,),
            0.1,
            0.2,
            (0.5, 1.0),
            (("<c>", "damaged"),),
        ),
        "configs": [("AX650", [("{", ""), (f'  "input": "{EVIL}"', "x.yaml:3:1 inputs[0].name")])],
        "snippets": snippets(["x.onnx", "x.fp32.tflite", "x.ax650.axmodel"], [SPEC], {"image": "u8"}),
    }
    return Dossier(**{**parts, **changes})
