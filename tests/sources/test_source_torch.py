"""Torch networks become canonical graphs with golden outputs; hostile files and wrong recipes become errors."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from workbench.engine.progress import Silent
from workbench.errors import RecipeError, SourceError, UnsupportedError
from workbench.graph import io
from workbench.recipe.schema import InputSpec, OutputSpec
from workbench.runtimes.onnxruntime import OnnxRunner
from workbench.sources import torch as source

CODE = '''
import torch
from torch import nn

class Net(nn.Module):
    """Two heads, a batch norm, a residual."""

    def __init__(self, width=8):
        super().__init__()
        print("a chatty network")
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, groups=width), nn.ELU())
        self.heat = nn.Conv2d(width, 4, 1)
        self.offset = nn.Conv2d(width, 2, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        print("forward")
        x = self.stem(x)
        x = self.drop(x + self.body(x))
        return self.heat(x), [self.offset(x)]

class Named(Net):
    def forward(self, x):
        heat, (offset,) = super().forward(x)
        return {"offset": offset, "heat": heat}

class Decomposing(Net):
    def forward(self, x):
        heat, offset = super().forward(x)
        return torch.linalg.svd(heat)[1].reshape(1, 4, 8, 1).expand(1, 4, 8, 12), offset

class Branching(Net):
    def forward(self, x):
        return super().forward(x if x.sum() < 1e6 else -x)

def fails():
    raise KeyError("no width")

def text():
    return "not a network"
'''
INPUTS = (InputSpec(name="image", shape=(1, 3, 16, 24), mean=(128,), std=(256,)),)
OUTPUTS = (
    OutputSpec(name="heat", shape=(1, 4, 8, 12), meaning="heatmap"),
    OutputSpec(name="offsets", tensor="offset", shape=(1, 2, 8, 12), meaning="offset"),
)
SAMPLES = [
    {"image": np.random.default_rng(seed).uniform(-0.5, 0.5, (1, 3, 16, 24)).astype(np.float32)} for seed in (0, 1)
]


@pytest.fixture(scope="module")
def torch():
    """The framework, imported when the first test needs it."""
    return source.import_torch()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A recipe's folder with a checkout in it."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "code" / "nets").mkdir(parents=True)
    (folder / "code" / "nets" / "small.py").write_text(CODE)
    return folder


def export(base, factory="Net", weights=None, inputs=INPUTS, outputs=OUTPUTS, samples=SAMPLES, **options):
    """Export a network of the checkout."""
    chosen = source.Options(factory=f"nets.small:{factory}", checkout="code", **options)
    return source.export(chosen, weights, inputs, outputs, samples, base=base, progress=Silent())


@pytest.fixture(scope="module")
def exported(base):
    """The seeded network."""
    return export(base)


def test_the_graph_is_canonical(exported):
    """Static float NCHW, opset 18, the recipe's names in the recipe's order, batch norms folded, weights named."""
    graph = exported.model.graph

    assert exported.model.opset_imports == {"": 18}
    assert [(value.name, list(value.shape), value.dtype.name) for value in (*graph.inputs, *graph.outputs)] == [
        ("image", [1, 3, 16, 24], "FLOAT"),
        ("heat", [1, 4, 8, 12], "FLOAT"),
        ("offsets", [1, 2, 8, 12], "FLOAT"),
    ]
    assert [node.op_type for node in graph] == ["Conv", "Relu", "Conv", "Elu", "Add", "Conv", "Conv"]
    assert "stem.0.weight" in graph.initializers
    assert all(value.shape is not None for node in graph for value in node.outputs)


def test_golden_outputs_are_torch_s_own(exported, base, torch):
    """One mapping a sample, by the recipe's names; what torch computes in evaluation mode, and the graph agrees."""
    assert [sorted(sample) for sample in exported.golden] == [["heat", "offsets"]] * 2
    with OnnxRunner(io.to_bytes(exported.model)) as runner:
        for sample, golden in zip(SAMPLES, exported.golden, strict=True):
            for name, value in runner.run(sample).items():
                assert value.shape == golden[name].shape
                assert golden[name].dtype == np.float32
                assert np.abs(value - golden[name]).max() < 1e-5
    assert np.ptp(exported.golden[0]["heat"]) > 0.01


