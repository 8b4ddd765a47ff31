"""What a terminal shows while a connection takes more than a second."""

from __future__ import annotations

import pytest

from pop3fetch.status import Status
from tests.support.command import Run
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.served_mail import LETTERS, StartPost
from tests.support.terminal import Terminal

COMMANDS = pytest.mark.parametrize("command", ["list", "get -o here", "stat", "get -o - 1"])
CONNECTING = "connecting to 127.0.0.1 …".encode()
ENV = {"POP3FETCH_PASSWORD": "secret"}


def slow(talk: Talk) -> None:
    """Greet in more than a second."""
    talk.drip(b"+OK it takes its time", 0.07)
    Mailbox(LETTERS, greeting=b" <1896.697170952@localhost>\r\n")(talk)


@COMMANDS
def test_a_slow_connection_is_shown_until_it_is_made(
    terminal: Terminal, server: StartServer, command: str
) -> None:
    url = server(slow).url()
    seen = terminal(*command.split(), "-a", url, env=ENV, columns=120)
    assert seen.status == Status.OK
    assert b"\r" + CONNECTING + b"\x1b[K" in seen.raw
    assert not any("connecting" in line for line in seen.screen), "it was removed"


@pytest.mark.parametrize("command", ["list", "stat"])
def test_an_interrupt_removes_it(terminal: Terminal, server: StartServer, command: str) -> None:
    url = server(Talk.stall).url()
    seen = terminal(command, "-a", url, env=ENV, answers=[(CONNECTING, b"\x03")])
    assert (seen.status, seen.screen) == (Status.INTERRUPTED, ["pop3fetch: interrupted"])


def test_on_a_dumb_terminal_it_is_a_line(terminal: Terminal, server: StartServer) -> None:
    url = server(slow).url()
    seen = terminal("stat", "-a", url, env={**ENV, "TERM": "dumb"})
    assert seen.screen == [CONNECTING.decode(), "3 messages, 1.5 kB"]


@COMMANDS
def test_a_quick_connection_is_not_shown(terminal: Terminal, post: StartPost, command: str) -> None:
    seen = terminal(*command.split(), env=post().environment)
    assert b"connecting" not in seen.raw


@pytest.mark.parametrize("option", [[], ["-q"]])
def test_without_a_terminal_or_with_quiet_it_is_not_shown(
    terminal: Terminal, run: Run, server: StartServer, option: list[str]
) -> None:
    url = server(slow).url()
    if option:
        assert b"connecting" not in terminal("stat", *option, "-a", url, env=ENV).raw
    else:
        assert run("stat", "-a", url, env=ENV).err == b""
