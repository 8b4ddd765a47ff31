"""How a session ends in which nothing was marked as deleted.

QUIT may make a server drop what was retrieved (RFC 1939 section 8), and one that announces
``EXPIRE 0`` says that it does (RFC 2449 section 6.7). So after a look it is not said there. Apart
from that nothing hangs on QUIT: whatever becomes of it is a remark, and no error.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from pop3fetch.errors import POP3Error

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client

NOTHING: Set[int] = frozenset()


def say_quit(client: POP3Client, notice: Callable[[str], None]) -> None:
    """End the session, deleting nothing that the server has not dropped by itself."""
    try:
        client.quit()
    except POP3Error as error:
        notice(str(error))


def end_look(client: POP3Client, notice: Callable[[str], None]) -> None:
    """Say QUIT, unless the server would then delete what was only looked at."""
    if quit_may_cost(client):
        client.close()
    else:
        say_quit(client, notice)


def quit_may_cost(client: POP3Client, dispensable: Set[int] = NOTHING) -> bool:
    """Whether QUIT would delete messages that were retrieved, by index, beside the ``dispensable`` ones."""
    return not client.retrieved <= dispensable and _expires_at_once(client)


def _expires_at_once(client: POP3Client) -> bool:
    # What is said after the login is more exact, but some servers say nothing then.
    capabilities = {**client.capabilities_before_login, **client.capabilities()}
    return "0" in (capabilities.get("EXPIRE") or [])
