import hashlib

import _tiny
import onnx
import pytest

from workbench.engine.progress import Silent
from workbench.errors import SourceError
from workbench.recipe.load import load
from workbench.stages import fetch


class Log(Silent):
    """Keeps warnings."""

    def __init__(self):
        self.warned = []

    def warn(self, text):
        self.warned.append(text)


def torch_recipe(tmp_path, weights):
    """The tiny recipe as a torch network with `weights`."""
    path = _tiny.write(tmp_path / "recipes")
    text = path.read_text()
    start, end = text.index("source:"), text.index("inputs:")
    source = 'source: {kind: torch, factory: "workbench.zoo.movenet:MoveNet"}\n'
    path.write_text(text[:start] + source + weights + text[end:])
    return load(path)


SEEDED = 'weights: {file: w.pth, page: "https://example.invalid/w", otherwise: seeded}\n'


def ask(loaded, home, **options):
    """Fetch with defaults; returns the weights and what was warned of."""
    log = Log()
    asked = {"given": None, "mirrors": (), "home": home, "require": False, "progress": log, **options}
    return fetch.get(loaded, **asked), log.warned


def test_unreachable_weights_become_seeded_ones_with_a_warning_every_time(tmp_path, home):
    """The first run and every later one say NOT DEPLOYABLE; later ones do not try the network again."""
    loaded = torch_recipe(tmp_path, SEEDED)
    for _ in range(2):
        found, warned = ask(loaded, home)
        assert found.path is None
        assert found.not_deployable
        assert "NOT DEPLOYABLE" in warned[0]


def test_weights_that_appear_later_are_used(tmp_path, home):
    """A file put into a mirror after a seeded run is found by name, pinned, and the mark is gone."""
    loaded = torch_recipe(tmp_path, SEEDED)
    ask(loaded, home)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "w.pth").write_bytes(b"weights")
    found, warned = ask(loaded, home, mirrors=(mirror,))

    assert (found.origin, found.not_deployable, warned) == ("mirror", "", [])
    assert fetch.lock_file(loaded).is_file()


def test_plan_does_not_pin(tmp_path, home):
    """Looking alone writes nothing beside the recipe."""
    loaded = torch_recipe(tmp_path, SEEDED)
    (tmp_path / "w.pth").write_bytes(b"weights")
    found = fetch.look(loaded, given=None, mirrors=(tmp_path,), home=home, progress=Silent(), keep=False)

    assert found.origin == "mirror"
    assert not fetch.lock_file(loaded).exists()


def test_required_weights_are_an_error(tmp_path, home):
    """--require-weights turns the warning into exit 3, also after a seeded run."""
    loaded = torch_recipe(tmp_path, SEEDED)
    ask(loaded, home)

    with pytest.raises(SourceError, match=r"w.pth are not on this machine"):
        ask(loaded, home, require=True)


def test_a_recipe_without_weights_is_seeded(tmp_path, home):
    """A torch network that names no file gets random weights, and says so."""
    found, warned = ask(torch_recipe(tmp_path, ""), home)

    assert found.not_deployable
    assert "the recipe names no weights" in warned[0]


def test_a_mark_in_the_file_itself_is_kept(tmp_path, home):
    """An ONNX that Workbench made of random weights stays what it is, whoever converts it again."""
    path = _tiny.write(tmp_path / "recipes")
    proto = onnx.load(path.with_name("tiny.onnx"))
    old = hashlib.sha256(path.with_name("tiny.onnx").read_bytes()).hexdigest()
    proto.metadata_props.add(key="workbench.not_deployable", value="seeded")
    onnx.save(proto, path.with_name("tiny.onnx"))
    new = hashlib.sha256(path.with_name("tiny.onnx").read_bytes()).hexdigest()
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    found, _ = ask(load(path), home, mirrors=(path.parent,))

    assert (found.not_deployable, found.kind) == ("seeded", "published")
