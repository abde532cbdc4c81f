"""AXera NPUs through Pulsar2: configuration, calibration archives and a build script; compiled when the tool is there.

A chip's folder is called as the recipe names the chip, its model in lower case: ``pulsar2/AX650/config.json``,
``<name>.ax650.axmodel``. What Pulsar2 compiles is ``pulsar2/model.onnx``: the graph that was made ready for 8 bits,
where there is one, with a name for every node; the tensors that the recipe wants at 16 bits become ``layer_configs``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import RecipeError, ToolError
from workbench.graph.io import read, write, write_bytes
from workbench.graph.naming import name_nodes
from workbench.recipe.schema import InputSpec, Precision
from workbench.runtimes import pulsar2_tool
from workbench.targets._target import Artifact, TargetJob
from workbench.targets.pulsar2 import calibration, layers, render, rules
from workbench.targets.pulsar2.beside import Emulation, tell
from workbench.targets.pulsar2.compiling import compile_kit
from workbench.targets.pulsar2.options import Options
from workbench.targets.pulsar2.schema import LayerConfig

__all__ = ["ROOMS", "TOOLS", "VERSION", "Options", "build", "check", "environment", "precisions"]

VERSION = 3
TOOLS = ("jinja2",)
ROOMS = ("quant",)


def environment(options: Options) -> dict[str, str]:
    """The toolchain that `build` will use; ``none`` when there is none. A program that is found is started once."""
    if options.compile == "never":
        return {"pulsar2": "not asked for"}
    found = pulsar2_tool.find()
    return {"pulsar2": found.identity if found else "none"}


def precisions(options: Options) -> frozenset[Precision]:  # noqa: ARG001 -- the signature every target has
    """None that is certain: whether a compiled model comes out, and can be run, depends on the machine."""
    return frozenset()


def check(options: Options, inputs: Sequence[InputSpec]) -> None:
    """Refuse, before any work, what no surgery can mend: the configuration of every chip is rendered without the model.

    Raises:
        RecipeErrors: a rule is broken, at the recipe's key.
    """
    for chip in options.chips:
        render.rendered(chip, inputs, options)


def build(job: TargetJob[Options]) -> list[Artifact]:
    """Write the graph and the kit of every chip to ``pulsar2/`` and compile when a toolchain is found.

    Raises:
        RecipeErrors: the recipe asks for what Pulsar2 would refuse or misread.
        ToolError: the disk is full, or the toolchain failed; its log stays in the chip's folder.
    """
    model = read(_given(job))
    name_nodes(model.graph)
    path = job.out / render.MODEL
    write(model, path)
    entries = layers.layer_configs(model, job.u16)
    notes = layers.notes(model, job.u16, entries) if job.u16 else ""
    kit = _Kit(rules.facts(path), entries, layers.reasons(model, job.u16), notes)
    toolchain = pulsar2_tool.find() if job.options.compile == "auto" else None
    emulation = Emulation(job)
    artifacts: list[Artifact] = [Artifact(render.MODEL)]
    for chip in job.options.chips:
        artifacts += [Artifact(path) for path in _write_kit(job, chip, kit)]
        artifacts += _compiled(job, chip, toolchain, emulation)
    return artifacts


@dataclass(frozen=True)
class _Kit:
    """What the kits of all chips share: facts of the model, its layers at 16 bits, why, and what to say of them."""

    known: rules.Facts
    layers: tuple[LayerConfig, ...]
    because: Mapping[str, str]
    notes: str


def _given(job: TargetJob[Options]) -> Path:
    """The graph that the tool is given.

    Raises:
        RecipeError: the recipe wants a QDQ model and does not quantize, or wants 16 bits in it.
    """
    if job.options.model == "float":
        return job.baked or job.model
    if job.quantized is None:
        what = "targets.pulsar2.model: the recipe quantizes nothing, so there is no QDQ model"
        raise RecipeError(what, fix="add a quantization section, or use float", at=("targets", "pulsar2", "model"))
    if job.u16:
        what = "quantization.u16: nothing is documented of 16 bits in a QDQ model"
        raise RecipeError(what, fix="set targets.pulsar2.model to float, or remove u16", at=("quantization", "u16"))
    return job.quantized


def _write_kit(job: TargetJob[Options], chip: str, kit: _Kit) -> list[str]:
    """Write what Pulsar2 needs for `chip`; returns the paths relative to the job's folder."""
    inside = render.folder(chip)
    config, script = job.out / inside / render.CONFIG, job.out / inside / render.SCRIPT
    made = render.rendered(chip, job.inputs, job.options, kit.known, kit.layers, kit.because)
    for doubt in made.warnings:
        job.progress.warn(f"{chip}: {render.CONFIG}: {doubt}")
    write_bytes(made.text.encode(), config)
    packed = calibration.write(job.inputs, job.pictures, job.out / inside, job.options.kind)
    write_bytes(render.script(job.name, chip, job.options, kit.known.not_deployable).encode(), script)
    _executable(script)
    told = (render.U16,) if kit.notes else ()
    for name in told:
        write_bytes(kit.notes.encode(), job.out / inside / name)
    return [f"{inside}/{path}" for path in (render.CONFIG, *packed, render.SCRIPT, *told)]


def _compiled(
    job: TargetJob[Options], chip: str, toolchain: pulsar2_tool.Toolchain | None, emulation: Emulation
) -> list[Artifact]:
    """The compiled model and its companions, or why it is missing."""
    path = f"{job.name}.{chip.lower()}.axmodel"
    if job.options.compile == "never":
        return [Artifact(path, "axmodel", "not asked for", "set targets.pulsar2.compile to auto")]
    if toolchain is None:
        return [Artifact(path, "axmodel", pulsar2_tool.MISSING, pulsar2_tool.FIX)]
    added = compile_kit(toolchain, job.name, chip, job.options, job.out, job.progress, job.u16)
    inside = render.folder(chip)
    added.append(f"{inside}/{tell(job.out / inside, chip, emulation, job.progress)}")
    return [Artifact(one, "axmodel" if one == path else None) for one in added]


def _executable(path: Path) -> None:
    try:
        path.chmod(0o755)
    except OSError as error:
        raise ToolError(f"cannot write: {error.strerror}", where=str(path), fix="use another disk") from error
