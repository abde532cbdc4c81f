"""What a published model answers to fitted pictures, in the network's own layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.calib.feeding import feeds_of
from workbench.calib.preprocess import Pixels
from workbench.parity.pairing import pair
from workbench.recipe.schema import InputSpec
from workbench.runtimes import open_model
from workbench.runtimes._runner import Port

Floats = npt.NDArray[np.float32]


def answers(
    path: Path, inputs: Sequence[InputSpec], samples: Sequence[Sequence[Pixels]], golden: Mapping[str, Floats]
) -> dict[str, Floats]:
    """The outputs of the model in `path` for `samples`: {output: float32 (samples, C, H, W)}, NCHW.

    Args:
        path: an ONNX or TFLite file.
        inputs: what it wants.
        samples: of each, the fitted pixels of every input.
        golden: outputs of the same names and shapes.

    Raises:
        ToolError: the file cannot be run.
        ParityError: it has other inputs or outputs.
    """
    wanted = [Port(name, (1, *values.shape[1:]), "float32") for name, values in golden.items()]
    found: dict[str, list[Floats]] = {name: [] for name in golden}
    with open_model(path) as runner:
        outputs = pair(wanted, runner.outputs, reference_layout="NCHW", got_layout=runner.layout)
        fed = feeds_of(inputs, runner.inputs, runner.layout)
        feeds = (
            {one.port.name: one.of_pixels(pixels) for one, pixels in zip(fed, sample, strict=True)}
            for sample in samples
        )
        for run in runner.run_all(feeds):
            for one in outputs:
                found[one.reference].append(one.to_reference(run[one.got])[:1].astype(np.float32))
    return {name: np.concatenate(values) for name, values in found.items()}
