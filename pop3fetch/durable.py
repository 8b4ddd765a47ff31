"""Folders and files that outlive a power cut: made private, and synced with what holds them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Literal

from pop3fetch.errors import ConfigurationError

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
MADE_PRIVATE = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # the flags of a file that may have to be made
MOST_LINKS = 40  # as Linux follows them
SHARED = stat.S_IWGRP | stat.S_IWOTH  # the bits of a folder in which others can make files, too

# macOS: fsync leaves the data in the cache of the drive, and this does not (fsync(2) there).
FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
NOT_SUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # two numbers on macOS
_NO_FULL_SYNC = {errno.EINVAL, errno.ENOTTY, *NOT_SUPPORTED}  # a network's


def make_folder(path: Path) -> None:
    """Make a folder and its parents, 0700 whatever the umask, durably; an existing one is left alone."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(PRIVATE_FOLDER)
    except FileExistsError:  # another run was quicker, or it is not a folder
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    if path.lstat().st_mode & 0o777 != PRIVATE_FOLDER:  # the umask took some, or an access list gave more
        if os.geteuid() != 0:
            path.chmod(PRIVATE_FOLDER)
        else:  # the user for whom root delivers may have put a link there
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(folder, PRIVATE_FOLDER)
            finally:
                os.close(folder)
    sync_folder(path.parent)


def open_private(path: str | Path, flags: int, folder: int | None = None) -> int:
    """Open a file, and make it if it is missing: 0600 whatever the umask.

    ``folder``: the descriptor of the folder that ``path`` is in.
    """
    file = os.open(path, flags | MADE_PRIVATE, PRIVATE_FILE, dir_fd=folder)
    undo_umask(file)
    return file


def undo_umask(file: int) -> bool:
    """Give a private file what the umask took from its mode; return whether it took any of it."""
    took = stat.S_IMODE(os.fstat(file).st_mode) & PRIVATE_FILE != PRIVATE_FILE
    if took:
        os.fchmod(file, PRIVATE_FILE)
    return took


def replace_file(path: Path, octets: bytes, *, durably: bool) -> None:
    """Replace a private file as a whole, so that a crash leaves the old one or the new one; raises OSError.

    ``durably``: a power cut does, too. What processes that were killed have left beside it is removed.
    """
    aside = Path(f"{path}-{os.getpid()}")
    try:
        file = _open_locked(aside)
        try:
            os.ftruncate(file, 0)
            write_all(file, octets)
            if durably:
                sync_file(file)
            os.replace(aside, path)
        finally:
            os.close(file)
    except BaseException:  # an interrupt may come as soon as the file is made
        with suppress(OSError):
            aside.unlink()
        raise
    _remove_strays(path)
    if durably:
        sync_folder(path.parent)


def _open_locked(path: Path) -> int:
    """Open a private file, and lock it: the lock of a process that was killed is gone."""
    while True:
        file = open_private(path, os.O_WRONLY)
        with suppress(OSError):  # without locks, what is left behind stays
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is_named(file, path):
            return file
        os.close(file)  # another process took it for left behind before it was locked


