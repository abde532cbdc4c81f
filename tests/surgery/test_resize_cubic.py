"""What the contract cannot know about `resize_cubic`."""

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, operators, random, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, constants
from workbench.surgery._pass import Edits
from workbench.surgery.resize_cubic import ResizeCubic

RULES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)


def resize(
    options: str,
    size: tuple[int, int] = (6, 8),
    *,
    scales: tuple[float, float] | None = None,
    sizes: tuple[int, int] | None = None,
    opset: int = 19,
    **extra: np.ndarray,
) -> ir.Model:
    """A Resize of a picture, by two scales or to two sizes."""
    numbers = np.array((1, 1, *scales), np.float32) if scales else np.array((1, 2, *(sizes or ())), np.int64)
    operands = f"x, {'roi' if 'roi' in extra else ''}, {'n' if scales else ', n'}"
    text = f"(float[1,2,{size[0]},{size[1]}] x) => (float[a,b,c,d] y) {{ y = Resize<{options}>({operands}) }}"
    return graph(text, opset=opset, n=numbers, **extra)


def assert_same(model: ir.Model) -> Edits:
    """The outputs stay up to the rounding of sums, also where the kernel's shares nearly cancel."""
    shape = [int(size) for size in model.graph.inputs[0].shape]
    x = random(*shape)
    before = run(model, {"x": x})["y"]
    edits = ResizeCubic()(model)
    assert len(edits.changed) == 1
    np.testing.assert_allclose(run(model, {"x": x})["y"], before, rtol=0, atol=2e-5)
    assert not ResizeCubic()(model)
    return edits


@st.composite
def blends(draw):
    """The options of a Resize that the pass takes, and the lowest operator set that has them."""
    mode = draw(st.sampled_from(["cubic", "linear"]))
    antialias = mode == "linear" or draw(st.booleans())
    rule = draw(st.sampled_from(RULES))
    options = f'mode = "{mode}", coordinate_transformation_mode = "{rule}"'
    if antialias:
        options += ", antialias = 1"
    if draw(st.booleans()):
        options += ", exclude_outside = 1"
    if mode == "cubic":
        options += f", cubic_coeff_a = {draw(st.sampled_from([-0.5, -0.75, -0.6]))}"
    lowest = 19 if rule == "half_pixel_symmetric" else 18 if antialias else 13
    return options, lowest


SIZE = st.integers(2, 12)


@PROPERTY
@given(blends(), st.tuples(SIZE, SIZE), st.tuples(st.integers(1, 24), st.integers(1, 24)), st.integers(13, 22))
def test_any_sizes_blend_the_same(blend, before, after, opset):
    """From any size to any size, whatever the coordinate mode, the kernel and the rule for the edge."""
    options, lowest = blend
    assume(before != after)
    assert_same(resize(options, before, sizes=after, opset=max(lowest, opset)))


SCALE = st.one_of(st.integers(1, 4).map(float), st.sampled_from([0.5, 1.25, 1.5, 2.5]), st.floats(0.5, 3, width=32))


@PROPERTY
@given(blends(), st.tuples(SIZE, SIZE), st.tuples(SCALE, SCALE))
def test_any_scales_blend_the_same(blend, before, scales):
    """A scale that is not a quotient of sizes moves the coordinates, and the shares with them."""
    options, lowest = blend
    after = tuple(int(np.float32(size) * np.float32(scale)) for size, scale in zip(before, scales, strict=True))
    assume(all(new != old or scale == 1 for new, old, scale in zip(after, before, scales, strict=True)))
    assume(after != before)
    assert_same(resize(options, before, scales=scales, opset=max(lowest, 19)))


@PROPERTY
@given(st.tuples(SIZE, SIZE), st.tuples(st.integers(1, 24), st.integers(1, 24)), st.sampled_from(["linear", "cubic"]))
def test_a_crop_inside_the_picture_blends_the_same(before, after, mode):
    """tf_crop_and_resize is a coordinate mode like others as long as nothing is extrapolated."""
    assume(all(new != old for new, old in zip(after, before, strict=True)))
    roi = np.array([0, 0, 0.125, 0.25, 1, 1, 0.875, 1], np.float32)
    options = f'mode = "{mode}", coordinate_transformation_mode = "tf_crop_and_resize"'
    assert_same(resize(options, before, sizes=after, roi=roi))


def test_a_linear_resize_without_antialias_is_the_chips():
    """What the chips have stays what it is, whatever they are not asked to do."""
    for rule in RULES[:4]:
        model = resize(f'mode = "linear", coordinate_transformation_mode = "{rule}"', sizes=(9, 9))
        assert ResizeCubic()(model) == Edits()
    assert ResizeCubic()(resize('mode = "nearest"', sizes=(9, 9))) == Edits()


def test_the_rows_of_the_weights_sum_to_one():
    """A flat picture stays flat, at the edges too."""
    for outside in (0, 1):
        model = resize(f'mode = "cubic", exclude_outside = {outside}', sizes=(9, 12))
        ResizeCubic()(model)
        rows = constants.array(node(model, "y_wide" if "y_wide" in names(model) else "y").inputs[1])
        assert rows is not None
        np.testing.assert_allclose(rows.sum(axis=0), 1, atol=1e-6)


def names(model: ir.Model) -> list[str]:
    """What the nodes make, in order."""
    return [str(one.outputs[0].name) for one in model.graph]


