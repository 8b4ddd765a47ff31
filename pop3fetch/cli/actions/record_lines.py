"""The lines that `record add` reads: JSON objects as `record export` prints them, or UIDs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from pop3fetch.errors import UsageError
from pop3fetch.headers.fields import Identity
from pop3fetch.messages import LARGEST_SIZE, unescaped_uid
from pop3fetch.record.editing import Addition
from pop3fetch.record.store import ADDED


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string, and not empty")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_SIZE:
        raise ValueError("must be a number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _moment(value: Any) -> int:
    try:
        return int(datetime.fromisoformat(_text(value)).timestamp())
    except (ArithmeticError, OSError, ValueError):
        raise ValueError("must be a time such as 2026-11-01T12:00:00Z") from None


def _digest(value: Any) -> bytes:
    text = _text(value)
    if not re.fullmatch("(?:[0-9a-f]{16}){1,2}", text, re.IGNORECASE):
        raise ValueError("must be 16 or 32 hexadecimal digits")
    return bytes.fromhex(text)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "uid": _text,
    "size": _number,
    "fetched_at": _moment,
    "destination": _text,
    "occurrence": _number,
    "octets": _number,
    "identity": _digest,
    "proves": _flag,
    "in_doubt": _flag,
    "account": _text,
}


def read(octets: bytes, name: str, fetched_at: int | None) -> list[Addition]:
    """Return what the lines of the file ``name`` describe; raises UsageError.

    ``fetched_at``: the time of lines that have none. If the first line is a JSON object, all are.
    """
    lines = [(number, line.strip()) for number, line in enumerate(octets.split(b"\n"), 1) if line.strip()]
    if lines and _object(lines[0][1]):
        return list(_messages(lines, name, fetched_at))
    if lines and all(line.startswith(b"uid:") for _, line in lines):
        raise UsageError(f"{name}: its lines begin with uid:; write the unique-ids alone")
    for number, line in lines:
        if line.startswith(b"{") and "uid" in (_object(line) or ()):
            raise UsageError(f"{name}, line {number}: a JSON object, although the first line is none")
    return [Addition(unescaped_uid(line), fetched_at) for _, line in lines]


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line, or None."""
    try:
        value = json.loads(line)
    except (RecursionError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _messages(lines: list[tuple[int, bytes]], name: str, fetched_at: int | None) -> Iterator[Addition]:
    accounts: set[str] = set()
    for number, line in lines:
        where = f"{name}, line {number}"
        given = _object(line)
        if given is None or "uid" not in given:
            raise UsageError(f"{where}: not a JSON object with a uid")
        facts = {}
        for key, value in given.items():
            if key not in _CHECKS:
                raise UsageError(f"{where}: unknown key {key!r}")
            try:
                facts[key] = None if value is None and key != "uid" else _CHECKS[key](value)
            except ValueError as error:
                raise UsageError(f"{where}: {key} {error}") from error
        accounts.add(facts.get("account") or "")
        if len(accounts) > 1:
            raise UsageError(f"{where}: the messages are of several accounts; choose those of one")
        yield _addition(facts, fetched_at)


def _addition(facts: dict[str, Any], fetched_at: int | None) -> Addition:
    digest = facts.get("identity")
    known_time = facts.get("fetched_at")
    return Addition(
        uid=unescaped_uid(facts["uid"].encode("utf-8", "surrogateescape")),
        fetched_at=fetched_at if known_time is None else known_time,
        destination=facts.get("destination") or ADDED,
        size=facts.get("size") or 0,
        identity=Identity(digest, bool(facts.get("proves"))) if digest else None,
        octets=facts.get("octets"),
        may_be_reused=bool(facts.get("in_doubt")),
        occurrence=facts.get("occurrence"),
    )
