"""Which recipients have accepted a message."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pop3fetch.delivery.servers.acceptances import Acceptances
from pop3fetch.delivery.servers.spool import SpooledDraft
from pop3fetch.errors import DeliveryError
from pop3fetch.headers.fields import identity
from pop3fetch.messages import Message
from tests.support.delivering import no_file_longer_than

LMTP, OTHER = "lmtp://one.example", "lmtp://two.example"
HELLO = b"Subject: hello\r\n\r\nhello\r\n"
NAMED = b"Message-ID: <1@example.org>\r\n" + HELLO

Begin = Callable[..., SpooledDraft]


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Begin]:
    """Return what makes a draft of a message."""
    (tmp_path / "spool").mkdir()
    all_drafts: list[SpooledDraft] = []

    def draft(uid: bytes, occurrence: int = 0, octets: bytes = HELLO) -> SpooledDraft:
        begun = SpooledDraft(Message(0, len(octets), uid, occurrence), LMTP, tmp_path / "spool")
        begun.write(octets)
        begun.identity = identity(octets)
        all_drafts.append(begun)
        return begun

    yield draft
    for begun in all_drafts:
        begun.discard()


def accepted(folder: Path, destination: str = LMTP) -> Acceptances:
    return Acceptances(folder / "accepted", destination)


def test_an_acceptance_outlives_the_run(tmp_path: Path, draft: Begin) -> None:
    one = draft(b"one\xff ")
    first = accepted(tmp_path)
    assert not first.has(one, "bob")
    first.keep(one, "bob")  # and the run dies here

    later = accepted(tmp_path)
    asked = [(one, "bob"), (one, "carol"), (draft(b"one\xff ", 1), "bob"), (draft(b"two"), "bob")]
    assert [later.has(*each) for each in asked] == [True, False, False, False]
    assert (tmp_path / "accepted").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("octets", [HELLO, NAMED], ids=["weak", "named"])
def test_another_message_with_the_unique_id_is_not_accepted(
    tmp_path: Path, draft: Begin, octets: bytes
) -> None:
    accepted(tmp_path).keep(draft(b"1", octets=octets), "bob")
    other = octets.replace(b"<1@", b"<2@") if octets is NAMED else octets.replace(b"o\r\n", b"a\r\n")
    assert [accepted(tmp_path).has(draft(b"1", octets=each), "bob") for each in (octets, other)] == [
        True,
        False,
    ]


def test_a_field_that_the_server_adds_does_not_make_it_another_message(tmp_path: Path, draft: Begin) -> None:
    accepted(tmp_path).keep(draft(b"1", octets=NAMED), "bob")
    assert accepted(tmp_path).has(draft(b"1", octets=b"X-UID: 1\r\n" + NAMED), "bob")


def test_a_recipient_of_another_server_has_not_accepted(tmp_path: Path, draft: Begin) -> None:
    accepted(tmp_path).keep(draft(b"1"), "bob")
    assert not accepted(tmp_path, OTHER).has(draft(b"1"), "bob")


def test_a_torn_line_is_none_wherever_it_ends(tmp_path: Path, draft: Begin) -> None:
    file = tmp_path / "accepted"
    accepted(tmp_path).keep(draft(b"one"), "bob")
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        later = accepted(tmp_path)
        assert later.has(draft(b"one"), "bob") is (length == len(whole) - 1)
        later.keep(draft(b"two"), "carol")
        asked = [(draft(b"two"), "carol"), (draft(b"two"), "bob")]
        assert [accepted(tmp_path).has(*each) for each in asked] == [True, False]


def test_a_full_disk_spoils_no_later_run(tmp_path: Path, draft: Begin) -> None:
    accepted(tmp_path).keep(draft(b"one"), "bob")
    first = draft(b"two")
    with no_file_longer_than(os.path.getsize(tmp_path / "accepted") + 7), pytest.raises(DeliveryError):
        accepted(tmp_path).keep(first, "bob")
    accepted(tmp_path).keep(draft(b"three"), "bob")
    uids = (b"one", b"two", b"three")
    assert [accepted(tmp_path).has(draft(uid), "bob") for uid in uids] == [True, False, True]


def test_what_is_delivered_to_all_is_forgotten(tmp_path: Path, draft: Begin) -> None:
    one, copy = draft(b"one"), draft(b"one", 1)
    first = accepted(tmp_path)
    for each in (one, copy):
        first.keep(each, "bob")
    first.forget(one.message.key)
    first.close()
    assert accepted(tmp_path).has(copy, "bob")
    assert not accepted(tmp_path).has(one, "bob")

    last = accepted(tmp_path)
    last.forget(copy.message.key)
    last.close()
    assert not (tmp_path / "accepted").exists()


@pytest.mark.parametrize(("uids", "left"), [([b"one"], [False, False, True]), ([], [False, False, False])])
def test_messages_are_forgotten_by_their_unique_ids(
    tmp_path: Path, draft: Begin, uids: list[bytes], left: list[bool]
) -> None:
    messages = [draft(b"one"), draft(b"one", 1), draft(b"two")]
    for each in messages:
        accepted(tmp_path).keep(each, "bob")
    edited = accepted(tmp_path, "")
    edited.forget_uids(uids)
    edited.close()
    assert [accepted(tmp_path).has(each, "bob") for each in messages] == left
    assert (tmp_path / "accepted").exists() == any(left)


def test_without_several_recipients_there_is_no_file(tmp_path: Path, draft: Begin) -> None:
    first = accepted(tmp_path)
    first.forget(draft(b"one").message.key)
    first.close()
    assert not (tmp_path / "accepted").exists()
