import pytest

from workbench import catalog
from workbench.errors import RecipeError


def test_entries_are_found_by_file_name():
    """The three kinds list their files, sorted, without helpers."""
    assert catalog.names("target") == ("onnx", "pulsar2", "tflite")
    assert catalog.names("source") == ("onnx", "tf_graph", "torch")
    assert "cut_outputs" in catalog.names("pass")
    assert not [name for kind in ("pass", "target", "source") for name in catalog.names(kind) if name.startswith("_")]


@pytest.mark.parametrize(
    ("kind", "typo", "meant"),
    [("pass", "cut_output", "cut_outputs"), ("target", "tflit", "tflite"), ("source", "Torch", "torch")],
)
def test_a_typo_names_the_near_miss(kind, typo, meant):
    """An unknown name says what was probably meant, whatever its kind."""
    with pytest.raises(RecipeError, match=f"no {kind} called '{typo}'") as caught:
        catalog.load(kind, typo)

    assert f"did you mean '{meant}'?" in caught.value.fix


def test_a_name_like_no_other_lists_all():
    """When nothing is near, every name is listed."""
    assert catalog.did_you_mean("zzz", ["b", "a"]) == "one of: a, b"
