"""The values that settings accept: one check for each kind of value.

A check takes a value, as its last parameter, from TOML or an option, and returns it in its own type and
form. It raises ValueError with the second half of a sentence ("must be ..."), which never shows a secret.
``config`` adds the first half: the file, table and key, or the option.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar

from pop3fetch.defaults import PROXY_SCHEMES, UNIX_PREFIX

if TYPE_CHECKING:
    from datetime import timedelta

Check = Callable[[object], object]
Plain = TypeVar("Plain", bound=str | int)

LONGEST_WAIT = 1_000_000  # seconds; poll(2) counts milliseconds in a C int, which ends after 24 days
LONGEST_STAY = 36_500  # days; a date a century ago still exists
TOML_TYPES = {
    bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array",
    dict: "a table",
}  # fmt: skip


def _of_type(value: object, kind: type[Plain], called: str) -> Plain:
    # A bool is an int in Python, but `port = true` is not a number.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"must be {called}, not {_described(value)}")
    return value


def _described(value: object) -> str:
    return TOML_TYPES.get(type(value), "a date or time")


def flag(value: object) -> bool:
    """Check that it is true or false."""
    return _of_type(value, bool, "true or false")


def text(value: object) -> str:
    """Check that it is a string, not empty, and of one line."""
    string = _of_type(value, str, "a string")
    if not string:
        raise ValueError("must not be empty")
    # In a command line of POP3 these would begin another command.
    if any(character in string for character in "\r\n\0"):
        raise ValueError("must not contain line breaks or NULs")
    return string


def strings(value: object) -> tuple[str, ...]:
    """Check that it is an array of strings; a string is for the caller to split."""
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"must be a string or an array of strings, not {_described(value)}")
    return tuple(value)


# What may stand between < and > in a command, without quoting: a local part, and perhaps a domain.
_ADDRESS = r"""[^\x00-\x20\x7f"(),:;<>@\[\\\]]+(@[^\x00-\x20\x7f"(),;<>@\\]+)?"""


def address(value: object, *, may_be_empty: bool = False) -> str:
    """Check that it is an address without a name, or the name of a local user."""
    given = _of_type(value, str, "an address")
    if not (may_be_empty and not given) and not re.fullmatch(_ADDRESS, given):
        raise ValueError(f"must be an address such as alice@example.org, not {given!r}")
    return given


def addresses(value: object) -> tuple[str, ...]:
    """Return addresses that are given as an array, or a single one as a string."""
    given = (value,) if isinstance(value, str) else strings(value)
    if not given:
        raise ValueError("must not be empty")
    return tuple(dict.fromkeys(map(address, given)))


def number(low: int, high: int | None, value: object) -> int:
    """Check that it is a whole number in a range."""
    given = _of_type(value, int, "a whole number")
    if given < low or (high is not None and given > high):
        wanted = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"must be {wanted}, not {given}")
    return given


def seconds(value: object) -> float:
    """Check that it is a time in seconds; 0 is forever."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number of seconds, not {_described(value)}")
    if not 0 <= value <= LONGEST_WAIT:  # false for NaN as well
        raise ValueError(f"must be between 0 (forever) and {LONGEST_WAIT} seconds, not {value}")
    return float(value)


def octets(value: object) -> int:
    """Return a number of octets that is given as one, or as text such as ``10M``."""
    if isinstance(value, str):
        from pop3fetch import quantities

        value = quantities.size(value)
    return number(1, None, value)


def duration(value: object) -> timedelta:
    """Return a duration that is given as one, or as text such as ``12h``."""
    from datetime import timedelta

    from pop3fetch import quantities

    return value if isinstance(value, timedelta) else quantities.duration(text(value))


def one_of(known: Collection[str], value: object) -> str:
    """Check that it is, in any case, one of the ``known`` words."""
    word = text(value).lower()
    if word not in known:
        raise ValueError(f"must be one of {', '.join(known)}, not {value!r}")
    return word


def host(value: object) -> str:
    """Check that it is a host's name, an address, or a UNIX socket."""
    name = text(value)
    if name.startswith(UNIX_PREFIX):
        socket = os.path.expanduser(name.removeprefix(UNIX_PREFIX))
        if not socket.startswith("/"):
            raise ValueError("must name a socket by its whole path, as in unix:/run/pop3.sock")
        return UNIX_PREFIX + socket
    if ":" in name or name.startswith("["):
        from ipaddress import IPv6Address

        try:
            return str(IPv6Address(name.removeprefix("[").removesuffix("]")))
        except ValueError:
            raise ValueError(
                "must be a host name or an address; a port is given separately (`port`, --port)"
            ) from None
    if not name.isprintable() or any(character in " /@?#%\\]" for character in name):
        raise ValueError(f"must be a host name or an address, not {name!r}")
    return name.lower()


def server_name(value: object) -> str:
    """Check that it is a name or an address that a certificate may be for."""
    name = host(value)
    if name.startswith(UNIX_PREFIX):
        raise ValueError(f"must be a host name or an address, not {name!r}")
    return name


def ciphers(value: object) -> str:
    """Check that it is a list of ciphers that OpenSSL knows."""
    from pop3fetch.tls_policy import are_ciphers

    names = text(value)
    if not are_ciphers(names):
        raise ValueError(f"must be a list of OpenSSL's ciphers such as DEFAULT, not {names!r}")
    return names


def path(value: object) -> str:
    """Return a path, with the home folder for a leading ``~``."""
    return os.path.expanduser(text(value))


def fingerprint(value: object) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case digits."""
    digits = text(value).replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise ValueError("must be a SHA-256 fingerprint: 64 hexadecimal digits, colons allowed")
    return digits


def proxy(value: object) -> str:
    """Check that it is the URL of a proxy with host and port; its text may contain a password."""
    from urllib.parse import urlsplit

    url = text(value)
    if not url.startswith(PROXY_SCHEMES):
        raise ValueError(f"must begin with one of {', '.join(PROXY_SCHEMES)}")
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname and parts.port)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError("must end with the host and the port, as in socks5://localhost:1080")
    return url


def command(key: str, value: object) -> tuple[str, ...]:
    """Return the words of a command, which no shell runs; ``key`` is its name in the file."""
    from pop3fetch.account.command_words import words_of

    return words_of(value if isinstance(value, str) else strings(value), key)


def password_command(value: object) -> tuple[str, ...]:
    """Return the words of a command, with the home folder for a leading ``~/`` in a word."""
    words = command("password_command", value)
    return tuple(os.path.expanduser(word) if word.startswith("~/") else word for word in words)


def oauth_table(value: object) -> dict[str, object]:
    """Check that it is a table; ``oauth.providers`` checks what is in it."""
    if not isinstance(value, dict):
        raise ValueError("must be a table, as in [accounts.NAME.oauth]")
    return value
