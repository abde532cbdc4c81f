import pytest
from pydantic import ValidationError

from workbench.recipe.schema import InputSpec


def test_the_value_range_follows_from_mean_and_std():
    """(pixel - mean) / std over 0..255 gives the range of the tensor."""
    spec = InputSpec(name="x", shape=(1, 3, 8, 8), mean=(128,), std=(256,))

    assert spec.value_range == (-0.5, 127 / 256)


def test_a_range_that_contradicts_mean_and_std_is_refused():
    """A stated range must hold what the pixels become."""
    with pytest.raises(ValidationError, match=r"does not hold what mean and std make of 0..255: -1..1"):
        InputSpec(name="x", shape=(1, 3, 8, 8), mean=(127.5,), std=(127.5,), range=(0, 1))


def test_nhwc_shapes_are_read_in_their_layout():
    """`nchw` is the canonical shape, whatever the source's layout."""
    assert InputSpec(name="x", shape=(1, 8, 6, 3), layout="NHWC").nchw == (1, 3, 8, 6)


def test_std_is_a_divisor():
    """Zero or negative divisors are refused."""
    with pytest.raises(ValidationError, match="std is a divisor and must be positive"):
        InputSpec(name="x", shape=(1, 3, 8, 8), std=(0,))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "9x", "a b"])
def test_names_are_safe_in_paths(name):
    """A name becomes a file name, so it cannot leave its folder."""
    with pytest.raises(ValidationError):
        InputSpec(name=name, shape=(1, 3, 8, 8))


def test_an_inputs_folder_follows_the_source_and_no_path():
    """It stays when surgery renames the input, and no name of a tensor leads out of the folder above it."""
    plain = InputSpec(name="x", shape=(1, 3, 8, 8))
    assert plain.folder == plain.model_copy(update={"name": "y", "tensor": plain.source_tensor}).folder == "x"
    odd = [InputSpec(name="x", tensor=tensor, shape=(1, 3, 8, 8)).folder for tensor in ("..", "/a", "a/b", "a" * 512)]
    assert all(folder.isalnum() and len(folder) == 32 for folder in odd)
    assert len(set(odd)) == 4
