"""The objects that --json prints, and their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pop3fetch.account.settings_table import SETTINGS
from pop3fetch.messages import Message, shown_uid

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.headers import Summary

Object = dict[str, object]


def message_object(message: Message) -> Object:
    """Return the keys that every object of a message has."""
    return {"number": message.number, "uid": shown_uid(message.uid), "size": message.size}


def listed_message(
    message: Message, summary: Summary | None, *, is_new: bool, has_size: bool = True
) -> Object:
    """Return a message as `list` prints it; ``summary`` is None without --long."""
    shown = {**message_object(message), "new": is_new}
    if not has_size:
        shown["size"] = None
    if summary is not None:
        shown |= {
            "date": date_of(summary),
            "from": summary.sender,
            "to": summary.to,
            "subject": summary.subject,
            "message_id": summary.message_id,
        }
    return shown


def planned_action(verb: str, message: Message, subject: str | None) -> Object:
    """Return one action of --dry-run."""
    return {"would": verb, **message_object(message), "subject": subject}


def date_of(summary: Summary) -> str | None:
    """Return the date in the form of RFC 3339."""
    return summary.date.isoformat() if summary.date else None


def mailbox_object(messages: int, octets: int, new: int | None) -> Object:
    """Return what `stat` prints; ``new`` is None if it was not counted."""
    shown: Object = {"messages": messages, "octets": octets}
    return shown if new is None else {**shown, "new": new}


def account_object(account: Account, destination: str) -> Object:
    """Return an account as `accounts` prints it."""
    shown = {name: getattr(account, name) for name, setting in SETTINGS.items() if setting.shown}
    return {"name": account.name, **shown, "output": destination}
