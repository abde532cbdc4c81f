import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import RecipeError, ToolError
from workbench.recipe import rewrite as rewriting
from workbench.recipe import yaml_marks
from workbench.recipe.load import load
from workbench.recipe.rewrite import limit_below, lines, rewrite, scalar, write

RECIPE = """\
# first line
name: tiny   # the folder
source: {kind: onnx}
weights: {file: w.onnx, url: "https://example.org/w.onnx"}

inputs:
  - {name: image, shape: [1, 3, 32, 32]}
outputs: [{name: heat, shape: [1, 17, 8, 8], meaning: heatmap}]
joints: coco17

calibration: {count: 6}   # few
quantization: {method: MinMax}

targets:
    onnx: {}   # odd indentation
parity:
  limits:
    float: {max_abs: 1e-4}
    int8: {cosine: 0.9}   # low

# last line
"""
SECTION = "quantization: {method: MinMax}\n"
TUNED = {"u16": ["/x/Add_output_0", "317"], "method": "KL", "equalize": True, "split": {"a/b": 4}, "unroll": []}
WRITTEN = """\
quantization:
  method: KL
  equalize: true
  split: {a/b: 4}
  u16: [/x/Add_output_0, "317"]
"""


def changed(text, section="", **more):
    """`text` rewritten, its section first set to `section`."""
    return rewrite(text.replace(SECTION, section) if section else text, TUNED, **more).text


def test_a_tensor_may_have_spaces_in_its_name(tmp_path):
    """Exporters call tensors after scopes and sums; what a search found on them can be written, and is read again."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    write(
        tmp_path / "tiny.yaml",
        {"split": {"my relu": 4}, "unroll": [" a + b: c ", "# d"], "u16": ["s u m"]},
        {"mixed": 0.9},
    )
    found = load(tmp_path / "tiny.yaml").recipe.quantization
    assert (found.split, found.unroll, found.u16) == ({"my relu": 4}, (" a + b: c ", "# d"), ("s u m",))


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "x" * 513, ""])
def test_a_name_that_no_recipe_can_hold_is_an_error_and_nothing_is_written(tmp_path, name):
    """The key is told, and the file stays as it is."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    with pytest.raises(RecipeError, match=r"a recipe cannot hold these settings: unroll\.0: "):
        write(tmp_path / "tiny.yaml", {"unroll": [name]})
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    assert (tmp_path / "tiny.yaml").read_text() == RECIPE


def test_only_the_section_changes():
    """Comments, order, empty lines and the style of all other keys are the same bytes."""
    assert rewrite(RECIPE, TUNED).text == RECIPE.replace(SECTION, WRITTEN)


@pytest.mark.parametrize(
    "section",
    [
        "quantization:\n  method: MinMax\n  u16:\n  - a\n  - b\n",
        "quantization:\n        method: MinMax\n        split: {a: 2,\n  b: 3}\n",
        "quantization: {\n  method: MinMax,\n  }\n",
        "quantization:\n",
        "quantization: null\n",
        '"quantization": {method: MinMax}\n',
        "quantization:\n  method: >-\n    MinMax\n",
    ],
)
def test_every_style_of_section_is_exchanged(section):
    """Block, flow, folded, quoted or empty: from the key to the end of its value."""
    assert changed(RECIPE, section) == RECIPE.replace(SECTION, WRITTEN)


def test_comments_of_the_section_go_and_are_named():
    """Those on its lines and those indented below it; a # inside quotes is none, and the next key keeps its own."""
    section = (
        "quantization: # why\n  # all\n  method: MinMax   # plain\n  u16: ['a #b']\n  # unroll: [c]\n# of the targets\n"
    )
    done = rewrite(RECIPE.replace(SECTION, section), TUNED)

    assert done.lost == ("# why", "# all", "# plain", "# unroll: [c]")
    assert done.text == RECIPE.replace(SECTION, WRITTEN + "# of the targets\n")


def test_a_note_is_a_comment_that_the_next_rewriting_takes_away():
    """It speaks of these settings only."""
    noted = rewrite(RECIPE, TUNED, note="untuned").text

    assert noted == RECIPE.replace(SECTION, WRITTEN.replace("quantization:", "quantization:   # untuned"))
    assert rewrite(noted, TUNED) == rewriting.Rewritten(RECIPE.replace(SECTION, WRITTEN), ("# untuned",))


def test_line_ends_of_windows_stay():
    """A file with CRLF has no other line end afterwards, and the same text."""
    done = rewrite(RECIPE.replace("\n", "\r\n"), TUNED, {"mixed": 0.9})

    assert "\n" not in done.text.replace("\r\n", "")
    assert done.text.replace("\r\n", "\n") == rewrite(RECIPE, TUNED, {"mixed": 0.9}).text


