"""Filters against a real Dovecot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dovecot import USERS, Dovecot
from tests.support.filtered_mail import CHOICES, EVERYTHING, MAIL
from tests.support.in_process import Here
from tests.support.served_mail import delivered

ENV = {"POP3FETCH_PASSWORD": USERS["alice"]}


@pytest.fixture
def account(dovecot: Dovecot) -> list[str]:
    """Deliver a message of each kind to alice, and return the options that lead to her mailbox."""
    dovecot.deliver("alice", [message.replace(b"\r\n", b"\n") for message in MAIL])
    return ["-a", dovecot.url("alice", tls="implicit"), "--ca-file", str(dovecot.ca_file)]


@pytest.mark.parametrize(("options", "numbers"), CHOICES)
def test_each_command_chooses_what_matches(
    here: Here, account: list[str], maildir: Path, options: str, numbers: list[int]
) -> None:
    def done(command: str, *words: str | Path) -> list[int]:
        ended = here(command, *words, *account, env=ENV)
        assert (ended.status, ended.err) == (0, b"")
        return [int(line.split(b"\t")[0]) for line in ended.out.splitlines()]

    assert done("list", *options.split()) == numbers
    assert done("list", "-l", *options.split()) == numbers
    assert done("get", "-o", maildir, *options.split()) == []
    assert delivered(maildir) == [MAIL[number - 1].replace(b"\r\n", b"\n") for number in numbers]
    assert done("list", "--new") == [number for number in EVERYTHING if number not in numbers]
    assert done("rm", *options.split()) == []
    assert len(done("list")) == len(MAIL) - len(numbers)
