"""The networks of the zoo: their parameters are those of the published checkpoints, their numbers those of upstream."""

import importlib
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253 -- the networks are torch code

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "models"
# file: class, parameters, CRC-32 of the state_dict's names and shapes in order, golden input, its low and high
NETWORKS = {
    "lw_openpose": ("LightweightOpenPose", 4_091_698, 0x86234CEB, (1, 3, 64, 96), -0.5, 0.5),
    "openpose": ("BodyPose", 52_311_446, 0xC0F683A4, (1, 3, 48, 64), -0.5, 0.5),
    "openpose_hand": ("HandPose", 36_832_324, 0x4AD5BE33, (1, 3, 48, 48), -0.5, 0.5),
    "movenet": ("MoveNet", 1_912_118, 0x7D3981A9, (1, 3, 192, 192), 0.0, 255.0),
}


def build(name, device="meta"):
    """The network of one file, in evaluation mode; on ``meta`` it has shapes and no numbers, which is quick."""
    factory = getattr(importlib.import_module(f"workbench.zoo.{name}"), NETWORKS[name][0])
    with torch.device(device):
        return factory().eval()


def reference(file):
    """A file of the reference folder, or a skip that says what is missing."""
    path = REFERENCE / file
    if not path.is_file():
        pytest.skip(f"no {file} in ../shared/reference/models")
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_the_published_ones(name):
    """Number of parameters, and every name and shape of the state_dict in order, as one checksum."""
    network = build(name)
    lines = [f"{key} {list(value.shape)}\n" for key, value in network.state_dict().items()]

    assert sum(parameter.numel() for parameter in network.parameters()) == NETWORKS[name][1]
    assert zlib.crc32("".join(lines).encode()) == NETWORKS[name][2], "a parameter was renamed, reshaped or moved"


@pytest.mark.parametrize("name", ["openpose", "openpose_hand"])
def test_names_without_their_first_component_are_unique(name):
    """The published files lack that component, so `drop_first` can fit them without guessing."""
    names = [key.partition(".")[2] for key in build(name).state_dict()]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", NETWORKS)
def test_state_dict_is_the_published_list(name):
    """Where the reference is at hand: exactly the listed names and shapes, in order."""
    listed = json.loads(reference(f"{name}.state_dict.json").read_text("utf-8"))

    assert [(key, list(value.shape)) for key, value in build(name).state_dict().items()] == list(listed.items())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("openpose")) for name in NETWORKS]
)
def test_outputs_are_those_of_the_upstream_network(name, monkeypatch):
    """With the same weights and picture every output is within 1e-5 (relative L2) of upstream's, in its order."""
    golden = np.load(reference(f"{name}.golden.npz"))
    reference("deterministic_weights.py")
    monkeypatch.syspath_prepend(str(REFERENCE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    weights = importlib.import_module("deterministic_weights")
    _, _, _, shape, low, high = NETWORKS[name]
    network = build(name, "cpu")
    state = weights.state({key: value.shape for key, value in network.state_dict().items()})
    network.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in state.items()})

    with torch.no_grad():
        result = network(torch.from_numpy(weights.image(shape, 0, low, high)))
    outputs = [result] if isinstance(result, torch.Tensor) else list(result)

    assert [f"output{index}" for index in range(len(outputs))] == sorted(golden.files)
    for index, output in enumerate(outputs):
        wanted = golden[f"output{index}"]
        assert output.shape == wanted.shape
        assert np.linalg.norm(output.numpy() - wanted) <= 1e-5 * np.linalg.norm(wanted), f"output{index}"


def test_the_heatmaps_of_the_body_network_are_never_negative():
    """The last heatmap layer of stage 6 has a ReLU by an upstream slip; the last field layer has none."""
    network = build("openpose", "cpu")
    with torch.no_grad():
        paf, heatmap = network(torch.linspace(-0.5, 0.5, 3 * 16 * 24).reshape(1, 3, 16, 24))

    assert list(network.model6_2._modules)[-1] == "relu_Mconv7_stage6_L2"
    assert list(network.model5_2._modules)[-1] == "Mconv7_stage5_L2"
    assert heatmap.min() >= 0 > paf.min()


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("lw_openpose", [(2, 19, 4, 6), (2, 38, 4, 6), (2, 19, 4, 6), (2, 38, 4, 6)]),
        ("openpose", [(2, 38, 4, 6), (2, 19, 4, 6)]),
        ("openpose_hand", [(2, 22, 4, 6)]),
        ("movenet", [(2, 17, 8, 16), (2, 1, 8, 16), (2, 34, 8, 16), (2, 34, 8, 16)]),
    ],
)
def test_output_sizes(name, shapes):
    """Outputs come in the documented order at 1/8 of the picture (MoveNet 1/4), for any batch."""
    size = (2, 3, 32, 64) if name == "movenet" else (2, 3, 32, 48)
    with torch.no_grad():
        result = build(name)(torch.zeros(size, device="meta"))

    assert [tuple(output.shape) for output in ([result] if isinstance(result, torch.Tensor) else result)] == shapes
