"""Pulsar2's BuildConfig, whole: every message, field, enum and default that the vendor documents (7.0).

Names and spelling are the vendor's. A field whose default is not documented is None: left to the tool. What holds
between fields is in `rules`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from workbench.errors import RecipeError, RecipeErrors
from workbench.recipe import complaints
from workbench.recipe.yaml_marks import At, Marks
from workbench.targets.pulsar2.chips import Hardware, NpuMode

ColorSpace = Literal["AutoColorSpace", "GRAY", "BGR", "RGB", "RGBA", "YUV420SP", "YVU420SP", "YUYV422", "UYVY422"]
Layout = Literal["DefaultLayout", "NHWC", "NCHW"]
DataType = Literal["DefaultDataType", "U8", "S8", "U16", "S16", "U32", "S32", "U64", "S64", "FP16", "FP32"]
ModelType = Literal["ONNX", "QuantAxModel", "QuantONNX"]
QuantMethod = Literal["MinMax", "Percentile", "MSE", "KL"]
PrecisionAnalysisMethod = Literal["PerLayer", "EndToEnd"]
PrecisionAnalysisMode = Literal["Reference", "NPUBackend"]
CheckMode = Literal["CheckOutput", "CheckPerLayer"]
DataFormat = Literal["Image", "Numpy", "Binary", "NumpyObject"]
CSCMode = Literal["NoCSC", "Matrix", "FullRange", "LimitedRange"]
ScheduleStrategy = Literal["Tile", "Slice"]
MatchMode = Literal["Op", "Tensor"]

# Some fields take fewer values than their enum has. The vendor's page also offers src_format RAW, which its enum lacks:
# the parser refuses it, so it is left out.
TensorFormat = Literal["AutoColorSpace", "BGR", "RGB", "GRAY"]
SourceFormat = Literal["AutoColorSpace", "GRAY", "BGR", "RGB", "YUYV422", "UYVY422", "YUV420SP", "YVU420SP"]
PlainLayout = Literal["NHWC", "NCHW"]
SourceType = Literal["U8", "S8", "U16", "S16", "U32", "S32", "FP16", "FP32"]
LayerType = Literal["U8", "S8", "U16", "S16", "FP32"]
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
_LARGEST_FLOAT = 3.4028234663852886e38  # a larger number is an error of the vendor's parser
Float = Annotated[float, Field(ge=-_LARGEST_FLOAT, le=_LARGEST_FLOAT)]
_MOST_TOLD = 50  # mistakes of one file
Properties = dict[str, JsonValue]


class Message(BaseModel):
    """The base of every message: frozen, strict types, and an unknown field is an error, as in the vendor's parser."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Shape(Message):
    """One shape."""

    shape: tuple[Int32, ...] = ()


class Node(Message):
    """A pattern of operators inside `Graph`."""

    types: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    properties: Properties = {}


class Graph(Message):
    """A pattern that the compiler schedules in a given way."""

    nodes: tuple[Node, ...] = ()
    type: ScheduleStrategy | None = None
    match_mode: MatchMode | None = None


class InputQuantConfig(Message):
    """Calibration data of one input. `calibration_std` is a divisor."""

    tensor_name: str
    calibration_dataset: str
    calibration_format: DataFormat = "Image"
    calibration_size: Int32 = 32
    calibration_mean: tuple[Float, ...] = ()
    calibration_std: tuple[Float, ...] = ()


class LayerConfig(Message):
    """Mixed precision for what exactly one selector names."""

    layer_name: str = ""
    op_type: str = ""
    start_tensor_names: tuple[str, ...] = ()
    end_tensor_names: tuple[str, ...] = ()
    data_type: LayerType = "U8"
    weight_data_type: Literal["S8", "FP32"] = "S8"
    layer_names: tuple[str, ...] = ()
    op_types: tuple[str, ...] = ()
    output_data_type: LayerType = "U8"


class OnnxOptimizeOption(Message):
    """The tool's own graph optimizer; its `enable_onnxsim` runs OnnxSlim."""

    disable_onnx_optimization: bool = False
    enable_onnxsim: bool = False
    model_check: bool = False
    disable_transformation_check: bool = False
    save_tensors_data: bool = False


class QuantConfig(Message):
    """Calibration, mixed precision, precision analysis and the tuning algorithms."""

    input_configs: tuple[InputQuantConfig, ...] = ()
    layer_configs: tuple[LayerConfig, ...] = ()
    calibration_method: QuantMethod = "MinMax"
    precision_analysis: bool = False
    precision_analysis_method: PrecisionAnalysisMethod = "PerLayer"
    precision_analysis_mode: PrecisionAnalysisMode = "Reference"
    highest_mix_precision: bool = False
    conv_bias_data_type: Literal["S32", "FP32"] = "S32"
    refine_weight_threshold: Annotated[float, Field(lt=1e-4)] = 1e-6  # -1 switches it off
    enable_smooth_quant: bool = False
    smooth_quant_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    smooth_quant_strength: Float | None = None
    transformer_opt_level: Annotated[int, Field(ge=0, le=2)] = 0
    input_sample_dir: str = ""
    ln_scale_data_type: Literal["FP32", "S32", "U32"] = "FP32"
    check: Int32 = 0
    disable_auto_refine_scale: bool = False
    enable_easy_quant: bool = False
    disable_quant_optimization: bool = False
    enable_brecq: bool = False
    enable_lsq: bool = False
    enable_adaround: bool = False
    finetune_epochs: Int32 = 500
    finetune_block_size: Int32 = 4
    finetune_batch_size: Int32 = 1
    finetune_lr: Float = 1e-3
    device: Annotated[str, Field(pattern=r"^(cpu|cuda:[0-7])$")] = "cpu"


