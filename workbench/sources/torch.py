"""PyTorch networks: a factory from the zoo, a checkout or a git commit, with the weights of a checkpoint.

The only door to torch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from pydantic import BeforeValidator, Field, model_validator

from workbench.catalog import did_you_mean
from workbench.engine.progress import Progress, track
from workbench.engine.store import default_home
from workbench.errors import RecipeError, SourceError, UnsupportedError
from workbench.recipe.schema import FieldError, InputSpec, OutputSpec, Sha1, Strict
from workbench.runtimes._quiet import quiet
from workbench.sources import _checkout, _state_dict, _trace_failure, seeded
from workbench.sources._canonical import canonical
from workbench.sources._factory import ZOO, find, zoo, zoo_folder
from workbench.sources._pickle import wanted_code
from workbench.sources._results import Picker, match
from workbench.sources._source import Exported, Tensors, check_finite, check_shapes, from_layout, only_nchw
from workbench.sources._state_dict import StateDict

if TYPE_CHECKING:
    import torch

TOOLS = ("torch", "onnxscript", "onnx-ir")
_OPSET = 18


def _plain(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise FieldError((), "an argument is text, a finite number, true or false", "give it as one plain value")
    return value


Argument = Annotated[bool | int | float | str, BeforeValidator(_plain)]


class Options(Strict):
    """A torch network: who builds it, where its code is, and how its checkpoint is read."""

    factory: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
            description="package.module:callable that returns the network, names of letters, digits and _,"
            " e.g. workbench.zoo.movenet:MoveNet",
        ),
    ]
    arguments: Annotated[dict[str, Argument], Field(description="keyword arguments of the factory")] = Field(
        default_factory=dict
    )
    checkout: Annotated[
        str | None, Field(min_length=1, description="folder with the network's code, relative to the recipe")
    ] = None
    repository: Annotated[
        str | None,
        Field(pattern=r"^https://[^\s]+$", description="git repository with the network's code; begins with https://"),
    ] = None
    commit: Annotated[
        Sha1 | None, Field(description="the commit of repository in full, 40 hexadecimal digits; not a branch or a tag")
    ] = None
    state_dict: Annotated[StateDict, Field(description="how the checkpoint's parameters are found and named")] = (
        StateDict()
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.checkout is not None and self.repository is not None:
            raise FieldError(("repository",), "checkout and repository both say where the code is", "keep one")
        if (self.repository is None) != (self.commit is None):
            given = "repository" if self.commit is None else "commit"
            raise FieldError((given,), "repository and commit belong together", "write both, or neither")
        if self.checkout is None and self.repository is None and self.factory not in zoo():
            module = self.factory.partition(":")[0]
            if module.startswith(f"{ZOO}."):
                raise FieldError(("factory",), f"the zoo has no {self.factory!r}", did_you_mean(self.factory, zoo()))
            raise FieldError(
                ("factory",),
                f"{module!r} is not in {ZOO}",
                "say where its code is with checkout, or repository and commit",
            )
        return self


def import_torch() -> ModuleType:
    """PyTorch, silently."""
    with quiet():
        import torch

    module: ModuleType = torch
    return module


def fingerprint(options: Options, *, base: Path) -> str:
    """A hash of the code that defines the network; see `Source.fingerprint`.

    Raises:
        RecipeError: the checkout is not there.
    """
    if options.commit is not None:
        return options.commit
    if options.checkout is not None:
        return _checkout.digest(_folder(options.checkout, base))
    return _checkout.digest(zoo_folder())


def export(
    options: Options,
    weights: Path | None,
    inputs: tuple[InputSpec, ...],
    outputs: tuple[OutputSpec, ...],
    samples: Sequence[Mapping[str, npt.NDArray[np.float32]]],
    *,
    base: Path,
    progress: Progress,
) -> Exported:
    """The canonical graph of a torch network and its golden outputs; see `Source.export`."""
    only_nchw("torch", inputs, outputs)
    torch = import_torch()
    with _network(torch, options, weights, base, progress) as network, torch.no_grad():
        zeros = [torch.zeros(spec.shape) for spec in inputs]
        first = _run(network, zeros, inputs)
        pick = match(first, outputs)
        check_shapes(_named(pick(first), outputs), outputs)
        golden: list[Tensors] = []
        for sample in track(samples, progress, "golden outputs"):
            arrays = [torch.from_numpy(np.array(sample[spec.name])) for spec in inputs]
            golden.append(_named(pick(_run(network, arrays, inputs)), outputs))
        check_finite(golden)
        progress.note("tracing the network")
        model = _to_onnx(torch, network, pick, zeros, len(outputs))
    return Exported(canonical(model, inputs, outputs), golden)


def _named(tensors: Sequence[torch.Tensor], outputs: Sequence[OutputSpec]) -> Tensors:
    named = zip(outputs, tensors, strict=True)
    return {spec.name: from_layout(tensor.numpy(), "NCHW") for spec, tensor in named}


@contextlib.contextmanager
def _network(
    torch: ModuleType, options: Options, weights: Path | None, base: Path, progress: Progress
) -> Iterator[torch.nn.Module]:
    """The network with its weights, in evaluation mode; its code can be imported during the block."""
    root = None
    if options.checkout is not None:
        root = _folder(options.checkout, base)
    elif options.repository is not None and options.commit is not None:
        progress.note(f"code from {options.repository} at {options.commit[:12]}")
        root = _checkout.fetch(options.repository, options.commit, default_home() / "checkouts")
    with contextlib.ExitStack() as stack:
        if root is not None:
            stack.enter_context(_checkout.importable(root, options.factory.partition(":")[0]))
        network = _build(torch, options, root)
        _load(torch, network, options.state_dict, weights, progress)
        yield network.float().eval().requires_grad_(False)


def _folder(checkout: str, base: Path) -> Path:
    folder = base / checkout
    if not folder.is_dir():
        raise RecipeError(
            f"no folder {checkout!r} beside the recipe", fix="clone the network's code there", at=("source", "checkout")
        )
    return folder.resolve()


def _build(torch: ModuleType, options: Options, root: Path | None) -> torch.nn.Module:
    with quiet(), torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # some networks draw buffers that are in no checkpoint
        factory = find(options.factory, root)
        try:
            network = factory(**options.arguments)
        except (Exception, SystemExit) as error:  # the factory is the user's: whatever it raises is about their code
            raise SourceError(
                f"the factory {options.factory} fails: {type(error).__name__}: {error}",
                where=str(root or ""),
                fix="correct it, or give what it needs in source.arguments",
                at=("source", "arguments" if options.arguments else "factory"),
            ) from error
    if not isinstance(network, torch.nn.Module):
        raise SourceError(
            f"the factory {options.factory} gives a {type(network).__name__}, not a torch.nn.Module",
            where=str(root or ""),
            fix="name the class of the network, or a function that returns it",
            at=("source", "factory"),
        )
    return network


def _load(
    torch: ModuleType, network: torch.nn.Module, options: StateDict, weights: Path | None, progress: Progress
) -> None:
    state = network.state_dict()
    if weights is None:
        for name, tensor in state.items():
            value = seeded.parameter(name, tensor.shape, np.float32 if tensor.is_floating_point() else np.int64)
            tensor.copy_(torch.from_numpy(value))
        return
    where = str(weights)
    file = _state_dict.select(_read_checkpoint(torch, weights), options, where)
    fitted = _state_dict.fit({name: tuple(t.shape) for name, t in state.items()}, file, options, where, progress)
    for name, tensor in fitted.items():
        try:
            with quiet():  # complex and sparse tensors are warned about
                finite = not tensor.is_complex() and bool(torch.isfinite(tensor).all())
                state[name].copy_(tensor)
        except RuntimeError as error:  # a file may hold sparse, quantized or storage-less tensors under a good name
            raise SourceError(
                f"parameter {name!r} cannot be read: {str(error).splitlines()[0]}",
                where=where,
                fix="save the parameters as plain dense tensors",
            ) from error
        if not finite:
            raise SourceError(
                f"parameter {name!r} holds NaN, infinity or complex numbers",
                where=where,
                fix="give a checkpoint of a healthy training",
            )


def _read_checkpoint(torch: ModuleType, path: Path) -> Any:
    """What `path` holds, built from plain data and tensors only.

    Raises:
        SourceError: it cannot be read, is no checkpoint, or would run code.
    """
    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SourceError(
            f"cannot read the checkpoint: {error.strerror or error}", where=str(path), fix="check the path"
        ) from error
    except Exception as error:  # a hostile or cut pickle makes the unpickler fail with any exception there is
        code = wanted_code(path)
        if code is not None:
            raise SourceError(
                f"the file wants to run code ({code}); it is refused",
                where=str(path),
                fix="where you trust it, load it and save only its state_dict: torch.save(network.state_dict(), file)",
            ) from error
        raise SourceError(
            "not a torch checkpoint, or a truncated one",
            where=str(path),
            fix="download it again; check that it is no web page and has its full size",
        ) from error


def _run(network: torch.nn.Module, arrays: Sequence[Any], inputs: Sequence[InputSpec]) -> Any:
    """The network's raw result.

    Raises:
        RecipeError: the network does not take inputs of that number and shape.
    """
    try:
        with quiet():
            return network(*arrays)
    except Exception as error:  # the network is the user's: whatever its forward raises is about these inputs
        shapes = ", ".join(str(list(spec.shape)) for spec in inputs)
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RecipeError(
            f"the network does not take {shapes}: {first}",
            fix="write the shape it was made for",
            at=("inputs", 0, "shape") if len(inputs) == 1 else ("inputs",),
        ) from error


def _to_onnx(
    torch: ModuleType, network: torch.nn.Module, pick: Picker, arrays: Sequence[Any], outputs: int
) -> ir.Model:
    """Trace with ``torch.export``: 5 s for lightweight OpenPose, clean parameter names and folded batch norms.

    The older TorchScript exporter takes 0.5 s, but is deprecated, loses the parameter names of folded layers and
    shares biases through Identity nodes.
    """

    class Ordered(torch.nn.Module):  # type: ignore[misc, name-defined] # mypy does not read torch
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: Any) -> Any:
            return pick(self.network(*tensors))

    try:
        with quiet():
            program = torch.onnx.export(
                Ordered().eval(),
                tuple(arrays),
                dynamo=True,
                opset_version=_OPSET,
                input_names=[f"input_{index}" for index in range(len(arrays))],
                output_names=[f"output_{index}" for index in range(outputs)],
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # failures of tracing, decomposition and translation come wrapped in many types
        what, fix = "traced", "its forward must be free of data-dependent Python"
        if _trace_failure.is_missing_operator(error):
            what, fix = "written as ONNX", "its forward must do without that operator"
        raise UnsupportedError(
            f"the network cannot be {what}: {_trace_failure.explain(error)}",
            fix=f"{fix}; wrap it in a factory that returns the raw heads",
        ) from error
    model: ir.Model = program.model
    for name in sorted(model.graph.initializers):
        model.graph.initializers[name].name = name.removeprefix("network.")
    return model
