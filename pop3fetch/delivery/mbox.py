"""An mbox file in mboxrd form: spooled, appended under lock, cut back if that fails.

A draft is a private file in the spool folder, already in the form in which it is appended. It
stays there until the record calls it done. Before a batch is written, the mbox is extended for all
of it: so whatever another program appends after a crash follows that room, and settling completes in
it what the crash left half done. What other programs have in the mbox is never changed.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import (
    NOT_MOUNTED,
    Destination,
    Draft,
    Journal,
    Place,
    Settled,
    delivery_errors,
)
from pop3fetch.delivery.mbox_format import Encoder
from pop3fetch.delivery.mbox_lock import take_lock
from pop3fetch.delivery.mbox_search import Remains, find_anywhere, is_as_before, remains_of, rows_of
from pop3fetch.durable import (
    folder_id,
    is_absent,
    make_folder,
    open_private,
    require_own_links,
    sync_file,
    sync_files,
    sync_folder,
    write_all,
)
from pop3fetch.errors import DeliveryError, DestinationLocked
from pop3fetch.messages import Message

if TYPE_CHECKING:
    from pop3fetch.step_results import StepResult

PREFIX = "mbox:"
PATIENCE = 60.0  # seconds to wait for another program's lock
BLOCK = 1 << 20  # octets copied at once
EMPTY_LINES = (b"\n\n", b"\n\r\n")  # how an mbox ends that the next From_ line may follow


class MboxDraft(Draft):
    """A file in the spool folder."""

    def __init__(self, message: Message, mbox: Mbox, spool: Path) -> None:
        super().__init__(message)
        self.path = str(mbox.file)
        self.spool = spool
        self.length = 0  # octets in the spool
        self._mbox = mbox
        self._encoder = Encoder(time.time())
        self.file = open_private(spool, os.O_RDWR | os.O_EXCL)

    def write(self, block: bytes) -> None:
        self._append(self._encoder.encode(block))
        self.octets += len(block)

    def finish(self) -> None:
        """Write what the encoder has held back; raises DeliveryError."""
        self._append(self._encoder.finish())

    def _append(self, octets: bytes) -> None:
        with delivery_errors(self._mbox.name):
            write_all(self.file, octets, self.length)
        self.length += len(octets)

    def close_file(self) -> None:
        """Close the spool; never raises."""
        if self.file >= 0:
            with suppress(OSError):
                os.close(self.file)
            self.file = -1

    def discard(self) -> None:
        self.close_file()
        with suppress(OSError):
            self.spool.unlink()


class Mbox(Destination):
    """An mbox file; ``tag`` marks the spools of one record in ``spool_folder``."""

    def __init__(self, file: Path, tag: str, spool_folder: Path, *, patience: float = PATIENCE) -> None:
        """``patience``: seconds to wait for another program's lock."""
        self.file = Path(os.path.abspath(file))
        self.name = PREFIX + str(self.file)
        # Other programs follow links before they lock, and so must we, or the dot-locks differ.
        self._real = Path(os.path.realpath(self.file))
        self._tag = tag
        self._mark = f"draft-{tag}-"
        self._spool_folder = spool_folder
        self._patience = patience
        self._names = itertools.count(1)
        self._given_up = threading.Event()
        self._may_be_new = False  # whether the user allows it to be made anew
        self._folder = ""  # the folder_id, once known: a disk may be unmounted during the run

    @property
    def folder_id(self) -> str:
        return folder_id(self._real.parent)

    def _is_missing(self, known: str) -> bool:
        """Whether its disk seems not to be mounted; a mail reader removes an mbox that it has emptied."""
        here = self.folder_id
        # A record of version 2 did not keep the folder: then an absent file is not explained.
        return not here or (here != known and is_absent(self._real))

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        with delivery_errors(self.name):
            self._require_own_path()
            self._may_be_new = create
            self._folder = self.folder_id
            if known is not None and not create and self._is_missing(known):
                raise DeliveryError(self.name, NOT_MOUNTED)
            if not self._folder:
                make_folder(self._real.parent)
                self._folder = self.folder_id
            make_folder(self._spool_folder)
        # The run that made the file may have died before it synced the folder. A folder that we may
        # not read is not ours: there the file was before us.
        with self._locked(), delivery_errors(self.name), suppress(PermissionError):
            sync_folder(self._real.parent)

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        from pop3fetch.delivery.examination import examine_paths

        with delivery_errors(self.name):
            self._require_own_path()
            if known is not None and self._is_missing(known):
                raise DeliveryError(self.name, NOT_MOUNTED)
            if not is_absent(self._real) and not self._real.is_file():
                raise DeliveryError(self.name, "it is not a regular file")
            yield examine_paths(self.name, [self._real])

    def draft(self, message: Message) -> MboxDraft:
        name = f"{self._mark}{time.time_ns()}-{os.getpid()}-{next(self._names)}"
        with delivery_errors(self.name):
            return MboxDraft(message, self, self._spool_folder / name)

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        spools = [draft for draft in drafts if isinstance(draft, MboxDraft)]
        try:
            with delivery_errors(self.name):
                for draft in spools:
                    draft.finish()
                sync_files([draft.file for draft in spools])
                sync_folder(self._spool_folder)
            self._append(spools, journal)
        finally:
            for draft in spools:
                draft.close_file()
        for draft in spools:
            draft.discard()
        return []

    def _append(self, spools: Sequence[MboxDraft], journal: Journal) -> None:
        with self._locked() as mbox:
            with delivery_errors(self.name):
                size = os.fstat(mbox).st_size
                end = os.pread(mbox, 3, max(0, size - 3))
                padding = b""  # what the mbox lacks: a From_ line must follow an empty line
                if size and not end.endswith(EMPTY_LINES):
                    padding = b"\n" if end.endswith(b"\n") else b"\n\n"
                offset = size + len(padding)
            places = []
            for draft in spools:
                places.append(Place(self.name, draft.spool.name, offset, draft.length, self._folder))
                offset += draft.length
            with delivery_errors(self.name):
                for draft in spools:
                    os.utime(draft.file)  # later than the mbox, until something is appended: see is_as_before
            journal.intend(spools, places)
            with delivery_errors(self.name):
                _append(mbox, padding, spools)
                self._require_in_place(mbox)
            journal.done(spools)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the mbox under lock; raises DestinationLocked and DeliveryError."""
        self._require_folder()
        with delivery_errors(self.name):
            self._require_own_path()
            try:
                lock = take_lock(
                    self._real, self._tag, self._patience, self._given_up, may_make=self._require_folder
                )
            except BlockingIOError as error:
                raise DestinationLocked(self.name, "it is locked by another program") from error
        try:
            with delivery_errors(self.name):
                self._require_own_path()  # once more: a link may have been put there before it was opened
            yield lock.file
        finally:
            lock.release()

    def _require_own_path(self) -> None:
        require_own_links(self.file)
        if Path(os.path.realpath(self.file)) != self._real:
            raise DeliveryError(self.name, "a link in its path has changed during the run")

    def _require_folder(self) -> None:
        """Raise DeliveryError if the folder is missing, or is not the one that was there before."""
        here = self.folder_id
        if not here:
            raise DeliveryError(self.name, f"there is no folder {self._real.parent} (not mounted?)")
        if self._folder and here != self._folder:
            raise DeliveryError(self.name, f"{self._real.parent} was moved or replaced during the run")

    def _require_in_place(self, mbox: int) -> None:
        """Raise DeliveryError if the mbox, and the mail with it, was moved or replaced meanwhile."""
        with suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(os.fstat(mbox), self._real.lstat()):
                return
        raise DeliveryError(self.name, "it was moved or replaced during the delivery")

    # -- after a crash -----------------------------------------------------------------------

    def settle(self, places: Sequence[Place]) -> list[Settled]:
        """Complete what is at each place, or look for the message elsewhere."""
        with delivery_errors(self.name):
            # In this order: a disk that goes in between must not pass for an mbox that was removed.
            self._folder = self._folder or self.folder_id
            is_gone = is_absent(self._real)
            if not self._may_be_new and any(self._is_missing(place.folder) for place in places):
                raise DeliveryError(self.name, NOT_MOUNTED)
            if is_gone:
                return [Settled.UNDONE] * len(places)
        with self._locked() as mbox, delivery_errors(self.name):
            delivered = self._completed(mbox, places)
            sync_file(mbox)
        return [Settled.DELIVERED if place in delivered else Settled.UNDONE for place in places]

    def _completed(self, mbox: int, places: Sequence[Place]) -> set[Place]:
        """Return the places whose message is in the mbox now."""
        delivered: set[Place] = set()
        elsewhere: dict[int, Place] = {}
        with ExitStack() as opened:
            for row in rows_of(places):
                spools = [self._open_spool(place, opened) for place in row]
                for place, spool, remains in zip(row, spools, remains_of(mbox, row, spools), strict=True):
                    if remains is Remains.NOTHING:
                        if spool is not None and not is_as_before(mbox, row, spool):
                            elsewhere[spool] = place
                        continue
                    # A power cut may have left NULs for the line ends before the From_ line.
                    start = max(0, place.offset - 2)
                    before = os.pread(mbox, place.offset - start, start)
                    if b"\0" in before:
                        write_all(mbox, before.replace(b"\0", b"\n"), start)
                    if spool is not None:
                        # Also what is there already: after an error the kernel may have dropped it, and would
                        # sync nothing now (fsync(2)).
                        _copy(spool, place.length, mbox, place.offset)
                    delivered.add(place)
            # A mail program has rewritten the mbox, or nothing of them was written.
            taken = {place.offset for place in delivered}
            delivered.update(elsewhere[spool] for spool in find_anywhere(mbox, list(elsewhere), taken))
        return delivered

    def _open_spool(self, place: Place, opened: ExitStack) -> int | None:
        """Open the spool of a place until ``opened`` ends, or return None if it is gone or spoilt."""
        try:
            spool = os.open(self._spool_folder / place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        opened.callback(os.close, spool)
        return spool if os.fstat(spool).st_size == place.length else None

    def remove_leftovers(self) -> None:
        with delivery_errors(self.name), suppress(FileNotFoundError):  # not prepared yet
            for name in os.listdir(self._spool_folder):
                if name.startswith(self._mark):
                    (self._spool_folder / name).unlink()

    # -- the end -----------------------------------------------------------------------------

    def interrupt(self) -> None:
        """End a wait for the lock, which another thread may be in."""
        self._given_up.set()

    def close(self) -> None:
        self.interrupt()


def _append(mbox: int, padding: bytes, spools: Sequence[MboxDraft]) -> None:
    """Append the spools durably, or nothing of them; raises OSError."""
    start = os.fstat(mbox).st_size
    try:
        offset = start + len(padding)
        # The room for all of them, in one call: what other programs append after a crash follows it.
        # It ends as the last message will, so that they need not add line ends of their own.
        end = offset + sum(draft.length for draft in spools)
        write_all(mbox, EMPTY_LINES[0], end - len(EMPTY_LINES[0]))
        write_all(mbox, padding, start)
        for draft in spools:
            _copy(draft.file, draft.length, mbox, offset)
            offset += draft.length
        sync_file(mbox)
    except BaseException:
        with suppress(OSError):  # settling completes what cannot be cut back now
            os.ftruncate(mbox, start)
            sync_file(mbox)
            for draft in spools:
                os.utime(draft.file)
        raise


def _copy(spool: int, length: int, mbox: int, offset: int) -> None:
    for place in range(0, length, BLOCK):
        write_all(mbox, os.pread(spool, BLOCK, place), offset + place)
