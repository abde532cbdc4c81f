from workbench.report.page import Dossier, human_bytes, render

ROW = {
    "name": "<heat>",
    "cosine": 0.5,
    "worst_cosine": "nan",
    "max_abs": 1.0,
    "mean_abs": 0.1,
    "relative_l2": 0.2,
    "snr_db": "inf",
}
ARTIFACT = {"artifact": "x.onnx", "outputs": [ROW], "passed": False, "failures": ["heat: cosine 0.5 is below 0.9"]}


def dossier(**changes):
    """A small failed run."""
    parts = {
        "recipe": "<script>alert(1)</script>",
        "about": "a & b",
        "not_deployable": "seeded",
        "parity": {"passed": False, "reference": "torch", "samples": 2, "artifacts": [ARTIFACT]},
        "files": [("x.onnx", 1_500_000, "ab" * 32)],
        "skipped": [("x.axmodel", "no toolchain", "get one")],
        "surgery": [{"pass": "fold_pad", "changed": ["Pad_1"], "left": ["Pad_2: mode reflect"]}],
        "simplify": {"reverted": "", "differences": []},
    }
    return Dossier(**{**parts, **changes})


def test_everything_is_escaped():
    """Names come from hostile recipes and graphs."""
    page = render(dossier())

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;heat&gt;" in page


def test_the_page_needs_nothing_from_outside():
    """No address is loaded, and the policy would forbid it."""
    page = render(dossier())

    assert "default-src 'none'" in page
    assert "src=" not in page
    assert "href=" not in page


def test_the_verdict_the_failures_and_the_skipped_are_told():
    """What a reader opens the page for."""
    page = render(dossier())

    assert "At least one artifact missed its limits" in page
    assert "heat: cosine 0.5 is below 0.9" in page
    assert "NOT DEPLOYABLE: seeded" in page
    assert "skipped: no toolchain; get one" in page
    assert "left: Pad_2: mode reflect" in page


def test_the_compiler_stands_beside_the_emulation():
    """Cycles, both cosines of a tensor, and what is far apart or low is coloured."""
    row = {"tensor": "<t>", "operator": "AxQuantizedConv", "stored": "U8", "layer": "Conv_0", "vendor_mse": None}
    layers = [
        {**row, "vendor_cosine": 0.99, "per_layer": 0.95, "end_to_end": 0.9},
        {**row, "vendor_cosine": None, "per_layer": 0.999, "end_to_end": None},
    ]
    told = {"max_cycle": 1234567, "method": "PerLayer", "mode": "", "layers": layers, "profile": [{"op": "<x>"}]}
    page = render(dossier(chips={"AX650": told}))

    assert "What Pulsar2 said of AX650" in page
    assert "1,234,567 cycles" in page
    assert "Pulsar2 PerLayer" in page
    assert '<td class="number warn">0.99000</td>' in page
    assert '<td class="number bad">0.95000</td>' in page
    assert "<td>&lt;t&gt;</td>" in page
    assert "<td>&lt;x&gt;</td>" in page


def test_sizes_read_well():
    """Decimal units, as file managers show them."""
    assert [human_bytes(size) for size in (0, 999, 1500, 16_300_000, 2_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "16.3 MB",
        "2.0 GB",
    ]
