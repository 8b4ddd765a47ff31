"""Which recipients have accepted a message."""

from __future__ import annotations

from pathlib import Path

from pop3fetch.delivery.servers.acceptances import Acceptances
from pop3fetch.messages import Key

ONE, COPY, TWO = Key(b"one\xff ", 0), Key(b"one\xff ", 1), Key(b"two", 0)


def test_an_acceptance_outlives_the_run(tmp_path: Path) -> None:
    file = tmp_path / "accepted"
    first = Acceptances(file)
    assert not first.has(ONE, "bob")
    first.keep(ONE, "bob")  # and the run dies here

    later = Acceptances(file)
    asked = [(ONE, "bob"), (ONE, "carol"), (COPY, "bob"), (TWO, "bob")]
    assert [later.has(*each) for each in asked] == [True, False, False, False]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_none(tmp_path: Path) -> None:
    file = tmp_path / "accepted"
    Acceptances(file).keep(ONE, "bob")
    file.write_bytes(file.read_bytes() + b"74776f 0 bo")
    later = Acceptances(file)
    assert later.has(ONE, "bob")
    assert not later.has(TWO, "bo")


def test_what_is_delivered_to_all_is_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "accepted"
    first = Acceptances(file)
    for key in (ONE, COPY):
        first.keep(key, "bob")
    first.forget(ONE)
    first.close()
    assert Acceptances(file).has(COPY, "bob")
    assert not Acceptances(file).has(ONE, "bob")

    last = Acceptances(file)
    last.forget(COPY)
    last.close()
    assert not file.exists()


def test_without_several_recipients_there_is_no_file(tmp_path: Path) -> None:
    accepted = Acceptances(tmp_path / "accepted")
    accepted.forget(ONE)
    accepted.close()
    assert list(tmp_path.iterdir()) == []