def test_a_file_that_ends_without_a_line_end_still_does():
    """Nothing is added behind the last line, whether or not it is the section's."""
    last = RECIPE.replace(SECTION, "").rstrip() + "\nquantization: {method: MinMax}"

    assert rewrite(last, TUNED).text.endswith('u16: [/x/Add_output_0, "317"]')
    assert rewrite(RECIPE.rstrip(), TUNED).text.endswith("# last line")


def test_a_recipe_without_the_section_gets_it_behind_the_calibration():
    """Or, without one, behind what comes before it in a recipe."""
    text = RECIPE.replace(SECTION, "")
    shorter = text.replace("calibration: {count: 6}   # few\n", "")

    assert changed(text) == RECIPE.replace(SECTION, WRITTEN)
    assert f"joints: coco17\n{WRITTEN}" in changed(shorter)


def test_keys_that_are_all_indented_keep_their_column():
    """A recipe may begin each line with blanks; the section then does, too."""
    text = "".join(f"  {line}" if line.strip() else line for line in RECIPE.splitlines(keepends=True))
    wanted = "".join(
        f"  {line}" if line.strip() else line for line in RECIPE.replace(SECTION, WRITTEN).splitlines(keepends=True)
    )

    assert rewrite(text, TUNED).text == wanted


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (
            "  limits:\n    float: {max_abs: 1e-4}\n    int8: {cosine: 0.9}   # low\n",
            "  limits:\n    float: {max_abs: 1e-4}\n    int8: {cosine: 0.9}   # low\n    mixed: {cosine: 0.95}\n",
        ),
        (
            "  limits:\n   float:\n     max_abs: 1e-4\n   int8:\n      cosine: 0.9 # x\n",
            "  limits:\n   float:\n     max_abs: 1e-4\n   int8:\n      cosine: 0.9 # x\n   mixed: {cosine: 0.95}\n",
        ),
        (
            "  limits: {float: {max_abs: 1e-4}, int8: {cosine: 0.9}}\n",
            "  limits: {float: {max_abs: 1e-4}, int8: {cosine: 0.9}, mixed: {cosine: 0.95}}\n",
        ),
        (
            "  limits: {\n    float: {max_abs: 1e-4}, # f\n    int8: {cosine: 0.9}, # i\n  }\n",
            "  limits: {\n    float: {max_abs: 1e-4}, # f\n    int8: {cosine: 0.9}, mixed: {cosine: 0.95}, # i\n  }\n",
        ),
    ],
)
def test_a_limit_is_added_in_the_style_of_the_others(limits, wanted):
    """One line or one entry more; there is no second one for a precision that has a limit."""
    start = RECIPE.index("  limits:")
    text = RECIPE[:start] + limits + "\n# last line\n"
    done = rewrite(text, TUNED, {"mixed": 0.95, "int8": 0.5}).text

    assert done == (RECIPE[:start] + wanted + "\n# last line\n").replace(SECTION, WRITTEN)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            SECTION,
            "quantization: &q {method: MinMax}\n",
            "cannot be rewritten: quantization holds an anchor",
        ),
        ("calibration: {count: 6}", "calibration: &c {count: 6}", ""),
        (SECTION, "quantization: {method: !!str MinMax}\n", "holds a tag"),
        (SECTION, "? quantization\n: {method: MinMax}\n", "quantization does not begin its line"),
        ("    int8: {cosine: 0.9} ", "    int8: &l {cosine: 0.9} ", "parity holds an anchor"),
    ],
)
def test_what_cannot_be_exchanged_is_refused_with_the_place(old, new, reason):
    """Anchors may be used elsewhere; those of other keys do not matter."""
    text = RECIPE.replace(old, new)
    assert text != RECIPE
    if not reason:
        assert rewrite(text, TUNED, {"mixed": 0.9}).text.count("&c") == 1
        return
    with pytest.raises(RecipeError, match=reason) as caught:
        rewrite(text, TUNED, {"mixed": 0.9}, file="r.yaml")
    assert caught.value.where.startswith("r.yaml:")
    assert caught.value.fix


def test_an_alias_in_the_section_is_refused():
    """What it stands for is written at another place."""
    text = RECIPE.replace("name: tiny", "name: &n tiny").replace(SECTION, "quantization: {method: MinMax, u16: [*n]}\n")

    with pytest.raises(RecipeError, match="quantization holds an alias"):
        rewrite(text, TUNED)


