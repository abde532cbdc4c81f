"""The house keeps its shape: imports point down, heavy libraries stay behind doors, nothing is named after a model."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "workbench"

RANK = {
    "cli": 10,
    "pipeline": 9,
    "stages": 8,
    "inspection": 8,
    "report": 7,
    "targets": 7,
    "quant": 6,
    "calib": 6,
    "surgery": 6,
    "sources": 6,
    "runtimes": 5,
    "parity": 4,
    "pose": 4,
    "graph": 4,
    "zoo": 4,
    "engine": 3,
    "recipe": 3,
    "catalog": 1,
    "__main__": 11,
    "errors": 0,
}
# `progress` is a protocol without imports: every room that works long speaks it. `schema` is the shared vocabulary.
EVERYWHERE = {"workbench.engine.progress"}
HEAVY = {"torch", "tensorflow", "tf2onnx", "onnxruntime", "onnxsim", "ai_edge_litert"}


def room(module: str) -> str:
    """The room a dotted module is in."""
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST):
    """Every workbench module imported anywhere in `tree`, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path):
    """A file imports its own room, or rooms of a lower rank; and no stage imports a stage."""
    relative = path.relative_to(PACKAGE)
    here = relative.parts[0].removesuffix(".py")
    for module, line in imports(ast.parse(path.read_text("utf-8"))):
        if not module.startswith("workbench.") or module in EVERYWHERE:
            continue
        there = room(module)
        if there == here or here == "__init__":
            if here == "stages" and not relative.name.startswith("_"):
                named = module.split(".")[2:3]
                allowed = not named or named[0].startswith("_")
                assert allowed, f"{relative}:{line} is a stage and imports {module}"
            continue
        assert RANK[there] < RANK[here], f"{relative}:{line} must not import {module}: imports point down"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_are_imported_inside_functions(path):
    """torch, TensorFlow, onnxruntime and friends are never imported when a module is (zoo/ is torch code)."""
    if path.is_relative_to(PACKAGE / "zoo"):
        return
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not HEAVY & {name.split(".")[0] for name in names}, f"{path}:{node.lineno}"


def loaded_by(code: str) -> set[str]:
    """Top-level modules in memory after running `code` in a fresh interpreter."""
    script = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*{{n.split('.')[0] for n in sys.modules}})"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_help_imports_nothing_slow():
    """`workbench --help` loads click and our own light files, and none of numpy, pydantic, onnx, rich or the heavy."""
    loaded = loaded_by("from workbench.cli import main; main(['--help'])")

    assert not loaded & {*HEAVY, "numpy", "pydantic", "onnx", "onnx_ir", "rich", "PIL", "yaml", "jinja2"}


def test_loading_a_recipe_imports_no_framework():
    """Validation, and so an unchanged second run, needs no torch, TensorFlow or onnxruntime."""
    recipe = PACKAGE.parent / "recipes" / "lw_openpose.yaml"
    loaded = loaded_by(f"from pathlib import Path; from workbench.recipe.load import load; load(Path({str(recipe)!r}))")

    assert not loaded & HEAVY


def test_models_are_named_only_in_recipes_and_the_zoo():
    """No code outside zoo/ knows a model by name: what works for one works for all."""
    for path in FILES:
        if path.is_relative_to(PACKAGE / "zoo"):
            continue
        code = ast.parse(path.read_text("utf-8"))
        strings = {
            node.value for node in ast.walk(code) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        exact = strings & {"cpm", "hourglass", "lw_openpose", "openpose", "movenet"}
        assert not exact, f"{path.relative_to(PACKAGE)} names {exact}"


def test_every_visible_folder_has_a_readme():
    """Each visible folder at the top explains itself on one screen."""
    for folder in PACKAGE.parent.iterdir():
        if folder.is_dir() and not folder.name.startswith((".", "dist", "build", "__")):
            readme = folder / "README.md"
            assert readme.is_file(), f"{folder.name}/ has no README.md"
            assert len(readme.read_text("utf-8").splitlines()) <= 60, f"{readme} is longer than a screen"
