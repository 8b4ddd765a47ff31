"""IMAP, as far as a destination needs it: log in, look at mailboxes, append, and fetch what was appended.

``imaplib`` is not used. It appends from memory and changes lone CRs and LFs; waits for each message; reads
literals and responses without bound; quotes no mailbox name, so that a line end in one begins another
command; and starts TLS without verifying. Without these parts, its lines would be fewer than those around it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from pop3fetch.delivery.servers.line import Line
from pop3fetch.delivery.servers.login import chosen, veiled_response
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import (
    ConnectionLost,
    LoginRefused,
    MechanismFailed,
    MechanismNotOffered,
    ProtocolViolation,
    TLSNotSupportedError,
)
from pop3fetch.pop3.sasl import Mechanism, decode
from pop3fetch.printable import printable
from pop3fetch.values import NamedTuple

LITERALS_LIMIT = 512 * 1024  # octets of all literals in the responses to one command
PART = 256 * 1024  # octets of a message that are fetched at once
AT_ONCE_LIMIT = 4096  # octets of a literal that LITERAL- sends without asking (RFC 7888)
LARGE = 1 << 20  # octets of a message whose announcement may be refused before it is sent
LATER = ("INUSE", "SERVERBUG", "UNAVAILABLE")  # response codes of trouble that passes (RFC 5530)

_CODE = re.compile(rb"\[([A-Za-z0-9-]+)(?: ([^\]]*))?\]")
_LITERAL = re.compile(rb"~?\{([0-9]+)\+?\}\Z")
_STRING = re.compile(rb'BODY\[\]<[0-9]+> "((?:[^"\\]|\\.)*+)"')
_LIST = re.compile(rb'\* LIST \(([^)]*)\) (?:NIL|"\\?.") (.*)', re.IGNORECASE | re.DOTALL)


class Answer(NamedTuple):
    """The end of a command: ``kind`` is OK, NO or BAD; its response code with what is in it, and all text.

    A request for more is ``+``, with what it says as its ``argument``.
    """

    kind: str
    code: str
    argument: str
    text: str

    @property
    def is_ok(self) -> bool:
        """Whether what was asked for is done."""
        return self.kind == "OK"

    def __str__(self) -> str:
        return f"{self.kind} {self.text}".rstrip()


class State(NamedTuple):
    """A mailbox as STATUS shows it."""

    validity: int
    next_uid: int


class Client:
    """A session with an IMAP server; the greeting is read when it is made."""

    def __init__(self, line: Line, server: MailServer) -> None:
        """Read the greeting and the capabilities; raises ProtocolViolation, ConnectionLost."""
        self.line = line
        self.offered: frozenset[str] = frozenset()
        self._server = server
        self._tags = 0
        self._responses: list[list[bytes]] = []  # untagged, to the last command
        self._literals = 0  # octets in them
        line.expect("the greeting")
        greeting = self._line()
        if greeting.startswith(b"* BYE"):
            raise ConnectionLost(
                line.transport.host, "in the greeting", self._shown(greeting[len(b"* BYE ") :])
            )
        if not greeting.startswith((b"* OK", b"* PREAUTH")):
            raise ProtocolViolation("this is not an IMAP server", line.blotted(greeting))
        self._needs_login = greeting.startswith(b"* OK")
        if not self._needs_login and server.tls == "starttls":
            # An attacker may have sent it, so that nothing is ever sent inside TLS.
            raise ProtocolViolation("it greets with PREAUTH, after which TLS cannot begin")
        self._learn_from(greeting)

    # -- commands ------------------------------------------------------------------------------

    def ask(self, *words: str) -> Answer:
        """Send a command of words that are quoted already; return its end, and keep what comes before."""
        tag = self.send(*words)
        self.line.expect(f"the reply to {words[0]}")
        while True:
            answered = self.read()
            if answered is not None and answered[0] == tag:
                return answered[1]

    def send(self, *words: str) -> str:
        """Send a command, and return its tag."""
        self._responses, self._literals = [], 0
        tag = self.tag()
        octets = " ".join((tag, *words)).encode("ascii")
        self.line.write(octets + b"\r\n", octets)
        return tag

    def tag(self) -> str:
        """Return a tag that no command has had."""
        self._tags += 1
        return f"P{self._tags}"

    def read(self) -> tuple[str, Answer] | None:
        """Read a response; return tag and answer if it ends a command, ("+", …) if data may follow, or None.

        Raises ProtocolViolation, and ConnectionLost at BYE.
        """
        line = self._line()
        mark, _, rest = line.partition(b" ")
        if mark == b"*":
            self._keep(line)
            return None
        if mark == b"+":
            return "+", Answer("+", "", rest.decode("ascii", "replace"), self._shown(rest))
        kind, _, text = rest.partition(b" ")
        if kind.upper() not in (b"OK", b"NO", b"BAD") or not mark.isalnum():
            raise ProtocolViolation("not a response of an IMAP server", self.line.blotted(line))
        code = _CODE.match(text)
        name, argument = (code[1], code[2] or b"") if code else (b"", b"")
        shown = self._shown(text)
        answer = Answer(
            kind.decode().upper(), name.decode().upper(), argument.decode("ascii", "replace"), shown
        )
        return mark.decode(), answer

    def _keep(self, line: bytes) -> None:
        """Keep an untagged response, with the literals in it."""
        if line[2:5].upper() == b"BYE":
            said = self._shown(line[len(b"* BYE ") :]) or "the server said BYE"
            raise ConnectionLost(self.line.transport.host, "in the session", said)
        parts = [line]
        while literal := _LITERAL.search(parts[-1]):
            digits = literal[1].lstrip(b"0")
            size = int(digits or b"0") if len(digits) < 10 else LITERALS_LIMIT + 1
            self._literals += size
            if self._literals > LITERALS_LIMIT:
                raise ProtocolViolation("a literal that was not requested", self.line.blotted(line))
            parts += [self.line.read(size), self._line()]
        self._responses.append(parts)

    def _line(self) -> bytes:
        return self.line.readline().removesuffix(b"\n").removesuffix(b"\r")

    def _shown(self, text: bytes) -> str:
        return printable(self.line.blotted(text).decode("utf-8", "backslashreplace")).strip()

    # -- the beginning -------------------------------------------------------------------------

    def request_tls(self) -> None:
        """Send STARTTLS; raises TLSNotSupportedError if it is not offered or refused."""
        host = self.line.transport.host
        if "STARTTLS" not in self.offered:
            raise TLSNotSupportedError(host, "it does not offer STARTTLS")
        answer = self.ask("STARTTLS")
        if not answer.is_ok:
            raise TLSNotSupportedError(host, f"it refused STARTTLS: {answer}")

    def tls_started(self) -> None:
        """Forget what was offered in clear text, and ask again."""
        self._responses = []
        self._learn_from(b"")

    def _learn_from(self, text: bytes) -> None:
        """Take the capabilities from a response, or from those before it; ask if they are not there."""
        code = _CODE.search(text)
        words = code[2].split() if code and code[1].upper() == b"CAPABILITY" and code[2] else []
        words = words or self._listed()
        if not words:
            self.ask("CAPABILITY")
            words = self._listed()
        self.offered = frozenset(word.decode("ascii", "replace").upper() for word in words)

    def _listed(self) -> list[bytes]:
        lines = (parts[0].split() for parts in self._responses)
        return [word for words in lines if words[1:2] == [b"CAPABILITY"] for word in words[2:]]

    def log_in(self) -> None:
        """Log in, and ask what is offered then; raises LoginRefused, and what `chosen` raises."""
        if self._needs_login:
            offered = [name.removeprefix("AUTH=") for name in self.offered if name.startswith("AUTH=")]
            if not offered:
                raise MechanismNotOffered("the server offers no login by AUTHENTICATE")
            exchange = chosen(self._server, self.line, offered)
            answer = self._exchanged(exchange)
            if not answer.is_ok:
                said = exchange.refused()
                text = f"{answer} ({said})" if said else str(answer)
                code = b"SYS/TEMP" if answer.code in LATER else b"AUTH"
                shown = self._server.secrets.blot(text.encode())
                raise LoginRefused(exchange.name, shown, code, self._server.address.user or "")
            exchange.finish()
            self._learn_from(answer.text.encode("ascii", "replace"))

    def _exchanged(self, exchange: Mechanism) -> Answer:
        """Send AUTHENTICATE and answer each challenge; return the end of the command."""
        initial = exchange.initial()
        failure = None
        words = ["AUTHENTICATE", exchange.name]
        if initial is not None and "SASL-IR" in self.offered:
            words.append(veiled_response(self._server, initial).decode() or "=")
            initial = None
        tag = self.send(*words)
        self.line.expect("the reply to the login")
        while True:
            answered = self.read()
            if answered is None:
                continue
            if answered[0] == tag:
                if failure:
                    raise failure
                return answered[1]
            if answered[0] != "+" or failure:
                raise ProtocolViolation("it goes on with a login that is over")
            try:
                if initial is not None:
                    response, initial = initial, None
                else:
                    response = exchange.respond(decode(answered[1].argument.strip().encode()))
            except MechanismFailed as error:
                failure = error
                self.line.write(b"*\r\n", b"*")
            else:
                octets = veiled_response(self._server, response)
                self.line.write(octets + b"\r\n", octets)
            self.line.expect("the reply to the login")

    # -- mailboxes -----------------------------------------------------------------------------

    def state_of(self, mailbox: str) -> State | Answer:
        """Return the state of a mailbox, or why there is none."""
        answer = self.ask("STATUS", quoted(mailbox), "(UIDVALIDITY UIDNEXT)")
        if not answer.is_ok:
            return answer
        text = b" ".join(b"".join(parts) for parts in self._responses)
        numbers = [
            re.search(rb"(?i)\b%b ([0-9]{1,10})\b" % name, text) for name in (b"UIDVALIDITY", b"UIDNEXT")
        ]
        if not all(numbers):
            raise ProtocolViolation("it does not answer STATUS", self.line.blotted(text))
        return State(*(int(number[1]) for number in numbers if number))

    def state_after_opening(self, mailbox: str) -> State | Answer:
        """Return the state of a mailbox once it was opened.

        STATUS alone overlooks what a killed process of Dovecot has stored under a lock that it left.
        """
        if self.examine(quoted(mailbox)):
            self.ask("CLOSE")
        return self.state_of(mailbox)

    def mailboxes(self) -> list[str]:
        """Return all mailboxes that can be opened, each as a word of a command."""
        self.ask("LIST", '""', '"*"')
        found = []
        for parts in self._responses:
            match = _LIST.match(parts[0])
            if match is None or re.search(rb"(?i)\\(noselect|nonexistent)", match[1]):
                continue
            name = match[2] if len(parts) == 1 else b'"%b"' % re.sub(rb'(["\\])', rb"\\\1", parts[1])
            if re.fullmatch(rb"[\x20-\x7e]+", name):  # or it could be another command
                found.append(name.decode("ascii"))
        return found

    def examine(self, word: str) -> bool:
        """Open a mailbox, given as a word of a command, only to look; return whether that succeeded."""
        return self.ask("EXAMINE", word).is_ok

    def sizes(self, first: int, last: int) -> dict[int, int]:
        """Return UID and size of the messages with these UIDs in the mailbox that is open."""
        self.ask("UID", "FETCH", f"{first}:{last}", "(UID RFC822.SIZE)")
        found = {}
        for parts in self._responses:
            uid = re.search(rb"\bUID ([0-9]{1,10})\b", parts[0])
            size = re.search(rb"\bRFC822\.SIZE ([0-9]{1,18})\b", parts[0])
            if uid and size and first <= int(uid[1]) <= last:  # n:* has the last message, whatever n is
                found[int(uid[1])] = int(size[1])
        return found

    def search(self, message_id: str) -> list[int]:
        """Return the UIDs of messages with this Message-ID in the mailbox that is open."""
        word = '"' + message_id.replace("\\", "\\\\").replace('"', '\\"') + '"'
        self.ask("UID", "SEARCH", "HEADER", "Message-ID", word)
        lines = (parts[0].split() for parts in self._responses)
        return [
            int(uid) for words in lines if words[1:2] == [b"SEARCH"] for uid in words[2:] if uid.isdigit()
        ]

    def parts_of(self, uid: int, limit: int) -> Iterator[bytes]:
        """Yield a message of the mailbox that is open, part by part, up to ``limit`` octets and a part."""
        offset = 0
        while offset <= limit:
            self.ask("UID", "FETCH", str(uid), f"(UID BODY.PEEK[]<{offset}.{PART}>)")
            part = b"".join(map(_content, self._responses))
            yield part
            offset += len(part)
            if len(part) < PART:
                return

    def literal(self, size: int, *, is_binary: bool) -> tuple[str, bool]:
        """Return how a message of so many octets is announced, and whether the server must agree first."""
        mark = "~" if is_binary else ""
        small = size <= AT_ONCE_LIMIT and "LITERAL-" in self.offered
        if small or (size <= LARGE and "LITERAL+" in self.offered):
            return f"{mark}{{{size}+}}", False
        return f"{mark}{{{size}}}", True


def _content(parts: list[bytes]) -> bytes:
    """Return what a response gives of a message: a literal, or a quoted string if it is short."""
    if len(parts) > 1:
        return b"".join(parts[1::2])
    string = _STRING.search(parts[0])
    return re.sub(rb"\\(.)", rb"\1", string[1]) if string else b""


def quoted(name: str) -> str:
    """Return the name of a mailbox as a word of a command, in modified UTF-7 (RFC 3501 section 5.1.3)."""
    encoded = re.sub(r"[^\x20-\x7e]+|&", _shifted, name)
    return '"' + encoded.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shifted(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    octets = binascii.b2a_base64(match[0].encode("utf-16-be", "surrogatepass"), newline=False)
    return "&" + octets.rstrip(b"=").replace(b"/", b",").decode() + "-"