def _remove_strays(path: Path) -> None:
    """Remove the files beside ``path`` that no process is writing."""
    for stray in path.parent.iterdir():
        if not stray.name.startswith(f"{path.name}-") or not stray.name[len(path.name) + 1 :].isdecimal():
            continue
        with suppress(OSError):  # it is gone, or locked
            file = os.open(stray, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_named(file, stray):  # a process may have put it in its place since
                    stray.unlink()
            finally:
                os.close(file)


def _is_named(file: int, path: Path) -> bool:
    """Return whether an open file has the name ``path``."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def write_all(file: int, octets: bytes, offset: int | None = None) -> None:
    """Write all of ``octets``, at ``offset`` if it is given; raises OSError."""
    view = memoryview(octets)
    while view:
        written = os.write(file, view) if offset is None else os.pwrite(file, view, offset)
        view = view[written:]
        offset = None if offset is None else offset + written


def sync_file(file: int) -> None:
    """Sync an open file or folder to the medium; raises OSError."""
    if FULL_SYNC is not None:
        try:
            fcntl.fcntl(file, FULL_SYNC)
        except OSError as error:
            if error.errno not in _NO_FULL_SYNC:  # what was not written, fsync need not report again
                raise
        else:
            return
    os.fsync(file)


SYNC_THREADS = 6  # the disk orders and joins what is synced at the same time
SYNC_SHARE = 32  # files at least for each of them: to start a thread costs as much as to sync some
SYNCS_AT_ONCE = 2  # calls of sync_files(): the threads of more would only wait for the interpreter
TURN_TIMEOUT = 1.0  # seconds to wait for a turn: a disk that hangs must not hold up other accounts

# The process's, as the interpreter is that these threads wait for.
_turns = BoundedSemaphore(SYNCS_AT_ONCE)


def start_writing(file: int, offset: int = 0, length: int = 0) -> None:
    """Let the disk begin with what is dirty of a file; ``length`` in octets, 0 up to its end."""
    if hasattr(os, "posix_fadvise"):
        # Linux starts to write what is dirty; the advice itself does not matter here.
        os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)


def sync_files(files: Sequence[int]) -> None:
    """Sync open files side by side; raises an OSError if any could not be synced.

    The kernel reports an error of the disk once for each open file, to the first who syncs it: so after
    an error nothing is tried again.
    """
    errors: list[BaseException] = []
    count = max(1, min(SYNC_THREADS, -(-len(files) // SYNC_SHARE)))

    def sync_share(first: int) -> None:
        try:
            for file in files[first::count]:
                sync_file(file)
        except BaseException as error:  # raised when all threads have ended
            errors.append(error)

    has_turn = _turns.acquire(timeout=TURN_TIMEOUT)
    try:
        for file in files:  # all of them, before the first sync waits for one
            start_writing(file)
        # No pool: its module loads logging.
        threads = [Thread(target=sync_share, args=(first,), name="sync") for first in range(1, count)]
        for thread in threads:
            thread.start()
        sync_share(0)
        for thread in threads:
            thread.join()
    finally:
        if has_turn:
            _turns.release()
    if errors:
        raise errors[0]


def sync_folder(path: Path) -> None:
    """Sync a folder, so that the names in it are safe."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(folder)
    finally:
        os.close(folder)


def platform_folder(kind: Literal["config", "state"], option: str) -> Path:
    """Return the platform's folder for the configuration or the state; ``option`` names another one.

    Raises ConfigurationError if the home folder is not known.
    """
    from platformdirs import PlatformDirs

    platform = PlatformDirs("pop3fetch")
    try:
        path = platform.user_config_path if kind == "config" else platform.user_state_path
    except RuntimeError:  # the system does not know the user, as in containers
        path = Path()
    if not path.is_absolute():
        raise ConfigurationError("the home folder is not known", f"set HOME, or use {option}")
    return path


def from_home(path: str) -> str:
    """Return a path of the configuration file for ``expanduser``; a relative one is below ``~``."""
    for home in ("$HOME", "${HOME}"):
        if path == home or path.startswith(f"{home}/"):
            return "~" + path.removeprefix(home)
    return path if path.startswith(("/", "~")) else f"~/{path}"


def short(path: Path) -> str:
    """Return a path with ``~`` for the home folder, as a user would write it."""
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if os.path.isabs(home) and path.is_relative_to(home) else str(path)


def folder_id(path: Path) -> str:
    """Return ``device:inode`` of a folder, by which it is known under any name; "" if it is missing."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return f"{status.st_dev}:{status.st_ino}"


def owner_for(path: Path) -> tuple[int, int] | None:
    """Return user and group that new files of ``path`` belong to if root delivers for another user, or None.

    What is not there yet belongs to the owner of the folder that it will be in.
    """
    if os.geteuid() != 0:
        return None
    there = next(part for part in (path, *path.parents) if part.exists())
    status = there.stat()
    return (status.st_uid, status.st_gid) if status.st_uid != 0 else None


def is_absent(path: Path) -> bool:
    """Return whether there is nothing of this name, not even a link; raises OSError if that is not known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    return False


def require_own_links(path: Path) -> None:
    """Raise PermissionError if ``path`` leads over a symbolic link of another user.

    Such a link could lead us anywhere; also one that is behind a link of our own. Root follows a user's
    link if it leads to what is that user's.
    """
    user = os.geteuid()
    foreign: set[int] = set()
    current, ahead, links = Path("/"), list(reversed(path.parts[1:])), 0
    while ahead:
        part = ahead.pop()
        current = current.parent if part == ".." else current / part
        try:
            status = current.lstat()
        except (FileNotFoundError, NotADirectoryError):  # then there is no link either
            continue
        if not stat.S_ISLNK(status.st_mode):
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if status.st_uid not in (0, user):
            foreign.add(status.st_uid)
        target = current.readlink()
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        current = Path("/") if target.is_absolute() else current.parent
    if foreign and user == 0:
        nearest = next(part for part in (current, *current.parents) if os.path.lexists(part))
        foreign.discard(nearest.lstat().st_uid)
    if foreign:
        raise PermissionError(errno.EPERM, "it leads over a symbolic link of another user", str(path))
