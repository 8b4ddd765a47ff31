"""Folders and files that outlive a power cut: made private, and synced with what holds them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
SYNC_THREADS = 16  # fsync releases the GIL; the disk orders and joins what comes side by side


def make_folder(path: Path) -> None:
    """Make a folder and its parents, 0700 whatever the umask, durably; an existing one is left alone."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(PRIVATE_FOLDER)
    except FileExistsError:  # another run was quicker, or it is no folder
        if not path.is_dir():
            raise
        return
    path.chmod(PRIVATE_FOLDER)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Sync a folder, so that the names in it are safe."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Syncer:
    """Sync many files side by side."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    def sync(self, files: Sequence[int]) -> None:
        """Sync open files; raises the first OSError."""
        if len(files) == 1:
            os.fsync(files[0])
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        shares = [files[first::SYNC_THREADS] for first in range(min(SYNC_THREADS, len(files)))]
        for _ in self._threads.map(_sync_all, shares):
            pass

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown()


def _sync_all(files: Sequence[int]) -> None:
    for file in files:
        os.fsync(file)
