"""Attacks, and a terminal to see them on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Run
from tests.support.hostile_servers import Attack
from tests.support.in_process import Here
from tests.support.scripted_server import StartServer
from tests.support.terminal import Terminal


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: StartServer) -> Attack:
    """Let a server attack the command."""
    return Attack(Here(tmp_path, monkeypatch), server, tmp_path)


@pytest.fixture
def terminal(run: Run) -> Terminal:
    """Run the real command on a terminal."""
    return Terminal(run)
