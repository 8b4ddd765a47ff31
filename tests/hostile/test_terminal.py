"""The text of a server cannot control a terminal, forge a line, or reveal a secret."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.forged_certificates import Forgery
from tests.support.hostile_servers import (
    APOP,
    CHALLENGE,
    DIGEST,
    HOSTILE,
    HOSTILE_WORDS,
    ONE,
    PASSWORD,
    SECRETS,
    Attack,
    mailbox,
)
from tests.support.scripted_server import ScriptedServer, StartServer
from tests.support.served_mail import harmless
from tests.support.terminal import Seen, Terminal

RAW = b"\x9b31m \x9d0;x\x9c \x1b[2J \xc2\x9b31m \xe2\x80\xae \xe2\x81\xa6"
UID = "\u202e\x9b31m[/x]\u2066\x9d0;x\x9c".encode() + b"\x9b\xff"  # no C0, which is bad data
ENCODED = b"=?utf-8?b?" + base64.b64encode(HOSTILE.encode()) + b"?="
LATIN = b"=?iso-8859-1?q?=1B[2J=9B31m=9D0;x=9C_?="
LETTER = b"\r\n".join(
    [
        b"From: " + ENCODED + b" <a@example.org>",
        b"To: " + LATIN + RAW,
        b"Subject: " + ENCODED + b" " + LATIN + b" [red]markup[/red] :smile: [/x] " + RAW,
        b"Date: Thu, 12 Feb 2026 11:11:00 +0100 (" + RAW + b")",
        b"Message-ID: <" + RAW + b">",
        b"",
        RAW + b" \x1b]52;c;eA==\x07 body\r\n",
    ]
)


def on_terminal(
    terminal: Terminal, served: ScriptedServer, *command: str | Path, piped: bool = False
) -> Seen:
    """Run a command on a pseudo-terminal; the screen accepts no control but those we draw with."""
    environment = {"POP3FETCH_ACCOUNT": served.url(), "POP3FETCH_PASSWORD": PASSWORD}
    seen = terminal(*command, "--timeout", "5", env=environment, columns=200, piped=piped)
    assert seen.screen is not None
    assert b"\x1b]" not in seen.raw
    assert b"\xc2\x9b" not in seen.raw
    return seen


def test_a_greeting_is_harmless(terminal: Terminal, server: StartServer) -> None:
    served = server(lambda talk: talk.say(b"-ERR " + HOSTILE_WORDS + b"\r\n"))
    assert on_terminal(terminal, served, "-vv", "list").status in (Status.USAGE, Status.REFUSED)
    assert on_terminal(terminal, served, "list", "-vv").status == Status.REFUSED


def test_refusals_are_harmless(terminal: Terminal, server: StartServer, tmp_path: Path) -> None:
    words = b"-ERR [SYS/TEMP] " + HOSTILE_WORDS + b"\r\n"
    served = server(mailbox(replies={b"RETR 1\r\n": words, b"DELE 2\r\n": words, b"QUIT\r\n": words}))
    seen = on_terminal(terminal, served, "get", "--delete", "-vv", "-o", tmp_path / "Maildir")
    assert seen.status == Status.TRY_LATER
    assert "message 1 stays on the server" in "\n".join(seen.screen)


@pytest.mark.parametrize("options", [(), ("-v",), ("--json",)])
def test_capabilities_are_harmless(terminal: Terminal, server: StartServer, options: Sequence[str]) -> None:
    hostile = HOSTILE_WORDS + b" " + RAW
    served = server(mailbox(capabilities=[hostile, b"IMPLEMENTATION " + hostile, b"SASL " + hostile]))
    assert on_terminal(terminal, served, "caps", *options).status == 0


@pytest.mark.parametrize(
    "command", [("list",), ("list", "-l"), ("get", "--dry-run"), ("rm", "--dry-run", "1")]
)
def test_unique_ids_and_headers_are_harmless(
    terminal: Terminal, server: StartServer, command: Sequence[str]
) -> None:
    served = server(mailbox([LETTER, ONE], uids=[UID, b"[bold]x[/bold]"]))
    seen = on_terminal(terminal, served, *command)
    assert seen.status == 0, seen.raw


def test_markup_is_text(terminal: Terminal, server: StartServer) -> None:
    served = server(mailbox([b"Subject: [red]markup[/red] [/x] :smile: [link=http://x]y\r\n\r\n"]))
    seen = on_terminal(terminal, served, "list", "-l")
    assert "[red]markup[/red] [/x] :smile: [link=http://x]y" in "\n".join(seen.screen)


def test_a_message_on_a_terminal_is_harmless(terminal: Terminal, server: StartServer) -> None:
    seen = on_terminal(terminal, server(mailbox([LETTER])), "get", "-o", "-", "1")
    assert seen.status == 0
    assert "body" in "\n".join(seen.screen)


def test_a_message_into_a_pipe_is_raw(terminal: Terminal, server: StartServer) -> None:
    seen = on_terminal(terminal, server(mailbox([LETTER])), "get", "-o", "-", "1", piped=True)
    assert seen.out == LETTER.replace(b"\r\n", b"\n")


def test_a_unique_id_that_is_refused_is_harmless(terminal: Terminal, server: StartServer) -> None:
    seen = on_terminal(terminal, server(mailbox([ONE], uids=[b"\x1b]0;owned\x07"])), "list")
    assert seen.status == Status.BAD_DATA


@pytest.mark.parametrize("verified", [False, True])
def test_names_in_certificates_are_harmless(terminal: Terminal, server: StartServer, verified: bool) -> None:
    forged = Forgery(
        subject=HOSTILE.replace("\0", "")[:60], names=["x.example.org", "\x1b]0;owned\x07"]
    ).signed_by()
    served = server(mailbox(), tls="implicit", context=forged.context())
    options = ["--tls-fingerprint", forged.fingerprint] if verified else []
    seen = on_terminal(terminal, served, "caps", "-vv", *options)
    assert seen.status == (0 if verified else Status.PROTOCOL)


@pytest.mark.parametrize(
    "command",
    [
        ("list", "-l"),
        ("list", "--json"),
        ("caps",),
        ("check",),
        ("check", "--json"),
        ("get", "--dry-run", "-vv"),
    ],
)
def test_what_goes_into_a_pipe_is_harmless_too(attack: Attack, command: Sequence[str]) -> None:
    served = mailbox([LETTER], uids=[UID], capabilities=[b"TOP", b"UIDL", HOSTILE_WORDS])
    after = attack(served, command=command)
    assert after.ended.status == 0
    assert harmless(after.ended.out)


# -- lines and fields ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [b"no\rpop3fetch: all is well", b"no\x0bpop3fetch: x", "no\u2028pop3fetch: x\x85y".encode()]
)
def test_no_line_can_be_forged(attack: Attack, words: bytes) -> None:
    after = attack(mailbox([ONE], replies={b"RETR 1\r\n": b"-ERR " + words + b"\r\n"}))
    assert after.ended.status == Status.REFUSED
    assert len(after.ended.err.decode().splitlines()) == 1


def test_no_field_can_be_forged(attack: Attack) -> None:
    letter = b"From: a\tb\r\nSubject: =?utf-8?q?x=09y=0Az=0Dw?=\r\n\r\n"
    after = attack(mailbox([letter, ONE]), command=("list", "-l"))
    assert [line.count(b"\t") for line in after.ended.out.splitlines()] == [5, 5]


def test_a_long_refusal_is_cut(attack: Attack) -> None:
    after = attack(mailbox([ONE], replies={b"RETR 1\r\n": b"-ERR " + b"\x1b" * 8000 + b"\r\n"}))
    assert after.ended.status == Status.REFUSED
    assert len(after.ended.err) < 600


# -- secrets ---------------------------------------------------------------------------------


def echoes() -> bytes:
    """Return a line in which a server repeats all that it received."""
    return b" ".join([*SECRETS, PASSWORD.encode().hex().encode(), DIGEST.upper()])


@pytest.mark.parametrize("verbosity", ["-q", "-v", "-vv"])
@pytest.mark.parametrize("status", [b"+OK ", b"-ERR ", b"-ERR [AUTH] ", b""])
@pytest.mark.parametrize("point", [APOP, b"LIST\r\n", b"RETR 1\r\n", b"QUIT\r\n"])
def test_no_secret_is_shown_even_if_the_server_repeats_it(
    attack: Attack, point: bytes, status: bytes, verbosity: str
) -> None:
    reply = status + echoes() + b"\r\n"
    if status == b"+OK " and point in (b"LIST\r\n", b"RETR 1\r\n"):
        reply += b".\r\n"
    after = attack(mailbox([ONE], replies={point: reply}), verbosity)  # Attack looks for secrets
    assert PASSWORD.encode().hex() not in after.error.lower()


@pytest.mark.parametrize("method", ["user", "plain", "xoauth2", "apop"])
def test_no_secret_is_in_a_trace_of_a_login(attack: Attack, method: str) -> None:
    served = mailbox(capabilities=[b"SASL PLAIN LOGIN CRAM-MD5 XOAUTH2"])
    after = attack(served, "-vv", "--auth", method, "--allow-insecure-login", "--tls", "off")
    assert b"(secret)" in after.ended.err
    assert CHALLENGE.decode() in after.error
