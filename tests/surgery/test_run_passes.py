"""Passes in a row: the account of what they did, and the input specs that follow."""

import pytest
from _surgery import graph, operate, random

from workbench.engine.progress import Silent
from workbench.errors import RecipeError, UnsupportedError
from workbench.recipe.schema import InputSpec
from workbench.surgery._pass import Edits, PreprocessChange
from workbench.surgery._preprocess import compose, follow
from workbench.surgery._run import Surgery, run_passes
from workbench.surgery.cut_outputs import CutOutputs
from workbench.surgery.fold_batchnorm import FoldBatchnorm
from workbench.surgery.lift_normalization import LiftNormalization
from workbench.surgery.rename_io import RenameIo
from workbench.surgery.static_batch import StaticBatch
from workbench.surgery.swap_input_channels import SwapInputChannels

NET = """(float[1,3,4,4] image) => (float[1,2,4,4] y) {
    scaled = Div(image, half)
    centred = Sub(scaled, means)
    conv = Conv(centred, w)
    relu = Relu(conv)
    y = Neg(relu)
}"""


def net():
    """A network that normalizes per channel by itself."""
    means = random(1, 3, 1, 1, seed=3)
    return graph(NET, half=random(1, seed=1, low=100, high=130)[0], means=means, w=random(2, 3, 1, 1, seed=2))


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.notes, self.steps = [], []

    def note(self, text):
        """Keep a note."""
        self.notes.append(text)

    def step(self, done, total, what):
        """Keep a step."""
        self.steps.append((done, total, what))


def test_lifted_and_swapped_the_numbers_stay():
    """Normalization goes to the recipe, then colours are swapped, and per-channel means are reversed with them."""
    result = operate(net(), LiftNormalization(), SwapInputChannels(), RenameIo(names={"image": "photo", "y": "heat"}))
    (spec,) = result.inputs
    assert (spec.name, spec.source_tensor, spec.color) == ("photo", "image", "BGR")
    assert len(spec.mean) == 3
    names = ("centred", "image", "y", "conv", "scaled")
    assert [result.now_called(name) for name in names] == ["photo", "photo", "heat", "conv", None]


def test_progress_hears_of_every_pass():
    """One step and one line a pass, also when it found nothing to do."""
    notes = Notes()
    spec = InputSpec(name="image", shape=(1, 3, 4, 4))
    steps = [("lift_normalization", LiftNormalization()), ("fold_batchnorm", FoldBatchnorm())]
    result = run_passes(net(), steps, (spec,), progress=notes)
    assert notes.notes == ["lift_normalization: 2 changed", "fold_batchnorm: nothing to change"]
    assert [step[:2] for step in notes.steps] == [(0, 2), (1, 2), (2, 2)]
    assert [name for name, _ in result.log] == ["lift_normalization", "fold_batchnorm"]


def test_an_nhwc_recipe_has_nchw_inputs_afterwards():
    """After surgery a spec describes the canonical graph, even when no pass ran."""
    spec = InputSpec(name="image", tensor="image:0", shape=(1, 4, 4, 3), layout="NHWC")
    result = run_passes(net(), [], (spec,), progress=Silent())
    assert result.inputs[0].shape == (1, 3, 4, 4)
    assert result.inputs[0].layout == "NCHW"
    assert not result


def test_the_batch_reaches_the_input_spec():
    """The shape of a spec is the graph's own."""
    model = graph("(float[N,3,4,4] image) => (float[N,3,4,4] y) { y = Relu(image) }")
    spec = InputSpec(name="image", shape=(1, 3, 4, 4))
    result = run_passes(model, [("static_batch", StaticBatch(batch=3))], (spec,), progress=Silent())
    assert result.inputs[0].shape == (3, 3, 4, 4)


def test_an_error_knows_its_place_in_the_recipe():
    """The index and name of the pass are put before the option's own path."""
    steps = [("lift_normalization", LiftNormalization()), ("cut_outputs", CutOutputs(tensors=("rellu",)))]
    with pytest.raises(RecipeError, match="no tensor called 'rellu'") as caught:
        run_passes(net(), steps, (InputSpec(name="image", shape=(1, 3, 4, 4)),), progress=Silent())
    assert caught.value.at == ("surgery", 1, "cut_outputs", "tensors", 0)


def test_an_input_without_a_spec_cannot_lose_its_normalization():
    """What leaves the graph must arrive in the recipe."""
    with pytest.raises(RecipeError, match="the recipe does not describe that input") as caught:
        run_passes(net(), [("lift_normalization", LiftNormalization())], (), progress=Silent())
    assert caught.value.at == ("surgery", 0, "lift_normalization")


def test_two_normalizations_become_one():
    """((p - 10) / 2 - 3) / 4 is (p - 16) / 8, and the declared range follows."""
    spec = InputSpec(name="x", shape=(1, 3, 2, 2), mean=(10.0,), std=(2.0,), range=(-5.0, 122.5))
    after = compose(spec, PreprocessChange(mean=(3.0,), std=(4.0,)))
    assert (after.mean, after.std, after.range) == ((16.0,), (8.0,), (-2.0, 29.875))


def test_channels_are_reversed_after_the_arithmetic():
    """Per-channel values stay with their colour."""
    spec = InputSpec(name="x", shape=(1, 3, 2, 2), mean=(1.0, 2.0, 3.0), std=(2.0,))
    after = compose(spec, PreprocessChange(mean=(0.0, 0.0, 1.0), reverse_channels=True))
    assert after.mean == (5.0, 2.0, 1.0)
    assert after.color == "BGR"
    assert compose(after, PreprocessChange(reverse_channels=True)).color == "RGB"


def test_grey_has_no_channels_to_swap():
    """A spec that contradicts the change is refused, not bent."""
    spec = InputSpec(name="x", shape=(1, 1, 2, 2), color="GRAY")
    with pytest.raises(UnsupportedError, match="GRAY"):
        compose(spec, PreprocessChange(reverse_channels=True))


def test_an_untouched_spec_is_the_same_object():
    """Nothing is rebuilt for nothing."""
    spec = InputSpec(name="x", shape=(1, 3, 2, 2))
    assert follow((spec,), Edits(changed=("Relu 'r': removed",)))[0] is spec


def test_renames_are_followed_through_passes():
    """The names of the first graph lead to those of the last, through a swap and past a removal."""
    log = (
        ("one", Edits(changed=("x",), renamed={"a": "b", "b": "a", "k": "l"})),
        ("two", Edits(changed=("x",), renamed={"a": "c"}, removed=("l",))),
    )
    found = Surgery(log, ())
    assert [found.now_called(name) for name in "abkz"] == ["b", "c", None, "z"]
