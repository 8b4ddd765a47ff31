"""The log of `get --log-file`: one line per event, with time, account and level, for people or as JSON.

A file that was rotated is opened again. If it cannot be written to, the run goes on.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from collections.abc import Callable
from datetime import datetime
from logging.handlers import SysLogHandler, WatchedFileHandler
from pathlib import Path

from pop3fetch.account.config_file import SYSLOG
from pop3fetch.durable import PRIVATE_FILE, require_own_links
from pop3fetch.errors import ConfigurationError
from pop3fetch.printable import printable

SYSTEM_LOGS = ("/dev/log", "/var/run/syslog", "/var/run/log")  # of Linux, macOS and FreeBSD
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}

Log = Callable[[str, str, str], None]  # (level, account, text)


class _File(WatchedFileHandler):
    """A log that only its owner can read."""

    def _open(self):  # type: ignore[no-untyped-def]  # as the base class
        return open(self.baseFilename, "a", encoding="utf-8", opener=_open_own)


def _open_own(path: str, flags: int) -> int:
    """Open a log, 0600 if it is new; raises PermissionError if another user may have put it there.

    Lines of a log contain text from servers, and a link could lead them into a script of ours.
    """
    require_own_links(Path(path))
    flags |= os.O_NONBLOCK  # not waiting for the reader of a named pipe
    file = _open_as_root(path, flags) if os.geteuid() == 0 else os.open(path, flags, PRIVATE_FILE)
    try:
        require_own_links(Path(path))  # once more: one may have been put there before it was opened
        is_own = os.fstat(file).st_uid in (0, os.geteuid())
        if not is_own and os.stat(os.path.dirname(path)).st_mode & stat.S_IWOTH:
            raise PermissionError(errno.EPERM, "it belongs to another user", path)
        os.set_blocking(file, True)
    except BaseException:
        os.close(file)
        raise
    return file


def _open_as_root(path: str, flags: int) -> int:
    """Open a log, also by a link of root, such as /dev/stderr; by that of a user only what is the user's.

    The user may put the link there just now, so the file that is open is looked at.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    owner = os.lstat(path).st_uid
    if owner == 0:
        return os.open(path, flags, PRIVATE_FILE)
    file = os.open(os.path.realpath(path), flags & ~os.O_CREAT | os.O_NOFOLLOW)
    if os.fstat(file).st_uid != owner:
        os.close(file)
        raise PermissionError(errno.EPERM, "it leads over a symbolic link of another user", path)
    return file


class _Lines(logging.Formatter):
    """``2026-11-29T08:00:00.123+01:00 work error: …``, with the account if it has a name."""

    def format(self, record: logging.LogRecord) -> str:
        account = f" {record.account}" if record.account else ""  # type: ignore[attr-defined]
        return f"{_time_of(record)}{account} {record.levelname.lower()}: {record.getMessage()}"


class _Objects(logging.Formatter):
    """One JSON object per line, with ``time``, ``account``, ``level`` and ``message``."""

    def format(self, record: logging.LogRecord) -> str:
        account = record.account or None  # type: ignore[attr-defined]
        return json.dumps(
            {
                "time": _time_of(record),
                "account": account,
                "level": record.levelname.lower(),
                "message": record.getMessage(),
            }
        )


def _time_of(record: logging.LogRecord) -> str:
    """Return the time of an event in the form of RFC 3339, with the offset of local time."""
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def open_log(target: str, *, as_json: bool) -> Log:
    """Return what writes to ``target``, a file or ``syslog``; raises ConfigurationError."""
    logging.raiseExceptions = False
    handler: logging.Handler
    try:
        if target == SYSLOG:
            system_log = next(filter(os.path.exists, SYSTEM_LOGS), SYSTEM_LOGS[0])
            handler = SysLogHandler(system_log, SysLogHandler.LOG_MAIL)
            handler.ident = f"pop3fetch[{os.getpid()}]: "
        else:
            handler = _File(os.path.expanduser(target))
    except OSError as error:
        raise ConfigurationError(f"--log-file {target}", error.strerror or str(error)) from error
    handler.setFormatter(_Objects() if as_json else _Lines())
    logger = logging.Logger("pop3fetch")
    logger.addHandler(handler)

    def log(level: str, account: str, text: str) -> None:
        # The name of an account may come from the file of another program.
        logger.log(LEVELS[level], "%s", printable(text, None), extra={"account": printable(account, None)})

    return log
