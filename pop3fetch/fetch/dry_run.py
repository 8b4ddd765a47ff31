"""--dry-run: what would be done with each message, and the headers by which a person knows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pop3fetch.fetch.plan import Action, Verb, Would
from pop3fetch.fetch.survey import headers_of
from pop3fetch.headers.summary import summarize
from pop3fetch.messages import Message

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


def rehearse(client: MailSession, actions: Iterable[Action], would: Would) -> None:
    """Report to ``would`` what would be done with each message, in the order of the actions.

    The summary is None if the server has no TOP: no message is retrieved just to be shown.
    """
    verbs: dict[Message, list[Verb]] = {}
    for verb, message in actions:
        verbs.setdefault(message, []).append(verb)
    if not client.offers("TOP"):
        for message in verbs:
            would(verbs[message], message, None)
        return
    looks = headers_of(client, (message.index for message in verbs), decides=False)
    for message, (_, looked) in zip(verbs, looks, strict=True):
        would(verbs[message], message, summarize(looked.headers))
