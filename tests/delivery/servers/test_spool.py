"""A message on its way to a mail server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pop3fetch.delivery.servers.spool import IN_MEMORY, SpooledDraft, header_of
from pop3fetch.errors import DeliveryError
from tests.support.delivering import message, no_file_longer_than
from tests.support.segments import in_pieces

LINE_ENDS = {
    b"": b"",
    b"a\r\nb\r\n": b"a\r\nb\r\n",
    b"a\nb\n": b"a\r\nb\r\n",
    b"\n\n": b"\r\n\r\n",
    b"a\r\r\n": b"a\r\r\n",
    b"a\n\r\n": b"a\r\n\r\n",
    b"a\r": b"a\r",
    b"a\rb\n\n.\n": b"a\rb\r\n\r\n.\r\n",
    b"a\n.\r\nMAIL FROM:<>\r\n": b"a\r\n.\r\nMAIL FROM:<>\r\n",
}


Spooled = Callable[..., SpooledDraft]


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[Spooled]:
    """Write messages in blocks of a size."""
    drafts: list[SpooledDraft] = []

    def write(octets: bytes, size: int = 1000) -> SpooledDraft:
        drafts.append(SpooledDraft(message(), "lmtp://localhost", tmp_path))
        for block in in_pieces(octets, [size]):
            drafts[-1].write(block)
        return drafts[-1]

    yield write
    for draft in drafts:
        draft.discard()


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("octets", LINE_ENDS)
def test_every_line_ends_with_crlf(spooled: Spooled, octets: bytes, size: int) -> None:
    draft = spooled(octets, size)
    assert b"".join(draft.blocks()) == LINE_ENDS[octets]
    assert (draft.octets, draft.length) == (len(octets), len(LINE_ENDS[octets]))
    assert draft.ends_with_line == LINE_ENDS[octets].endswith(b"\r\n")


def test_what_an_envelope_needs_to_know_is_noted(spooled: Spooled) -> None:
    plain, eight, nul = (spooled(octets, 1) for octets in (b"a\n", b"\xe4\n", b"\0\n"))
    assert [draft.has_eight_bits for draft in (plain, eight, nul)] == [False, True, False]
    assert [draft.has_nul for draft in (plain, eight, nul)] == [False, False, True]


def test_a_large_message_is_in_a_file_without_a_name(spooled: Spooled, tmp_path: Path) -> None:
    draft = spooled(b"x" * (IN_MEMORY + 1))
    assert os.listdir(tmp_path) == []
    assert draft.length == IN_MEMORY + 1
    assert [len(block) for block in draft.blocks(IN_MEMORY)] == [IN_MEMORY, 1]


def test_a_full_disk_ends_the_delivery(tmp_path: Path) -> None:
    draft = SpooledDraft(message(), "lmtp://localhost", tmp_path)
    with no_file_longer_than(IN_MEMORY), pytest.raises(DeliveryError, match="lmtp://localhost"):
        for _ in range(3):
            draft.write(b"x" * IN_MEMORY)
    draft.discard()


@pytest.mark.parametrize(
    ("head", "header"),
    [
        (b"A: b\r\nC: d\r\n\r\nReceived: x\r\n\r\n", b"A: b\r\nC: d"),
        (b"\r\nA: b\r\n\r\n", b""),
        (b"A: b", b"A: b"),
    ],
)
def test_the_header_ends_at_the_first_empty_line(head: bytes, header: bytes) -> None:
    assert header_of(head) == header
