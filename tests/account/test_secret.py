"""The octets of a secret."""

from __future__ import annotations

import pytest

from pop3fetch.account.secret import first_line


@pytest.mark.parametrize(
    ("octets", "line"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b"s3cret\r\nmore\n", "s3cret"),
        (b"s3cret\r", "s3cret\r"),
        (b" s3 cret \n", " s3 cret "),
        (b"s3cret\r\r\n", "s3cret\r"),
        (b"p\xa7ss\n", "p\udca7ss"),
        ("pä\x85ss\n".encode(), "pä\x85ss"),
        (b"", ""),
        (b"\ns3cret", ""),
    ],
)
def test_first_line(octets: bytes, line: str) -> None:
    assert first_line(octets) == line
