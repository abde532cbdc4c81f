"""A network's own code: fetched at one commit, imported and forgotten."""

import importlib
import os
import shutil
import subprocess
import sys

import pytest

from workbench.errors import RecipeError, SourceError, ToolError
from workbench.sources import _checkout, _factory

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git program")


def git(folder, *arguments):
    """Run git in `folder` with an identity of its own."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits: (folder, first commit, second commit)."""
    folder = tmp_path / "upstream"
    (folder / "models").mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    commits = []
    for version in (1, 2):
        (folder / "models" / "net.py").write_text(f"VERSION = {version}\ndef build():\n    return {version}\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"version {version}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, *commits


@needs_git
def test_a_commit_is_fetched_once(repository, tmp_path):
    """The old commit is checked out, and the second time the upstream is not needed."""
    folder, first, _ = repository
    tree = _checkout.fetch(str(folder), first, tmp_path / "cache")

    assert "VERSION = 1" in (tree / "models" / "net.py").read_text()
    shutil.rmtree(folder)
    assert _checkout.fetch(str(folder), first, tmp_path / "cache") == tree
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [first], "nothing half-fetched is left"


@needs_git
def test_a_commit_that_is_not_there_is_an_error(repository, tmp_path):
    """The words of git, the repository and the ways out; nothing enters the cache."""
    with pytest.raises(SourceError, match="git fetch failed") as caught:
        _checkout.fetch(str(repository[0]), "0" * 40, tmp_path / "cache")

    assert caught.value.where == str(repository[0])
    assert "source.checkout" in caught.value.fix
    assert not list((tmp_path / "cache").iterdir())


@needs_git
def test_a_changed_checkout_is_not_trusted(repository, tmp_path):
    """Somebody edited the cache: the message says which folder to delete."""
    tree = _checkout.fetch(str(repository[0]), repository[1], tmp_path / "cache")
    (tree / "models" / "net.py").write_text("VERSION = 3\n")

    with pytest.raises(SourceError, match="was changed") as caught:
        _checkout.fetch(str(repository[0]), repository[1], tmp_path / "cache")
    assert "delete that folder" in caught.value.fix


def test_without_git_the_error_says_so(tmp_path, monkeypatch):
    """A missing program is a missing tool."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="git program is missing"):
        _checkout.fetch("https://example.invalid/x", "0" * 40, tmp_path / "cache")


def test_a_package_without_init_is_forgotten_where_another_folder_has_its_name(tmp_path, monkeypatch):
    """A folder of the same name elsewhere on sys.path does not keep the checkout's package alive."""
    (tmp_path / "mine" / "models").mkdir(parents=True)
    (tmp_path / "mine" / "models" / "net.py").write_text("def build():\n    return 1\n")
    (tmp_path / "other" / "models").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "other")
    with _checkout.importable(tmp_path / "mine", "models.net"):
        assert _factory.find("models.net:build", tmp_path / "mine")() == 1

    assert not {name for name in sys.modules if name.split(".")[0] == "models"}


def test_two_checkouts_do_not_see_each_other(tmp_path):
    """Each recipe imports its own package `models`, sys.modules is as before, and no bytecode is written."""
    before = set(sys.modules)
    for version in (1, 2):
        (tmp_path / str(version) / "models").mkdir(parents=True)
        (tmp_path / str(version) / "models" / "parts.py").write_text(f"VERSION = {version}\n")
        (tmp_path / str(version) / "models" / "net.py").write_text(
            "from models import parts\ndef build():\n    return parts.VERSION\n"
        )
    for version in (1, 2):
        with _checkout.importable(tmp_path / str(version), "models.net"):
            assert _factory.find("models.net:build", tmp_path / str(version))() == version

    assert not {name for name in set(sys.modules) - before if name.startswith("models")}
    assert str(tmp_path / "1") not in sys.path
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_imported_package_of_the_same_name_comes_back(tmp_path):
    """A checkout may call its package like one that is in use."""
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text("def build():\n    return 'mine'\n")
    with _checkout.importable(tmp_path, "json"):
        assert _factory.find("json:build", tmp_path)() == "mine"

    assert sys.modules["json"] is importlib.import_module("json")
    assert hasattr(sys.modules["json"], "loads")


