"""Addresses of boards: what is read, and that nothing becomes an option of ssh."""

from __future__ import annotations

import pytest

from workbench.errors import RecipeError
from workbench.runtimes.board_address import Address, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh://board", Address("board")),
        ("ssh://root@10.0.0.7", Address("10.0.0.7", "root")),
        ("ssh://root@board.lan:2222", Address("board.lan", "root", 2222)),
        ("ssh://root@board/opt/data/", Address("board", "root", 0, "/opt/data")),
        ("ssh://board:22/data", Address("board", "", 22, "/data")),
        ("ssh://board/", Address("board")),
        ("ssh://me@[fe80::1%eth0]:22", Address("fe80::1%eth0", "me", 22)),
        ("ssh://[::1]", Address("::1")),
    ],
)
def test_an_address_is_read(text, address):
    """User, port and folder may be left out; an IPv6 address stands in brackets."""
    assert parse(text) == address


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ssh://", "'' is no host name"),
        ("ssh://-oProxyCommand=sh", "'-oProxyCommand=sh' is no host name"),
        ("ssh://-oProxyCommand=sh@board", "'-oProxyCommand=sh' is no user name"),
        ("ssh://root@-board", "'-board' is no host name"),
        ("ssh://root@board;reboot", "is no host name"),
        ("ssh://root@bo ard", "is no host name"),
        ("ssh://root@board\n", "is no host name"),
        ("ssh://$(id)@board", "is no user name"),
        ("ssh://@board", "'' is no user name"),
        ("ssh://a@b@board", "'a@b' is no user name"),
        ("ssh://board:", "'' is no port"),
        ("ssh://board:0", "'0' is no port"),
        ("ssh://board:65536", "'65536' is no port"),
        ("ssh://board:22x", "'22x' is no port"),
        ("ssh://board:22:22", "'22:22' is no port"),
        ("ssh://board:٢٢", "is no port"),
        ("ssh://[::1", "is no host name"),
        ("ssh://[::1]22", "is no host name"),
        ("ssh://::1", "'' is no host name"),
        ("ssh:22", "no address of a board"),
        ("SSH://board", "no address of a board"),
        ("ssh://board/a/../b", "no folder that can be used"),
        ("ssh://board/$(id)", "no folder that can be used"),
        ("ssh://board//a", "no folder that can be used"),
        ("ssh://board/-rf", "no folder that can be used"),
    ],
)
def test_what_is_no_address_is_refused(text, told):
    """Options, shell characters, odd ports: a usage error that shows the form."""
    with pytest.raises(RecipeError, match=r"^--runner (?i:ssh):") as caught:
        parse(text)
    assert told in caught.value.what
    assert caught.value.exit_code == 2


def test_a_password_is_refused_and_not_shown():
    """It would be seen in the list of processes; the error does not repeat it."""
    with pytest.raises(RecipeError, match="a password has no place in it") as caught:
        parse("ssh://root:secret@board")
    assert "secret" not in str(caught.value)
    assert "ssh-copy-id" in caught.value.fix


def test_how_a_person_gets_there():
    """The command that errors tell to try."""
    assert parse("ssh://root@board:2222").by_hand == "ssh -p 2222 root@board"
    assert parse("ssh://board").by_hand == "ssh board"
