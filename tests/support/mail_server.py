"""A small POP3 server that follows the RFCs, as a script for the scripted server.

Owns a maildrop that lives on over connections, and the replies of RFC 1939, 2449, 2595 and 5034. If a test
wants a server to be wrong, it replaces single replies, or breaks the connection. It shares no code with the
server of `pop3fetch demo`: no test may pass because of a common mistake.

    mailbox = Mailbox([b"Subject: hello\\r\\n\\r\\nworld\\r\\n"])
    with ScriptedServer(mailbox) as server:
        ...
    assert mailbox.messages == []
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.support.scripted_server import Script, Talk

CAPABILITIES = (b"TOP", b"UIDL", b"USER", b"RESP-CODES", b"PIPELINING", b"SASL PLAIN")
CHALLENGE = re.compile(rb"<[^<>\s]+@[^<>\s]+>")
AUTHORIZATION = {b"CAPA", b"USER", b"PASS", b"APOP", b"AUTH", b"STLS", b"QUIT"}
TRANSACTION = {b"CAPA", b"STAT", b"LIST", b"UIDL", b"TOP", b"RETR", b"DELE", b"NOOP", b"RSET", b"QUIT"}


class Refused(Exception):
    """What is answered with -ERR; the argument is the text."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message of the maildrop; equal octets do not make it the same."""

    octets: bytes
    uid: bytes
    size: int


class Mailbox:
    """A maildrop and the way it is served; call it to play one session.

    ``messages`` are as on the wire before byte-stuffing: CRLF ends a line, all else is content.
    ``uids`` and ``sizes`` (default: ``uid-1``…, the true ones) are what UIDL and LIST reply.
    ``capabilities`` are the lines of CAPA, in which ``STLS`` is announced and served outside TLS only; None
    refuses CAPA. A ``greeting`` with a challenge in it switches APOP on. An empty ``user`` is any user.
    ``replies`` maps a whole command line to the whole reply that replaces the right one, and then nothing
    happens in the maildrop; ``after`` maps one to what is done once it is answered.

    What hurts, and the RFCs allow: a server that ``pops`` deletes at QUIT what was retrieved (RFC 1939
    section 8), and one that ``loses_quit`` obeys it, and never answers. ``break_after`` lets the next
    connection send so many octets, before it breaks in its ``manner``.
    ``removed`` is what QUITs have removed, in the order of the maildrop.
    """

    def __init__(
        self,
        messages: Iterable[bytes],
        *,
        uids: Sequence[bytes] | None = None,
        sizes: Sequence[int] | None = None,
        capabilities: Sequence[bytes] | None = CAPABILITIES,
        greeting: bytes = b"+OK ready\r\n",
        user: str = "alice",
        password: str = "secret",
        replies: Mapping[bytes, bytes] | None = None,
        after: Mapping[bytes, Script] | None = None,
        pops: bool = False,
    ) -> None:
        all_octets = [_with_last_line_end(octets) for octets in messages]
        all_uids = [b"uid-%d" % number for number in range(1, len(all_octets) + 1)] if uids is None else uids
        all_sizes = [len(octets) for octets in all_octets] if sizes is None else sizes
        self.capabilities = capabilities
        self.greeting = greeting
        self.user = user.encode()
        self.password = password.encode("utf-8", "surrogateescape")
        self.replies = dict(replies or {})
        self.after = dict(after or {})
        self.pops = pops
        self.loses_quit = False
        self.break_after: int | None = None
        self.manner: Script = Talk.cut
        self.removed: list[Message] = []
        self.maildrop = [Message(*facts) for facts in zip(all_octets, all_uids, all_sizes, strict=True)]
        self._lock = threading.Lock()

    @property
    def messages(self) -> list[bytes]:
        """The messages that are left, as they are sent."""
        return [message.octets for message in self.maildrop]

    @property
    def uids(self) -> list[bytes]:
        """The UIDs of the messages that are left."""
        return [message.uid for message in self.maildrop]

    def add(self, octets: bytes, uid: bytes) -> None:
        """Put a new message at the end; sessions that are open do not see it."""
        octets = _with_last_line_end(octets)
        self.maildrop.append(Message(octets, uid, len(octets)))

    def remove(self, deleted: Iterable[Message]) -> None:
        """Remove messages, except those that another session has removed already."""
        gone = set(deleted)
        if not gone:  # a test may be changing the maildrop, after a run that has left with QUIT
            return
        with self._lock:
            self.removed += [message for message in self.maildrop if message in gone]
            self.maildrop = [message for message in self.maildrop if message not in gone]

    def __call__(self, talk: Talk) -> None:
        _Session(self, talk).play()

    def cutting_after(self, octets: int) -> Script:
        """Return a script that breaks the connection once it has sent so many octets."""

        def script(talk: Talk) -> None:
            talk.cut_after(octets)
            self(talk)

        return script


