"""Finds a real disk for the deliveries, and memory for the server's side."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
SHARED_MEMORY = Path("/dev/shm")
ROOM = 6 << 30  # octets: the message of a gigabyte, twice, and the rest

GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of linux/fs.h
TOP_OF_TREE = 0x00020000  # FS_TOPDIR_FL


def for_deliveries() -> Path:
    """Make a folder on a disk: in TMPDIR, else in /var/tmp, else in the working directory."""
    places = [Path(os.environ.get("TMPDIR", "/tmp")), Path("/var/tmp"), Path.cwd()]
    place = next((place for place in places if filesystem(place) not in IN_MEMORY), places[-1])
    folder = Path(tempfile.mkdtemp(prefix="pop3fetch-bench-", dir=place))
    folder.chmod(0o711)  # getmail6 delivers as another user where root starts it
    _spread(folder)
    return folder


def for_the_server() -> Path:
    """Make a folder in memory if there is room, so that only the fetchers use the disk."""
    place = SHARED_MEMORY if _has_room(SHARED_MEMORY) else Path(tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix="pop3fetch-bench-", dir=place))


def filesystem(path: Path) -> str:
    """Return the type of the file system that holds ``path``, as in /proc/mounts."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    held = [(len(fields[1]), fields[2]) for fields in mounts if path.resolve().is_relative_to(fields[1])]
    return max(held)[1]


def _has_room(place: Path) -> bool:
    if not os.access(place, os.W_OK):
        return False
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize > ROOM


def _spread(folder: Path) -> None:
    """Have each folder in ``folder`` begin in a part of the disk of its own (``chattr +T``).

    ext4 does not give an inode again for a minute or more, and looks at each of those that were freed
    before it finds another: where thousands of files were just removed nearby, making one took 0.6 ms
    instead of 0.025. Other file systems refuse the flag and do not need it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        flags = struct.unpack("l", fcntl.ioctl(descriptor, GET_FLAGS, bytes(8)))[0]
        fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("l", flags | TOP_OF_TREE))
    os.close(descriptor)
