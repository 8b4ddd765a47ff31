"""Logging in: every method, every refusal, and what the server has seen when it is over."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.defaults import AUTH_METHODS
from pop3fetch.errors import (
    AuthenticationError,
    ConnectionLost,
    InsecureAuthenticationDisallowed,
    InvalidArgument,
    LoginRefused,
    MechanismFailed,
    MechanismNotOffered,
    POP3Error,
    ProtocolViolation,
    SessionEnded,
    TLSError,
    TLSNotSupportedError,
)
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.login import ALTHOUGH_STLS, METHODS, LoginPolicy, Situation, next_step
from pop3fetch.pop3.machine import AUTHORIZATION, TRANSACTION
from pop3fetch.pop3.sasl import MECHANISMS, Scram
from pop3fetch.status import Status
from tests.support.scram import ScramServer, hash_of
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.sessions import WAYS, capa, connect, everything_sent, greet, play, serve
from tests.support.situations import situations

SECRET = "s3cret pass-word"
CHALLENGE = b"<1896.697170952@dbc.mtview.ca.us>"
DIGEST = hashlib.md5(CHALLENGE + SECRET.encode()).hexdigest().encode()
APOP = b"APOP alice " + DIGEST + b"\r\n"
WITH_CHALLENGE = b"+OK ready " + CHALLENGE + b"\r\n"
BEGIN = (b"STLS\r\n", b"+OK begin\r\n")


def encoded(response: bytes) -> bytes:
    return base64.b64encode(response)


AUTH_PLAIN = b"AUTH PLAIN " + encoded(b"\0alice\0" + SECRET.encode()) + b"\r\n"


def challenge(talk: Talk, octets: bytes) -> None:
    talk.say(b"+ " + encoded(octets) + b"\r\n")


def response(talk: Talk) -> bytes:
    return base64.b64decode(talk.line().strip(), validate=True)


class Password:
    """A source of the password that counts how often it is asked."""

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.secret


# The server's side of each method, up to its last word


def user_and_pass(talk: Talk) -> None:
    play(talk, (b"USER alice\r\n", b"+OK\r\n"))
    talk.expect(b"PASS " + SECRET.encode() + b"\r\n")


def plain(talk: Talk) -> None:
    talk.expect(AUTH_PLAIN)


def login(talk: Talk) -> None:
    play(talk, (b"AUTH LOGIN\r\n", b"+ VXNlcm5hbWU6\r\n"))
    play(talk, (encoded(b"alice") + b"\r\n", b"+ UGFzc3dvcmQ6\r\n"))
    talk.expect(encoded(SECRET.encode()) + b"\r\n")


def cram_md5(talk: Talk) -> None:
    talk.expect(b"AUTH CRAM-MD5\r\n")
    challenge(talk, CHALLENGE)
    digest = hmac.new(SECRET.encode(), CHALLENGE, "md5").hexdigest()
    talk.expect(encoded(b"alice " + digest.encode()) + b"\r\n")


def scram(name: str) -> Script:
    def script(talk: Talk) -> None:
        server = ScramServer(hash_of(name), SECRET.encode())
        auth, mechanism, initial = talk.line().split()
        assert (auth, mechanism) == (b"AUTH", name.encode())
        challenge(talk, server.first(base64.b64decode(initial)))
        challenge(talk, server.final(response(talk)))
        talk.expect(b"\r\n")

    return script


def xoauth2(talk: Talk) -> None:
    initial = b"user=alice\x01auth=Bearer " + SECRET.encode() + b"\x01\x01"
    talk.expect(b"AUTH XOAUTH2 " + encoded(initial) + b"\r\n")


def oauthbearer(talk: Talk) -> None:
    auth, mechanism, initial = talk.line().split()
    assert (auth, mechanism) == (b"AUTH", b"OAUTHBEARER")
    gs2, host, port, bearer, *ends = base64.b64decode(initial).split(b"\x01")
    assert (gs2, host, port[:5]) == (b"n,a=alice,", b"host=127.0.0.1", b"port=")
    assert (bearer, ends) == (b"auth=Bearer " + SECRET.encode(), [b"", b""])


def external(talk: Talk) -> None:
    talk.expect(b"AUTH EXTERNAL " + encoded(b"alice") + b"\r\n")


SCRAMS = [name for name, (made_by, _, _) in MECHANISMS.items() if made_by is Scram and "-PLUS" not in name]
DIALOGUES: dict[str, Script] = {
    "user": user_and_pass,
    "plain": plain,
    "login": login,
    "cram-md5": cram_md5,
    **{name.lower(): scram(name) for name in SCRAMS},
    "xoauth2": xoauth2,
    "oauthbearer": oauthbearer,
    "external": external,
}
OFFER = b"SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL"
NAMES: dict[str | None, str] = {None: "scram-sha-256", **{method: method for method in DIALOGUES}}


def test_there_is_a_dialogue_for_every_method() -> None:
    assert DIALOGUES.keys() == {*AUTH_METHODS} - {"auto", "apop"}


def allowing(mode: str, method: str | None = None) -> LoginPolicy:
    return LoginPolicy(mode, method, allow_insecure=mode == "off")


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize("method", NAMES)
def test_each_method_logs_in(method: str | None, mode: str, server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, mode, OFFER)
        DIALOGUES[NAMES[method]](talk)
        talk.say(b"+OK welcome\r\n")

    with connect(serve(server, script, mode), allowing(mode, method), ca_file) as client:
        assert client.state is AUTHORIZATION
        assert client.login("alice", SECRET) == b"welcome"
        assert client.state is TRANSACTION


@pytest.mark.parametrize("mode", ["off", "auto", "implicit"])
def test_apop_logs_in_if_the_greeting_has_a_challenge(mode: str, server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa(OFFER, b"STLS")), (APOP, b"+OK welcome\r\n"))

    notices: list[str] = []
    policy = LoginPolicy(mode, "apop" if mode == "implicit" else None)
    with connect(serve(server, script, mode), policy, ca_file, notice=notices.append) as client:
        client.login("alice", SECRET)
        assert client.state is TRANSACTION
    assert notices == ([] if mode == "implicit" else [ALTHOUGH_STLS])


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (WITH_CHALLENGE, "may be forged"),
        (b"+OK ready\r\n", "has no valid challenge for APOP"),
    ],
)
def test_a_challenge_from_before_starttls_is_forgotten(
    greeting: bytes, reason: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        talk.say(greeting)
        play(talk, BEGIN)
        talk.start_tls()
        play(talk, (b"CAPA\r\n", capa(OFFER)))

    with connect(server(script), LoginPolicy("starttls", "apop"), ca_file) as client:
        with pytest.raises(MechanismNotOffered, match=reason):
            client.login("alice", SECRET)
        assert client.server_challenge is None


def scram_final(talk: Talk, name: bytes, hash_name: str) -> bytes:
    """Play a SCRAM login, and return the client-final-message."""
    verifier = ScramServer(hash_name, SECRET.encode())
    auth, mechanism, initial = talk.line().split()
    assert (auth, mechanism) == (b"AUTH", name)
    challenge(talk, verifier.first(base64.b64decode(initial)))
    client_final = response(talk)
    challenge(talk, verifier.final(client_final))
    play(talk, (b"\r\n", b"+OK\r\n"))
    return client_final


def bound_by(client_final: bytes) -> bytes:
    """Return the GS2 header and the channel's octets (RFC 5802 section 5.1, ``c=``)."""
    return base64.b64decode(client_final.partition(b",")[0].removeprefix(b"c="), validate=True)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
