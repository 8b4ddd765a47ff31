"""Where `login` stores a password: in the keyring, in a file beside the configuration, or nowhere."""

from __future__ import annotations

from pathlib import Path

from pop3fetch.account.config_file import Overrides, load
from pop3fetch.account.credentials import NETRC
from pop3fetch.account.registration import forget_password, keep_password, password_file_of
from pop3fetch.account.settings_table import PASSWORD_KEYS, Account
from pop3fetch.account.system_keyring import keep, password_of, remove
from pop3fetch.cli.screen.console import Console
from pop3fetch.durable import short
from pop3fetch.errors import ConfigurationError, UsageError


class PasswordStore:
    """The place for the password of an account: what ``wanted`` names, or where it is stored already.

    A new password goes to the keyring. If there is none, it goes into a file if the user agrees.
    """

    def __init__(self, account: Account, console: Console, wanted: str | None = None) -> None:
        """Raises what forbids to store a password there, before anything is connected."""
        self._account = account
        self._console = console
        self._wanted = wanted
        self._source: Path | None = None  # the configuration file, if the account has a table there
        self._given_by = ""  # the key of the table that gives the password
        self.has_file = False  # whether it is stored in a file
        if account.source and account.name in load(account.source).names():
            self._source = account.source
            configured = load(account.source).account(Overrides(account=account.name))
            self._given_by = next((key for key in PASSWORD_KEYS if getattr(configured, key) is not None), "")
            if configured.password_file == str(password_file_of(account.source, account.name)):
                self.has_file, self._given_by = True, ""
        if wanted == "file" and self._source is None:
            advice = "set one up with `pop3fetch login ADDRESS`"
            raise UsageError(f"--store file needs an account of the configuration file; {advice}")
        if wanted in ("file", "keyring") and self._given_by:
            where = f"{account.source}: accounts.{account.name}.{self._given_by}"
            raise ConfigurationError(where, "gives the password already; remove it, or leave out --store")

    def without_stored(self) -> Account:
        """Return the account without the password that is stored in a file: `login` tries another."""
        return self._account._replace(password_file=None) if self.has_file else self._account

    def keep(self, secret: str, source: str) -> str:
        """Store the password, which ``source`` gave; return what has become of it, to end a sentence."""
        if self._wanted == "none":
            return "is not stored"
        if self._given_by:
            return f"is not stored, because the key {self._given_by} gives it"
        if self._wanted is None and source == NETRC:
            return f"is not stored, because {NETRC} has it"
        if self._wanted == "file" or (self.has_file and self._wanted is None):
            return self._keep_in_file(secret)
        try:
            keep(password_of(self._account), secret)
        except ConfigurationError as error:
            if self._wanted is None and self._source and self._console.can_ask:
                self._console.error(str(error))
                file = short(password_file_of(self._source, self._account.name))
                question = f"Store it in {file} (mode 0600)?"
                agrees = self._console.talk(lambda: self._console.confirm(question))
                return self._keep_in_file(secret) if agrees else "is not stored"
            advice = "--store file, or password_command" if self._source else "--password-command"
            where = f"the password is not stored: {error.where}"
            raise ConfigurationError(where, f"{error.reason}; use {advice}") from error
        if self.has_file and self._source:
            forget_password(self._source, self._account.name)
        return "is kept in the keyring"

    def _keep_in_file(self, secret: str) -> str:
        assert self._source is not None
        return f"is kept in {short(keep_password(self._source, self._account.name, secret))}"

    def forget(self) -> str:
        """Remove the password; return what has become of it, for the end of a sentence."""
        if self.has_file and self._source:
            forget_password(self._source, self._account.name)
            return f"is removed from {short(password_file_of(self._source, self._account.name))}"
        was_there = remove(password_of(self._account))
        return f"{'is removed from' if was_there else 'was not in'} the keyring"
