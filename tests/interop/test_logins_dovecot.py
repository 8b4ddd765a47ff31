"""Every way to log in to a real Dovecot: right and wrong secrets, and no secret in any trace."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pop3fetch.pop3.client import POP3Client
from tests.support.command import Ended
from tests.support.dovecot import USERS, Dovecot, certificate_settings, has_apop
from tests.support.in_process import Here
from tests.support.leaks import leaks

PASSWORD, WRONG = USERS["alice"], "another pass-wörd"
CLEAR_TEXT = ("user", "plain", "login")
CHALLENGE_RESPONSE = ("apop", "cram-md5", "scram-sha-1", "scram-sha-256")
METHODS = (*CLEAR_TEXT, *CHALLENGE_RESPONSE)
NO_APOP = "this Dovecot has no APOP (2.4 has dropped it)"
AFTER_STLS = ("starttls", "apop")  # its challenge came in clear text, and is forgotten (RFC 2595 section 4)
ASKED = {"user": "> USER alice", "apop": "> APOP alice (secret)"}  # what of a method is in the trace


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Run commands in this process."""
    return Here(tmp_path, monkeypatch)


def need(method: str) -> None:
    """Skip the test of a method that the server has no more."""
    if method == "apop" and not has_apop():
        pytest.skip(NO_APOP)


def stat(
    here: Here,
    dovecot: Dovecot,
    mode: str,
    *options: str | Path,
    user: str = "alice",
    password: str = PASSWORD,
) -> Ended:
    """Count a user's messages under -vv; whatever comes of it, the password is not shown."""
    port = dovecot.pop3s_port if mode == "implicit" else dovecot.pop3_port
    server: list[str | Path] = [
        "-H",
        dovecot.host,
        "-p",
        str(port),
        "-u",
        user,
        "--tls",
        mode,
        "--ca-file",
        dovecot.ca_file,
    ]
    ended = here("stat", "-vv", *server, *options, env={"POP3FETCH_PASSWORD": password})
    assert not leaks(ended.out + ended.err, password)
    return ended


def trace(ended: Ended) -> list[str]:
    return ended.err.decode().splitlines()


def shows(ended: Ended, method: str) -> bool:
    """Return whether the trace has the login by ``method``."""
    asked = ASKED.get(method, f"> AUTH {method.upper()}")
    return any(line.startswith(asked) for line in trace(ended))


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        (mode, method)
        for mode in ("implicit", "starttls")
        for method in METHODS
        if (mode, method) != AFTER_STLS
    ],
)
def test_every_method_works_inside_tls(here: Here, dovecot: Dovecot, mode: str, method: str) -> None:
    dovecot.deliver("alice", [b"Subject: hello\n\nworld\n"])
    need(method)
    ended = stat(here, dovecot, mode, "--auth", method)
    assert ended.status == 0, trace(ended)
    assert ended.out.startswith(b"1\t")
    assert shows(ended, method)
    assert trace(ended).index("= TLS: TLSv1.3") < len(trace(ended)) - 1


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_secret_is_refused_and_tried_once(here: Here, dovecot: Dovecot, method: str) -> None:
    need(method)
    ended = stat(here, dovecot, "implicit", "--auth", method, password=WRONG)
    assert (ended.status, ended.out) == (77, b"")
    assert "pop3fetch: the server refused the login of alice" in "\n".join(trace(ended))
    assert "[AUTH] Authentication failed." in "\n".join(trace(ended))
    assert sum(line.startswith(("> AUTH", "> PASS", "> APOP")) for line in trace(ended)) == 1


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_the_strongest_method_is_chosen_inside_tls(here: Here, dovecot: Dovecot, mode: str) -> None:
    ended = stat(here, dovecot, mode)
    assert ended.status == 0
    assert shows(ended, "scram-sha-256")


