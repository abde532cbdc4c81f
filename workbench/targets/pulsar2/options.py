"""What a recipe may say under ``targets: pulsar2:``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from workbench.errors import RecipeError
from workbench.recipe.schema import FieldError, Strict, Whole
from workbench.targets.pulsar2 import chips
from workbench.targets.pulsar2.chips import NpuMode
from workbench.targets.pulsar2.schema import QuantMethod


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
    input: Annotated[
        Literal["u8", "fp32"],
        Field(description="u8: 8-bit NHWC pictures, normalized on the chip; fp32: the network's own float NCHW tensor"),
    ] = "u8"
    calibration_method: Annotated[QuantMethod, Field(description="how Pulsar2 chooses ranges")] = "MinMax"
    precision_analysis: Annotated[bool, Field(description="let Pulsar2 write its table of cosines per layer")] = False
    compile: Annotated[
        Literal["auto", "never"],
        Field(description="auto: compile when a toolchain is found; never: only write the kit"),
    ] = "auto"
    timeout_minutes: Annotated[
        Whole, Field(gt=0, le=10_080, description="a compilation that takes longer is ended")
    ] = 240

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for index, name in enumerate(self.chips):
            if name in self.chips[:index]:
                raise FieldError(("chips", index), f"chip {name} is listed twice", "remove one")
            modes = chips.find(name).npu_modes
            if self.npu_mode not in modes:
                raise FieldError(("npu_mode",), f"{name} has no {self.npu_mode}", f"use {' or '.join(modes)}")
        return self
