"""Attacks, and a terminal to see them on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.here import Here
from tests.cli.terminal import Terminal
from tests.command import Run
from tests.hostile.scenarios import Attack
from tests.server import StartServer


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: StartServer) -> Attack:
    """Let a server attack the command."""
    return Attack(Here(tmp_path, monkeypatch), server, tmp_path)


@pytest.fixture
def terminal(run: Run) -> Terminal:
    """Run the real command on a terminal."""
    return Terminal(run)
