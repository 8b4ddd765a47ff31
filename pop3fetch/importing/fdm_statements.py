"""The statements of an fdm.conf, as far as accounts and their deliveries depend on them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pop3fetch.importing.fdm_words import VALUES, Word, Words
from pop3fetch.importing.foreign import Broken, Origin, Where
from pop3fetch.values import NamedTuple

STATEMENTS = {"account", "action", "match", "set", "include"}
# Words that go on with an action.
_OF_ACTION = {"compress", "server", "port", "from", "to", "value", "key", "user", "pass", "folder"}
_SETTINGS = {
    "maximum-size", "delete-oversized", "queue-high", "queue-low", "ignore-errors", "allow-multiple",
    "lock-file", "lock-timeout", "lock-wait", "command-user", "default-user", "lookup-order", "lock-types",
    "lock-type", "proxy", "unmatched-mail", "purge-after", "no-received", "no-create", "file-umask",
    "file-group", "timeout", "verify-certificates", "strip-characters", "parallel-accounts", "cache",
}  # fmt: skip


class Part(NamedTuple):
    """One thing that an action does, with its values."""

    kind: str
    values: tuple[Word, ...]
    words: frozenset[str]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Action:
    """A named action; ``acts_as_users``: it names users to deliver as."""

    parts: tuple[Part, ...]
    acts_as_users: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for ``accounts``, which are patterns, None for all; ``looks``: it depends on the message."""

    origin: Origin
    accounts: tuple[str, ...] | None
    looks: bool
    names: tuple[str, ...]
    parts: tuple[Part, ...]
    continues: bool
    acts_as_users: bool

    def applies_to(self, account: str) -> bool:
        """Return whether it is for an account of this name."""
        return self.accounts is None or any(fnmatchcase(account, pattern) for pattern in self.accounts)


@dataclass(slots=True)
class Account:
    """An account as it is written."""

    name: str
    origin: Origin
    kind: str = ""
    values: dict[str, Word] = field(default_factory=dict)
    flags: dict[str, Origin] = field(default_factory=dict)


