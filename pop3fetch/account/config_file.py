"""Configuration file < environment < options: one frozen ``Account``.

The file is TOML: ``default``, the name of an account, and for each account a table ``[accounts.NAME]``,
whose keys are the rows of ``settings_table``; one of them is the table ``oauth``. ``[defaults]`` has keys for
all accounts, and ``[destinations.NAME]`` those of a mail server that ``@NAME`` means as ``output``. The first
of these that is given chooses the account of a run:

    -a on the command line, -H there, POP3FETCH_ACCOUNT, POP3FETCH_HOST,
    ``default``, the only account of the file

A URL or a host alone is a separate account, and takes nothing from the file.
Options and variables are passed in as ``Overrides``: ``os.environ`` is not read here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from pop3fetch.account import checks, url
from pop3fetch.account.checks import Check
from pop3fetch.account.settings_table import OPTIONS, SECRETS, SETTINGS, Account, address_of
from pop3fetch.defaults import PLAIN_PORT, TLS_PORT, UNIX_PREFIX, did_you_mean
from pop3fetch.durable import from_home, platform_folder
from pop3fetch.errors import ConfigurationError, POP3Error, UsageError
from pop3fetch.values import NamedTuple, veiled

if TYPE_CHECKING:
    from pop3fetch.account.destination_table import DestinationTable

LOG_FILE = "log_file"  # a key of [defaults] alone: a process has one log
SYSLOG = "syslog"  # instead of a file's name
TOP_LEVEL = ("default", "defaults", "accounts", "destinations")
KEYS: Mapping[str, Check] = {name: setting.check for name, setting in SETTINGS.items()}
PATH_KEYS = {name for name, check in KEYS.items() if check is checks.path}
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

Settings = dict[str, Any]
Tables = Mapping[str, Mapping[str, object]]
Complaint = Callable[[str, str, object], POP3Error]  # of key, reason and value


class Overrides(dict[str, Any]):
    """The settings that options, or the environment's variables, give: by name, and not checked yet.

    ``account`` among them is the name or the URL of the account that is meant. Overrides never change.
    """

    def __repr__(self) -> str:
        return f"Overrides({ {key: value for key, value in self.items() if key not in SECRETS} })"

    def without(self, *names: str) -> Overrides:
        """Return the same without these names."""
        return Overrides({key: value for key, value in self.items() if key not in names})

    def checked(self, wrong: Complaint) -> Settings:
        """Return the settings in their own types; raises what ``wrong`` makes of a wrong one."""
        return _checked({key: value for key, value in self.items() if key != "account"}, wrong)


NOTHING = Overrides()


class Configuration(NamedTuple):
    """A configuration file as it was read; a table is checked when its account or destination is asked for.

    ``defaults`` are the keys of all accounts. ``others``: the permission bits of the file for users
    other than us and root.
    """

    path: Path
    default: str | None = None
    tables: Tables = MappingProxyType({})
    others: int = 0
    defaults: Mapping[str, object] = MappingProxyType({})
    destinations: Tables = MappingProxyType({})

    def __repr__(self) -> str:
        return veiled(self, "tables", "defaults", "destinations")

    def names(self) -> tuple[str, ...]:
        """Return the names of the accounts, in the file's order."""
        return tuple(self.tables)

    def is_meant_unnamed(self, name: str) -> bool:
        """Return whether a run that names no account means this one."""
        return self.default == name or (self.default is None and self.names() == (name,))

    def log_file(self) -> str | None:
        """Return the path of the log, or ``syslog``; raises ConfigurationError."""
        where, file = f"{self.path}: defaults.{LOG_FILE}", self.defaults.get(LOG_FILE)
        if file is None or file == SYSLOG:
            return file
        if not isinstance(file, str) or not file or "\0" in file:
            raise ConfigurationError(where, f"must be the path of a file, or {SYSLOG!r}")
        path = os.path.expanduser(from_home(file))
        if not os.path.isabs(path):
            raise ConfigurationError(where, "the home folder is not known; write the whole path")
        return path

    def servers(self) -> set[str]:
        """Return the hosts of all accounts, as they were written."""
        return {str(table.get("host", self.defaults.get("host"))) for table in self.tables.values()}

    def warnings(self) -> list[str]:
        """Return what others can do with the file and should not, one line each."""
        tables = (self.defaults, *self.tables.values(), *self.destinations.values())
        keys = {key for table in tables for key in table}
        found = []
        if self.others & OTHERS_WRITE and any(SETTINGS[key].runs for key in keys & KEYS.keys()):
            found.append(f"{self.path}: others can change which commands it runs; chmod go-w it")
        if self.others & OTHERS_READ and "proxy" in keys:
            found.append(
                f"{self.path}: others can read it, and a proxy's URL may contain a password; chmod go-r it"
            )
        oauth = (table.get("oauth") for table in tables)
        has_secret = any(isinstance(table, dict) and "client_secret" in table for table in oauth)
        if self.others & OTHERS_READ and has_secret:
            found.append(f"{self.path}: others can read the client_secret in it; chmod go-r it")
        return found

    def account(self, options: Overrides = NOTHING, environment: Overrides = NOTHING) -> Account:
        """Return the account that this run means; raises ConfigurationError or UsageError."""
        layers = (layer for layer in (options, environment) if "account" in layer or "host" in layer)
        choosing = next(layers, None)
        selector = self._default() if choosing is None else choosing.get("account")  # None: a host is meant
        location = url.parse(selector) if selector is not None and url.is_url(selector) else None
        table = self._table(selector) if selector is not None and location is None else {}
        # `pop3:` promises no TLS, so it moves the default only; `pop3s:` is as good as --tls.
        settings: Settings = {"tls": "auto"} if location and "tls" not in location else dict(table)
        for layer, wrong in ((environment, _wrong_variable), (options, wrong_option)):
            if location and layer.get("account") == selector:
                settings |= _checked(location, _wrong_url)
            settings = _over(settings, layer.checked(wrong))
        settings["password_by_option"] = "password_file" in options or "password_command" in options
        return self._assembled(selector if table else None, table, settings)

    def _default(self) -> str:
        if self.default is not None:
            self._require(self.default, f"{self.path}: default")
            return self.default
        if len(self.tables) == 1:
            return next(iter(self.tables))
        if self.tables:
            reason = f"{self.path} has no default; choose one of {', '.join(self.tables)} with -a, "
            example = f'use all with -A, or write default = "{next(iter(self.tables))}" at its top'
            raise ConfigurationError("no account is given", reason + example)
        raise ConfigurationError(
            "no account is given",
            f"{self.path} has none; set one up with `pop3fetch login ADDRESS`, or name a server with "
            "-a pop3s://USER@HOST; `pop3fetch demo` needs neither",
        )

    def _require(self, name: str, where: str) -> None:
        if name in self.tables:
            return
        # What has a colon may be a URL without its scheme, with a password in it.
        what = "no account has this name" if ":" in name else f"no account is named {name!r}"
        hint = did_you_mean(name, self.tables)
        if "@" in name and ":" not in name and not hint:
            hint = f"; `pop3fetch login {name}` sets it up"
        elif not hint:
            names = ", ".join(self.tables)
            known = f"the accounts are {names}" if len(self.tables) > 1 else f"the only account is {names}"
            hint = f"; {known}" if names else "; `pop3fetch login ADDRESS` adds one"
        raise ConfigurationError(where, f"{what}{hint}")

    def _table(self, name: str) -> Settings:
        self._require(name, str(self.path))
        table = f"{self.path}: accounts.{name}"
        settings = _settings_of(self.tables[name], table)
        if self.defaults:
            defaults = {key: value for key, value in self.defaults.items() if key != LOG_FILE}
            settings = _over(_settings_of(defaults, f"{self.path}: defaults"), settings)
        if "host" not in settings:
            raise ConfigurationError(table, 'host is missing; write host = "pop.example.org"')
        return settings

    def destination(self, name: str) -> DestinationTable:
        """Return the table of a destination; raises ConfigurationError."""
        from pop3fetch.account.destination_table import DESTINATION_KEYS, DestinationTable

        where = f"{self.path}: destinations"
        if name not in self.destinations:
            known = f" (destinations: {', '.join(self.destinations)})" if self.destinations else ""
            hint = did_you_mean(name, self.destinations)
            raise ConfigurationError(where, f"no destination is named {name!r}{hint}{known}")
        where = f"{where}.{name}"
        settings = _settings_of(self.destinations[name], where, DESTINATION_KEYS)
        if "url" not in settings:
            example = "imaps://alice@imap.example.org/INBOX"
            raise ConfigurationError(where, f'url is missing; write url = "{example}"')
        return DestinationTable(name, where, settings)

    def _assembled(self, name: str | None, table: Settings, settings: Settings) -> Account:
        if settings["host"].startswith(UNIX_PREFIX):
            # A socket has no port, and no host name that a certificate could be checked for.
            settings |= {"port": 0, "tls": settings.get("tls", "auto")}
        elif "tls" not in settings:
            settings["tls"] = "auto" if settings.get("port") == PLAIN_PORT else "implicit"
        settings.setdefault("port", TLS_PORT if settings["tls"] == "implicit" else PLAIN_PORT)
        if settings.get("client_key") and not settings.get("client_cert"):
            raise ConfigurationError(
                "client_key", "the certificate is missing; also set client_cert (--client-cert)"
            )
        if (settings.get("output") or "").startswith("@"):
            settings["destination"] = self.destination(settings["output"][1:])
        address = address_of(settings.get("user"), settings["host"], settings["port"])
        # Another server or user than the table's is another maildrop, with a record of its own.
        same = all(settings.get(key) == table.get(key) for key in ("host", "user"))
        return Account(
            name=name if name is not None and same else address,
            source=None if name is None else self.path,
            **settings,
        )


