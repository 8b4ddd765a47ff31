"""The advice of the command line: what is printed of an error beside its facts."""

from __future__ import annotations

import pytest

from pop3fetch.cli.screen.advice import ADVICE, noticed, told
from pop3fetch.errors import (
    CertificateError,
    DeletionUnsafe,
    FetcherRunning,
    HeadersNotOffered,
    InsecureAuthenticationDisallowed,
    InvalidSelector,
    LoginPaused,
    MechanismNotOffered,
    NoCommonCipher,
    NotATLSPort,
    NothingRecognised,
    NothingToVerify,
    NotPOP3Server,
    POP3Error,
    ServerNotFound,
    TimedOut,
    TLSError,
    TLSNotSupportedError,
)
from pop3fetch.pop3.login import ALTHOUGH_STLS, MAIL_IN_CLEAR_TEXT

PIN = "trust exactly this certificate with --tls-fingerprint 0f"
LINES: list[tuple[POP3Error, str]] = [
    (
        HeadersNotOffered(),
        "the server cannot show headers alone: it has no TOP; choose by --larger, --smaller, numbers or "
        "unique-ids instead",
    ),
    (TLSError("h", "an alert"), "TLS with h failed: an alert"),
    (CertificateError("h", "it is expired"), "the certificate of h does not verify: it is expired"),
    (
        CertificateError("h", "odd", "CN=h", "0f"),
        f"the certificate of h does not verify: odd [CN=h]; if this is the right server, {PIN}",
    ),
    (
        CertificateError("h", "odd", "CN=h", "0f", "authority"),
        "the certificate of h does not verify: odd [CN=h]; "
        f"if this is the right server, {PIN}, or its authority with --ca-file FILE",
    ),
    (
        CertificateError("h", "odd", "CN=h", "0f", "fingerprint"),
        "the certificate of h does not verify: odd [CN=h]; "
        "if the server has a new certificate, use --tls-fingerprint 0f",
    ),
    (
        DeletionUnsafe(),
        "nothing is deleted: the server may delete every message that was read, too; "
        "fetch them all before, with `pop3fetch get`",
    ),
    (
        HeadersNotOffered(),
        "the server cannot show headers alone: it has no TOP; "
        "choose by --larger, --smaller, numbers or unique-ids instead",
    ),
    (
        InsecureAuthenticationDisallowed("not logging in: why"),
        "not logging in: why; use --tls implicit (port 995), or --allow-insecure-login if you must",
    ),
    (
        InsecureAuthenticationDisallowed("not logging in: why", offers_stls=True, is_allowed=True),
        "not logging in: why; use --tls starttls",
    ),
    (InvalidSelector("'0' names no message: why", "0"), "'0' names no message: why"),
    (
        InvalidSelector("'a@b' names no message", "a@b", is_address=True),
        "'a@b' names no message: an account is given with --account; "
        "a new one begins with `pop3fetch login a@b`",
    ),
    (
        LoginPaused("work", 30, "2026-11-29 08:15", "refused"),
        "work: no login before 2026-11-29 08:15, so that the account is not locked: refused; "
        "another password is tried at once, and any on a terminal",
    ),
    (MechanismNotOffered("the server does not"), "the server does not"),
    (MechanismNotOffered("it may be forged", is_forgeable=True), "it may be forged; use --tls implicit"),
    (
        NoCommonCipher("h", "alert"),
        "TLS with h failed: alert: it may be an old server; "
        "try --tls-ciphers DEFAULT, or DEFAULT:@SECLEVEL=1",
    ),
    (
        NotATLSPort("h", "why"),
        "TLS with h failed: why: this port does not seem to speak TLS; try --tls starttls (port 110)",
    ),
    (
        NothingRecognised("r", "none is listed"),
        "r: none is listed: is it the right mailbox? "
        "`pop3fetch record forget --all` has all messages fetched",
    ),
    (
        NothingToVerify("unix:/s"),
        "unix:/s: a UNIX socket has no host name that a certificate could be checked against: give its "
        "fingerprint with --tls-fingerprint, or use --tls off with --allow-insecure-login",
    ),
    (
        FetcherRunning("fetchmail", "/f.pid", 7),
        "fetchmail is running (process 7): /f.pid; stop its job, and let it end",
    ),
    (
        FetcherRunning("getmail", "/f.lock"),
        "getmail seems to be running: /f.lock; stop its job, and let it end, "
        "or remove that file if it was killed",
    ),
    (NotPOP3Server("it seems odd", b"x"), "this is not a POP3 server: it seems odd: x"),
    (
        NotPOP3Server("it speaks TLS", b"\x15", speaks_tls=True),
        "this is not a POP3 server: it speaks TLS; use --tls implicit: \\x15",
    ),
    (ServerNotFound("d", "gone"), "no POP3 server was found for d: gone; name it with --host"),
    (TimedOut("h", "connecting to", 60), "timed out after 60 s connecting to h"),
    (
        TimedOut("h", "connecting to", 60, may_await_tls=True),
        "timed out after 60 s connecting to h "
        "(a server that waits for TLS is silent, too: try --tls implicit)",
    ),
    (TLSNotSupportedError("h", "no"), "h cannot start TLS: no; try --tls implicit (port 995)"),
]


@pytest.mark.parametrize(("error", "line"), LINES)
def test_a_line_is_the_error_with_what_helps(error: POP3Error, line: str) -> None:
    assert told(error) == line


def test_each_advice_is_tried() -> None:
    assert {type(error) for error, _ in LINES} >= ADVICE.keys()


def test_a_notice_has_advice_too() -> None:
    assert noticed(ALTHOUGH_STLS) == f"{MAIL_IN_CLEAR_TEXT}; use --tls starttls"
    assert noticed(MAIL_IN_CLEAR_TEXT) == MAIL_IN_CLEAR_TEXT
    assert noticed("UTF8 is not offered") == "UTF8 is not offered"
