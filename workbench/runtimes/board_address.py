"""Where a board is: ``ssh://[user@]host[:port][/folder]``, read so that nothing in it can become an option of ssh."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.errors import RecipeError

SCHEME = "ssh://"
FORM = "ssh://[user@]board[:port][/folder]"
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,252}")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.\-]{1,32})?\]")
_FOLDER = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}){1,16}")


@dataclass(frozen=True)
class Address:
    """A board: a host or one of the user's ssh configuration; what is empty or 0 is left to that configuration.

    Attributes:
        folder: where on the board scratch folders are made; its own ``$TMPDIR`` or ``/tmp`` when empty.
    """

    host: str
    user: str = ""
    port: int = 0
    folder: str = ""

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def by_hand(self) -> str:
        """What a person types to get there."""
        return f"ssh {f'-p {self.port} ' if self.port else ''}{self}"


def parse(text: str) -> Address:
    """The address in ``ssh://...``.

    Raises:
        RecipeError: it is not of that form. Passwords are not taken: they would show in the list of processes.
    """
    if not text.startswith(SCHEME):
        raise _bad(text, "no address of a board")
    rest = text.removeprefix(SCHEME)
    rest, slash, folder = rest.partition("/")
    user, at, place = rest.rpartition("@")
    if at and ":" in user:
        raise _bad(
            text.replace(user, "..."), "a password has no place in it", "let the board accept your key: ssh-copy-id"
        )
    if at and not _USER.fullmatch(user):
        raise _bad(text, f"{user!r} is no user name")
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", place)
    if found is None or not (_HOST.fullmatch(found[1]) or _IPV6.fullmatch(found[1])):
        raise _bad(text, f"{place if found is None else found[1]!r} is no host name")
    host, port = found[1].strip("[]"), found[2]
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise _bad(text, f"{port!r} is no port")
    if folder and not _FOLDER.fullmatch(slash + folder.rstrip("/")):
        raise _bad(text, f"{slash + folder!r} is no folder that can be used", "letters, digits, _ . - and / are taken")
    return Address(host, user, int(port or 0), slash + folder.rstrip("/") if folder else "")


def _bad(text: str, what: str, fix: str = "") -> RecipeError:
    return RecipeError(f"--runner {text}: {what}", fix=fix or f"write {FORM}")
