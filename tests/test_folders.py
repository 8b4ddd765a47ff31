"""Folders and files are private and safe, whatever the umask and however many are synced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock, Thread

import pytest

from pop3fetch.folders import BATCHES, SYNC_SHARE, make_folder, open_private, sync_files
from tests.modes import mode, umask


@contextmanager
def opened(folder: Path, count: int) -> Iterator[list[int]]:
    with ExitStack() as stack:
        files = []
        for number in range(count):
            files.append(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o600))
            stack.callback(os.close, files[-1])
        yield files


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


@pytest.mark.parametrize("count", [0, 1, SYNC_SHARE, SYNC_SHARE + 1, 400])
def test_every_file_is_synced_once(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def watched(file: int) -> None:
        fsync(file)
        synced.append(file)

    with opened(tmp_path, count) as files:
        monkeypatch.setattr(os, "fsync", watched)
        sync_files(files)
    assert sorted(synced) == sorted(files)


@pytest.mark.parametrize("place", [0, 1, SYNC_SHARE, 399])
def test_an_error_of_any_thread_is_raised(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def failing(file: int) -> None:
        if file == files[place]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)

    with opened(tmp_path, 400) as files:
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            sync_files(files)


def test_few_accounts_sync_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock()
    syncing: set[int] = set()
    most = 0
    fsync = os.fsync

    def watched(file: int) -> None:
        nonlocal most
        with lock:
            syncing.add(file)
            most = max(most, len(syncing))
        fsync(file)
        with lock:
            syncing.remove(file)

    with opened(tmp_path, 80) as files:
        monkeypatch.setattr(os, "fsync", watched)
        # Too few files for a second thread, so each of these is one.
        threads = [Thread(target=sync_files, args=(files[first::8],)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= most <= BATCHES
