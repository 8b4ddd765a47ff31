"""Whether a destination on a disk can take mail, found out without writing anything."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from pop3fetch.errors import DeliveryError
from pop3fetch.step_results import StepResult, warning

STEP = "destination"
LITTLE = 100_000_000  # octets; a disk that has no more free is nearly full


def examine_paths(name: str, paths: Sequence[Path]) -> StepResult:
    """Return whether all ``paths`` can be written to; raises OSError and DeliveryError if not.

    A path that is missing is made in the nearest folder above it.
    """
    nearest = [next(part for part in (path, *path.parents) if os.path.lexists(part)) for path in paths]
    free = min(_free(path, name, is_folder=path not in paths or path.is_dir()) for path in nearest)
    if free < LITTLE:
        return warning(STEP, f"{name}: the disk is nearly full: less than {LITTLE // 1_000_000} MB are free")
    is_there = nearest == [*paths]
    return StepResult(STEP, f"{name} can be written to" if is_there else f"{name}: `get` will create it")


def _free(path: Path, name: str, *, is_folder: bool) -> int:
    """Return the free octets of the disk of ``path``, which must be writable."""
    if is_folder and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    system = os.statvfs(path)
    if system.f_flag & os.ST_RDONLY:  # before permissions, which root has all
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
    if not os.access(path, os.W_OK | (os.X_OK if is_folder else os.R_OK)):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    blocks = system.f_bfree if os.geteuid() == 0 else system.f_bavail
    if not blocks or (system.f_files and not system.f_favail):
        raise DeliveryError(name, "the disk is full")
    return blocks * system.f_frsize
