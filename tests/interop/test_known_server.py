"""All at once, at real servers: Dovecot answers it, and Cyrus loses what follows the login."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from pop3fetch.pop3.conversation import OVERDUE
from tests.support import cyrus as cyrus_support
from tests.support.command import Ended
from tests.support.cyrus import Cyrus
from tests.support.dovecot import USERS, Dovecot
from tests.support.in_process import Here

MAIL = [b"Subject: x\n\ntext\n"]
Traced = Callable[..., tuple[Ended, list[str]]]


@pytest.fixture
def traced(here: Here, tmp_path: Path) -> Traced:
    """Return what runs a command under -vv; it returns what was sent and received, line by line."""

    def run(command: str, *arguments: str, password: str) -> tuple[Ended, list[str]]:
        state = ("--state-dir", tmp_path / "state")
        ended = here(command, *arguments, *state, "-vv", env={"POP3FETCH_PASSWORD": password})
        return ended, [line for line in ended.err.decode().splitlines() if line[:2] in ("> ", "< ")]

    return run


def ahead(lines: list[str]) -> list[str]:
    """Return the commands that were sent before anything was received on the last connection."""
    greeting = max(number for number, line in enumerate(lines) if "ready" in line)
    first = next((n for n in range(greeting - 1, -1, -1) if lines[n].startswith("< ")), -1)
    return [line.split()[1] for line in lines[first + 1 : greeting]]


@pytest.fixture(scope="module")
def plain_cyrus(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cyrus]:
    """Run a Cyrus that offers nothing but PLAIN."""
    if reason := cyrus_support.missing():
        pytest.skip(reason)
    with Cyrus.start(tmp_path_factory.mktemp("cyrus"), authority, "PLAIN") as cyrus:
        yield cyrus


@pytest.fixture(scope="module")
def plain_dovecot(
    needs_dovecot: None, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dovecot]:
    """Run a Dovecot that offers what it does by default: PLAIN."""
    folder = tmp_path_factory.mktemp("dovecot")
    with Dovecot.start(folder, settings="auth_mechanisms = plain", ca=authority) as dovecot:
        dovecot.deliver("bob", MAIL)
        yield dovecot


@pytest.mark.parametrize(
    ("command", "following"),
    [
        (["stat"], ["STAT", "QUIT"]),
        (["list"], ["CAPA", "LIST", "UIDL"]),
        (["get", "--mark"], ["CAPA", "LIST", "UIDL"]),
    ],
    ids=["stat", "list", "get"],
)
def test_dovecot_answers_all_at_once(
    traced: Traced, plain_dovecot: Dovecot, command: list[str], following: list[str]
) -> None:
    account = ["-a", plain_dovecot.url("bob", tls="implicit"), "--ca-file", str(plain_dovecot.ca_file)]
    first, _ = traced(*command, *account, password=USERS["bob"])
    again, lines = traced(*command, *account, password=USERS["bob"])
    assert (first.status, again.status) == (0, 0), again.err
    assert again.out == first.out
    assert ahead(lines) == ["CAPA", "AUTH", *following]
    assert sum("AUTH" in line for line in lines) == 1


def test_dovecot_refuses_a_wrong_password_once(traced: Traced, plain_dovecot: Dovecot) -> None:
    account = ["-a", plain_dovecot.url("bob", tls="implicit"), "--ca-file", str(plain_dovecot.ca_file)]
    assert traced("stat", *account, password=USERS["bob"])[0].status == 0
    ended, lines = traced("stat", *account, password="wrong")
    assert ended.status == 77
    assert sum("> AUTH" in line for line in lines) == 1


def test_cyrus_is_met_again_step_by_step_and_this_is_remembered(
    traced: Traced, plain_cyrus: Cyrus, ca_file: Path
) -> None:
    address = ["-H", plain_cyrus.host, "-p", str(plain_cyrus.port), "-u", cyrus_support.USER]
    account = [*address, "--ca-file", str(ca_file)]
    logins = []
    for _ in range(3):
        begun = time.monotonic()
        ended, lines = traced("stat", *account, password=cyrus_support.PASSWORD)
        assert (ended.status, ended.out) == (0, b"0\t0\n"), ended.err
        assert time.monotonic() - begun < 2 * OVERDUE
        logins.append(sum("> AUTH" in line for line in lines))
    assert logins == [1, 2, 1]
