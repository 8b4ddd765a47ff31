"""Configuration file < environment < options: one frozen ``Account``.

The file is TOML: ``default``, the name of an account, and a table ``[accounts.NAME]`` for each,
whose keys ``keys.KEYS`` lists; one of them is the table ``oauth`` (``keys.OAUTH_KEYS``). Which
account a run means, the first of these that is given says:

    -a on the command line, -H there, POP3FETCH_ACCOUNT, POP3FETCH_HOST,
    ``default``, the only account of the file

A URL or a host alone is an account of its own, and takes nothing from the file.
Options and variables come in as ``Overrides``: ``os.environ`` is not read here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pop3fetch.account import url
from pop3fetch.account.keys import KEYS, OAUTH_KEYS, Check
from pop3fetch.choices import (
    DEFAULT_EXEC_TIMEOUT,
    DEFAULT_TIMEOUT,
    PLAIN_PORT,
    TLS_PORT,
    TOKEN_METHODS,
    UNIX_PREFIX,
    did_you_mean,
)
from pop3fetch.errors import ConfigurationError, POP3Error, UsageError
from pop3fetch.veil import veiled

if TYPE_CHECKING:
    from pop3fetch.account.oauth.settings import OAuthSettings

TOP_LEVEL = ("default", "accounts")
COMMAND_KEYS = ("password_command", "tunnel_command", "exec")
PASSWORD_KEYS = ("password_file", "password_command", "password")
SECRET_KEYS = ("password", "proxy", *COMMAND_KEYS)  # what may be one, or have one in it
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

Settings = dict[str, Any]
Tables = Mapping[str, Mapping[str, object]]
Complaint = Callable[[str, str], POP3Error]


class Account(NamedTuple):
    """A maildrop, the way to it, and what `get` does with its messages.

    ``port`` is 0 for a UNIX socket; ``tls_fingerprint`` has 64 lower-case digits; ``timeout`` and
    ``exec_timeout`` are seconds, 0 for ever; ``delete_after`` is days; ``max_size`` octets;
    ``source`` is the file it came from; ``password_by_option``: its ``password_file`` or
    ``password_command`` is an option, which goes before POP3FETCH_PASSWORD. Its ``repr`` leaves out
    whatever may hold a secret.
    """

    name: str
    host: str
    port: int
    tls: str
    user: str | None = None
    auth: str = "auto"
    allow_insecure_login: bool = False
    ca_file: str | None = None
    tls_fingerprint: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    password: str | None = None
    password_file: str | None = None
    password_command: tuple[str, ...] | None = None
    password_by_option: bool = False
    timeout: float = DEFAULT_TIMEOUT
    utf8: bool = False
    pipelining: bool = True
    family: str = "any"
    proxy: str | None = None
    tunnel_command: tuple[str, ...] | None = None
    output: str | None = None
    exec: tuple[str, ...] | None = None
    exec_timeout: float = DEFAULT_EXEC_TIMEOUT
    delete: bool | None = None
    delete_after: int | None = None
    limit: int | None = None
    max_size: int | None = None
    crlf: bool = False
    oauth: OAuthSettings | None = None
    source: Path | None = None

    def __repr__(self) -> str:
        return veiled(self, *SECRET_KEYS)

    @property
    def address(self) -> str:
        """``user@host``, with the port where it is not one of POP3's own."""
        return _address(self.user, self.host, self.port)

    @property
    def title(self) -> str:
        """``user@host`` for people: ``user at host`` where the user is an address already."""
        if self.user is None or "@" not in self.user:
            return self.address
        return f"{self.user} at {_address(None, self.host, self.port)}"

    @property
    def uses_oauth(self) -> bool:
        """Whether it logs in with tokens of an OAuth 2 server that it is set up for."""
        return self.oauth is not None and self.auth in TOKEN_METHODS

    @property
    def has_password_source(self) -> bool:
        """Whether a file or a program gives its password."""
        return self.password_file is not None or self.password_command is not None

    def login_name(self) -> str:
        """Return the user; raises ConfigurationError where there is none."""
        if self.user is None:
            where = f"{self.source}: accounts.{self.name}.user" if self.source else self.address
            raise ConfigurationError(where, "the user is missing: give one with --user")
        return self.user