class InputProcessor(Message):
    """What the compiled model does to its input before the network. `mean` and `std` empty mean the calibration's."""

    tensor_name: str
    tensor_format: TensorFormat = "AutoColorSpace"
    tensor_layout: PlainLayout = "NCHW"
    src_format: SourceFormat = "AutoColorSpace"
    src_layout: PlainLayout = "NCHW"
    src_dtype: SourceType = "FP32"
    src_extra_shapes: tuple[Shape, ...] = ()
    csc_mode: CSCMode = "NoCSC"
    csc_mat: tuple[Float, ...] = ()
    mean: tuple[Float, ...] = ()
    std: tuple[Float, ...] = ()
    padding: tuple[Int32, ...] = ()
    padding_mode: str = "constant"
    padding_constant_value: Int32 = 0
    slicing: tuple[Int32, ...] = ()
    scale: Float = 0
    zeropoint: Int32 = 0


class OutputProcessor(Message):
    """What the compiled model does to an output after the network."""

    tensor_name: str
    tensor_layout: Layout | None = None
    dst_perm: tuple[Int32, ...] = ()
    output_dtype: Literal["FP32", "U8"] = "FP32"


class OpProcessor(Message):
    """Attributes of one operator, overridden."""

    op_name: str
    attrs: Properties


class ConstProcessor(Message):
    """A constant of the model, replaced."""

    name: str
    data: tuple[float, ...] = ()  # the one double
    data_path: str = ""


class CompilerConfig(Message):
    """Batch sizes, checks and scheduling of the NPU compiler."""

    static_batch_sizes: tuple[Int32, ...] = ()
    max_dynamic_batch_size: Int32 = 0
    ddr_bw_limit: Float = 0
    disable_ir_fix: bool = False
    check: Int32 = 0
    npu_perf: bool = False
    check_mode: CheckMode = "CheckOutput"
    check_rtol: Float = 1e-5
    check_atol: Float = 0
    check_cosine_simularity: Float = 0.999
    check_tensor_black_list: tuple[str, ...] = ()
    enable_slice_mode: bool = False
    enable_tile_mode: bool = False
    enable_data_soft_compression: bool = False
    input_sample_dir: str = ""
    compiler_group_patterns: tuple[Graph, ...] = ()
    sub_configs: tuple[CompilerConfig, ...] = ()
    start_tensor_names: tuple[str, ...] = ()
    end_tensor_names: tuple[str, ...] = ()


class BuildConfig(Message):
    """The whole configuration. `work_dir` empty means `output_dir`; paths are relative to where the tool starts."""

    input: str
    output_dir: str
    output_name: str = "compiled.axmodel"
    work_dir: str = ""
    model_type: ModelType = "ONNX"
    target_hardware: Hardware = "AX650"
    npu_mode: NpuMode = "NPU1"
    input_shapes: str = ""
    onnx_opt: OnnxOptimizeOption = OnnxOptimizeOption()
    quant: QuantConfig = QuantConfig()
    input_processors: tuple[InputProcessor, ...] = ()
    output_processors: tuple[OutputProcessor, ...] = ()
    const_processors: tuple[ConstProcessor, ...] = ()
    op_processors: tuple[OpProcessor, ...] = ()
    quant_op_processors: tuple[OpProcessor, ...] = ()
    compiler: CompilerConfig = CompilerConfig()


def validate(data: dict[str, Any], marks: Marks) -> BuildConfig:
    """Plain data as a configuration.

    Args:
        data: as JSON would hold it.
        marks: the place of each value.

    Raises:
        RecipeErrors: every unknown field, wrong type and bad value, each with its place and dotted path.
    """
    try:
        # Through JSON, for a strict tuple takes a list only from there.
        return BuildConfig.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found = complaints.from_pydantic(error, BuildConfig, (), marks)
        for one in found:
            if one.fix == "see workbench schema":
                one.fix = f"it takes {_takes(one.at or ())}"
        if len(found) > _MOST_TOLD:
            more = RecipeError(f"{len(found) - _MOST_TOLD} more mistakes", where=marks.file, fix="mend these first")
            found = [*found[:_MOST_TOLD], more]
        raise RecipeErrors(found) from error


def _takes(at: At) -> str:
    """What the field at `at` takes, in words."""
    kind: Any = BuildConfig
    for step in at:
        inside = [part for part in get_args(kind) if part not in (type(None), Ellipsis)]
        if isinstance(step, str) and isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = get_type_hints(kind)[step]
        elif isinstance(step, int) and inside:
            kind = inside[0]
    words: dict[Any, str] = {str: "text", bool: "true or false", int: "a whole number of 32 bits", float: "a number"}
    if get_origin(kind) is tuple:
        return f"a list of {words.get(_plain(get_args(kind)[0]), 'objects')}"
    return words.get(_plain(kind), "an object, {...}")


def _plain(kind: Any) -> Any:
    """The type inside an optional."""
    inside = [part for part in get_args(kind) if part is not type(None)]
    return inside[0] if inside and get_origin(kind) not in (dict, Literal) else kind