def test_bytes_hold_no_trace_of_where_they_were_made(exported, base):
    """No path, no stack trace, no Python file, no framework version."""
    data = io.to_bytes(exported.model)

    for trace in (str(base), "site-packages", ".py", "torch", "pkg.", str(Path(source.__file__).parents[2])):
        assert trace.encode() not in data, trace


def test_a_second_export_gives_the_same_bytes(exported, base):
    """In this process, and with another hash seed in another."""
    first = io.to_bytes(exported.model)
    assert io.to_bytes(export(base).model) == first

    code = (
        "import sys, hashlib; from pathlib import Path; import test_source_torch as t; from workbench.graph import io;"
        "print(hashlib.sha256(io.to_bytes(t.export(Path(sys.argv[1])).model)).hexdigest())"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code, str(base)],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == hashlib.sha256(first).hexdigest() + "\n", "and nothing else on stdout"
    assert run.stderr == ""


def test_export_is_silent(base, capfd):
    """Neither the network's prints nor the exporter's remarks reach the terminal."""
    export(base)

    assert capfd.readouterr() == ("", "")


def test_results_with_names_are_matched_by_name(base, exported):
    """The recipe's order and `tensor` decide, not the network's order."""
    named = export(base, "Named")

    assert [value.name for value in named.model.graph.outputs] == ["heat", "offsets"]
    assert np.array_equal(named.golden[0]["heat"], exported.golden[0]["heat"])


def test_a_checkpoint_is_loaded_by_the_rules(base, torch, tmp_path):
    """Key, prefix and numbers: the golden outputs are those of the checkpoint, not the seeded ones."""
    sys.path.insert(0, str(base / "code"))
    try:
        from nets.small import Net

        torch.manual_seed(3)
        network = Net(width=4).eval()
    finally:
        sys.path.remove(str(base / "code"))
    state = {f"module.{name}": value for name, value in network.state_dict().items() if "num_batches" not in name}
    path = tmp_path / "net.pth"
    torch.save({"state_dict": state, "epoch": 3}, path)

    rules = {"key": "state_dict", "drop_prefix": "module."}
    found = export(base, weights=path, state_dict=rules, arguments={"width": 4})

    with torch.no_grad():
        heat, _ = network(torch.from_numpy(SAMPLES[0]["image"]))
    assert np.array_equal(found.golden[0]["heat"], heat.numpy())


@pytest.fixture
def files(torch, tmp_path):
    """Damaged and hostile files, by name."""
    state = {"a": torch.ones(300), "b": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "zip.pth")
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("zip", "legacy"):
        data = (tmp_path / f"{name}.pth").read_bytes()
        (tmp_path / f"cut_{name}.pth").write_bytes(data[: len(data) // 2])
        (tmp_path / f"short_{name}.pth").write_bytes(data[:30])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "page.pth").write_text("<!doctype html><html>not found</html>")
    (tmp_path / "noise.pth").write_bytes(np.random.default_rng(0).bytes(5000))

    class Evil:
        def __reduce__(self):
            return os.system, ("echo stolen > stolen.txt",)

    torch.save({"a": Evil()}, tmp_path / "evil_zip.pth")
    torch.save({"a": Evil()}, tmp_path / "evil_legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "evil_raw.pth").write_bytes(pickle.dumps(Evil(), protocol=4))
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    return tmp_path


@pytest.mark.parametrize("name", ["cut_zip", "cut_legacy", "short_zip", "short_legacy", "empty", "page", "noise"])
def test_what_is_no_checkpoint_is_an_error(files, base, name):
    """Truncated files, web pages and noise: the file is named and the fix is to download it again."""
    with pytest.raises(SourceError, match="not a torch checkpoint, or a truncated one") as caught:
        export(base, weights=files / f"{name}.pth")

    assert caught.value.where == str(files / f"{name}.pth")
    assert "download it again" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("evil_zip", "posix.system"),
        ("evil_legacy", "posix.system"),
        ("evil_raw", "posix.system"),
        ("module", "torch.nn.modules.linear.Linear"),
    ],
)
def test_a_pickle_that_wants_code_is_refused(files, base, name, code, monkeypatch):
    """It is not run, the wanted function is named, and the way to a safe file is shown."""
    monkeypatch.chdir(files)
    with pytest.raises(SourceError) as caught:
        export(base, weights=files / f"{name}.pth")

    assert caught.value.what == f"the file wants to run code ({code}); it is refused"
    assert "save only its state_dict" in caught.value.fix
    assert caught.value.where == str(files / f"{name}.pth")
    assert not (files / "stolen.txt").exists()


