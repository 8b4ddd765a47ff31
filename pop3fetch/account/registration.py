"""A new account is written into the configuration file, which keeps its comments and its layout.

The file is replaced in one step, and only if the new one is read back as intended. If an account cannot be
added without changing the rest, the user must add it by hand. No existing account is changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pop3fetch.account.config_file import Configuration, load
from pop3fetch.durable import PRIVATE_FILE, make_folder, open_private, sync_file
from pop3fetch.errors import ConfigurationError

Settings = Mapping[str, str | int | float | bool]


def register(path: Path, name: str, settings: Settings) -> Configuration:
    """Write the table ``[accounts.NAME]``, unless it exists already; return the file's new content.

    If the file has exactly one account, which needs no name so far, that becomes its ``default``: a run
    without a name still means it. Raises ConfigurationError if the file cannot be written, or has another
    account of this name.
    """
    try:
        file = path.resolve()  # a symbolic link stays one
        make_folder(file.parent)
        with _alone_in(file.parent) as folder:
            return _register(file, folder, name, settings)
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be written: {error.strerror}") from error


def _register(file: Path, folder: int, name: str, settings: Settings) -> Configuration:
    known = load(file) if file.exists() else Configuration(file)
    if name in known.tables:
        if any(known.tables[name].get(key) != value for key, value in settings.items()):
            raise name_is_taken(known.path, name)
        return known
    before = file.read_bytes().decode() if file.exists() else ""
    default = next(iter(known.tables)) if len(known.tables) == 1 and known.default is None else None
    wanted = Configuration(file, known.default or default, {**known.tables, name: settings})
    _replace(file, folder, _extended(before, name, settings, default), wanted)
    return wanted


def name_is_taken(path: Path, name: str) -> ConfigurationError:
    """Return the error for a name that another account of the file has."""
    return ConfigurationError(
        f"{path}: accounts.{name}",
        "is another account, and stays as it is: choose another name with --account, or change it there",
    )


def _extended(text: str, name: str, settings: Settings, default: str | None) -> str:
    """Return the text of the file with the table, and ``default`` if it is given.

    The existing text is not rewritten, except for an inline table: tomlkit would split keys with dots.
    """
    import tomlkit
    from tomlkit.items import InlineTable

    try:
        document = tomlkit.parse(text)
        inline = document.get("accounts")
        if isinstance(inline, InlineTable):
            table = tomlkit.inline_table()
            table.update(settings)
            inline[name] = table
            extended = document.as_string()
        else:
            extended = text
            if text.strip() and not text.endswith(("\n\n", "\n\r\n")):  # an empty line before the table
                extended = text.removesuffix("\n").removesuffix("\r") + "\n\n"
            extended += tomlkit.dumps({"accounts": {name: dict(settings)}})
    except ValueError as error:  # of tomlkit, which accepts a little less than tomllib
        raise ConfigurationError(f"accounts.{name}", f"cannot be added: {error}") from error
    if default is not None:
        extended = f"{tomlkit.dumps({'default': default})}\n{extended}"
    uses_crlf = "\r\n" in text and text.count("\n") == text.count("\r\n")
    return extended.replace("\r\n", "\n").replace("\n", "\r\n") if uses_crlf else extended


def _replace(file: Path, folder: int, text: str, wanted: Configuration) -> None:
    """Replace the file by ``text``, durably, if it is read back as ``wanted``."""
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else PRIVATE_FILE
    if not mode & stat.S_IWUSR:
        raise ConfigurationError(str(file), "cannot be written: it is read-only")
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _write(fresh, text.encode(), mode)
        _check(fresh, wanted)
        fresh.rename(file)
    finally:
        fresh.unlink(missing_ok=True)
    sync_file(folder)


def _write(path: Path, octets: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)  # of a process that died, and had our process number
    with open(open_private(path, os.O_WRONLY | os.O_EXCL), "wb") as stream:
        stream.write(octets)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        sync_file(stream.fileno())


def _check(file: Path, wanted: Configuration) -> None:
    try:
        read = load(file)
        says_it = (read.tables, read.default) == (wanted.tables, wanted.default)
    except ConfigurationError:
        says_it = False
    if not says_it:
        raise ConfigurationError(str(wanted.path), "cannot be extended as it is: add the account by hand")


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Lock the folder, so that two processes write its file one after the other."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some file systems have no such locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