def test_the_digest_follows_every_file(tmp_path):
    """A changed line, name, configuration or link changes it; hidden folders, bytecode and link targets do not."""
    (tmp_path / "code" / "nets").mkdir(parents=True)
    code, outside = tmp_path / "code", tmp_path / "outside"
    outside.mkdir()
    (code / "net.py").write_text("a = 1\n")
    seen = [_checkout.digest(code)]
    for folder in (".git", "__pycache__", "nets/__pycache__"):
        (code / folder).mkdir()
        (code / folder / "x.py").write_text("x")
    assert _checkout.digest(code) == seen[0]

    for change in (
        lambda: (code / "nets" / "cfg.json").write_text('{"width": 1}'),
        lambda: (code / "nets" / "cfg.json").write_text('{"width": 2}'),
        lambda: (code / "net.py").write_text("a = 2\n"),
        lambda: (code / "net.py").rename(code / "nett.py"),
        lambda: (code / "more").symlink_to(outside),
        lambda: (code / os.fsdecode(b"odd\xff")).write_text("x"),
    ):
        change()
        seen.append(_checkout.digest(code))
    assert len(set(seen)) == len(seen)

    (outside / "x.py").write_text("x")
    os.mkfifo(code / "pipe")
    assert _checkout.digest(code) == seen[-1]


@pytest.mark.parametrize(("limit", "value"), [("_MOST_FILES", 3), ("_LARGEST", 3)])
def test_a_checkout_too_large_to_hash_is_an_error(tmp_path, monkeypatch, limit, value):
    """Somebody named a folder with data in it: the key of the recipe, the folder and the way out."""
    monkeypatch.setattr(_checkout, limit, value)
    for number in range(4):
        (tmp_path / f"{number}.bin").write_text("x")

    with pytest.raises(RecipeError, match="the checkout has more than") as caught:
        _checkout.digest(tmp_path)
    assert caught.value.at == ("source", "checkout")
    assert "smaller folder" in caught.value.fix


def test_a_module_from_elsewhere_is_refused(tmp_path):
    """A factory must come from the checkout, not from whatever is installed."""
    with _checkout.importable(tmp_path, "colorsys"), pytest.raises(SourceError, match="found outside the checkout"):
        _factory.find("colorsys:rgb_to_hsv", tmp_path)


@pytest.mark.parametrize(
    ("factory", "what", "fix"),
    [
        ("models.nett:build", "no module called 'models.nett'", "did you mean 'models.net'?"),
        ("models.net:bild", "'models.net' has no callable 'bild'", "did you mean 'build'?"),
    ],
)
def test_a_misspelt_factory_names_the_near_miss(tmp_path, factory, what, fix):
    """Modules are guessed from the checkout's files, callables from the module."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.py").write_text("def build():\n    return 1\n")
    with _checkout.importable(tmp_path, "models"), pytest.raises(RecipeError, match=what) as caught:
        _factory.find(factory, tmp_path)

    assert caught.value.fix == fix
    assert caught.value.at == ("source", "factory")


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import nowhere_to_be_found\n", "needs 'nowhere_to_be_found', which is not installed"),
        ("def build(:\n", "importing 'net' fails: SyntaxError"),
        ("raise SystemExit(3)\n", "importing 'net' fails: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_an_error_with_its_reason(tmp_path, code, what):
    """The user's own file may fail in any way; none ends in a traceback."""
    (tmp_path / "net.py").write_text(code)
    with _checkout.importable(tmp_path, "net"), pytest.raises(SourceError, match=what) as caught:
        _factory.find("net:build", tmp_path)

    assert caught.value.where == str(tmp_path)


def test_the_zoo_is_listed_without_torch():
    """Names are read from the source text, private ones left out."""
    code = "import sys; from workbench.sources._factory import zoo; print('torch' in sys.modules, *zoo())"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert listed[0] == "False"
    assert "workbench.zoo.movenet:MoveNet" in listed
    assert not [name for name in listed if "._" in name or ":_" in name]