def test_another_network_s_checkpoint_lists_what_does_not_fit(files, base):
    """Missing and unexpected names are both there."""
    with pytest.raises(SourceError, match=r"missing from the file: stem\.0\.weight, stem\.1\.weight") as caught:
        export(base, weights=files / "zip.pth")

    assert "unexpected in the file: a, b" in caught.value.what


def test_a_missing_file_is_an_error(base, tmp_path):
    """The system's own reason, and the path."""
    with pytest.raises(SourceError, match="cannot read the checkpoint: No such file") as caught:
        export(base, weights=tmp_path / "absent.pth")

    assert caught.value.where == str(tmp_path / "absent.pth")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_checkpoint_is_an_error(base, torch, tmp_path, bad):
    """NaN or infinity in a parameter is found before it is in every artifact."""
    torch.save({"stem.0.weight": torch.full((8, 3, 3, 3), bad)}, tmp_path / "nan.pth")
    (tmp_path / "one.py").write_text(
        "from torch import nn\nclass One(nn.Module):\n  def __init__(self):\n"
        "    super().__init__()\n    self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False))\n"
    )
    options = source.Options(factory="one:One", checkout=".")
    with pytest.raises(SourceError, match=r"'stem\.0\.weight' holds NaN"):
        source.export(options, tmp_path / "nan.pth", INPUTS, OUTPUTS, [], base=tmp_path, progress=Silent())


@pytest.mark.parametrize(
    ("inputs", "outputs", "what", "at"),
    [
        (
            {"shape": (1, 1, 16, 24), "color": "GRAY"},
            {},
            "to have 3 channels, but got 1 channels",
            ("inputs", 0, "shape"),
        ),
        (
            {},
            {"shape": (1, 5, 8, 12)},
            r"output 'heat' is \[1, 4, 8, 12\] in the network, \[1, 5, 8, 12\] in the recipe",
            ("outputs", 0, "shape"),
        ),
        ({"shape": (1, 16, 24, 3), "layout": "NHWC"}, {}, "torch networks are taken as NCHW", ("inputs", 0, "layout")),
        ({}, {"shape": (1, 8, 12, 4), "layout": "NHWC"}, "torch networks are taken as NCHW", ("outputs", 0, "layout")),
    ],
)
def test_a_recipe_that_contradicts_the_network_is_told_where(base, inputs, outputs, what, at):
    """The key of the recipe is named, and what the network gives or wants."""
    ins = (InputSpec.model_validate({**INPUTS[0].model_dump(), **inputs}),)
    outs = (OutputSpec.model_validate({**OUTPUTS[0].model_dump(), **outputs}), OUTPUTS[1])
    samples = [{"image": np.zeros(ins[0].nchw, np.float32)}]
    with pytest.raises(RecipeError, match=what) as caught:
        export(base, inputs=ins, outputs=outs, samples=samples)

    assert caught.value.at == at
    assert caught.value.fix


def test_another_number_of_outputs_is_a_mistake_of_the_recipe(base):
    """The network gives two, the recipe names one."""
    with pytest.raises(RecipeError, match="gives 2 outputs, the recipe names 1") as caught:
        export(base, outputs=OUTPUTS[:1])

    assert caught.value.at == ("outputs",)


@pytest.mark.parametrize(
    ("factory", "what"),
    [
        ("fails", "the factory nets.small:fails fails: KeyError: 'no width'"),
        ("text", "gives a str, not a torch.nn.Module"),
    ],
)
def test_a_factory_that_fails_is_an_error_with_its_reason(base, factory, what):
    """The exception's own text is in the message."""
    with pytest.raises(SourceError, match=what):
        export(base, factory)


