"""The files of other programs: read whole, without waiting and without changing anything."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from pop3fetch.errors import FetcherRunning
from pop3fetch.values import NamedTuple

LARGEST = 256 << 20  # octets; a list of a million messages has 70 MiB
LONGEST_NUMBER = 32  # octets of a process's number in a file


class Contents(NamedTuple):
    """The octets of a file, when it was changed last, and whether others can read it."""

    octets: bytes
    changed_at: int
    is_shared: bool


def read(path: str, program: str | None = None) -> Contents:
    """Return what is in a file; raises OSError, also if it is not an ordinary file.

    ``program``: it locks the file while it runs; raises FetcherRunning if it does.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe has no writer to wait for
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file", path)
        if status.st_size > LARGEST:
            raise OSError(errno.EFBIG, "it is too large", path)
        if program is not None:
            _lock(file, path, program)
        blocks = []
        while block := os.read(file, 1 << 20):
            blocks.append(block)
    finally:
        os.close(file)
    others = status.st_mode & (stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH)
    return Contents(b"".join(blocks), int(status.st_mtime), bool(others))


def _lock(file: int, path: str, program: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise FetcherRunning(program, path) from error
        # A file system without locks: then the program has none either.


def require_ended(program: str, lock: str) -> None:
    """Raise FetcherRunning if the file ``lock`` shows that a program is running.

    If it has the number of a process, that must be one of the program; otherwise the file alone shows it.
    """
    try:
        words = read(lock).octets[:LONGEST_NUMBER].split()
    except OSError:
        return
    if not words or not words[0].isdigit():
        raise FetcherRunning(program, lock)
    number = int(words[0])
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return
    except PermissionError:  # it is running, as another user
        pass
    with suppress(OSError):  # elsewhere than on Linux
        if program not in Path(f"/proc/{number}/comm").read_text("utf-8", "replace"):
            return  # another program has the number now
    raise FetcherRunning(program, lock, number)


def newer_messages(maildir: Path, moment: int) -> int:
    """Return how many messages of a maildir are newer than ``moment``, in seconds since the epoch."""
    newer = 0
    for folder in ("new", "cur"):
        with suppress(OSError), os.scandir(maildir / folder) as entries:
            newer += sum(entry.stat(follow_symlinks=False).st_mtime > moment + 1 for entry in entries)
    return newer
