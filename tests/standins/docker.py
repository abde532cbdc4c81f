"""A stand-in for a container engine, for tests only: records its arguments and runs the container's script on the host.

STANDIN_DOCKER names its folder: `images` holds one ``name:tag id`` a line, `calls.jsonl` receives the arguments,
`root` plays /root, and `<container>.pid` is there while a container runs. The mounted folder plays /data by name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["STANDIN_DOCKER"])


def main(argv: list[str]) -> int:
    """Run one command."""
    with (STATE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    images = dict(line.split() for line in (STATE / "images").read_text().splitlines())
    match argv:
        case ["images", "--format", _]:
            print(*(f"{name} {number}" for name, number in images.items()), sep="\n")
        case ["image", "inspect", "--format", "{{.Id}}", image] if image in images:
            print(f"sha256:{images[image]}")
        case ["run", *rest]:
            return run(rest, images)
        case ["stop", "-t", _, name]:
            os.kill(int((STATE / f"{name}.pid").read_text()), signal.SIGTERM)
        case _:
            print("Error: no such thing", file=sys.stderr)
            return 1
    return 0


def run(argv: list[str], images: dict[str, str]) -> int:
    """`docker run`, as far as Workbench uses it."""
    options: dict[str, list[str]] = {}
    while argv[0].startswith("--"):
        name = argv.pop(0)
        options.setdefault(name, []).append("" if name == "--rm" else argv.pop(0))
    image, flag, script, *arguments = argv
    assert image in images
    assert flag == "-c"
    host = options.get("--volume", [str(STATE)])[0].removesuffix(":/data")
    inside = options.get("--workdir", [host])[0].replace("/data", host, 1)
    script = script.replace("/data", host).replace("/root", str(STATE / "root"))
    child = subprocess.Popen([options["--entrypoint"][0], "-c", script, *arguments], cwd=inside, start_new_session=True)
    pid = STATE / f"{options.get('--name', ['nameless'])[0]}.pid"
    pid.write_text(str(child.pid))
    code = child.wait()
    pid.unlink()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