def test_a_network_that_cannot_be_traced_is_unsupported(base):
    """Python that looks at the numbers cannot become a graph: the reason, and the line of the network."""
    with pytest.raises(UnsupportedError, match=r"cannot be traced: GuardOnDataDependent.*Could not guard") as caught:
        export(base, "Branching", samples=[])

    place = base / "code" / "nets" / "small.py"
    line = CODE.splitlines().index("        return super().forward(x if x.sum() < 1e6 else -x)") + 1
    assert f" at {place}:{line}: return super().forward(x if x.sum()" in caught.value.what
    assert "step 1/3" not in caught.value.what
    assert "data-dependent" in caught.value.fix


def test_an_operator_without_a_counterpart_is_named(base):
    """The trace is fine, but ONNX has no such operator."""
    with pytest.raises(UnsupportedError, match=r"cannot be written as ONNX: DispatchError: .*linalg_svd") as caught:
        export(base, "Decomposing", samples=[])

    assert "without that operator" in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(lambda value: value + 1j, "complex numbers"), (lambda value: value.to_sparse(), "cannot be read")],
    ids=["complex", "sparse"],
)
def test_odd_tensors_are_judged_without_torch_s_warnings(base, torch, tmp_path, kind, outcome, recwarn):
    """Complex parameters are refused, sparse ones too; the terminal sees nothing of how."""
    (tmp_path / "two.py").write_text(
        "from torch import nn\nclass Two(nn.Module):\n  def __init__(self):\n"
        "    super().__init__()\n    self.stem = nn.Conv2d(3, 8, 3, bias=False)\n"
    )
    torch.save({"stem.weight": kind(torch.ones(8, 3, 3, 3))}, tmp_path / "odd.pth")
    options = source.Options(factory="two:Two", checkout=".")
    recwarn.clear()
    with pytest.raises(SourceError, match=outcome):
        source.export(options, tmp_path / "odd.pth", INPUTS, OUTPUTS, [], base=tmp_path, progress=Silent())
    assert [str(one.message) for one in recwarn.list] == []


def test_a_missing_checkout_is_a_mistake_of_the_recipe(tmp_path):
    """The folder is named, and the key."""
    with pytest.raises(RecipeError, match="no folder 'code' beside the recipe") as caught:
        export(tmp_path)

    assert caught.value.at == ("source", "checkout")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"factory": "workbench.zoo.movenet:MoveNett"}, "did you mean 'workbench.zoo.movenet:MoveNet'?"),
        ({"factory": "os:abort"}, "'os' is not in workbench.zoo (say where its code is"),
        ({"factory": "no colon"}, "String should match pattern"),
        ({"factory": "a.b:c", "checkout": ".", "repository": "https://x", "commit": "0" * 40}, "keep one"),
        ({"factory": "a.b:c", "repository": "https://x"}, "belong together"),
        ({"factory": "a.b:c", "commit": "0" * 40, "checkout": "."}, "belong together"),
        ({"factory": "a.b:c", "checkout": ".", "arguments": {"width": [1]}}, "an argument is text, a finite number"),
        ({"factory": "a.b:c", "checkout": ".", "arguments": {"width": float("nan")}}, "an argument is text, a finite"),
        ({"factory": "a.b:c", "repository": "ext::sh -c x", "commit": "0" * 40}, "String should match pattern"),
        ({"factory": "a.b:c", "repository": "https://x", "commit": "main"}, "String should match pattern"),
        ({"factory": "workbench.zoo.movenet:MoveNet", "chekout": "."}, "Extra inputs are not permitted"),
    ],
)
def test_options_are_validated_before_anything_starts(options, what):
    """Wrong factories and half-said origins are found when the recipe is read."""
    with pytest.raises(ValidationError) as caught:
        source.Options.model_validate(options)

    assert what in str(caught.value)


def test_the_fingerprint_follows_the_code(base, tmp_path):
    """A commit is its own, a checkout's is that of its files, and the zoo's that of the zoo."""
    zoo = source.fingerprint(source.Options(factory="workbench.zoo.movenet:MoveNet"), base=base)
    mine = source.fingerprint(source.Options(factory="nets.small:Net", checkout="code"), base=base)
    pinned = source.Options(factory="a.b:c", repository="https://example.invalid/x", commit="a" * 40)

    assert len({zoo, mine}) == 2
    assert source.fingerprint(pinned, base=base) == "a" * 40
