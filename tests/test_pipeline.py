"""A tiny recipe, all the way: what is published, what runs again, and how failures end."""

import json
import os

import _tiny
import pytest

from workbench import pipeline
from workbench.engine.store import _HOST as HOST
from workbench.engine.store import Store
from workbench.errors import RecipeError, SourceError, ToolError, WorkbenchError
from workbench.recipe.load import load
from workbench.stages import _swap

STAGES = ["pictures", "export", "simplify", "surgery", "check", "bake", "calibrate", "quantize"]
STAGES += ["onnx", "pulsar2", "parity", "report"]


class Log:
    """A reporter that keeps which stages ran, and what it was warned of."""

    def __init__(self):
        self.ran, self.warned = [], []

    def begin(self, stage):
        """Not kept: `end` tells what ran."""

    def end(self, done):
        if done.ran:
            self.ran.append(done.step.name)

    def step(self, done, total, what):
        """Not kept."""

    def note(self, text):
        """Not kept."""

    def warn(self, text):
        self.warned.append(text)


@pytest.fixture
def bench(tmp_path, home):
    """Run the tiny recipe; keyword arguments change its text or the request."""

    class Bench:
        store = Store(home)
        folder = tmp_path / "recipes"
        dist = tmp_path / "dist"

        def convert(self, changes=None, **request):
            recipe = _tiny.write(self.folder, **(changes or {}))
            log = Log()
            asked = pipeline.Request(**{"dist": self.dist, "mirrors": (self.folder,), **request})
            return pipeline.convert(load(recipe), asked, self.store, log), log

    return Bench()


def test_a_recipe_becomes_checked_artifacts(bench):
    """Every promised file is there, hashed in the manifest, judged in parity.json."""
    outcome, log = bench.convert()

    assert log.ran == STAGES
    assert outcome.folder == bench.dist / "tiny"
    names = {entry["path"] for entry in outcome.manifest["files"]}
    assert {"tiny.onnx", "tiny.int8.onnx", "parity.json", "report.html", "pulsar2/AX650/config.json"} <= names
    assert outcome.manifest["deployable"] is True
    assert outcome.manifest["weights"]["origin"] == "published"
    assert outcome.manifest["inputs"][0]["mean"] == [128.0]
    judged = {entry["artifact"]: entry["passed"] for entry in outcome.parity["artifacts"]}
    assert judged == dict.fromkeys(["exported", "simplified", "after surgery", "tiny.onnx", "tiny.int8.onnx"], True)
    assert [skip["reason"] for skip in outcome.manifest["skipped"]] == ["no Pulsar2 toolchain"]


def test_an_unchanged_second_run_runs_no_stage(bench):
    """Everything comes from the store, and the published folder is left as it is."""
    first, _ = bench.convert()
    before = (first.folder / "manifest.json").stat().st_mtime_ns
    second, log = bench.convert()

    assert log.ran == []
    assert second.changed is False
    assert (second.folder / "manifest.json").stat().st_mtime_ns == before


def test_changing_a_limit_runs_only_parity_and_its_page(bench):
    """No graph is made again for another tolerance."""
    bench.convert()
    _, log = bench.convert({"max_abs: 1e-4": "max_abs: 2e-4"})

    assert log.ran == ["parity", "report"]


def test_an_input_with_another_name_keeps_its_pictures(bench):
    """After rename_io on an input, its pictures still calibrate, are golden, and are packed for Pulsar2."""
    renamed = {"surgery: [fold_batchnorm]": "surgery: [fold_batchnorm, {rename_io: {names: {image: picture}}}]"}
    plain, _ = bench.convert()
    before = json.loads((plain.folder / "parity.json").read_text())["artifacts"]
    outcome, _ = bench.convert(renamed)

    assert [one["name"] for one in outcome.manifest["inputs"]] == ["picture"]
    after = json.loads((outcome.folder / "parity.json").read_text())["artifacts"]
    assert [one["outputs"] for one in after] == [one["outputs"] for one in before]
    config = json.loads((outcome.folder / "pulsar2" / "AX650" / "config.json").read_text())
    assert [one["tensor_name"] for one in config["input_processors"]] == ["picture"]
    assert (outcome.folder / "pulsar2" / "AX650" / "calibration" / "picture.tar").is_file()


