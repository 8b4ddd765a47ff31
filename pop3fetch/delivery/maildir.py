"""A maildir, after maildir(5): written to ``tmp``, renamed into ``new``, both synced.

A draft's file has a unique name in ``tmp`` that carries the tag of our record. So a message is
delivered if its name is in ``new``, or in ``cur`` (a mail reader has moved it on, and added flags). A
name in ``tmp`` that has an intent is not delivered yet; one that has none is a dead run's leftover. If
the name is missing, another program has removed it from ``tmp``, and the message is not delivered.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.ahead import Ahead
from pop3fetch.delivery.destination import (
    NOT_MOUNTED,
    Destination,
    Draft,
    Journal,
    Place,
    Settled,
    delivery_errors,
)
from pop3fetch.durable import (
    MADE_PRIVATE,
    PRIVATE_FILE,
    folder_id,
    make_folder,
    owner_for,
    require_own_links,
    start_writing,
    sync_file,
    sync_files,
    sync_folder,
    undo_umask,
    write_all,
)
from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Message

if TYPE_CHECKING:
    from pop3fetch.step_results import StepResult

PREFIX = "maildir:"
LARGE = 16 * 1024 * 1024  # octets that are worth writing before the message is whole
SUBFOLDERS = ("tmp", "new", "cur")
DELIVERED = ("new", "cur")
NEW_FILE = os.O_WRONLY | os.O_EXCL | MADE_PRIVATE

_NOT_IN_NAMES = re.compile("[/:;!,]")
_INFO = re.compile("[:;!,]")  # what begins the flags behind a name; colons cannot be on every file system


class MaildirDraft(Draft):
    """A file in ``tmp``."""

    def __init__(self, message: Message, maildir: Maildir, name: str, file: int) -> None:
        super().__init__(message)
        self.path = f"{maildir.folder}/new/{name}"
        self.name = name
        self.file = file
        self._maildir = maildir
        self._begun = 0  # octets that the disk has begun to write
        self._writing: Ahead[None] | None = None

    def write(self, block: bytes) -> None:
        with delivery_errors(self._maildir.name):
            write_all(self.file, block)
            self.octets += len(block)
            if self.octets - self._begun >= LARGE:
                # The disk writes the first part of a large message while the rest arrives.
                self._end_writing()
                begun, self._begun = self._begun, self.octets
                self._writing = Ahead(lambda: start_writing(self.file, begun, self._begun - begun))

    def _end_writing(self) -> None:
        # Forgotten before it is awaited: an interrupt may take the only answer with it.
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def close_file(self) -> None:
        if self._writing:
            self._end_writing()
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def discard(self) -> None:
        with suppress(OSError):
            self.close_file()
        with suppress(OSError):
            os.unlink(self.name, dir_fd=self._maildir.tmp)


class Maildir(Destination):
    """A maildir; ``tag`` marks the drafts of one record, 16 hexadecimal digits."""

    def __init__(self, folder: Path, tag: str) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.name = PREFIX + str(self.folder)
        self._mark = f"pop3fetch-{tag}"
        self._names = itertools.count(1)
        # As maildir(5) has it for "/" and ":"; the others would begin the flags, too.
        self._host = _NOT_IN_NAMES.sub(lambda sign: f"\\{ord(sign[0]):03o}", os.uname().nodename)
        self._owner: tuple[int, int] | None = None  # of the files, if root delivers for another user
        self._umask_takes = True  # until a file shows that it takes nothing
        self.tmp = self.new = -1

    @property
    def folder_id(self) -> str:
        # An empty folder is not a maildir: it may be the mount point of a disk that is missing.
        is_there = any((self.folder / subfolder).is_dir() for subfolder in DELIVERED)
        return folder_id(self.folder) if is_there else ""

    def was(self, place: Place) -> bool:
        return bool(place.folder) and place.folder == self.folder_id

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        with delivery_errors(self.name):
            self._require_own_links()
            self._owner = owner_for(self.folder)
            for folder in (self.folder, *(self.folder / subfolder for subfolder in SUBFOLDERS)):
                if not folder.is_dir():
                    if known is not None and not create and not self.folder_id:
                        raise DeliveryError(self.name, NOT_MOUNTED)
                    make_folder(folder)
                    self._require_own_links()
                    if self._owner:
                        os.chown(folder, *self._owner, follow_symlinks=False)
            # A link of the owner's could lead root anywhere.
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if self._owner else 0)
            self.tmp, self.new = (os.open(self.folder / name, flags) for name in ("tmp", "new"))
            self._require_own_links()  # once more: a link may have been put there before they were opened

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        from pop3fetch.delivery.examination import examine_paths

        with delivery_errors(self.name):
            self._require_own_links()
            if known is not None and not self.folder_id:
                raise DeliveryError(self.name, NOT_MOUNTED)
            yield examine_paths(self.name, [self.folder / subfolder for subfolder in SUBFOLDERS])

    def _require_own_links(self) -> None:
        if os.geteuid() == 0:  # a user's link could lead to what only root may write
            for subfolder in SUBFOLDERS:
                require_own_links(self.folder / subfolder)

    def draft(self, message: Message) -> MaildirDraft:
        """Begin a message in a file in ``tmp``, 0600 whatever the umask; raises DeliveryError."""
        # time.MmicrosPpidQcount, as maildir(5) and Dovecot have it, and the mark of our record.
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        count = next(self._names)
        name = f"{seconds}.M{nanoseconds // 1000}P{os.getpid()}Q{count}.{self._mark}.{self._host}"
        with delivery_errors(self.name):
            file = os.open(name, NEW_FILE, PRIVATE_FILE, dir_fd=self.tmp)
            # A look at each file would be a system call per message, and the umask stays the same.
            if self._umask_takes:
                self._umask_takes = undo_umask(file)
            if self._owner:
                os.fchown(file, *self._owner)
        return MaildirDraft(message, self, name, file)

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        files = [draft for draft in drafts if isinstance(draft, MaildirDraft)]
        with delivery_errors(self.name):
            sync_files([draft.file for draft in files])
            for draft in files:
                draft.close_file()
            sync_file(self.tmp)
        folder = self.folder_id
        journal.intend(files, [Place(self.name, draft.name, 0, draft.octets, folder) for draft in files])
        with delivery_errors(self.name):
            vanished = []
            for draft in files:
                try:
                    os.rename(draft.name, draft.name, src_dir_fd=self.tmp, dst_dir_fd=self.new)
                except FileNotFoundError:  # another program has removed it
                    vanished.append(draft)
            sync_file(self.new)
            self._require_the_same_folders()
        journal.done([draft for draft in files if draft not in vanished] if vanished else files)
        if vanished:
            journal.undo(vanished)
        return [(draft, DeliveryError(self.name, "its file vanished from tmp/")) for draft in vanished]

    def _require_the_same_folders(self) -> None:
        """Raise DeliveryError if the maildir, and the mail with it, was moved or replaced meanwhile."""
        for subfolder, opened in (("tmp", self.tmp), ("new", self.new)):
            try:
                is_same = os.path.samestat(os.stat(self.folder / subfolder), os.fstat(opened))
            except FileNotFoundError:
                is_same = False
            if not is_same:
                raise DeliveryError(self.name, f"{subfolder}/ was moved or replaced during the delivery")

    def settle(self, places: Sequence[Place]) -> list[Settled]:
        """Find the names, and finish the renames of those that are still in ``tmp``."""
        with delivery_errors(self.name):
            if not self.folder_id:  # which decides nothing
                raise DeliveryError(self.name, NOT_MOUNTED)
            self._require_own_links()
            # The names that this record's messages have in ``new`` and ``cur``, without flags.
            delivered: set[str] = set()
            for subfolder in DELIVERED:
                with suppress(FileNotFoundError):
                    names = (name for name in os.listdir(self.folder / subfolder) if self._mark in name)
                    delivered.update(_INFO.split(name, maxsplit=1)[0] for name in names)
            for place in places:
                if place.name not in delivered and self._finish(place):
                    delivered.add(place.name)
            sync_folder(self.folder / "new")
            if self.tmp >= 0:  # this run delivers to the prepared one, which may hold what is undone here
                self._require_the_same_folders()
        return [Settled.DELIVERED if place.name in delivered else Settled.UNDONE for place in places]

    def _finish(self, place: Place) -> bool:
        """Rename a draft; return False if it is not there whole. A record of version 2 knew no length."""
        draft = self.folder / "tmp" / place.name
        try:
            status = draft.lstat()
            if not stat.S_ISREG(status.st_mode) or place.length not in (0, status.st_size):
                return False
            draft.rename(self.folder / "new" / place.name)
        except FileNotFoundError:
            return False
        return True

    def remove_leftovers(self) -> None:
        tmp = self.folder / "tmp"
        with delivery_errors(self.name), suppress(FileNotFoundError):  # not prepared yet
            for name in os.listdir(tmp):
                if self._mark in name.split("."):
                    (tmp / name).unlink(missing_ok=True)

    def close(self) -> None:
        for folder in (self.tmp, self.new):
            if folder >= 0:
                with suppress(OSError):  # what was delivered is synced
                    os.close(folder)
        self.tmp = self.new = -1
