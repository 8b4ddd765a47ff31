"""The trace: what was sent and received, with secrets masked.

The table of commands marks the secret argument. Replies are searched for the secret, too: servers repeat
what they received, in clear text, in hexadecimal or in base64. In base64 a password follows the user's
name, and so begins anywhere in a group of three octets.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from pop3fetch.pop3.machine import Challenge, Command, Content, End, Event, Greeting, Reply

BLOT = b"(secret)"
BASE64_WORD = rb"[A-Za-z0-9+/]+=*"
SHORTEST = 4  # characters of base64; fewer occur in many words


class Secrets:
    """What no trace and no error may show, on any connection of a run: a server knows it on each."""

    def __init__(self) -> None:
        self._secrets: list[bytes] = []
        self._traits: set[bytes] = set()  # of base64 that contains a secret

    def keep(self, *secrets: str | bytes) -> None:
        """Mask ``secrets`` in whatever is shown from now on, also in base64 and hexadecimal."""
        for secret in secrets:
            octets = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")
            if octets and octets not in self._secrets:
                digits = octets.hex().encode()
                # With the mask itself: what is masked already stays as it is.
                self._secrets += [octets, base64.b64encode(octets), digits, digits.upper(), BLOT]
                for ahead in range(3):  # octets of something else in the secret's first group of three
                    encoded = base64.b64encode(bytes(ahead) + octets)
                    # The characters that only the secret decides.
                    self._traits.add(encoded[(ahead * 8 + 5) // 6 : (ahead + len(octets)) * 8 // 6])
        self._secrets.sort(key=len, reverse=True)
        self._traits = {trait for trait in self._traits if len(trait) >= SHORTEST}

    def blot(self, octets: bytes) -> bytes:
        """Return ``octets`` with the known secrets masked."""
        if not self._secrets:
            return octets
        # Only between the masks: a secret may be the very word "secret".
        between = re.split(b"|".join(map(re.escape, self._secrets)), octets)

        def blot_word(word: re.Match[bytes]) -> bytes:
            return BLOT if any(trait in word[0] for trait in self._traits) else word[0]

        return BLOT.join(re.sub(BASE64_WORD, blot_word, part) for part in between)


class Trace:
    """Call ``sink`` with each line and its direction: ``>`` ours, ``<`` the server's, ``=`` a note.

    ``secrets``: those of the run, if it has other connections.
    """

    def __init__(
        self, sink: Callable[[str, bytes], None] | None = None, secrets: Secrets | None = None
    ) -> None:
        self._sink = sink
        self.active = sink is not None
        self.secrets = secrets or Secrets()
        self._content = 0

    def sent(self, line: bytes, command: Command | None) -> None:
        words = line.rstrip(b"\r\n").split(b" ")
        if command and command.secret is not None:
            words[command.secret + 1 :] = [BLOT] * (len(words) > command.secret + 1)
        self._show(">", b" ".join(words))

    def secret_sent(self) -> None:
        self._show(">", BLOT)

    def note(self, text: str) -> None:
        self._show("=", text.encode())

    def event(self, event: Event) -> None:
        match event:
            case Greeting(text=text):
                self._show("<", b"+OK " + text)
            case Reply(status=status):
                self._show("<", ((b"+OK " if status.ok else b"-ERR ") + status.text).rstrip(b" "))
            case Challenge():
                # A challenge may be enough to test guesses of the password.
                self._show("<", b"+ (challenge)")
            case Content(octets=octets):
                self._content += len(octets)
            case End():
                self._show("<", b"(%d octets)" % self._content)
                self._content = 0

    def _show(self, mark: str, octets: bytes) -> None:
        if self._sink is not None:
            self._sink(mark, self.secrets.blot(octets))
