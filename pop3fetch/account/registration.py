"""What `login` and `import` write into the configuration file, and beside it.

The file keeps its comments and its layout. It is replaced in one step, and only if the new one is read back
as intended. If an account cannot be added without changing the rest, the user must add it by hand. Of an
existing account only the key ``password_file`` is changed, if its password is kept in a file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pop3fetch.account.config_file import Configuration, load
from pop3fetch.durable import PRIVATE_FILE, make_folder, open_private, short, sync_file, sync_folder
from pop3fetch.errors import ConfigurationError

Settings = Mapping[str, str | int | float | bool | list[str]]


def register(path: Path, name: str, settings: Settings) -> Configuration:
    """Write the table ``[accounts.NAME]``, unless it exists already; return the file's new content.

    If the file has exactly one account, which needs no name so far, that becomes its ``default``: a run
    without a name still means it. Raises ConfigurationError if the file cannot be written, or has another
    account of this name.
    """
    return register_all(path, {name: settings})


def register_all(
    path: Path, tables: Mapping[str, Settings], default: str | None = None, backup: str = ""
) -> Configuration:
    """Do as :func:`register` for several accounts in one step.

    ``default`` is for a file that names none, and has no account. ``backup``: first copy the file to one
    with this end of its name, if anything is written. An older copy stays.
    """
    try:
        file = path.resolve()  # a symbolic link stays one
        make_folder(file.parent)
        with _alone_in(file.parent) as folder:
            return _register(file, folder, tables, default, backup)
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be written: {error.strerror}") from error


def _register(
    file: Path, folder: int, tables: Mapping[str, Settings], default: str | None, backup: str
) -> Configuration:
    known = load(file) if file.exists() else Configuration(file)
    fresh = {name: settings for name, settings in tables.items() if name not in known.tables}
    for name, settings in tables.items():
        if name not in fresh and any(known.tables[name].get(key) != value for key, value in settings.items()):
            raise name_is_taken(known.path, name)
    if not fresh:
        return known
    before = file.read_bytes() if file.exists() else b""
    if known.tables:
        default = next(iter(known.tables)) if len(known.tables) == 1 else None
    if known.default is not None:
        default = None
    text = before.decode()
    for name, settings in fresh.items():
        text = _extended(text, name, settings)
    if default is not None:
        import tomlkit

        text = _with_line_ends_of(text, f"{tomlkit.dumps({'default': default})}\n{text}")
    if backup and before:
        copy = Path(f"{file}{backup}")
        numbers = count(2)
        while copy.exists():
            copy = Path(f"{file}{backup}-{next(numbers)}")
        _write(copy, before, stat.S_IMODE(file.stat().st_mode))
    wanted = known._replace(default=known.default or default, tables={**known.tables, **fresh})
    _replace(file, folder, text, wanted)
    return wanted


def password_file_of(path: Path, name: str) -> Path:
    """Return the file in which the password of an account is kept: beside the configuration file."""
    # A capital letter as %XX: there are file systems on which case makes no difference.
    quoted = (f"%{ord(letter):X}" if "A" <= letter <= "Z" else quote(letter, safe="@+") for letter in name)
    return path.with_name(f"{''.join(quoted)}.password")


def write_password(file: Path, secret: str) -> None:
    """Write a password into a file that only we can read, durably; raises OSError."""
    make_folder(file.parent)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _write(fresh, secret.encode("utf-8", "surrogateescape") + b"\n", PRIVATE_FILE)
        fresh.rename(file)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(file.parent)


def keep_password(path: Path, name: str, secret: str) -> Path:
    """Write a password into a file that only we can read, and name it in the account's table; return it.

    ``path``: of the configuration file. Raises ConfigurationError.
    """
    file = password_file_of(path, name)
    try:
        with _alone_in(path.resolve().parent) as folder:
            was_there = file.exists()
            write_password(file, secret)
            try:
                _change_password_file(path, folder, name, short(file))
            except BaseException:
                if not was_there:
                    file.unlink()
                raise
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be written: {error.strerror}") from error
    return file


def forget_password(path: Path, name: str) -> None:
    """Remove the file of :func:`keep_password`, and its name from the account's table."""
    file = password_file_of(path, name)
    try:
        with _alone_in(path.resolve().parent) as folder:
            _change_password_file(path, folder, name, None)
            file.unlink(missing_ok=True)
            sync_folder(file.parent)
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be removed: {error.strerror}") from error


def _change_password_file(path: Path, folder: int, name: str, value: str | None) -> None:
    """Set, or remove, the key ``password_file`` of an account; ``folder``: the descriptor of the file's."""
    import tomlkit

    file = path.resolve()
    known = load(file)
    table = {key: given for key, given in known.tables[name].items() if key != "password_file"}
    if value is not None:
        table["password_file"] = value
    if table == known.tables[name]:
        return
    try:
        text = file.read_bytes().decode()
        document: Any = tomlkit.parse(text)
        if value is not None:
            document["accounts"][name]["password_file"] = value
        else:
            del document["accounts"][name]["password_file"]
        changed = document.as_string()
    except ValueError as error:  # of tomlkit, which accepts a little less than tomllib
        raise ConfigurationError(f"{path}: accounts.{name}", f"cannot be changed: {error}") from error
    wanted = Configuration(path, known.default, {**known.tables, name: table})
    _replace(file, folder, _with_line_ends_of(text, changed), wanted)


def _with_line_ends_of(text: str, changed: str) -> str:
    """Return a changed text with CRLF if the original has nothing else."""
    uses_crlf = "\r\n" in text and text.count("\n") == text.count("\r\n")
    return changed.replace("\r\n", "\n").replace("\n", "\r\n") if uses_crlf else changed


def name_is_taken(path: Path, name: str) -> ConfigurationError:
    """Return the error for a name that another account of the file has."""
    return ConfigurationError(
        f"{path}: accounts.{name}",
        "another account has this name; choose another with -a NAME, or edit the file",
    )


def table_of(name: str, settings: Settings) -> str:
    """Return the table of an account as it is written."""
    import tomlkit

    return tomlkit.dumps({"accounts": {name: dict(settings)}})


def _extended(text: str, name: str, settings: Settings) -> str:
    """Return the text of the file with the table.

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
            extended += table_of(name, settings)
    except ValueError as error:  # of tomlkit, which accepts a little less than tomllib
        raise ConfigurationError(f"accounts.{name}", f"cannot be added: {error}") from error
    return _with_line_ends_of(text, extended)


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
        is_as_wanted = (read.tables, read.default) == (wanted.tables, wanted.default)
    except ConfigurationError:
        is_as_wanted = False
    if not is_as_wanted:
        raise ConfigurationError(str(wanted.path), "cannot be changed as it is; do it by hand")


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
