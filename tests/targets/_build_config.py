"""BuildConfigs for tests: one without a mistake, and what is changed in it."""

from __future__ import annotations

from typing import Any

from workbench.targets.pulsar2.facts import Facts, NodeFact
from workbench.targets.pulsar2.rules import check
from workbench.targets.pulsar2.schema import BuildConfig

# image -> conv -> c -> relu -> r;  r, c -> Concat "cat" -> k -> Reshape "shape" -> s -> "last" -> heat
NODES = (
    NodeFact("conv", "Conv", ("image",), ("c",)),
    NodeFact("relu", "Relu", ("c",), ("r",)),
    NodeFact("cat", "Concat", ("r", "c"), ("k",)),
    NodeFact("shape", "Reshape", ("k",), ("s",)),
    NodeFact("last", "Conv", ("s",), ("heat",)),
    NodeFact("twice", "Relu", ("r",), ("t1",)),
    NodeFact("twice", "Relu", ("t1",), ("t2",)),
)
FACTS = Facts(
    {"image": (1, 3, 8, 8)},
    {"heat": (1, 2, 4, 4)},
    nodes=NODES,
    dtypes={"image": "float32"},
    constants={"w": (2, 3, 1, 1)},
    opset=17,
)


def config(**changes: Any) -> BuildConfig:
    """A configuration without a mistake, and then `changes`."""
    data = {
        "input": "m.onnx",
        "output_dir": "out",
        "quant": {"input_configs": [calibrated()]},
        "input_processors": [processed()],
    }
    return BuildConfig.model_validate({**data, **changes}, strict=False)


def calibrated(**changes: Any) -> dict[str, Any]:
    """Calibration data without a mistake, and then `changes`."""
    data = {"tensor_name": "image", "calibration_dataset": "c.tar", "calibration_mean": [1, 2, 3]}
    return {**data, "calibration_std": [255, 255, 255], **changes}


def processed(**changes: Any) -> dict[str, Any]:
    """An input processor without a mistake, and then `changes`."""
    return {"tensor_name": "image", "src_format": "BGR", "tensor_format": "BGR", "src_dtype": "U8", **changes}


def quant(**changes: Any) -> BuildConfig:
    """A configuration with other settings of the quantizer."""
    return config(quant={"input_configs": [calibrated()], **changes})


def layers(*entries: dict[str, Any], **entry: Any) -> BuildConfig:
    """A configuration with mixed-precision entries, or one of them."""
    return quant(layer_configs=list(entries) or [entry])


def told(made: BuildConfig, known: Facts | None = None) -> list[tuple[str, str, str]]:
    """Level, sentence and fix of every finding."""
    return [(finding.level, str(finding), finding.fix) for finding in check(made, known)]


def finds(made: BuildConfig, known: Facts | None, level: str, finding: str, fix: str) -> None:
    """Assert that there is one finding, and it is this one."""
    (found,) = told(made, known)
    assert found[0] == level
    assert found[1].startswith(finding), found[1]
    assert fix in found[2], found[2]
