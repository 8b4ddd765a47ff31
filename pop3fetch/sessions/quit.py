"""How a session ends in which nothing was marked as deleted.

QUIT may make a server drop what was retrieved (RFC 1939 section 8), and EXPIRE tells whether it does
(RFC 2449 section 6.7). So after a look QUIT is sent only if that costs nothing; otherwise the connection
is closed. Apart from that, whatever becomes of QUIT is a remark, and not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from pop3fetch.errors import POP3Error

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession

NOTHING: Set[int] = frozenset()


def say_quit(client: MailSession, notice: Callable[[str], None]) -> None:
    """End the session, deleting nothing that the server has not dropped by itself."""
    try:
        client.quit()
    except POP3Error as error:
        notice(str(error))


def end_look(client: MailSession, notice: Callable[[str], None]) -> None:
    """Say QUIT, unless the server would then delete what was only looked at."""
    if quit_may_cost(client):
        client.close()
    else:
        say_quit(client, notice)


def quit_may_cost(client: MailSession, dispensable: Set[int] = NOTHING) -> bool:
    """Whether QUIT might delete messages that were looked at, beside the ``dispensable`` ones, by index."""
    retrieved, topped = client.retrieved - dispensable, client.topped - dispensable
    return bool(retrieved or topped) and not may_quit(expire_of(client), retrieved=bool(retrieved))


def expire_of(client: MailSession) -> str | None:
    """Return what the server announces as EXPIRE: ``NEVER``, days, or None if it announces nothing."""
    # What is announced after the login is more exact, but some servers announce nothing then.
    capabilities = {**client.capabilities_before_login, **client.capabilities()}
    return next(iter(capabilities.get("EXPIRE") or []), None)


def may_quit(expire: str | None, *, retrieved: bool) -> bool:
    """Whether QUIT leaves what was looked at on the server; ``retrieved``: by RETR, and not by TOP alone."""
    keeps = expire is not None and (expire.upper() == "NEVER" or (expire.isdecimal() and int(expire) > 0))
    return keeps if retrieved else expire != "0"
