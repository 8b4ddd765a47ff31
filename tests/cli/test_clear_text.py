"""A login by APOP outside TLS: users learn that their mail crosses the network in clear text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.command import Run
from tests.support.mail_server import CAPABILITIES
from tests.support.new_machine import ResolvingRun
from tests.support.served_mail import Post, StartPost
from tests.support.terminal import Terminal

ACCOUNT = {"POP3FETCH_ACCOUNT": "pop3://alice@mail.example.org", "POP3FETCH_PASSWORD": "secret"}
NOTICE = "APOP protects only the password: the mail crosses the network in clear text"
ADVICE = "; use --tls starttls"
WITH_STLS = (b"STLS", *CAPABILITIES)


def resolving(run: Run, served: Post) -> ResolvingRun:
    """Run where ``served`` is the server of example.org."""
    hosts = {"mail.example.org:110": served.server.port}
    return ResolvingRun(run.home, run.folder, 1, hosts, python=run.python)


@pytest.mark.parametrize(
    ("capabilities", "line"),
    [(WITH_STLS, f"{NOTICE}{ADVICE}"), (CAPABILITIES, NOTICE)],
    ids=["STLS is offered", "no STLS"],
)
@pytest.mark.parametrize("words", [["stat"], ["stat", "--tls", "off"]])
def test_on_a_terminal_it_is_a_line(
    run: Run, post: StartPost, capabilities: Sequence[bytes], line: str, words: list[str]
) -> None:
    run = resolving(run, post(capabilities=capabilities))
    seen = Terminal(run)(*words, env=ACCOUNT, columns=200)
    assert seen.screen == [line, "3 messages, 1.5 kB"]
    assert Terminal(run)(*words, "-q", env=ACCOUNT).screen == ["3 messages, 1.5 kB"]


def test_without_a_terminal_it_needs_verbose(run: Run, post: StartPost) -> None:
    run = resolving(run, post(capabilities=WITH_STLS))
    assert run("stat", env=ACCOUNT).err == b""
    assert f"pop3fetch: {NOTICE}{ADVICE}\n" in run("stat", "-v", env=ACCOUNT).err.decode()


def test_a_server_on_this_machine_needs_no_line(terminal: Terminal, post: StartPost) -> None:
    served = post(capabilities=WITH_STLS)
    assert terminal("stat", env=served.environment).screen == ["3 messages, 1.5 kB"]
    shown = terminal("stat", "-v", env=served.environment, columns=200).screen
    assert f"pop3fetch: {NOTICE}{ADVICE}" in shown
