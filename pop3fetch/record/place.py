"""The path of an account's record, the files beside it, and the lock that one run at a time holds."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pop3fetch.durable import NOT_SUPPORTED, make_folder, open_private, platform_folder, replace_file
from pop3fetch.errors import POP3Error, RecordError, RecordLocked, RecordNotWritten
from pop3fetch.values import NamedTuple

# The octets of a file name that stay as they are; others are percent-encoded.
_READABLE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~@+=")
_LONGEST = 120  # characters of a name; file systems allow 255 octets

# Errors of the disk, not of the record: the next run may not meet them.
_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


LOSES_EARLY_INPUT = "loses-early-input"  # what is sent before the greeting gets no reply
NEEDS_BUNDLE = "needs-bundle"  # its authority is not in the folder of authorities
ANSWERS_AT_ONCE = "answers-at-once"  # a login can be sent with what follows; with the slowest reply seen
LOSES_WHAT_FOLLOWS = "loses-what-follows"  # a login was sent with what follows, and that had no reply
KNOWN_FOR = 30 * 24 * 60 * 60  # seconds; then it is tried again, as servers are mended
_SERVER_ENDING = "server"
FAILING = "failing"  # the ending of the file in which temporary failures are counted
REFUSED_LOGINS = "refused"  # the ending of the file of `sessions.refused_logins`


def default_state_folder() -> Path:
    """Return the folder of the records without --state-dir; raises ConfigurationError."""
    return platform_folder("state", "--state-dir")


class RecordPlace:
    """The files of one record: the database, its lock, and the folder that holds both."""

    def __init__(self, state_folder: Path, address: str) -> None:
        """``address`` is ``user@host`` with the port if it is not one of POP3's own."""
        self.folder = state_folder
        self.address = address
        self.name = file_name(address)
        self.database = state_folder / f"{self.name}.sqlite"
        self.lock = state_folder / f"{self.name}.lock"

    @classmethod
    def to_read(cls, state_folder: Path, name: str, address: str) -> RecordPlace:
        """Return the record of the account ``name`` as it is; raises RecordError.

        Until `get` has run at a new ``address``, the record is that of the former one.
        """
        place = cls(state_folder, address)
        former = None if name == address or place.database.exists() else last_address(state_folder, name)
        return cls(state_folder, former) if former else place

    def make(self) -> None:
        """Make the state folder; raises RecordError, or DeliveryError if the disk is in trouble."""
        try:
            make_folder(self.folder)
        except OSError as error:
            raise record_error(self.folder, error) from error

    def beside(self, ending: str) -> Path:
        """Return the file of what is kept beside the record, which every command may read and write."""
        return self.folder / f"{self.name}.{ending}"

    def keep_beside(self, ending: str, text: str) -> None:
        """Replace a file beside the record, as a whole; raises OSError, and as :meth:`make` does."""
        self.make()
        replace_file(self.beside(ending), text.encode("ascii"), durably=False)

    def take(self) -> Lock:
        """Make the state folder, and take the lock in it; raises as both do."""
        self.make()
        return Lock(self.lock)

    def warnings(self) -> list[str]:
        """Return what others could do with the record and should not, a line each."""
        try:
            others = self.database.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        except OSError:
            return []
        return [f"{self.database}: others can read or change it; chmod go-rwx it"] if others else []


def account_file(state_folder: Path, name: str) -> Path:
    """Return the file that has the address of a named account when it was last fetched from."""
    return state_folder / f"{file_name(name)}.account"


def last_address(state_folder: Path, name: str) -> str | None:
    """Return the address that an account had when it was last fetched from, or None; raises RecordError."""
    file = account_file(state_folder, name)
    try:
        return os.fsdecode(file.read_bytes()) or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise record_error(file, error) from error


def record_error(path: Path, error: OSError) -> POP3Error:
    """Return our error for one of the kernel: RecordNotWritten for trouble of the disk, else RecordError."""
    if error.errno == errno.ELOOP:
        return RecordError(str(path), "it is a symbolic link; remove it")
    reason = error.strerror or str(error)
    if error.errno in _DISK_TROUBLE:
        return RecordNotWritten(str(path), reason)
    return RecordError(str(path), broken_link(path) or reason)


