"""What a recipe may say under ``targets: pulsar2:``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from workbench.errors import RecipeError
from workbench.recipe.schema import FieldError, Name, Strict, Whole
from workbench.targets.pulsar2 import chips
from workbench.targets.pulsar2.chips import NpuMode
from workbench.targets.pulsar2.schema import PrecisionAnalysisMethod, PrecisionAnalysisMode, QuantMethod

InputKind = Literal["u8", "fp32", "nv12", "nv21"]
_KINDS = (
    "u8: 8-bit NHWC pictures, normalized on the chip; fp32: the network's own float NCHW tensor;"
    " nv12, nv21: a camera's YUV, converted and normalized on the chip"
)


def _known(name: str) -> str:
    try:
        chips.find(name)
    except RecipeError as error:
        raise FieldError((), error.what, error.fix) from error
    return name


ChipName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": sorted(chips.NAMES)})]


class Options(Strict):
    """Options of the Pulsar2 target."""

    chips: Annotated[
        tuple[ChipName, ...],
        Field(min_length=1, description="chips to compile for, by name or alias"),
    ] = ("AX650",)
    npu_mode: Annotated[NpuMode, Field(description="how many NPU cores one model takes")] = "NPU1"
    model: Annotated[
        Literal["float", "qdq"],
        Field(description="float: Pulsar2 quantizes; qdq: it takes over the quantization of <name>.int8.onnx"),
    ] = "float"
    input: Annotated[InputKind, Field(description=f"what the compiled model is fed; {_KINDS}")] = "u8"
    inputs: Annotated[
        dict[Name, InputKind], Field(description="inputs that are fed something else, by name, e.g. {depth: fp32}")
    ] = {}  # noqa: RUF012 -- pydantic copies it
    csc: Annotated[
        Literal["full", "limited"],
        Field(description="range of nv12 and nv21: full (0..255, most cameras) or limited (16..235, video streams)"),
    ] = "full"
    calibration_method: Annotated[QuantMethod, Field(description="how Pulsar2 chooses ranges")] = "MinMax"
    precision_analysis: Annotated[bool, Field(description="let Pulsar2 write its table of cosines per layer")] = False
    precision_analysis_method: Annotated[
        PrecisionAnalysisMethod | None,
        Field(
            description="PerLayer: each layer is fed the float model's tensors; EndToEnd: errors add up as on the chip"
        ),
    ] = None
    precision_analysis_mode: Annotated[
        PrecisionAnalysisMode | None,
        Field(description="Reference: every model, within 1 step of the chip; NPUBackend: exact, NPU operators only"),
    ] = None
    highest_mix_precision: Annotated[bool, Field(description="16 bits wherever the chip has them; slower")] = False
    smooth_quant: Annotated[bool, Field(description="let Pulsar2 move ranges from activations into weights")] = False
    batch_sizes: Annotated[
        tuple[Annotated[Whole, Field(ge=1, le=1024)], ...],
        Field(description="batch sizes that share one compiled model, e.g. [1, 2, 4]; left out: one picture"),
    ] = ()
    npu_perf: Annotated[bool, Field(description="let Pulsar2 write cycles per operator and a trace")] = False
    check: Annotated[
        Literal["none", "output", "layers"],
        Field(description="let Pulsar2 compare what it compiled with its own reference, outputs or every layer"),
    ] = "none"
    lint: Annotated[
        Literal["error", "warn"],
        Field(description="a node that the chip's operator table refuses: ends the conversion, or is warned of"),
    ] = "error"
    compile: Annotated[
        Literal["auto", "never"],
        Field(description="auto: compile when a toolchain is found; never: only write the kit"),
    ] = "auto"
    timeout_minutes: Annotated[
        Whole, Field(gt=0, le=10_080, description="a compilation that takes longer is ended")
    ] = 240

    def kind(self, name: str) -> InputKind:
        """What the compiled model is fed as its input `name`."""
        return self.inputs.get(name, self.input)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for index, name in enumerate(self.chips):
            if name in self.chips[:index]:
                raise FieldError(("chips", index), f"chip {name} is listed twice", "remove one")
            chip = chips.find(name)
            if self.npu_mode not in chip.npu_modes:
                modes = " or ".join(chip.npu_modes)
                raise FieldError(("npu_mode",), f"{name} has no {self.npu_mode}", f"use {modes}")
            if self.model == "qdq" and not chip.quantonnx:
                able = " and ".join(one.name for one in chips.CHIPS if one.quantonnx)
                what = f"{name} takes no QDQ model, only {able} do"
                raise FieldError(("model",), what, "use float, or other chips")
        for key in ("precision_analysis_method", "precision_analysis_mode"):
            if getattr(self, key) is not None and not self.precision_analysis:
                raise FieldError((key,), "there is no analysis to do so", "set precision_analysis: true")
        for index, size in enumerate(self.batch_sizes):
            if size in self.batch_sizes[:index]:
                raise FieldError(("batch_sizes", index), f"{size} is listed twice", "remove one")
        return self
