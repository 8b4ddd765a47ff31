"""What hostile servers do, in small pieces, and what must hold whatever they do."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pop3fetch.status import Status
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.served_mail import harmless

USER, PASSWORD = "alice", "correct-horse"
CHALLENGE = b"<1896.697170952@localhost>"
GREETING = b"+OK ready " + CHALLENGE + b"\r\n"  # with a challenge, so that a login needs no TLS
DIGEST = hashlib.md5(CHALLENGE + PASSWORD.encode()).hexdigest().encode()
APOP = b"APOP alice " + DIGEST + b"\r\n"
CAPA = b"+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\n.\r\n"
ONE, TWO, THREE = (b"Subject: %b\r\n\r\nHello.\r\n" % name for name in (b"one", b"two", b"three"))

TIMEOUT = 0.6  # seconds that commands wait for a server: a busy machine must keep it
BOUND = 6.0  # seconds in which whatever a server does must be over; on a busy machine, too

# Every shape in which a terminal could take octets for orders: C0, C1 in both forms, OSC, bidi.
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x9d0;x\x9c\u202e\u2066\u200b\x7f\x00\b\v\f[/x]\té"
HOSTILE_WORDS = HOSTILE.replace("\0", "").encode() + b"\x9b31m\xff"

# What a login could be given away by.
SECRETS = (
    PASSWORD.encode(),
    DIGEST,
    base64.b64encode(b"\0alice\0" + PASSWORD.encode()),
    base64.b64encode(PASSWORD.encode()),
)
OF_THE_USER = (b"alice", b"USER", b"PASS", b"APOP", b"AUTH", base64.b64encode(b"alice"), *SECRETS)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a command and a server have made of each other."""

    ended: Ended
    server: ScriptedServer
    talks: Sequence[Talk]
    maildir: Path
    state: Path

    @property
    def error(self) -> str:
        return self.ended.err.decode()

    @property
    def received(self) -> bytes:
        """All that the server received, over all connections."""
        return b"".join(bytes(talk.received) for talk in self.talks)

    @property
    def commands(self) -> list[bytes]:
        """The lines that came, over all connections."""
        return [line for talk in self.talks for line in talk.commands]

    @property
    def verbs(self) -> list[bytes]:
        return [line.split()[0].upper() for line in self.commands if line.split()]

    @property
    def delivered(self) -> list[bytes]:
        """The messages in the maildir, in order, with CRLF."""
        return [octets.replace(b"\n", b"\r\n") for octets in self.files]

    @property
    def files(self) -> list[bytes]:
        return new_in(self.maildir)

    @property
    def recorded(self) -> set[bytes]:
        """The UIDs of the record."""
        return recorded_in(self.state)

    def fails(self, status: Status, *words: str) -> Aftermath:
        """Require this status and one line of error with ``words`` in it."""
        assert self.ended.status == status, self.error
        errors = [line for line in self.error.splitlines() if line.startswith("pop3fetch: ")]
        assert len(errors) == 1, self.error
        assert all(word in errors[0] for word in words), self.error
        return self

    def goes_on(self, status: Status, *words: str) -> Aftermath:
        """Require this status, and the ``words`` among the errors."""
        assert self.ended.status == status, self.error
        assert all(word in self.error for word in words), self.error
        return self

    def succeeds(self) -> Aftermath:
        assert (self.ended.status, self.error) == (0, "")
        return self

    def told_nothing(self) -> Aftermath:
        """Require that no word of the user's was sent."""
        assert not [word for word in OF_THE_USER if word in self.received]
        return self

    def left_alone(self) -> Aftermath:
        """Require that nothing was delivered, recorded or deleted, and that no QUIT followed a RETR."""
        assert (self.delivered, self.recorded) == ([], set())
        assert b"DELE" not in self.verbs
        for talk in self.talks:
            assert not {b"RETR", b"QUIT"} <= {line[:4].upper() for line in talk.commands}
        return self


