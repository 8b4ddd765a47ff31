"""A look at messages: to standard output, recorded nowhere, and nothing deleted by it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pop3fetch.delivery.stream import Stream
from pop3fetch.errors import ConnectionLost, IncompleteMessage
from pop3fetch.fetch.show import Look
from pop3fetch.fetch.survey import survey
from pop3fetch.status import Status
from tests.support.fetching import Told, log_in, numbered
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer, Talk

THREE = numbered(3)
NO_TOP = tuple(name for name in CAPABILITIES if name not in (b"TOP", b"UIDL"))


def look(
    server: ScriptedServer,
    indexes: list[int],
    folder: Path,
    lines: int | None = None,
    *,
    crlf: bool = False,
    told: Told | None = None,
) -> tuple[Status, bytes]:
    """Look at messages in one session; return the status and what came out."""
    told = told or Told()
    path = folder / "out"
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with log_in(server) as client:
            listing = survey(client, told)
            status = Look(client, Stream(out), told, crlf=crlf).at(listing, indexes, lines)
    finally:
        os.close(out)
    server.stop()
    return status, path.read_bytes()


def lf(*messages: bytes) -> bytes:
    return b"".join(messages).replace(b"\r\n", b"\n")


def test_messages_come_one_after_another_in_the_order_given(server: StartServer, tmp_path: Path) -> None:
    assert look(server(Mailbox(THREE)), [2, 0], tmp_path) == (0, lf(THREE[2], THREE[0]))


def test_crlf_is_kept_on_request(server: StartServer, tmp_path: Path) -> None:
    assert look(server(Mailbox(THREE)), [0], tmp_path, crlf=True) == (0, THREE[0])


@pytest.mark.parametrize(("lines", "body"), [(0, b""), (1, b"x\n"), (9, b"x\n.\n")])
def test_lines_are_the_headers_and_so_many_lines(
    server: StartServer, tmp_path: Path, lines: int, body: bytes
) -> None:
    scripted = server(Mailbox(THREE))
    header = lf(THREE[0].partition(b"\r\n\r\n")[0]) + b"\n\n"
    assert look(scripted, [0], tmp_path, lines) == (0, header + body)
    assert b"TOP 1 %d\r\n" % lines in scripted.commands


@pytest.mark.parametrize("blank", [b"", b"\r\n", b" \r\n\t\r\n"])
def test_a_message_that_comes_blank_is_named_and_the_others_are_shown(
    server: StartServer, tmp_path: Path, blank: bytes
) -> None:
    """Whoever keeps the output, and then deletes the message, would have nothing of it."""
    told = Told()
    mailbox = Mailbox(THREE, replies={b"RETR 2\r\n": b"+OK\r\n" + blank + b".\r\n"})
    status, out = look(server(mailbox), [0, 1, 2], tmp_path, told=told)
    assert (status, out) == (Status.REFUSED, lf(THREE[0], blank, THREE[2]))
    assert [(number, type(error)) for number, error in told.errors] == [(2, IncompleteMessage)]


def test_a_message_that_is_listed_as_blank_is_shown(server: StartServer, tmp_path: Path) -> None:
    assert look(server(Mailbox([b"\r\n", THREE[1]])), [0, 1], tmp_path) == (0, lf(b"\r\n", THREE[1]))


def test_a_refused_message_is_named_and_the_others_are_shown(server: StartServer, tmp_path: Path) -> None:
    told = Told()
    mailbox = Mailbox(THREE, replies={b"RETR 2\r\n": b"-ERR [SYS/TEMP] later\r\n"})
    status, out = look(server(mailbox), [0, 1, 2], tmp_path, told=told)
    assert (status, out) == (Status.TRY_LATER, lf(THREE[0], THREE[2]))
    assert [number for number, _ in told.errors] == [2]


class ExpiringLater(Mailbox):
    """Announces EXPIRE 0 only before the login."""

    def __call__(self, talk: Talk) -> None:
        say = talk.say

        def forget_after_login(octets: bytes) -> None:
            if octets == b"+OK welcome\r\n":
                self.capabilities = CAPABILITIES
            say(octets)

        talk.say = forget_after_login  # type: ignore[method-assign]
        super().__call__(talk)


KEEPS = (*CAPABILITIES, b"EXPIRE NEVER")
EXPIRES = (*CAPABILITIES, b"EXPIRE 0")


@pytest.mark.parametrize(
    ("mailbox", "lines", "quits"),
    [
        pytest.param(Mailbox(THREE), None, False, id="nothing announced"),
        pytest.param(Mailbox(THREE), 3, True, id="nothing announced, and only lines"),
        pytest.param(Mailbox(THREE, capabilities=EXPIRES), None, False, id="EXPIRE 0"),
        pytest.param(Mailbox(THREE, capabilities=EXPIRES), 3, False, id="EXPIRE 0, and only lines"),
        pytest.param(Mailbox(THREE, capabilities=(*CAPABILITIES, b"expire 0 USER")), None, False, id="USER"),
        pytest.param(Mailbox(THREE, capabilities=(*CAPABILITIES, b"EXPIRE 10")), None, True, id="10 days"),
        pytest.param(Mailbox(THREE, capabilities=(*CAPABILITIES, b"EXPIRE NEVER")), None, True, id="never"),
        pytest.param(ExpiringLater(THREE, capabilities=EXPIRES), None, False, id="before the login alone"),
    ],
)
def test_quit_is_not_sent_if_the_server_would_then_delete(
    server: StartServer, tmp_path: Path, mailbox: Mailbox, lines: int | None, quits: bool
) -> None:
    scripted = server(mailbox)
    look(scripted, [0], tmp_path, lines)
    assert (b"QUIT\r\n" in scripted.commands) is quits


@pytest.mark.parametrize(
    ("capabilities", "quits"),
    [(NO_TOP, False), ((*NO_TOP, b"EXPIRE 0"), False), ((*NO_TOP, b"EXPIRE 7"), True)],
)
def test_headers_that_were_had_by_retr_count_as_retrieved(
    server: StartServer, tmp_path: Path, capabilities: Sequence[bytes], quits: bool
) -> None:
    mailbox = Mailbox(THREE, capabilities=capabilities, replies={b"UIDL\r\n": b"-ERR no\r\n"})
    scripted = server(mailbox)
    look(scripted, [], tmp_path)
    assert (b"QUIT\r\n" in scripted.commands) is quits


@pytest.mark.parametrize("reply", [b"-ERR no\r\n", b""])
def test_the_reply_to_quit_is_not_awaited(server: StartServer, tmp_path: Path, reply: bytes) -> None:
    told = Told()
    stalls = {b"QUIT\r\n": Talk.stall}
    mailbox = Mailbox(THREE, capabilities=KEEPS, replies={b"QUIT\r\n": reply}, after=stalls)
    assert look(server(mailbox), [0], tmp_path, told=told) == (0, lf(THREE[0]))
    assert told.notices == []


def test_a_connection_that_breaks_is_an_error_and_quit_is_not_sent(
    server: StartServer, tmp_path: Path
) -> None:
    mailbox = Mailbox(THREE, replies={b"RETR 2\r\n": b"+OK\r\nSubject"}, after={b"RETR 2\r\n": Talk.cut})
    scripted = server(mailbox)
    with pytest.raises(ConnectionLost):
        look(scripted, [0, 1, 2], tmp_path)
    assert b"QUIT\r\n" not in scripted.commands
    assert mailbox.messages == THREE
