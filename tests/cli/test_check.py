"""`workbench check`: what it prints, what --fix writes, and how it refuses what it cannot read."""

import io as text_io
import json

import numpy as np
import onnx
import pytest
from _surgery import graph, random, run
from click.testing import CliRunner
from rich.console import Console

from workbench.cli import _findings, main
from workbench.graph import io
from workbench.targets.pulsar2.remedies import treat

MENDABLE = """(float[1,3,8,8] image) => (float[1,3,16,16] up, float[1,3,8,8] kept) {
    a = Elu(image)
    b = Elu(a)
    kept = Conv<auto_pad = "SAME_UPPER">(b, w)
    up = Resize<mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "asymmetric">(kept, , s)
}"""
BLOCKED = MENDABLE.replace("float[1,3,8,8] kept)", "float[1,3,8,8] kept, float[1,3,8,8] lost)").replace(
    "up = Resize", "lost = Sinh(kept)\n    up = Resize"
)
WEIGHTS = {"w": random(3, 3, 3, 3, seed=1), "s": np.array([1, 1, 2, 2], np.float32)}


def model(text=MENDABLE):
    """A graph that a chip does not take as it is."""
    return graph(text, **WEIGHTS)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `workbench check` in a folder that holds `mendable.onnx` and `blocked.onnx`."""
    monkeypatch.chdir(tmp_path)
    io.write(model(), tmp_path / "mendable.onnx")
    io.write(model(BLOCKED), tmp_path / "blocked.onnx")

    def run_it(*arguments, code=0):
        result = CliRunner().invoke(main, ["check", *(str(argument) for argument in arguments)])
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    return run_it


@pytest.mark.parametrize("width", [80, 120])
def test_findings_are_golden(golden, width):
    """Equal findings share a row, fine nodes a line; the lines for a recipe follow; a narrow terminal gets no table."""
    treated = treat(graph(BLOCKED, **WEIGHTS), "AX630C")
    shown = text_io.StringIO()
    console = Console(file=shown, width=width, highlight=False)
    _findings.show(treated.before, "blocked.onnx for AX620E", console)
    _findings.show_lines(treated.before.passes, console)
    _findings.show_remedies(treated.remedies, console)
    _findings.show(treated.after, "after", console, everything=True)
    text = "\n".join(line.rstrip() for line in shown.getvalue().splitlines()) + "\n"

    assert max(len(line) for line in text.splitlines()) <= width
    golden(f"check_{width}.txt", text)


def test_what_can_be_mended_is_told_with_the_lines_for_a_recipe(call):
    """Exit 0: the table names the pass of each finding, and the lines can be pasted."""
    result = call("mendable.onnx", "--chip", "AX650")

    assert "mendable.onnx for AX650 (AX650's table), opset 17" in result.stdout
    assert "surgery:\n  - explicit_attributes: {operators: [Elu]}\n  - explicit_padding\n" in result.stdout
    assert "a and 1 more" in result.stdout


def test_blocked_is_exit_3_in_three_parts(call):
    """The table comes first, then what, where and a fix."""
    result = call("blocked.onnx", "--chip", "AX650", "--chip", "ax630c", code=3)

    assert "not in AX650's table" in result.stdout
    assert "blocked.onnx: AX650 does not take 1 node (Sinh); AX620E does not" in result.stderr
    assert "fix: replace these in the network, cut them off with cut_outputs" in result.stderr


def test_json_is_one_document(call):
    """Counts, findings and passes for each chip, the same that people see; exit codes stay."""
    told = json.loads(call("blocked.onnx", "--chip", "AX650", "--chip", "AX8860", "--json", code=3).stdout)

    assert [one["chip"] for one in told["checks"]] == ["AX650", "AX8860"]
    assert told["checks"][1]["table"] == "AX650's table stands in: no table of AX8860 is published"
    first = told["checks"][0]
    assert (first["blocked"], first["rewrite"], first["by_hand"]) == (1, 5, 0)
    assert first["findings"][0] == {
        "node": "a",
        "operator": "Elu",
        "attribute": "alpha",
        "found": "not written",
        "limit": "must be written out: the build fails on the default",
        "verdict": "rewrite",
        "passes": ["- explicit_attributes: {operators: [Elu]}"],
    }


def test_all_lists_the_nodes_that_are_fine(call, tmp_path):
    """One row a node with --all, one line for all without."""
    io.write(graph("(float[4] x) => (float[4] y) { a = Relu(x) y = Sigmoid(a) }"), tmp_path / "fine.onnx")
    short, long = (call("fine.onnx", "--chip", "M57", *more).stdout for more in ((), ("--all",)))

    assert "ok: 2 nodes (1 Relu, 1 Sigmoid)" in short
    assert len(short.splitlines()) == 2
    assert [line.split() for line in long.splitlines()[2:4]] == [["a", "Relu", "ok"], ["y", "Sigmoid", "ok"]]


def test_fix_writes_a_graph_that_passes_and_means_the_same(call, tmp_path):
    """The mended file has no finding left, and every output its numbers."""
    result = call("mendable.onnx", "--chip", "AX650", "--chip", "AX620E", "--fix", "good.onnx")

    assert "Conv -> 'kept': SAME_UPPER is pads [1, 1, 1, 1]" in result.stdout
    assert "good.onnx for AX620E (AX620E's table), opset 17" in result.stdout
    told = json.loads(call("good.onnx", "--chip", "AX650", "--json").stdout)
    assert told["checks"][0]["findings"] == []
    feeds = {"image": random(1, 3, 8, 8)}
    before, after = run(model(), feeds), run(io.read(tmp_path / "good.onnx"), feeds)
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-6)


def test_fix_twice_gives_the_same_bytes_and_then_changes_nothing(call, tmp_path):
    """Deterministic; and a file that needs nothing is copied byte for byte."""
    for name in ("one.onnx", "two.onnx"):
        call("mendable.onnx", "--chip", "AX650", "--fix", name)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    result = call("one.onnx", "--chip", "AX650", "--fix", "three.onnx")

    assert "nothing to mend: three.onnx is one.onnx" in result.stdout
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "three.onnx").read_bytes()


def test_fix_touches_the_input_only_when_it_is_named(call, tmp_path):
    """Another name leaves MODEL alone; its own name replaces it, whole."""
    before = (tmp_path / "mendable.onnx").read_bytes()
    call("mendable.onnx", "--chip", "AX650", "--fix", "other.onnx")
    assert (tmp_path / "mendable.onnx").read_bytes() == before
    call("mendable.onnx", "--chip", "AX650", "--fix", "mendable.onnx")

    assert (tmp_path / "mendable.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocked.onnx", "mendable.onnx", "other.onnx"]


def test_fix_of_what_stays_blocked(call, tmp_path):
    """What can be mended is written, what is left is told with exit 3."""
    told = json.loads(call("blocked.onnx", "--chip", "AX650", "--fix", "half.onnx", "--json", code=3).stdout)

    assert told["fix"]["out"] == "half.onnx"
    assert told["fix"]["passes"][0]["line"] == "- explicit_attributes: {operators: [Elu]}"
    assert [one["operator"] for one in told["fix"]["checks"][0]["findings"]] == ["Sinh"]
    assert (tmp_path / "half.onnx").is_file()


def test_a_batch_that_is_open_is_mended(call, tmp_path):
    """A symbolic batch is one finding, which static_batch mends."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N,3,4,4] x) => (float[N,3,4,4] y) { y = Relu(x) }'
    )
    onnx.save(proto, tmp_path / "open.onnx")
    result = call("open.onnx", "--chip", "AX650")
    assert "- static_batch" in result.stdout


