"""The form of a message that outlives an IMAP server."""

from __future__ import annotations

import pytest

from pop3fetch.delivery.servers.normal_form import digest_of
from tests.support.segments import in_pieces

WHOLE = b"A: \xe4\r\nB: b\r\n\r\n\xe4\0\r\n\r\nend\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "other",
    [
        WHOLE.replace(b"\r", b""),
        WHOLE.replace(b"\0", b"\x80"),
        WHOLE.replace(b"A: \xe4", b"A: X"),
        WHOLE + b"\r\n\r\n",
        WHOLE.removesuffix(b"\r\n"),
        WHOLE.replace(b"b\r\n", b"b\r\r\n"),
    ],
)
def test_what_servers_change_changes_nothing(other: bytes, size: int) -> None:
    assert digest_of(in_pieces(other, [size])) == digest_of([WHOLE])


@pytest.mark.parametrize(
    "other",
    [
        WHOLE.replace(b"end", b"End"),
        WHOLE.replace(b"\n\xe4\0", b"\nX\0"),
        WHOLE.replace(b"\r\n\r\nend", b"\r\nend"),
        b"\r\n" + WHOLE,
        b"",
    ],
)
def test_what_they_do_not_change_does(other: bytes) -> None:
    assert digest_of([other]) != digest_of([WHOLE])


@pytest.mark.parametrize("size", [1, 1000])
def test_without_a_header_everything_is_the_body(size: int) -> None:
    assert digest_of(in_pieces(b"\r\n\xe4\r\n", [size])) != digest_of([b"\r\nX\r\n"])
    assert digest_of(in_pieces(b"\xe4", [size])) == digest_of([b"X"])
