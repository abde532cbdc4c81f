"""What Pulsar2 said of a compiled model, with our emulation of the same tensors beside it: ``vendor.json``."""

from __future__ import annotations

from functools import cached_property
from itertools import islice
from pathlib import Path

from workbench.calib.feeds import feeds
from workbench.engine.progress import Progress
from workbench.errors import ToolError, UnsupportedError
from workbench.graph.io import read
from workbench.quant.layer_parity import Reading, readings
from workbench.targets._target import TargetJob
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.results import vendor

_SAMPLES = 2  # the tool's own table is of one


class Emulation:
    """Our emulation of 8 bits, measured layer by layer when it is first asked for; chips share it."""

    def __init__(self, job: TargetJob[Options]) -> None:
        self._job = job

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """Every tensor; none where the recipe does not quantize, or the two graphs cannot be laid beside each other."""
        job, emulated = self._job, self._job.mixed or self._job.quantized
        if emulated is None:
            return ()
        samples = islice(feeds(job.pictures, job.inputs), _SAMPLES)
        try:
            return readings(read(job.baked or job.model), read(emulated), samples)
        except (ToolError, UnsupportedError) as error:
            job.progress.warn(f"the emulation cannot be compared layer by layer: {error.what}")
            return ()


def tell(kit: Path, chip: str, emulation: Emulation, progress: Progress) -> str:
    """Write ``vendor.json`` into the chip's folder `kit`; returns its name.

    The emulation is measured only when the tool wrote a table to hold it against.

    Raises:
        ToolError: the disk is full.
    """
    measured = emulation.readings if (kit / vendor.TABLE).exists() else ()
    told, doubts = vendor.summary(kit, measured)
    for doubt in doubts:
        progress.warn(f"{chip}: {doubt}")
    vendor.write(kit, told)
    return vendor.FILE