class Overrides(NamedTuple):
    """What options, or the environment's variables, say; None where they say nothing.

    ``account`` is a name or a URL; all else is named, and checked, like the key of the file.
    """

    account: str | None = None
    host: str | None = None
    port: int | None = None
    user: str | None = None
    tls: str | None = None
    auth: str | None = None
    allow_insecure_login: bool | None = None
    ca_file: str | None = None
    tls_fingerprint: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    password_file: str | None = None
    password_command: str | None = None
    timeout: float | None = None
    utf8: bool | None = None
    pipelining: bool | None = None
    family: str | None = None
    proxy: str | None = None

    def __repr__(self) -> str:
        return veiled(self, *(key for key in SECRET_KEYS if key in self._fields))

    def settings(self, wrong: Complaint) -> Settings:
        """Return what was given, checked, by the names of the keys; raises what ``wrong`` makes of it."""
        given = {
            key: value for key, value in self._asdict().items() if key != "account" and value is not None
        }
        return _checked(given, wrong)

    def gives_password(self) -> bool:
        """Return whether a source of the password is among them."""
        return self.password_file is not None or self.password_command is not None


NOTHING = Overrides()


class Configuration(NamedTuple):
    """A configuration file as it was read; a table is checked when its account is asked for.

    ``others``: the permission bits of the file that people have who are neither we nor root.
    """

    path: Path
    default: str | None = None
    tables: Tables = MappingProxyType({})
    others: int = 0

    def __repr__(self) -> str:
        return veiled(self, "tables")

    def names(self) -> tuple[str, ...]:
        """Return the names of the accounts, in the file's order."""
        return tuple(self.tables)

    def is_meant_unnamed(self, name: str) -> bool:
        """Return whether a run that names no account means this one."""
        return self.default == name or (self.default is None and self.names() == (name,))

    def servers(self) -> set[str]:
        """Return the hosts of all accounts, as they were written."""
        return {str(table.get("host")) for table in self.tables.values()}

    def warnings(self) -> list[str]:
        """Return what others could do with the file and should not, a line each."""
        keys = {key for table in self.tables.values() for key in table}
        found = []
        if self.others & OTHERS_WRITE and not keys.isdisjoint(COMMAND_KEYS):
            found.append(f"{self.path}: others can change which commands it runs; chmod go-w it")
        if self.others & OTHERS_READ and "proxy" in keys:
            found.append(
                f"{self.path}: others can read it, and a proxy's URL may hold a password; chmod go-r it"
            )
        if self.others & OTHERS_READ and any(map(_has_client_secret, self.tables.values())):
            found.append(f"{self.path}: others can read the client_secret in it; chmod go-r it")
        return found

    def account(self, options: Overrides = NOTHING, environment: Overrides = NOTHING) -> Account:
        """Return the account that this run means; raises ConfigurationError or UsageError."""
        selector = self._selector(options, environment)
        location = url.parse(selector) if selector is not None and url.is_url(selector) else None
        table = self._table(selector) if selector is not None and location is None else {}
        # `pop3:` promises no TLS, so it moves the default only; `pop3s:` is as good as --tls.
        settings: Settings = {"tls": "auto"} if location and not location.secured else dict(table)
        for layer, wrong in ((environment, _wrong_variable), (options, _wrong_option)):
            if location and layer.account == selector:
                settings |= _checked(location.settings(), _wrong_url)
            given = layer.settings(wrong)
            if not given.keys().isdisjoint(PASSWORD_KEYS):  # no lower layer has a say then
                settings = {key: value for key, value in settings.items() if key not in PASSWORD_KEYS}
            settings |= given
        settings["password_by_option"] = options.gives_password()
        return self._assembled(selector if table else None, table, settings)

    def _selector(self, options: Overrides, environment: Overrides) -> str | None:
        """Return the name or URL of the account that is meant, None where a host is."""
        for layer in (options, environment):
            if layer.account is not None or layer.host is not None:
                return layer.account
        return self._default()

    def _default(self) -> str:
        if self.default is not None:
            self._require(self.default, f"{self.path}: default")
            return self.default
        if len(self.tables) == 1:
            return next(iter(self.tables))
        if self.tables:
            reason = f"is missing: set it, or choose with --account one of {', '.join(self.tables)}"
            raise ConfigurationError(f"{self.path}: default", reason)
        raise ConfigurationError(
            "no account is given",
            "`pop3fetch login alice@example.org`, with your own address, sets one up; or use --host and "
            f"--user, or --account pop3s://USER@HOST, or describe one in {self.path}; "
            "`pop3fetch demo` needs none",
        )

    def _require(self, name: str, where: str) -> None:
        if name in self.tables:
            return
        # What has a colon may be a URL without its scheme, with a password in it.
        shown = "that" if ":" in name else repr(name)
        known = f" (accounts: {', '.join(self.tables)})" if self.tables else " (there are no accounts)"
        hint = did_you_mean(name, self.tables)
        if "@" in name and ":" not in name and not hint:
            hint = f"; `pop3fetch login {name}` sets it up"
        raise ConfigurationError(where, f"no account is named {shown}{hint}{known}")

    def _table(self, name: str) -> Settings:
        self._require(name, f"{self.path}: accounts")
        table = f"{self.path}: accounts.{name}"
        settings = _checked(self.tables[name], _wrong_key(table))
        if "oauth" in settings:
            from pop3fetch.account.oauth.settings import from_table

            wrong = _wrong_key(f"{table}.oauth")
            settings["oauth"] = from_table(_checked(settings["oauth"], wrong, OAUTH_KEYS), wrong)
        if "output" in settings and "exec" in settings:
            raise ConfigurationError(f"{table}.exec", "cannot go with output: keep one of the two")
        if "host" not in settings:
            raise ConfigurationError(f"{table}.host", "is missing")
        return settings

    def _assembled(self, name: str | None, table: Settings, settings: Settings) -> Account:
        settings |= _port_and_tls(settings)
        if settings.get("client_key") and not settings.get("client_cert"):
            raise ConfigurationError("client_key", "needs client_cert beside it")
        address = _address(settings.get("user"), settings["host"], settings["port"])
        # Another server or user than the table's is another maildrop, with a record of its own.
        same = all(settings.get(key) == table.get(key) for key in ("host", "user"))
        return Account(
            name=name if name is not None and same else address,
            source=None if name is None else self.path,
            **settings,
        )