def needs_file(options: Overrides = NOTHING, environment: Overrides = NOTHING) -> bool:
    """Return whether the file is needed: for its account, or for the destination ``@NAME``."""
    if str(options.get("output", "")).startswith("@"):
        return True
    for layer in (options, environment):
        if "account" in layer:
            return not url.is_url(layer["account"])
        if "host" in layer:
            return False
    return True


def load(path: Path | None = None) -> Configuration:
    """Read the configuration file, by default the platform's own, which may be missing.

    Raises ConfigurationError if it is named and missing, cannot be read, is not TOML, has another
    shape, or contains a password that others can read.
    """
    file = path or default_config_file()
    try:
        document, others = _read(file)
    except FileNotFoundError:
        if path is None:
            return Configuration(file)
        raise ConfigurationError(str(file), "no such file") from None
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # of TOML's grammar, of UTF-8, of a number with too many digits
        raise _not_toml(file, error) from error
    tables = _tables(file, document)
    defaults = document.get("defaults", {})
    if not isinstance(defaults, dict):
        raise ConfigurationError(f"{file}: defaults", "must be a table; write [defaults]")
    destinations = _destinations(file, document)
    named = {
        "defaults": defaults,
        **{f"accounts.{name}": table for name, table in tables.items()},
        **{f"destinations.{name}": table for name, table in destinations.items()},
    }
    for name in (name for name, table in named.items() if others and "password" in table):
        raise ConfigurationError(
            f"{file}: {name}.password",
            "others can read this file; chmod 600 it, or better, use password_command or the keyring",
        )
    default = document.get("default")
    if default is not None and not isinstance(default, str):
        from pop3fetch.account.corrections import of_default

        reason = f"must be a string, the name of an account{of_default(default)}"
        raise ConfigurationError(f"{file}: default", reason)
    return Configuration(file, default, tables, others, defaults, destinations)


