"""Folders and files that outlive a power cut: made private, and synced with what holds them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from threading import BoundedSemaphore, Thread

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
SYNC_THREADS = 6  # the disk orders and joins what comes side by side
SYNC_SHARE = 32  # files at least for each of them: to start a thread costs as much as to sync some
BATCHES = 2  # accounts whose files are synced at once: the threads of more wait for the interpreter alone

_turns = BoundedSemaphore(BATCHES)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, 0700 whatever the umask, durably; an existing one is left alone."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(PRIVATE_FOLDER)
    except FileExistsError:  # another run was quicker, or it is no folder
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    path.chmod(PRIVATE_FOLDER)
    sync_folder(path.parent)


def open_private(path: Path, flags: int) -> int:
    """Open a file, and make it where there is none: 0600 whatever the umask."""
    file = open_or_make(path, flags)
    make_private(file)
    return file


def open_or_make(path: str | Path, flags: int, folder: int | None = None) -> int:
    """Open a file as :func:`open_private` does, but a new one is 0600 only where the umask lets it be.

    ``folder``: the descriptor of the folder that ``path`` is in.
    """
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE, dir_fd=folder)


def make_private(file: int) -> bool:
    """Give a file back what the umask has taken from its owner; return whether it has."""
    was_strict = stat.S_IMODE(os.fstat(file).st_mode) & PRIVATE_FILE != PRIVATE_FILE
    if was_strict:
        os.fchmod(file, PRIVATE_FILE)
    return was_strict


def sync_folder(path: Path) -> None:
    """Sync a folder, so that the names in it are safe."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def start_writing(file: int, offset: int = 0, length: int = 0) -> None:
    """Let the disk begin with what is dirty of a file; ``length`` in octets, 0 up to its end."""
    if hasattr(os, "posix_fadvise"):
        # Linux starts to write what is dirty; the advice itself does not matter here.
        os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)


def sync_files(files: Sequence[int]) -> None:
    """Sync open files side by side; raises the first OSError."""
    with _turns:
        for file in files:  # all of them, before the first sync waits for one
            start_writing(file)
        count = min(SYNC_THREADS, -(-len(files) // SYNC_SHARE))
        _sync_shares([_Share(files[first::count]) for first in range(count)])


def _sync_shares(shares: Sequence[_Share]) -> None:
    # Threads of our own: a pool's module brings logging along, which a run with no mail need not wait for.
    for share in shares[1:]:
        share.start()
    for share in shares[:1]:
        share.run()
    for share in shares[1:]:
        share.join()
    for share in shares:
        if share.error:
            raise share.error


class _Share(Thread):
    """The files that one thread syncs; fsync releases the interpreter's lock."""

    def __init__(self, files: Sequence[int]) -> None:
        super().__init__(name="sync")
        self._files = files
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            for file in self._files:
                os.fsync(file)
        except OSError as error:
            self.error = error
