"""pop3fetch: a POP3 client and fetcher that loses no mail.

>>> from pop3fetch import POP3Client
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "1.0.0"

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client

__all__ = ["POP3Client", "__version__"]


def __getattr__(name: str) -> object:
    # The client brings socket and ssl with it; `pop3fetch --help` shall not wait for them.
    if name == "POP3Client":
        from pop3fetch.pop3.client import POP3Client

        return POP3Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
