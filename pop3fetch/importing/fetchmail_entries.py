"""The entries of a fetchmailrc: its grammar. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pop3fetch.importing.fetchmail_words import METHODS, PROTOCOLS, SYNONYMS, Word, words
from pop3fetch.importing.foreign import Broken
from pop3fetch.values import NamedTuple

# The options and how many values each takes: none, a text, a number, a text or number, texts, numbers.
_FLAGS = ("uidl", "checkalias", "dns", "tracepolls")
_SERVER = {
    **dict.fromkeys(_FLAGS, "none"),
    **dict.fromkeys(("via", "principal", "esmtpname", "esmtppassword", "qvirtual", "interface", "monitor",
                     "plugin", "plugout"), "text"),
    **dict.fromkeys(("interval", "timeout", "idletimeout"), "number"),
    **dict.fromkeys(("aka", "localdomains"), "texts"),
    "service": "either", "protocol": "protocol", "auth": "method", "envelope": "envelope",
    "bad-header": "policy",
}  # fmt: skip
_USER = {
    **dict.fromkeys(("keep", "flush", "limitflush", "fetchall", "rewrite", "forcecr", "stripcr", "pass8bits",
                     "dropstatus", "dropdelivered", "mimedecode", "idle", "forceidle", "ssl", "sslcertck",
                     "lmtp"), "none"),
    **dict.fromkeys(("password", "smtpaddress", "smtpname", "mda", "bsmtp", "preconnect", "postconnect",
                     "sslkey", "sslcert", "sslproto", "sslcertfile", "sslcertpath", "sslcommonname",
                     "sslfingerprint", "properties"), "text"),
    **dict.fromkeys(("limit", "warnings", "fetchlimit", "fetchsizelimit", "fastuidl", "batchlimit",
                     "expunge"), "number"),
    **dict.fromkeys(("folder", "smtphost", "fetchdomains"), "texts"),
    "antispam": "numbers", "is": "names", "to": "names",
}  # fmt: skip
_GLOBAL = {
    **dict.fromkeys(("bouncemail", "spambounce", "softbounce", "syslog", "invisible", "showdots"), "none"),
    **dict.fromkeys(("logfile", "idfile", "pidfile", "postmaster", "properties"), "text"),
    "daemon": "number",
}  # fmt: skip


MOST_DIGITS = 18


class Option(NamedTuple):
    """The values of an option, and its line; a switch that is off has no."""

    values: tuple[str, ...]
    line: int
    is_on: bool = True

    @property
    def value(self) -> str:
        """The one value."""
        return self.values[0]

    @property
    def number(self) -> int:
        """The one value, as a number."""
        return int(self.values[0])


Options = Mapping[str, Option]


@dataclass(frozen=True, slots=True)
class User:
    """A user of an entry; ``name`` is None if it is the user who runs fetchmail."""

    name: str | None
    line: int
    options: dict[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """What begins with ``poll``, ``skip`` or ``defaults``."""

    kind: str
    name: str
    line: int
    options: dict[str, Option]
    users: tuple[User, ...]


class Entries:
    """What a file has, read from its words."""

    def __init__(self, text: str) -> None:
        self._words = list(words(text))
        self._at = 0

    @property
    def _next(self) -> Word:
        return self._words[self._at]

    def _is(self, *keywords: str) -> bool:
        return self._next.kind == "keyword" and self._next.text in keywords

    def _take(self) -> Word:
        word = self._next
        self._at += 1
        return word

    def _wrong(self, wanted: str) -> Broken:
        word = self._next
        # A text may be a password.
        is_value = word.kind in ("text", "number")
        found = f"a {word.kind}" if is_value else repr(word.text) if word.text else "the end"
        return Broken(word.line, f"{wanted} is expected, not {found}")

    def read(self) -> tuple[dict[str, Option], list[Entry]]:
        """Return the global settings and the entries; raises Broken."""
        settings: dict[str, Option] = {}
        entries: list[Entry] = []
        while not self._is(""):
            if self._is("set"):
                self._take()
                self._option(_GLOBAL, settings)
            elif self._is("poll", "skip", "defaults"):
                entries.append(self._entry())
                if entries[-1].kind == "defaults" and len(entries) > 1:
                    raise Broken(entries[-1].line, "defaults must come first, and once")
            else:
                raise self._wrong("poll, skip, defaults or set")
        return settings, entries

    def _entry(self) -> Entry:
        _, kind, line = self._take()
        name = "defaults" if kind == "defaults" else self._text()
        options: dict[str, Option] = {}
        while self._is(*_SERVER) or self._is_no(_SERVER):
            self._option(_SERVER, options)
        users: list[User] = []
        if not self._is("user"):
            user = User(None, line)
            while self._is(*_USER) or self._is_no(_USER):
                self._user_option(user.options)
            if user.options and self._is("user"):  # fetchmail refuses that, too
                raise Broken(self._next.line, "the options of a user must come after the user")
            users.append(self._remote(user))
        while self._is("user"):
            users.append(self._user())
        if self._is(*_SERVER) or self._is_no(_SERVER):
            text = f"{self._next.text} is an option of the server, and must come before those of users"
            raise Broken(self._next.line, text)
        return Entry(kind, name, line, options, tuple(users))

    def _is_no(self, known: Mapping[str, str]) -> bool:
        following = self._words[min(self._at + 1, len(self._words) - 1)]
        return self._is("no") and following.text in known

    def _user(self) -> User:
        line = self._take().line
        names = self._names()
        user = User(names[0], line)
        if self._is("here"):  # the name of a local user
            self._take()
            user = User(None, line, {"is": Option(tuple(names), line)})
        elif len(names) > 1:
            raise self._wrong("here")
        elif self._is("there"):
            self._take()
        while self._is(*_USER) or self._is_no(_USER):
            self._user_option(user.options)
        return self._remote(user)

    def _remote(self, user: User) -> User:
        """Return the user with the name that ``is NAME there`` gives."""
        given = user.options.pop("there", None)
        return user if given is None else replace(user, name=given.value)

    def _user_option(self, options: dict[str, Option]) -> None:
        if not self._is("is", "to"):
            self._option(_USER, options)
            return
        keyword = self._take()
        names = tuple(self._names())
        if self._is("there") and keyword.text == "is" and len(names) == 1:
            self._take()
            options["there"] = Option(names, keyword.line)
            return
        if self._is("here"):
            self._take()
        before = options["is"].values if "is" in options else ()
        options["is"] = Option((*before, *names), keyword.line)

    def _names(self) -> list[str]:
        """Return local names; ``A = B`` is one."""
        names = [self._text()]
        while self._next.kind == "text" or self._is("="):
            if self._is("="):
                self._take()
                names[-1] += f"={self._text()}"
            else:
                names.append(self._text())
        return names

    def _option(self, known: Mapping[str, str], options: dict[str, Option]) -> None:
        line = self._next.line
        if is_off := self._is("no"):
            self._take()
        if not self._is(*known):
            raise self._wrong(f"one of {', '.join(sorted(known))}")
        name = self._take().text
        if known is _GLOBAL and self._is("="):
            self._take()
        if is_off and known[name] not in ("none", "envelope"):
            raise Broken(line, f"no {name}: only a switch can be off")
        values = () if is_off else self._values(known[name])
        options[name] = Option(values, line, not is_off)

    def _values(self, kind: str) -> tuple[str, ...]:
        if kind == "none":
            return ()
        if kind in ("text", "number", "either"):
            return (self._text() if kind == "text" else self._value(kind),)
        if kind in ("texts", "numbers"):
            values = [self._value(kind[:-1])]
            while self._next.kind == kind[:-1]:
                values.append(self._take().text)
            return tuple(values)
        if kind == "envelope":
            skipped = (self._take().text,) if self._next.kind == "number" else ()
            return (*skipped, self._text())
        choices = {"protocol": PROTOCOLS, "method": {*METHODS, "password"}, "policy": {"accept", "reject"}}
        if not self._is(*choices[kind], *(SYNONYMS.get(each, each) for each in choices[kind])):
            raise self._wrong(f"a {kind}")
        return (self._take().text,)

    def _value(self, kind: str) -> str:
        if self._next.kind == "number" and len(self._next.text) > MOST_DIGITS:
            raise Broken(self._next.line, f"a number has more than {MOST_DIGITS} digits")
        if self._next.kind == kind or (kind == "either" and self._next.kind in ("text", "number")):
            return self._take().text
        raise self._wrong(f"a {'text or number' if kind == 'either' else kind}")

    def _text(self) -> str:
        return self._value("text")