@pytest.mark.parametrize(
    ("sizes", "order", "text"),
    [
        ((12, 4), ["y_wide", "y"], "2 MatMul"),
        ((3, 16), ["y_high", "y"], "2 MatMul"),
        ((6, 16), ["y"], "MatMul"),
        ((12, 8), ["y"], "MatMul"),
        ((6, 8), ["y"], "Identity"),
    ],
)
def test_the_cheaper_product_comes_first(sizes, order, text):
    """What shrinks goes first, what stays is not multiplied at all; the account says what there is now."""
    model = resize('mode = "cubic"', sizes=sizes)
    node(model, "y").name = "up"
    edits = assert_same(model)
    assert edits.changed == (f"Resize 'up': cubic, half_pixel becomes {text}",)
    assert names(model) == order
    assert node(model, "y").name == "up"
    assert set(model.graph.initializers) <= {"y_rows", "y_columns"}


def test_a_filter_that_has_nothing_to_filter_goes():
    """Antialias widens the kernel of what shrinks only; else it is the linear Resize that the chips have."""
    model = resize('mode = "linear", antialias = 1', scales=(2, 1.5))
    edits = assert_same(model)
    assert edits.changed == ("Resize -> 'y': linear, half_pixel, antialias is linear, half_pixel: nothing shrinks",)
    assert operators(model) == ["Resize"]
    assert attributes.integer(node(model, "y"), "antialias", 0) == 0


def test_a_symmetric_resize_by_whole_numbers_is_half_pixel():
    """half_pixel_symmetric differs only where the size times the scale is rounded."""
    model = resize('mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"', scales=(2, 1.5))
    edits = assert_same(model)
    assert edits.changed == ("Resize -> 'y': linear, half_pixel_symmetric is linear, half_pixel",)
    rounded = resize('mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"', scales=(2, 1.3))
    assert assert_same(rounded).changed == ("Resize -> 'y': linear, half_pixel_symmetric becomes 2 MatMul",)


def test_it_stands_inside_a_network():
    """Readers, later layers and other tensors stay as they are."""
    model = graph(
        """(float[1,2,4,4] x) => (float[1,3,8,12] y) {
            r = Relu(x)
            u = Resize<mode = "cubic">(r, , n)
            y = Conv<pads = [1, 1, 1, 1]>(u, w)
        }""",
        n=np.array([1, 1, 2, 3], np.float32),
        w=random(3, 2, 3, 3),
    )
    operate(model, ResizeCubic())
    assert operators(model) == ["Relu", "MatMul", "MatMul", "Conv"]


def test_what_cannot_be_done_is_left_with_the_reason():
    """Everything that is no product of the picture with two constant matrices."""
    crop = 'mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize"'
    outside = np.array([0, 0, -0.25, 0, 1, 1, 0.75, 1], np.float32)
    inside = np.array([0, 0, 0.25, 0, 1, 1, 0.75, 1], np.float32)
    cases = {
        "its region reaches beyond the picture, where it writes extrapolation_value": resize(
            crop, sizes=(9, 9), roi=outside
        ),
        "its region crops an axis whose scale is 1, which ONNX does and onnxruntime does not": resize(
            crop, sizes=(6, 9), roi=inside
        ),
        "its scale leaves the size of an axis; onnxruntime does not filter it then, and ONNX does": resize(
            'mode = "linear", antialias = 1', scales=(1.1, 2)
        ),
        "its scales change no size; onnxruntime copies then, and ONNX does not": resize(
            'mode = "cubic"', scales=(1.1, 1)
        ),
        "its scales or sizes are not all above 0": resize('mode = "cubic"', sizes=(-3, 4)),
        "the shares of 6 cells in 1000000 are too many numbers for a constant": resize(
            'mode = "cubic"', sizes=(1000000, 4)
        ),
        "cubic_coeff_a 1e+30 is beyond reason": resize('mode = "cubic", cubic_coeff_a = 1e30', sizes=(9, 9)),
        "its scales or sizes are computed at run time": graph(
            '(float[1,2,6,6] x, float[4] n) => (float[a,b,c,d] y) { y = Resize<mode = "cubic">(x, , n) }'
        ),
        "the size of its input is not static": graph(
            '(float[1,2,h,6] x) => (float[a,b,c,d] y) { y = Resize<mode = "cubic">(x, , n) }',
            n=np.array([1, 1, 2, 2], np.float32),
        ),
        "it resizes other axes than the last two": graph(
            '(float[1,6,6,2] x) => (float[a,b,c,d] y) { y = Resize<mode = "linear", antialias = 1>(x, , n) }',
            opset=18,
            n=np.array([1, 0.5, 0.5, 1], np.float32),
        ),
        "its input is UINT8, not float32": graph(
            '(uint8[1,2,6,6] x) => (uint8[a,b,c,d] y) { y = Resize<mode = "cubic">(x, , n) }',
            n=np.array([1, 1, 2, 2], np.float32),
        ),
        "its input is FLOAT16, not float32": graph(
            '(float16[1,2,6,6] x) => (float16[a,b,c,d] y) { r = Relu(x) y = Resize<mode = "cubic">(r, , n) }',
            n=np.array([1, 1, 2, 2], np.float32),
        ),
        "its region is not finite": resize(
            'mode = "cubic", coordinate_transformation_mode = "tf_crop_and_resize"',
            sizes=(9, 9),
            roi=np.array([0, 0, np.nan, 0.1, 1, 1, 0.9, np.inf], np.float32),
        ),
        "ONNX has no coordinate_transformation_mode diagonal": resize(
            'mode = "cubic", coordinate_transformation_mode = "diagonal"', sizes=(9, 9)
        ),
    }
    for reason, model in cases.items():
        edits = ResizeCubic()(model)
        assert not edits
        assert edits.left == (f"Resize -> 'y': {reason}",)
