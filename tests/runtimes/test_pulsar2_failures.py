"""What a failed run's log means: phase, node, cause, cure, and the lines that are shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pulsar2 import fake

from workbench.engine.progress import Silent
from workbench.errors import ToolError
from workbench.runtimes.pulsar2_tool import Toolchain
from workbench.runtimes.pulsar2_tool.failures import Run, failure
from workbench.runtimes.pulsar2_tool.phases import PHASES, named
from workbench.runtimes.pulsar2_tool.signatures import SIGNATURES, recognize

# Ends of logs: those of public reports of real builds, shortened, and those of the libraries the tool is built on.
TILE = """Traceback (most recent call last):
  File "<frozen yamain.command.build>", line 1172, in compile_ptq_model
yamain.common.error.CodeException: (<ErrorCode.NPUBackendError: 8>, TileFailException("AxQuantizedSin, AxQuantizedSin \
dont support\\n    op: /Sin\\n    attrs: {'output_dtype': 'U8'}"))"""
LUT = """yamain.common.error.CodeException: (<ErrorCode.NPUBackendError: 8>, OpBuildException("op: AxLeakyRelu, 'dont \
support lut_float opr in AXOPS'\\n\\tattrs = {'const_inputs': {}, 'prefix': '/dec/LeakyRelu_5_1129_s0_gop_extra'}"))"""
MOD = """axnn.yamain.common.error.CodeException: (<ErrorCode.OnnxOptimizationError: 13>, AssertionError("check onnx \
parser e2e failed, ['output0']"))
op name: /model.23/Mod, Mod, {'fmod': 0} get opr failed."""
SEQUENCE = """NotImplementedError: Graph op: /SequenceEmpty(SequenceEmpty) has no backend implementation on target
RuntimeError: Op Execution Error: /SequenceEmpty(TargetPlatform.UNSPECIFIED)
yamain.common.error.CodeException: (<ErrorCode.QuantError: 3>, ...)"""
DTYPE = """AssertionError: Numpy File(/data/out/quant/dataset/input_ids/0000.npy) has dtype(float32),
however corresponding type of inputs(input_ids) is <class 'numpy.int64'>
ErrorCode.QuantError: 3"""

CASES = [
    (TILE, "while compiling for the NPU, at node /Sin: the NPU's compiler cannot split AxQuantizedSin", "smaller"),
    (LUT, "at node /dec/LeakyRelu_5_1129_s0_gop_extra: a layer is asked for at FP32", "U16 works for more"),
    (MOD, "while reading and optimizing the graph, at node /model.23/Mod: the chip lacks this operator: Mod", "check"),
    (SEQUENCE, "while quantizing, at node /SequenceEmpty: the quantizer does not know the operator Sequ", "cut the"),
    (DTYPE, "while quantizing: calibration samples of input_ids are float32", "pulsar2 validate"),
    ("KeyError('dont support LRN opr in AXOPS/ONNXOPS/CUSTOM_OPS')", "the chip lacks this operator: LRN", "check"),
    ("KeyError: 'dont support AxQuantizedGemm opr in AXOPS'", "a Gemm has an alpha or beta other than 1", "fold"),
    ("Sentinel key not found (H0007)", "the licence is not in place", "toolchain/README.md"),
    ("Error: H0041 feature expired", "the licence is refused H0041", "ask AXera"),
    ("AssertionError('ocm alloc with')", "does not fit the chip's own memory", "npu_mode"),
    ("DecodeError(\"Error parsing message with type 'onnx.ModelProto'\")", "not a whole ONNX file", "copied whole"),
    ("Your model ir_version 11 is higher than the checker's (10).", "not one the tool knows", "opset 13"),
    ("AssertionError: calibration data shape (3, 4) vs (1, 3, 4)", "not have the shape", "batch axis"),
    ("CodeError: calibration dataset of x is empty", "no sample that the tool can read", "calibration_format"),
    ("CodeError: tensor imgae is not an input of the model", "does not have: imgae", "--model"),
    ("OSError: [Errno 28] No space left on device", "the disk is full", "free some disk space"),
    ("RuntimeError: No CUDA GPUs are available", "no GPU that CUDA can use", "--gpus all"),
    ("MemoryError", "memory was short", "--memory"),
    ("RuntimeError: DataLoader worker is killed by signal: Bus error. It is possible that dataloader's workers are out "
     "of shared memory: insufficient shared memory (shm)", "shared memory is too small", "--shm-size"),
    ("/lib/libc.so.6: version `GLIBC_2.38' not found (required by pulsar2)", "not for this system", "again"),
    ("PermissionError: [Errno 13] Permission denied: '/data/out'", "may not be written or read", "owner"),
]  # fmt: skip


def end(tmp_path: Path, text: str, code: int = 1, **given: object) -> ToolError:
    """The error of a run whose log ends so."""
    log = tmp_path / "build.log"
    log.write_text("[info] starting\n" + text + "\n")
    return failure(Run(("build", "--config", "config.json"), log, **given), code)


@pytest.mark.parametrize(("text", "told", "fix"), CASES, ids=[case[1][-24:] for case in CASES])
def test_a_known_failure_is_named_with_its_cure(tmp_path, text, told, fix):
    """Phase, node and cause stand in the sentence, the cure in the fix, the log in the place, the lines below."""
    error = end(tmp_path, text)
    assert error.what.startswith("pulsar2 build failed with exit code 1")
    assert told in error.what
    assert fix in error.fix
    assert error.where == str(tmp_path / "build.log")
    assert error.exit_code == 3
    assert text.splitlines()[-1][:60] in error.what


@pytest.mark.parametrize("one", SIGNATURES, ids=lambda one: one.name)
def test_every_row_is_sound(one):
    """A pattern compiles, cause and cure use only its groups, names are unique, and the source is one of the words."""
    pattern = re.compile(one.pattern)
    told = dict.fromkeys(pattern.groupindex, "x")
    assert one.cause.format(**told)
    assert one.cure.format(**told)
    assert [other.name for other in SIGNATURES].count(one.name) == 1
    assert one.source in ("facts", "report", "library", "engine", "system", "assumed")


def test_what_a_good_run_prints_is_no_failure():
    """No row fits the lines of the vendor's own example log."""
    for line in (
        "2024-09-25 11:45:26.534 | INFO | yamain.common.util:extract_archive:181 - extract [dataset/a.tar] to [o]...",
        "32 File(s) Loaded.",
        "Calibration Progress(Phase 1): 100%|██████████| 32/32 [00:03<00:00,  8.74it/s]",
        "<frozen backend.ax650npu.oprimpl.normalize>:186: RuntimeWarning: divide by zero encountered in divide",
        "2024-09-25 11:45:36.467 | INFO | yasched.test_onepass:results2model:2542 - max_cycle = 450,154",
        "2024-09-25 11:45:36.796 | INFO | yamain.command.build:compile_npu_subgraph:1332 - assembel model [subgraph]",
    ):
        assert recognize(line, engine=False) is None, line


