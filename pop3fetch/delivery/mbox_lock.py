"""The lock of an mbox, as other mail programs take it: fcntl and a dot-lock, both or neither.

The order is that of the Debian Policy, section 11.6: fcntl first, then ``FILE.lock``; if the
second is taken, the first is released before the next attempt, so that no two programs wait for
each other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from pop3fetch.durable import NOT_SUPPORTED, SHARED, open_private, owner_for, sync_folder
from pop3fetch.values import NamedTuple

PAUSE = 0.1  # seconds between two attempts
STALE = 300.0  # seconds after which a dot-lock counts as forgotten, as in liblockfile

# A lock of the open file (Linux, fcntl(2)) holds between threads as well, and keeps out those who lock
# by process. Elsewhere, and on file systems that lack it, a process has but one lock of a file, whatever
# the file is called, and loses it when it closes any descriptor of it: so one thread at a time may have
# it open. Only then is a dot-lock with the number of our process surely one that a dead run has left.
# macOS has them too, but of another struct.
OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None
_NO_OPEN_FILE_LOCKS = {errno.EINVAL, *NOT_SUPPORTED}
# Device and inode -> what the MboxLock that has it open is known by. Whatever changes it is one step, for
# an interrupt may come between any two.
_open_ones: dict[tuple[int, int], object] = {}

# A folder that is not ours, or a file system without hard links.
_NO_DOT_LOCKS = {errno.EACCES, errno.EPERM, *NOT_SUPPORTED}

_OWNER = re.compile(rb"([0-9]{1,10}) ([^\s]+)\n")  # how we sign a dot-lock


class Inode(NamedTuple):
    """The identity of a file; its number alone may be given again."""

    device: int
    number: int
    written: int  # nanoseconds since the epoch


class MboxLock:
    """An open mbox that is locked; ``file`` is its descriptor."""

    # Here, as __del__ finds them even if __init__ was interrupted at once.
    file = -1
    _stream: FileIO | None = None
    _dot_lock: Path | None = None
    _signed: Inode | None = None  # what the dot-lock is if it is ours
    _key: tuple[int, int] | None = None  # in _open_ones, if we are there

    def __init__(self, path: Path, tag: str, may_make: Callable[[], None] = lambda: None) -> None:
        """Open and lock the mbox, made if it is missing.

        ``path`` has no symbolic links; ``tag`` is one record's; ``may_make`` raises if the mbox must
        not be made. Raises BlockingIOError if another program has a lock, and any other OSError.
        """
        self._self = object()
        try:
            self._keep_out_threads(path)
            # The stream closes it whatever interrupts us, and only once: as long as it is open it is locked.
            self._stream = FileIO(_open(path, may_make), "r+")
            self.file = self._stream.fileno()
            self._keep_out_threads(self.file)  # for it may have been made or replaced just now
            _refuse_a_strange_file(path, self.file)
            _lock_by_fcntl(self.file)
            is_same = False
            with suppress(FileNotFoundError):
                is_same = os.path.samestat(os.fstat(self.file), path.lstat())
            if not is_same:  # a mail program has put a new file in its place before we locked it
                raise BlockingIOError(errno.EAGAIN, "it was replaced")
            self._take_dot_lock(Path(f"{path}.lock"), tag)
        except BaseException:
            self.release()
            raise

    def _keep_out_threads(self, mbox: Path | int) -> None:
        """Be the one that has a file open, by its path or open; one that is not there yet is passed over.

        Raises BlockingIOError if another one has.
        """
        try:
            status = os.stat(mbox)
        except FileNotFoundError:
            return
        key = status.st_dev, status.st_ino
        if self._key not in (None, key):
            raise BlockingIOError(errno.EAGAIN, "it was replaced")
        self._key = key
        if _open_ones.setdefault(key, self._self) is not self._self:
            raise BlockingIOError(errno.EAGAIN, "another account delivers there")

    def _take_dot_lock(self, dot_lock: Path, tag: str) -> None:
        """Make it if the folder lets us; if not, fcntl must do."""
        signed = Path(f"{dot_lock}.pop3fetch-{tag}")
        try:
            # Linked when it is signed: so a dot-lock that we leave in a crash always names its owner.
            # The name is always the same, so that what a crash left of it goes with the next run.
            signed.unlink(missing_ok=True)
            file = open_private(signed, os.O_WRONLY | os.O_EXCL)
            try:
                os.write(file, _signature())
            finally:
                os.close(file)
            # Known before it is there, for an interrupt may come between the two.
            self._dot_lock, self._signed = dot_lock, _inode(signed)
            os.link(signed, dot_lock)
        except FileExistsError as error:
            # Two of us never break one at the same time, for we hold the lock of fcntl.
            if _is_stale(dot_lock):
                with suppress(OSError):
                    dot_lock.unlink()
            raise BlockingIOError(errno.EAGAIN, "there is a dot-lock") from error
        except OSError as error:
            if error.errno not in _NO_DOT_LOCKS:
                raise
        finally:
            with suppress(OSError):
                signed.unlink()

    def release(self) -> None:
        """Release it, if that was not done yet; never raises."""
        if self._dot_lock is not None and self._is_ours(self._dot_lock):
            with suppress(OSError):
                self._dot_lock.unlink()
        self._dot_lock = None  # only now: if interrupted before, __del__ releases it
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()
        self.file = -1
        if self._key is not None and _open_ones.get(self._key) is self._self:
            del _open_ones[self._key]

    def _is_ours(self, dot_lock: Path) -> bool:
        """Return whether no other program has broken it, and perhaps made one of its own."""
        # Either is enough: NFS may report another time later, and no descriptor may be free to read it.
        known = self._signed is not None and _inode(dot_lock) == self._signed
        return known or _read(dot_lock) == _signature()

    def __del__(self) -> None:
        # An interrupt may come before the caller has the lock.
        self.release()


def take_lock(
    path: Path,
    tag: str,
    patience: float,
    given_up: threading.Event,
    *,
    may_make: Callable[[], None] = lambda: None,
) -> MboxLock:
    """Wait for the lock of an mbox, at most ``patience`` seconds, or until it is ``given_up``.

    Raises BlockingIOError if another program kept it, and any other OSError.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return MboxLock(path, tag, may_make)
        except BlockingIOError:
            if time.monotonic() >= deadline or given_up.wait(PAUSE):
                raise


