"""One observation of calibration pictures in a process of its own: what it took, or an error where that is too much.

python _observing.py WHAT PICTURES MODEL.onnx GIGABYTES
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def pictures(count: int):
    """`count` different feeds of one 192x192 input: the drawn people, moved and flipped; one in memory at a time."""
    from PIL import Image

    people = sorted((ROOT / "calib_data" / "people").glob("*.png"))
    for index in range(count):
        with Image.open(people[index % len(people)]) as picture:
            pixels = np.asarray(picture.convert("RGB").resize((192, 192)), np.float32)
        turn = index // len(people)
        moved = np.roll(pixels, 7 * (turn // 2), axis=1)[:, :: -1 if turn % 2 else 1]
        yield {"image": np.ascontiguousarray(moved.transpose(2, 0, 1)[None])}


def observe_ours(what: str, count: int, model: Path) -> None:
    """Observe as the calibration stage does."""
    from typing import get_args

    from workbench.engine.progress import Silent
    from workbench.quant.methods import Method, choose
    from workbench.quant.observe import observe, observe_histograms

    if what == "ours MinMax":
        observe(model, pictures(count), progress=Silent())
        return
    seen = observe_histograms(model, pictures(count), progress=Silent())
    for method in get_args(Method) if what == "ours all four methods" else ():
        choose(seen, method)


def observe_theirs(what: str, count: int, model: Path) -> None:
    """Calibrate as onnxruntime's quantize_static does."""
    from onnxruntime.quantization import calibrate

    class Reader(calibrate.CalibrationDataReader):
        """The pictures in turn."""

        def __init__(self):
            self.left = pictures(count)

        def get_next(self):
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder:
        calibrator = calibrate.create_calibrator(
            str(model),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=calibrate.CalibrationMethod[what.removeprefix("onnxruntime ")],
        )
        calibrator.collect_data(Reader())
        calibrator.compute_data()


def main(what: str, count: int, model: Path, limit: int) -> None:
    """Observe, and print seconds and peak MB; ends with an error where that is more than `limit` GB above the start."""
    import onnxruntime  # noqa: F401 -- loading libraries is not measured

    if Path("/proc/self/statm").is_file():  # elsewhere nothing tells how much address space is taken already
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + limit * 10**9,) * 2)
    start = time.perf_counter()
    (observe_ours if what.startswith("ours ") else observe_theirs)(what, count, model)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    print(json.dumps([seconds, peak]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