def test_sizes_that_stay_open_are_blocked(call, tmp_path):
    """Height and width cannot be chosen by a pass."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,3,H,W] x) => (float[1,3,H,W] y) { y = Relu(x) }'
    )
    onnx.save(proto, tmp_path / "open.onnx")
    result = call("open.onnx", "--chip", "AX650", code=3)

    assert "is [1, 3, H, W]" in result.stdout
    assert "AX650 does not take input 'x'\n  fix: export it again with a number for every size" in result.stderr


def test_what_is_no_node_has_a_cure_of_its_own(call, tmp_path):
    """Nobody can cut off an operator set, and another chip takes no older one."""
    text = """g (float[1,3,8,8] x) => (float[1,3,20,20] y) {
        u = Upsample<mode = "linear">(x, s)
        y = Pad<mode = "reflect", pads = [0, 0, 2, 2, 0, 0, 2, 2]>(u)
    }"""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 9]> {text}')
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s"))
    onnx.save(proto, tmp_path / "old.onnx")
    told = call("old.onnx", "--chip", "AX650", code=3).stderr

    assert "AX650 does not take operator set 9 and 2 nodes (Upsample, Pad)\n" in told
    assert "fix: export it again at opset 17 or 18; replace these in the network" in told


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.axmodel", b"x", "it is compiled already"),
        ("a.tflite", b"TFL3", "it is a TFLite file"),
        ("a.pb", b"\n", "it is a TensorFlow graph"),
        ("a.onnx", b"\xff\x00garbage", "not an ONNX file"),
        ("a.onnx", b"", "an ONNX file without a graph"),
    ],
)
def test_what_is_no_onnx_graph(call, tmp_path, name, content, message):
    """Each with the reason and a fix; nothing is written."""
    (tmp_path / name).write_bytes(content)
    result = call(name, "--chip", "AX650", "--fix", "out.onnx", code=3)

    assert message in result.stderr
    assert "fix: " in result.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_files_that_are_not_there_or_no_files(call, tmp_path):
    """A missing file and a folder are told by their path."""
    (tmp_path / "folder.onnx").mkdir()

    assert "gone.axmodel: cannot read the model: No such file" in call("gone.axmodel", "--chip", "M57", code=3).stderr
    assert "Is a directory" in call("folder.onnx", "--chip", "M57", code=3).stderr


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_truncated_file(call, tmp_path, cut):
    """However much is missing, it is an error with a fix."""
    whole = (tmp_path / "mendable.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) - cut])
    result = call("cut.onnx", "--chip", "AX650", code=3)

    assert "fix: " in result.stderr


def test_an_operator_set_of_the_future(call, tmp_path):
    """A version nobody knows is refused in three parts."""
    proto = onnx.load(tmp_path / "mendable.onnx")
    proto.opset_import[0].version = 2**40
    onnx.save(proto, tmp_path / "future.onnx")

    told = call("future.onnx", "--chip", "AX650", code=3).stderr
    assert "future.onnx: the graph says operator set 1099511627776, the installed ONNX knows 1 to" in told


def test_a_graph_that_makes_onnx_crash(call, tmp_path):
    """A Split with more outputs than it says ends ONNX's shape inference, and with it the process, but not ours."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[1,4,8,8] x) => (float[1,2,8,8] a) {'
        " a, b, c = Split<axis = 1, num_outputs = 2>(x) }"
    )
    onnx.save(proto, tmp_path / "crash.onnx")
    result = call("crash.onnx", "--chip", "AX650", code=3)

    assert "crash.onnx: not a valid ONNX graph" in result.stderr


