"""What to write instead of a mistake in the configuration file.

Imported only once a mistake is found. The value of a key that may be a secret is never shown, nor that of an
unknown key, which may be a slip of ``password``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping

from pop3fetch.account import checks
from pop3fetch.account.settings_table import SECRETS, SETTINGS
from pop3fetch.defaults import did_you_mean

# What other programs and languages call our keys.
SYNONYMS = {
    "destination": "output",
    "folder": "output",
    "login": "user",
    "maildir": "output",
    "mbox": "output",
    "mda": "exec",
    "server": "host",
    "ssl": "tls",
}
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
HIDDEN = "…"
HUGE = 10**9  # Python does not show a number of more than 4300 digits
QUOTES = "\"'“”„‘’"  # also those that word processors write
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_ASSIGNMENT = re.compile(r"""\s*([\w.-]+)\s*(=|:|\s)\s*(.*?)\s*""")
_TABLE = re.compile(r"\s*\[\s*accounts\.([^\[\]\"']+?)\s*\]?\s*")


def of_unknown_key(key: str, value: object, keys: Collection[str]) -> str:
    """Return the advice for a key that a table of an account does not have."""
    if key == "default":
        return "; it belongs at the top of the file, before the first table"
    if isinstance(value, dict) and not did_you_mean(key, keys):
        return '; a name with a dot needs quotes, as in [accounts."example.org"]'
    if key == "keep":
        return "; messages stay on the server unless delete or delete_after is set"
    if key in SYNONYMS and SYNONYMS[key] in keys:
        return f"; did you mean {SYNONYMS[key]!r}?"
    from pop3fetch.account.oauth.providers import OAUTH_KEYS

    if key in OAUTH_KEYS:
        return "; it belongs in [accounts.NAME.oauth]"
    if key in SETTINGS:
        return "; it belongs in [accounts.NAME]"
    return did_you_mean(key, keys)


def of_top_level_key(key: str, value: object, keys: Collection[str]) -> str:
    """Return the advice for a key, or a table, that is not below ``accounts``."""
    if isinstance(value, dict):
        if did_you_mean(key, ("defaults",)):
            return "; write [defaults]"
        near = did_you_mean(key, ("accounts",))
        return f"; write [accounts.{'NAME' if near else _quoted(key)}]"
    if key in SETTINGS:
        return "; it belongs below a line [accounts.NAME] or [defaults]"
    return did_you_mean(key, keys)


def of_default(value: object) -> str:
    """Return the advice for a ``default`` that is not a string."""
    if isinstance(value, dict):
        return "; keys of all accounts are in [defaults]"
    meant = of_value("default", value, checks.text)
    return f"; write default = {meant}" if meant else ""


def of_account(name: str) -> str:
    """Return the advice for what is below ``accounts``, but is not a table."""
    if name in SETTINGS:
        return "[accounts] needs a name; write [accounts.NAME], for example [accounts.work]"
    return f"must be a table; write [accounts.{_quoted(name)}]"


def of_value(key: str, value: object, check: Callable[[object], object]) -> str:
    """Return the value in TOML that was probably meant, empty if none is likely."""
    likely: list[object] = []
    if isinstance(value, str):
        word = value.strip().lower()
        likely += [BOOLEANS[word]] if word in BOOLEANS else []
        likely += map(int, re.findall(r"^\d{1,9}", word))
    elif isinstance(value, int | float) and abs(value) < HUGE:
        likely.append(str(value))
    elif isinstance(value, list) and len(value) == 1:
        likely += value
    for candidate in likely:
        try:
            check(candidate)
        except ValueError:
            continue
        return _in_toml(key, candidate)
    return ""


def of_syntax(text: str, message: str, checks: Mapping[str, Callable[[object], object]]) -> str:
    """Return the line of a file that is not TOML, what is wrong there, and what to write."""
    position = _POSITION.search(message)
    if position is None:
        return f"not TOML: {message}"
    lines = text.splitlines()
    number = int(position[1] or len(lines))
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    what = message[: position.start()]
    return f"line {number}: {_advice(line, what, checks) or f'not TOML: {what}'}"


def _advice(line: str, what: str, checks: Mapping[str, Callable[[object], object]]) -> str:
    if "twice" in what or "overwrite" in what:
        return f"{line.strip().partition('=')[0].strip()} is already in the file; remove one of them"
    if table := _TABLE.fullmatch(line):
        is_closed = "]" in line  # then its name is wrong
        return f"not the line of a table; write [accounts.{_quoted(table[1]) if is_closed else table[1]}]"
    if line.lstrip().startswith((";", "//")):
        return "not TOML; a comment begins with #"
    assignment = _ASSIGNMENT.fullmatch(line)
    if not assignment or not assignment[3]:
        return "the value is missing" if assignment and assignment[2] == "=" else ""
    key, value = assignment[1], assignment[3]
    if "\\" in value:
        return "a backslash in double quotes begins an escape; write the value in single quotes"
    meant = _meant(key, value, checks)
    failure = "text needs quotes" if meant.startswith('"') else f"not a value of {key}"
    if value[0] in QUOTES:
        failure = "a quote is missing" if value[0] in "\"'" else "only straight quotes count"
    if assignment[2] != "=":
        failure = "the = is missing"
    return f"{failure}; write {key} = {meant}"


def _meant(key: str, value: str, checks: Mapping[str, Callable[[object], object]]) -> str:
    bare = re.sub(r"\s+#.*", "", value).strip(QUOTES)
    if key not in checks:
        return _in_toml(key, bare) if key == "default" else f'"{HIDDEN}"'
    try:
        checks[key](bare)
    except ValueError:
        return of_value(key, bare, checks[key]) or _in_toml(key, bare)
    return _in_toml(key, bare)


def _in_toml(key: str, value: object) -> str:
    return f'"{HIDDEN}"' if key in SECRETS else json.dumps(value, ensure_ascii=False)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name, ensure_ascii=False)