def _destinations(file: Path, document: Mapping[str, object]) -> Tables:
    destinations = document.get("destinations", {})
    tables = destinations.values() if isinstance(destinations, dict) else [None]
    if not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{file}: destinations", "must hold tables; write [destinations.NAME]")
    return cast(Tables, destinations)


def default_config_file() -> Path:
    """Return the path of the configuration file without --config; raises ConfigurationError."""
    return platform_folder("config", "--config") / "config.toml"


def _read(file: Path) -> tuple[dict[str, object], int]:
    """Return the file's document, and its permission bits for users other than us and root."""
    import tomllib

    with file.open("rb") as stream:
        status = os.fstat(stream.fileno())
        # A stranger who owns the file can read it and write to it.
        others = status.st_mode & OTHERS if status.st_uid in (os.geteuid(), 0) else OTHERS
        return tomllib.load(stream), others


def _not_toml(file: Path, error: ValueError) -> ConfigurationError:
    """Return the error for a file that is not TOML, with the line and what to write there."""
    from pop3fetch.account.corrections import of_syntax

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    return ConfigurationError(str(file), of_syntax(text, str(error), KEYS))


def _tables(file: Path, document: Mapping[str, object]) -> Tables:
    for key in document:
        if key not in TOP_LEVEL:
            from pop3fetch.account.corrections import of_top_level_key

            kind = "table" if isinstance(document[key], dict) else "key"
            advice = of_top_level_key(key, document[key], TOP_LEVEL)
            raise ConfigurationError(f"{file}: {key}", f"unknown {kind}{advice}")
    accounts = document.get("accounts", {})
    if not isinstance(accounts, dict):
        raise ConfigurationError(
            f"{file}: accounts", "must be tables; write [accounts.NAME] for each account"
        )
    for name, table in accounts.items():
        if "\0" in name:  # programs get the name of the account in a variable
            raise ConfigurationError(f"{file}: accounts", "the name of an account must not contain NULs")
        if not isinstance(table, dict):
            from pop3fetch.account.corrections import of_account

            raise ConfigurationError(f"{file}: accounts.{name}", of_account(name))
    return accounts


