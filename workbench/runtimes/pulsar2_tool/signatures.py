r"""Known failures: what the log says, what that means, and what helps. Data only; `failures` holds a log against it.

A row's pattern is searched in the end of the log; the first row that fits wins, so special ones stand before general
ones. Groups of a pattern may be used in `cause` and `cure` by name. `source` says where the wording was seen:

- facts: the project's collected facts about Pulsar2 (vendor's documents and reports of real builds);
- report: a public report of a real build with the text in it;
- library: the text of the open-source library that the tool is built on (protobuf, onnx, PyTorch, NumPy);
- engine, system: docker's and podman's, the kernel's and the C library's words;
- assumed: our guess at the wording; nobody here has seen the real tool print it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Signature:
    """One known failure."""

    name: str
    pattern: str
    cause: str
    cure: str
    source: str


@dataclass(frozen=True)
class Known:
    """A signature that was found: `name` of the row, `cause` and `cure` filled in, and the groups of its pattern."""

    name: str
    cause: str
    cure: str
    groups: dict[str, str]


_LICENCE = "see 'licence' in toolchain/README.md; PULSAR2_LICENCE names a folder of licence files"
_CHECK = "workbench check names the node and what rewrites it"

SIGNATURES = (
    # --- the licence -------------------------------------------------------------------------------------------------
    Signature(
        "licence",
        r"H0007|Sentinel key not found",
        "the licence is not in place (H0007)",
        _LICENCE,
        "facts",
    ),
    Signature(
        "licence-other",
        r"\b(?P<code>H00\d\d)\b|Sentinel (?:key|licen[cs]e)\w* (?:is )?(?:expired|invalid)|Feature has expired",
        "the licence is refused {code}",
        f"ask AXera for a new one; {_LICENCE}",
        "assumed",
    ),
    # --- the configuration -------------------------------------------------------------------------------------------
    Signature(
        "config-field",
        r"ParseError.*?has no field named [\"'](?P<field>\w+)[\"']|[\"'](?P<field2>\w+)[\"'] is an? unknown field"
        r"|unknown field [\"']?(?P<field3>\w+)",
        "the configuration has a field that this version does not know: {field}",
        "correct it: workbench pulsar2 validate names the near miss; a newer tool may know it",
        "library",
    ),
    Signature(
        "config-value",
        r"(?:Failed to parse (?P<field>\w+) field: )?Invalid enum value (?P<value>\S+) for enum type (?P<type>[\w.]+)",
        "the configuration has the value {value}, which {type} does not know",
        "correct it: workbench pulsar2 validate lists the values",
        "library",
    ),
    Signature(
        "config-parse",
        r"Failed to parse (?P<field>\w+) field|Failed to load JSON|google\.protobuf\.\w+\.ParseError|JSONDecodeError"
        r"|ParseError",
        "the configuration cannot be parsed",
        "workbench pulsar2 validate names the line",
        "library",
    ),
    # --- the model ---------------------------------------------------------------------------------------------------
    Signature(
        "gemm",
        r"dont support AxQuantizedGemm",
        "a Gemm has an alpha or beta other than 1",
        f"fold them into its weights: {_CHECK}",
        "facts",
    ),
    Signature(
        "float-operator",
        r"dont support lut_float|expect_type = <DataType\.FP32",
        "a layer is asked for at FP32 whose operator has no such version",
        "leave it out of layer_configs: FP32 works for nine operators only; U16 works for more",
        "report",
    ),
    Signature(
        "operator",
        r"dont support (?P<op>\w+) opr|Quant doesn't support (?P<op2>\w+) operation|, (?P<op3>\w+), \{.*get opr failed",
        "the chip lacks this operator: {op}",
        f"rewrite it, or cut the graph before it; {_CHECK}",
        "facts",
    ),
    Signature(
        "operator-unknown",
        r"Graph op: [^\s(]+\((?P<op>\w+)\) has no backend implementation",
        "the quantizer does not know the operator {op}",
        f"rewrite it, or cut the graph before it; {_CHECK}",
        "report",
    ),
    Signature(
        "tile",
        r"TileFailException\(\W*(?P<op>\w+)",
        "the NPU's compiler cannot split {op} into pieces that fit its memory, or lacks it",
        f"make its tensors smaller, or rewrite it; {_CHECK}",
        "report",
    ),
    Signature(
        "on-chip-memory",
        r"ocm alloc",
        "a layer does not fit the chip's own memory",
        "make its tensors smaller, use fewer bits there, or another npu_mode",
        "report",
    ),
    Signature(
        "op-build",
        r"OpBuildException\(\W*op: (?P<op>\w+)",
        "the NPU's compiler cannot build the operator {op} as it is asked for",
        f"try other bits for that layer, or rewrite it; {_CHECK}",
        "report",
    ),
    Signature(
        "parser-differs",
        r"check onnx parser e2e failed",
        "the tool's reading of the graph computes something else than the graph",
        f"a node is outside of what the tool knows: {_CHECK}",
        "report",
    ),
    Signature(
        "onnx-version",
        r"Unsupported model IR version|ir_version \d+ is higher than|opset.{0,40}(?:not supported|unsupported|is under"
        r" development)|No Op registered for",
        "the model's ONNX version is not one the tool knows",
        "export with opset 13 to 17, and simplify before",
        "library",
    ),
    Signature(
        "model-damaged",
        r"Error parsing message with type 'onnx\.ModelProto'|Protobuf parsing failed",
        "the model is not a whole ONNX file, or larger than 2 GB",
        "write it again; was it copied whole?",
        "report",
    ),
    # --- calibration -------------------------------------------------------------------------------------------------
    Signature(
        "calibration-dtype",
        r"Numpy File\(.*?(?P<input>[^/()]+)/[^/()]+\) has dtype\((?P<dtype>\w+)\)",
        "calibration samples of {input} are {dtype}, and the model takes something else",
        "workbench pulsar2 validate reads the archives; float32 inputs take float32 .npy",
        "report",
    ),
    Signature(
        "calibration-shape",
        r"(?:Numpy File|calib\w*|dataset).{0,200}\bshape\b",
        "calibration samples do not have the shape that the model takes",
        "every .npy has the model's shape with its batch axis; workbench pulsar2 validate reads the archives",
        "assumed",
    ),
    Signature(
        "calibration-empty",
        r"calibration dataset.{0,80}\b(?:is empty|not found|no file)|\b0 File\(s\) Loaded"
        r"|UnidentifiedImageError|cannot identify image file",
        "the calibration archive has no sample that the tool can read",
        "look at calibration_format and the archive; workbench pulsar2 validate reads it",
        "assumed",
    ),
    Signature(
        "tensor-name",
        r"tensor (?P<tensor>\S+) is not an input of the model"
        r"|(?:tensor|input|output)s?\W{1,3}(?P<tensor2>[\w./:-]+)\W.{0,20}(?:not found|not in|does not exist)",
        "the configuration names a tensor that the model does not have: {tensor}",
        "workbench pulsar2 validate with --model names the near miss",
        "assumed",
    ),
    # --- the machine -------------------------------------------------------------------------------------------------
    Signature(
        "disk-full",
        r"No space left on device|Disk quota exceeded|ENOSPC",
        "the disk is full",
        "free some disk space, where the cache is and where the engine keeps its containers",
        "system",
    ),
    Signature(
        "cuda",
        r"not compiled with CUDA|No CUDA GPUs|Found no NVIDIA driver|CUDA (?:driver|error|initialization)"
        r"|could not select device driver.*gpu|nvidia-container-cli",
        "there is no GPU that CUDA can use, and adaround, lsq and brecq need one",
        "hand it in with PULSAR2_RUN_OPTIONS='--gpus all', or leave those methods out",
        "library",
    ),
    Signature(
        "memory",
        r"\bMemoryError\b|Cannot allocate memory|std::bad_alloc|DefaultCPUAllocator: can't allocate"
        r"|Unable to allocate .* for an array|Out of memory|cannot allocate memory",
        "memory was short",
        "give it more (--memory), calibrate with fewer samples, or close other programs",
        "library",
    ),
    Signature(
        "shared-memory",
        r"insufficient shared memory|Unexpected bus error",
        "the container's shared memory is too small",
        "PULSAR2_RUN_OPTIONS='--shm-size 2g'",
        "library",
    ),
    Signature(
        "machine",
        r"[Ee]xec format error|image's platform \(linux/amd64\) does not match",
        "Pulsar2 is a program for x86-64, and this machine is another",
        "use an x86-64 machine, or an engine with emulation (slow)",
        "system",
    ),
    # --- the engine --------------------------------------------------------------------------------------------------
    Signature(
        "engine-permission",
        r"permission denied while trying to connect to the Docker|dial unix [^:]*: connect: permission denied",
        "you may not use the container engine's socket",
        "join its group (docker) and log in again, or use a rootless engine (podman)",
        "engine",
    ),
    Signature(
        "engine-down",
        r"Cannot connect to the Docker daemon|failed to connect to the docker API|Cannot connect to Podman"
        r"|Is the docker daemon running|connect: connection refused",
        "the container engine is not running",
        "start it: systemctl start docker, or systemctl --user start podman.socket",
        "engine",
    ),
    Signature(
        "image-missing",
        r"No such image|Unable to find image|image not known|no such object|does not resolve to an image ID",
        "the image is not loaded",
        "docker load -i ax_pulsar2_<version>.tar.gz; docker images lists what is there",
        "engine",
    ),
    Signature(
        "engine-old",
        r"unknown flag: (?P<flag>\S+)",
        "the container engine is too old for {flag}",
        "use docker 20.10 or newer, or podman 3 or newer",
        "engine",
    ),
    Signature(
        "engine-limits",
        r"Minimum memory limit|cgroups?: |cgroup controller|Range of CPUs is|resource limits are not supported",
        "the container engine cannot set these limits here",
        "leave --memory and --cpus out, or change them",
        "engine",
    ),
    Signature(
        "engine-restricted",
        r"OCI runtime|netavark|newuidmap|error (?:mounting|creating container)|crun:|runc "
        r"|[Oo]peration not permitted",
        "the container engine cannot start a container here",
        "try its own run command by hand; PULSAR2_ENGINE_OPTIONS and PULSAR2_RUN_OPTIONS add options",
        "engine",
    ),
    Signature(
        "package",
        r"GLIBC_\S+' not found|error while loading shared libraries|ModuleNotFoundError: No module named|pulsar2: not "
        r"found|pulsar2: command not found",
        "the toolchain itself is not whole, or not for this system",
        "unpack or load it again; is this the whole image or package?",
        "system",
    ),
    Signature(
        "read-only",
        r"Read-only file system|PermissionError: \[Errno 13\]|Permission denied",
        "a file or folder may not be written or read",
        "look at its owner and permissions",
        "system",
    ),
)

# What an exit code says where the log says nothing: a signal of the kernel, or the engine's own codes.
CODES = {
    4: ("the program uses instructions that this processor lacks", "use a newer x86-64 machine (AVX2)"),
    6: ("the program gave up by itself (abort)", "read the log; report it with workbench pulsar2 bundle"),
    7: ("a bus error: shared memory or the disk ran out", "PULSAR2_RUN_OPTIONS='--shm-size 2g'; free some disk space"),
    9: (
        "was memory short? the kernel kills the program that takes most",
        "give the machine or the container more memory (--memory), or calibrate with fewer samples",
    ),
    11: ("the program crashed (segmentation fault)", "report it with workbench pulsar2 bundle; try another version"),
    15: ("somebody ended it", "run it again"),
}


@cache
def _compiled() -> tuple[tuple[Signature, re.Pattern[str]], ...]:
    return tuple((one, re.compile(one.pattern)) for one in SIGNATURES)


def recognize(text: str, *, engine: bool = True) -> Known | None:
    """The first signature found in `text`, with its groups filled in; None when none is.

    Args:
        text: the end of a log.
        engine: whether a container engine may have said it; a tool's own log may hold the same words as a warning.
    """
    for one, pattern in _compiled():
        found = pattern.search(text) if engine or one.source != "engine" else None
        if found:
            groups = {name: value for name, value in found.groupdict().items() if value}
            for name in [name for name in groups if name[-1].isdigit()]:  # field2 and field3 are other spellings
                groups.setdefault(name.rstrip("0123456789"), groups[name])
            told = {name: groups.get(name, "") for name in pattern.groupindex}
            return Known(one.name, one.cause.format(**told).strip(), one.cure.format(**told), groups)
    return None
