"""Nothing of a secret is shown under ``-vv``, whatever a server makes of what it was sent."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Callable
from itertools import chain, cycle
from pathlib import Path

import pytest
import scramp

from pop3fetch.defaults import AUTH_METHODS
from pop3fetch.pop3.sasl import MECHANISMS, Scram
from pop3fetch.status import Status
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.leaks import leaks
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk

SECRET = "secret pass-wörd"
TOKEN = "ya29.a0AfB_by-" + "k7Q3" * 100  # longer than a command may be
GREETING = b"+OK <1896.697170952@localhost>\r\n"
# SCRAM sends nothing that shows a secret, and EXTERNAL has none.
SCRAMS = {name.lower() for name, (made_by, _, _) in MECHANISMS.items() if made_by is Scram}
METHODS = sorted(set(AUTH_METHODS) - {"auto", "external"} - SCRAMS)
CAPA = b"+OK\r\nUSER\r\nSASL PLAIN LOGIN CRAM-MD5 XOAUTH2 OAUTHBEARER\r\n.\r\n"
PROMPTS = {  # the challenges of each method, in base64 and without what is repeated
    "login": [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"],
    "cram-md5": [base64.b64encode(b"<1896.697170952@localhost>")],
}

Repeat = Callable[[list[bytes]], bytes]


def in_clear(sent: list[bytes]) -> bytes:
    return b" | ".join(line.strip() for line in sent)


def decoded(sent: list[bytes]) -> bytes:
    """Return what was sent with its base64 undone, and fit for a line."""
    words = (word for line in sent for word in line.split())
    return re.sub(rb"[\x00-\x1f]+", b" ", b" ".join(map(_undone, words)))


def in_base64(sent: list[bytes]) -> bytes:
    return base64.b64encode(b"you said " + decoded(sent))


def in_base64_of_its_own(sent: list[bytes]) -> bytes:
    return base64.b64encode(in_clear(sent))


def in_hexadecimal(sent: list[bytes]) -> bytes:
    return decoded(sent).hex().upper().encode()


REPEATED = [in_clear, decoded, in_base64, in_base64_of_its_own, in_hexadecimal]


def _undone(word: bytes) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except binascii.Error:
        return word


def repeating(repeat: Repeat, method: str, status: bytes) -> Script:
    """Return the script of a server that answers the login with all it was sent, and nothing after it."""

    def script(talk: Talk) -> None:
        talk.say(GREETING)
        talk.expect(b"CAPA\r\n")
        talk.say(CAPA)
        sent = [talk.line()]
        if sent[0].count(b" ") == 1 and method in ("plain", "xoauth2", "oauthbearer"):
            talk.say(b"+ \r\n")  # the response did not fit behind AUTH
            sent.append(talk.line())
        for prompt in PROMPTS.get(method, []):
            talk.say(b"+ %s\r\n" % prompt)
            sent.append(talk.line())
        if method == "user":
            talk.say(b"+OK\r\n")
            sent.append(talk.line())
        if "oauth" in method:  # an error challenge, which wants an answer
            talk.say(b"+ %s\r\n" % base64.b64encode(b'{"status": "401", "said": "%s"}' % repeat(sent)))
            sent.append(talk.line())
        talk.say(b"%s %s\r\n" % (status, repeat(sent)))
        while talk.line():
            talk.say(b"-ERR %s\r\n" % repeat(sent))

    return script


@pytest.mark.parametrize(
    "status", [b"-ERR [AUTH]", pytest.param(b"-ERR", marks=pytest.mark.slow), b"+OK", b"?"]
)
@pytest.mark.parametrize("repeat", REPEATED, ids=lambda repeat: repeat.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_a_server_that_repeats_what_it_was_sent_does_not_get_it_shown(
    here: Here, server: StartServer, method: str, repeat: Repeat, status: bytes
) -> None:
    secret = TOKEN if "oauth" in method else SECRET
    running = server(repeating(repeat, method, status))
    account = ["-H", running.host, "-p", str(running.port), "-u", "alice", "--auth", method]
    ended = here(
        "stat", "-vv", *account, "--tls", "off", "--allow-insecure-login", env={"POP3FETCH_PASSWORD": secret}
    )
    assert ended.status in (77, 69, 76)
    assert f"AUTH {method.upper()}".encode() in ended.err or method in ("user", "apop")
    assert b"(secret)" in ended.err
    assert not leaks(ended.out + ended.err, secret[:40]), "no part of a long token either"


# -- a further connection of the run, on which nothing secret was sent yet -----------------------


def breaking_after_the_login(talk: Talk) -> None:
    talk.say(GREETING)
    talk.line()
    talk.say(b"+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n")
    for _ in "UP":
        talk.line()
        talk.say(b"+OK\r\n")
    talk.line()
    talk.cut()


def greeting_with(octets: bytes) -> Script:
    return lambda talk: talk.say(octets + b"\r\n")


def answering_capa_with(octets: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.say(GREETING)
        talk.line()
        talk.say(octets + b"\r\n")

    return script


@pytest.mark.parametrize("repeat", REPEATED, ids=lambda repeat: repeat.__name__)
@pytest.mark.parametrize("begin", [greeting_with, answering_capa_with])
@pytest.mark.parametrize("status", [b"+OK", b"-ERR", b"* OK"])
def test_a_secret_is_known_on_each_connection_of_a_run(
    here: Here,
    server: StartServer,
    begin: Callable[[bytes], Script],
    status: bytes,
    repeat: Repeat,
) -> None:
    known = repeat([f"PASS {SECRET}\r\n".encode()])
    scripts = chain([breaking_after_the_login], cycle([begin(status + b" " + known)]))
    running = server(lambda talk: next(scripts)(talk))
    account = ["-H", running.host, "-p", str(running.port), "-u", "alice", "--auth", "user"]
    ended = here(
        "get", "-vv", *account, "--tls", "off", "--allow-insecure-login", env={"POP3FETCH_PASSWORD": SECRET}
    )
    assert ended.status in (69, 75, 76)
    assert b"(secret)" in ended.err.rpartition(b"one command at a time")[2]
    assert not leaks(ended.out + ended.err, SECRET)


# -- where no reply is expected to have it ---------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "request_", "reply"),
    [
        ("get", b"LIST\r\n", b"+OK\r\n1 10\r\n2 %s\r\n.\r\n"),
        ("get", b"UIDL\r\n", b"+OK\r\n1 u\r\n%s\r\n.\r\n"),
        ("get", b"LIST\r\n", b"%s\r\n"),
        ("get", b"LIST\r\n", b"-ERR " + b"x" * 65 + b"%s" + b"x" * 9000 + b"\r\n"),
        ("stat", b"STAT\r\n", b"+OK %s\r\n"),
    ],
)
def test_a_list_that_has_the_secret_does_not_get_it_shown(
    here: Here, server: StartServer, command: str, request_: bytes, reply: bytes
) -> None:
    mailbox = Mailbox([b"x\r\n"], password=SECRET, replies={request_: reply % SECRET.encode()})
    running = server(mailbox)
    account = ["-H", running.host, "-p", str(running.port), "-u", "alice", "--tls", "off"]
    env = {"POP3FETCH_PASSWORD": SECRET}
    ended = here(command, *account, "--allow-insecure-login", env=env)
    assert ended.status in (Status.BAD_DATA, Status.PROTOCOL)
    assert b"(secret)" in ended.err
    assert not leaks(ended.out + ended.err, SECRET)


# -- SCRAM, whose server proves itself as well -----------------------------------------------------

PLUS = "SCRAM-SHA-256-PLUS"


def verifying(password: str, *, relayed: bool = False) -> Script:
    """Return the script of a server that takes SCRAM-SHA-256-PLUS, on this channel or on another's."""
    mechanism = scramp.ScramMechanism(PLUS)
    known = mechanism.make_auth_info(password, iteration_count=4096)

    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSASL PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n.\r\n")
        verb, name, initial = talk.line().split()
        assert (verb, name) == (b"AUTH", PLUS.encode())
        binding = ("tls-unique", b"another's" if relayed else talk.channel)
        exchange = mechanism.make_server(lambda user: known, channel_binding=binding)
        try:
            exchange.set_client_first(base64.b64decode(initial).decode())
            talk.say(b"+ %s\r\n" % base64.b64encode(exchange.get_server_first().encode()))
            exchange.set_client_final(base64.b64decode(talk.line()).decode())
        except scramp.ScramException as error:
            talk.say(b"-ERR [AUTH] %s\r\n" % error.server_error.value.encode())
            return
        talk.say(b"+ %s\r\n" % base64.b64encode(exchange.get_server_final().encode()))
        talk.expect(b"\r\n")
        for reply in (b"+OK welcome\r\n", b"+OK 0 0\r\n", b"+OK bye\r\n"):
            talk.say(reply)
            if b"bye" not in reply:
                talk.line()

    return script


