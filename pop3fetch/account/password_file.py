"""The file that contains a password: its first line, if only we can read the file.

It may be a pipe, such as a shell's ``<(…)``, so a read has a time limit.
"""

from __future__ import annotations

import os
import select
import stat
import time

from pop3fetch.account.config_file import OTHERS
from pop3fetch.account.secret import first_line
from pop3fetch.errors import NoPassword
from pop3fetch.printable import printable

LARGEST = 1 << 16  # octets of the first line; an access token has a few thousand
ROOT = 0


def password(file: str, limit: float) -> str:
    """Return the first line of ``file`` without its end; ``limit`` in seconds.

    Raises NoPassword if it cannot be read, is empty, or if others can read it.
    """
    try:
        # Without waiting for the writer of a named pipe.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _refuse_shared(file, os.fstat(descriptor))
            octets = _first_octets(descriptor, time.monotonic() + limit)
        finally:
            os.close(descriptor)
    except TimeoutError:
        raise _error(file, f"did not give a line within {limit:g} s") from None
    except ValueError:  # a NUL in the name
        raise _error(file, "is not a file name") from None
    except OSError as error:
        raise _error(file, f"cannot be read: {error.strerror}") from None
    if len(octets) > LARGEST:
        raise _error(file, f"has a first line of more than {LARGEST} octets")
    line = first_line(octets)
    if not line:
        raise _error(file, "contains no password: its first line is empty")
    return line


def _refuse_shared(file: str, status: os.stat_result) -> None:
    """Raise NoPassword if other users than root and we can read or change the file."""
    others = OTHERS
    if status.st_gid == ROOT:
        # A credential of systemd: the group's bits are the mask of an access list that names us.
        others = stat.S_IRWXO | stat.S_IWGRP
    if status.st_mode & others:
        raise _error(file, "can be read or changed by others; chmod 600 it (a container's secret: mode 0400)")
    if status.st_uid not in (os.geteuid(), ROOT):
        raise _error(file, "belongs to another user; chown it")


def _first_octets(descriptor: int, deadline: float) -> bytes:
    """Read to the end of a line, of the file, or of the largest password; raises TimeoutError."""
    octets = bytearray()
    while b"\n" not in octets and len(octets) <= LARGEST:
        try:
            block = os.read(descriptor, LARGEST)
        except BlockingIOError:
            poll = select.poll()  # select takes no descriptor from 1024 on
            poll.register(descriptor, select.POLLIN)
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not poll.poll(remaining * 1000):
                raise TimeoutError from None
            continue
        if not block:
            break
        octets += block
    line, end, _ = octets.partition(b"\n")
    return bytes(line + end)


def _error(file: str, reason: str) -> NoPassword:
    return NoPassword(f"the password file {printable(file)} {reason}")
