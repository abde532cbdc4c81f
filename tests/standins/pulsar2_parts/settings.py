"""The configuration of a build: a file in one of the documented formats, with the command line written over it."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from build_config import ENUMS, MESSAGES, fields, mistakes

from pulsar2_parts.talk import ParseError

NPU_MODES = {
    "AX650": 3,
    "M76H": 3,
    "AX620E": 2,
    "AX615": 2,
    "AX637": 1,
    "M57": 1,
    "AX8860": 2,
}
_TOP = (
    "input",
    "output_dir",
    "output_name",
    "work_dir",
    "model_type",
    "target_hardware",
    "npu_mode",
    "input_shapes",
)
_SECTIONS = {"onnx_opt": "OnnxOptimizeOption", "quant": "QuantConfig", "compiler": "CompilerConfig"}
_LISTS = ("static_batch_sizes", "check_tensor_black_list")


def settings(argv: list[str]) -> dict[str, Any]:
    """The whole BuildConfig of ``pulsar2 build ARGV``, held against its schema.

    Raises:
        ParseError: a field or a value that the schema does not have.
        ValueError: the file is not in its format, or something required is missing.
    """
    parser = argparse.ArgumentParser(prog="pulsar2 build", allow_abbrev=False)
    parser.add_argument("--config", default="")
    parser.add_argument("--debug.dump_frontend_graph", nargs="?", const="1")
    for name in _TOP:
        parser.add_argument(f"--{name}")
    for section, message in _SECTIONS.items():
        for name, kind in fields(message).items():
            if name in _LISTS:
                parser.add_argument(f"--{section}.{name}", nargs="*")
            elif kind.strip("!") in (*ENUMS, "string", "int32", "float", "bool"):
                optional = {"nargs": "?", "const": "1"} if kind == "bool" else {}
                parser.add_argument(f"--{section}.{name}", **optional)
    given = {key: value for key, value in vars(parser.parse_args(argv)).items() if value is not None}
    given.pop("debug.dump_frontend_graph", None)
    path = given.pop("config")
    config = read(Path(path)) if path else {}
    for key, value in given.items():
        section, _, name = key.rpartition(".")
        if section:
            config.setdefault(section, {})[name] = _typed(value, fields(_SECTIONS[section])[name])
        else:
            config[key] = value
    if found := mistakes(config, "BuildConfig"):
        raise ParseError(f"Failed to parse {path or 'arguments'}: {found[0]}")
    config.setdefault("target_hardware", "AX650")
    config.setdefault("npu_mode", "NPU1")
    config.setdefault("output_name", "compiled.axmodel")
    config["work_dir"] = config.get("work_dir") or config["output_dir"]
    for section in _SECTIONS:
        config.setdefault(section, {})
    cores = int(config["npu_mode"][-1])
    if cores > NPU_MODES[config["target_hardware"]] and (config["target_hardware"], cores) != ("AX8860", 4):
        raise ValueError(f"{config['target_hardware']} does not support {config['npu_mode']}")
    return config


def read(path: Path) -> dict[str, Any]:
    """The object in `path`: JSON with comments, YAML or TOML by suffix.

    Raises:
        ValueError: it is none, or in another format.
    """
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        found = json.loads(uncommented(text))
    elif path.suffix in (".yaml", ".yml"):
        found = yaml.safe_load(text)
    elif path.suffix == ".toml":
        found = tomllib.loads(text)
    else:
        raise ValueError(f"unsupported config file: {path} (the stand-in reads no prototxt)")
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no object")
    return found


def uncommented(text: str) -> str:
    """JSON without comments of JavaScript's and Python's kind; strings stay as they are."""
    parts = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
    return parts.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)


def of_tensor(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The entry for tensor `name`, else the one for all, else an empty one."""
    by_name = {entry["tensor_name"]: entry for entry in entries}
    return by_name.get(name) or by_name.get("DEFAULT") or {}


def _typed(value: Any, kind: str) -> Any:
    bare = kind.strip("*!")
    assert bare not in MESSAGES
    if isinstance(value, list):
        return [_typed(one, bare) for one in value]
    if bare == "bool":
        return {"1": True, "true": True, "0": False, "false": False}.get(value.lower(), value)
    try:
        return {"int32": int, "float": float}.get(bare, str)(value)
    except ValueError:
        return value
