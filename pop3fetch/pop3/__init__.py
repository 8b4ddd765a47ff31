"""The protocol and its client: a library that is independent of the program's other parts.

Start with :class:`POP3Client`; the other names are the types that it takes and returns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pop3fetch.net.certificate import Certificate, TLSSession
    from pop3fetch.pop3.client import POP3Client
    from pop3fetch.pop3.machine import SessionState
    from pop3fetch.pop3.pipeline import Deletion, IncomingMessage
    from pop3fetch.pop3.replies import Capabilities, Overview

__all__ = [
    "Capabilities",
    "Certificate",
    "Deletion",
    "IncomingMessage",
    "Overview",
    "POP3Client",
    "SessionState",
    "TLSSession",
]

_MODULES = {
    "Capabilities": "pop3.replies",
    "Certificate": "net.certificate",
    "Deletion": "pop3.pipeline",
    "IncomingMessage": "pop3.pipeline",
    "Overview": "pop3.replies",
    "SessionState": "pop3.machine",
    "TLSSession": "net.certificate",
}


def __getattr__(name: str) -> object:
    # Imported on request, so that a pure module of this folder loads no socket.
    if name in __all__:
        return getattr(import_module(f"pop3fetch.{_MODULES.get(name, 'pop3.client')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