def bound(here: Here, server: ScriptedServer, ca_file: Path, *options: str) -> Ended:
    account = ["-H", server.host, "-p", str(server.port), "-u", "alice", "--ca-file", str(ca_file)]
    ended = here("stat", "-vv", *account, *options, env={"POP3FETCH_PASSWORD": SECRET})
    assert not leaks(ended.out + ended.err, SECRET)
    return ended


@pytest.mark.parametrize("options", [[], ["--auth", "scram-sha-256"]])
def test_a_login_is_bound_to_the_channel_if_the_server_can(
    here: Here, server: StartServer, tls_1_2: ssl.SSLContext, ca_file: Path, options: list[str]
) -> None:
    running = server(verifying(SECRET), tls="implicit", context=tls_1_2)
    ended = bound(here, running, ca_file, *options)
    assert (ended.status, ended.out) == (0, b"0\t0\n")
    assert b"> AUTH SCRAM-SHA-256-PLUS (secret)\n" in ended.err


def test_a_login_that_is_relayed_from_another_channel_is_refused(
    here: Here, server: StartServer, tls_1_2: ssl.SSLContext, ca_file: Path
) -> None:
    running = server(verifying(SECRET, relayed=True), tls="implicit", context=tls_1_2)
    ended = bound(here, running, ca_file)
    assert ended.status == 77
    assert b"channel-bindings-dont-match" in ended.err


def test_a_wrong_secret_is_refused_by_plus_too(
    here: Here, server: StartServer, tls_1_2: ssl.SSLContext, ca_file: Path
) -> None:
    running = server(verifying("another"), tls="implicit", context=tls_1_2)
    ended = bound(here, running, ca_file)
    assert ended.status == 77
