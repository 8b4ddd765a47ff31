"""Secrets that the server has refused: each waits before it is tried again, and longer every time.

So a job without a terminal does not get the account locked. Kept beside the record and not in it, because
every command logs in. A secret is kept only as a salted digest that is slow to compute, so that it is slow to
guess the secret from it. Times are seconds since the epoch.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from pop3fetch.errors import LoginPaused, LoginRefused, POP3Error
from pop3fetch.record.place import REFUSED_LOGINS, RecordPlace
from pop3fetch.veil import veiled

FIRST_PAUSE = 15 * 60  # seconds; each further refusal doubles it
LONGEST_PAUSE = 6 * 60 * 60
MOST_SECRETS = 8  # several jobs may use several wrong ones in turn
WORK = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}  # of scrypt: 16 MiB and a twentieth of a second


class Refused(NamedTuple):
    """A secret that was refused: its digest, how often and when last, and the server's reason."""

    digest: str
    times: int
    last: int
    why: str

    def __repr__(self) -> str:
        return veiled(self, "digest")

    def pause(self, now: float) -> int:
        """Return for how many seconds it must not be tried; 0 also if the clock was set back."""
        length = min(FIRST_PAUSE << min(self.times - 1, 10), LONGEST_PAUSE)
        left = self.last + length - int(now)
        return left if 0 < left <= length else 0


class RefusedLogins:
    """The refused secrets of an account, the latest last; its name is for errors."""

    def __init__(self, place: RecordPlace, account: str) -> None:
        self._place = place
        self._account = account

    def check(self, secret: str, now: float) -> None:
        """Raise LoginPaused if ``secret`` must not be tried yet."""
        salt, secrets = self._read()
        digest = _digest(secret, salt) if secrets else ""
        for refused in secrets:
            if refused.digest == digest and (wait := refused.pause(now)):
                until = datetime.fromtimestamp(int(now) + wait).isoformat(" ", "minutes")
                raise LoginPaused(self._account, wait, until, refused.why)

    def remember(self, secret: str, refusal: LoginRefused, now: float) -> None:
        """Count a refusal of ``secret``, unless it blames neither the secret nor the user.

        A folder that cannot be written to is not an error.
        """
        if not refusal.blames_secret:
            return
        salt, secrets = self._read()
        digest = _digest(secret, salt)
        times = sum(refused.times for refused in secrets if refused.digest == digest)
        others = [refused for refused in secrets if refused.digest != digest]
        latest = [*others, Refused(digest, times + 1, int(now), str(refusal))][-MOST_SECRETS:]
        text = json.dumps({"salt": salt.hex(), "secrets": [refused._asdict() for refused in latest]})
        with suppress(OSError, POP3Error):
            self._place.keep_beside(REFUSED_LOGINS, text + "\n")

    def forget(self) -> None:
        """Forget all: a login has succeeded."""
        with suppress(OSError):
            self._place.beside(REFUSED_LOGINS).unlink()

    def _read(self) -> tuple[bytes, list[Refused]]:
        """Return the salt and the secrets; a new salt and none if the file is missing or torn."""
        try:
            kept = json.loads(self._place.beside(REFUSED_LOGINS).read_text("ascii"))
            secrets = [
                Refused(str(each["digest"]), max(int(each["times"]), 1), int(each["last"]), str(each["why"]))
                for each in kept["secrets"]
            ]
            return bytes.fromhex(kept["salt"]), secrets
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return os.urandom(16), []


def _digest(secret: str, salt: bytes) -> str:
    return hashlib.scrypt(secret.encode("utf-8", "surrogateescape"), salt=salt, **WORK).hex()
