import re
from html.parser import HTMLParser

from _dossier import BAKE, CHECK, EVIL, dossier

from workbench.report.page import cosine, human_bytes, number, render
from workbench.report.poses import Gallery


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_everything_is_escaped():
    """Names come from hostile recipes and graphs: no element of theirs is one of the page."""
    page = render(dossier())
    elements = Elements(page).found

    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert "&lt;heat&gt;" in page
    assert "&lt;t1&gt;" in page
    assert sum(tag == "script" for tag, _ in elements) == 1
    assert not {"heat", "t1", "r1", "a", "x", "n", "note", "c"} & ({tag for tag, _ in elements} - {"a"})
    assert not any(name.startswith("on") for _, attributes in elements for name in attributes)


def test_the_page_needs_nothing_from_outside():
    """No address is loaded, and the policy would forbid it; the style and the script are named by their hash."""
    page = render(dossier())

    policy = next(a["content"] for _, a in Elements(page).found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for _, attributes in Elements(page).found:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith(("#", "data:"))
        assert "style" not in attributes


def test_every_link_has_its_place():
    """The links at the top, the pictures that are drawn twice, the headings of sections: each names something here."""
    elements = Elements(render(dossier())).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    named = [a["href"][1:] for _, a in elements if a.get("href", "").startswith("#")]

    assert len(ids) == len(set(ids))
    assert set(named) | {a["aria-labelledby"] for _, a in elements if "aria-labelledby" in a} <= set(ids)


def test_the_verdict_the_failures_and_the_skipped_are_told():
    """What a reader opens the page for."""
    page = render(dossier())

    assert "At least one artifact missed its limits" in page
    assert "heat: cosine 0.5 is below 0.9" in page
    assert "NOT DEPLOYABLE: seeded; a parity limit was missed" in page
    assert "skipped: no toolchain; get one" in page
    assert "left: Pad_2: mode reflect" in page
    assert page.index("At least one") < page.index('id="artifacts"')


def test_a_run_without_fault_says_so():
    """Nothing missed, and published weights."""
    parity = {"passed": True, "reference": "torch", "samples": 2, "artifacts": []}
    page = render(dossier(parity=parity, not_deployable="", weights={"origin": "published", "sha256": None}))

    assert "Deployable: published weights, and nothing missed." in page
    assert "Every artifact is within" in page
    assert "NOT DEPLOYABLE" not in page


def test_sections_without_content_are_left_out():
    """A float recipe has no quantization, no layers and no chip, and the page no dead links."""
    page = render(
        dossier(
            bake={}, layers=[], layers_left_out="no INT8", checks={}, configs=[], calibration=None, gallery=Gallery()
        )
    )

    assert "No layers are compared: no INT8" in page
    assert not re.search(r"#(quantization|calibration|chips)\b", page)


def test_where_the_weights_and_values_come_from_is_told():
    """A licence that nobody named, weights given by hand, and the recipe line behind a value of the configuration."""
    page = render(dossier())

    assert "given by hand, and pinned by nothing" in page
    assert "the recipe names none" in page
    assert "x.yaml:3:1 inputs[0].name" in page


def test_the_checks_of_a_chip_are_told():
    """How many nodes are fine, and what a person must judge."""
    page = render(dossier(checks={"AX650": {**CHECK, "blocked": 2}}))

    assert "5 nodes fine" in page
    assert "1 to judge by hand" in page
    assert "2 refused" in page
    assert "is cubic" in page


def test_long_lists_are_cut_and_the_rest_is_counted():
    """A pass that changes ten thousand nodes does not fill the page."""
    changed = [f"Node_{index}" for index in range(1000)]
    page = render(dossier(surgery=[{"pass": "p", "changed": changed, "left": []}]))

    assert "and 700 more" in page
    assert "Node_299" in page
    assert "Node_300" not in page


def test_ranges_stand_before_and_after_equalization():
    """A line each along the network, and a table."""
    page = render(dossier())

    assert "Equalized: 3 tensors rescaled, 0 left" in page
    assert page.count('<path class="line before"') == page.count('<path class="line after"') == 1
    assert "Equalized" not in render(dossier(bake={**BAKE, "equalized": None}))


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
    assert '<th scope="row">&lt;t&gt;</th>' in page
    assert "<td>&lt;x&gt;</td>" in page


def test_the_same_dossier_gives_the_same_bytes():
    """Pictures are packed anew, and nothing tells the time."""
    assert render(dossier()) == render(dossier())


def test_sizes_and_numbers_read_well():
    """Decimal units, as file managers show them; what is no number stays what it is."""
    assert [human_bytes(size) for size in (0, 999, 1500, 16_300_000, 2_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "16.3 MB",
        "2.0 GB",
    ]
    assert [number(one) for one in (0.000123456, "nan", None)] == ["0.0001235", "nan", ""]
    assert [cosine(one) for one in (0.9999994, "nan", None)] == ["0.999999", "nan", ""]
