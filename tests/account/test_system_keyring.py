"""The session bus that leads to the keyring, if no variable names it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pop3fetch.account import system_keyring
from pop3fetch.account.system_keyring import session_bus

USER = os.geteuid()


@pytest.fixture
def bus(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the bus of this user, which is a socket."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setattr(system_keyring, "RUNTIME_FOLDERS", folder)
    bus = folder / str(USER) / "bus"
    bus.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(bus))
        yield bus


def test_the_bus_of_the_user_is_used(bus: Path) -> None:
    assert session_bus(USER) == f"unix:path={bus}"


def test_another_user_has_another_bus(bus: Path) -> None:
    assert session_bus(USER + 1) is None


def test_a_bus_that_belongs_to_another_user_is_not_used(bus: Path) -> None:
    bus.parent.rename(bus.parent.with_name(str(USER + 1)))
    assert session_bus(USER + 1) is None


def test_a_bus_that_is_missing_is_not_used(bus: Path) -> None:
    bus.unlink()
    assert session_bus(USER) is None


def test_what_is_not_a_socket_is_not_used(bus: Path) -> None:
    bus.rename(bus.with_name("elsewhere"))
    bus.touch()
    assert session_bus(USER) is None
    bus.unlink()
    bus.symlink_to("elsewhere")
    assert session_bus(USER) is None
