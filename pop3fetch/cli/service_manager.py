"""The service manager that started us: readiness, status and watchdog, as sd_notify(3) describes them."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


class ServiceManager:
    """Sends notifications to the socket in ``NOTIFY_SOCKET``; without it, and on errors, nothing happens."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Take the variables out of ``environment``, so that no program of ours speaks for us."""
        self._address = environment.pop("NOTIFY_SOCKET", "")
        limit, process = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        is_watched = limit.isascii() and limit.isdigit() and process in ("", str(os.getpid()))
        # Seconds between two signs of life, half of what is allowed; None if the manager does not watch.
        self.beat = int(limit) / 2_000_000 if is_watched and int(limit) else None

    def notify(self, *assignments: str) -> None:
        """Send assignments such as ``READY=1``, in one datagram."""
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)  # a full queue must not hold us up
            manager.sendto("\n".join(assignments).encode(), address)
