"""Our operator tables against the vendor's pages: no sentence forgotten, none invented; and what the loader refuses."""

from pathlib import Path

import pytest
import yaml

from workbench.errors import RecipeError, ToolError
from workbench.targets.pulsar2 import chips, operators
from workbench.targets.pulsar2.operators import Rule

PAGES = Path(__file__).resolve().parents[2].parent / "shared" / "reference" / "pulsar2" / "op_support"
OWN = sorted(path.stem for path in operators.FOLDER.glob("*.yaml"))


def limits_of(chip, op_type):
    """Word and value by what is limited."""
    return {limit.name: (limit.rule.word, limit.rule.value) for limit in operators.table(chip).operators[op_type]}


def test_the_five_pages_are_here():
    """One file a page."""
    assert OWN == ["ax615", "ax620e", "ax637", "ax650", "m57"]


@pytest.mark.parametrize("name", OWN)
def test_every_sentence_of_the_page_is_quoted_and_no_other(name):
    """Operator for operator, the lines of the vendor's page are exactly the sources of our limits, in order."""
    path = PAGES / f"{name}.yaml"
    if not path.is_file():
        pytest.skip(f"the vendor's pages are not here: {path}")
    page = yaml.safe_load(path.read_text("utf-8"))
    ours = operators.read(operators.FOLDER / f"{name}.yaml")
    spelt = {theirs: mine for theirs, mine in ours.spelt.items() if theirs in page["ops"]}

    assert (ours.chip, ours.opset, list(ours.covers)) == (page["chip"], page["min_opset"], page["covers"])
    assert list(ours.operators) == [spelt.get(theirs, theirs) for theirs in page["ops"]]
    for theirs, sentences in page["ops"].items():
        entries = ours.operators[spelt.get(theirs, theirs)]
        quoted = [line for limit in entries for line in limit.source]
        # One line that holds two limits is quoted by both, one behind the other.
        lines = [line for index, line in enumerate(quoted) if index == 0 or line != quoted[index - 1]]
        assert lines == sentences, theirs


@pytest.mark.parametrize("name", OWN)
def test_what_leaves_room_says_why_it_is_read_so(name):
    """'Not supported' of a number that ONNX always has is a decision, and the table explains it."""
    for op_type, entries in operators.read(operators.FOLDER / f"{name}.yaml").operators.items():
        for limit in entries:
            decided = limit.rule.word == "one_of" and "not supported" in limit.sentence.lower()
            if decided or limit.rule.word == "by_hand":
                assert len(limit.because) > 15, (op_type, limit)


def test_decisions():
    """Alpha and beta that are not supported must be 1; momentum is never read at inference; a note forbids nothing."""
    gemm, norm = limits_of("AX650", "Gemm"), limits_of("AX650", "BatchNormalization")

    assert gemm["alpha"] == gemm["beta"] == ("one_of", (1,))
    assert norm["training_mode"] == ("one_of", (0,))
    momentum = next(one for one in operators.table("AX650").operators["BatchNormalization"] if one.name == "momentum")
    assert momentum.when == (("training_mode", Rule("not", 0)),)
    assert [one.rule.word for one in operators.table("AX650").operators["Conv"] if not one.name] == ["information"]


def test_what_the_pages_run_together():
    """AX615 writes two limits of Resize into one line, wraps a note, and hangs a warning on an epsilon."""
    resize = operators.table("AX615").operators["Resize"]
    assert [(one.name, one.rule.word) for one in resize] == [
        ("mode", "one_of"),
        ("scales", "unlimited"),
        ("nearest_mode", "one_of"),
    ]
    assert resize[1].source == resize[2].source
    norm = operators.table("AX615").operators["InstanceNormalization"]
    assert [one.rule.word for one in norm] == ["unlimited", "by_hand"]
    assert operators.table("M57").operators["LpNormalization"][0].source[1] == "(i.e. the last dimension)"


def test_the_page_s_spelling_is_not_onnx_s():
    """The pages say Topk; graphs say TopK."""
    for chip in ("AX650", "AX620E", "AX615", "AX637", "M57"):
        table = operators.table(chip)
        assert "TopK" in table.operators
        assert "Topk" not in table.operators


def test_every_chip_has_a_table_and_says_whose():
    """Parts by their alias; M76H is on AX650's page, AX8860 on none."""
    told = {chip.name: operators.table(chip.name).about(chip.name) for chip in chips.CHIPS}

    assert told["AX650"] == "AX650's table"
    assert told["M76H"] == "AX650's table, which covers M76H"
    assert told["AX8860"] == "AX650's table stands in: no table of AX8860 is published"
    assert operators.table("AX630C").chip == "AX620E"
    assert operators.table("AX8850").chip == "AX650"


def test_an_unknown_chip():
    """A typo names the near miss."""
    with pytest.raises(RecipeError, match="no chip called 'AX999'"):
        operators.table("AX999")


GOOD = """chip: T1
covers: [T1]
opset: 11
operators:
  Elu:
    - {attribute: alpha, one_of: [1.0], source: "alpha: only 1"}
"""


def wrote(tmp_path, text):
    """A table file."""
    path = tmp_path / f"{abs(hash(text))}.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_table_is_read(tmp_path):
    """The words become a rule with its argument; the sentence is kept."""
    (limit,) = operators.read(wrote(tmp_path, GOOD)).operators["Elu"]

    assert (limit.subject, limit.name, limit.rule) == ("attribute", "alpha", Rule("one_of", (1.0,)))
    assert limit.sentence == "alpha: only 1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("one_of: [1.0], ", ""),
        ("one_of: [1.0]", "one_of: [1.0], not: 3"),
        ("one_of: [1.0]", "one_of: [1.0], input: X"),
        ("one_of: [1.0]", "one_of: [1.0], when: {x: 3}"),
        ("one_of: [1.0]", "one_of: [1.0], when: [x]"),
    ],
)
def test_an_entry_without_one_clear_rule_is_kept_for_a_person(tmp_path, old, new):
    """No rule, two, two subjects, or a condition nobody understands: the limit is not lost, and not passed."""
    (limit,) = operators.read(wrote(tmp_path, GOOD.replace(old, new))).operators["Elu"]

    assert limit.rule.word == operators.UNREADABLE
    assert limit.sentence == "alpha: only 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace(', source: "alpha: only 1"', ""), "must name its source"),
        (GOOD.replace("covers", "covered"), "it must have the keys"),
        (GOOD + "  Relu: Unlimited\n", "operators.Relu must be a list"),
        (GOOD.replace("11", "eleven"), "opset must be a whole number"),
        ("- 1\n", "it must have the keys"),
        ("a: [", "cannot be read"),
        (GOOD.replace("chip: T1", "chip: !!python/object/apply:os.getcwd []"), "cannot be read"),
    ],
)
def test_a_damaged_table_is_an_error_with_a_fix(tmp_path, text, message):
    """A table that somebody edited badly is refused whole, and its file named."""
    path = wrote(tmp_path, text)
    with pytest.raises(ToolError, match=message) as caught:
        operators.read(path)

    assert caught.value.where == str(path)
    assert caught.value.fix