def _open(path: Path, may_make: Callable[[], None]) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        file = os.open(path, flags)
    except FileNotFoundError:
        may_make()
        file = _make(path, flags)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _make(path: Path, flags: int) -> int:
    try:
        file = open_private(path, flags | os.O_EXCL)
    except FileExistsError:  # another program was quicker
        return os.open(path, flags)
    if owner := owner_for(path.parent):
        os.fchown(file, *owner)
    sync_folder(path.parent)
    return file


def _lock_by_fcntl(file: int) -> None:
    try:
        if OFD_SETLK is not None:
            # struct flock: type, from where, start, length (0: all of it), process (0 for these)
            flock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            try:
                fcntl.fcntl(file, OFD_SETLK, flock)
            except OSError as error:  # the system or the file system may have none
                if error.errno not in _NO_OPEN_FILE_LOCKS:
                    raise
            else:
                return
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError as error:  # POSIX lets systems reply EACCES for EAGAIN
        raise BlockingIOError(errno.EAGAIN, "it is locked") from error


def _refuse_a_strange_file(path: Path, file: int) -> None:
    """Raise PermissionError if another user may have put the file there for us to write to.

    In a folder that others can write to, it must be our own file, under no other name. Root may also
    deliver to a user's own mbox: one in that user's folder, or one with that user's name, as in /var/mail.
    """
    user, folder, status = os.geteuid(), path.parent.stat(), os.fstat(file)
    is_shared = bool(folder.st_mode & SHARED)
    if folder.st_uid == user != 0 and not folder.st_mode & stat.S_IWOTH:
        return  # a group of one's own may write there, on many systems
    if folder.st_uid in (0, user) and not is_shared:
        return
    is_the_folders = status.st_uid == folder.st_uid and (user == 0 or not is_shared)
    has_its_users_name = user == 0 and is_shared and _login_name(status.st_uid) == path.name
    if not (status.st_uid == user or is_the_folders or has_its_users_name):
        raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
    if status.st_nlink > 1 and (is_shared or status.st_uid == user):
        raise PermissionError(errno.EPERM, "it has a second name, perhaps another user's", str(path))


def _login_name(user: int) -> str | None:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return None


def _signature() -> bytes:
    return b"%d %b\n" % (os.getpid(), os.fsencode(os.uname().nodename))


def _inode(path: Path) -> Inode | None:
    with suppress(OSError):
        status = path.lstat()
        return Inode(status.st_dev, status.st_ino, status.st_mtime_ns)
    return None


def _is_stale(dot_lock: Path) -> bool:
    """Return whether the owner of a dot-lock is dead, or must be, as the dot-lock is so old."""
    try:
        age = time.time() - dot_lock.lstat().st_mtime
    except FileNotFoundError:
        return False
    owner = _OWNER.fullmatch(_read(dot_lock))
    if owner and owner[2] == os.fsencode(os.uname().nodename):
        process = int(owner[1])
        if process == os.getpid():  # in a container each run may have the same number; we hold no such lock
            return True
        with suppress(PermissionError, OverflowError):  # it is alive
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                return True
    return age > STALE


def _read(path: Path) -> bytes:
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(file, 512)
        finally:
            os.close(file)
    return b""
