"""Errors of close() at the very end: what was only read, or is synced, cannot be lost by them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pop3fetch.delivery.maildir import Maildir
from pop3fetch.record.place import RecordPlace
from tests.support.delivering import TAG


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each close() fail, as on a file system that is gone; return what was closed."""
    closed: list[int] = []
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        closed.append(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "close", fail)
    return closed


def test_a_lock_that_cannot_be_closed_is_not_an_error(tmp_path: Path, failing: list[int]) -> None:
    place = RecordPlace(tmp_path, "alice@example.org")
    place.take().release()
    assert len(failing) == 1
    place.take().release()


def test_a_maildir_that_cannot_be_closed_is_not_an_error(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    maildir = Maildir(tmp_path / "Maildir", TAG)
    maildir.prepare()
    closed: list[int] = request.getfixturevalue("failing")
    maildir.close()
    assert len(closed) == 2