def test_a_server_without_channel_binding_accepts_the_flag(dovecot: Dovecot) -> None:
    """In TLS 1.2 SCRAM reports that it could bind (gs2 flag y, RFC 5802 section 6)."""
    context = ssl.create_default_context(cafile=str(dovecot.ca_file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with POP3Client.connect(dovecot.host, dovecot.pop3s_port, ssl_context=context) as client:
        client.login("alice", PASSWORD)
        assert client.stat() == (0, 0)


def test_a_password_that_scram_cannot_carry_goes_in_clear_inside_tls(here: Here, dovecot: Dovecot) -> None:
    ended = stat(here, dovecot, "implicit", user="carol", password=USERS["carol"])
    assert (ended.status, ended.out) == (0, b"0\t0\n"), trace(ended)
    assert [line for line in trace(ended) if line.startswith("> AUTH")] == ["> AUTH PLAIN (secret)"]


def test_apop_after_stls_is_refused_with_the_reason(here: Here, dovecot: Dovecot) -> None:
    need("apop")
    ended = stat(here, dovecot, "starttls", "--auth", "apop")
    assert ended.status == 77
    assert trace(ended)[-1] == (
        "pop3fetch: no APOP after STLS: the challenge was received in clear text, and may be forged; "
        "use --tls implicit"
    )


def test_a_wrong_secret_is_not_tried_by_the_next_strongest(here: Here, dovecot: Dovecot) -> None:
    ended = stat(here, dovecot, "implicit", password=WRONG)
    assert ended.status == 77
    assert sum(line.startswith(("> AUTH", "> PASS", "> APOP")) for line in trace(ended)) == 1


# -- without TLS -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CHALLENGE_RESPONSE)
def test_a_challenge_response_method_needs_no_tls(here: Here, dovecot: Dovecot, method: str) -> None:
    need(method)
    ended = stat(here, dovecot, "off", "--auth", method)
    assert (ended.status, ended.out) == (0, b"0\t0\n")
    assert shows(ended, method)
    assert "TLS: TLS" not in ended.err.decode()


@pytest.mark.parametrize("method", CLEAR_TEXT)
def test_a_password_in_clear_text_is_not_sent(here: Here, dovecot: Dovecot, method: str) -> None:
    ended = stat(here, dovecot, "off", "--auth", method)
    assert ended.status == 77
    assert [line for line in trace(ended) if line.startswith(">")] == ["> CAPA"]


@pytest.mark.parametrize("method", CLEAR_TEXT)
def test_a_password_in_clear_text_is_sent_if_that_is_allowed(
    here: Here, dovecot: Dovecot, method: str
) -> None:
    ended = stat(here, dovecot, "off", "--auth", method, "--allow-insecure-login")
    assert (ended.status, ended.out) == (0, b"0\t0\n")
    assert shows(ended, method)


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_apop_comes_first_outside_tls_and_reports_what_it_does_not_protect(
    here: Here, dovecot: Dovecot, mode: str
) -> None:
    need("apop")
    ended = stat(here, dovecot, mode)
    assert ended.status == 0
    assert shows(ended, "apop")
    assert "pop3fetch: APOP protects only the password" in ended.err.decode()


def test_a_method_that_is_not_offered_is_reported_with_those_that_are(here: Here, dovecot: Dovecot) -> None:
    ended = stat(here, dovecot, "implicit", "--auth", "xoauth2")
    assert ended.status == 77
    assert trace(ended)[-1] == (
        "pop3fetch: the server does not offer XOAUTH2; "
        "it offers PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256"
        + ("" if has_apop() else " SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS")
    )


# -- a certificate instead of a secret -------------------------------------------------------------


@pytest.fixture(scope="module")
def strict_dovecot(
    needs_dovecot: None, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dovecot]:
    """Run a Dovecot that knows its users by their certificates."""
    folder = tmp_path_factory.mktemp("dovecot-external")
    with Dovecot.start(folder, settings=certificate_settings(folder / "ca.pem"), ca=authority) as dovecot:
        yield dovecot


def client_cert(folder: Path, authority: trustme.CA, user: str) -> Path:
    file = folder / f"{user}.pem"
    leaf = authority.issue_cert(f"{user}@example.org", common_name=user)
    leaf.private_key_and_cert_chain_pem.write_to_path(str(file))
    return file


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_certificate_logs_in(
    here: Here, strict_dovecot: Dovecot, authority: trustme.CA, tmp_path: Path, mode: str
) -> None:
    own = client_cert(tmp_path, authority, "alice")
    ended = stat(here, strict_dovecot, mode, "--auth", "external", "--client-cert", own)
    assert (ended.status, ended.out) == (0, b"0\t0\n"), trace(ended)
    assert shows(ended, "external")


def test_another_ones_certificate_does_not(
    here: Here, strict_dovecot: Dovecot, authority: trustme.CA, tmp_path: Path
) -> None:
    bobs = client_cert(tmp_path, authority, "bob")
    ended = stat(here, strict_dovecot, "implicit", "--auth", "external", "--client-cert", bobs)
    assert (ended.status, ended.out) == (77, b"")


def test_a_certificate_by_a_stranger_does_not(
    here: Here, strict_dovecot: Dovecot, unknown_authority: trustme.CA, tmp_path: Path
) -> None:
    forged = client_cert(tmp_path, unknown_authority, "alice")
    ended = stat(here, strict_dovecot, "implicit", "--auth", "external", "--client-cert", forged)
    assert ended.status in (76, 77) and ended.out == b""


def test_no_certificate_does_not(here: Here, strict_dovecot: Dovecot) -> None:
    ended = stat(here, strict_dovecot, "implicit", "--auth", "external")
    assert (ended.status, ended.out) == (77, b"")


def test_a_certificate_is_of_no_use_without_tls(
    here: Here, strict_dovecot: Dovecot, authority: trustme.CA, tmp_path: Path
) -> None:
    own = client_cert(tmp_path, authority, "alice")
    ended = stat(here, strict_dovecot, "off", "--auth", "external", "--client-cert", own)
    assert ended.status == 77
    assert [line for line in trace(ended) if line.startswith(">")] == ["> CAPA"]