@pytest.mark.parametrize("method", [None, "scram-sha-256", "scram-sha-1"])
def test_scram_binds_to_the_channel_if_the_server_can(
    method: str | None, mode: str, server: StartServer, tls_1_2: ssl.SSLContext, ca_file: Path
) -> None:
    name = (method or "scram-sha-256").upper().encode()
    said: list[tuple[bytes, bytes]] = []

    def script(talk: Talk) -> None:
        greet(talk, mode, b"SASL PLAIN %s %s-PLUS" % (name, name))
        said.append((scram_final(talk, name + b"-PLUS", hash_of(name.decode())), talk.channel))

    running = serve(server, script, mode, context=tls_1_2)
    with connect(running, LoginPolicy(mode, method), ca_file) as client:
        client.login("alice", SECRET)
    running.stop()
    ((client_final, channel),) = said
    assert bound_by(client_final) == b"p=tls-unique,," + channel
    assert len(channel) >= 12  # octets (RFC 5246 section 7.4.9)


@pytest.mark.parametrize(
    ("offer", "header"),
    [
        # "y": I could, you do not offer it. A server that did offer it now knows of an attacker in between.
        (b"SASL PLAIN SCRAM-SHA-256", b"y,,"),
        # Another hash's -PLUS is an offer, too: "n", or the server would have to end the login.
        (b"SASL PLAIN SCRAM-SHA-1-PLUS SCRAM-SHA-256", b"n,,"),
        (b"SASL PLAIN scram-sha-1-plus SCRAM-SHA-256", b"n,,"),
    ],
)
def test_scram_reports_whether_binding_was_offered(
    offer: bytes, header: bytes, server: StartServer, tls_1_2: ssl.SSLContext, ca_file: Path
) -> None:
    said: list[bytes] = []

    def script(talk: Talk) -> None:
        greet(talk, "implicit", offer)
        said.append(scram_final(talk, b"SCRAM-SHA-256", "sha256"))

    running = server(script, tls="implicit", context=tls_1_2)
    with connect(running, LoginPolicy("implicit"), ca_file) as client:
        client.login("alice", SECRET)
    running.stop()
    assert bound_by(said[0]) == header


@pytest.mark.parametrize("mode", ["off", "starttls", "implicit"])
def test_without_a_channel_scram_is_not_bound(mode: str, server: StartServer, ca_file: Path) -> None:
    if "tls-exporter" in ssl.CHANNEL_BINDING_TYPES and mode != "off":
        pytest.skip("this Python binds to TLS 1.3")
    said: list[bytes] = []

    def script(talk: Talk) -> None:
        greet(talk, mode, b"SASL PLAIN SCRAM-SHA-256-PLUS SCRAM-SHA-256")
        said.append(scram_final(talk, b"SCRAM-SHA-256", "sha256"))

    running = serve(server, script, mode)
    with connect(running, LoginPolicy(mode), ca_file) as client:
        client.login("alice", SECRET)
    running.stop()
    assert bound_by(said[0]) == b"n,,"


# What the policy refuses is not sent


