"""The night of `make night`, in this process: no start to wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.night import EVERY, OUTAGE, OUTAGES, SILENT_FOR, flaws, night, place_in
from tests.support.clock import Clock
from tests.support.in_process import Here


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POP3FETCH_PASSWORD", "secret")


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_night_with_an_outage_is_two_lines(here: Here, clock: Clock, tmp_path: Path, outage: str) -> None:
    with place_in(tmp_path) as place:
        seen = night(place, outage, here, clock)
        assert flaws(seen, place) == []
    said = {time: ended.err for time, ended in seen if ended.err}
    assert list(said) == [SILENT_FOR, OUTAGE]
    assert b" (%d runs): " % (SILENT_FOR // EVERY + 1) in said[SILENT_FOR]
    assert b" (%d runs)\n" % (OUTAGE // EVERY) in said[OUTAGE]


def test_a_night_without_patience_has_flaws(here: Here, clock: Clock, tmp_path: Path) -> None:
    def impatient(*arguments: str) -> object:
        return here(*arguments[: arguments.index("--patience")])

    with place_in(tmp_path) as place:
        seen = night(place, "in use", impatient, clock)  # type: ignore[arg-type]
        assert len(flaws(seen, place)) > OUTAGE // EVERY
