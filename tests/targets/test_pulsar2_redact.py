"""Names of people, machines and private folders in a text that goes to somebody else."""

from __future__ import annotations

import pytest

from workbench.targets.pulsar2 import redact
from workbench.targets.pulsar2.redact import redacted


@pytest.fixture(autouse=True)
def somebody(monkeypatch):
    """The user alice on the machine mill7.corp.example, at home in /srv/people/alice."""
    monkeypatch.setattr(redact, "_user", lambda: "alice")
    monkeypatch.setattr(redact.platform, "node", lambda: "mill7.corp.example")
    monkeypatch.setenv("HOME", "/srv/people/alice")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("open /srv/people/alice/secret/model.onnx", "open ~/secret/model.onnx"),
        ("/home/bob/x.py and /Users/carol", "/home/user/x.py and /Users/user"),
        ('"/home/dave": 3', '"/home/user": 3'),
        ("alice@mill7:~$ pulsar2", "user@host:~$ pulsar2"),
        ("on mill7.corp.example at noon", "on host at noon"),
        ("malice and mill77 stay", "malice and mill77 stay"),
        ("/work/kit/build.log in /work/kit", "./build.log in ."),
        ("/work/kitchen stays", "/work/kitchen stays"),
        ("/root/.hasplm in a container", "/root/.hasplm in a container"),
    ],
)
def test_what_is_replaced(text, after):
    """Paths before names, whole words only."""
    assert redacted(text, {"/work/kit": "."}) == after


def test_names_that_everybody_has_stay(monkeypatch):
    """A user called build would tear words out of every log."""
    monkeypatch.setattr(redact, "_user", lambda: "build")
    assert redacted("pulsar2 build failed") == "pulsar2 build failed"


def test_home_of_root_stays(monkeypatch):
    """In a container /root is worth reading."""
    monkeypatch.setenv("HOME", "/root")
    assert redacted("cp /root/key") == "cp /root/key"