@pytest.mark.parametrize(
    ("policy", "capabilities", "error"),
    [
        (LoginPolicy("auto"), [], InsecureAuthenticationDisallowed),
        (LoginPolicy("auto"), [OFFER], InsecureAuthenticationDisallowed),
        (LoginPolicy("off"), [b"SASL PLAIN LOGIN", b"STLS"], InsecureAuthenticationDisallowed),
        (LoginPolicy("off", "user"), [OFFER], InsecureAuthenticationDisallowed),
        (LoginPolicy("off", "external"), [OFFER], InsecureAuthenticationDisallowed),
        (LoginPolicy("off", "apop"), [OFFER], MechanismNotOffered),
        (LoginPolicy("off", "cram-md5", allow_insecure=True), [b"SASL PLAIN"], MechanismNotOffered),
        (LoginPolicy("implicit", "scram-sha-256"), [b"SASL PLAIN"], MechanismNotOffered),
    ],
)
def test_a_login_that_is_not_made_sends_nothing_and_asks_for_no_password(
    policy: LoginPolicy, capabilities: list[bytes], error: type[Exception], server: StartServer, ca_file: Path
) -> None:
    running = serve(server, lambda talk: greet(talk, policy.mode, *capabilities), policy.mode)
    password = Password()
    with connect(running, policy, ca_file) as client, pytest.raises(error) as raised:
        client.login("alice", password)
    assert raised.value.exit_status is Status.NO_LOGIN  # type: ignore[attr-defined]
    assert everything_sent(running) == [b"CAPA\r\n"]
    assert password.asked == 0


def is_refused(situation: Situation) -> bool:
    try:
        next_step(situation)
    except POP3Error:
        return True
    return False


def begins(situation: Situation, mode: str) -> bool:
    """Return whether a session can begin so."""
    return situation.mode == mode and situation.tls_active == (mode == "implicit") and not situation.refused


def answering(situation: Situation) -> Script:
    """Return the script of a server that puts a client into ``situation``."""

    capabilities = situation.capabilities
    lines = ([name, *(words or [])] for name, words in (capabilities or {}).items())
    reply = b"-ERR\r\n" if capabilities is None else capa(*(" ".join(line).encode() for line in lines))

    def script(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE if situation.challenge else b"+OK ready\r\n")
        while talk.line() == b"CAPA\r\n":
            talk.say(reply)

    return script


@pytest.mark.parametrize("mode", ["off", "auto", "implicit"])
def test_a_refused_login_sends_nothing(mode: str, server: StartServer, ca_file: Path) -> None:
    refused = [row for row in situations() if begins(row, mode) and not row.bindable and is_refused(row)]
    if mode == "implicit":  # handshakes take their time, and neither matters to what is offered
        refused = [row for row in refused if not row.challenge and not row.allow_insecure]
    running, password = serve(server, [answering(row) for row in refused], mode), Password()
    for row in refused:
        policy = LoginPolicy(mode, row.method, row.allow_insecure)
        with connect(running, policy, ca_file) as client, pytest.raises(AuthenticationError) as raised:
            client.login("alice", password)
        assert raised.value.exit_status is Status.NO_LOGIN
    assert len(everything_sent(running)) == len(refused) > 100
    assert set(b"".join(running.received).splitlines(keepends=True)) == {b"CAPA\r\n"}
    assert password.asked == 0


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("mode", ["auto", "starttls"])
@pytest.mark.parametrize("reply", [b"-ERR no\r\n", b"rubbish\r\n", b"* OK\r\n", b"+ERR\r\n"])
def test_stls_that_is_not_granted_does_not_allow_clear_text(
    reply: bytes, mode: str, allow: bool, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        if mode == "auto":
            play(talk, (b"CAPA\r\n", capa(OFFER, b"STLS")))
        play(talk, (b"STLS\r\n", reply))

    running, password = server(script), Password()
    expected = TLSNotSupportedError if reply.startswith(b"-ERR") else Exception
    with connect(running, LoginPolicy(mode, allow_insecure=allow)) as client:
        with pytest.raises(expected) as raised:
            client.login("alice", password)
        assert raised.value.exit_status is Status.PROTOCOL  # type: ignore[attr-defined]
    assert everything_sent(running) == [b"STLS\r\n" if mode == "starttls" else b"CAPA\r\nSTLS\r\n"]
    assert password.asked == 0


def hang_up(talk: Talk) -> None:
    """End the script, and with it the connection."""


def reset(talk: Talk) -> None:
    talk.cut()


def nonsense(talk: Talk) -> None:
    talk.say(b"+OK logged in already\r\n")


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("instead", [hang_up, nonsense])
def test_a_handshake_that_fails_does_not_allow_clear_text(
    instead: Script, allow: bool, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"CAPA\r\n", capa(OFFER, b"STLS")), BEGIN)
        instead(talk)

    running, password = server(script), Password()
    with connect(running, LoginPolicy("auto", allow_insecure=allow)) as client:
        with pytest.raises((TLSError, ProtocolViolation)):
            client.login("alice", password)
        with pytest.raises(SessionEnded):
            client.login("alice", password)
    (sent,) = everything_sent(running)
    assert b"alice" not in sent
    assert password.asked == 0


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("mode", ["auto", "starttls"])
def test_a_server_that_hangs_up_inside_tls_never_gets_the_password_in_clear_text(
    mode: str, allow: bool, server: StartServer, ca_file: Path
) -> None:
    """An attacker can cut the line there, too: a new connection would begin in clear text."""

    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        if mode == "auto":
            play(talk, (b"CAPA\r\n", capa(OFFER, b"STLS")))
        play(talk, BEGIN)
        talk.start_tls()
        talk.expect(b"CAPA\r\n")
        talk.cut()

    running, password = server(script), Password()
    with (
        connect(running, LoginPolicy(mode, allow_insecure=allow), ca_file) as client,
        pytest.raises(ConnectionLost),
    ):
        client.login("alice", password)
    assert len(everything_sent(running)) == 1
    assert password.asked == 0


@pytest.mark.parametrize("method", ["user", "apop"])
def test_a_user_name_cannot_be_a_second_command(method: str, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa()))
        talk.stall()

    running = server(script)
    with (
        connect(running, LoginPolicy("off", method, allow_insecure=True)) as client,
        pytest.raises(InvalidArgument),
    ):
        client.login("alice\r\nDELE 1", SECRET)
    assert everything_sent(running) == [b"CAPA\r\n"]


