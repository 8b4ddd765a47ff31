"""The commands against a real Dovecot: every way in, and octets compared with a client of the tests' own."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.bare_client import BareClient
from tests.support.command import Run
from tests.support.dovecot import USERS, Dovecot
from tests.support.in_process import Here
from tests.support.served_mail import delivered

MESSAGES = [
    b"From: Bob <bob@example.com>\nTo: alice@example.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"
    b"Date: Thu, 12 Feb 2026 11:11:00 +0100\nMessage-ID: <1@example.com>\n\nHello.\n",
    b"Subject: dots\n\n.\n..\n.leading\n...\n",
    b"Subject: octets\n\n8-bit \xe9\xff, NUL \0, ESC \x1b[31m, bare CR \r in a line, C1 \x9b\n",
    b"Subject: a long line\n\n" + b"x" * 100_000 + b"\n",
    b"Subject: no line end\n\nand then",
    b"\n\nno header\n",
]
LARGE = 64 * 1024 * 1024  # octets
MOST_MEMORY = 60 * 1024 * 1024  # octets


@dataclass(frozen=True)
class Way:
    """A user with mail, and what leads to it."""

    user: str
    tls: str
    options: tuple[str, ...] = ()

    def arguments(self, dovecot: Dovecot) -> list[str]:
        return ["-a", dovecot.url(self.user, tls=self.tls), "--ca-file", str(dovecot.ca_file), *self.options]

    @property
    def env(self) -> dict[str, str]:
        return {"POP3FETCH_PASSWORD": USERS[self.user]}


CLEAR_TEXT = ("--tls", "off", "--auth", "user", "--allow-insecure-login")
WAYS = {
    "implicit TLS": Way("alice", "implicit"),
    "STLS": Way("alice", "auto", ("--tls", "starttls")),
    "APOP": Way("bob", "auto", ("--tls", "off")),
    "clear text": Way("bob", "auto", CLEAR_TEXT),
    "one at a time": Way("alice", "implicit", ("--no-pipelining",)),
}
BOB = Way("bob", "auto")


@dataclass(frozen=True)
class OnTheWire:
    """A maildrop, as a client that is not ours sees it."""

    stat: bytes
    sizes: list[bytes]
    messages: list[bytes]


def on_the_wire(dovecot: Dovecot, user: str) -> OnTheWire:
    context = ssl.create_default_context(cafile=str(dovecot.ca_file))
    with BareClient(dovecot.host, dovecot.pop3s_port, context) as client:
        client.login(user, USERS[user])
        stat = client.ask("STAT").split()[1:]
        sizes = client.ask_long("LIST").splitlines()
        messages = [client.ask_long(f"RETR {number}") for number in range(1, len(sizes) + 1)]
        client.ask("QUIT")
    return OnTheWire(b"\t".join(stat), sizes, messages)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_the_commands_work(here: Here, dovecot: Dovecot, way: Way, maildir: Path) -> None:
    dovecot.deliver(way.user, MESSAGES)
    wire = on_the_wire(dovecot, way.user)

    def done(command: str, *options: str | Path) -> bytes:
        ended = here(command, *options, *way.arguments(dovecot), env=way.env)
        assert (ended.status, ended.err) == (0, b"")
        return ended.out

    assert done("stat") == wire.stat + b"\n"
    listed = [line.split(b"\t") for line in done("list").splitlines()]
    assert [b" ".join(columns[:2]) for columns in listed] == wire.sizes
    first = json.loads(done("list", "-l", "--json").splitlines()[0])
    assert (first["subject"], first["from"]) == ("Grüße", "Bob <bob@example.com>")
    assert "\t2026-02-12T11:11:00+01:00\tBob <bob@example.com>\tGrüße\n" in done("list", "-l").decode()

    assert done("get", "-o", maildir, "--crlf") == b""
    assert delivered(maildir) == wire.messages
    assert done("get", "-o", maildir) == b""
    assert len(delivered(maildir)) == len(MESSAGES), "nothing is new"
    assert done("list", "--new") == b""
    assert done("get", "-o", "-", "3") == wire.messages[2].replace(b"\r\n", b"\n")
    assert done("get", "-o", "-", "--crlf", "--all") == b"".join(wire.messages)

    uid = listed[3][2].decode()
    assert done("rm", "1-2", f"uid:{uid}") == b""
    assert on_the_wire(dovecot, way.user).messages == [wire.messages[number] for number in (2, 4, 5)]
    assert b"UIDL\n" in done("caps")
    assert "TOP" in json.loads(done("caps", "--json"))


def test_lf_is_what_comes_to_the_disk(here: Here, dovecot: Dovecot, maildir: Path) -> None:
    dovecot.deliver("bob", MESSAGES)
    assert here("get", "-o", maildir, *BOB.arguments(dovecot), env=BOB.env).status == 0
    wire = on_the_wire(dovecot, "bob")
    assert delivered(maildir) == [message.replace(b"\r\n", b"\n") for message in wire.messages]


def test_what_was_delivered_is_deleted(here: Here, dovecot: Dovecot, maildir: Path) -> None:
    dovecot.deliver("bob", MESSAGES)
    ended = here("get", "--delete", "-o", maildir, *BOB.arguments(dovecot), env=BOB.env)
    assert (ended.status, ended.err, len(delivered(maildir))) == (0, b"", len(MESSAGES))
    assert dovecot.count("bob") == 0


@pytest.mark.parametrize("options", [(), ("--no-pipelining",)])
def test_a_dot_at_the_very_beginning_which_dovecot_does_not_double_costs_no_mail(
    here: Here, dovecot: Dovecot, maildir: Path, options: tuple[str, ...]
) -> None:
    hidden, alone, usual = b".hidden\n\ntext\n", b".\nnot seen\n", MESSAGES[0]
    dovecot.deliver("bob", [hidden, alone, usual])
    ended = here("get", "--delete", "-o", maildir, *options, *BOB.arguments(dovecot), env=BOB.env)
    assert (ended.status, ended.err.count(b"\n")) == (Status.BAD_DATA, 1)
    assert ended.err.startswith(b"pop3fetch: message 2 stays on the server: ")
    assert delivered(maildir) == [hidden, usual]
    assert dovecot.count("bob") == 1


def test_without_consent_no_password_crosses_in_clear(here: Here, dovecot: Dovecot) -> None:
    way = Way("bob", "auto", ("--tls", "off", "--auth", "plain"))
    ended = here("stat", *way.arguments(dovecot), env=way.env)
    assert ended.status == Status.NO_LOGIN
    assert b"--allow-insecure-login" in ended.err


@pytest.mark.parametrize("tls", ["implicit", "auto"])
def test_a_wrong_password_is_refused(here: Here, dovecot: Dovecot, tls: str) -> None:
    ended = here("list", *Way("bob", tls).arguments(dovecot), env={"POP3FETCH_PASSWORD": "wrong"})
    assert (ended.status, ended.out) == (Status.NO_LOGIN, b"")
    assert ended.err.startswith(b"pop3fetch: the server refused the login of bob ")
    assert b"wrong" not in ended.err
    assert ended.err.count(b"\n") == 1


def test_a_missing_message_is_missed_first(here: Here, dovecot: Dovecot, maildir: Path) -> None:
    dovecot.deliver("bob", MESSAGES)
    for command in (["get", "--delete", "-o", str(maildir)], ["rm"]):
        ended = here(*command, "1", "7", *BOB.arguments(dovecot), env=BOB.env)
        assert ended.status == Status.NO_MESSAGE
    assert dovecot.count("bob") == len(MESSAGES)
    assert delivered(maildir) == []


def test_a_certificate_of_an_unknown_authority_can_be_pinned(here: Here, dovecot: Dovecot) -> None:
    arguments = ["stat", "-a", dovecot.url("bob")]
    refused = here(*arguments, env=BOB.env)
    assert refused.status == Status.PROTOCOL
    [fingerprint] = re.findall(rb"--tls-fingerprint ([0-9a-f]{64})", refused.err)
    assert here(*arguments, "--tls-fingerprint", fingerprint.decode(), env=BOB.env).out == b"0\t0\n"
    assert here(*arguments, "--tls-fingerprint", "0" * 64, env=BOB.env).status == Status.PROTOCOL


@pytest.mark.parametrize(
    "way",
    [
        Way("bob", "implicit"),
        Way("bob", "auto"),
        Way("bob", "implicit", ("--auth", "plain")),
        Way("bob", "implicit", ("--auth", "login")),
        Way("bob", "auto", ("--tls", "starttls", "--auth", "cram-md5")),
        Way("bob", "auto", CLEAR_TEXT),
    ],
    ids=["SCRAM", "APOP", "PLAIN", "LOGIN", "CRAM-MD5", "USER"],
)
def test_a_trace_has_no_secret(here: Here, dovecot: Dovecot, way: Way) -> None:
    ended = here("stat", "-vv", *way.arguments(dovecot), env=way.env)
    assert ended.status == 0
    assert b"> STAT\n" in ended.err
    # "builder": plain, in hexadecimal, and at each of the three places that it may have in base64.
    for secret in (b"builder", b"6275696c646572", b"YnVpbGRl", b"J1aWxkZX", b"idWlsZGVy"):
        assert secret not in ended.err


# A process counts the memory of the one that it was forked from: so a small one is in between.
MEASURED = """\
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_a_large_message_needs_little_memory(run: Run, dovecot: Dovecot, maildir: Path) -> None:
    line = b"0123456789abcdef" * 4 + b"\n"
    message = b"Subject: large\n\n" + line * (LARGE // len(line))
    dovecot.deliver("bob", [message])
    arguments = Way("bob", "implicit").arguments(dovecot)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", MEASURED, *run.command("get", "-o", maildir, *arguments)],
        env={**run.environment, **BOB.env},
        capture_output=True,
        check=True,
    )
    assert delivered(maildir) == [message]
    assert int(ended.stdout) * 1024 < MOST_MEMORY
