"""The objects that --json prints, and their keys; ``console`` adds ``account`` to each under -A."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pop3fetch.account.settings_table import SETTINGS
from pop3fetch.messages import Message, shown_uid

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.actions.import_plan import Planned
    from pop3fetch.headers.summary import Summary
    from pop3fetch.importing.foreign import Finding
    from pop3fetch.record.store import Entry
    from pop3fetch.step_results import StepResult

Object = dict[str, object]


def message_object(message: Message) -> Object:
    """Return the keys that every object of a message has."""
    return {"number": message.number, "uid": shown_uid(message.uid), "size": message.size}


def listed_message(
    message: Message, summary: Summary | None, *, is_new: bool, fetched_at: int | None, has_size: bool = True
) -> Object:
    """Return a message as `list` prints it; ``summary`` is None without --long.

    ``fetched_at`` in seconds since the epoch, None if the message is new.
    """
    shown = {**message_object(message), "new": is_new, "fetched_at": moment_of(fetched_at)}
    if not has_size:
        shown["size"] = None
    if summary is not None:
        shown |= {
            "date": date_of(summary),
            "from": summary.sender,
            "to": summary.to,
            "cc": summary.cc,
            "subject": summary.subject,
            "message_id": summary.message_id,
        }
    return shown


def delivered_message(message: Message, path: str | None, destination: str | None) -> Object:
    """Return a message as `get` prints it when it is delivered, and --on-new gets it."""
    return {**message_object(message), "path": path, "destination": destination}


def failed_account(error: Exception, status: int) -> Object:
    """Return what -A prints of an account that fails."""
    return {"error": str(error), "status": status}


def planned_action(verb: str, message: Message, subject: str | None, destination: str | None) -> Object:
    """Return one action of --dry-run; ``destination`` is that of what would be fetched, None for `rm`."""
    shown = {"would": verb, **message_object(message), "subject": subject}
    if destination is None:
        return shown
    return {**shown, "destination": destination if verb == "fetch" else None}


def date_of(summary: Summary) -> str | None:
    """Return the date in the form of RFC 3339."""
    return summary.date.isoformat() if summary.date else None


def moment_of(seconds: int | None) -> str | None:
    """Return a time in seconds since the epoch in the form of RFC 3339, which ends with Z."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def record_object(path: str, times: Sequence[int], doubted: int) -> Object:
    """Return what `record` prints; ``times``: when each message was fetched, in order."""
    first, last = (times[0], times[-1]) if times else (None, None)
    return {
        "path": path,
        "messages": len(times),
        "first_fetch": moment_of(first),
        "last_fetch": moment_of(last),
        "in_doubt": doubted,
    }


def recorded_message(entry: Entry, fetched_at: int, destination: str) -> Object:
    """Return a recorded message as `record list` prints it."""
    return {
        "uid": shown_uid(entry.key.uid),
        "size": entry.size or None,
        "fetched_at": moment_of(fetched_at),
        "destination": destination,
    }


def exported_message(entry: Entry, fetched_at: int, destination: str) -> Object:
    """Return all that is recorded of a message, as `record export` prints it and `record add` reads it."""
    from pop3fetch.record.states import IN_DOUBT

    digest, proves = entry.identity or (None, False)
    return recorded_message(entry, fetched_at, destination) | {
        "occurrence": entry.key.occurrence,
        "octets": entry.octets,
        "identity": digest.hex() if digest else None,
        "proves": proves,
        "in_doubt": entry.state in IN_DOUBT,
    }


def mailbox_object(messages: int, octets: int, new: int | None) -> Object:
    """Return what `stat` prints; ``new`` is None if it was not counted."""
    shown: Object = {"messages": messages, "octets": octets}
    return shown if new is None else {**shown, "new": new}


def step_object(result: StepResult) -> Object:
    """Return a step as `check` prints it."""
    return {
        "step": result.step,
        "result": result.verdict.value,
        "text": result.text,
        "status": int(result.status),
    }


def account_object(account: Account, destination: str) -> Object:
    """Return an account as `accounts` prints it."""
    shown = {name: getattr(account, name) for name, setting in SETTINGS.items() if setting.shown}
    return {"name": account.name, **shown, "output": destination}


def table_without_secret(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of an account, without the password that the URL of a proxy may contain."""
    table = dict(table)
    if "proxy" in table:
        from pop3fetch.values import without_login

        table["proxy"] = without_login(table["proxy"], instead="***@")
    return table


def imported_account(planned: Planned) -> Object:
    """Return an account as `import` prints it."""
    seen, count = planned.seen, planned.counted
    messages = seen.messages if seen and seen.messages is not None else None
    last = max((at for _, at in messages or () if at is not None), default=None)
    secret = None
    if planned.secret:
        secret = "file" if "password_file" in planned.table else "keyring"
    return {
        "account": planned.name,
        "address": planned.account.address if planned.account else None,
        "file": planned.foreign.origin.file,
        "line": planned.foreign.origin.line or None,
        "settings": None if planned.is_known else table_without_secret(planned.table),
        "password": secret,
        "list": seen.path if seen else None,
        "fetched": len(messages) if messages is not None else None,
        "last_fetch": moment_of(last),
        "adds": planned.adds,
        "listed": count.listed if count else None,
        "new": count.new if count else None,
        "due": count.due if count else None,
    }


def import_finding(finding: Finding, names: Mapping[str, str]) -> Object:
    """Return what `import` has found; ``names``: the new names of accounts."""
    return {
        "file": finding.origin.file,
        "line": finding.origin.line or None,
        "severity": "error" if finding.affects else "note",
        "message": finding.text,
        "account": names.get(finding.account) if finding.account else None,
    }