def test_two_machines_make_the_same_bytes(bench, tmp_path):
    """Another store, another recipe folder, another dist: every published file is byte-identical."""
    first, _ = bench.convert()
    bench.store, bench.folder, bench.dist = Store(tmp_path / "h2"), tmp_path / "r2", tmp_path / "d2"
    second, _ = bench.convert()

    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert contents(first.folder) == contents(second.folder)


def test_nothing_published_holds_a_path(bench, tmp_path):
    """No artifact tells where it was made."""
    outcome, _ = bench.convert()

    for path in outcome.folder.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path


def test_a_missed_limit_never_replaces_a_good_result(bench):
    """The failed run goes to tiny.failed with its verdict; the good one stays until the next good one."""
    good, _ = bench.convert()
    failed, _ = bench.convert({"cosine: 0.9": "cosine: 1.0"})

    assert failed.folder == bench.dist / "tiny.failed"
    assert failed.manifest["deployable"] is False
    assert any("cosine" in failure and "below the limit" in failure for failure in failed.failures)
    assert json.loads((good.folder / "manifest.json").read_text())["deployable"] is True
    bench.convert()
    assert not failed.folder.exists()


def test_files_a_user_put_beside_ours_survive(bench):
    """Publishing replaces what we made and nothing else."""
    outcome, _ = bench.convert()
    (outcome.folder / "notes.txt").write_text("mine")
    bench.convert({"max_abs: 1e-4": "max_abs: 2e-4"})

    assert (outcome.folder / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_not_ours_is_not_replaced(bench):
    """dist/tiny with somebody's files and no manifest is an error, and stays."""
    (bench.dist / "tiny").mkdir(parents=True)
    (bench.dist / "tiny" / "thesis.tex").write_text("x")

    with pytest.raises(ToolError, match="not a result of workbench"):
        bench.convert()
    assert (bench.dist / "tiny" / "thesis.tex").read_text() == "x"


def test_a_damaged_published_file_is_mended(bench):
    """What is in dist is verified by content, not by its presence."""
    outcome, _ = bench.convert()
    (outcome.folder / "tiny.onnx").write_bytes(b"x")
    again, log = bench.convert()

    assert log.ran == []
    assert again.changed
    assert (outcome.folder / "tiny.onnx").stat().st_size > 1000


def test_unreachable_weights_are_exit_3_with_the_ways_out(bench):
    """A graph that is its own weights cannot be seeded."""
    with pytest.raises(SourceError) as caught:
        bench.convert(mirrors=())

    assert caught.value.exit_code == 3
    assert all(
        way in caught.value.fix for way in ("--weights", "WORKBENCH_MIRROR", "https://example.invalid/tiny.onnx")
    )


def test_require_axmodel_fails_before_any_work(bench):
    """Without a toolchain the wait is not even begun."""
    with pytest.raises(ToolError, match="no Pulsar2 toolchain") as caught:
        bench.convert(require=("axmodel",))

    assert "PULSAR2_HOME" in caught.value.fix
    assert not bench.dist.exists()


@pytest.mark.parametrize(
    ("change", "message", "where"),
    [
        ({"[1, 17, 16, 24]": "[1, 17, 32, 48]"}, "heat", ":7:"),
        ({"coco17": "coco71"}, "coco71", ":8:"),
        ({"coco17": "coco18"}, "17 heat maps for the 18 joints", ":7:"),
        ({"name: heat,": "name: hat,"}, "hat", ":7:"),
        ({"count: 6, minimum: 4": "count: 6, pictures: nowhere"}, "nowhere", ":10:"),
    ],
)
def test_a_recipe_that_contradicts_the_network_is_placed_at_its_line(bench, change, message, where):
    """What only the network or the disk can know is still an error of the recipe, with its line."""
    with pytest.raises(WorkbenchError, match=message) as caught:
        bench.convert(change)

    assert f"tiny.yaml{where}" in str(caught.value)
    assert "\n  fix: " in str(caught.value)


def test_a_failed_folder_keeps_what_is_not_ours(bench):
    """A good run withdraws the failed one before it, and nothing else."""
    failed, _ = bench.convert({"cosine: 0.9": "cosine: 1.0"})
    (failed.folder / "thesis.txt").write_text("mine")
    bench.convert()

    assert [path.name for path in failed.folder.iterdir()] == ["thesis.txt"]


def test_links_and_empty_folders_beside_ours_survive(bench, tmp_path):
    """Whatever is not ours is carried over as it is."""
    outcome, _ = bench.convert()
    (outcome.folder / "empty").mkdir()
    (outcome.folder / "link").symlink_to(tmp_path / "nowhere")
    bench.convert({"max_abs: 1e-4": "max_abs: 2e-4"})

    assert (outcome.folder / "empty").is_dir()
    assert (outcome.folder / "link").is_symlink()


@pytest.mark.parametrize("text", ["[]", '{"files": [1]}', '{"name": "my web app"}'])
def test_a_manifest_of_somebody_else_is_not_ours(bench, text):
    """A folder with another program's manifest.json is never replaced."""
    (bench.dist / "tiny").mkdir(parents=True)
    (bench.dist / "tiny" / "manifest.json").write_text(text)

    with pytest.raises(ToolError, match="not a result of workbench"):
        bench.convert()
    assert (bench.dist / "tiny" / "manifest.json").read_text() == text


def test_a_result_moved_aside_by_a_killed_run_comes_back(bench):
    """Between two renames a kill leaves no dist/tiny: the next run adopts the old one, with the user's files."""
    outcome, _ = bench.convert()
    (outcome.folder / "notes.txt").write_text("mine")
    outcome.folder.rename(bench.dist / ".tiny.old-999999999")
    again, _ = bench.convert({"max_abs: 1e-4": "max_abs: 2e-4"})

    assert (again.folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in bench.dist.iterdir()] == ["tiny"]


def test_weights_without_a_section_for_them_are_refused(bench, tmp_path):
    """--weights is never silently ignored."""
    text = 'source: {kind: torch, factory: "workbench.zoo.movenet:MoveNet"}\n'
    recipe = _tiny.write(bench.folder)
    written = recipe.read_text()
    recipe.write_text(written[: written.index("source:")] + text + written[written.index("inputs:") :])
    request = pipeline.Request(dist=bench.dist, weights=tmp_path / "none.pth")

    with pytest.raises(RecipeError, match="has no weights section"):
        pipeline.convert(load(recipe), request, bench.store, Log())


def test_require_axmodel_and_compile_never_contradict(bench):
    """What is asked for must not be switched off elsewhere."""
    with pytest.raises(RecipeError, match="compile is never"):
        bench.convert({"chips: [AX650]": "chips: [AX650], compile: never"}, require=("axmodel",))


def test_too_few_pictures_for_both_jobs_are_told_before_anything_runs(bench):
    """Judging takes pictures that calibration then lacks."""
    with pytest.raises(RecipeError, match="30 pictures judge and at least 4 others calibrate, but there are 32"):
        bench.convert({"samples: 2": "samples: 30"})


def test_plan_says_what_would_run_and_runs_nothing(bench):
    """Before a run everything is a first run; after it nothing is."""
    recipe = load(_tiny.write(bench.folder))
    request = pipeline.Request(dist=bench.dist, mirrors=(bench.folder,))
    _, before = pipeline.plan(recipe, request, bench.store)

    assert [look.reasons for look in before] == [("first run",)] * len(STAGES)
    assert not bench.dist.exists()
    bench.convert()
    found, after = pipeline.plan(recipe, request, bench.store)
    assert [look.step.name for look in after] == STAGES
    assert not any(look.reasons for look in after)
    assert found.origin in ("mirror", "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_dist_is_an_error_with_a_fix(bench):
    """The stages are kept; only publishing failed."""
    bench.dist.mkdir()
    bench.dist.chmod(0o500)

    with pytest.raises(ToolError, match="the disk refuses"):
        bench.convert()


def test_a_dist_that_is_a_file_is_an_error_with_a_fix(bench):
    """Nothing is overwritten, and it is told before the first stage runs."""
    bench.dist.write_text("x")

    with pytest.raises(ToolError, match="the disk refuses: Not a directory") as caught:
        bench.convert()
    assert "a file is where a folder should be" in caught.value.fix
    assert not list(bench.store.home.glob("store/*"))
    assert bench.dist.read_text() == "x"


def test_ctrl_c_while_publishing_leaves_the_old_result_whole(bench, monkeypatch):
    """An interrupt in the middle of copying changes nothing."""
    outcome, _ = bench.convert()
    before = {path.name: path.read_bytes() for path in outcome.folder.iterdir() if path.is_file()}

    def interrupted(source, to):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_swap, "_copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.convert({"max_abs: 1e-4": "max_abs: 3e-4"})

    assert {path.name: path.read_bytes() for path in outcome.folder.iterdir() if path.is_file()} == before
    assert [path.name for path in bench.dist.iterdir()] == ["tiny"]


def stored(bench, name):
    """Every file of that name in the store."""
    return sorted(path for path in bench.store.home.glob(f"store/*/*/files/**/{name}"))


def test_a_truncated_result_in_the_store_is_made_again(bench, tmp_path):
    """A crash or a cleaner took part of a file: its stage runs again, and what is published is whole."""
    first, _ = bench.convert()
    whole = (first.folder / "tiny.onnx").read_bytes()
    for path in stored(bench, "tiny.onnx"):
        path.write_bytes(whole[:100])
    bench.dist = tmp_path / "elsewhere"
    second, log = bench.convert()

    assert log.ran == ["onnx"]
    assert (second.folder / "tiny.onnx").read_bytes() == whole


def test_a_flipped_bit_in_the_store_is_never_published(bench, tmp_path):
    """Same size, other content: found by its hash while it is copied, made again, and said."""
    first, _ = bench.convert()
    whole = (first.folder / "tiny.onnx").read_bytes()
    for path in stored(bench, "tiny.onnx"):
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    bench.dist = tmp_path / "elsewhere"
    second, log = bench.convert()

    assert (second.folder / "tiny.onnx").read_bytes() == whole
    assert "the cached result of onnx was damaged: it is made again" in log.warned


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pictures": 3}'])
def test_damaged_notes_in_the_cache_are_no_error(bench, text):
    """Half-written or odd notes count as absent."""
    bench.convert()
    for path in (*bench.store.home.glob("store/*/*/run.json"), *bench.store.home.glob("last/*.json")):
        path.write_text(text)
    outcome, log = bench.convert()

    assert log.ran == STAGES
    assert outcome.parity["passed"]


def test_remains_of_killed_runs_are_swept(bench):
    """Scratch folders and half-published folders of processes that are gone do not pile up."""
    remains = [
        bench.store.home / "scratch" / f"export-{HOST}-999999999",
        bench.dist / ".tiny.part-999999999",
        bench.dist / ".tiny.old-999999999",
    ]
    for folder in remains:
        (folder / "x").mkdir(parents=True)
    bench.convert()

    assert not any(folder.exists() for folder in remains)


def test_a_link_in_dist_is_followed(bench, tmp_path):
    """Results go where the link's owner wants them; the link stays a link."""
    (tmp_path / "real").mkdir()
    bench.dist.mkdir()
    (bench.dist / "tiny").symlink_to(tmp_path / "real")
    bench.convert()

    assert (bench.dist / "tiny").is_symlink()
    assert (tmp_path / "real" / "manifest.json").is_file()
    assert [path.name for path in bench.dist.iterdir()] == ["tiny"]
