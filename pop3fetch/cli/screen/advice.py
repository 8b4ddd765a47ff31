"""What helps against an error: one table by the error's class.

Errors have facts, and no module below ``cli`` names an option or a command. A user reads the sentence of the
error, followed by its advice from here. Each advice must be able to help: ``--ca-file`` does not cure an
expired certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    TLSNotSupportedError,
)
from pop3fetch.printable import printable

_PIN = "trust exactly this certificate with --tls-fingerprint {0}"
# By the cause of the failure; each is true for this cause only.
_CERTIFICATE = {
    "authority": f"if this is the right server, {_PIN}, or its authority with --ca-file FILE",
    "expired": f"only the server's operator can renew it; until then, {_PIN} if this is the right server",
    "not yet valid": "check this computer's clock; if it is right, tell the server's operator",
    "name": f"use a host name that the certificate has; if this is the right server, name one of its names "
    f"with --tls-name, or {_PIN}",
    "fingerprint": "if the server has a new certificate, use --tls-fingerprint {0}",
    "": f"if this is the right server, {_PIN}",
}


def _of_certificate(error: CertificateError) -> str:
    if not error.fingerprint:
        return str(error)
    advice = _CERTIFICATE.get(error.cause) or _CERTIFICATE[""]
    return f"{error}; {advice.format(printable(error.fingerprint))}"


def _of_clear_text(error: InsecureAuthenticationDisallowed) -> str:
    tls = "--tls starttls" if error.offers_stls else "--tls implicit (port 995)"
    consent = "" if error.is_allowed else ", or --allow-insecure-login if you must"
    return f"{error}; use {tls}{consent}"


def _of_selector(error: InvalidSelector) -> str:
    if not error.is_address:
        return str(error)
    login = f"pop3fetch login {printable(error.word)}"
    return f"{error}: an account is given with --account; a new one begins with `{login}`"


ADVICE: dict[type[POP3Error], Callable[[Any], str]] = {
    CertificateError: _of_certificate,
    DeletionUnsafe: lambda error: noticed(str(error)),
    FetcherRunning: lambda error: (
        f"{error}; stop its job, and let it end"
        + ("" if error.process else ", or remove that file if it was killed")
    ),
    HeadersNotOffered: lambda error: f"{error}; choose by --larger, --smaller, numbers or unique-ids instead",
    InsecureAuthenticationDisallowed: _of_clear_text,
    InvalidSelector: _of_selector,
    LoginPaused: lambda error: f"{error}; another password is tried at once, and any on a terminal",
    MechanismNotOffered: lambda error: f"{error}; use --tls implicit" if error.is_forgeable else str(error),
    NoCommonCipher: lambda error: (
        f"{error}: it may be an old server; try --tls-ciphers DEFAULT, or DEFAULT:@SECLEVEL=1"
    ),
    NotATLSPort: lambda error: f"{error}; try --tls starttls (port 110)",
    NothingToVerify: lambda error: (
        f"{error}: give its fingerprint with --tls-fingerprint, or use --tls off with --allow-insecure-login"
    ),
    NothingRecognised: lambda error: (
        f"{error}: is it the right mailbox? `pop3fetch record forget --all` has all messages fetched"
    ),
    NotPOP3Server: lambda error: (
        str(error).replace(error.what, f"{error.what}; use --tls implicit", 1)
        if error.speaks_tls
        else str(error)
    ),
    ServerNotFound: lambda error: f"{error}; name it with --host",
    TimedOut: lambda error: (
        str(error).removesuffix(")") + ": try --tls implicit)" if error.may_await_tls else str(error)
    ),
    TLSNotSupportedError: lambda error: f"{error}; try --tls implicit (port 995)",
}


def told(error: POP3Error) -> str:
    """Return the line of an error as the command line prints it: what happened, and what to do."""
    tell = ADVICE.get(type(error), str)
    return tell(error)


def noticed(text: str) -> str:
    """Return a remark as the command line prints it."""
    from pop3fetch.pop3.login import ALTHOUGH_STLS, MAIL_IN_CLEAR_TEXT

    lines = {
        ALTHOUGH_STLS: f"{MAIL_IN_CLEAR_TEXT}; use --tls starttls",
        str(DeletionUnsafe()): f"{text}; fetch them all before, with `pop3fetch get`",
    }
    return lines.get(text, text)
