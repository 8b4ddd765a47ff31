"""The words that a user chooses among."""

from __future__ import annotations

import socket

from pop3fetch.defaults import FAMILIES, did_you_mean
from pop3fetch.net.dial import FAMILY


def test_every_family_is_one_of_the_sockets() -> None:
    assert FAMILY == {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
    assert tuple(FAMILY) == FAMILIES


def test_the_nearest_word_is_proposed() -> None:
    assert did_you_mean("hots", ["port", "host"]) == "; did you mean 'host'?"
    assert did_you_mean("zzz", ["port", "host"]) == ""