def test_an_unknown_field_has_its_line(tmp_path):
    """What protobuf says about a field is found in the configuration, comments and all."""
    config = tmp_path / "config.json"
    config.write_text('{\n  // of mine\n  "input": "m.onnx",\n  "npu_moed": "NPU1"\n}\n')
    text = 'google.protobuf.json_format.ParseError: Message type "common.BuildConfig" has no field named "npu_moed" at'
    error = end(tmp_path, text, config=config)
    assert "config.json:4: the configuration has a field that this version does not know: npu_moed" in error.what
    assert "pulsar2 validate names the near miss" in error.fix


def test_an_unknown_value_has_its_line(tmp_path):
    """A value that an enum lacks is found, although the message spells the field in its own way."""
    config = tmp_path / "config.json"
    config.write_text('{\n  "target_hardware": "AX999"\n}\n')
    text = (
        "ParseError: Failed to parse targetHardware field: Invalid enum value AX999 for enum type common.HardwareType"
    )
    assert "config.json:2: the configuration has the value AX999" in end(tmp_path, text, config=config).what


@pytest.mark.parametrize(
    ("code", "told", "fix"),
    [
        (-9, "was killed by SIGKILL: was memory short?", "--memory"),
        (137, "was killed by SIGKILL: was memory short?", "--memory"),
        (-11, "was killed by SIGSEGV: the program crashed", "bundle"),
        (139, "was killed by SIGSEGV: the program crashed", "bundle"),
        (132, "was killed by SIGILL: the program uses instructions", "AVX2"),
        (143, "was killed by SIGTERM: somebody ended it", "again"),
    ],
)
def test_a_signal_is_named(tmp_path, code, told, fix):
    """A signal is a word with a likely cause, seen from outside (negative) or through a shell (128 and more)."""
    error = end(tmp_path, "[info] working", code)
    assert told in error.what
    assert fix in error.fix


