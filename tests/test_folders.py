"""Folders and files are private, whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pop3fetch.folders import make_folder, open_private
from tests.modes import mode, umask


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_a_file_is_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        os.close(open_private(tmp_path / "file", os.O_WRONLY))
    assert mode(tmp_path / "file") == 0o600


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_folders_are_made_private_with_their_parents(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        make_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(0o755)
    before = mode(tmp_path / "mine")
    make_folder(tmp_path / "mine")
    assert mode(tmp_path / "mine") == before


def test_a_file_in_the_way_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        make_folder(tmp_path / "file")
