"""What OpenSSH and a board's shell say when something is wrong, as errors with a cause and a cure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.errors import ToolError
from workbench.runtimes.board_address import SCHEME, Address

_SHOWN = 6
# Looked at in this order: a changed key is also "verification failed".
_KNOWN = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the board's host key is not the one that is known for it",
        "if it was set up anew, forget the old key (ssh-keygen -R '{known}'), then connect once by hand and compare the"
        " fingerprint ({by_hand}); if not, another machine may answer in its place",
    ),
    (
        r"Host key verification failed|host key is known for",
        "the board's host key is not known here",
        "connect once by hand and compare the fingerprint: {by_hand}",
    ),
    (
        r"Permission denied \(|Too many authentication failures|no mutual signature algorithm",
        "the board does not accept your key",
        "let it: ssh-copy-id {option}{address}; a key with a passphrase must be in ssh-agent; is the user right?",
    ),
    (r"Could not resolve hostname|Name or service not known", "no such host", "check its name, or give its address"),
    (
        r"Connection refused",
        "nothing answers by ssh there",
        "is its sshd running, and the port right? try {by_hand}",
    ),
    (
        r"timed out|No route to host|Network is unreachable|Host is down|not responding",
        "the board cannot be reached",
        "is it on, on this network, and the address right? try {by_hand}",
    ),
    (
        r"No space left on device|Disk quota exceeded|not enough space",
        "no space left on the board",
        "free some there ({by_hand} df -h), or name a folder with space: {scheme}{address}{colon}/folder",
    ),
    (
        r"Read-only file system|mktemp: .*(?:Permission denied|No such file)",
        "the board has no folder to write to",
        "name one: {scheme}{address}{colon}/folder",
    ),
    (
        r"Connection (?:closed|reset)|Broken pipe|kex_exchange_identification|client_loop",
        "the connection to the board broke",
        "try again; is it overloaded, or short of memory?",
    ),
)


def explain(said: Sequence[str], address: Address, otherwise: str, fix: str = "") -> ToolError:
    """The error behind what was printed.

    Args:
        said: lines of ssh and of the board, the last ones last.
        address: of the board.
        otherwise: what is wrong where no line is known.
        fix: likewise; a command to try by hand when empty.
    """
    text = "\n".join(said)
    words = {
        "address": str(address),
        "by_hand": address.by_hand,
        "known": f"[{address.host}]:{address.port}" if address.port else address.host,
        "option": f"-p {address.port} " if address.port else "",
        "colon": f":{address.port}" if address.port else "",
        "scheme": SCHEME,
    }
    for sign, what, cure in _KNOWN:
        if re.search(sign, text):
            return ToolError(f"{what}{listed(said)}", where=where(address), fix=cure.format(**words))
    return ToolError(f"{otherwise}{listed(said)}", where=where(address), fix=fix or f"try by hand: {address.by_hand}")


def where(address: Address) -> str:
    """The board, for the head of an error."""
    return f"{SCHEME}{address}{f':{address.port}' if address.port else ''}"


def listed(said: Sequence[str]) -> str:
    """The last lines, indented, to stand behind a sentence; without the rulers that ssh draws around a warning."""
    lines = [line.strip()[:300] for line in said if line.strip(" @\t")]
    return "".join(f"\n    {line}" for line in lines[-_SHOWN:])
