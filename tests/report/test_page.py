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


def test_sizes_read_well():
    """Decimal units, as file managers show them."""
    assert [human_bytes(size) for size in (0, 999, 1500, 16_300_000, 2_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "16.3 MB",
        "2.0 GB",
    ]