class _Session:
    """One connection's state, and a method for each command."""

    def __init__(self, mailbox: Mailbox, talk: Talk) -> None:
        self._mailbox = mailbox
        self._talk = talk
        self._name = b""
        self._maildrop: list[Message] | None = None  # as it was at the login
        self._deleted: set[Message] = set()
        self._retrieved: set[Message] = set()
        self._over = False

    def play(self) -> None:
        if self._mailbox.break_after is not None:
            octets, self._mailbox.break_after = self._mailbox.break_after, None
            self._talk.cut_after(octets, self._mailbox.manner)
        self._talk.say(self._mailbox.greeting)
        while not self._over and (line := self._talk.line()):
            reply = self._reply(line)
            if self._maildrop and line.startswith(b"RETR ") and reply.startswith(b"+OK"):
                self._retrieved.add(self._maildrop[int(line[5:]) - 1])
            self._talk.say(reply)
            if line in self._mailbox.after:
                self._mailbox.after[line](self._talk)

    def _reply(self, line: bytes) -> bytes:
        if line in self._mailbox.replies:
            return self._mailbox.replies[line]
        verb, _, argument = line.rstrip(b"\r\n").partition(b" ")
        known = AUTHORIZATION if self._maildrop is None else TRANSACTION
        if verb.upper() not in known:
            return b"-ERR unknown command\r\n"
        try:
            reply: bytes = getattr(self, f"_{verb.decode().lower()}")(argument)
        except Refused as refusal:
            return b"-ERR %s\r\n" % refusal.args
        return reply

    # Both states

    def _capa(self, _: bytes) -> bytes:
        if self._mailbox.capabilities is None:
            raise Refused(b"unknown command")
        shown = (name for name in self._mailbox.capabilities if name != b"STLS" or self._offers_stls())
        return _multiline(b"capabilities follow", shown)

    def _quit(self, _: bytes) -> bytes:
        popped = self._retrieved if self._mailbox.pops else set()
        self._mailbox.remove(self._deleted | popped)
        if self._mailbox.loses_quit:
            self._talk.cut()
        self._over = True
        return b"+OK bye\r\n"

    # AUTHORIZATION

    def _user(self, name: bytes) -> bytes:
        self._name = name
        return b"+OK\r\n"

    def _pass(self, password: bytes) -> bytes:
        return self._login(self._name, password == self._mailbox.password)

    def _apop(self, argument: bytes) -> bytes:
        challenge = CHALLENGE.search(self._mailbox.greeting)
        if not challenge:
            raise Refused(b"no challenge was given")
        user, _, digest = argument.partition(b" ")
        right = hashlib.md5(challenge[0] + self._mailbox.password).hexdigest().encode()
        return self._login(user, digest == right)

    def _auth(self, argument: bytes) -> bytes:
        mechanism, _, response = argument.partition(b" ")
        if mechanism.upper() != b"PLAIN":
            raise Refused(b"unknown mechanism")
        if not response:
            self._talk.say(b"+ \r\n")
            response = self._talk.line().rstrip(b"\r\n")
        try:
            _, user, password = base64.b64decode(response, validate=True).split(b"\0")
        except (binascii.Error, ValueError):
            raise Refused(b"bad response") from None
        return self._login(user, password == self._mailbox.password)

    def _stls(self, _: bytes) -> bytes:
        if not self._offers_stls():
            raise Refused(b"no TLS here")
        self._talk.say(b"+OK begin TLS\r\n")
        self._talk.start_tls()
        self._name = b""
        return b""

    def _offers_stls(self) -> bool:
        return b"STLS" in (self._mailbox.capabilities or ()) and not self._talk.in_tls

    def _login(self, user: bytes, proven: bool) -> bytes:
        if not proven or self._mailbox.user not in (b"", user):
            raise Refused(b"[AUTH] wrong user or password")
        self._maildrop = list(self._mailbox.maildrop)
        return b"+OK welcome\r\n"

    # TRANSACTION

    def _stat(self, _: bytes) -> bytes:
        sizes = [message.size for _, message in self._listed()]
        return b"+OK %d %d\r\n" % (len(sizes), sum(sizes))

    def _list(self, argument: bytes) -> bytes:
        if argument:
            return b"+OK %d %d\r\n" % (int(argument), self._message(argument).size)
        return _multiline(b"sizes", (b"%d %d" % (n, message.size) for n, message in self._listed()))

    def _uidl(self, argument: bytes) -> bytes:
        if argument:
            return b"+OK %d %s\r\n" % (int(argument), self._message(argument).uid)
        return _multiline(b"unique-ids", (b"%d %s" % (n, message.uid) for n, message in self._listed()))

    def _retr(self, argument: bytes) -> bytes:
        return _multiline(b"message follows", _lines(self._message(argument).octets))

    def _top(self, argument: bytes) -> bytes:
        number, _, count = argument.partition(b" ")
        if not count.isdigit():
            raise Refused(b"how many lines?")
        head, blank, body = self._message(number).octets.partition(b"\r\n\r\n")
        top = head + blank + b"".join(line + b"\r\n" for line in _lines(body)[: int(count)])
        return _multiline(b"top follows", _lines(top))

    def _dele(self, argument: bytes) -> bytes:
        self._deleted.add(self._message(argument))
        return b"+OK\r\n"

    def _noop(self, _: bytes) -> bytes:
        return b"+OK\r\n"

    def _rset(self, _: bytes) -> bytes:
        self._deleted.clear()
        return b"+OK\r\n"

    def _listed(self) -> Iterator[tuple[int, Message]]:
        for number, message in enumerate(self._maildrop or (), 1):
            if message not in self._deleted:
                yield number, message

    def _message(self, number: bytes) -> Message:
        maildrop = self._maildrop or ()
        if not number.isdigit() or not 1 <= int(number) <= len(maildrop):
            raise Refused(b"no such message")
        message = maildrop[int(number) - 1]
        if message in self._deleted:
            raise Refused(b"message is deleted")
        return message


def _with_last_line_end(octets: bytes) -> bytes:
    # RFC 1939 section 3: a reply is made of lines, so that a server ends the last one.
    return octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"


def _lines(octets: bytes) -> list[bytes]:
    return octets.split(b"\r\n")[:-1]


def _multiline(text: bytes, lines: Iterable[bytes]) -> bytes:
    stuffed = (b"." + line if line.startswith(b".") else line for line in lines)
    return b"+OK " + b"\r\n".join((text, *stuffed, b".", b""))
