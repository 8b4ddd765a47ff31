"""The octets of a secret."""

from __future__ import annotations

import pytest

from pop3fetch.account.secret import checked, first_line, without_line_end
from pop3fetch.errors import NoPassword
from pop3fetch.status import Status


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


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("s", "s"),
        ("s\n", "s"),
        ("s\r\n", "s"),
        ("s\n\n", "s\n"),
        ("s\r", "s\r"),
        ("s\n\r", "s\n\r"),
        ("", ""),
    ],
)
def test_one_trailing_line_end_is_dropped(text: str, without: str) -> None:
    assert without_line_end(text) == without


@pytest.mark.parametrize("control", ["\t", "\n", "\r", "\0", "\x1b", "\x7f"])
def test_a_control_character_is_an_error_that_names_the_source(control: str) -> None:
    with pytest.raises(NoPassword) as caught:
        checked(f"s3cret{control}", "~/.netrc")
    assert caught.value.exit_status == Status.NO_LOGIN
    assert str(caught.value).startswith("the password from ~/.netrc contains a control character")
    assert "s3cret" not in str(caught.value)


def test_half_a_surrogate_pair_is_an_error_that_names_the_source() -> None:
    with pytest.raises(NoPassword, match="the keyring contains half a surrogate pair") as caught:
        checked("s3cret\ud83d", "the keyring")
    assert caught.value.__cause__ is None


def test_any_other_octets_are_a_password() -> None:
    assert checked("p\udca7 ß\x85", "~/.netrc") == "p\udca7 ß\x85"
