"""A user who puts a link in the place of a folder or a file just before root opens something there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

USER = 54321  # of whom this machine knows nothing


def swap_before_opening(opened: Path, swapped: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the user replace ``swapped`` by a link to ``target`` when ``opened`` is about to be opened."""
    os_open = os.open

    def opening(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fspath(path) == os.fspath(opened) and not swapped.is_symlink():
            swapped.rename(swapped.with_name("aside"))
            swapped.symlink_to(target)
            os.lchown(swapped, USER, USER)
        return os_open(path, *arguments, **options)

    monkeypatch.setattr("os.open", opening)
