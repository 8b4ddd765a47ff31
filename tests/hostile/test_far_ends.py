"""A mail server that messages go to may be as hostile as one that they come from."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.hostile.test_time_and_memory import ENDLESS, ON_LINUX, PEAK, measured
from tests.support.command import Ended, Run
from tests.support.hostile_servers import BOUND, HOSTILE_WORDS, PASSWORD, flooding, mailbox
from tests.support.imap_server import ImapServer
from tests.support.scripted_server import Script, StartServer, Talk
from tests.support.served_mail import harmless
from tests.support.transfer_server import TransferServer

MESSAGE = b"Subject: one\r\n\r\n" + b"x" * 3_000_000 + b"\r\n"
GREETINGS = {"imaps": b"* OK ready\r\n", "lmtp": b"220 ready\r\n"}


def table(folder: Path, scheme: str, port: int, ca_file: Path) -> Path:
    user = "alice@" if scheme == "imaps" else ""
    file = folder / "config.toml"
    file.touch(0o600)
    file.write_text(
        f'[destinations.box]\nurl = "{scheme}://{user}localhost:{port}"\nca_file = "{ca_file}"\n'
        'password = "secret"\nrecipients = "alice"\n'
    )
    return file


Attacked = Callable[..., tuple[Ended, int]]


@pytest.fixture
def attacked(run: Run, server: StartServer, tmp_path: Path, ca_file: Path) -> Attacked:
    """Deliver one message to a hostile server; return how that ended, and the peak of memory."""

    def deliver(scheme: str, script: Script, timeout: int = 5) -> tuple[Ended, int]:
        far = server(script, tls="implicit" if scheme == "imaps" else None)
        file = table(tmp_path, scheme, far.port, ca_file)
        options = ("--tls", "off", "--auth", "user", "--allow-insecure-login")
        words = ("get", *options, "-c", file, "-o", "@box", "--state-dir", tmp_path / "state")
        begun = time.monotonic()
        ended, peak = measured(run, mailbox([MESSAGE]), server, *words, timeout=timeout)
        assert time.monotonic() - begun < 5 * BOUND
        assert PASSWORD.encode() not in ended.err
        assert harmless(ended.err)
        return ended, peak

    return deliver


def after(greeting: bytes, flood: Script) -> Script:
    def script(talk: Talk) -> None:
        talk.say(greeting)
        talk.line()
        flood(talk)

    return script


FLOODS = {
    "octets without a line end": flooding(ENDLESS),
    "lines of IMAP": flooding(b"* OK [ALERT] hello\r\n" * 1000),
    "lines of SMTP": flooding(b"250-hello\r\n" * 1000),
    "line ends": flooding(b"\r\n" * 1000),
    "a literal of 2^63": flooding(b"* 1 FETCH (BODY[] {9223372036854775808}\r\n" + ENDLESS),
    "a literal of 500 KB, again and again": flooding(b"* 1 X {500000}\r\n" + b"x" * 500_000 + b"\r\n"),
}


@ON_LINUX
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("scheme", GREETINGS)
def test_no_flood_takes_time_or_memory(attacked: Attacked, scheme: str, flood: str) -> None:
    ended, peak = attacked(scheme, after(GREETINGS[scheme], FLOODS[flood]))
    assert ended.status in (Status.PROTOCOL, Status.BAD_DATA), ended.err
    assert peak < PEAK


@ON_LINUX
@pytest.mark.parametrize("scheme", GREETINGS)
def test_silence_ends_with_the_time_out(attacked: Attacked, scheme: str) -> None:
    for script in (Talk.stall, after(GREETINGS[scheme], Talk.stall)):
        ended, _ = attacked(scheme, script, timeout=1)
        assert ended.status == Status.TRY_LATER
        assert b"timed out after 1 s" in ended.err


@ON_LINUX
def test_control_characters_of_a_server_are_made_harmless(attacked: Attacked) -> None:
    imap = ImapServer(replies={"APPEND": [b"NO " + re.sub(rb"[\r\n]", b"", HOSTILE_WORDS) + b"\r\n"]})
    ended, _ = attacked("imaps", imap)
    assert ended.status == Status.CANNOT_DELIVER
    lmtp = TransferServer(replies={b"end": [b"550 " + re.sub(rb"[\r\n]", b"", HOSTILE_WORDS) + b"\r\n"]})
    ended, _ = attacked("lmtp", lmtp)
    assert ended.status == Status.CANNOT_DELIVER


@ON_LINUX
def test_a_large_message_takes_no_memory(attacked: Attacked) -> None:
    for scheme, far in (("imaps", ImapServer()), ("lmtp", TransferServer())):
        ended, peak = attacked(scheme, far)
        assert (ended.status, ended.err) == (0, b"")
        assert peak < PEAK / 2