class Statements:
    """What a file has, once it is parsed."""

    def __init__(self, words: Words, where: Where) -> None:
        self._words = words
        self.where = where
        self.settings: dict[str, Part] = {}
        self.accounts: list[Account] = []
        self.actions: dict[str, Action] = {}
        self.rules: list[Rule] = []
        self._nested = 0

    def parse(self) -> None:
        """Read all statements; raises Broken."""
        statements = {
            "include": self._include,
            "set": self._set,
            "cache": self._part,
            "account": self._account,
            "action": self._action,
            "match": self._rule,
        }
        while (word := self._words.take()).kind != "end":
            if word.kind == "define":
                self._words.macros[word.text] = self._value()
            elif word.kind == "word" and word.text in statements:
                statements[word.text](word)
            elif word.text == "}" and self._nested:
                self._nested -= 1
            else:
                raise _wrong(word, "a statement")
        if self._nested:
            raise _wrong(word, "}")

    def action_of(self, rule: Rule) -> Action:
        """Return all that a rule does as one action; raises Broken."""
        parts, acts_as_users = rule.parts, rule.acts_as_users
        for name in rule.names:
            if name not in self.actions:
                raise Broken(rule.origin.line, f"no action is named {name}", rule.origin.file)
            parts += self.actions[name].parts
            acts_as_users |= self.actions[name].acts_as_users
        return Action(parts, acts_as_users)

    def _include(self, _: Word) -> None:
        path = self._words.take()  # and no word more, which would be of this file
        if path.kind != "text":
            raise _wrong(path, "a text in quotes")
        self._words.include(self.where.expand(path.text), path.origin)

    def _set(self, _: Word) -> None:
        part = self._part(self._words.take())
        self.settings[part.kind] = part

    def _is(self, *texts: str) -> bool:
        word = self._words.peek()
        return word.kind in ("word", "symbol") and word.text in texts

    def _value(self) -> Word:
        """Return a text, a number or a command; texts may be joined by ``+``."""
        word = self._words.take()
        if word.kind not in VALUES:
            raise _wrong(word, "a text or a number")
        while self._is("+"):
            self._words.take()
            more = self._words.take()
            is_known = {word.kind, more.kind} == {"text"}
            word = word._replace(kind="text" if is_known else "unknown", text=word.text + more.text)
        return word

    def _text(self) -> Word:
        word = self._value()
        if word.kind != "text":
            raise _wrong(word, "a text in quotes")
        return word

    def _texts(self) -> tuple[str, ...]:
        """Return one text, or several in braces."""
        if not self._is("{"):
            return (self._text().text,)
        self._words.take()
        texts = []
        while not self._is("}"):
            texts.append(self._text().text)
        self._words.take()
        return tuple(texts)

    def _users(self) -> bool:
        """Skip the users to deliver as; return whether there are any."""
        if not self._is("user", "users"):
            return False
        self._words.take()
        if self._is("{"):
            self._braces()
        elif self._words.peek().kind in VALUES:
            self._value()
        return True

    def _braces(self) -> None:
        self._words.take()
        while not self._is("}"):
            if self._words.take().kind == "end":
                raise _wrong(self._words.peek(), "}")
        self._words.take()

    def _part(self, word: Word) -> Part:
        """Return an action, or a setting, with what belongs to it."""
        if word.kind != "word":
            raise _wrong(word, "a keyword")
        values: list[Word] = []
        words: set[str] = set()
        while True:
            following = self._words.peek()
            if following.kind in VALUES:
                values.append(self._value())
            elif self._is("{") and word.text.endswith("s"):
                self._braces()
            elif following.kind == "word" and (
                following.text in _OF_ACTION or (word.text in _SETTINGS and following.text not in STATEMENTS)
            ):
                words.add(self._words.take().text)
            else:
                return Part(word.text, tuple(values), frozenset(words), word.origin)

    def _account(self, _: Word) -> None:
        name = self._text()
        account = Account(name.text, name.origin)
        if any(known.name == account.name for known in self.accounts):
            raise Broken(name.origin.line, f"account {account.name} is defined twice", name.origin.file)
        if self._words.peek().text in ("user", "users"):
            account.flags["users"] = self._words.peek().origin
            self._users()
        if self._is("disabled"):
            account.flags["disabled"] = self._words.take().origin
        account.kind = self._words.take().text
        while True:
            word = self._words.peek()
            if word.kind in VALUES:  # of accounts that are left out
                self._value()
            elif self._is("server", "pipe", "port", "user", "pass", "cache", "folder", "group"):
                key = self._words.take().text
                account.values[key] = self._value()
            elif self._is("{"):
                self._braces()
            elif word.kind == "word" and word.text not in STATEMENTS:
                account.flags[word.text] = self._words.take().origin
            else:
                break
        self.accounts.append(account)

    def _action(self, _: Word) -> None:
        name = self._text()
        acts_as_users = self._users()
        self.actions[name.text] = Action(self._parts(), acts_as_users)

    def _parts(self) -> tuple[Part, ...]:
        if not self._is("{"):
            return (self._part(self._words.take()),)
        self._words.take()
        parts = []
        while not self._is("}"):
            parts.append(self._part(self._words.take()))
        self._words.take()
        return tuple(parts)

    def _rule(self, match: Word) -> None:
        is_nested = self._nested > 0
        accounts, looks = self._condition()
        acts_as_users = self._users()
        names: tuple[str, ...] = ()
        parts: tuple[Part, ...] = ()
        if self._is("{"):
            self._words.take()
            self._nested += 1
            looks = True
        elif self._is("actions"):
            self._words.take()
            names = self._texts()
        elif self._is("action"):
            self._words.take()
            if self._words.peek().kind in VALUES:
                names = (self._text().text,)
            else:
                parts = self._parts()
        else:
            raise _wrong(self._words.peek(), "action")
        if continues := self._is("continue"):
            self._words.take()
        if not is_nested:
            self.rules.append(Rule(match.origin, accounts, looks, names, parts, continues, acts_as_users))

    def _condition(self) -> tuple[tuple[str, ...] | None, bool]:
        """Return the accounts of a condition, and whether it depends on the message as well."""
        accounts: tuple[str, ...] | None = None
        conditions = 0
        looks = False
        while not self._is("action", "actions", "{"):
            if self._words.peek().kind == "end":
                raise _wrong(self._words.peek(), "action")
            if self._is("user", "users") and not looks:
                break
            if self._is("account", "accounts"):
                self._words.take()
                accounts = self._texts()
            elif self._is("all"):
                self._words.take()
            else:
                self._words.take()
                looks = True
            conditions += 1
        return accounts, looks or conditions != 1


def _wrong(word: Word, wanted: str) -> Broken:
    # Neither a text nor a word is shown: it may be a password, perhaps without its quotes.
    shown = {"symbol": repr(word.text), "word": "a word without quotes", "end": "the end"}
    found = "a text" if word.kind in VALUES else shown.get(word.kind, "a macro")
    return Broken(word.origin.line, f"{wanted} is expected, not {found}", word.origin.file)
