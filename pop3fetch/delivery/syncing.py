"""Files synced side by side: in this process, or, where there are many, in one of their own.

A thread that calls the system lets go of the interpreter's lock and has to wait until it gets it
back: while another thread reads mail, that takes longer than the disk does. A process has a lock of
its own. It is given the open files themselves (SCM_RIGHTS, unix(7)).

The kernel says once for each open file that the disk has failed, and whoever syncs it first hears of
it. So once a batch was given away, no answer is as bad as an error: to sync it again would prove
nothing.

This file is also what that process runs: ``python -I -S syncing.py``, a socket its standard input.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING

if __name__ != "__main__":
    from pop3fetch.durable import FULL_SYNC, sync_file
else:  # a process of its own, which does without the package: see MANY

    def sync_file(file: int) -> None:
        os.fsync(file)


if TYPE_CHECKING:
    from subprocess import Popen

SYNC_THREADS = 6  # the disk orders and joins what comes side by side
SYNC_SHARE = 32  # files at least for each of them: to start a thread costs as much as to sync some
BATCHES = 2  # that threads of this process sync at once: those of more wait for the interpreter alone
PATIENCE = 1.0  # seconds for a turn: another account's disk that hangs shall hold up nobody else
MANY = 500  # files of one destination that are worth a process: to start it costs as much as to sync fifty

FILES_A_MESSAGE = 253  # SCM_MAX_FD of Linux
MORE, LAST = b"+", b"."  # what is said with the files: only the last ones make it a batch
UP = b"!"  # what the process says first

_turns = BoundedSemaphore(BATCHES)


def start_writing(file: int, offset: int = 0, length: int = 0) -> None:
    """Let the disk begin with what is dirty of a file; ``length`` in octets, 0 up to its end."""
    if hasattr(os, "posix_fadvise"):
        # Linux starts to write what is dirty; the advice itself does not matter here.
        os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)


def sync_files(files: Sequence[int]) -> None:
    """Sync open files side by side; raises the first OSError."""
    has_turn = _turns.acquire(timeout=PATIENCE)
    try:
        for file in files:  # all of them, before the first sync waits for one
            start_writing(file)
        count = min(SYNC_THREADS, -(-len(files) // SYNC_SHARE))
        _sync_shares([_Share(files[first::count]) for first in range(count)])
    finally:
        if has_turn:
            _turns.release()


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
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for file in self._files:
                sync_file(file)
        except BaseException as error:  # raised again where all are awaited
            self.error = error


class Syncer:
    """Sync the files of one destination, batch after batch, in one thread at a time."""

    def __init__(self) -> None:
        self.process: SyncProcess | None = None
        self._files = 0

    def sync(self, files: Sequence[int]) -> None:
        """Sync open files, one at least; raises OSError."""
        before, self._files = self._files, self._files + len(files)
        if FULL_SYNC is None and before < MANY <= self._files:  # it will be up for one of the next batches
            with suppress(OSError):  # where it cannot be started, threads do it
                self.process = SyncProcess()
        if not (self.process and self.process.is_up and self._sync_elsewhere(self.process, files)):
            sync_files(files)

    def _sync_elsewhere(self, process: SyncProcess, files: Sequence[int]) -> bool:
        """Let the process sync the files; return False where it has tried none of them. Raises OSError."""
        try:
            process.give(files)
        except OSError:  # it is gone, or cannot be given so many
            self.close()
            return False
        try:
            return process.has_synced(len(files))
        except BaseException:
            self.close()  # what it may yet say of these files shall not count for others
            raise

    def close(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process:
            process.close()


class SyncProcess:
    """The process, as seen from ours. Whatever ends us, even SIGKILL, closes the line and ends it."""

    def __init__(self) -> None:
        """Start it; raises OSError."""
        self._line, theirs = socket.socketpair()
        self._is_up = False
        try:
            with theirs:
                self._process = _start(theirs)
        except BaseException:
            self._line.close()
            raise

    @property
    def is_up(self) -> bool:
        """Whether it has said so: what cannot run, or is no Python, never does."""
        if not self._is_up:
            with suppress(OSError):  # nothing has come yet
                self._is_up = self._line.recv(1, socket.MSG_DONTWAIT) == UP
        return self._is_up

    def give(self, files: Sequence[int]) -> None:
        """Give it a batch. Raises OSError where that cannot be done; then it tries none of them."""
        for first in range(0, len(files), FILES_A_MESSAGE):
            part = files[first : first + FILES_A_MESSAGE]
            is_last = first + FILES_A_MESSAGE >= len(files)
            socket.send_fds(self._line, [LAST if is_last else MORE], part)

    def has_synced(self, count: int) -> bool:
        """Await the answer: whether the ``count`` files it was given are synced, or none was tried.

        Raises OSError where one could not be synced, and where there is no answer.
        """
        answer = b""
        with suppress(ConnectionError):
            answer = self._line.recv(64)
        if not answer:
            raise OSError(errno.EPIPE, "the process that syncs files has ended")
        number, synced = map(int, answer.split())
        if number:
            raise OSError(number, os.strerror(number))
        return synced == count

    def close(self) -> None:
        """End it: it is idle, or what it does counts no longer."""
        self._line.close()
        self._process.kill()
        self._process.wait()


def _start(line: socket.socket) -> Popen[bytes]:
    import subprocess

    if not sys.executable:
        raise FileNotFoundError(errno.ENOENT, "it is not known where Python is")
    return subprocess.Popen(  # noqa: S603 (our own file)
        [sys.executable, "-I", "-S", os.path.abspath(__file__)],
        stdin=line.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",  # so that it holds on to no file system
        env={},  # it needs nothing, and there may be secrets
        process_group=0,  # Ctrl-C is for us: what was begun is brought to its end
    )


def serve(line: socket.socket) -> None:
    """Sync what comes over the line, batch after batch, until it is closed."""
    line.sendall(UP)
    files: list[int] = []
    has_all = True
    while True:
        mark, received, flags, _ = socket.recv_fds(line, 1, FILES_A_MESSAGE)
        if not mark:
            return
        files += received
        has_all = has_all and not flags & socket.MSG_CTRUNC  # too many are open
        if mark == LAST:
            line.sendall(_sync(files) if has_all else b"0 0")
            for file in files:
                os.close(file)
            files, has_all = [], True


def _sync(files: Sequence[int]) -> bytes:
    """Return the number of the first error, or 0, and how many files there were."""
    number = 0
    try:
        sync_files(files)
    except OSError as error:
        number = error.errno or errno.EIO
    return b"%d %d" % (number, len(files))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever ends all of us shall end us by the first one
    with suppress(OSError):
        serve(socket.socket(fileno=0))
    os._exit(0)  # there is nothing to be taken apart