def test_usage(call):
    """A chip must be named and known, and what --fix writes is ONNX."""
    assert "--chip" in call("mendable.onnx", code=2).output
    assert "did you mean 'AX650'?" in call("mendable.onnx", "--chip", "AX65O", code=2).stderr
    wrong = call("mendable.onnx", "--chip", "AX650", "--fix", "good.tflite", code=2)
    assert "the mended graph is an ONNX file" in wrong.stderr


def test_a_folder_that_cannot_be_written(call, tmp_path):
    """--fix into a file's inside is a three-part error, and the model stays."""
    result = call("mendable.onnx", "--chip", "AX650", "--fix", "blocked.onnx/out.onnx", code=3)

    assert "cannot write" in result.stderr


def test_names_that_try_to_paint(call, tmp_path):
    """Markup and control characters in names are shown, not obeyed."""
    hostile = model(BLOCKED)
    for node in hostile.graph:
        if node.op_type == "Sinh":
            node.name = "[red]evil[/]\x1b[31m\n"
    io.write(hostile, tmp_path / "hostile.onnx")
    result = call("hostile.onnx", "--chip", "AX650", code=3)

    assert "[red]evil[/]\\x1b[31m\\n" in "".join(result.stdout.split())
    assert "\x1b" not in result.stdout


def test_a_compiled_model_under_another_name(call, tmp_path):
    """An .axmodel that somebody renamed is not taken for a graph."""
    node = onnx.helper.make_node("neu mode", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", value[:1], value[1:]))
    onnx.save(proto, tmp_path / "renamed.onnx")

    assert "compiled .axmodel" in call("renamed.onnx", "--chip", "AX650", code=3).stderr


def test_the_chips_of_the_help_are_all_there_are():
    """The help names every chip."""
    from workbench.targets.pulsar2.chips import CHIPS

    shown = CliRunner().invoke(main, ["check", "--help"]).output
    assert all(chip.name in shown for chip in CHIPS)