def needs_file(options: Overrides = NOTHING, environment: Overrides = NOTHING) -> bool:
    """Return whether an account of the configuration file is meant, and not a host or a URL."""
    for layer in (options, environment):
        if layer.account is not None:
            return not url.is_url(layer.account)
        if layer.host is not None:
            return False
    return True


def load(path: Path | None = None) -> Configuration:
    """Read the configuration file, by default the platform's own, which need not be there.

    Raises ConfigurationError where it is missing though named, cannot be read, is no TOML, has
    another shape, or holds a password that others can read.
    """
    file = default_config_file() if path is None else path
    try:
        document, others = _read(file)
    except FileNotFoundError:
        if path is None:
            return Configuration(file)
        raise ConfigurationError(str(file), "there is no such file") from None
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # of TOML's grammar, of UTF-8, of a number with too many digits
        raise ConfigurationError(str(file), f"is no valid TOML: {error}") from error
    tables = _tables(file, document)
    if others:
        _refuse_passwords(file, tables)
    return Configuration(file, _default_name(file, document), tables, others)


def default_config_file() -> Path:
    """Return where the configuration file is, unless --config says otherwise."""
    from platformdirs import user_config_path

    return _own_place(user_config_path, "--config") / "config.toml"


def default_state_dir() -> Path:
    """Return where the records are kept, unless --state-dir says otherwise."""
    from platformdirs import user_state_path

    return _own_place(user_state_path, "--state-dir")


