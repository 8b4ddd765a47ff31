"""Owns the server: a private Dovecot, what is in its maildrops, and the slow line to it."""

from __future__ import annotations

import os
import poplib
import ssl
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import trustme

from bench.delay import Relay
from bench.peers import Mailbox
from tests.support.dovecot import Dovecot

ROUND_TRIP = 0.05  # seconds
PASSWORD = "benchmark"
TARGET = "target"
# Dovecot's own default. With SCRAM on offer some peers would take it and some not, and each pay other
# round trips for the login.
SETTINGS = "auth_mechanisms = plain login"


class _Authority(trustme.CA):
    """An authority that names the server in the subject, too: fetchmail takes no certificate without."""

    def issue_cert(self, *identities: str, **details: Any) -> trustme.LeafCert:
        """Issue a certificate whose common name is the first of ``identities``."""
        return super().issue_cert(*identities, **{"common_name": identities[0], **details})


@dataclass(frozen=True, slots=True)
class Target:
    """A Dovecot that takes messages: by LMTP on loopback, and by IMAP 50 ms away."""

    lmtp_port: int
    far_imaps_port: int
    user: str
    password: str
    ca_file: Path
    _dovecot: Dovecot

    def take_all(self) -> int:
        """Return how many messages have arrived, and remove them."""
        count = self._dovecot.count(self.user)
        self._dovecot.clear(self.user)
        return count


class Server:
    """A running Dovecot with a maildrop for each of ``users``, near (loopback) and far (50 ms away)."""

    def __init__(self, folder: Path, users: Iterable[str]) -> None:
        self._folder = folder
        self._names = count(1)
        self._stack = ExitStack()
        self._dovecot = self._stack.enter_context(
            Dovecot.start(folder, settings=SETTINGS, users=dict.fromkeys(users, PASSWORD), ca=_Authority())
        )
        self._relay = self._far(self._dovecot.pop3s_port)
        self._target: Target | None = None

    def stop(self) -> None:
        """End Dovecot and the relay."""
        self._stack.close()

    def _far(self, port: int) -> Relay:
        relay = Relay.start(port, ROUND_TRIP)
        self._stack.callback(relay.stop)
        return relay

    def target(self) -> Target:
        """Return the server that messages are given to, which begins when it is first needed."""
        if self._target is None:
            users = {TARGET: PASSWORD}
            dovecot = self._stack.enter_context(
                Dovecot.start(
                    self._folder / TARGET, settings=SETTINGS, users=users, ca=_Authority(), stores=True
                )
            )
            ports = (dovecot.lmtp_port, self._far(dovecot.imaps_port).port)
            self._target = Target(*ports, TARGET, PASSWORD, dovecot.ca_file, dovecot)
        return self._target

    def mailbox(self, user: str, *, far: bool = False) -> Mailbox:
        """Return how to get at a maildrop."""
        port = self._relay.port if far else self._dovecot.pop3s_port
        return Mailbox(port, user, PASSWORD, self._dovecot.ca_file)

    def deliver(self, user: str, messages: Iterable[bytes]) -> None:
        """Put ``messages`` into a maildrop."""
        self._dovecot.deliver(user, messages)

    def refill(self, user: str, source: str, number: int) -> None:
        """Make the maildrop hold ``number`` messages: those of ``source`` over and over, as hard links."""
        self._dovecot.clear(user)
        folder = self._dovecot.maildir(user) / "cur"
        for file in islice(cycle(self._files(source)), number):
            facts = file.name.split(".", 1)[1].split(":")[0]  # Dovecot takes the sizes from the name
            os.link(file, folder / f"{2_000_000_000 + next(self._names)}.{facts}:2,")

    def count(self, user: str) -> int:
        """Return how many messages are in the maildrop."""
        return self._dovecot.count(user)

    def warm(self, user: str) -> list[str]:
        """Have Dovecot bring its index up to date, as the first to log in would; return the UIDs."""
        context = ssl.create_default_context(cafile=self._dovecot.ca_file)
        session = poplib.POP3_SSL("localhost", self._dovecot.pop3s_port, context=context)
        session.user(user)
        session.pass_(PASSWORD)
        session.list()
        uids = [line.split()[1].decode() for line in session.uidl()[1]]
        session.quit()
        return uids

    def _files(self, user: str) -> list[Path]:
        maildir = self._dovecot.maildir(user)
        files = [file for part in ("new", "cur") for file in (maildir / part).iterdir()]
        return sorted(files, key=lambda file: file.name)
