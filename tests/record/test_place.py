"""The place of a record: its name, its lock, and what is known of the server from earlier sessions."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import RecordError, RecordLocked
from pop3fetch.record.place import KNOWN_FOR, LOSES_EARLY_INPUT, KnownServer, RecordPlace, file_name
from pop3fetch.record.store import Store
from tests.support.file_modes import mode

NOW = 1_700_000_000.5


@pytest.fixture
def place(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", "alice@example.org")


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["alice@example.org", "alice+lists@mail.example.org", "a_b-c~d=e@example.org"],
)
def test_an_ordinary_address_is_its_file_name(address: str) -> None:
    assert file_name(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "../../etc/passwd@example.org",
        "/etc/passwd@example.org",
        ".@example.org",
        "..",
        "@",
        "",
        "alice@example.org/../x",
        "Alice@Example.ORG",
        "alice@[2001:db8::1]:1110",
        "nul\0@example.org",
        "line\nend@example.org",
        "\udcff\udcfe@example.org",
        "Jörg@exämple.org",
        "日本@例え.jp",
        "%2e%2e@example.org",
        "a" * 1000 + "@example.org",
        "con@example.org ",
        "\x1b[31m@example.org",
    ],
)
def test_a_hostile_address_is_one_harmless_file_name(address: str, tmp_path: Path) -> None:
    place = RecordPlace(tmp_path / "state", address)
    Store(place).close()
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path / "state"}
    assert place.name.isascii()
    assert place.name.isprintable()
    assert len(f"{place.name}.sqlite-journal") <= 255


CLOSE = [
    "alice@example.org",
    "Alice@example.org",
    "ALICE@example.org",
    "alice@Example.org",
    "alice@example.org:1110",
    "alice@example.org%3A1110",
    "alice%40example.org",
    "a" * 200 + "@example.org",
    "a" * 201 + "@example.org",
    "\udcff@example.org",
    "\xff@example.org",
]


def test_no_two_addresses_share_a_file_even_if_case_does_not_count() -> None:
    names = {file_name(address).lower() for address in CLOSE}
    assert len(names) == len(CLOSE)


NAMES = {
    "alice@example.org:1110": "alice@example.org%3A1110-512c8840f896",
    "Alice@Example.ORG": "Alice@Example.ORG-0fff1e932df1",
    "alice@[2001:db8::1]:1110": "alice@%5B2001%3Adb8%3A%3A1%5D%3A1110-35643f8910e9",
    ".alice@example.org": "%2Ealice@example.org-9e1aa8c42ae2",
    "Jörg@exämple.org": "J%C3%B6rg@ex%C3%A4mple.org-724a8f77e4aa",
    "\udcff@example.org": "%FF@example.org-bd9dd02610d7",
    "a b%/\0@example.org": "a%20b%25%2F%00@example.org-bb9faef3acd3",
}


@pytest.mark.parametrize(("address", "name"), NAMES.items())
def test_a_record_keeps_its_name(address: str, name: str) -> None:
    """In every version: under another name, everything would be new."""
    assert file_name(address) == name


@given(address=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_characters_of_an_address_are_percent_encoded(address: str) -> None:
    begin = quote(f"a{address}", safe="@+=")[:120]
    assert file_name(f"a{address}").startswith(begin)


@given(address=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_address_has_a_file_name_of_letters_that_every_file_system_takes(address: str) -> None:
    name = file_name(address)
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~@+=%")
    assert not name.startswith(".")
    assert len(name) < 140


# -- the lock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_flock_the_record_is_locked_by_fcntl(
    place: RecordPlace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    locked: list[int] = []
    monkeypatch.setattr("fcntl.lockf", lambda file, how: locked.append(how))
    place.take().release()
    assert locked == [fcntl.LOCK_EX | fcntl.LOCK_NB]

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(RecordError, match="has no locks") as caught:
        place.take()
    assert not isinstance(caught.value, RecordLocked)


def test_a_record_locked_by_fcntl_is_another_runs(
    place: RecordPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_flock(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    def taken(file: int, how: int) -> None:
        raise PermissionError(errno.EACCES, "it is locked")

    monkeypatch.setattr("fcntl.flock", no_flock)
    monkeypatch.setattr("fcntl.lockf", taken)
    with pytest.raises(RecordLocked):
        place.take()


# -- the server ------------------------------------------------------------------------------------


def test_nothing_is_known_at_first(place: RecordPlace) -> None:
    assert not KnownServer(place).knows(LOSES_EARLY_INPUT, NOW)
    assert not place.folder.exists()


@pytest.mark.parametrize(
    ("later", "known"), [(0, True), (KNOWN_FOR - 1, True), (KNOWN_FOR, False), (-10, False)]
)
def test_a_fact_is_known_for_a_month(place: RecordPlace, later: float, known: bool) -> None:
    KnownServer(place).remember(LOSES_EARLY_INPUT, NOW)
    assert bool(KnownServer(place).knows(LOSES_EARLY_INPUT, NOW + later)) is known
    (file,) = place.folder.iterdir()
    assert mode(file) == 0o600


def test_facts_do_not_displace_each_other(place: RecordPlace) -> None:
    for fact in ("one", "two", "one"):
        KnownServer(place).remember(fact, NOW)
    assert all(KnownServer(place).knows(fact, NOW) for fact in ("one", "two"))


@pytest.mark.parametrize("octets", [b"", b"nonsense", b"loses-early-input\n", b"a b c\n", b"\xff 1\n"])
def test_a_torn_file_is_ignored(place: RecordPlace, octets: bytes) -> None:
    KnownServer(place).remember("another", NOW)
    (file,) = place.folder.iterdir()
    file.write_bytes(octets)
    assert not KnownServer(place).knows(LOSES_EARLY_INPUT, NOW)


def test_a_folder_that_cannot_be_made_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    KnownServer(RecordPlace(tmp_path / "file" / "state", "a@b")).remember(LOSES_EARLY_INPUT, NOW)