def _own_place(place: Callable[[str], Path], option: str) -> Path:
    try:
        path = place("pop3fetch")
    except RuntimeError:  # a user whom the system does not know, as containers have them
        path = Path()
    if not path.is_absolute():
        raise ConfigurationError("the home folder is not known", f"set HOME, or use {option}")
    return path


def _read(file: Path) -> tuple[dict[str, object], int]:
    """Return the file's document, and the permission bits that others than we and root have."""
    import tomllib

    with file.open("rb") as stream:
        status = os.fstat(stream.fileno())
        # A stranger who owns the file reads and writes what he likes.
        others = status.st_mode & OTHERS if status.st_uid in (os.geteuid(), 0) else OTHERS
        return tomllib.load(stream), others


def _tables(file: Path, document: Mapping[str, object]) -> Tables:
    for key in document:
        if key not in TOP_LEVEL:
            hint = (
                "; it belongs into a table [accounts.NAME]" if key in KEYS else did_you_mean(key, TOP_LEVEL)
            )
            raise ConfigurationError(f"{file}: {key}", f"there is no such key{hint}")
    accounts = _as_table(document.get("accounts", {}), f"{file}: accounts")
    return {name: _as_table(table, f"{file}: accounts.{name}") for name, table in accounts.items()}


def _as_table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ConfigurationError(where, "must be a table, as in [accounts.NAME]")
    return value


def _default_name(file: Path, document: Mapping[str, object]) -> str | None:
    name = document.get("default")
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"{file}: default", "must be a string, the name of an account")
    return name


def _refuse_passwords(file: Path, tables: Tables) -> None:
    for name, table in tables.items():
        if "password" in table:
            raise ConfigurationError(
                f"{file}: accounts.{name}.password",
                "others can read this file: chmod 600 it, or better, use password_command or the keyring",
            )


def _has_client_secret(table: Mapping[str, object]) -> bool:
    oauth = table.get("oauth")
    return isinstance(oauth, dict) and "client_secret" in oauth


def _checked(given: Mapping[str, object], wrong: Complaint, keys: Mapping[str, Check] = KEYS) -> Settings:
    """Return the values that were given in their own types; ``wrong`` makes an error of key and reason."""
    settings = {}
    for key, value in given.items():
        if key not in keys:
            raise wrong(key, f"there is no such key{did_you_mean(key, keys)}")
        try:
            settings[key] = keys[key](value)
        except ValueError as error:
            raise wrong(key, str(error)) from error
    return settings


def _wrong_key(table: str) -> Complaint:
    return lambda key, reason: ConfigurationError(f"{table}.{key}", reason)


def _wrong_option(key: str, reason: str) -> POP3Error:
    return UsageError(f"--{key.replace('_', '-')} {reason}")


def _wrong_variable(key: str, reason: str) -> POP3Error:
    return UsageError(f"POP3FETCH_{key.upper()} {reason}")


def _wrong_url(key: str, reason: str) -> POP3Error:
    return UsageError(f"--account: the URL's {key} {reason}")


def _port_and_tls(settings: Settings) -> Settings:
    """Return port and TLS mode, by default the ones that go with each other.

    A UNIX socket has no port, and no host name that a certificate could be checked for.
    """
    if settings["host"].startswith(UNIX_PREFIX):
        return {"port": 0, "tls": settings.get("tls", "auto")}
    tls = settings.get("tls", "auto" if settings.get("port") == PLAIN_PORT else "implicit")
    return {"port": settings.get("port", TLS_PORT if tls == "implicit" else PLAIN_PORT), "tls": tls}


def _address(user: str | None, host: str, port: int) -> str:
    literal = ":" in host and not host.startswith(UNIX_PREFIX)
    at = f"{user}@" if user is not None else ""
    end = "" if port in (TLS_PORT, PLAIN_PORT, 0) else f":{port}"
    return f"{at}[{host}]{end}" if literal else f"{at}{host}{end}"
