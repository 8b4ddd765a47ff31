"""What an import makes of each account of another program, before anything is written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from pop3fetch.account import netrc
from pop3fetch.account.config_file import Configuration, Overrides
from pop3fetch.account.settings_table import SETTINGS, Account
from pop3fetch.cli.screen.advice import error_line
from pop3fetch.delivery.kinds import Kind
from pop3fetch.delivery.opening import parse
from pop3fetch.errors import ConfigurationError, FetcherRunning, POP3Error, UsageError
from pop3fetch.importing import files
from pop3fetch.importing.foreign import Broken, Fetched, Finding, ForeignAccount, Origin, Secret
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import ADDED, IMPORTED, MARKED_BY, ReadOnlyStore
from pop3fetch.values import NamedTuple

ALL_NEW = ", so all messages on the server are new"
MARK = "; to record them as fetched, run `pop3fetch get --mark -a {0}` right after the last run of {1}"
# Where some programs look for a password that is in none of their files.
_KEYRINGS = {
    "mpop": ("host", "{host}", "service", "pop3", "user", "{user}"),
    "getmail": ("service", "{host}", "username", "{user}"),
}


class Seen(NamedTuple):
    """The file with the list of fetched messages, what is in it (None if it is missing), and its time."""

    path: str
    messages: tuple[Fetched, ...] | None
    changed_at: int = 0


class Count(NamedTuple):
    """How many messages the server lists, how many of those are in the list or new, and how many are due.

    ``due``: the next `get` deletes them.
    """

    listed: int
    matched: int
    new: int
    due: int

    @property
    def recognises_nothing(self) -> bool:
        """Whether the list and the server have nothing in common."""
        return bool(self.listed) and not self.matched and self.new == self.listed


class Planned(NamedTuple):
    """An account that is to be imported.

    ``account`` is None if its settings are not valid. ``table``: what is written of it into the
    configuration file, unless that has it already (``is_known``). ``adds``: its list goes into the record.
    """

    foreign: ForeignAccount
    name: str
    table: Mapping[str, Any]
    account: Account | None
    is_known: bool
    place: RecordPlace | None
    seen: Seen | None
    adds: bool
    secret: Secret | None
    findings: tuple[Finding, ...]
    counted: Count | None = None  # if the server was asked

    def with_finding(self, text: str) -> Planned:
        """Return the same with one finding more, which affects nothing."""
        finding = Finding(self.foreign.origin, text, False, self.foreign.name)
        return self._replace(findings=(*self.findings, finding))


class Planner:
    """Makes the plan for accounts of one program, beside the configuration file and the records."""

    def __init__(
        self, program: str, known: Configuration, state_folder: Path, *, merge: bool, dry_run: bool
    ) -> None:
        self._program = program
        self._known = known
        self._state_folder = state_folder
        self._merge = merge
        self._dry_run = dry_run

    def plan(self, foreign: ForeignAccount, name: str, lists: Mapping[str, str]) -> Planned:
        """Return the plan for an account under its new ``name``; ``lists``: files that replace its list.

        Raises FetcherRunning if its program is using the list, unless nothing is written.
        """
        findings = list(foreign.findings)
        table = self._table(foreign, findings)
        is_known = name in self._known.tables
        account = self._assembled(foreign, name, table, findings)
        place = self._place(account, is_known=is_known) if account else None
        seen = self._seen(foreign, name, lists, findings)
        adds = self._adds(foreign, name, place, seen, findings)
        secret = None if is_known else self._secret(foreign, findings)
        if account and not is_known and secret is None:
            self._note_password(foreign, account, name, findings)
        return Planned(foreign, name, table, account, is_known, place, seen, adds, secret, tuple(findings))

    # -- settings ----------------------------------------------------------------------------

    def _table(self, foreign: ForeignAccount, findings: list[Finding]) -> dict[str, Any]:
        """Return the settings that this version has, and that are valid."""
        table: dict[str, Any] = {}
        for key, value in foreign.settings.items():
            reason = _refusal(key, value)
            if reason:
                findings.append(Finding(foreign.origins[key], reason, True, foreign.name))
            else:
                table[key] = value
        if self._known.defaults.keys() & {"delete", "delete_after"} and not table.keys() & {
            "delete",
            "delete_after",
        }:
            table["delete"] = False  # which [defaults] would turn on
        return table

    def _assembled(
        self, foreign: ForeignAccount, name: str, table: Mapping[str, Any], findings: list[Finding]
    ) -> Account | None:
        """Return the account as a run will have it."""
        ours = self._known.tables.get(name)
        if not _is_utf_8(name):
            text = "the name of the account is not UTF-8: give it another with --rename"
            findings.append(Finding(foreign.origin, text, True, foreign.name))
            return None
        try:
            tables = {**self._known.tables, name: table if ours is None else ours}
            account = self._known._replace(tables=tables).account(Overrides(account=name))
            wanted = Configuration(Path(), None, {name: table}).account(Overrides(account=name))
        except (ConfigurationError, UsageError) as error:
            findings.append(Finding(foreign.origin, str(error), True, foreign.name))
            return None
        if account.user is None:
            findings.append(Finding(foreign.origin, "the user is missing", True, foreign.name))
            return None
        if account.address != wanted.address:
            text = f"accounts.{name} of {self._known.path} is another mailbox: rename this one with --rename"
            findings.append(Finding(foreign.origin, text, True, foreign.name))
            return None
        if ours is not None:
            text = f"accounts.{name} is in {self._known.path} already, and stays as it is"
            findings.append(Finding(foreign.origin, text, False, foreign.name))
        return account

    # -- what is fetched ---------------------------------------------------------------------

    def _place(self, account: Account, *, is_known: bool) -> RecordPlace:
        if is_known:
            return RecordPlace.to_read(self._state_folder, account.name, account.address)
        return RecordPlace(self._state_folder, account.address)

    def _seen(
        self, foreign: ForeignAccount, name: str, lists: Mapping[str, str], findings: list[Finding]
    ) -> Seen | None:
        given = lists.get(name) or lists.get(foreign.name)
        if foreign.fetched is None:
            if given:
                raise UsageError(f"--list {name}={given}: {self._program} keeps no list for this account")
            text = "{1} keeps no list of fetched messages for this account"
            findings.append(self._note(foreign, foreign.origin, text, name))
            return None
        paths = (foreign.fetched.path, *foreign.fetched.elsewhere)
        path = given or next(filter(os.path.exists, paths), paths[0])
        try:
            try:
                contents = files.read(path, self._program if foreign.fetched.is_locked else None)
            except FetcherRunning as error:
                if not self._dry_run:
                    raise
                findings.append(Finding(Origin(path), error_line(error), False, foreign.name))
                contents = files.read(path)
            messages = tuple(foreign.fetched.read(contents.octets))
        except FileNotFoundError:
            if given:
                raise UsageError(f"--list {name}={given}: no such file") from None
            text = "this list of fetched messages does not exist"
            findings.append(self._note(foreign, Origin(path), text, name))
            return Seen(path, None)
        except OSError as error:
            findings.append(Finding(Origin(path), f"cannot be read: {error.strerror}", True, foreign.name))
            return Seen(path, None)
        except Broken as error:
            findings.append(Finding(Origin(path, error.line), error.reason, True, foreign.name))
            return Seen(path, None)
        if not messages:
            text = "this list has no message of the account"
            findings.append(self._note(foreign, Origin(path), text, name))
        self._look_for_newer(foreign, path, contents.changed_at, findings)
        return Seen(path, messages, contents.changed_at)

    def _note(self, foreign: ForeignAccount, origin: Origin, text: str, name: str) -> Finding:
        if name not in self._known.tables:  # an account that is there has its own record
            text += ALL_NEW
            if not foreign.settings.get("delete"):  # then what was fetched is not there any more
                text += MARK
        return Finding(origin, text.format(shlex.quote(name), self._program), False, foreign.name)

    def _look_for_newer(
        self, foreign: ForeignAccount, path: str, changed_at: int, findings: list[Finding]
    ) -> None:
        """Find messages that may have been delivered by a run that was killed before it wrote its list."""
        try:
            choice = parse(str(foreign.settings.get("output", "-")), is_configured=True)
        except UsageError:
            return
        newer = files.newer_messages(choice.path, changed_at) if choice.kind is Kind.MAILDIR else 0
        if newer:
            text = (
                f"is older than {newer} messages in {choice.path}: if the last run of {self._program} was "
                "killed, they may come twice"
            )
            findings.append(Finding(Origin(path), text, False, foreign.name))

    def _adds(
        self,
        foreign: ForeignAccount,
        name: str,
        place: RecordPlace | None,
        seen: Seen | None,
        findings: list[Finding],
    ) -> bool:
        """Return whether the list goes into the record: not if this program has fetched from the account."""
        if place is None or seen is None or not seen.messages:
            return False
        try:
            with closing(ReadOnlyStore(place)) as store:
                destinations = {destination for _, _, destination in store.fetched()} | store.destinations()
        except POP3Error as error:
            findings.append(Finding(foreign.origin, str(error), True, foreign.name))
            return False
        own = [each for each in destinations if each != ADDED and not each.startswith((IMPORTED, MARKED_BY))]
        if own and not self._merge:
            text = f"pop3fetch has fetched messages of {name} already: --merge adds the list to its record"
            findings.append(Finding(foreign.origin, text, True, foreign.name))
        return self._merge or not own

    # -- its password ------------------------------------------------------------------------

    def _secret(self, foreign: ForeignAccount, findings: list[Finding]) -> Secret | None:
        """Return the password that is in clear text, if it can be carried over."""
        secret = foreign.secret
        if secret is None:
            return None
        reason = None
        if any(character < " " or character == "\x7f" for character in secret.text):
            reason = "the password has a control character in it, and cannot be carried over"
        elif files.read(secret.origin.file).is_shared:
            reason = "others can read the password in this file; chmod 600 it"
        if reason:
            findings.append(Finding(secret.origin, reason, True, foreign.name))
            return None
        findings.append(Finding(secret.origin, "still holds the password", False, foreign.name))
        return secret

    def _note_password(
        self, foreign: ForeignAccount, account: Account, name: str, findings: list[Finding]
    ) -> None:
        """Say how to give a password if there is none; one in ~/.netrc is found at each login."""
        if account.has_password_source or account.auth == "external" or foreign.secret:
            return
        try:
            if netrc.password(Path(os.path.expanduser("~/.netrc")), account.host, str(account.user)):
                return
        except ConfigurationError as error:
            findings.append(Finding(Origin("~/.netrc"), error.reason, False, foreign.name))
            return
        text = f"no password was found: `pop3fetch login -a {shlex.quote(name)}` stores one"
        if words := _KEYRINGS.get(self._program):
            command = [word.format(host=account.host, user=account.user) for word in words]
            line = shlex.join(["secret-tool", "lookup", *command])
            text += f"; if it is in the keyring, set password_command: {line}"
        findings.append(Finding(foreign.origin, text, False, foreign.name))


def _refusal(key: str, value: object) -> str | None:
    """Return why this version does not take a setting, or None."""
    if key not in SETTINGS:
        return f"{key}: this version of pop3fetch has no such setting"
    if any(not _is_utf_8(text) for text in _texts(value)):
        return f"{key}: the configuration file must be UTF-8"
    try:
        SETTINGS[key].check(value)
        if key == "output":
            parse(str(value), is_configured=True)
    except ValueError as error:
        return f"{key} {error}"
    except UsageError as error:
        return f"output: {error}"
    return None


def _texts(value: object) -> Iterable[str]:
    return map(str, value) if isinstance(value, list) else [str(value)]


def _is_utf_8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
