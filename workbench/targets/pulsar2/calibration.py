"""Write Pulsar2's calibration archives: what the tool decodes must be what the runtime will feed.

Inputs fed as u8: the fitted pictures as they are, PNG in RGB. The tool converts them to the order of
``tensor_format``, which the template sets to the network's own, and applies mean and std, which are in that order, too.
The compiled model takes bytes in the same order (``src_format`` equals ``tensor_format``), since at run time the tool
swaps nothing: a network trained on BGR is fed BGR bytes. As nv12 and nv21, the same: the chip makes such pixels of the
camera's YUV before it applies mean and std.

Inputs fed as fp32: the network's own tensors, float32 (1, C, H, W), ordered and normalized here by the preprocessing
that makes the golden inputs; the compiled model takes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.calib.pack import pack_images, pack_numpy
from workbench.calib.pictures import read_fitted
from workbench.calib.preprocess import to_tensor
from workbench.errors import ToolError, UnsupportedError
from workbench.recipe.schema import InputSpec
from workbench.targets.pulsar2.options import InputKind
from workbench.targets.pulsar2.render import archives


def write(inputs: Sequence[InputSpec], pictures: Path, out: Path, kind: Callable[[str], InputKind]) -> tuple[str, ...]:
    """Write the archive of each input below the chip's folder `out`.

    Args:
        inputs: the canonical model's.
        pictures: folder with one sub-folder of fitted PNG pictures for each input.
        out: the chip's folder.
        kind: what the compiled model is fed, by the input's name.

    Returns:
        The archives' paths, relative to `out`.

    Raises:
        UnsupportedError: an input takes several pictures at once.
        ToolError: there are no pictures, or an archive cannot be written.
    """
    paths = archives(inputs)
    for spec, path in zip(inputs, paths, strict=True):
        if spec.nchw[0] != 1:
            raise UnsupportedError(
                f"input {spec.name!r} takes {spec.nchw[0]} pictures at once, Pulsar2's calibration one at a time",
                fix="use a batch of 1; compiler.static_batch_sizes adds others on the chip",
            )
        folder = pictures / spec.folder
        if kind(spec.name) == "fp32":
            count = pack_numpy((to_tensor(picture, spec) for picture in read_fitted(folder)), out / path)
        else:
            count = pack_images(folder, out / path)
        if count == 0:
            raise ToolError(f"no calibration pictures for input {spec.name!r}", where=str(folder), fix="write some")
    return paths
