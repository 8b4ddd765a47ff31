"""The exit statuses of the command line: one table for all errors."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses of the command line, after sysexits.h."""

    OK = 0
    USAGE = 2
    BAD_DATA = 65
    NO_MESSAGE = 66
    NO_HOST = 68
    REFUSED = 69
    BUG = 70
    CANNOT_DELIVER = 73
    TRY_LATER = 75
    PROTOCOL = 76
    NO_LOGIN = 77
    CONFIGURATION = 78
    INTERRUPTED = 130
    TERMINATED = 143
