"""Files synced side by side: in this process, or, where there are many, in one of their own.

A thread that calls the system lets go of the interpreter's lock and has to wait until it gets it
back: while another thread reads mail, that takes longer than the disk does. A process has a lock of
its own. It is given the open files themselves (SCM_RIGHTS, unix(7)), and so hears of the same errors.

This file is also what that process runs: ``python -I -S syncing.py``, a socket its standard input.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

SYNC_THREADS = 6  # the disk orders and joins what comes side by side
SYNC_SHARE = 32  # files at least for each of them: to start a thread costs as much as to sync some
BATCHES = 2  # accounts whose files are synced at once: the threads of more wait for the interpreter alone
MANY = 500  # files of one destination that are worth a process: to start it costs as much as to sync fifty

FILES_A_MESSAGE = 253  # SCM_MAX_FD of Linux
MORE, LAST = b"+", b"."  # with each message of a batch

_turns = BoundedSemaphore(BATCHES)


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


class Syncer:
    """Sync the files of one destination, batch after batch, in one thread at a time."""

    def __init__(self) -> None:
        self.process: SyncProcess | None = None
        self._files = 0
        self._may_start = True

    def sync(self, files: Sequence[int]) -> None:
        """Sync open files; raises OSError."""
        self._files += len(files)
        if self._files < MANY or not self._sync_elsewhere(files):
            sync_files(files)

    def _sync_elsewhere(self, files: Sequence[int]) -> bool:
        """Return whether there is a process that has synced the files; raises OSError where it could not."""
        number = None
        try:
            if self._may_start:
                self._may_start = False
                self.process = SyncProcess()
            if self.process:
                number = self.process.sync(files)
        except OSError:  # it could not be started, or is gone
            self.close()
        if number:
            raise OSError(number, os.strerror(number))
        return number is not None

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
        try:
            with theirs:
                self._process = _start(theirs)
        except BaseException:
            self._line.close()
            raise

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def sync(self, files: Sequence[int]) -> int:
        """Return 0 once the files are synced, or the number of the error; raises OSError where it is gone."""
        for first in range(0, len(files), FILES_A_MESSAGE):
            part = files[first : first + FILES_A_MESSAGE]
            is_last = first + FILES_A_MESSAGE >= len(files)
            socket.send_fds(self._line, [LAST if is_last else MORE], part)
        answer = self._line.recv(16)
        if not answer:
            raise BrokenPipeError(errno.EPIPE, "the process that syncs is gone")
        return int(answer)

    def close(self) -> None:
        """End it."""
        self._line.close()
        self._process.wait()


def _start(line: socket.socket) -> Popen[bytes]:
    import subprocess

    return subprocess.Popen(  # noqa: S603 (our own file)
        [str(sys.executable), "-I", "-S", os.path.abspath(__file__)],
        stdin=line.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",  # so that it holds on to no file system
        env={},  # it needs nothing, and there may be secrets
        process_group=0,  # Ctrl-C is for us: what was begun is brought to its end
    )


def serve(line: socket.socket) -> None:
    """Sync what comes over the line, batch after batch, until it is closed."""
    files: list[int] = []
    while True:
        mark, received, flags, _ = socket.recv_fds(line, 1, FILES_A_MESSAGE)
        files += received
        if not mark or flags & socket.MSG_CTRUNC:  # not all of them came: whoever gave them shall see to it
            return
        if mark == LAST:
            number = _sync_and_close(files)
            line.sendall(b"%d" % number)
            files = []


def _sync_and_close(files: Sequence[int]) -> int:
    """Return 0, or the number of the first error."""
    try:
        sync_files(files)
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        for file in files:
            with suppress(OSError):
                os.close(file)
    return 0


if __name__ == "__main__":
    with suppress(OSError):
        serve(socket.socket(fileno=0))
    os._exit(0)  # there is nothing to be taken apart
