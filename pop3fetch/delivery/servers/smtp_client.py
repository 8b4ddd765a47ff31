"""SMTP and LMTP: the client of the standard library, over our own connection.

``smtplib`` reads replies and EHLO, and sends commands. What it does otherwise is here instead: it sends a
message from memory, reads one reply to an LMTP message whatever the number of its recipients, starts TLS
without verifying, and its login takes no secret outside ASCII.
"""

from __future__ import annotations

import os
import re
import smtplib

from pop3fetch.delivery.servers.line import Line
from pop3fetch.delivery.servers.login import chosen, veiled_response
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.spool import SpooledDraft
from pop3fetch.errors import (
    ConnectionLost,
    LoginRefused,
    MechanismFailed,
    POP3Error,
    ProtocolViolation,
    ServerFailed,
    TLSNotSupportedError,
)
from pop3fetch.pop3.sasl import decode
from pop3fetch.printable import printable
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

REPLY_LINES = 100  # of one reply at most
REPLY = re.compile(rb"[2-5][0-9][0-9](?:[ -]|\r?\n)")
HOST_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
FULL = re.compile(r"5\.2\.2\b")  # the enhanced status of a full mailbox (RFC 3463)


class Reply(NamedTuple):
    """A reply: its code, its text with the lines joined by blanks, and the octets of that."""

    code: int
    text: str
    octets: bytes = b""

    @property
    def is_success(self) -> bool:
        """Whether what was asked for is done."""
        return 200 <= self.code < 300

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()


class Envelope(NamedTuple):
    """One transaction: a message for one recipient."""

    draft: SpooledDraft
    sender: str
    recipient: str


