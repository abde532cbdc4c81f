"""The page as a reader has it: in headless Chromium, on a phone and a desk, with a keyboard alone."""

import os
from pathlib import Path

import pytest
from _chromium import Browser, find
from _dossier import dossier

from workbench.report.page import render

WIDTHS = (360, 1440)


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests."""
    program = find()
    if program is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")
    try:
        found = Browser(program)
    except (AssertionError, OSError) as error:
        pytest.skip(f"{program} does not start here: {error}")
    with found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with every section filled."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(dossier()), "utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_quietly_and_asks_for_nothing(browser, page, width, scheme):
    """No console message, and no request but for the file and the pictures inside it."""
    browser.open(page, width, scheme)

    assert browser.said == []
    assert {address for address in browser.asked if not address.startswith("data:")} == {page.as_uri()}


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_no_wider_than_the_screen(browser, page, width):
    """Wide tables scroll in place, also when everything is unfolded."""
    browser.open(page, width)
    browser.run("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")

    assert browser.run("document.documentElement.scrollWidth") <= width


def test_the_policy_forbids_what_a_hostile_string_would_do(browser, page):
    """A script that gets into the page does not run, and nothing can be fetched."""
    browser.open(page, 1440)
    heard = browser.run("""new Promise(async done => {
        const found = [];
        addEventListener('securitypolicyviolation', event => found.push(event.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'window.hostile = true';
        document.body.append(script);
        await fetch('https://example.invalid/').catch(() => {});
        setTimeout(() => done([found.sort().join(), window.hostile === undefined]), 50);
    })""")

    assert heard == ["connect-src,script-src-elem", True]


def test_a_keyboard_reaches_every_control(browser, page):
    """Tab after Tab, in the page's order: the way past the links, the links, the choices, tables and copy buttons."""
    browser.open(page, 1440)
    browser.run("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    reached = []
    for _ in range(90):
        browser.press("Tab")
        here = browser.run("(e => e.id || e.className || e.tagName)(document.activeElement)")
        if here == "BODY":
            break
        reached.append(here)
    wanted = browser.run(
        "[...document.querySelectorAll('a[href], button, select, input, summary, [tabindex=\"0\"]')]"
        ".filter(e => e.getClientRects().length).length"
    )

    assert reached[0] == "skip"
    assert reached.index("artifact") < reached.index("channel") < reached.index("marks")
    assert reached.count("copy") == 4
    assert len(reached) == wanted


def test_the_choices_work_by_keyboard(browser, page):
    """Another joint moves every heatmap to its row, and differences can be hidden."""
    browser.open(page, 1440)
    rows = "[...document.querySelectorAll('svg.heat')].map(heat => heat.viewBox.baseVal.y / heat.dataset.rows)"
    assert set(browser.run(rows)) == {0}
    browser.run("document.getElementById('channel').focus()")
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    browser.run("document.getElementById('marks').focus()")
    browser.press(" ")

    assert browser.run("document.getElementById('channel').value") == "2"
    assert set(browser.run(rows)) == {2}
    assert browser.run("[...document.querySelectorAll('.marks')].every(e => e.classList.contains('off'))") is True


def test_a_table_is_sorted_by_keyboard(browser, page):
    """By its numbers, up and then down; the state is told to those who listen."""
    browser.open(page, 1440)
    browser.run("document.querySelector('#layers ~ details').open = true")
    column = "[...document.querySelectorAll('#layers ~ details tbody tr')].map(row => Number(row.cells[3].textContent))"
    before = browser.run(column)
    browser.run("document.querySelectorAll('#layers ~ details th button')[3].focus()")
    for pressed, order in ((1, "ascending"), (2, "descending")):
        browser.press("Enter")
        state = browser.run("document.querySelectorAll('#layers ~ details thead th')[3].getAttribute('aria-sort')")
        assert (state, browser.run(column)) == (order, sorted(before, reverse=pressed == 2))


def test_a_program_is_copied(browser, page):
    """The button says that it did something, or selects the text where there is no clipboard."""
    browser.open(page, 1440)
    browser.run("document.querySelector('button.copy').focus()")
    browser.press("Enter")

    said = browser.run(
        "new Promise(done => setTimeout(() => done(document.querySelector('button.copy').firstChild.data), 200))"
    )
    assert said in ("Copied", "Selected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(browser, page, width, scheme):
    """Contrast, names, roles and focus, with everything unfolded."""
    script = Path(os.environ.get("AXE_CORE", ""))
    if not script.is_file():
        pytest.skip("no axe-core: npm install axe-core, and name its axe.min.js in AXE_CORE")
    browser.open(page, width, scheme)
    browser.run("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    browser.run(script.read_text("utf-8") + ";0")
    found = browser.run(
        "axe.run().then(told => told.violations.filter(one => ['serious', 'critical'].includes(one.impact))"
        ".map(one => one.id + ': ' + one.nodes.map(node => node.target).join(' ')))"
    )

    assert found == []
