"""What tests of the Pulsar2 toolchain share: a stand-in engine with images, and what it was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

IMAGES = "pulsar2:6.0 aaaa\nlocalhost/pulsar2:7.0 bbbb\nother:9 cccc\npulsar2:latest dddd\n"


@pytest.fixture
def engine(programs, tmp_path, monkeypatch):
    """A stand-in docker with one old and one new image, and pulsar2 inside its containers only."""
    state = tmp_path / "engine"
    (state / "root").mkdir(parents=True)
    (state / "images").write_text(IMAGES)
    monkeypatch.setenv("STANDIN_DOCKER", str(state))
    programs("docker")
    return state


def calls(state: Path) -> list[list[str]]:
    """The arguments of every call of the stand-in engine."""
    return [json.loads(line) for line in (state / "calls.jsonl").read_text().splitlines()]


def fake(path: Path, script: str) -> Path:
    """A shell script as a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
