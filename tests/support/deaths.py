"""An operation that dies at each of its calls of the system and of SQLite, in a child of this process.

for _ in deaths(lambda: store_something(folder)):
    assert what_is_there(folder) in (OLD, NEW)
"""

from __future__ import annotations

import os
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

DEAD = 9  # the status of a child that has died at the wanted call


def deaths(operation: Callable[[], object], *, writing: bool = False) -> Iterator[int]:
    """Yield after each death; a child that lives to the end of ``operation`` is the last.

    ``writing``: it dies only at calls that may change what is on the disk.
    """
    number, status = 0, DEAD
    while status == DEAD:
        number += 1
        status = _status_of_child(operation, number, writing)
        yield number
    assert status == 0, "the operation has failed"
    assert number > 1, "it has called nothing"


def _status_of_child(operation: Callable[[], object], number: int, writing: bool) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the child does not use
        child = os.fork()
    if not child:
        left = number

        def count(frame: Any, event: str, called: Any) -> None:
            nonlocal left
            owner = getattr(called, "__self__", None)
            if event != "c_call" or (writing and called.__name__ not in _WRITING):
                return
            if owner is _POSIX or isinstance(owner, _SQLITE):
                left -= 1
                if not left:
                    os._exit(DEAD)

        status = 1
        try:
            sys.setprofile(count)
            operation()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


_POSIX = sys.modules[os.stat.__module__]
_SQLITE = (sqlite3.Connection, sqlite3.Cursor)
_WRITING = {
    "execute", "executemany", "executescript", "commit", "fsync", "link", "mkdir", "rename", "replace",
    "unlink", "write",
}  # fmt: skip
