"""What looks for secrets finds them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.leaks import leaks

SECRET = "secret pass-wörd"
OCTETS = SECRET.encode()


@pytest.mark.parametrize(
    "shown",
    [
        b"PASS " + OCTETS,
        OCTETS.hex().encode(),
        OCTETS.hex().upper().encode(),
        b"user:secret%20pass-w%C3%B6rd@host",
        base64.b64encode(OCTETS),
        b"+ " + base64.urlsafe_b64encode(OCTETS) + b".",
    ],
)
def test_a_secret_is_found(shown: bytes) -> None:
    assert leaks(b"< " + shown + b"\n", SECRET)


@given(ahead=st.binary(max_size=9), behind=st.binary(max_size=9))
def test_a_secret_is_found_anywhere_inside_base64(ahead: bytes, behind: bytes) -> None:
    assert leaks(b"-ERR " + base64.b64encode(ahead + OCTETS + behind), SECRET)


@pytest.mark.parametrize("shown", [b"", b"PASS (secret)", b"secret", base64.b64encode(b"\0alice\0sekret")])
def test_an_empty_secret_is_not_found(shown: bytes) -> None:
    assert not leaks(shown, SECRET)
