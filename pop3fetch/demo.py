"""The POP3 server of ``pop3fetch demo``: one small maildrop on loopback, to try commands on.

Implements RFC 1939 with APOP, and the part of RFC 2449 that the demonstration shows. It listens only on
127.0.0.1, writes nothing to disk, forgets everything when it stops, and has no TLS. Not for real mail.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import socketserver
import threading
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"

_CAPABILITIES = (
    *(b"TOP", b"UIDL", b"USER", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"EXPIRE NEVER"),
    b"IMPLEMENTATION pop3fetch-demo",
)

_LINE_LIMIT = 255  # octets of a command with its CRLF (RFC 2449 section 4)

_INACTIVITY = 600.0  # seconds until a silent client is dropped (RFC 1939 section 3)

_POLL = 0.02  # seconds that a stop may take to be seen


@dataclass(frozen=True, slots=True)
class _Stored:
    """A message as RETR sends it, but for the byte-stuffing: it ends with CRLF."""

    octets: bytes

    @property
    def uid(self) -> bytes:
        return hashlib.sha256(self.octets).hexdigest()[:16].encode()


class _Maildrop:
    """The messages that all sessions share, with the name and password to log in with."""

    def __init__(self, user: str, password: str, messages: Sequence[bytes]) -> None:
        self.user = user.encode()
        self.password = password.encode()
        self._messages = [_Stored(message.removesuffix(b"\r\n") + b"\r\n") for message in messages]
        self._lock = threading.Lock()

    def messages(self) -> list[_Stored]:
        """Return the messages at this moment; a session sees these from its login to its end."""
        with self._lock:
            return list(self._messages)

    def remove(self, deleted: list[_Stored]) -> None:
        with self._lock:
            self._messages = [message for message in self._messages if message not in deleted]


class _Session:
    """One session without its socket: a command's octets in, its reply's octets out.

    The state is AUTHORIZATION while there are no messages, and TRANSACTION from then on.
    """

    def __init__(self, maildrop: _Maildrop) -> None:
        self.over = False
        self._challenge = f"<{secrets.token_hex(8)}@demo.example.org>".encode()
        self._maildrop = maildrop
        self._user: bytes | None = None
        self._messages: list[_Stored] | None = None
        self._deleted: set[int] = set()

    def greeting(self) -> bytes:
        return _ok(b"the demo of pop3fetch is ready " + self._challenge)

    def reply(self, line: bytes) -> bytes:
        """Return the reply to one line of the client's, as it was read."""
        if not line.endswith(b"\n") or len(line) > _LINE_LIMIT:
            self.over = True
            return _error(b"this line is too long, or has no end")
        keyword, *arguments = line.rstrip(b"\r\n").split(b" ")
        command = _COMMANDS.get(keyword.upper())
        if command is None:
            return _error(b"unknown command")
        if len(arguments) not in command.arguments:
            return _error(b"this is the wrong number of arguments")
        if command.logged_in not in (None, self._messages is not None):
            return _error(b"log in first" if command.logged_in else b"you are logged in")
        return command.answer(self, *arguments)

    def capa(self) -> bytes:
        return _multiline(b"this is what there is", _CAPABILITIES)

    def user(self, name: bytes) -> bytes:
        self._user = name
        return _ok(b"now the password")

    def password(self, password: bytes) -> bytes:
        if self._user is None:
            return _error(b"USER comes first")
        return self._log_in(self._user, password, self._maildrop.password)

    def apop(self, name: bytes, digest: bytes) -> bytes:
        secret = hashlib.md5(self._challenge + self._maildrop.password, usedforsecurity=False)
        return self._log_in(name, digest, secret.hexdigest().encode())

    def stat(self) -> bytes:
        present = self._present()
        return _ok(b"%d %d" % (len(present), sum(len(message.octets) for message in present.values())))

    def list(self, number: bytes | None = None) -> bytes:
        return self._listing(number, lambda message: b"%d" % len(message.octets))

    def uidl(self, number: bytes | None = None) -> bytes:
        return self._listing(number, lambda message: message.uid)

    def retr(self, number: bytes) -> bytes:
        message = self._find(number)
        if message is None:
            return _NO_SUCH_MESSAGE
        return _multiline(b"%d octets" % len(message.octets), message.octets.split(b"\r\n")[:-1])

    def top(self, number: bytes, lines: bytes) -> bytes:
        message = self._find(number)
        if message is None:
            return _NO_SUCH_MESSAGE
        if not _NUMBER.fullmatch(lines):
            return _error(b"this is not a number of lines")
        header, _, body = message.octets.partition(b"\r\n\r\n")
        shown = body.split(b"\r\n")[:-1][: int(lines)]
        return _multiline(b"the top of it", [*header.split(b"\r\n"), b"", *shown])

    def dele(self, number: bytes) -> bytes:
        if self._find(number) is None:
            return _NO_SUCH_MESSAGE
        self._deleted.add(int(number))
        return _ok(b"it will be deleted")

    def rset(self) -> bytes:
        self._deleted.clear()
        return _ok(b"nothing will be deleted")

    def noop(self) -> bytes:
        return _ok(b"nothing done")

    def quit(self) -> bytes:
        """End the session, and only now delete (RFC 1939 section 6)."""
        messages = self._messages or []
        self._maildrop.remove([messages[number - 1] for number in self._deleted])
        self.over = True
        return _ok(b"%d deleted, good-bye" % len(self._deleted))

    def _log_in(self, name: bytes, proof: bytes, expected: bytes) -> bytes:
        if name != self._maildrop.user or not secrets.compare_digest(proof, expected):
            self._user = None
            return _error(b"[AUTH] the name or the password is wrong")
        self._messages = self._maildrop.messages()
        return _ok(b"welcome, %d messages are waiting" % len(self._messages))

    def _present(self) -> dict[int, _Stored]:
        """Return the messages that are not marked as deleted, by their numbers."""
        numbered = enumerate(self._messages or [], start=1)
        return {number: message for number, message in numbered if number not in self._deleted}

    def _find(self, number: bytes) -> _Stored | None:
        return self._present().get(int(number)) if _NUMBER.fullmatch(number) else None

    def _listing(self, number: bytes | None, describe: Callable[[_Stored], bytes]) -> bytes:
        if number is None:
            lines = [b"%d %s" % (number, describe(message)) for number, message in self._present().items()]
            return _multiline(b"%d messages" % len(lines), lines)
        message = self._find(number)
        return _ok(b"%d %s" % (int(number), describe(message))) if message else _NO_SUCH_MESSAGE