@dataclass(frozen=True, slots=True)
class Attack:
    """Let a server play a script to ``pop3fetch``; the default command is the most dangerous one."""

    here: Here
    start: StartServer
    folder: Path

    def __call__(
        self,
        script: Script | Sequence[Script] | ScriptedServer,
        *options: str | Path,
        command: Sequence[str | Path] = (),
        env: Mapping[str, str] | None = None,
    ) -> Aftermath:
        """Run ``get --delete`` to a maildir, or ``command``, with ``options``.

        A server of an earlier run may replace the script: its account is the same one.
        """
        served = script if isinstance(script, ScriptedServer) else self.start(script)
        earlier = len(served.talks)
        environment = {"POP3FETCH_ACCOUNT": served.url(), "POP3FETCH_PASSWORD": PASSWORD, **(env or {})}
        begun = time.monotonic()
        ended = self.here(
            *(command or ("get", "--delete", "-o", f"maildir:{self.maildir}")),
            "--timeout",
            str(TIMEOUT),
            *options,
            "--state-dir",
            self.state,
            env=environment,
        )
        assert time.monotonic() - begun < BOUND, "it takes as long as the server likes"
        # What arrived after the last command was received, too.
        served.wait()
        return self.checked(ended, served, served.talks[earlier:])

    @property
    def maildir(self) -> Path:
        return self.folder / "Maildir"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def checked(self, ended: Ended, server: ScriptedServer, talks: Sequence[Talk]) -> Aftermath:
        """Require what holds whatever a server does."""
        after = Aftermath(ended, server, talks, self.maildir, self.state)
        assert harmless(after.ended.err), after.ended.err
        assert b"Traceback" not in after.ended.err
        assert "internal error" not in after.error
        assert not [secret for secret in SECRETS if secret in after.ended.err + after.ended.out]
        assert litter(after.maildir, after.state) == []
        return after


def new_in(maildir: Path) -> list[bytes]:
    """Return the files of a maildir's ``new`` in the order of their delivery."""
    folder = maildir / "new"
    files = [*folder.iterdir()] if folder.exists() else []
    ordered = sorted(files, key=lambda file: (file.stat().st_mtime_ns, _count(file)))
    return [file.read_bytes() for file in ordered]


def _count(file: Path) -> int:
    return int(re.findall(r"Q([0-9]+)", file.name)[0])


def recorded_in(state: Path) -> set[bytes]:
    """Return the UIDs in the records of a state folder."""
    uids: set[bytes] = set()
    for path in state.glob("*.sqlite"):
        database = sqlite3.connect(path)
        uids |= {uid for (uid,) in database.execute("SELECT uid FROM message")}
        assert database.execute("SELECT count(*) FROM intent").fetchone() == (0,)
        database.close()
    return uids


def litter(maildir: Path, state: Path) -> list[str]:
    """Return what a run has left in ``tmp``, or as drafts in the state folder."""
    left = os.listdir(maildir / "tmp") if (maildir / "tmp").exists() else []
    return left + [path.name for path in state.glob("draft-*")]


# -- pieces of scripts -----------------------------------------------------------------------


def mailbox(messages: Sequence[bytes] = (ONE, TWO, THREE), **options: Any) -> Mailbox:
    """Return a well-behaved server with one thing wrong."""
    return Mailbox(messages, **{"greeting": GREETING, "password": PASSWORD, **options})


def saying(*replies: bytes) -> Script:
    """Return a script that sends the first of ``replies`` at once, and one more for each command."""

    def script(talk: Talk) -> None:
        for reply in replies:
            talk.say(reply)
            if not talk.line():
                return

    return script


def stalling(talk: Talk) -> None:
    """Send nothing more."""
    talk.stall()


def dripping(octets: bytes) -> Script:
    """Return an endless stream, an octet now and then: less often than ``PROGRESS`` wants."""

    def script(talk: Talk) -> None:
        while True:
            talk.drip(octets, TIMEOUT / 5)

    return script


def hanging_up(talk: Talk) -> None:
    """End the stream."""
    talk.close()


def cutting(talk: Talk) -> None:
    """Break the connection."""
    talk.cut()


def flooding(octets: Callable[[int], bytes] | bytes, blocks: int | None = None) -> Script:
    """Return a script that sends ``octets``, block by block, until the client leaves or all are sent."""

    def script(talk: Talk) -> None:
        count = 0
        while blocks is None or count < blocks:
            talk.say(octets(count) if callable(octets) else octets)
            count += 1

    return script
