"""A small IMAP server that follows the RFCs, as a script for the scripted server.

It keeps mailboxes over connections. Where a test wants it to be wrong, single answers are others, or the
connection breaks.

    imap = ImapServer()
    with ScriptedServer(imap) as server:
        ...
    assert imap.inbox.messages == {1: b"Subject: x\\r\\n"}
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.scripted_server import ClientLeft, Script, Talk

PLUS = ("IMAP4rev1", "UIDPLUS", "LITERAL+", "BINARY", "AUTH=PLAIN")
MINUS = ("IMAP4rev1", "UIDPLUS", "LITERAL-", "AUTH=PLAIN")
BARE = ("IMAP4rev1", "AUTH=PLAIN")

_APPEND = re.compile(rb'APPEND "([^"]*)" \(([^)]*)\)(?: "([^"]*)")? (~?)\{([0-9]+)(\+?)\}\r\n')


@dataclass
class Box:
    """A mailbox: messages by UID, and what came with each."""

    validity: int = 1
    next_uid: int = 1
    messages: dict[int, bytes] = field(default_factory=dict)
    dates: list[bytes] = field(default_factory=list)
    flags: list[bytes] = field(default_factory=list)

    def add(self, octets: bytes) -> int:
        """Store a message; return its UID."""
        uid, self.next_uid = self.next_uid, self.next_uid + 1
        self.messages[uid] = octets
        return uid


@dataclass
class ImapServer:
    """Call it to play one session.

    ``replies`` maps a command (``greeting``, ``APPEND``, …) to the answers that stand in for the right
    ones, each in turn, without their tags; then nothing is done. None does it, and ends the stream
    before the answer; a script takes over from there. ``break_after`` lets the next connection say so
    many octets.
    """

    capabilities: Sequence[str] = PLUS
    replies: Mapping[str, Sequence[bytes | Script | None]] = field(default_factory=dict)
    break_after: int | None = None
    manner: Script = Talk.cut
    greeting: bytes = b"* OK ready\r\n"
    boxes: dict[bytes, Box] = field(default_factory=lambda: {b"INBOX": Box()})
    commands: list[bytes] = field(default_factory=list)
    most_under_way: int = 0
    stolen: bytes | None = None  # a mailbox to which a filter moves what is appended

    def __post_init__(self) -> None:
        self.left = {name: list(replies) for name, replies in self.replies.items()}

    @property
    def inbox(self) -> Box:
        return self.boxes[b"INBOX"]

    def refuses(self, talk: Talk, octets: bytes) -> bytes:
        """Return the answer to a message that is not stored, or nothing; for a test to replace."""
        return b""

    def kept(self, octets: bytes) -> bytes:
        """Return what is stored of a message; for a test to replace."""
        return octets

    def __call__(self, talk: Talk) -> None:
        if self.break_after is not None:
            allowed, self.break_after = self.break_after, None
            talk.cut_after(allowed, self.manner)
        _Session(self, talk).play()


class _Session:
    def __init__(self, server: ImapServer, talk: Talk) -> None:
        self._server = server
        self._talk = talk
        self._box = Box()
        self._tag = b""

    def play(self) -> None:
        self._talk.say(self._server.greeting)
        while line := self._talk.line():
            self._tag, _, rest = line.partition(b" ")
            words = rest.split() or [b"NOOP"]
            name = words[0].decode().upper()
            if name == "UID":
                name = f"UID {words[1].decode().upper()}"
            self._server.commands.append(rest.strip())
            left = self._server.left.get(name)
            stand_in = left.pop(0) if left else b""
            if isinstance(stand_in, bytes) and stand_in and name != "APPEND":
                self._talk.say(stand_in if stand_in.startswith((b"*", b"+")) else self._tag + b" " + stand_in)
                continue
            act = getattr(self, f"_{name.lower().replace(' ', '_')}", self._noop)
            act(rest, stand_in)
            if name == "LOGOUT":
                return

    def _ok(self, text: bytes = b"done") -> None:
        self._talk.say(b"%b OK %b\r\n" % (self._tag, text))

    def _no(self, text: bytes) -> None:
        self._talk.say(b"%b NO %b\r\n" % (self._tag, text))

    def _capability(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        offered = [
            each for each in self._server.capabilities if not (self._talk.in_tls and each == "STARTTLS")
        ]
        self._talk.say(b"* CAPABILITY %b\r\n" % " ".join(offered).encode())
        self._ok()

    def _starttls(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        self._ok()
        self._talk.start_tls()

    def _authenticate(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        self._talk.say(b"+ \r\n")
        proof = base64.b64decode(self._talk.line())
        if proof == b"\0alice\0secret":
            self._ok()
        else:
            self._no(b"[AUTHENTICATIONFAILED] wrong password")

    def _noop(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        self._ok()

    def _logout(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        self._talk.say(b"* BYE bye\r\n")
        self._ok()

    def _named(self, rest: bytes) -> tuple[bytes, Box | None]:
        match = re.search(rb'"([^"]*)"', rest)
        assert match, rest
        return match[1], self._server.boxes.get(match[1])

    def _status(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        name, box = self._named(rest)
        if box is None:
            self._no(b"[NONEXISTENT] there is none")
            return
        shown = b'* STATUS "%b" (UIDNEXT %d UIDVALIDITY %d)\r\n' % (name, box.next_uid, box.validity)
        self._talk.say(shown)
        self._ok()

    def _create(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        name, _ = self._named(rest)
        self._server.boxes[name] = Box(validity=9)
        self._ok()

    def _list(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        self._talk.say(b'* LIST (\\Noselect) "/" "Nothing"\r\n')
        for name in self._server.boxes:
            self._talk.say(b'* LIST (\\HasNoChildren) "/" {%d}\r\n%b\r\n' % (len(name), name))
        self._ok()

    def _examine(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        _, box = self._named(rest)
        if box is None:
            self._no(b"there is none")
            return
        self._box = box
        self._talk.say(b"* %d EXISTS\r\n" % len(box.messages))
        self._ok(b"[READ-ONLY] done")

    def _uid_fetch(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        words = rest.split()
        first, _, last = words[2].partition(b":")
        for number, (uid, octets) in enumerate(self._box.messages.items(), 1):
            if not int(first) <= uid <= int(last or first):
                continue
            if part := re.search(rb"<([0-9]+)\.([0-9]+)>", rest):
                start, size = int(part[1]), int(part[2])
                octets = octets[start : start + size]
                shown = b"* %d FETCH (UID %d BODY[]<%d> {%d}\r\n%b)\r\n"
                self._talk.say(shown % (number, uid, start, len(octets), octets))
            else:
                self._talk.say(b"* %d FETCH (UID %d RFC822.SIZE %d)\r\n" % (number, uid, len(octets)))
        self._ok()

    def _uid_search(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        wanted = rest.split(b'"')[1]
        uids = [uid for uid, octets in self._box.messages.items() if b"Message-ID: " + wanted in octets]
        self._talk.say(b"* SEARCH%b\r\n" % b"".join(b" %d" % uid for uid in uids))
        self._ok()

    def _append(self, rest: bytes, stand_in: bytes | Script | None) -> None:
        match = _APPEND.fullmatch(rest)
        assert match, rest
        size = int(match[5])
        if not match[6]:
            if isinstance(stand_in, bytes) and stand_in.startswith(b"NO"):
                self._talk.say(self._tag + b" " + stand_in)
                return
            self._talk.say(b"+ go on\r\n")
        octets = self._talk.take(size)
        if len(octets) < size or self._talk.take(2) != b"\r\n":
            raise ClientLeft
        if callable(stand_in):
            stand_in(self._talk)
            return
        if stand_in:
            self._talk.say(stand_in if stand_in.startswith(b"*") else self._tag + b" " + stand_in)
            return
        if refusal := self._server.refuses(self._talk, octets):
            self._talk.say(refusal if refusal.startswith(b"*") else self._tag + b" " + refusal)
            return
        box = self._server.boxes.get(match[1])
        if box is None:
            self._no(b"[TRYCREATE] there is none")
            return
        assert match[4] or b"\0" not in octets, "a NUL in a literal"
        uid = box.add(self._server.kept(octets))
        box.flags.append(match[2])
        box.dates.append(match[3] or b"")
        if self._server.stolen:
            self._server.boxes[self._server.stolen].add(box.messages.pop(uid))
        if stand_in is None:
            self._talk.close()
            raise ClientLeft
        has_uids = "UIDPLUS" in self._server.capabilities
        self._ok(b"[APPENDUID %d %d] done" % (box.validity, uid) if has_uids else b"done")
