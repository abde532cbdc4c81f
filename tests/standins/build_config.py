"""The vendor's BuildConfig as a table for stand-in and tests: ``field:type``, ``*`` repeated, ``!`` required."""

from __future__ import annotations

MESSAGES = {
    "Node": """
        types:*string inputs:*string outputs:*string properties:Struct
    """,
    "Graph": """
        nodes:*Node type:ScheduleStrategy match_mode:MatchMode
    """,
    "InputQuantConfig": """
        tensor_name:string! calibration_dataset:string! calibration_format:DataFormat calibration_size:int32
        calibration_mean:*float calibration_std:*float
    """,
    "LayerConfig": """
        layer_name:string op_type:string start_tensor_names:*string end_tensor_names:*string
        data_type:DataType weight_data_type:DataType layer_names:*string op_types:*string
        output_data_type:DataType
    """,
    "OnnxOptimizeOption": """
        disable_onnx_optimization:bool enable_onnxsim:bool model_check:bool
        disable_transformation_check:bool save_tensors_data:bool
    """,
    "QuantConfig": """
        input_configs:*InputQuantConfig layer_configs:*LayerConfig calibration_method:QuantMethod
        precision_analysis:bool precision_analysis_method:PrecisionAnalysisMethod
        precision_analysis_mode:PrecisionAnalysisMode highest_mix_precision:bool
        conv_bias_data_type:DataType refine_weight_threshold:float enable_smooth_quant:bool
        smooth_quant_threshold:float smooth_quant_strength:float transformer_opt_level:int32
        input_sample_dir:string ln_scale_data_type:DataType check:int32 disable_auto_refine_scale:bool
        enable_easy_quant:bool disable_quant_optimization:bool enable_brecq:bool enable_lsq:bool
        enable_adaround:bool finetune_epochs:int32 finetune_block_size:int32 finetune_batch_size:int32
        finetune_lr:float device:string
    """,
    "InputProcessor": """
        tensor_name:string! tensor_format:ColorSpace tensor_layout:Layout src_format:ColorSpace
        src_layout:Layout src_dtype:DataType src_extra_shapes:*Shape csc_mode:CSCMode csc_mat:*float
        mean:*float std:*float padding:*int32 padding_mode:string padding_constant_value:int32
        slicing:*int32 scale:float zeropoint:int32
    """,
    "OutputProcessor": """
        tensor_name:string! tensor_layout:Layout dst_perm:*int32 output_dtype:DataType
    """,
    "OpProcessor": """
        op_name:string! attrs:Struct!
    """,
    "ConstProcessor": """
        name:string! data:*double data_path:string
    """,
    "CompilerConfig": """
        static_batch_sizes:*int32 max_dynamic_batch_size:int32 ddr_bw_limit:float disable_ir_fix:bool
        check:int32 npu_perf:bool check_mode:CheckMode check_rtol:float check_atol:float
        check_cosine_simularity:float check_tensor_black_list:*string enable_slice_mode:bool
        enable_tile_mode:bool enable_data_soft_compression:bool input_sample_dir:string
        compiler_group_patterns:*Graph sub_configs:*CompilerConfig start_tensor_names:*string
        end_tensor_names:*string
    """,
    "BuildConfig": """
        input:string! output_dir:string! output_name:string work_dir:string model_type:ModelType
        target_hardware:HardwareType npu_mode:NPUMode input_shapes:string onnx_opt:OnnxOptimizeOption
        quant:QuantConfig input_processors:*InputProcessor output_processors:*OutputProcessor
        const_processors:*ConstProcessor op_processors:*OpProcessor quant_op_processors:*OpProcessor
        compiler:CompilerConfig
    """,
    "Shape": """
        shape:*int32
    """,
}
ENUMS = {
    "ColorSpace": "AutoColorSpace GRAY BGR RGB RGBA YUV420SP YVU420SP YUYV422 UYVY422",
    "Layout": "DefaultLayout NHWC NCHW",
    "DataType": "DefaultDataType U8 S8 U16 S16 U32 S32 U64 S64 FP16 FP32",
    "NPUMode": "NPU1 NPU2 NPU3 NPU4",
    "HardwareType": "AX650 AX620E AX615 AX637 AX8860 M76H M57",
    "ModelType": "ONNX QuantAxModel QuantONNX",
    "QuantMethod": "MinMax Percentile MSE KL",
    "PrecisionAnalysisMethod": "PerLayer EndToEnd",
    "PrecisionAnalysisMode": "Reference NPUBackend",
    "CheckMode": "CheckOutput CheckPerLayer",
    "DataFormat": "Image Numpy Binary NumpyObject",
    "CSCMode": "NoCSC Matrix FullRange LimitedRange",
    "ScheduleStrategy": "Tile Slice",
    "MatchMode": "Op Tensor",
}


def fields(message: str) -> dict[str, str]:
    """Name to type of every field of `message`."""
    return dict(field.split(":") for field in MESSAGES[message].split())


def mistakes(value: object, message: str, path: str = "BuildConfig") -> list[str]:
    """What a strict parser says of `value`; empty when it is a `message`."""
    if not isinstance(value, dict):
        return [f"{path}: not an object"]
    known = fields(message)
    found = [f'{path}: no field named "{name}"' for name in value if name not in known]
    for name, kind in known.items():
        if name not in value:
            found += [f"{path}.{name}: required"] if kind.endswith("!") else []
            continue
        bare = kind.strip("*!")
        items = value[name] if kind.startswith("*") else [value[name]]
        if not isinstance(items, list):
            found.append(f"{path}.{name}: not a list")
            continue
        for item in items:
            found += _mistakes(item, bare, f"{path}.{name}")
    return found


def _mistakes(item: object, kind: str, path: str) -> list[str]:
    if kind in MESSAGES:
        return mistakes(item, kind, path)
    if kind in ENUMS:
        good = item in ENUMS[kind].split()
    elif kind in ("float", "double"):
        good = isinstance(item, int | float) and not isinstance(item, bool)
    else:
        python = {"string": str, "bool": bool, "int32": int, "Struct": dict}[kind]
        good = isinstance(item, python) and (kind == "bool" or not isinstance(item, bool))
    return [] if good else [f"{path}: {item!r} is no {kind}"]
