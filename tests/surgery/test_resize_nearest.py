"""What the contract cannot know about `resize_nearest`."""

from fractions import Fraction

import numpy as np
import onnx_ir as ir
import pytest
from _surgery import graph, node, operate, operators, run
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.graph import attributes, constants, io
from workbench.surgery._pass import Edits
from workbench.surgery.resize_nearest import ResizeNearest

RULES = ("half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
MODES = ("floor", "ceil", "round_prefer_floor")
PROPERTY = settings(max_examples=120, deadline=None, derandomize=True)


def resize(
    rule: str,
    mode: str,
    size: tuple[int, int] = (6, 6),
    *,
    scales: tuple[float, float] | None = None,
    sizes: tuple[int, int] | None = None,
    opset: int = 19,
    more: str = "",
    **extra: np.ndarray,
) -> ir.Model:
    """A nearest Resize of a picture, by two scales or to two sizes."""
    numbers = np.array((1, 1, *scales), np.float32) if scales else np.array((1, 2, *(sizes or ())), np.int64)
    options = f'mode = "nearest", coordinate_transformation_mode = "{rule}", nearest_mode = "{mode}"{more}'
    operands = f"x, {'roi' if 'roi' in extra else ''}, {'n' if scales else ', n'}"
    text = f"(float[1,2,{size[0]},{size[1]}] x) => (float[a,b,c,d] y) {{ y = Resize<{options}>({operands}) }}"
    return graph(text, opset=opset, n=numbers, **extra)


def cells(model: ir.Model, height: int, width: int) -> np.ndarray:
    """The number of the input cell that every output cell is a copy of."""
    x = np.arange(2 * height * width, dtype=np.float32).reshape(1, 2, height, width)
    return run(model, {"x": x})["y"]


def assert_same_cells(model: ir.Model, height: int, width: int) -> None:
    """The pass leaves no other nearest_mode, and every output cell is the copy it was."""
    before = cells(model, height, width)
    edits = ResizeNearest()(model)
    if edits.left:
        assert before.shape == (1, 2, height, width)
        assert edits.left == ("Resize -> 'y': its scales change no size; onnxruntime copies then, and ONNX does not",)
        return
    assert len(edits.changed) == 1
    for one in model.graph:
        assert one.op_type != "Resize" or attributes.text(one, "nearest_mode", "") == "round_prefer_ceil"
    np.testing.assert_array_equal(cells(model, height, width), before)
    assert not ResizeNearest()(model)


@PROPERTY
@given(
    st.sampled_from(RULES),
    st.sampled_from(MODES),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_any_sizes_read_the_same_cells(rule, mode, before, after):
    """From any size to any size, up along one axis and down along the other."""
    assert_same_cells(resize(rule, mode, before, sizes=after), *before)


SCALES = st.one_of(
    st.integers(1, 5).map(float),
    st.integers(1, 5).map(lambda n: 1 / n),
    st.integers(2, 24).map(lambda n: n / 8),
    st.floats(0.25, 4, width=32),
)


@PROPERTY
@given(
    st.sampled_from(RULES),
    st.sampled_from(MODES),
    st.integers(5, 16),
    st.tuples(SCALES, SCALES),
)
def test_any_scales_read_the_same_cells(rule, mode, size, scales):
    """By whole numbers, their inverses, eighths and any other factor."""
    assert_same_cells(resize(rule, mode, (size, size), scales=scales), size, size)


@pytest.mark.parametrize("opset", [13, 17, 18, 19, 21, 22])
def test_every_operator_set(opset):
    """From 13, the oldest that passes take, to 22."""
    assert_same_cells(resize("asymmetric", "floor", scales=(2, 2), opset=opset), 6, 6)


@pytest.mark.parametrize(
    ("rule", "mode", "arguments", "form"),
    [
        ("asymmetric", "floor", {"scales": (2, 2)}, "read the same cells as half_pixel and round_prefer_ceil"),
        ("asymmetric", "floor", {"scales": (3, 2)}, "read the same cells as half_pixel and round_prefer_ceil"),
        ("half_pixel", "round_prefer_floor", {"scales": (4, 4)}, "read the same cells as half_pixel and"),
        ("align_corners", "round_prefer_floor", {"sizes": (16, 16)}, "read the same cells as align_corners and"),
        ("half_pixel", "floor", {"scales": (0.5, 0.5)}, "read the same cells as asymmetric and round_prefer_ceil"),
        ("half_pixel", "floor", {"scales": (1 / 3, 1 / 3)}, "read the same cells as half_pixel and round_prefer_ceil"),
        ("asymmetric", "floor", {"sizes": (6, 6)}, "read the same cells as asymmetric and round_prefer_ceil"),
        ("asymmetric", "ceil", {"scales": (2, 2)}, "read the same cells as asymmetric and round_prefer_ceil"),
        ("half_pixel", "ceil", {"scales": (0.5, 0.5)}, "become Slice"),
        ("asymmetric", "ceil", {"scales": (3, 3)}, "become 2 Gather"),
        ("half_pixel", "ceil", {"scales": (0.5, 2)}, "become Slice, Gather"),
        ("asymmetric", "floor", {"sizes": (6, 8)}, "become Gather"),
    ],
)
def test_the_account_names_the_form(rule, mode, arguments, form):
    """What became of a Resize is said in one line, with what it was."""
    model = resize(rule, mode, **arguments)
    before = cells(model, 6, 6)
    (line,) = ResizeNearest()(model).changed
    assert line.startswith(f"Resize -> 'y': {rule} and {mode} {form}")
    np.testing.assert_array_equal(cells(model, 6, 6), before)


@PROPERTY
@given(st.sampled_from(RULES[:4]), st.integers(1, 9), st.integers(2, 6), st.integers(2, 6))
def test_a_resize_that_is_kept_stays_away_from_half_way(rule, size, up, down):
    """A kept Resize reads the same cells in exact fractions, unless the cells lie exactly half-way."""
    model = resize(rule, "floor", (size * down, size * down), sizes=(size * up, size * up))
    last = size * down - 1
    row = cells(model, last + 1, last + 1)[0, 0, 0] % (last + 1)
    ResizeNearest()(model)
    kept = node(model, "y")
    if kept.op_type != "Resize":
        return
    chosen = attributes.text(kept, "coordinate_transformation_mode", "")
    half = Fraction(1, 2)
    for index, cell in enumerate(row):
        place = {
            "half_pixel": (index + half) * Fraction(down, up) - half,
            "pytorch_half_pixel": (index + half) * Fraction(down, up) - half,
            "asymmetric": index * Fraction(down, up),
            "align_corners": Fraction(index * last, max(size * up - 1, 1)),
        }[chosen]
        assert min(max((place + half) // 1, 0), last) == cell


def test_gather_reads_int32_lists_and_shrinks_first():
    """The chips take one-dimensional lists of cells; what shrinks the picture most comes first."""
    model = resize("asymmetric", "floor", (6, 6), sizes=(8, 4))
    operate(model, ResizeNearest())
    assert operators(model) == ["Gather", "Gather"]
    first, second = model.graph
    assert (attributes.integer(first, "axis", 0), attributes.integer(second, "axis", 0)) == (3, 2)
    lists = [constants.array(one.inputs[1]) for one in (first, second)]
    assert [one.tolist() for one in lists] == [[0, 1, 3, 4], [0, 0, 1, 2, 3, 3, 4, 5]]
    assert {one.dtype for one in lists} == {np.dtype(np.int32)}


def test_names_follow_the_node():
    """The last new node has the old one's name and output, so that a recipe still finds it."""
    model = resize("half_pixel", "ceil", scales=(0.5, 2))
    node(model, "y").name = "up"
    ResizeNearest()(model)
    assert [one.name for one in model.graph] == ["up_strided", "up"]
    assert [one.outputs[0].name for one in model.graph] == ["y_strided", "y"]
    assert list(node(model, "y_strided").outputs[0].shape) == [1, 2, 3, 6]
    assert set(model.graph.initializers) == {"y_starts", "y_ends", "y_axes", "y_steps", "y_cells_3"}


def test_axes_are_understood():
    """Since opset 18 a Resize may name its axes, counted from the end too."""
    model = graph(
        """(float[1,2,6,6] x) => (float[1,2,9,4] y) {
            y = Resize<mode = "nearest", nearest_mode = "floor", axes = [-1, 2]>(x, , , n)
        }""",
        opset=18,
        n=np.array([4, 9], np.int64),
    )
    io.from_bytes(io.to_bytes(model))
    edits = ResizeNearest()(model)
    assert edits.changed == ("Resize -> 'y': half_pixel and floor become 2 Gather",)
    x = np.arange(72, dtype=np.float32).reshape(1, 2, 6, 6)
    rows, columns = [0, 0, 1, 1, 2, 3, 3, 4, 5], [0, 1, 3, 4]
    np.testing.assert_array_equal(run(model, {"x": x})["y"], x[:, :, rows][:, :, :, columns])


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_an_aspect_ratio_is_kept(policy):
    """Then one scale counts for all axes, and the sizes follow from it."""
    model = graph(
        f"""(float[1,2,6,8] x) => (float[a,b,c,d] y) {{
            y = Resize<mode = "nearest", nearest_mode = "ceil", axes = [2, 3], keep_aspect_ratio_policy = "{policy}">
                (x, , , n)
        }}""",
        opset=19,
        n=np.array([9, 10], np.int64),
    )
    assert_same_cells(model, 6, 8)


def test_any_type_and_rank_is_copied():
    """To copy cells is the same for integers, and along any axis."""
    model = graph(
        """(int32[4,3] x) => (int32[a,b] y) {
            y = Resize<mode = "nearest", nearest_mode = "ceil", coordinate_transformation_mode = "asymmetric">(x, , n)
        }""",
        n=np.array([3, 3], np.float32),
    )
    x = np.arange(12, dtype=np.int32).reshape(4, 3)
    before = run(model, {"x": x})["y"]
    ResizeNearest()(model)
    assert operators(model) == ["Gather", "Gather"]
    np.testing.assert_array_equal(run(model, {"x": x})["y"], before)


def test_a_crop_is_a_slice_or_a_gather():
    """tf_crop_and_resize inside the picture only copies, too."""
    roi = np.array([0, 0, 0.2, 0, 1, 1, 0.8, 1], np.float32)
    for sizes in ((4, 6), (4, 3), (9, 12), (1, 6)):
        assert_same_cells(resize("tf_crop_and_resize", "floor", sizes=sizes, roi=roi), 6, 6)


@pytest.mark.parametrize("rule", [*RULES, "tf_half_pixel_for_nn"])
def test_what_is_right_already_stays(rule):
    """round_prefer_ceil needs nothing, and linear has no nearest_mode."""
    assert ResizeNearest()(resize(rule, "round_prefer_ceil", sizes=(4, 4))) == Edits()
    linear = resize("half_pixel", "floor", sizes=(4, 4))
    node(linear, "y").attributes["mode"] = ir.AttrString("mode", "linear")
    assert not ResizeNearest()(linear)


def leaving(line: str) -> str:
    """The reason in a line of `left`."""
    return line.removeprefix("Resize -> 'y': ")


def test_what_is_not_known_is_left_with_the_reason():
    """Sizes that only run time knows, and regions beyond the picture."""
    outside = np.array([0, 0, -0.2, 0, 1, 1, 0.8, 1], np.float32)
    inside = np.array([0, 0, 0.2, 0, 1, 1, 0.8, 1], np.float32)
    cases = {
        "its region crops an axis whose scale is 1, which ONNX does and onnxruntime does not": resize(
            "tf_crop_and_resize", "floor", sizes=(6, 3), roi=inside
        ),
        "its output is empty": resize("asymmetric", "floor", scales=(0.125, 2)),
        "an axis of 6000000 cells is too long": resize("asymmetric", "floor", scales=(1e6, 2)),
        "an axis of 3e+38 cells, or so many times as many, is too long": resize(
            "asymmetric", "floor", scales=(3e38, 2)
        ),
        "onnxruntime gives it [1, 2, 7, 6] cells and ONNX, which rounds another product, [1, 2, 6, 6]": resize(
            "asymmetric", "floor", scales=(float(np.float32(7 / 6)), 1)
        ),
        "its scales or sizes are not all above 0": resize("asymmetric", "floor", scales=(np.nan, np.inf)),
        "ONNX has no coordinate_transformation_mode diagonal": resize("diagonal", "floor", sizes=(4, 4)),
        "ONNX has no nearest_mode up": resize("asymmetric", "up", sizes=(4, 4)),
        "its region reaches beyond the picture, where it writes extrapolation_value": resize(
            "tf_crop_and_resize", "floor", sizes=(4, 4), roi=outside
        ),
        "its scales or sizes are computed at run time": graph(
            '(float[1,2,6,6] x, float[4] n) => (float[a,b,c,d] y) { y = Resize<mode = "nearest">(x, , n) }'
        ),
        "the size of its input is not static": graph(
            '(float[1,2,h,6] x) => (float[a,b,c,d] y) { y = Resize<mode = "nearest">(x, , n) }',
            n=np.array([1, 1, 2, 2], np.float32),
        ),
        "its region is computed at run time": graph(
            """(float[1,2,6,6] x, float[8] roi) => (float[a,b,c,d] y) {
                y = Resize<mode = "nearest", coordinate_transformation_mode = "tf_crop_and_resize">(x, roi, , n)
            }""",
            n=np.array([1, 2, 4, 4], np.int64),
        ),
    }
    for reason, model in cases.items():
        edits = ResizeNearest()(model)
        assert not edits
        assert [leaving(line) for line in edits.left] == [reason]
