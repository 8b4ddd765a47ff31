"""What is known of a server from earlier sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.record.place import KNOWN_FOR, LOSES_EARLY_INPUT, KnownServer, RecordPlace
from tests.support.file_modes import mode

NOW = 1_700_000_000.5


@pytest.fixture
def place(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", "alice@example.org")


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