def test_a_password_cannot_be_a_second_command(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        play(talk, (b"USER alice\r\n", b"+OK\r\n"))
        talk.stall()

    running = server(script)
    with connect(running, LoginPolicy("off", allow_insecure=True)) as client:
        with pytest.raises(InvalidArgument) as raised:
            client.login("alice", "secret\r\nDELE 1")
        assert "secret" not in str(raised.value)
    assert everything_sent(running) == [b"CAPA\r\nUSER alice\r\n"]


# What the server refuses


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("method", NAMES)
def test_a_wrong_password_is_tried_once(
    method: str | None, closes: bool, mode: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, mode, OFFER)
        DIALOGUES[NAMES[method]](talk)
        talk.say(b"-ERR wrong\r\n")
        if not closes:
            play(talk, (b"QUIT\r\n", b"+OK\r\n"))

    running, password = serve(server, script, mode), Password()
    with connect(running, allowing(mode, method), ca_file) as client:
        with pytest.raises(LoginRefused) as raised:
            client.login("alice", password)
        if not closes:
            client.quit()
    assert raised.value.exit_status is Status.NO_LOGIN
    assert (raised.value.user, raised.value.text) == ("alice", b"wrong")
    assert password.asked == (0 if method == "external" else 1)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"[IN-USE] locked", Status.TRY_LATER),
        (b"[LOGIN-DELAY] wait", Status.TRY_LATER),
        (b"[SYS/TEMP] later", Status.TRY_LATER),
        (b"[sys/temp/disk] later", Status.TRY_LATER),
        (b"[SYS/PERM] not enabled for POP access", Status.NO_LOGIN),
        (b"[AUTH] wrong", Status.NO_LOGIN),
        (b"[NEWS] what is this", Status.NO_LOGIN),
        (b"", Status.NO_LOGIN),
        (b"maildrop already locked", Status.TRY_LATER),
        (b"account locked", Status.NO_LOGIN),
    ],
)
@pytest.mark.parametrize("at", [b"USER alice\r\n", b"PASS s3cret pass-word\r\n"])
def test_the_response_code_decides_the_status(
    at: bytes, text: bytes, status: Status, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        if at.startswith(b"PASS"):
            play(talk, (b"USER alice\r\n", b"+OK\r\n"))
        play(talk, (at, b"-ERR " + text + b"\r\n"))

    running = server(script)
    with (
        connect(running, LoginPolicy("off", allow_insecure=True)) as client,
        pytest.raises(LoginRefused) as raised,
    ):
        client.login("alice", SECRET)
    assert raised.value.exit_status is status
    assert (text.decode() or "no reason") in str(raised.value)


def test_a_refused_user_name_is_sent_once(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit")
        play(talk, (b"USER alice\r\n", b"-ERR who?\r\n"))

    running = serve(server, script, "implicit")
    with (
        connect(running, LoginPolicy("implicit"), ca_file) as client,
        pytest.raises(LoginRefused, match="who"),
    ):
        client.login("alice", SECRET)
    assert everything_sent(running) == [b"CAPA\r\nUSER alice\r\n"]


def test_a_mechanism_that_is_refused_before_any_proof_makes_room_for_the_next(
    server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN")
        for name in (b"SCRAM-SHA-256", b"SCRAM-SHA-1"):
            assert talk.line().startswith(b"AUTH " + name + b" ")
            talk.say(b"-ERR not for you\r\n")
        play(talk, (AUTH_PLAIN, b"+OK\r\n"))

    running, password = serve(server, script, "implicit"), Password()
    with connect(running, LoginPolicy("implicit"), ca_file) as client:
        client.login("alice", password)
    running.stop()
    assert password.asked == 1


def test_a_response_code_of_a_mechanism_is_the_last_word(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", OFFER)
        assert talk.line().startswith(b"AUTH SCRAM-SHA-256 ")
        talk.say(b"-ERR [AUTH] who?\r\n")

    running = serve(server, script, "implicit")
    with (
        connect(running, LoginPolicy("implicit"), ca_file) as client,
        pytest.raises(LoginRefused, match="who"),
    ):
        client.login("alice", SECRET)
    assert everything_sent(running)[0].count(b"AUTH") == 1


def test_without_tls_no_clear_text_follows_a_mechanism_that_is_refused(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", OFFER)
        for name in (b"SCRAM-SHA-256 ", b"SCRAM-SHA-1 ", b"CRAM-MD5\r\n"):
            assert talk.line().startswith(b"AUTH " + name)
            talk.say(b"-ERR not for you\r\n")

    running = server(script)
    policy = LoginPolicy("off", allow_insecure=True)
    with connect(running, policy) as client, pytest.raises(LoginRefused, match="not for you"):
        client.login("alice", SECRET)
    assert SECRET.encode() not in everything_sent(running)[0]
    assert len(running.commands) == 4


def test_a_server_that_refuses_a_mechanism_and_hangs_up_has_refused_the_login(
    server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", OFFER)
        assert talk.line().startswith(b"AUTH SCRAM-SHA-256 ")
        talk.say(b"-ERR not for you\r\n")

    running = serve(server, script, "implicit")
    with (
        connect(running, LoginPolicy("implicit"), ca_file) as client,
        pytest.raises(LoginRefused, match="not for you"),
    ):
        client.login("alice", SECRET)


NOT_PREPARED = "pass-\U0001f511"  # SASLprep ends at Unicode 3.2 (RFC 4013 section 2.5)


@pytest.mark.parametrize(
    ("policy", "offered", "chosen"),
    [
        (LoginPolicy("implicit"), b"SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN", b"AUTH PLAIN "),
        (LoginPolicy("implicit"), b"SASL SCRAM-SHA-256", b"USER alice"),
        (LoginPolicy("off"), b"SASL SCRAM-SHA-256 PLAIN CRAM-MD5", b"AUTH CRAM-MD5"),
    ],
)
def test_a_mechanism_that_cannot_carry_a_password_makes_room_for_the_next(
    policy: LoginPolicy, offered: bytes, chosen: bytes, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, policy.mode, offered)
        assert talk.line().startswith(chosen)
        talk.say(b"-ERR [SYS/TEMP] later\r\n")

    running, password = serve(server, script, policy.mode), Password(NOT_PREPARED)
    with connect(running, policy, ca_file) as client, pytest.raises(LoginRefused, match="later"):
        client.login("alice", password)
    assert len(running.commands) == 2
    assert password.asked == 1


def test_a_connection_that_is_lost_then_is_reported_as_such(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL SCRAM-SHA-256 PLAIN")
        assert talk.line().startswith(b"AUTH PLAIN ")
        talk.cut()

    running = serve(server, script, "implicit")
    with (
        connect(running, LoginPolicy("implicit"), ca_file) as client,
        pytest.raises(ConnectionLost, match="AUTH"),
    ):
        client.login("alice", NOT_PREPARED)


@pytest.mark.parametrize(
    ("policy", "offered"),
    [
        (LoginPolicy("implicit", "scram-sha-256"), OFFER),
        (LoginPolicy("off"), b"SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"),
        (LoginPolicy("off", allow_insecure=True), b"SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"),
    ],
)
def test_a_password_that_nothing_can_carry_is_not_sent(
    policy: LoginPolicy, offered: bytes, server: StartServer, ca_file: Path
) -> None:
    running = serve(server, lambda talk: greet(talk, policy.mode, offered), policy.mode)
    with connect(running, policy, ca_file) as client, pytest.raises(MechanismFailed, match="SCRAM-SHA-"):
        client.login("alice", NOT_PREPARED)
    assert everything_sent(running) == [b"CAPA\r\n"]


# APOP that is refused


def apop_refused(talk: Talk, *capabilities: bytes) -> None:
    talk.say(WITH_CHALLENGE)
    play(talk, (b"CAPA\r\n", capa(*capabilities)), (APOP, b"-ERR no such secret\r\n"))


def starts_tls_and_logs_in(talk: Talk) -> None:
    play(talk, BEGIN)
    talk.start_tls()
    play(talk, (b"CAPA\r\n", capa(b"SASL PLAIN")), (AUTH_PLAIN, b"+OK\r\n"))


@pytest.mark.parametrize("allow", [False, True])
def test_apop_that_is_refused_goes_on_with_stls(allow: bool, server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        apop_refused(talk, b"STLS", OFFER)
        play(talk, (b"CAPA\r\n", capa(b"STLS", OFFER)))
        starts_tls_and_logs_in(talk)

    running, password = server(script), Password()
    notices: list[str] = []
    policy = LoginPolicy("auto", allow_insecure=allow)
    with connect(running, policy, ca_file, notice=notices.append) as client:
        client.login("alice", password)
        assert client.started_tls
    running.stop()
    assert (password.asked, notices) == (1, [])


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("hangs_up", [hang_up, reset])
def test_refused_apop_goes_on_with_stls_on_a_new_connection_if_the_old_one_was_closed(
    hangs_up: Script, allow: bool, server: StartServer, ca_file: Path
) -> None:
    def first(talk: Talk) -> None:
        apop_refused(talk, b"STLS", OFFER)
        hangs_up(talk)

    def second(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa(b"STLS", OFFER)))
        starts_tls_and_logs_in(talk)

    running, password = server([first, second]), Password()
    with connect(running, LoginPolicy("auto", allow_insecure=allow), ca_file) as client:
        client.login("alice", password)
        assert client.started_tls
    running.stop()
    assert password.asked == 1


def test_refused_apop_is_an_error_if_the_new_connection_has_no_stls(server: StartServer) -> None:
    def first(talk: Talk) -> None:
        apop_refused(talk, b"STLS", OFFER)

    def second(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa(OFFER)))

    running = server([first, second])
    policy = LoginPolicy("auto", allow_insecure=True)
    with connect(running, policy) as client, pytest.raises(LoginRefused, match="no such secret"):
        client.login("alice", SECRET)
    assert everything_sent(running)[1] == b"CAPA\r\n"


@pytest.mark.parametrize("policy", [LoginPolicy("auto"), LoginPolicy("auto", allow_insecure=True)])
@pytest.mark.parametrize("capabilities", [[], [OFFER]])
def test_apop_that_is_refused_without_stls_is_the_end(
    capabilities: list[bytes], policy: LoginPolicy, server: StartServer
) -> None:
    running = server(lambda talk: apop_refused(talk, *capabilities))
    with connect(running, policy) as client, pytest.raises(LoginRefused, match="no such secret") as raised:
        client.login("alice", SECRET)
    assert raised.value.command == "APOP"
    assert everything_sent(running) == [b"CAPA\r\n" + APOP]


@pytest.mark.parametrize(
    "policy", [LoginPolicy("off"), LoginPolicy("off", allow_insecure=True), LoginPolicy("auto", "apop")]
)
def test_refused_apop_is_an_error_if_tls_is_off_or_apop_was_forced(
    policy: LoginPolicy, server: StartServer
) -> None:
    running = server(lambda talk: apop_refused(talk, b"STLS", OFFER))
    with connect(running, policy) as client, pytest.raises(LoginRefused, match="no such secret"):
        client.login("alice", SECRET)
    assert everything_sent(running) == [b"CAPA\r\n" + APOP]


@pytest.mark.parametrize("refusal", [b"[IN-USE] locked", b"maildrop already locked", b"try again later"])
def test_apop_that_is_refused_for_now_is_not_tried_elsewhere(server: StartServer, refusal: bytes) -> None:
    def script(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa(b"STLS")), (APOP, b"-ERR %s\r\n" % refusal))

    running = server(script)
    with connect(running, LoginPolicy("auto")) as client, pytest.raises(LoginRefused) as raised:
        client.login("alice", SECRET)
    assert raised.value.exit_status is Status.TRY_LATER
    assert everything_sent(running) == [b"CAPA\r\n" + APOP]


def test_a_line_lost_inside_tls_is_not_mistaken_for_apop_refused(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        apop_refused(talk, b"STLS")
        play(talk, (b"CAPA\r\n", capa(b"STLS")), BEGIN)
        talk.start_tls()
        play(talk, (b"CAPA\r\n", capa(b"SASL PLAIN")))
        talk.expect(AUTH_PLAIN)
        talk.cut()

    running = server(script)
    with (
        connect(running, LoginPolicy("auto"), ca_file) as client,
        pytest.raises(ConnectionLost, match="AUTH"),
    ):
        client.login("alice", SECRET)


# SASL, step by step


@pytest.mark.parametrize("length", [200, 4000])  # octets of a token: Google's, Microsoft's
@pytest.mark.parametrize("method", ["plain", "xoauth2", "oauthbearer"])
def test_an_initial_response_that_does_not_fit_waits_for_the_servers_turn(
    method: str, length: int, server: StartServer, ca_file: Path
) -> None:
    token = "t" * length
    seen: list[bytes] = []

    def script(talk: Talk) -> None:
        greet(talk, "implicit", OFFER)
        talk.expect(b"AUTH " + METHODS[method].encode() + b"\r\n")
        talk.say(b"+ \r\n")
        seen.append(response(talk))
        talk.say(b"+OK\r\n")

    with connect(serve(server, script, "implicit"), LoginPolicy("implicit", method), ca_file) as client:
        client.login("alice", token)
    assert token.encode() in seen[0]
    assert b"alice" in seen[0]


@pytest.mark.parametrize(("length", "whole"), [(169, True), (170, False)])
def test_an_initial_response_goes_with_auth_up_to_255_octets(
    length: int, whole: bool, server: StartServer, ca_file: Path
) -> None:
    lines: list[bytes] = []

    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL PLAIN")
        lines.append(talk.line())
        if lines[0] == b"AUTH PLAIN\r\n":
            talk.say(b"+\r\n")
            lines.append(talk.line())
        talk.say(b"+OK\r\n")

    # "AUTH PLAIN " and CRLF leave 242 octets, which hold 240 of base64: 180 of NUL alice NUL secret.
    with connect(serve(server, script, "implicit"), LoginPolicy("implicit"), ca_file) as client:
        client.login("alice", "p" * (length + 4))
    assert len(lines) == (1 if whole else 2)
    assert len(lines[0]) <= 255


BAD_CHALLENGES: dict[str, Callable[[Talk], None]] = {
    "no base64": lambda talk: talk.say(b"+ this is not base64!\r\n"),
    "half a base64": lambda talk: talk.say(b"+ YWI\r\n"),
    "nothing": lambda talk: talk.say(b"+ \r\n"),
}


@pytest.mark.parametrize("bad", BAD_CHALLENGES)
def test_a_bad_challenge_cancels_the_exchange(bad: str, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", OFFER)
        talk.expect(b"AUTH CRAM-MD5\r\n")
        BAD_CHALLENGES[bad](talk)
        play(talk, (b"*\r\n", b"-ERR cancelled\r\n"), (b"QUIT\r\n", b"+OK\r\n"))

    with connect(server(script), LoginPolicy("off", "cram-md5")) as client:
        with pytest.raises(MechanismFailed) as raised:
            client.login("alice", SECRET)
        client.quit()
    assert raised.value.exit_status is Status.NO_LOGIN


@pytest.mark.parametrize("answer", [b"+OK welcome\r\n", b"+ bW9yZQ==\r\n", b""])
def test_a_server_that_takes_no_cancel_is_left(answer: bytes, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", OFFER)
        play(talk, (b"AUTH CRAM-MD5\r\n", b"+ !\r\n"), (b"*\r\n", answer))

    running = server(script)
    with connect(running, LoginPolicy("off", "cram-md5")) as client:
        with pytest.raises(MechanismFailed, match="base64"):
            client.login("alice", SECRET)
        with pytest.raises(SessionEnded):
            client.stat()
    assert everything_sent(running) == [b"CAPA\r\nAUTH CRAM-MD5\r\n*\r\n"]


def test_a_server_that_requests_more_than_the_mechanism_sends_is_cancelled(
    server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL PLAIN")
        play(talk, (AUTH_PLAIN, b"+ bW9yZQ==\r\n"), (b"*\r\n", b"-ERR cancelled\r\n"))

    running = serve(server, script, "implicit")
    with connect(running, LoginPolicy("implicit"), ca_file) as client, pytest.raises(MechanismFailed):
        client.login("alice", SECRET)


def first_of(talk: Talk, server: ScramServer) -> None:
    """Read the client's first SCRAM message and send the server's."""
    challenge(talk, server.first(base64.b64decode(talk.line().split()[2])))


def cheap(talk: Talk) -> None:
    first_of(talk, ScramServer("sha256", SECRET.encode(), iterations=1))


def endless(talk: Talk) -> None:
    first_of(talk, ScramServer("sha256", SECRET.encode(), iterations=2**31))


def foreign(talk: Talk) -> None:
    talk.line()
    challenge(talk, b"r=another,s=c2FsdA==,i=4096")


@pytest.mark.parametrize("lie", [cheap, endless, foreign])
def test_a_scram_server_that_fishes_gets_no_proof(lie: Script, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", OFFER)
        lie(talk)
        play(talk, (b"*\r\n", b"-ERR\r\n"))

    running = server(script)
    with connect(running, LoginPolicy("off")) as client, pytest.raises(MechanismFailed):
        client.login("alice", SECRET)


def forged_signature(talk: Talk) -> None:
    verifier = ScramServer("sha256", SECRET.encode())
    first_of(talk, verifier)
    response(talk)
    challenge(talk, b"v=" + encoded(bytes(32)))
    play(talk, (b"*\r\n", b"-ERR\r\n"))


def no_signature(talk: Talk) -> None:
    first_of(talk, ScramServer("sha256", SECRET.encode()))
    response(talk)
    talk.say(b"+OK welcome\r\n")


def no_exchange(talk: Talk) -> None:
    talk.line()
    talk.say(b"+OK welcome\r\n")


@pytest.mark.parametrize("lie", [forged_signature, no_signature, no_exchange])
@pytest.mark.parametrize("mode", WAYS)
def test_a_scram_server_that_cannot_prove_itself_is_left(
    mode: str, lie: Script, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, mode, b"SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN")
        lie(talk)

    running = serve(server, script, mode)
    with connect(running, LoginPolicy(mode), ca_file) as client, pytest.raises(MechanismFailed):
        client.login("alice", SECRET)
    assert everything_sent(running)[0].count(b"AUTH ") == 1


@pytest.mark.parametrize(
    ("json", "shown"),
    [
        (b'{"status":"401","scope":"mail"}', r"\(status: 401, scope: mail\)"),
        (b'{"status":"401","scope":"","openid-configuration":""}', r"\(status: 401\)"),
        (b'{"status":0,"scope":null,"schemes":[]}', r"\(status: 0\)"),
        (b'{"scope":""}', r'\(\{"scope":""\}\)'),
    ],
)
@pytest.mark.parametrize(("method", "acknowledged"), [("xoauth2", b"\r\n"), ("oauthbearer", b"AQ==\r\n")])
def test_the_json_of_a_refused_token_is_in_the_error(
    method: str, acknowledged: bytes, json: bytes, shown: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", OFFER)
        DIALOGUES[method](talk)
        challenge(talk, json)
        play(talk, (acknowledged, b"-ERR no\r\n"))

    running, why = serve(server, script, "implicit"), "no " + shown
    with connect(running, LoginPolicy("implicit", method), ca_file) as client:
        with pytest.raises(LoginRefused, match=why) as raised:
            client.login("alice", SECRET)
        assert raised.value.exit_status is Status.NO_LOGIN


# UTF8


@pytest.mark.parametrize(
    ("policy", "user", "capabilities", "commands"),
    [
        (LoginPolicy("implicit"), "jürgen", [b"UTF8 USER"], [b"UTF8\r\n", b"USER j\xc3\xbcrgen\r\n"]),
        (LoginPolicy("implicit"), "jürgen", [b"UTF8"], [b"USER j\xc3\xbcrgen\r\n"]),
        (LoginPolicy("implicit"), "jürgen", [], [b"USER j\xc3\xbcrgen\r\n"]),
        (LoginPolicy("implicit"), "alice", [b"UTF8 USER"], [b"USER alice\r\n"]),
        (LoginPolicy("implicit", utf8=True), "alice", [b"UTF8"], [b"UTF8\r\n", b"USER alice\r\n"]),
        (LoginPolicy("implicit", utf8=True), "alice", [], [b"USER alice\r\n"]),
    ],
)
def test_utf8_is_sent_only_if_the_user_name_needs_it_or_on_request(
    policy: LoginPolicy,
    user: str,
    capabilities: list[bytes],
    commands: list[bytes],
    server: StartServer,
    ca_file: Path,
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", *capabilities)
        play(talk, *((command, b"+OK\r\n") for command in commands), (b"PASS secret\r\n", b"+OK\r\n"))

    notices: list[str] = []
    running = serve(server, script, "implicit")
    with connect(running, policy, ca_file, notice=notices.append) as client:
        client.login(user, "secret")
    assert bool(notices) == (not capabilities)


def test_requested_utf8_is_sent_before_a_mechanism(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL PLAIN", b"UTF8")
        play(talk, (b"UTF8\r\n", b"+OK\r\n"), (AUTH_PLAIN, b"+OK\r\n"))

    running = serve(server, script, "implicit")
    with connect(running, LoginPolicy("implicit", utf8=True), ca_file) as client:
        client.login("alice", SECRET)


def test_utf8_is_sent_once_per_connection_even_if_several_mechanisms_are_tried(
    server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN", b"UTF8")
        play(talk, (b"UTF8\r\n", b"+OK\r\n"))
        for name in (b"SCRAM-SHA-256", b"SCRAM-SHA-1"):
            assert talk.line().startswith(b"AUTH " + name + b" ")
            talk.say(b"-ERR not for this user\r\n")
        play(talk, (AUTH_PLAIN, b"+OK\r\n"))

    running = serve(server, script, "implicit")
    with connect(running, LoginPolicy("implicit", utf8=True), ca_file) as client:
        client.login("alice", SECRET)


def test_utf8_is_sent_again_on_a_new_connection(server: StartServer, ca_file: Path) -> None:
    """STLS after APOP was refused, on a new connection: what was sent on the first one is forgotten."""

    def hangs_up(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa(b"UTF8", b"STLS")), (b"UTF8\r\n", b"+OK\r\n"), (APOP, b"-ERR no\r\n"))

    def lets_in(talk: Talk) -> None:
        talk.say(WITH_CHALLENGE)
        play(talk, (b"CAPA\r\n", capa(b"UTF8", b"STLS")), BEGIN)
        talk.start_tls()
        play(talk, (b"CAPA\r\n", capa(b"UTF8", b"SASL PLAIN")), (b"UTF8\r\n", b"+OK\r\n"))
        play(talk, (AUTH_PLAIN, b"+OK\r\n"))

    with connect(server([hangs_up, lets_in]), LoginPolicy("auto", utf8=True), ca_file) as client:
        client.login("alice", SECRET)


def test_refused_utf8_is_reported_and_the_login_goes_on(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL PLAIN", b"UTF8")
        play(talk, (b"UTF8\r\n", b"-ERR not now\r\n"), (AUTH_PLAIN, b"+OK\r\n"))

    notices: list[str] = []
    running = serve(server, script, "implicit")
    with connect(running, LoginPolicy("implicit", utf8=True), ca_file, notice=notices.append) as client:
        client.login("alice", SECRET)
    assert notices == ["the server refused UTF8: not now"]


def test_a_mechanism_needs_no_utf8_for_what_is_not_ascii(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "implicit", b"SASL PLAIN", b"UTF8 USER")
        initial = encoded("\0jürgen\0pass-wörd".encode())
        play(talk, (b"AUTH PLAIN " + initial + b"\r\n", b"+OK\r\n"))

    running = serve(server, script, "implicit")
    with connect(running, LoginPolicy("implicit"), ca_file) as client:
        client.login("jürgen", "pass-wörd")


# What is shown


def shown_by_a_server_that_repeats_everything(
    server: StartServer, ca_file: Path, method: str, status: bytes
) -> tuple[ScriptedServer, list[bytes], LoginRefused | None]:
    def script(talk: Talk) -> None:
        if method == "apop":
            talk.say(WITH_CHALLENGE)
            play(talk, (b"CAPA\r\n", capa()))
            talk.expect(APOP)
        else:
            greet(talk, "implicit", OFFER)
            DIALOGUES[method](talk)
        echo = b" ".join(line.strip() for line in talk.commands)
        talk.say(
            status + b" " + SECRET.encode() + b" " + SECRET.encode().hex().encode() + b" " + echo + b"\r\n"
        )

    lines: list[bytes] = []
    running = serve(server, script, "implicit")
    policy = LoginPolicy("implicit", method)
    with connect(running, policy, ca_file, trace=lambda mark, line: lines.append(line)) as client:
        try:
            client.login("alice", SECRET)
        except LoginRefused as refusal:
            return running, lines, refusal
    return running, lines, None


def unwrapped(word: bytes) -> bytes:
    """Return what a word may hide in base64, or nothing."""
    try:
        return base64.b64decode(word, validate=True)
    except ValueError:
        return b""


@pytest.mark.parametrize("status", [b"+OK", b"-ERR"])
@pytest.mark.parametrize("method", [name for name in (*DIALOGUES, "apop") if name != "external"])
def test_no_secret_is_traced_or_shown_even_if_the_server_repeats_it(
    method: str, status: bytes, server: StartServer, ca_file: Path
) -> None:
    running, lines, refusal = shown_by_a_server_that_repeats_everything(server, ca_file, method, status)
    assert (refusal is None) == (status == b"+OK")
    shown = b"\n".join([*lines, refusal.text if refusal else b"", str(refusal).encode()])
    assert b"(secret)" in shown
    secret = SECRET.encode()
    for form in (secret, encoded(secret), secret.hex().encode(), DIGEST):
        assert form not in shown
    for word in shown.split():
        assert secret not in unwrapped(word)
    for line in running.commands:
        if not line.startswith((b"CAPA", b"USER", b"AUTH LOGIN", b"AUTH CRAM")) and line != b"\r\n":
            assert line.strip() not in shown


def test_a_password_that_was_not_asked_for_yet_is_asked_for_once(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        user_and_pass(talk)
        talk.say(b"-ERR wrong\r\n")
        user_and_pass(talk)
        talk.say(b"+OK\r\n")

    password = Password()
    with connect(server(script), LoginPolicy("off", allow_insecure=True)) as client:
        with pytest.raises(LoginRefused):
            client.login("alice", password)
        assert password.asked == 1
        client.login("alice", password)
    assert password.asked == 2


def test_the_client_may_change_its_mind_about_clear_text(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        user_and_pass(talk)
        talk.say(b"+OK\r\n")

    with POP3Client.connect("127.0.0.1", server(script).port, tls="off") as client:
        with pytest.raises(InsecureAuthenticationDisallowed):
            client.login("alice", SECRET)
        client.allow_insecure_login = True
        client.login("alice", SECRET)


def test_no_secret_is_shown_even_if_the_server_breaks_the_protocol_with_it(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        user_and_pass(talk)
        talk.say(b"not " + SECRET.encode() + b"\r\n")

    with connect(server(script), LoginPolicy("off", allow_insecure=True)) as client:
        with pytest.raises(ProtocolViolation, match="secret") as raised:
            client.login("alice", SECRET)
        with pytest.raises(SessionEnded) as ended:
            client.stat()
    for error in (raised, ended):
        assert SECRET not in str(error.value)