def test_a_recipe_in_braces_and_odd_line_ends_are_refused():
    """There are no lines to exchange."""
    with pytest.raises(RecipeError, match="the whole recipe stands in braces"):
        rewrite("{name: tiny, quantization: {method: MinMax}}", TUNED)
    with pytest.raises(RecipeError, match="lines do not end as others do"):
        rewrite(RECIPE.replace("\n", "\r"), TUNED)


def test_long_lists_have_a_line_for_each_entry():
    """A hundred columns are the width; an empty section is still one."""
    names = [f"/stage_{index}/residual/Add_output_0" for index in range(4)]
    found = lines({"method": "MinMax", "split": dict.fromkeys(names, 2), "u16": names[:2]})

    assert found[2:7] == ["  split:", *(f"    {name}: 2" for name in names)]
    assert found[7] == f"  u16: [{names[0]}, {names[1]}]"
    assert lines({"u16": names})[1:] == ["  u16:", *(f"    - {name}" for name in names)]
    assert lines({"u16": []}) == ["quantization: {}"]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=30), st.booleans())
def test_every_tensor_name_is_read_back_as_itself(name, number):
    """Names of exporters hold anything: colons, brackets, digits, words that YAML takes for others."""
    for value in (name, f"{name}: #[{name}]", "yes", "null", "1e5", "~", 7, 99.99, number):
        assert yaml_marks.value(f"[{scalar(value)}]") == [value]
        assert yaml_marks.value(f"{{k: {scalar(value)}}}") == {"k": value}


@pytest.mark.parametrize(
    ("measured", "limit"), [(0.998, 0.997), (0.9973, 0.995), (0.95, 0.92), (1.0, 0.999), (0.2, 0.0), (-1.0, 0.0)]
)
def test_a_limit_is_a_little_below_what_was_measured(measured, limit):
    """Half as much error again, rounded down; never the number itself."""
    assert limit_below(measured) == limit < max(measured, 0.1)
    assert limit_below(float("nan")) == 0.0


def test_a_written_recipe_loads_as_the_one_that_was_meant(tmp_path):
    """The settings and the limit are in it, nothing else changed, no file is left beside it, its mode stays."""
    path = tmp_path / "tiny.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + RECIPE.encode())
    path.chmod(0o640)
    before = load(path).recipe
    write(path, TUNED, {"mixed": 0.95}, meant=before)
    after = load(path).recipe

    assert after.quantization.u16 == ("/x/Add_output_0", "317")
    assert after.quantization.split == {"a/b": 4}
    assert after.parity.limits["mixed"].cosine == 0.95
    assert after.model_copy(update={"quantization": before.quantization, "parity": before.parity}) == before
    assert path.read_bytes().startswith(b"\xef\xbb\xbf# first line")
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    """The file it leads to is written; the link stays one."""
    (tmp_path / "real.yaml").write_text(RECIPE)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    write(tmp_path / "link.yaml", {"method": "KL"})

    assert (tmp_path / "link.yaml").is_symlink()
    assert load(tmp_path / "real.yaml").recipe.quantization.method == "KL"


def test_a_recipe_that_changed_meanwhile_is_left_alone(tmp_path):
    """A search takes minutes; what was edited in them must not get settings of another network."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    meant = load(path).recipe
    path.write_text(RECIPE.replace("count: 6", "count: 7"))
    with pytest.raises(RecipeError, match="was changed while its settings were searched"):
        write(path, TUNED, {"mixed": 0.95}, meant=meant)

    assert path.read_text() == RECIPE.replace("count: 6", "count: 7")


def test_settings_that_do_not_load_change_nothing(tmp_path):
    """The limit that 16 bits need is missing: the error is the loader's, the file as it was."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    with pytest.raises(RecipeError, match=r"quantization\.u16 makes a mixed model, which has no limit"):
        write(path, TUNED)

    assert path.read_text() == RECIPE
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_would_load_as_another_recipe_is_not_kept(tmp_path, monkeypatch):
    """Whatever was overlooked, the last check is the loaded recipe itself."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    true = rewriting.rewrite

    def spoiled(text, *arguments, **more):
        return true(text.replace("count: 6", "count: 8"), *arguments, **more)

    monkeypatch.setattr(rewriting, "rewrite", spoiled)
    with pytest.raises(RecipeError, match="it would come out as another one"):
        write(path, {"method": "KL"})

    assert path.read_text() == RECIPE


def test_a_folder_that_may_not_be_written_is_said_so(tmp_path, monkeypatch):
    """Exit 3, the recipe is whole and nothing lies beside it."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)

    def refused(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(rewriting.shutil, "copymode", refused)
    with pytest.raises(ToolError, match="cannot be rewritten: Permission denied"):
        write(path, {"method": "KL"})

    assert path.read_text() == RECIPE
    assert list(tmp_path.iterdir()) == [path]
