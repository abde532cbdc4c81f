"""Parameters of a file are fitted to a network by rules, or every misfit is listed."""

import numpy as np
import pytest
from pydantic import ValidationError

from workbench.engine.progress import Silent
from workbench.errors import SourceError
from workbench.sources._state_dict import StateDict, fit, select


def tensors(**shapes):
    """Zeros of these shapes; ``__`` in a name stands for a dot."""
    return {name.replace("__", "."): np.zeros(shape) for name, shape in shapes.items()}


NETWORK = {"a.conv.weight": (2, 3), "a.conv.bias": (2,), "b.head.weight": (4, 2)}
FITTING = tensors(a__conv__weight=(2, 3), a__conv__bias=(2,), b__head__weight=(4, 2))


class Notes(Silent):
    """A progress that keeps its notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def fitted(file, network=NETWORK, progress=None, **options):
    """Fit and say which key of the file each parameter got."""
    found = fit(network, file, StateDict.model_validate(options), "net.pth", progress or Silent())
    return {name: next(key for key, value in file.items() if value is tensor) for name, tensor in found.items()}


def test_equal_names_fit():
    """Without rules every parameter takes the tensor of its own name."""
    assert fitted(FITTING) == {name: name for name in NETWORK}


def test_drop_first_matches_names_without_their_first_component():
    """The file's conv.weight is the network's a.conv.weight."""
    file = {name.partition(".")[2]: value for name, value in FITTING.items()}

    assert fitted(file, drop_first=True) == {name: name.partition(".")[2] for name in NETWORK}


def test_drop_first_refuses_to_guess():
    """Two parameters that differ in the first component only cannot share one tensor."""
    with pytest.raises(
        SourceError, match=r"drop_first is ambiguous: 'w' in the file could be 'a.w' or 'b.w'"
    ) as caught:
        fitted(tensors(w=(1,)), {"a.w": (1,), "b.w": (1,)}, drop_first=True)

    assert caught.value.where == "net.pth"
    assert "rename" in caught.value.fix


def test_prefixes_are_dropped_and_renamed_in_order():
    """drop_prefix comes first, then each rename sees what the one before made."""
    file = tensors(module__x__conv__weight=(2, 3), module__x__conv__bias=(2,), module__y__weight=(4, 2))
    rules = [{"from": "x.", "to": "z."}, {"from": "z.", "to": "a."}, {"from": "y", "to": "b.head"}]

    assert fitted(file, drop_prefix="module.", rename=rules) == {
        "a.conv.weight": "module.x.conv.weight",
        "a.conv.bias": "module.x.conv.bias",
        "b.head.weight": "module.y.weight",
    }


def test_renaming_two_names_to_one_is_an_error():
    """No tensor is lost silently."""
    with pytest.raises(SourceError, match=r"'a\.w' and 'b\.w' both become 'w'"):
        fitted(tensors(a__w=(1,), b__w=(1,)), {"w": (1,)}, rename=[{"from": "a.", "to": ""}, {"from": "b.", "to": ""}])


def test_every_misfit_is_listed():
    """Missing, unexpected and mis-shaped parameters are named in one message."""
    file = tensors(a__conv__weight=(5, 5), b__head__weight=(4, 2), other=(1,))
    with pytest.raises(SourceError) as caught:
        fitted(file)

    what = caught.value.what
    assert "missing from the file: a.conv.bias" in what
    assert "unexpected in the file: other" in what
    assert "of another shape: a.conv.weight [5, 5], network [2, 3]" in what
    assert caught.value.where == "net.pth"
    assert "factory" in caught.value.fix


def test_long_lists_are_cut_with_a_count():
    """A checkpoint of another network does not fill the screen."""
    with pytest.raises(SourceError, match=r"layer7\.w and 12 more") as caught:
        fitted(tensors(other=(1,)), {f"layer{index}.w": (1,) for index in range(20)})

    assert "layer8" not in caught.value.what


@pytest.mark.parametrize(
    ("file", "fix"),
    [
        ({f"module.{name}": value for name, value in FITTING.items()}, "drop_prefix: 'module.'"),
        ({name.partition(".")[2]: value for name, value in FITTING.items()}, "drop_first: true"),
    ],
)
def test_an_easy_rule_is_suggested(file, fix):
    """When one rule would make every name fit, the message says which."""
    with pytest.raises(SourceError) as caught:
        fitted(file)

    assert caught.value.fix == f"write source.state_dict.{fix}"


def test_batch_counters_may_be_missing():
    """Old checkpoints have no num_batches_tracked; that is noted, not an error."""
    progress = Notes()
    network = {**NETWORK, "bn.num_batches_tracked": ()}

    assert "bn.num_batches_tracked" not in fitted(FITTING, network, progress)
    assert progress.notes == ["the checkpoint lacks 1 num_batches_tracked (saved by an old PyTorch); not needed"]


def test_parameters_are_taken_from_under_a_key():
    """`key` names the checkpoint's entry; without one the top level is taken."""
    assert select({"state_dict": FITTING, "epoch": 3}, StateDict(key="state_dict"), "net.pth") == FITTING
    assert select(FITTING, StateDict(), "net.pth") == FITTING


def test_a_wrong_key_lists_those_that_are_there():
    """The checkpoint's own keys are shown and the near miss is named."""
    with pytest.raises(SourceError, match="no entry 'statedict'; it has state_dict, epoch") as caught:
        select({"state_dict": FITTING, "epoch": 3}, StateDict(key="statedict"), "net.pth")
    assert "did you mean 'state_dict'?" in caught.value.fix

    with pytest.raises(SourceError, match="no entry 'net'") as caught:
        select(FITTING, StateDict(key="net"), "net.pth")
    assert "remove source.state_dict.key" in caught.value.fix


def test_a_forgotten_key_is_suggested():
    """Parameters one level down are found and their key is named."""
    with pytest.raises(SourceError, match="not at the top of the checkpoint; it has epoch, weights") as caught:
        select({"epoch": 3, "weights": FITTING}, StateDict(), "net.pth")

    assert caught.value.fix == "write source.state_dict.key: weights"


@pytest.mark.parametrize("checkpoint", [[1, 2], {}, {"epoch": 3}, None, np.zeros(3), {"a": np.zeros(1), "b": "text"}])
def test_what_is_no_mapping_of_tensors_is_refused(checkpoint):
    """Lists, single tensors and settings hold no parameters."""
    with pytest.raises(SourceError, match="no parameters inside"):
        select(checkpoint, StateDict(), "net.pth")


def test_options_are_strict():
    """An unknown key is refused, and `from` is the word a recipe uses."""
    with pytest.raises(ValidationError, match="drop_frist"):
        StateDict.model_validate({"drop_frist": True})
    assert StateDict.model_validate({"rename": [{"from": "a", "to": ""}]}).rename[0].start == "a"
