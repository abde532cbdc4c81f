"""What every target promises: options with defaults, files it names, the same bytes again."""

import _tiny
import numpy as np
import onnx
import pytest
from PIL import Image
from pydantic import ValidationError

from workbench import catalog
from workbench.engine.progress import Silent
from workbench.recipe.schema import InputSpec, Strict
from workbench.targets._target import TargetJob

SPEC = InputSpec(name="image", shape=(1, 3, 32, 48), mean=(128,), std=(256,))
TARGETS = catalog.names("target")


@pytest.fixture
def build(tmp_path, programs):
    """Build a target from the tiny network into a folder of its own; no toolchain is in reach."""
    model = tmp_path / "model.onnx"
    onnx.save(_tiny.network(), model)
    pictures = tmp_path / "pictures" / "image"
    pictures.mkdir(parents=True)
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{index:05d}.png")

    def run(name, folder):
        out = tmp_path / folder
        out.mkdir()
        module = catalog.load("target", name)
        job = TargetJob(
            name="tiny",
            options=module.Options(),
            model=model,
            quantized=model,
            inputs=(SPEC,),
            pictures=pictures.parent,
            out=out,
            progress=Silent(),
        )
        files = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
        assert not files
        artifacts = module.build(job)
        files = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
        return artifacts, files

    return run


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_what_it_is(name):
    """One sentence, a version for the cache, its tools, and options that all have a default and forbid the rest."""
    module = catalog.load("target", name)

    assert len(module.__doc__.splitlines()[0]) > 20
    assert isinstance(module.VERSION, int)
    assert all(isinstance(tool, str) for tool in module.TOOLS)
    assert issubclass(module.Options, Strict)
    module.Options()
    with pytest.raises(ValidationError):
        module.Options(no_such_option=1)
    for field in module.Options.model_fields.values():
        assert field.description


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_names_every_file_it_writes(name, build):
    """Files and promised artifacts are the same set; what is missing says why and how to mend it."""
    artifacts, files = build(name, "out")
    module = catalog.load("target", name)

    assert module.precisions(module.Options()) <= {artifact.precision for artifact in artifacts}
    assert {artifact.path for artifact in artifacts if not artifact.skipped} == set(files)
    assert all(artifact.fix for artifact in artifacts if artifact.skipped)
    assert any(artifact.precision for artifact in artifacts)
    assert all(path == path.strip("/") and ".." not in path for path in files)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_gives_the_same_bytes_again(name, build, tmp_path):
    """Two builds of one graph are equal, and no file tells where it was made."""
    _, first = build(name, "first")
    _, second = build(name, "second")

    assert {path: file.read_bytes() for path, file in first.items()} == {
        path: file.read_bytes() for path, file in second.items()
    }
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in first.values())