_NUMBER = re.compile(rb"[0-9]{1,9}")


def _ok(text: bytes) -> bytes:
    return b"+OK " + text + b"\r\n"


def _error(text: bytes) -> bytes:
    return b"-ERR " + text + b"\r\n"


_NO_SUCH_MESSAGE = _error(b"there is no such message")


def _multiline(text: bytes, lines: Sequence[bytes]) -> bytes:
    stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
    return _ok(text) + b"".join(line + b"\r\n" for line in stuffed) + b".\r\n"


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: the method that answers it, how many arguments it may have, and when it is allowed."""

    answer: Callable[..., bytes]
    arguments: range
    logged_in: bool | None  # None: before the login and after it


_COMMANDS = {
    b"CAPA": _Command(_Session.capa, range(0, 1), None),
    b"QUIT": _Command(_Session.quit, range(0, 1), None),
    b"USER": _Command(_Session.user, range(1, 2), False),
    b"PASS": _Command(_Session.password, range(1, 2), False),
    b"APOP": _Command(_Session.apop, range(2, 3), False),
    b"STAT": _Command(_Session.stat, range(0, 1), True),
    b"LIST": _Command(_Session.list, range(0, 2), True),
    b"UIDL": _Command(_Session.uidl, range(0, 2), True),
    b"TOP": _Command(_Session.top, range(2, 3), True),
    b"RETR": _Command(_Session.retr, range(1, 2), True),
    b"DELE": _Command(_Session.dele, range(1, 2), True),
    b"RSET": _Command(_Session.rset, range(0, 1), True),
    b"NOOP": _Command(_Session.noop, range(0, 1), True),
}


class _Connection(socketserver.StreamRequestHandler):
    """The socket of one session; reads are buffered, so pipelined commands wait their turn."""

    server: _Server
    timeout = _INACTIVITY
    disable_nagle_algorithm = True

    def handle(self) -> None:
        session = _Session(self.server.maildrop)
        with suppress(OSError):  # the client is gone or silent, or the server stops
            self.wfile.write(session.greeting())
            while not session.over and (line := self.rfile.readline(_LINE_LIMIT + 1)):
                self.wfile.write(session.reply(line))


class _Server(socketserver.ThreadingTCPServer):
    """The listening socket, and the connections that a stop must end."""

    def __init__(self, maildrop: _Maildrop) -> None:
        super().__init__((HOST, 0), _Connection)
        self.maildrop = maildrop
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake every session that waits for its client."""
        for connection in list(self._connections):
            with suppress(OSError):  # it ended by itself meanwhile
                connection.shutdown(socket.SHUT_RDWR)


