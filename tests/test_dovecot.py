"""The private Dovecot does what other tests rely on."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

import pytest

from tests.support.bare_client import BareClient
from tests.support.dovecot import USERS, Dovecot, has_apop

MESSAGES = [
    b"Subject: %d\n\n.a line with a dot\n8-bit \xe9, NUL \0, bare \r\n%s" % (number, end)
    for number, end in enumerate((b"", b"no line end", b"\n\n"))
]


@pytest.fixture
def context(dovecot: Dovecot) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(dovecot.ca_file))


def on_the_wire(message: bytes) -> bytes:
    octets = re.sub(rb"\r?\n", b"\r\n", message)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


@pytest.mark.parametrize("user", USERS)
def test_each_user_logs_in_inside_tls(dovecot: Dovecot, context: ssl.SSLContext, user: str) -> None:
    with BareClient(dovecot.host, dovecot.pop3s_port, context) as client:
        client.login(user, USERS[user])
        assert client.ask("STAT") == b"+OK 0 0\r\n"


def test_stls_is_offered_and_works(dovecot: Dovecot, context: ssl.SSLContext) -> None:
    with BareClient(dovecot.host, dovecot.pop3_port) as client:
        assert b"STLS\r\n" in client.ask_long("CAPA")
        client.start_tls(context)
        client.login("bob", USERS["bob"])


def test_all_mechanisms_are_offered(dovecot: Dovecot) -> None:
    with BareClient(dovecot.host, dovecot.pop3_port) as client:
        assert b"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256" in client.ask_long("CAPA")


def test_apop_works(dovecot: Dovecot) -> None:
    if not has_apop():
        pytest.skip("this Dovecot has no APOP (2.4 has dropped it)")
    with BareClient(dovecot.host, dovecot.pop3_port) as client:
        challenge = client.greeting[client.greeting.index(b"<") : client.greeting.index(b">") + 1]
        digest = hashlib.md5(challenge + USERS["alice"].encode()).hexdigest()
        assert client.ask(f"APOP alice {digest}") == b"+OK Logged in.\r\n"


def test_messages_come_in_the_order_of_their_delivery_and_octet_for_octet(dovecot: Dovecot) -> None:
    dovecot.deliver("bob", MESSAGES[:1])
    dovecot.deliver("bob", MESSAGES[1:])
    with BareClient(dovecot.host, dovecot.pop3_port) as client:
        client.login("bob", USERS["bob"])
        assert len(client.ask_long("LIST").splitlines()) == len(MESSAGES)
        for number, message in enumerate(MESSAGES, 1):
            assert client.ask_long(f"RETR {number}") == on_the_wire(message)


def test_a_deleted_message_is_gone_after_quit(dovecot: Dovecot) -> None:
    dovecot.deliver("bob", MESSAGES)
    with BareClient(dovecot.host, dovecot.pop3_port) as client:
        client.login("bob", USERS["bob"])
        client.ask("DELE 2")
        assert dovecot.count("bob") == 3
        client.ask("QUIT")
        assert client.rest() == b""
    assert dovecot.count("bob") == 2


def test_settings_override_and_users_may_have_any_password(needs_dovecot: None, tmp_path: Path) -> None:
    password = "a:colon, {braces} and \N{SNOWMAN}"
    with (
        Dovecot.start(tmp_path, settings="auth_mechanisms = plain", users={"eve": password}) as dovecot,
        BareClient(dovecot.host, dovecot.pop3_port) as client,
    ):
        assert b"SASL PLAIN\r\n" in client.ask_long("CAPA")
        client.login("eve", password)
