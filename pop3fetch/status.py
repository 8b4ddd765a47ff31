"""The exit statuses of the command line: their numbers, and what each one means.

An error has one of them as the ``status`` of its class in ``errors``; a temporary one is TRY_LATER.
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses of the command line, after sysexits.h."""

    OK = 0  # success, or nothing to do
    USAGE = 2  # the command line is wrong
    BAD_DATA = 65  # the server sent an invalid reply
    NO_MESSAGE = 66  # a message that was given does not exist
    NO_HOST = 68  # the host name cannot be resolved
    REFUSED = 69  # the server refused a command, or has been unavailable for longer than the patience
    BUG = 70  # an exception that is not in the tree of ``errors``
    CANNOT_DELIVER = 73  # a message cannot be delivered, or its maildir or mbox is missing
    TRY_LATER = 75  # no connection, time-out, mailbox or record in use
    PROTOCOL = 76  # the protocol or TLS failed
    NO_LOGIN = 77  # login refused, or no password
    CONFIGURATION = 78  # the configuration is wrong, or the record cannot be used
    INTERRUPTED = 130  # by Ctrl-C; also ``cli.INTERRUPTED``
    TERMINATED = 143  # by SIGTERM; also ``cli.TERMINATED``