class DemoServer:
    """Serve :data:`MESSAGES` from entering to leaving, to ``user`` with ``password``."""

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0  # the system chooses one on entering
        self.user = "alice"
        self.password = secrets.token_hex(8)

    def __enter__(self) -> Self:
        self._server = _Server(_Maildrop(self.user, self.password, MESSAGES))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()  # waits for the sessions' threads


# The messages: each has a feature that some clients handle badly.


def _message(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8")


def _word(text: str) -> str:
    """Return ``text`` as one encoded word (RFC 2047 section 2)."""
    return f"=?utf-8?b?{_base64(text)}?="


def _base64(text: str) -> str:
    return b2a_base64(text.encode("utf-8"), newline=False).decode("ascii")


_UTF_8 = """\
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit"""

MESSAGES: tuple[bytes, ...] = (
    # A newsletter: quoted-printable, and trace and list fields in front.
    _message("""\
Received: from lists.example.com (lists.example.com [192.0.2.25])
\tby mx.example.org with ESMTPS; Fri, 02 Jan 2026 06:00:04 +0000
List-Id: The Daily Teapot <teapot.lists.example.com>
List-Unsubscribe: <mailto:teapot-leave@lists.example.com>
From: The Daily Teapot <news@lists.example.com>
To: Alice <alice@example.org>
Subject: [teapot] Issue 418: short and stout
Date: Fri, 2 Jan 2026 06:00:00 +0000
Message-ID: <418@lists.example.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

TODAY: our server still refuses to brew coffee. =F0=9F=AB=96
You get this because you once clicked on a picture of a kettle. To get no=
thing more, reply with a nicer picture of a kettle.
"""),
    # Encoded words in two charsets.
    _message(f"""\
From: =?iso-8859-1?q?J=F6rg_M=FCller?= <joerg@example.com>
To: Alice <alice@example.org>
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=
Date: Thu, 12 Feb 2026 11:11:00 +0100
Message-ID: <alaaf@example.com>
{_UTF_8}

Liebe Alice, es ist Weiberfastnacht, und meine Krawatte ist schon ab.
Schöne Grüße, Jörg
"""),
    # Wide characters, in a folded subject.
    _message(f"""\
From: {_word("佐藤ゆき")} <yuki@example.com>
To: Alice <alice@example.org>
Subject: {_word("花見の場所はもう取りました")}
 {_word("（猫も来ます）")}
Date: Sat, 28 Mar 2026 08:30:00 +0900
Message-ID: <hanami@example.com>
{_UTF_8}

A place under the cherry trees is ours. The cat comes too: 猫も来ます。
"""),
    # From right to left.
    _message(f"""\
From: {_word("נועה")} <noa@example.org>
To: Alice <alice@example.org>
Subject: {_word("הקפה מוכן (3 כוסות)")}
Date: Sun, 29 Mar 2026 09:00:00 +0300
Message-ID: <coffee@example.org>
{_UTF_8}

הקפה מוכן. Three cups of coffee are ready, from right to left.
"""),
    # Header fields in raw UTF-8 (RFC 6532).
    _message(f"""\
From: Ελένη <eleni@example.com>
To: Alice <alice@example.org>
Subject: Καλημέρα από τη Νάξο ☀
Date: Wed, 1 Apr 2026 07:45:00 +0300
Message-ID: <naxos@example.com>
{_UTF_8}

Good morning from Naxos. My mailer says that encoded words are for ships without radio.
"""),
    # An attachment.
    _message(f"""\
From: Bob <bob@example.com>
To: Alice <alice@example.org>
Subject: The budget for the picnic
Date: Thu, 2 Apr 2026 16:20:00 +0200
Message-ID: <budget@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="crumbs"

--crumbs

It adds up, if you do not look at the cheese.
--crumbs
Content-Type: text/csv; charset=utf-8
Content-Disposition: attachment; filename="picnic.csv"
Content-Transfer-Encoding: base64

{_base64("bread,2€, cheese,40€, ants,0€")}
--crumbs--
"""),
    # Lines that begin with a dot, and one that is nothing else.
    _message("""\
From: Samuel <samuel@example.org>
To: Alice <alice@example.org>
Subject: ... --- ...
Date: Fri, 3 Apr 2026 17:00:00 -0500
Message-ID: <morse@example.org>

Below is a line of one dot. If you can read on, all is well.
.
..two dots
.profile
...
"""),
    # A line of twenty thousand octets.
    _message(f"""\
From: Carol <carol@example.com>
To: Alice <alice@example.org>
Subject: I have found my Enter key again
Date: Mon, 6 Apr 2026 23:59:59 +0000
Message-ID: <enter@example.com>

{"and then we walked on, " * 900}and then it broke.
"""),
    # No body.
    _message("""\
From: Dave <dave@example.com>
To: Alice <alice@example.org>
Subject: I have nothing to say (eom)
Date: Tue, 7 Apr 2026 12:00:00 +0100
Message-ID: <nothing@example.com>

"""),
    # No line end at the end.
    _message("""\
From: Erin <erin@example.org>
To: Alice <alice@example.org>
Subject: Cliffhanger
Date: Wed, 8 Apr 2026 20:15:00 +0100
Message-ID: <cliff@example.org>

She opened the envelope, and on the paper it said"""),
    # Two alternatives, and a comma in a name.
    _message("""\
From: "Picnic, The" <picnic@example.com>
To: Alice <alice@example.org>, Bob <bob@example.com>
Subject: Saturday, 2 pm, under the big oak
Date: Thu, 9 Apr 2026 10:00:00 +0200
Message-ID: <oak@example.com>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=_oak"

--=_oak

Saturday, 2 pm, under the big oak. Bring a blanket.
--=_oak
Content-Type: text/html

<p>Saturday, <b>2 pm</b>, under the <i>big</i> oak. Bring a blanket.</p>
--=_oak--
"""),
    # A reply.
    _message("""\
From: Bob <bob@example.com>
To: "Picnic, The" <picnic@example.com>
Cc: Alice <alice@example.org>
Subject: Re: Saturday, 2 pm, under the big oak
Date: Thu, 9 Apr 2026 10:04:30 +0200
Message-ID: <blanket@example.com>
In-Reply-To: <oak@example.com>
References: <oak@example.com>

> Bring a blanket.

I shall bring the one that the ants know already.
"""),
)
