"""What Pulsar2 writes beside a model is read as it is, or refused with a reason."""

import json
import math
from pathlib import Path

import pytest

from workbench.errors import ToolError
from workbench.quant.layer_parity import Reading
from workbench.targets.pulsar2.results import log, precision_table, profile, vendor

REAL = Path(__file__).resolve().parents[3] / "shared/reference/pulsar2/samples/precision_analysis_table.txt"
TABLE = """\
some words before
                Quant Precision Table【EndToEnd NPUBackend】
┏━━━━━━━━━━┳━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━┓
┃ Operator ┃      Type       ┃ Output Tensor ┃    Shape     ┃ DType ┃ QDType ┃ Cosin   ┃ MSE     ┃
┡━━━━━━━━━━╇━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━┩
│ Conv_0   │ AxQuantizedConv │ stage_1/very_ │ (1, 3, 4, 4) │ FP32  │   U8   │ 0.99993 │ 0.00003 │
│          │                 │ long_name     │              │       │        │         │         │
├──────────┼─────────────────┼───────────────┼──────────────┼───────┼────────┼─────────┼─────────┤
│ Add_1    │ AxQuantizedAdd  │ b             │ (1, 3, 4, 4) │ FP32  │  U16   │ nan     │ -       │
└──────────┴─────────────────┴───────────────┴──────────────┴───────┴────────┴─────────┴─────────┘
"""


@pytest.mark.skipif(not REAL.is_file(), reason="no real precision table beside the repository")
def test_a_real_table():
    """Every row of a table that the vendor's tool drew: the worst layer is where its page says."""
    table = precision_table.read(REAL)

    assert (table.method, table.mode, len(table.layers)) == ("PerLayer", "Reference", 65)
    first = table.layers[0]
    assert first == precision_table.Layer(
        "Conv_0", "AxQuantizedConv", "317", (1, 32, 112, 112), "FP32", "U8", 0.99993, 0.00003
    )
    worst = min(table.layers, key=lambda row: row.cosine)
    assert (worst.operator, worst.cosine) == ("Add_89", 0.971)


def test_folded_names_are_joined(tmp_path):
    """A name that takes two lines is one name; what is no number is NaN."""
    path = tmp_path / "table.txt"
    path.write_text(TABLE, "utf-8")
    table = precision_table.read(path)

    assert (table.method, table.mode) == ("EndToEnd", "NPUBackend")
    assert [row.tensor for row in table.layers] == ["stage_1/very_long_name", "b"]
    assert table.layers[1].quantized == "U16"
    assert math.isnan(table.layers[1].cosine)
    assert math.isnan(table.layers[1].mse)


@pytest.mark.parametrize("text", ["", "nothing\n", "│ a │ b │\n", "\0" * 100])
def test_a_file_without_a_table(tmp_path, text):
    """It is said, with the file and what to do."""
    path = tmp_path / "table.txt"
    path.write_text(text)
    with pytest.raises(ToolError, match="no precision table inside") as error:
        precision_table.read(path)
    assert error.value.where == str(path)
    assert "report the tool's version" in error.value.fix


def test_files_that_are_not_read(tmp_path):
    """A link may lead anywhere, and a table has no hundred megabytes."""
    (tmp_path / "real").write_text(TABLE, "utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ToolError, match="no such plain file"):
        precision_table.read(tmp_path / "link")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(10**8)
    with pytest.raises(ToolError, match="100 MB, too large for what it is"):
        precision_table.read(tmp_path / "big")


@pytest.mark.parametrize(
    ("text", "cycles"),
    [
        ("[info] max_cycle = 123456\n", 123456),
        ("max_cycle = 1\nmore\n2026 | INFO | max_cycle = 2,345\n", 2345),
        ("nothing", None),
        ("max_cycle = ,", None),
    ],
)
def test_cycles_in_the_log(tmp_path, text, cycles):
    """The last one counts; a log without any says nothing."""
    path = tmp_path / "build.log"
    path.write_text(text)
    assert log.read(path).max_cycle == cycles


def test_a_profile_is_ranked_by_its_cost(tmp_path):
    """Columns are kept as named; the slowest come first."""
    path = tmp_path / "p.csv"
    path.write_text('op,type,cycles\na,Conv,10\nb,"Add, fused","1,200"\nc,Relu,30\n')
    found = profile.read(path)

    assert found.columns == ("op", "type", "cycles")
    assert found.cost == "cycles"
    assert [row["op"] for row in found.slowest(2)] == ["b", "c"]
    assert found.slowest(1)[0]["type"] == "Add, fused"


def test_a_profile_without_a_known_cost(tmp_path):
    """Rows keep their order; rows of another length are left out."""
    path = tmp_path / "p.csv"
    path.write_text("op,share\na,?\nb\nc,1\n")
    found = profile.read(path)
    assert found.cost == ""
    assert [row["op"] for row in found.slowest(5)] == ["a", "c"]


@pytest.mark.parametrize("text", ["", "only,headings\n", "a,a\n1,2\n", 'a,b\n"1,2\n', "x" * 200_000 + ",b\n1,2\n"])
def test_what_is_no_profile(tmp_path, text):
    """An error that names the file."""
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ToolError) as error:
        profile.read(path)
    assert error.value.where == str(path)


def test_both_sides_are_joined_by_tensor(tmp_path):
    """The tool's rows in their order, then the tensors that only the emulation knows; NaN is no number."""
    (tmp_path / vendor.TABLE).write_text(TABLE, "utf-8")
    (tmp_path / vendor.LOG).write_text("max_cycle = 7\n")
    (tmp_path / vendor.PROFILE).write_text("op,cycles\na,1\n")
    ours = [Reading("b", "Add", 0.5, 0.25, 1.0), Reading("c", "Conv", math.nan, 1.0, 0.0)]
    told, doubts = vendor.summary(tmp_path, ours)

    assert doubts == []
    assert (told["max_cycle"], told["method"], told["profile"]) == (7, "EndToEnd", [{"op": "a", "cycles": "1"}])
    rows = [(row["tensor"], row["vendor_cosine"], row["per_layer"], row["end_to_end"]) for row in told["layers"]]
    assert rows == [("stage_1/very_long_name", 0.99993, None, None), ("b", None, 0.5, 0.25), ("c", None, None, 1.0)]
    vendor.write(tmp_path, told)
    assert json.loads((tmp_path / vendor.FILE).read_text()) == told


def test_what_cannot_be_read_is_a_doubt_and_no_failure(tmp_path):
    """A table of a new layout does not fail a conversion that succeeded."""
    (tmp_path / vendor.TABLE).write_text("new layout")
    (tmp_path / vendor.PROFILE).write_text("")
    told, doubts = vendor.summary(tmp_path, ())
    assert told["layers"] == []
    assert doubts == [f"{vendor.TABLE}: no precision table inside", f"{vendor.PROFILE}: no profile inside"]
