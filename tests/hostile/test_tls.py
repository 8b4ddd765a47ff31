"""TLS and certificates: the server's identity, and that its octets cannot be cut or changed."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID

from pop3fetch.status import Status
from tests.support.certificates import server_context
from tests.support.forged_certificates import AUTHORITY, DAY, Forgery, Signed
from tests.support.hostile_servers import (
    HOSTILE_WORDS,
    ONE,
    PASSWORD,
    TIMEOUT,
    TWO,
    Aftermath,
    Attack,
    mailbox,
)
from tests.support.scripted_server import ClientLeft, Script, Talk

BOTH_WAYS = pytest.mark.parametrize("way", ["implicit", "starttls"])


def over_tls(
    attack: Attack, way: str, context: ssl.SSLContext, *options: str | Path, **settings: Any
) -> Aftermath:
    """Attack ``localhost`` with a server that starts TLS in the one or the other way."""

    def script(talk: Talk) -> None:
        if way == "starttls":
            talk.say(b"+OK\r\n")
            talk.expect(b"STLS\r\n")
            talk.say(b"+OK\r\n")
        talk.start_tls()
        inside(talk)

    inside: Script = settings.pop("inside", mailbox(greeting=b"" if way == "starttls" else b"+OK\r\n"))
    server = attack.start(script, context=context)
    url = f"pop3s://alice@localhost:{server.port}"
    environment = {"POP3FETCH_ACCOUNT": url, "POP3FETCH_PASSWORD": PASSWORD}
    ended = attack.here(
        "get", "--delete", "-o", attack.maildir, "--tls", way, "--timeout", str(2 * TIMEOUT),
        "--state-dir", attack.state, *options, env=environment,
    )  # fmt: skip
    server.wait()
    return attack.checked(ended, server, server.talks)


def test_over_tls_all_goes_well_as_long_as_all_is_well(
    attack: Attack, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    over_tls(attack, "implicit", server_context, "--ca-file", ca_file).succeeds()


# -- certificates ----------------------------------------------------------------------------


@BOTH_WAYS
def test_a_certificate_of_an_unknown_authority_is_refused_and_shown(
    attack: Attack, way: str, unknown_authority: trustme.CA, ca_file: Path
) -> None:
    after = over_tls(attack, way, server_context(unknown_authority), "--ca-file", ca_file)
    after.fails(Status.PROTOCOL, "does not verify", "--tls-fingerprint ").told_nothing().left_alone()


@pytest.mark.parametrize(
    "forgery",
    [
        Forgery(names=["mail.example.org"]),
        Forgery(names=["*"]),
        Forgery(names=["local*", "*host", "*.localhost", "localhost.*"]),
        Forgery(subject="localhost", names=["other.example.org"]),
        Forgery(subject="localhost", names=[]),
        Forgery(begins=DAY, ends=2 * DAY),
        Forgery(begins=-2 * DAY, ends=-DAY),
        Forgery(purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        Forgery(bits=1024),
        Forgery(names=["localhost\0.example.org"]),
    ],
    ids=["name", "star", "stars", "cn", "cn-only", "early", "expired", "purpose", "weak", "nul"],
)
@BOTH_WAYS
def test_a_certificate_that_is_not_the_servers_own_is_refused(
    attack: Attack, way: str, forgery: Forgery, tmp_path: Path
) -> None:
    forged = forgery.signed_by(AUTHORITY.signed_by())
    after = over_tls(attack, way, forged.context(), "--ca-file", forged.trusted_in(tmp_path))
    after.fails(Status.PROTOCOL).told_nothing().left_alone()


@BOTH_WAYS
def test_a_server_certificate_is_not_an_authority(attack: Attack, way: str, tmp_path: Path) -> None:
    leaf = Forgery(names=["example.org"]).signed_by(AUTHORITY.signed_by())
    forged = Forgery().signed_by(leaf)
    after = over_tls(attack, way, forged.context(), "--ca-file", forged.trusted_in(tmp_path))
    after.fails(Status.PROTOCOL, "does not verify").told_nothing().left_alone()


@BOTH_WAYS
def test_a_fingerprint_counts_instead_of_any_authority(
    attack: Attack, way: str, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    after = over_tls(attack, way, server_context, "--ca-file", ca_file, "--tls-fingerprint", "ab" * 32)
    after.fails(Status.PROTOCOL, "fingerprint").told_nothing().left_alone()


@BOTH_WAYS
def test_the_right_fingerprint_is_enough(attack: Attack, way: str) -> None:
    forged = Forgery(names=["mail.example.org"], ends=-DAY / 2).signed_by()  # pinned is pinned
    over_tls(attack, way, forged.context(), "--tls-fingerprint", forged.fingerprint).succeeds()


@pytest.mark.parametrize("names", [["\x1b]0;owned\x07"], ["\u202eevil", "x\x9b2J"], ["x" * 200] * 300])
@BOTH_WAYS
def test_names_in_a_certificate_are_harmless_and_bounded(
    attack: Attack, way: str, names: Sequence[str]
) -> None:
    forged = hostile_names(names)
    after = over_tls(attack, way, forged.context())
    after.fails(Status.PROTOCOL, "does not verify").told_nothing()
    assert len(after.error) < 2000


def hostile_names(names: Sequence[str]) -> Signed:
    ascii_names = [name.encode("ascii", "ignore").decode() for name in names]
    return Forgery(subject=names[0][:60], names=ascii_names).signed_by()


# -- versions and ciphers --------------------------------------------------------------------


def only_tls_1_1(context: ssl.SSLContext) -> None:
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


def only_anonymous(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")


def only_null(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("eNULL:@SECLEVEL=0")


@pytest.mark.parametrize("weaken", [only_tls_1_1, only_anonymous, only_null])
@BOTH_WAYS
def test_old_versions_and_empty_ciphers_are_refused(
    attack: Attack, way: str, weaken: Callable[[ssl.SSLContext], None]
) -> None:
    forged = Forgery().signed_by()
    context = forged.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        weaken(context)
    after = over_tls(attack, way, context, "--tls-fingerprint", forged.fingerprint)
    after.fails(Status.PROTOCOL, "TLS").told_nothing().left_alone()


# -- what is cut or changed ------------------------------------------------------------------


def cut_in_message(notify: bool, last: bytes) -> Script:
    """Return a server whose second message ends with ``last`` and the stream."""

    def end(talk: Talk) -> None:
        talk.say(b"+OK\r\nSubject: half\r\n\r\nHel" + last)
        talk.close(notify=notify)
        raise ClientLeft

    return mailbox(
        replies={b"RETR 2\r\n": b""}, after={b"RETR 2\r\n": end}, capabilities=[b"UIDL", b"SASL PLAIN"]
    )


@pytest.mark.parametrize("last", [b"", b"\r", b"\r\n", b"\r\n.", b"\r\n.\r", b"\n.\n"])
@pytest.mark.parametrize("notify", [False, True], ids=["fin", "close_notify"])
def test_the_end_of_the_stream_is_not_the_end_of_a_message(
    attack: Attack, notify: bool, last: bytes, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    after = over_tls(
        attack, "implicit", server_context, "--ca-file", ca_file, inside=cut_in_message(notify, last)
    )
    after.fails(Status.TRY_LATER, "lost the connection", "RETR")
    assert after.delivered == [ONE]
    assert after.recorded == {b"uid-1"}
    assert b"QUIT" not in after.verbs


@pytest.mark.parametrize(
    "octets",
    [
        b"+OK in clear text\r\n",
        b"\x17\x03\x03\x00\x20" + bytes(32),
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x01\xff\xff" + bytes(100),
        HOSTILE_WORDS * 10,
    ],
    ids=["text", "record", "alert", "huge", "rubbish"],
)
def test_records_that_are_not_the_servers_end_the_run(
    attack: Attack, octets: bytes, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    def spoil(talk: Talk) -> None:
        socket.socket.sendall(talk._socket, octets)  # past its TLS
        talk.stall()

    inside = mailbox(replies={b"RETR 1\r\n": b"+OK\r\nhalf"}, after={b"RETR 1\r\n": spoil})
    after = over_tls(attack, "implicit", server_context, "--ca-file", ca_file, inside=inside)
    after.fails(Status.PROTOCOL, "TLS").left_alone()
    assert b"--tls" not in after.ended.err  # the port has spoken TLS until then


@pytest.mark.parametrize(
    "octets",
    [
        b"+OK ready\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x16\x03\x03\x40\x00" + bytes(64),
        HOSTILE_WORDS * 9,
    ],
    ids=["pop3", "alert", "record", "rubbish"],
)
def test_clear_text_on_a_tls_port_is_an_error(attack: Attack, octets: bytes) -> None:
    after = attack(lambda talk: talk.say(octets), "--tls", "implicit")
    after.fails(Status.PROTOCOL, "TLS").told_nothing().left_alone()


@BOTH_WAYS
def test_a_handshake_without_end_ends_in_time(attack: Attack, way: str) -> None:
    def script(talk: Talk) -> None:
        if way == "starttls":
            talk.say(b"+OK\r\n")
            talk.expect(b"STLS\r\n")
            talk.say(b"+OK\r\n")
        talk.take(3)  # the client's hello is on its way
        talk.drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(1000), TIMEOUT / 5)

    attack(script, "--tls", way).fails(Status.TRY_LATER, "TLS handshake").told_nothing().left_alone()


def test_a_message_in_many_small_records_comes_whole(
    attack: Attack, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    def crumbs(talk: Talk) -> None:
        for octet in b"+OK\r\n" + TWO + b".\r\n":
            talk.say(bytes([octet]))

    inside = mailbox(replies={b"RETR 2\r\n": b""}, after={b"RETR 2\r\n": crumbs})
    after = over_tls(attack, "implicit", server_context, "--ca-file", ca_file, inside=inside)
    after.succeeds()
    assert after.delivered[1] == TWO
