"""The scripted server and its mailbox do what other tests rely on."""

from __future__ import annotations

import base64
import hashlib
import ssl
from pathlib import Path

import pytest

from tests.support.bare_client import BareClient
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer, Talk

MESSAGES = [b"Subject: one\r\n\r\n.dot\r\nbare \n.\n and \r\n", b"Subject: two\r\n\r\na\r\nb\r\nc"]


@pytest.fixture
def context(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file))


def greet(talk: Talk) -> None:
    talk.say(b"+OK hello\r\n")


def connect(server: ScriptedServer, context: ssl.SSLContext | None = None) -> BareClient:
    return BareClient(server.host, server.port, context)


def test_what_the_client_sends_is_kept(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk)
        talk.expect(b"NOOP\r\n")

    scripted = server(script)
    with connect(scripted) as client:
        client.send(b"NOOP\r\nand more")
        assert client.rest() == b""
    scripted.stop()
    assert scripted.commands == [b"NOOP\r\n"]
    assert scripted.received == [b"NOOP\r\nand more"]
    assert scripted.pipelined


def test_an_unexpected_command_is_raised_at_the_end() -> None:
    def script(talk: Talk) -> None:
        greet(talk)
        talk.expect(b"QUIT\r\n")

    with (
        pytest.raises(AssertionError, match="the client sent b'NOOP"),
        ScriptedServer(script) as scripted,
        connect(scripted) as client,
    ):
        assert client.ask("NOOP") == b""


def test_an_unexpected_command_is_named_beside_the_error_that_it_led_to() -> None:
    with pytest.raises(ConnectionError) as raised, ScriptedServer([]) as scripted:
        with connect(scripted) as client:
            assert client.greeting == b""
        raise ConnectionError
    assert raised.value.__notes__ == ["The server's script failed: connection 1 was not expected"]


def test_a_connection_that_never_came_is_raised_at_the_end() -> None:
    with (
        pytest.raises(AssertionError, match="1 connections came, not 2"),
        ScriptedServer([greet, greet]) as scripted,
    ):
        connect(scripted).close()


def test_scripts_are_played_in_turn(server: StartServer) -> None:
    scripted = server([greet, lambda talk: talk.say(b"-ERR busy\r\n")])
    with connect(scripted) as first, connect(scripted) as second:
        assert (first.greeting, second.greeting) == (b"+OK hello\r\n", b"-ERR busy\r\n")


def test_ipv6_is_served_too(server: StartServer) -> None:
    scripted = server(greet, host="::1")
    assert scripted.url() == f"pop3://alice@[::1]:{scripted.port}"
    with connect(scripted) as client:
        assert client.greeting == b"+OK hello\r\n"


def test_a_cut_is_a_reset(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk)
        talk.cut()

    # Under load the reset comes before the system calls the connection made.
    with pytest.raises(ConnectionResetError), connect(server(script)) as client:
        client.rest()


def test_a_stalling_server_does_not_hold_up_the_end(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk)
        talk.stall()

    scripted = server(script)
    with connect(scripted) as client:
        scripted.stop()
        assert client.rest() == b""


def test_octets_drip(server: StartServer) -> None:
    with connect(server(lambda talk: talk.drip(b"+OK\r\n", every=0.001))) as client:
        assert client.greeting == b"+OK\r\n"


@pytest.mark.parametrize("notify", [True, False])
def test_inside_tls_the_end_may_come_with_or_without_notice(
    server: StartServer, context: ssl.SSLContext, notify: bool
) -> None:
    def script(talk: Talk) -> None:
        greet(talk)
        talk.close(notify=notify)

    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    with connect(server(script, tls="implicit"), context) as client:
        assert client.ends_with_notice() == notify


def test_a_client_that_does_not_trust_the_server_has_left(server: StartServer) -> None:
    scripted = server(greet, tls="implicit")
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(scripted, ssl.create_default_context())
    scripted.stop()
    assert scripted.received == [b""]


def test_the_mailbox_serves_a_whole_session(server: StartServer) -> None:
    mailbox = Mailbox(MESSAGES)
    with connect(server(mailbox)) as client:
        assert client.ask_long("CAPA").split(b"\r\n") == [*CAPABILITIES, b""]
        client.login("alice", "secret")
        assert client.ask("STAT") == b"+OK 2 62\r\n"
        assert client.ask_long("LIST") == b"1 37\r\n2 25\r\n"
        assert client.ask_long("UIDL") == b"1 uid-1\r\n2 uid-2\r\n"
        assert client.ask_long("TOP 2 1") == b"Subject: two\r\n\r\na\r\n"
        assert client.ask_long("RETR 1") == MESSAGES[0]
        assert client.ask("DELE 1") == b"+OK\r\n"
        assert client.ask("RETR 1").startswith(b"-ERR")
        assert client.ask("QUIT") == b"+OK bye\r\n"
        assert client.rest() == b""
    assert mailbox.messages == [MESSAGES[1] + b"\r\n"]
    assert mailbox.uids == [b"uid-2"]


def test_the_mailbox_deletes_nothing_without_quit(server: StartServer) -> None:
    mailbox = Mailbox(MESSAGES)
    scripted = server(mailbox)
    with connect(scripted) as client:
        client.login("alice", "secret")
        assert client.ask("DELE 1") == b"+OK\r\n"
    scripted.stop()
    assert len(mailbox.messages) == 2


def test_the_mailbox_answers_all_that_is_pipelined(server: StartServer) -> None:
    with connect(server(Mailbox(MESSAGES))) as client:
        client.login("alice", "secret")
        client.send(b"NOOP\r\nDELE 2\r\nSTAT\r\nQUIT\r\n")
        assert client.rest() == b"+OK\r\n+OK\r\n+OK 1 37\r\n+OK bye\r\n"


def test_the_mailbox_knows_stls_apop_and_auth(server: StartServer, context: ssl.SSLContext) -> None:
    greeting = b"+OK <1.2@localhost>\r\n"
    scripted = server(Mailbox([], greeting=greeting, capabilities=(b"STLS",)))
    digest = hashlib.md5(b"<1.2@localhost>secret").hexdigest()
    response = base64.b64encode(b"\0alice\0secret").decode()
    for login in (f"APOP alice {digest}", f"AUTH PLAIN {response}"):
        with connect(scripted) as client:
            assert client.ask_long("CAPA") == b"STLS\r\n"
            client.start_tls(context)
            assert client.ask_long("CAPA") == b""
            assert client.ask(login) == b"+OK welcome\r\n"


def test_replies_and_what_follows_can_be_replaced(server: StartServer) -> None:
    mailbox = Mailbox(MESSAGES, replies={b"STAT\r\n": b"+OK lots\r\n"}, after={b"DELE 1\r\n": Talk.cut})
    with connect(server(mailbox)) as client:
        client.login("alice", "secret")
        assert client.ask("STAT") == b"+OK lots\r\n"
        assert client.ask("DELE 1") == b"+OK\r\n"
        with pytest.raises(ConnectionResetError):
            client.rest()


def test_the_connection_breaks_after_so_many_octets(server: StartServer) -> None:
    mailbox = Mailbox(MESSAGES)
    scripted = server([mailbox.cutting_after(5), mailbox])
    with pytest.raises(ConnectionResetError):
        connect(scripted)
    with connect(scripted) as client:
        assert client.greeting == b"+OK ready\r\n"
