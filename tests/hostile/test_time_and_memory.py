"""No server can make us wait or grow without bound."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch.pop3.replies import MESSAGES_LIMIT
from pop3fetch.status import Status
from tests.support.command import PATIENCE, Ended, Run
from tests.support.hostile_servers import (
    APOP,
    ONE,
    PASSWORD,
    TIMEOUT,
    Attack,
    dripping,
    flooding,
    hanging_up,
    litter,
    mailbox,
    new_in,
    recorded_in,
    stalling,
)
from tests.support.scripted_server import Script, StartServer, Talk

MIB = 1 << 20
LARGEST = 300 * MIB  # octets of memory for a listing of a million messages
PEAK = 160 * MIB  # octets of memory that no server may make us pass
ENDLESS = b"x" * 65536


def in_turn(opening: bytes, flood: Script) -> Script:
    """Return a script that sends ``opening`` and goes on like ``flood``."""

    def script(talk: Talk) -> None:
        talk.say(opening)
        flood(talk)

    return script


ON_LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no figure for peak memory")


# -- silence ---------------------------------------------------------------------------------

POINTS = {
    b"": (b"", b""),
    b"CAPA\r\n": (b"", b""),
    APOP: (b"", b""),
    b"LIST\r\n": (b"", b"+OK\r\n1 3"),
    b"UIDL\r\n": (b"", b"+OK\r\n1 a\r\n."),
    b"RETR 1\r\n": (b"", b"+OK\r\nSubject: half\r\n\r\nand then"),
}


@pytest.mark.parametrize("point", POINTS, ids=lambda line: line.decode().strip() or "greeting")
@pytest.mark.parametrize("behaviour", [stalling, dripping(b"x")], ids=["silence", "drips"])
@pytest.mark.parametrize("half", [False, True], ids=["at once", "half way"])
def test_silence_and_drips_end_in_time_wherever_they_come(
    attack: Attack, point: bytes, behaviour: Script, half: bool
) -> None:
    said = POINTS[point][half]
    if half and not said:
        said = b"+O"
    if not point:
        after = attack(in_turn(said, behaviour))
    else:
        after = attack(mailbox(replies={point: said}, after={point: behaviour}))
    if behaviour is stalling or said not in (b"", b"+O"):
        after.fails(Status.TRY_LATER, f"timed out after {TIMEOUT:g} s")
    else:  # what drips makes no status line
        assert after.ended.status in (Status.TRY_LATER, Status.PROTOCOL)
    after.left_alone()


@pytest.mark.parametrize("behaviour", [stalling, dripping(b"+OK ")], ids=["silence", "drips"])
@pytest.mark.parametrize("point", [b"DELE 1\r\n", b"QUIT\r\n"])
def test_silence_after_the_delivery_costs_no_mail(attack: Attack, point: bytes, behaviour: Script) -> None:
    served = mailbox([ONE], replies={point: b""}, after={point: behaviour})
    after = attack(served)
    after.fails(Status.TRY_LATER, "timed out", point.split()[0].decode())
    assert (after.delivered, after.recorded, served.messages) == ([ONE], {b"uid-1"}, [ONE])


def test_quit_does_not_wait_once_more_after_an_error(attack: Attack) -> None:
    after = attack(mailbox(replies={b"RETR 2\r\n": b""}, after={b"RETR 2\r\n": stalling}))
    after.fails(Status.TRY_LATER, "RETR")
    assert b"QUIT" not in after.received


def test_a_slow_line_that_carries_mail_is_not_given_up(attack: Attack) -> None:
    def slow(talk: Talk) -> None:
        for _ in range(2 * 6):  # twice the time-out, and never silent
            talk.say(b"x" * 1100 + b"\r\n")
            talk._stopping.wait(TIMEOUT / 6)
        talk.say(b".\r\n")

    served = mailbox([ONE], replies={b"RETR 1\r\n": b"+OK\r\n"}, after={b"RETR 1\r\n": slow})
    after = attack(served)
    after.succeeds()
    assert after.delivered == [(b"x" * 1100 + b"\r\n") * 12]


# -- lines without end -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "opening"),
    [
        (b"", b"+OK "),
        (b"", b"-ERR "),
        (b"CAPA\r\n", b"+OK "),
        (b"CAPA\r\n", b"+OK\r\n"),
        (APOP, b"+OK "),
        (APOP, b"-ERR "),
        (b"LIST\r\n", b"+OK "),
        (b"LIST\r\n", b"+OK\r\n1 3 "),
        (b"LIST\r\n", b"+OK\r\n1"),
        (b"UIDL\r\n", b"+OK\r\n1 "),
        (b"RETR 1\r\n", b"+OK "),
        (b"RETR 1\r\n", b"-ERR "),
    ],
)
def test_a_line_without_end_is_bad_data(attack: Attack, point: bytes, opening: bytes) -> None:
    flood = flooding(ENDLESS)
    if point:
        after = attack(mailbox([ONE], replies={point: opening}, after={point: flood}))
    else:
        after = attack(in_turn(opening, flood))
    after.fails(Status.BAD_DATA, "longer than").left_alone()


def test_a_challenge_without_end_is_bad_data(attack: Attack) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        talk.line()
        talk.say(b"+OK\r\nSASL CRAM-MD5\r\n.\r\n")
        talk.line()
        talk.say(b"+ ")
        flooding(ENDLESS)(talk)

    attack(script, "--auth", "cram-md5", "--tls", "off").fails(Status.BAD_DATA, "longer than").left_alone()


def test_the_lines_of_a_message_have_no_limit(attack: Attack) -> None:
    letter = b"Subject: " + b"x" * 300_000 + b"\r\n\r\n" + b"y" * 3 * MIB + b"\r\n"
    after = attack(mailbox([letter]))
    after.succeeds()
    assert after.delivered == [letter]


# -- headers that cost time ------------------------------------------------------------------

COSTLY = {
    "folded": b"Subject:" + b"\r\n x" * 20000,
    "words": b"Subject: " + b"=?utf-8?q?" * 6000,
    "pairs": b"Subject: " + b"=?utf-8?q?=?utf-8?q?=?=" * 2700,
    "quoted": b"From: " + b'"' * 60000,
    "comments": b"Date: " + b"(" * 60000,
    "brackets": b"Message-ID: " + b"<" * 60000,
    "names": b"Subject" * 9000,
    "spaces": b"Subject" + b" " * 60000 + b"x",
    "empty": b"Subject: x\r\n" * 5000,
    "punycode": b"Subject: =?punycode?q?" + b"a" * 60000 + b"?=",
    "8-bit": b"Subject: " + b"\xff" * 60000,
}


@pytest.mark.parametrize("header", COSTLY.values(), ids=COSTLY)
def test_no_header_costs_time(attack: Attack, header: bytes) -> None:
    letter = header + b"\r\n\r\nHello.\r\n"
    assert attack(mailbox([letter] * 5), command=("list", "-l")).ended.status == 0
    assert len(attack(mailbox([letter] * 5)).succeeds().delivered) == 5


# -- memory ----------------------------------------------------------------------------------


# The kernel's figure for a child counts its parent's memory in (see exec(2) and getrusage(2)).
PROGRAM = r"""
import pathlib, re, sys
from pop3fetch.cli.main import run
status = run(sys.argv[2:])
kib = re.search(r"VmHWM:\s*(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
pathlib.Path(sys.argv[1]).write_text(kib)
sys.exit(status)
"""


def measured(
    run: Run, script: Script, server: StartServer, *command: str | Path, timeout: int = 5
) -> tuple[Ended, int]:
    """Run a command in a process of its own; return how it ended, and its peak memory in octets."""
    served = server(script)
    environment = {"POP3FETCH_ACCOUNT": served.url(), "POP3FETCH_PASSWORD": PASSWORD}
    peak = run.folder / "peak"
    ended = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            PROGRAM,
            str(peak),
            *map(str, command),
            "--timeout",
            str(timeout),
        ],
        capture_output=True,
        cwd=run.folder,
        env={**run.environment, **environment},
        timeout=PATIENCE,
    )
    served.stop()
    return Ended(ended.returncode, ended.stdout, ended.stderr), int(peak.read_text()) * 1024


def numbered(form: bytes, per_block: int = 4000) -> Script:
    """Return lines that count on forever: ``form`` takes the number."""
    return flooding(
        lambda block: b"".join(
            form % number for number in range(block * per_block + 1, (block + 1) * per_block + 1)
        )
    )


def upto(form: bytes) -> bytes:
    """Return the longest list; ``form`` takes the number as often as it wants."""
    wants = form.count(b"%")
    lines = (form % ((number,) * wants) for number in range(1, MESSAGES_LIMIT + 1))
    return b"+OK\r\n" + b"".join(lines) + b".\r\n"


def ending(flood: Script) -> Script:
    def script(talk: Talk) -> None:
        flood(talk)
        hanging_up(talk)

    return script


@dataclass(frozen=True)
class Flood:
    """After ``opening``, at the reply to ``point`` or at once, comes what has no end."""

    point: bytes
    opening: bytes
    flood: Script
    status: Status = Status.BAD_DATA
    command: Sequence[str] = ("list",)


LONG = ("list", "-l")
LATER = Status.TRY_LATER  # what is taken without bound ends with the stream
FLOODS = {
    "greeting": Flood(b"", b"+OK ", flooding(ENDLESS)),
    "status line": Flood(b"LIST\r\n", b"-ERR ", flooding(ENDLESS)),
    "capabilities": Flood(b"CAPA\r\n", b"+OK\r\n", flooding(b"XTENSION\r\n" * 6000)),
    "LIST": Flood(b"LIST\r\n", b"+OK\r\n", numbered(b"%d 100000\r\n")),
    "LIST with words": Flood(b"LIST\r\n", b"+OK\r\n", numbered(b"%d 100000 " + b"w" * 60 + b"\r\n")),
    "UIDL": Flood(b"UIDL\r\n", b"+OK\r\n", numbered(b"%d uid\r\n")),
    "long UIDs": Flood(b"UIDL\r\n", b"+OK\r\n", numbered(b"%d " + b"u" * 8000 + b"\r\n", 100)),
    "a TOP": Flood(b"TOP 1 0\r\n", b"+OK\r\n", flooding(b"X-Header: x\r\n" * 5000, 2000), LATER, LONG),
    "a header": Flood(b"TOP 1 0\r\n", b"+OK\r\nSubject: ", flooding(ENDLESS, 2000), LATER, LONG),
    "a message": Flood(b"RETR 1\r\n", b"+OK\r\n", flooding(b"line\r\n" * 10000, 2000), LATER, ["get"]),
    "a line": Flood(b"RETR 1\r\n", b"+OK\r\n", flooding(ENDLESS, 2000), LATER, ["get"]),
    "dots": Flood(b"RETR 1\r\n", b"+OK\r\n", flooding(b"\r\n.." * 15000, 300), LATER, ["get"]),
}


# Of those that are alike, make test has one.
MORE = ("capabilities", "LIST with words", "UIDL", "long UIDs", "a line")


@ON_LINUX
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in MORE else name for name in FLOODS]
)
def test_what_has_no_end_has_no_memory(name: str, run: Run, server: StartServer, tmp_path: Path) -> None:
    flood = FLOODS[name]
    script: Script = in_turn(flood.opening, flood.flood)
    if flood.point:
        replies, after = {flood.point: flood.opening}, {flood.point: ending(flood.flood)}
        script = mailbox([ONE] * 3, replies=replies, after=after, capabilities=[b"TOP", b"UIDL"])
    output = ["-o", str(tmp_path / "Maildir")] if "get" in flood.command else []
    ended, peak = measured(run, script, server, *flood.command, *output, "--state-dir", tmp_path / "state")
    assert ended.status == flood.status, ended.err
    assert ended.err.startswith(b"pop3fetch: ")
    assert ended.err.count(b"\n") == 1
    assert peak < PEAK, peak / MIB
    assert litter(tmp_path / "Maildir", tmp_path / "state") == []
    assert (new_in(tmp_path / "Maildir"), recorded_in(tmp_path / "state")) == ([], set())


@ON_LINUX
@pytest.mark.parametrize("command", [pytest.param("list", marks=pytest.mark.slow), "get"])
def test_the_longest_lists_that_are_taken_stay_in_bounds(
    command: str, run: Run, server: StartServer, tmp_path: Path
) -> None:
    served = mailbox(
        [ONE] * 3,
        replies={b"LIST\r\n": upto(b"%d 123456\r\n"), b"UIDL\r\n": upto(b"%d %020d\r\n")},
        capabilities=[b"TOP", b"UIDL"],
    )
    output = ["-o", str(tmp_path / "Maildir"), "--limit", "3"] if command == "get" else []
    ended, peak = measured(run, served, server, command, *output, "--state-dir", tmp_path / "state")
    assert (ended.status, ended.err) == (0, b"")
    assert peak < LARGEST, peak / MIB


@ON_LINUX
@pytest.mark.slow
def test_the_longest_lists_are_not_kept_twice_if_they_are_requested_again(
    run: Run, server: StartServer, tmp_path: Path
) -> None:
    lists = {b"LIST\r\n": upto(b"%d 123456\r\n"), b"UIDL\r\n": upto(b"%d %050d\r\n")}
    served = mailbox(
        [ONE] * 3,
        replies={verb: reply.removesuffix(b".\r\n") + b"x\r\n.\r\n" for verb, reply in lists.items()},
        capabilities=[b"TOP", b"UIDL", b"PIPELINING"],
    )
    output = ["-o", str(tmp_path / "Maildir"), "--limit", "3", "--state-dir", str(tmp_path / "state")]
    ended, peak = measured(run, served, server, "get", *output)
    assert (ended.status, ended.err.count(b"\n")) == (Status.BAD_DATA, 2)
    assert peak < LARGEST, peak / MIB


@ON_LINUX
def test_challenges_without_end_take_no_memory(run: Run, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        talk.line()
        talk.say(b"+OK\r\nSASL LOGIN\r\n.\r\n")
        for _ in itertools.count():
            talk.say(b"+ " + b"YWFh" * 2000 + b"\r\n")

    ended, peak = measured(
        run, script, server, "list", "--auth", "login", "--allow-insecure-login", "--tls", "off"
    )
    assert ended.status in (Status.PROTOCOL, Status.NO_LOGIN), ended.err
    assert peak < PEAK, peak / MIB


@ON_LINUX
def test_many_messages_at_once_take_no_memory(run: Run, server: StartServer, tmp_path: Path) -> None:
    served = mailbox([b"Subject: big\r\n\r\n" + b"0123456789abcdef\r\n" * 400_000] * 8, sizes=[0] * 8)
    ended, peak = measured(
        run, served, server, "get", "-o", tmp_path / "Maildir", "--state-dir", tmp_path / "state"
    )
    assert (ended.status, ended.err) == (0, b"")
    assert len(new_in(tmp_path / "Maildir")) == 8
    assert peak < PEAK, peak / MIB
