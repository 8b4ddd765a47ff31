"""A simulated night: `get --patience 6h` every ten minutes, and a server that is down for eight hours.

The clock is the simulation's own, so a night takes as long as its runs do.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.support.clock import Clock
from tests.support.command import Ended
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, Talk
from tests.support.served_mail import GREETING

MINUTE = 60
EVERY = 10 * MINUTE
EVENING, OUTAGE, MORNING = 60 * MINUTE, 8 * 60 * MINUTE, 60 * MINUTE
PATIENCE = "6h"
SILENT_FOR = 6 * 60 * MINUTE

Get = Callable[..., Ended]  # (*arguments) -> how `pop3fetch` ended


class Seen(NamedTuple):
    """A run: how many seconds after the beginning of the outage it was, and how it ended."""

    time: int
    ended: Ended


@dataclass
class Place:
    """An account whose server can go down, and the files of its runs."""

    folder: Path
    mailbox: Mailbox
    server: ScriptedServer

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def arguments(self) -> list[str]:
        """What `get` is called with."""
        return ["-a", self.server.url(), "--state-dir", str(self.state), "-o", str(self.folder / "Maildir")]

    def delivered(self) -> int:
        """Count the messages that have been delivered."""
        return len(list((self.folder / "Maildir/new").iterdir()))


# -- outages: each lasts as long as its context -------------------------------------------------


@contextmanager
def in_use(place: Place) -> Iterator[None]:
    """Let the mailbox be in use."""
    place.mailbox.greeting = b"-ERR [IN-USE] another session is active\r\n"
    yield
    place.mailbox.greeting = GREETING


@contextmanager
def cut_off(place: Place) -> Iterator[None]:
    """Let each connection break in the middle of the session."""
    place.mailbox.after[b"LIST\r\n"] = Talk.cut
    yield
    del place.mailbox.after[b"LIST\r\n"]


@contextmanager
def not_listening(place: Place) -> Iterator[None]:
    """Let nothing listen at the server's port."""
    place.server.stop()
    yield
    place.server = ScriptedServer(place.mailbox, port=place.server.port).start()


@contextmanager
def overlapping(place: Place) -> Iterator[None]:
    """Let another run of pop3fetch hold the account, and not get on."""
    [lock] = place.state.glob("*.lock")
    file = os.open(lock, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
    os.close(file)


OUTAGES: dict[str, Callable[[Place], AbstractContextManager[None]]] = {
    "in use": in_use,
    "cut off": cut_off,
    "not listening": not_listening,
    "overlapping": overlapping,
}


# -- the night ----------------------------------------------------------------------------------


@contextmanager
def place_in(folder: Path) -> Iterator[Place]:
    """Serve the mail of an account."""
    mailbox = Mailbox([b"Subject: evening\r\n\r\n"], greeting=GREETING)
    place = Place(folder, mailbox, ScriptedServer(mailbox).start())
    try:
        yield place
    finally:
        place.server.stop()


def night(place: Place, outage: str, get: Get, clock: Clock) -> list[Seen]:
    """Run `get` every ten minutes, before, during and after an outage; return what each run came to."""
    seen = []
    with ExitStack() as lasting:
        for time in range(-EVENING, OUTAGE + MORNING, EVERY):
            if time == 0:
                place.mailbox.add(b"Subject: night\r\n\r\n", b"uid-night")
                lasting.enter_context(OUTAGES[outage](place))
            if time == OUTAGE:
                lasting.close()
            seen.append(Seen(time, get("get", *place.arguments, "--patience", PATIENCE)))
            clock.forward(EVERY)
    return seen


def flaws(seen: list[Seen], place: Place) -> list[str]:
    """Return what is not as the contract wants it, a line each."""
    found = []
    for time, ended in seen:
        is_down = 0 <= time < OUTAGE
        status = (75 if time < SILENT_FOR else 69) if is_down else 0
        words = {SILENT_FOR: b" has failed since ", OUTAGE: b" works again; it had failed since "}.get(time)
        if ended.status != status:
            found.append(f"{_shown(time)}: status {ended.status}, not {status}")
        if ended.out:
            found.append(f"{_shown(time)}: {ended.out!r} on standard output")
        if words is None and ended.err:
            found.append(f"{_shown(time)}: {ended.err!r}, not silence")
        if words is not None and not (words in ended.err and ended.err.count(b"\n") == 1):
            found.append(f"{_shown(time)}: {ended.err!r}, not one line with {words!r}")
    if place.delivered() != 2:
        found.append(f"{place.delivered()} messages delivered, not 2")
    return found


def _shown(time: int) -> str:
    return f"{time // (60 * MINUTE):+}:{time // MINUTE % 60:02}"
