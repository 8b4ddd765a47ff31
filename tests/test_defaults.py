"""The words that a user chooses among."""

from __future__ import annotations

import socket

import pytest

from pop3fetch.defaults import FAMILIES, did_you_mean
from pop3fetch.net.dial import FAMILY


def test_every_family_is_one_of_the_sockets() -> None:
    assert FAMILY == {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
    assert tuple(FAMILY) == FAMILIES


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("hots", ["port", "host"], "'host'"),
        ("zzz", ["port", "host"], ""),
        ("zzz", [], ""),
        ("lst", ["list", "login"], "'list'"),
        ("username", ["user", "host"], "'user'"),
        ("pass", ["password_file", "password"], "'password'"),
        ("dryrun", ["dry-run"], "'dry-run'"),
        ("--jsn", ["--json", "--jobs"], "--json"),
        ("--new", ["--yes", "--all"], ""),
        ("--no", ["--no-pipelining"], ""),
        ("fetch", ["get", "caps"], ""),
    ],
)
def test_a_likely_slip_is_answered_with_the_word(word: str, known: list[str], meant: str) -> None:
    assert did_you_mean(word, known) == (f"; did you mean {meant}?" if meant else "")