def test_the_phase_that_was_reached_is_told(tmp_path):
    """Where no error code names the part, it is how far the log came."""
    assert "exit code 2 while exporting the quantized graph" in end(tmp_path, "odd", 2, phase=named("export")).what
    assert " while " not in end(tmp_path, "odd", 2, phase=PHASES[0]).what.splitlines()[0]


def test_a_warning_of_an_engines_words_is_not_the_cause(tmp_path):
    """Words of an engine in the tool's own log explain nothing."""
    text = "[Warning] runc is old; Operation not permitted for nice\nTypeError: x"
    assert "container" not in end(tmp_path, text).what.splitlines()[0]


def test_a_failure_nobody_knows_shows_its_end(tmp_path):
    """Without a known cause the telling lines, no frames, stand in the error, and the bundle in the fix."""
    text = (
        'loading\nTraceback (most recent call last):\n  File "error.py", line 3\nValueError: list.remove(x): x not in'
    )
    error = end(tmp_path, text)
    assert error.what.splitlines()[1:] == ["    ValueError: list.remove(x): x not in"]
    assert "workbench pulsar2 bundle" in error.fix


def test_a_silent_failure_and_a_killed_tool(tmp_path):
    """A tool that says nothing, or is killed, still ends in a sentence."""
    tool = Toolchain("path", "7.0", "", str(fake(tmp_path / "pulsar2", "exit 1")))
    with pytest.raises(ToolError, match="exit code 1 and printed nothing"):
        tool.run(["build"], tmp_path, tmp_path / "log", Silent())
    fake(tmp_path / "pulsar2", "kill -9 $$")
    with pytest.raises(ToolError, match="was killed by SIGKILL") as caught:
        tool.run(["build"], tmp_path, tmp_path / "log", Silent())
    assert "memory" in caught.value.fix


def test_a_tool_that_hangs_is_told_with_its_last_line(tmp_path):
    """At the time limit the error has the phase, the last lines, and how old they are."""
    tool = Toolchain("path", "7.0", "", str(fake(tmp_path / "pulsar2", "echo 'schedule npu subgraph [0]'; sleep 60")))
    with pytest.raises(ToolError, match="did not finish within 2 s and was stopped while compiling") as caught:
        tool.run(["build"], tmp_path, tmp_path / "log", Silent(), timeout=2.0)
    assert "; its last line is 2 s old\n    schedule npu subgraph [0]" in caught.value.what
    assert "timeout_minutes" in caught.value.fix
    fake(tmp_path / "pulsar2", "sleep 60")
    with pytest.raises(ToolError, match="it printed nothing"):
        tool.run(["build"], tmp_path, tmp_path / "log", Silent(), timeout=0.5)