def _settings_of(table: Mapping[str, object], where: str, keys: Mapping[str, Check] = KEYS) -> Settings:
    """Return what a table of the file gives, in its own types; raises ConfigurationError."""
    settings = _checked(table, _wrong_key(where), keys)
    for key in PATH_KEYS & table.keys():
        settings[key] = os.path.expanduser(from_home(str(table[key])))
        if not os.path.isabs(settings[key]):
            raise ConfigurationError(f"{where}.{key}", "the home folder is not known; write the whole path")
    if "oauth" in settings:
        from pop3fetch.account.oauth.providers import OAUTH_KEYS, from_table

        wrong = _wrong_key(f"{where}.oauth")
        protocol = str(settings.get("url", "pop3")).partition(":")[0].lower().removesuffix("s")
        settings["oauth"] = from_table(_checked(settings["oauth"], wrong, OAUTH_KEYS), wrong, protocol)
    if "output" in settings and "exec" in settings:
        raise ConfigurationError(f"{where}.exec", "cannot be combined with output; keep one of them")
    return settings


def _over(settings: Settings, given: Settings) -> Settings:
    """Return the settings with those of a higher layer, which hides the whole group of each."""
    groups = {SETTINGS[key].group for key in given} - {""}
    return {key: value for key, value in settings.items() if SETTINGS[key].group not in groups} | given


def _checked(given: Mapping[str, object], wrong: Complaint, keys: Mapping[str, Check] = KEYS) -> Settings:
    """Return the values in their own types; ``wrong`` makes an error of key and reason."""
    settings = {}
    for key, value in given.items():
        if key not in keys:
            from pop3fetch.account.corrections import of_unknown_key

            raise wrong(key, f"unknown key{of_unknown_key(key, value, keys)}", None)
        try:
            settings[key] = keys[key](value)
        except ValueError as error:
            raise wrong(key, str(error), value) from error
    return settings


def _wrong_key(table: str) -> Complaint:
    def wrong(key: str, reason: str, value: object) -> POP3Error:
        from pop3fetch.account.corrections import of_value

        reason = reason.replace(f"--{key.replace('_', '-')} ", f"{key} = ")  # an example
        meant = of_value(key, value, KEYS[key]) if key in KEYS and value is not None else ""
        return ConfigurationError(f"{table}.{key}", f"{reason}; write {key} = {meant}" if meant else reason)

    return wrong


def wrong_option(key: str, reason: str, value: object) -> POP3Error:
    """Return the error of an option that gives a setting."""
    usages = (option.usage.split() for name, option in OPTIONS if name == key)
    spelling = next((word for words in usages for word in words if word.startswith("--")), key)
    return UsageError(f"{spelling} {reason}")


def _wrong_variable(key: str, reason: str, value: object) -> POP3Error:
    return UsageError(f"POP3FETCH_{key.upper()} {reason}")


def _wrong_url(key: str, reason: str, value: object) -> POP3Error:
    return UsageError(f"--account: the URL's {key} {reason}")