def broken_link(path: Path) -> str:
    """Return what to say of a path that is a link to nothing, such as a disk that is not mounted."""
    if path.is_symlink() and not path.exists():
        return f"it is a link to {os.readlink(path)}, which does not exist; is its disk mounted?"
    return ""


def file_name(address: str) -> str:
    """Return a readable file name that no two addresses share, whatever is in them.

    A digest is added if characters had to be changed, or if letter case makes a difference.
    """
    # Not by urllib.parse, which loads ipaddress as well: from Python 3.13 on, `stat` needs neither.
    octets = address.encode("utf-8", "surrogateescape")
    encoded = "".join(chr(octet) if octet in _READABLE else f"%{octet:02X}" for octet in octets)
    readable = encoded[:_LONGEST].replace(".", "%2E", address.startswith("."))
    if readable == address.lower():
        return readable
    import hashlib

    digest = hashlib.sha256(octets).hexdigest()[:12]
    return f"{readable}-{digest}"


# NFS without its lock service, and some file systems in user space.
_NO_FLOCK = {errno.ENOLCK, errno.EINVAL, *NOT_SUPPORTED}


class Lock:
    """An exclusive lock on a file that is never replaced; the kernel lets go of it when we die."""

    def __init__(self, path: Path) -> None:
        """Take the lock; raises RecordLocked if another run holds it, else as :meth:`RecordPlace.make`."""
        try:
            self._file = open_private(path, os.O_RDWR)
        except OSError as error:
            raise record_error(path, error) from error
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_FLOCK:
                    raise
                try:
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except PermissionError as refusal:  # POSIX lets systems reply EACCES for EAGAIN
                    raise BlockingIOError(errno.EAGAIN, "it is locked") from refusal
        except BlockingIOError as error:
            os.close(self._file)
            raise RecordLocked(str(path), "it is locked") from error
        except OSError as error:
            os.close(self._file)
            reason = f"its file system has no locks ({error.strerror}); choose a folder with --state-dir"
            raise RecordError(str(path), reason) from error

    def release(self) -> None:
        """Release the lock."""
        with suppress(OSError):  # nothing was written to it
            os.close(self._file)


class Fact(NamedTuple):
    """Since when a fact is known, and the time that belongs to it, if any."""

    since: int
    milliseconds: int = 0


class KnownServer(NamedTuple):
    """What earlier sessions have found out about an account's server; times are seconds since the epoch.

    Not in the record: every command connects, but only `get` holds the record. One file of
    ``name since milliseconds`` lines. It only makes sessions quicker: if anything is wrong with it, nothing
    is known.
    """

    place: RecordPlace

    def knows(self, fact: str, now: float) -> Fact | None:
        """Return ``fact`` if it was found out within the last 30 days."""
        found = self._facts().get(fact)
        return found if found and 0 <= now - found.since < KNOWN_FOR else None

    def remember(self, fact: str, now: float, milliseconds: int = 0) -> None:
        """Keep ``fact``; a folder that cannot be written to is not an error."""
        self._keep(self._facts() | {fact: Fact(int(now), milliseconds)})

    def forget(self, fact: str) -> None:
        """Keep that ``fact`` is no longer true."""
        facts = self._facts()
        if facts.pop(fact, None):
            self._keep(facts)

    def _keep(self, facts: Mapping[str, Fact]) -> None:
        with suppress(OSError, POP3Error):
            lines = (f"{name} {fact.since} {fact.milliseconds}\n" for name, fact in facts.items())
            self.place.keep_beside(_SERVER_ENDING, "".join(lines))

    def _facts(self) -> dict[str, Fact]:
        try:
            lines = self.place.beside(_SERVER_ENDING).read_bytes().decode("ascii").splitlines()
            return {name: Fact(*map(int, numbers)) for name, *numbers in (line.split() for line in lines)}
        except (OSError, ValueError, TypeError):  # none, or torn
            return {}
