"""A maildir, after maildir(5): written to ``tmp``, renamed into ``new``, both synced.

A draft's file has a unique name in ``tmp`` that carries the tag of our record. So a name in
``tmp`` that an intent knows is not delivered yet, one that is gone was (a mail reader may have
moved it on already), and one with our tag that no intent knows is a dead run's leftover.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pop3fetch.ahead import Ahead
from pop3fetch.delivery.destination import (
    Destination,
    Draft,
    Journal,
    Place,
    Settled,
    delivery_errors,
)
from pop3fetch.delivery.syncing import Syncer, start_writing
from pop3fetch.errors import DeliveryError
from pop3fetch.folders import make_folder, make_private, open_or_make
from pop3fetch.messages import Message

PREFIX = "maildir:"
LARGE = 16 * 1024 * 1024  # octets that are worth writing before the message is whole
SUBFOLDERS = ("tmp", "new", "cur")


class MaildirDraft(Draft):
    """A file in ``tmp``."""

    def __init__(self, message: Message, maildir: Maildir, name: str) -> None:
        super().__init__(message)
        self.name = name
        self._maildir = maildir
        self._begun = 0  # octets that the disk has begun to write
        self._writing: Ahead[None] | None = None
        self.file = maildir.make_file(name)

    def write(self, block: bytes) -> None:
        with delivery_errors(self._maildir.name):
            view = memoryview(block)
            while view:
                view = view[os.write(self.file, view) :]
            self.octets += len(block)
            if self.octets - self._begun >= LARGE:
                self._start_writing()

    def _start_writing(self) -> None:
        """Let the disk write what is there of a large message, while the rest of it arrives."""
        self._end_writing()
        begun, self._begun = self._begun, self.octets
        self._writing = Ahead(lambda: start_writing(self.file, begun, self._begun - begun))

    def _end_writing(self) -> None:
        # Forgotten before it is awaited: an interrupt may take the only answer with it.
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def close_file(self) -> None:
        self._end_writing()
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def discard(self) -> None:
        with suppress(OSError):
            self.close_file()
        with suppress(OSError):
            os.unlink(self.name, dir_fd=self._maildir.tmp)

    @property
    def path(self) -> str:
        return f"{self._maildir.folder}/new/{self.name}"


class Maildir(Destination):
    """A maildir; ``tag`` marks the drafts of one record, 16 hexadecimal digits."""

    settles = True

    def __init__(self, folder: Path, tag: str) -> None:
        self.folder = Path(os.path.abspath(folder))
        super().__init__(PREFIX + str(self.folder))
        self._tag = tag
        self._names = itertools.count(1)
        self._host = os.uname().nodename.replace("/", r"\057").replace(":", r"\072")
        self._umask_is_strict = True  # until a file was private by itself
        self._syncer = Syncer()
        self.tmp = self.new = -1

    def prepare(self) -> None:
        with delivery_errors(self.name):
            for subfolder in SUBFOLDERS:
                make_folder(self.folder / subfolder)
            self._open()

    def _open(self) -> None:
        if self.tmp < 0:
            self.tmp = os.open(self.folder / "tmp", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.new = os.open(self.folder / "new", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def draft(self, message: Message) -> MaildirDraft:
        with delivery_errors(self.name):
            return MaildirDraft(message, self, self._unique_name())

    def make_file(self, name: str) -> int:
        """Make a file in ``tmp``, 0600 whatever the umask; return its descriptor."""
        file = open_or_make(name, os.O_WRONLY | os.O_EXCL, self.tmp)
        if self._umask_is_strict:  # a look at each would be one system call in eight
            self._umask_is_strict = make_private(file)
        return file

    def _unique_name(self) -> str:
        # time.MmicrosPpidQcount, as maildir(5) and Dovecot have it, and the tag of our record.
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        count = next(self._names)
        return f"{seconds}.M{nanoseconds // 1000}P{os.getpid()}Q{count}.{self._mark}.{self._host}"

    @property
    def _mark(self) -> str:
        return f"pop3fetch-{self._tag}"

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        files = [draft for draft in drafts if isinstance(draft, MaildirDraft)]
        with delivery_errors(self.name):
            self._syncer.sync([draft.file for draft in files])
            for draft in files:
                draft.close_file()
            os.fsync(self.tmp)
        journal.intend(files, [Place(self.name, draft.name) for draft in files])
        with delivery_errors(self.name):
            for draft in files:
                os.rename(draft.name, draft.name, src_dir_fd=self.tmp, dst_dir_fd=self.new)
            os.fsync(self.new)
        journal.done(files)
        return []

    def settle(self, place: Place) -> Settled:
        """Finish the rename where the draft is still in ``tmp``; where it is gone it was delivered."""
        with delivery_errors(self.name):
            self._open()  # a maildir that is not there (not mounted?) decides nothing
            with suppress(FileNotFoundError):
                os.rename(place.name, place.name, src_dir_fd=self.tmp, dst_dir_fd=self.new)
            os.fsync(self.new)
        return Settled.DELIVERED

    def remove_leftovers(self) -> None:
        if self.tmp < 0:  # not prepared yet
            return
        with delivery_errors(self.name):
            for name in os.listdir(self.tmp):
                if self._mark in name.split("."):
                    os.unlink(name, dir_fd=self.tmp)

    def close(self) -> None:
        self._syncer.close()
        for folder in (self.tmp, self.new):
            if folder >= 0:
                os.close(folder)
        self.tmp = self.new = -1
