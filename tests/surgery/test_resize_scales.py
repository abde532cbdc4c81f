"""What the contract cannot know about `resize_scales`."""

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, random, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import constants, io
from workbench.surgery._pass import Edits
from workbench.surgery.resize_scales import ResizeScales

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True)
RULES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")


def resize(
    options: str,
    operands: str = "x, , , n",
    size: tuple[int, int] = (4, 6),
    opset: int = 19,
    made: str = "a,b,c,d",
    **more,
) -> ir.Model:
    """One Resize of a picture of two channels; `made` is what the file says of its output."""
    height, width = size
    return graph(
        f"(float[1,2,{height},{width}] x) => (float[{made}] y) {{ y = Resize<{options}>({operands}) }}",
        opset=opset,
        **more,
    )


@PROPERTY
@given(
    st.sampled_from(["nearest", "linear", "cubic"]),
    st.sampled_from(RULES),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.integers(13, 22),
)
def test_any_sizes_give_the_same_numbers(mode, rule, before, after, opset):
    """From any size to any size, over kernels and coordinate modes: copies bit by bit, blends but for rounding."""
    opset = max(opset, 19) if rule == "half_pixel_symmetric" else opset
    options = f'mode = "{mode}", coordinate_transformation_mode = "{rule}"'
    # What the output is said to be must stay true for ONNX, whose shape inference multiplies in float64.
    made = f"1,2,{after[0]},{after[1]}"
    model = resize(options, size=before, opset=opset, made=made, n=np.array([1, 2, *after], np.int64))
    x = random(1, 2, *before)
    expected = run(model, {"x": x})["y"]
    edits = ResizeScales()(model)
    if edits.left:
        assert mode == "nearest"
        assert edits.left[0].endswith("and reads the same cells")
        return
    quotients = np.array([1, 1, *(np.float32(new) / np.float32(old) for new, old in zip(after, before, strict=True))])
    same = (constants.array(model.graph.initializers["y_scales"]) == quotients.astype(np.float32)).all()
    np.testing.assert_allclose(
        run(model, {"x": x})["y"], expected, rtol=0, atol=0 if same or mode == "nearest" else 2e-5
    )
    assert set(model.graph.initializers) == {"y_scales"}
    assert not ResizeScales()(model)


@PROPERTY
@given(
    st.sampled_from(["not_larger", "not_smaller", "stretch"]),
    st.permutations([2, 3]),
    st.booleans(),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(2, 24), st.integers(2, 24)),
)
def test_axes_and_policies_give_the_same_numbers(policy, order, from_end, before, after):
    """The scale that an aspect ratio asks for is the scale of both axes."""
    places = [place - 4 if from_end else place for place in order]
    options = f'mode = "nearest", axes = {places}, keep_aspect_ratio_policy = "{policy}"'
    model = resize(options, size=before, n=np.array(after, np.int64))
    x = random(1, 2, *before)
    expected = run(model, {"x": x})["y"]
    edits = ResizeScales()(model)
    if edits.left:
        reasons = ("reads the same cells", "and ONNX does not", "its output is empty")
        assert edits.left[0].endswith(reasons)
        return
    np.testing.assert_array_equal(run(model, {"x": x})["y"], expected)
    assert not {"axes", "keep_aspect_ratio_policy"} & set(node(model, "y").attributes)


def test_the_account_names_what_was_said():
    """With the scales there are now."""
    model = resize('mode = "linear"', n=np.array([1, 2, 6, 20], np.int64))
    result = operate(model, ResizeScales())
    assert result.log[0][1].changed == ("Resize -> 'y': sizes become scales [1.0, 1.0, 1.5, 3.33333]",)
    named = resize('mode = "linear", axes = [-2]', "x, , n", n=np.array([2], np.float32))
    result = operate(named, ResizeScales())
    assert result.log[0][1].changed == ("Resize -> 'y': axes become scales [1.0, 1.0, 2.0, 1.0]",)


def test_empty_operands_go():
    """Older exporters write empty scales and regions beside the sizes."""
    empty = np.zeros(0, np.float32)
    model = resize('mode = "linear"', "x, r, s, n", n=np.array([1, 2, 8, 8], np.int64), r=empty, s=empty)
    operate(model, ResizeScales())
    assert [value is None for value in node(model, "y").inputs] == [False, True, False]
    assert {name: tuple(value.shape) for name, value in model.graph.initializers.items()} == {"s": (4,)}
    assert not ResizeScales()(io.from_bytes(io.to_bytes(model)))


def test_a_region_that_is_looked_at_stays():
    """tf_crop_and_resize crops by it."""
    roi = np.array([0, 0, 0.25, 0, 1, 1, 1, 0.5], np.float32)
    crop = 'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"'
    model = resize(crop, "x, roi, , n", n=np.array([1, 2, 7, 5], np.int64), roi=roi)
    operate(model, ResizeScales())
    np.testing.assert_array_equal(constants.array(node(model, "y").inputs[1]), roi)


def test_scales_of_all_axes_need_nothing():
    """What says it already is left in peace."""
    assert ResizeScales()(resize('mode = "linear"', "x, , n", n=np.array([1, 1, 2, 2], np.float32))) == Edits()


def test_sizes_that_two_share_stay_for_the_other():
    """An operand of another reader is not touched."""
    model = graph(
        """(float[1,2,4,6] x) => (float[1,2,8,9] y, int64[4] z) {
            y = Resize<mode = "linear">(x, , , n)
            z = Neg(n)
        }""",
        n=np.array([1, 2, 8, 9], np.int64),
    )
    operate(model, ResizeScales())
    assert set(model.graph.initializers) == {"n", "y_scales"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            resize('mode = "nearest", nearest_mode = "ceil"', size=(7, 6), n=np.array([1, 2, 31, 9], np.int64)),
            "no float32 scale takes axis 2 from 7 to 31 and reads the same cells",
        ),
        (
            resize(
                'mode = "linear", axes = [2, 3], coordinate_transformation_mode = "tf_crop_and_resize"',
                "x, roi, , n",
                n=np.array([7, 5], np.int64),
                roi=np.array([0.25, 0, 1, 0.5], np.float32),
            ),
            "its region is given for some axes",
        ),
        (
            resize('mode = "linear", axes = [-2, -1], keep_aspect_ratio_policy = "not_larger"', n=np.array([7, 5])),
            "onnxruntime ignores keep_aspect_ratio_policy where axes are counted from the end, and ONNX does not",
        ),
        (
            graph(
                '(float[1,2,h,6] x) => (float[a,b,c,d] y) { y = Resize<mode = "linear">(x, , , n) }',
                n=np.array([1, 2, 9, 9]),
            ),
            "the size of its input is not static",
        ),
        (
            graph('(float[1,2,4,6] x, int64[4] n) => (float[a,b,c,d] y) { y = Resize<mode = "linear">(x, , , n) }'),
            "its scales or sizes are computed at run time",
        ),
    ],
)
def test_what_cannot_be_said_in_scales_is_left_with_the_reason(model, reason):
    """Quotients that round the wrong way, and what nobody knows."""
    edits = ResizeScales()(model)
    assert not edits
    assert edits.left == (f"Resize -> 'y': {reason}",)
