"""How long nothing takes."""

import subprocess
import sys

import pytest
from benchmarks import _timing


@pytest.mark.benchmark
def test_help_against_importing_click():
    """`workbench --help` beside a bare import of click, in pairs; the aim is a ratio of at most 3."""

    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)

    ours, bare, ratio = _timing.paired(
        run("from workbench.cli import main; main(['--help'], standalone_mode=False)"), run("import click"), 21
    )
    print(f"\nworkbench --help {ours * 1e3:.0f} ms, import click {bare * 1e3:.0f} ms, ratio {ratio:.2f} (aim <= 3)")