class Client(smtplib.SMTP):
    """A session with an SMTP or LMTP server; the greeting is read when it is made."""

    def __init__(self, line: Line, server: MailServer) -> None:
        """Read the greeting; raises ServerFailed if it is a refusal."""
        own = os.uname().nodename
        super().__init__(local_hostname=own if HOST_NAME.fullmatch(own) else "[127.0.0.1]")
        self.line = line
        self._server = server
        self._lines = 0  # of the reply that is being read
        # As far as they are used: the one to write to, the other to read lines from.
        self.sock, self.file = line, self  # type: ignore[assignment]
        if server.address.protocol == "LMTP":
            self.ehlo_msg = "lhlo"
        greeting = self.reply("the greeting")
        if greeting.code != 220:
            raise self.failure("the server refused the connection", greeting)

    # -- lines ---------------------------------------------------------------------------------

    def send(self, s: str | bytes) -> None:  # type: ignore[override]
        octets = s.encode("utf-8") if isinstance(s, str) else s
        self.line.write(octets, octets.rstrip(b"\r\n"))

    def reply(self, awaited: str, *, is_data: bool = False) -> Reply:
        """Read a reply; raises ProtocolViolation, and what the line raises."""
        self.line.expect(awaited, is_data=is_data)
        self._lines = 0
        try:
            code, text = self.getreply()
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, POP3Error):
                raise error.__context__ from None
            raise ConnectionLost(self.line.transport.host, f"while waiting for {awaited}") from None
        shown = self.line.blotted(text).replace(b"\n", b" ")
        return Reply(code, printable(shown.decode("utf-8", "backslashreplace")), text)

    def readline(self, limit: int) -> bytes:
        """Return the next line of a reply, for ``smtplib``."""
        line = self.line.readline(limit)
        self._lines += 1
        if REPLY.match(line) is None:
            raise ProtocolViolation("not a reply of an SMTP server", self.line.blotted(line.rstrip(b"\r\n")))
        if self._lines > REPLY_LINES:
            raise ProtocolViolation(f"a reply has more than {REPLY_LINES} lines")
        return line

    def close(self) -> None:
        self.line.close()

    def ask(self, command: str, awaited: str = "") -> Reply:
        """Send a command and return the reply."""
        self.putcmd(command)
        return self.reply(awaited or f"the reply to {command.split()[0].upper()}")

    def failure(self, what: str, reply: Reply) -> ServerFailed:
        """Return the error for a reply that ends the delivery."""
        status = Status.TRY_LATER if reply.code < 500 else Status.CANNOT_DELIVER
        name = str(self._server.address)
        return ServerFailed(destination=name, reason=f"{what}: {reply}", status=status)

    # -- the beginning -------------------------------------------------------------------------

    def introduce(self) -> None:
        """Send EHLO or LHLO, and keep what the server offers; raises ServerFailed, ProtocolViolation."""
        self.line.expect(f"the reply to {self.ehlo_msg.upper()}")
        self._lines = 0
        try:
            code, text = self.ehlo()
        except smtplib.SMTPServerDisconnected as error:
            raise (error.__context__ if isinstance(error.__context__, POP3Error) else error) from None
        if code != 250:
            reply = Reply(code, printable(self.line.blotted(text)))
            if code >= 500:
                kind = "an LMTP" if self.ehlo_msg == "lhlo" else "an SMTP"
                raise ProtocolViolation(f"this is not {kind} server: {reply}")
            raise self.failure(f"the server refused {self.ehlo_msg.upper()}", reply)

    def request_tls(self) -> None:
        self.introduce()
        host = self.line.transport.host
        if not self.has_extn("starttls"):
            raise TLSNotSupportedError(host, "it does not offer STARTTLS")
        reply = self.ask("STARTTLS")
        if reply.code != 220:
            raise TLSNotSupportedError(host, f"it refused STARTTLS: {reply}")

    def tls_started(self) -> None:
        self.esmtp_features = {}

    def log_in(self) -> None:
        """Log in (RFC 4954); raises LoginRefused, and what `chosen` raises."""
        exchange = chosen(self._server, self.line, self.esmtp_features.get("auth", "").split())
        initial = exchange.initial()
        command = f"AUTH {exchange.name}"
        if initial is not None:
            command += f" {veiled_response(self._server, initial).decode() or '='}"
        reply = self.ask(command)
        while reply.code == 334:
            try:
                response = exchange.respond(decode(reply.octets))
            except MechanismFailed:
                self.ask("*", "the reply to a cancelled login")
                raise
            reply = self.ask(veiled_response(self._server, response).decode(), "the reply to the login")
        if reply.code != 235:
            user, said = self._server.address.user or "", exchange.refused()
            text = f"{reply} ({said})" if said else str(reply)
            # 454 and 421 are the server's own trouble (RFC 4954 section 6).
            code = b"SYS/TEMP" if reply.code < 500 else b"AUTH"
            raise LoginRefused(exchange.name, self._server.secrets.blot(text.encode()), code, user)
        exchange.finish()

    # -- messages ------------------------------------------------------------------------------

    @property
    def is_pipelined(self) -> bool:
        """Whether commands may be sent before the replies to earlier ones (RFC 2920)."""
        return bool(self.has_extn("pipelining"))

    @property
    def takes_chunks(self) -> bool:
        """Whether whole messages may follow each other (RFC 3030), with replies that tell what they are to.

        Only an enhanced status code does that: one reply too many would make a message delivered that is not.
        """
        return self.is_pipelined and self.has_extn("chunking") and self.has_extn("enhancedstatuscodes")

    @property
    def size_limit(self) -> int:
        """Octets that a message may have, 0 if that is not known (RFC 1870)."""
        limit = self.esmtp_features.get("size", "")
        return int(limit) if re.fullmatch("[0-9]{1,18}", limit) else 0

    def commands(self, envelope: Envelope) -> list[str]:
        """Return the commands that come before the data."""
        draft = envelope.draft
        mail = f"MAIL FROM:<{envelope.sender}>"
        if self.has_extn("size"):
            mail += f" SIZE={draft.length}"
        if draft.has_eight_bits and self.has_extn("8bitmime"):
            mail += " BODY=8BITMIME"
        if not (envelope.sender + envelope.recipient).isascii() and self.has_extn("smtputf8"):
            mail += " SMTPUTF8"
        return [mail, f"RCPT TO:<{envelope.recipient}>"]
