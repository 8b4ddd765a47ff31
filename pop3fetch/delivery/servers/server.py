"""What a destination needs to know of the mail server that it delivers to."""

from __future__ import annotations

from collections.abc import Callable

from pop3fetch.defaults import DEFAULT_TIMEOUT
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.errors import LoginRefused
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.trace import Secrets
from pop3fetch.values import NamedTuple, veiled


def _no_secret() -> str:
    return ""


class MailServer(NamedTuple):
    """A mail server, and how to use it.

    ``tls`` is ``implicit``, ``starttls`` or ``off``; ``timeout`` in seconds, None to wait forever. ``secret``
    returns the password, or an access token if it ``takes_tokens``; ``refused`` is called if the server
    does not accept it. ``recipients`` and ``sender`` are the envelope of LMTP and SMTP: without a sender, it
    is in the message. ``flags`` are set by IMAP. ``trace`` takes each line of the protocol and who sent it,
    ``report`` a line that every user must see.
    """

    address: ServerAddress
    endpoint: Endpoint
    tls: str
    secrets: Secrets  # of the run
    tls_options: TLSOptions = TLSOptions()
    timeout: float | None = DEFAULT_TIMEOUT
    secret: Callable[[], str] = _no_secret
    takes_tokens: bool = False
    refused: Callable[[LoginRefused], object] = lambda refusal: None
    recipients: tuple[str, ...] = ()
    sender: str | None = None
    flags: tuple[str, ...] = ()
    trace: Callable[[str, bytes], None] | None = None
    report: Callable[[str], None] = lambda line: None

    def __repr__(self) -> str:
        return veiled(self, "secret", "secrets")
