"""What each setting of an account may be: one table from key to check.

A check takes a value as TOML or an option gives it, returns it in its own type and form, and
raises ValueError with a sentence's second half ("must be ..."), which never shows a secret;
``config`` knows the first half: which file, table and key, or which option.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pop3fetch.choices import AUTH_METHODS, FAMILIES, PROXY_SCHEMES, TLS_MODES, UNIX_PREFIX

Check = Callable[[object], object]
Plain = TypeVar("Plain", bound=str | int)

PROVIDERS = ("microsoft", "google")
LOOPBACK = ("localhost", "127.0.0.1", "::1")

LONGEST_WAIT = 1_000_000  # seconds; poll(2) counts milliseconds in a C int, which ends after 24 days
LONGEST_STAY = 36_500  # days; a century back is still a date
SHA256_DIGITS = re.compile(r"[0-9a-f]{64}")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
SIZE = re.compile(r"([0-9]{1,18})([KMG]?)", re.IGNORECASE)
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

OPERATORS = ("|", "||", "|&", "&&", ";", ";;", "&")
SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish")
SHELL_LINE = "sh -c '…'"
_RAW_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)
_REDIRECTION = re.compile(r"(?:[0-9]*|&)(?:<|>)[<>&|]*")
_RUNS_SCRIPT = re.compile(r"-[A-Za-z]*c[A-Za-z]*")

TOML_TYPES = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array", dict: "table"}


def octets(value: object) -> int:
    """Return a number of octets that is given as one, or as text such as ``10M``."""
    if isinstance(value, str):
        match = SIZE.fullmatch(value)
        if match is None:
            raise ValueError(f"must be a number of octets such as 500000, 64K or 10M, not {value!r}")
        value = int(match[1]) * UNITS[match[2].upper()]
    return _at_least_one(value)


def endpoint(value: object) -> str:
    """Return the URL of an OAuth 2 endpoint: https (RFC 6749 section 3.2), or http on loopback."""
    from urllib.parse import urlsplit

    text = _text(value)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be a URL, in printable ASCII without spaces")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # of an address in brackets, or of a port
        host = None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)):
        raise ValueError("must be a URL that begins with https://")
    if "@" in parts.netloc or "#" in text:
        raise ValueError("must not hold a user name, a password or a fragment")
    return text


def _one_of(value: object, kind: type[Plain], called: str) -> Plain:
    # A bool is an int for Python, but `port = true` is no number for anybody else.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"must be {called}, not {_described(value)}")
    return value


def _described(value: object) -> str:
    return f"a value of type {TOML_TYPES.get(type(value), 'date or time')}"


def _flag(value: object) -> bool:
    return _one_of(value, bool, "true or false")


def _text(value: object) -> str:
    text = _one_of(value, str, "a string")
    if not text:
        raise ValueError("must not be empty")
    # In a command line of POP3 these would begin another command.
    if any(character in text for character in "\r\n\0"):
        raise ValueError("must not contain line breaks or NULs")
    return text


def _number(low: int, high: int | None = None) -> Callable[[object], int]:
    wanted = f"at least {low}" if high is None else f"between {low} and {high}"

    def check(value: object) -> int:
        number = _one_of(value, int, "a whole number")
        if number < low or (high is not None and number > high):
            raise ValueError(f"must be {wanted}, not {number}")
        return number

    return check


_at_least_one = _number(1)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number of seconds, not {_described(value)}")
    if not 0 <= value <= LONGEST_WAIT:  # false for NaN as well
        raise ValueError(f"must be between 0 (for ever) and {LONGEST_WAIT} seconds, not {value}")
    return float(value)


def _choice(*known: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        word = _text(value).lower()
        if word not in known:
            raise ValueError(f"must be one of {', '.join(known)}, not {value!r}")
        return word

    return check


def _host(value: object) -> str:
    text = _text(value)
    if text.startswith(UNIX_PREFIX):
        return UNIX_PREFIX + _absolute(text.removeprefix(UNIX_PREFIX))
    if ":" in text or text.startswith("["):
        return _ipv6(text)
    if not text.isprintable() or any(character in " /@?#%\\]" for character in text):
        raise ValueError(f"must be a host name or an address, not {text!r}")
    return text.lower()


def _absolute(path: str) -> str:
    expanded = os.path.expanduser(path)
    if not expanded.startswith("/"):
        raise ValueError("must name a socket by its whole path, as in unix:/run/pop3.sock")
    return expanded


def _ipv6(text: str) -> str:
    from ipaddress import IPv6Address

    try:
        return str(IPv6Address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(
            "must be a host name or an address; a port is given apart (`port`, --port)"
        ) from None


def _path(value: object) -> str:
    return os.path.expanduser(_text(value))


def _fingerprint(value: object) -> str:
    digits = _text(value).replace(":", "").lower()
    if SHA256_DIGITS.fullmatch(digits) is None:
        raise ValueError("must be a SHA-256 fingerprint: 64 hexadecimal digits, colons allowed")
    return digits


def _proxy(value: object) -> str:
    text = _text(value)
    if not text.startswith(PROXY_SCHEMES):
        # The text stays out of the message: it may hold the proxy's password.
        raise ValueError(f"must begin with one of {', '.join(PROXY_SCHEMES)}")
    if not _has_host_and_port(text):
        raise ValueError("must end with the host and the port, as in socks5://localhost:1080")
    return text


def _has_host_and_port(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False


def _command(key: str) -> Callable[[object], tuple[str, ...]]:
    """Return the check of a command, which is ``key`` in the file and ``--key`` on the command line."""

    def check(value: object) -> tuple[str, ...]:
        words = _shell_words(value) if isinstance(value, str) else _listed(value)
        if not words or not words[0]:
            raise ValueError("must name a program")
        if any("\0" in word for word in words):
            raise ValueError("must not contain NULs")
        found = _shell_syntax(_RAW_WORD.findall(value) if isinstance(value, str) else words, words)
        if found is not None:
            form = f'{key} = "{SHELL_LINE}"' if key == "tunnel_command" else f'{_option(key)} "{SHELL_LINE}"'
            raise ValueError(f"contains {found}, which only a shell understands; use {form}")
        return words

    return check


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _password_command(value: object) -> tuple[str, ...]:
    words = _command("password_command")(value)
    return tuple(os.path.expanduser(word) if word.startswith("~/") else word for word in words)


def _shell_syntax(raw: Sequence[str], words: Sequence[str]) -> str | None:
    """Return what of a command only a shell understands, or None.

    ``raw``: the words with their quotes, which make an operator a word like others; an array has none.
    What a shell is given after -c is its own.
    """
    scripts = _scripts(words)
    for place, word in enumerate(words):
        unquoted = raw[place] if len(raw) == len(words) else word
        if place in scripts:
            continue
        if unquoted in OPERATORS:
            return unquoted
        if redirection := _REDIRECTION.match(unquoted):
            return redirection[0]
        if unquoted.endswith(";") and not unquoted.endswith("\\;"):
            return ";"
        if "$(" in word or "`" in word:
            return "$(" if "$(" in word else "`"
    return None


def _scripts(words: Sequence[str]) -> set[int]:
    """Return the places of the scripts in ``sh -c SCRIPT``, also behind ``env`` and the like."""
    found = set()
    for place, word in enumerate(words):
        if os.path.basename(word) not in SHELLS:
            continue
        option = place + 1
        while option < len(words) and words[option].startswith("-"):
            if _RUNS_SCRIPT.fullmatch(words[option]):
                found.add(option + 1)
                break
            option += 1
    return found


def _shell_words(text: str) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {error}") from None


def _listed(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"must be a string or an array of strings, not {_described(value)}")
    return tuple(value)


def _scopes(value: object) -> tuple[str, ...]:
    scopes = tuple(value.split()) if isinstance(value, str) else _listed(value)
    if not scopes or not all(SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError("must be OAuth 2 scopes: words of printable ASCII, none with a quote or a backslash")
    return scopes


def _oauth_table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("must be a table, as in [accounts.NAME.oauth]")
    return value


# The keys of [accounts.NAME]; most are options as well, with - for _.
KEYS: Mapping[str, Check] = {
    "host": _host,
    "port": _number(1, 65_535),
    "user": _text,
    "tls": _choice(*TLS_MODES),
    "auth": _choice(*AUTH_METHODS),
    "allow_insecure_login": _flag,
    "ca_file": _path,
    "tls_fingerprint": _fingerprint,
    "client_cert": _path,
    "client_key": _path,
    "password": _text,
    "password_file": _path,
    "password_command": _password_command,
    "timeout": _seconds,
    "utf8": _flag,
    "pipelining": _flag,
    "family": _choice(*FAMILIES),
    "proxy": _proxy,
    "tunnel_command": _command("tunnel_command"),
    "output": _text,
    "exec": _command("exec"),
    "exec_timeout": _seconds,
    "delete": _flag,
    "delete_after": _number(0, LONGEST_STAY),
    "limit": _number(1),
    "max_size": octets,
    "crlf": _flag,
    "oauth": _oauth_table,
}

# The keys of [accounts.NAME.oauth].
OAUTH_KEYS: Mapping[str, Check] = {
    "provider": _choice(*PROVIDERS),
    "client_id": _text,
    "client_secret": _text,
    "authorization_endpoint": endpoint,
    "device_endpoint": endpoint,
    "token_endpoint": endpoint,
    "scopes": _scopes,
}
