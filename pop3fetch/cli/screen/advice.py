"""What helps against an error: one table by the error's class.

Errors have facts, and no module below ``cli`` names an option or a command. A user reads the sentence of the
error, then its advice from here. Each advice must be able to help: ``--ca-file`` does not cure an expired
certificate. If nothing helps, there is no advice.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from pop3fetch.account.credentials import OAUTH, login_command
from pop3fetch.errors import (
    CertificateError,
    ClientCertificateRequired,
    DeletionUnsafe,
    FetcherRunning,
    HeadersNotOffered,
    InsecureAuthenticationDisallowed,
    InvalidSelector,
    LoginPaused,
    LoginRefused,
    MechanismNotOffered,
    NoCommonCipher,
    NotATLSPort,
    NothingRecognised,
    NothingToVerify,
    NotPOP3Server,
    PipeliningBroken,
    POP3Error,
    ServerFailed,
    ServerNotFound,
    TimedOut,
    TLSNotSupportedError,
    UidShared,
    UniqueIdsRefused,
)
from pop3fetch.printable import printable

PINNED = "by its SHA-256 fingerprint,"

# By the cause of the failure; each is true for its cause only.
_CERTIFICATE = {
    "authority": "if this is the right server, {trust}, or {authority}",
    "expired": "only the server's operator can renew it; until then, if this is the right server, {trust}",
    "not yet valid": "check this computer's clock; if it is right, tell the server's operator",
    "name": "use a host name that the certificate has; if this is the right server, give one of its names "
    "with --tls-name, or {trust}",
    "fingerprint": "if the operator confirms this new certificate, {trust}",
    "": "if this is the right server, {trust}",
}


def _of_certificate(error: CertificateError) -> str:
    authority = "its authority with --ca-file FILE"
    if error.ca_file:  # it was given, and lacks this authority
        authority = f"add its authority to {printable(error.ca_file)}"
    trust = f"trust exactly this certificate {PINNED} --tls-fingerprint {printable(error.fingerprint)}"
    cause = error.cause
    if cause == "name" and error.certificate and "names" not in dict(error.certificate):
        cause = ""  # no name would do
    advice = _CERTIFICATE.get(cause) or _CERTIFICATE[""]
    return advice.format(trust=trust, authority=authority) if error.fingerprint else ""


def _of_clear_text(error: InsecureAuthenticationDisallowed) -> str:
    tls = "--tls starttls" if error.offers_stls else "--tls implicit (port 995)"
    return f"use {tls}, or --allow-insecure-login if you must"


def _of_selector(error: InvalidSelector) -> str:
    login = f"`pop3fetch login {printable(error.word)}`"
    return f"an account is given with -a, and {login} sets up a new one" if error.is_address else ""


def _of_refused_login(error: LoginRefused) -> str:
    if not error.blames_secret:
        return ""
    if error.other_user:
        user = shlex.quote(printable(error.other_user))
        return f"if the password is right, the server may want --user {user}"
    if error.stored_for is None:
        return f"check {error.source}" if error.source else ""
    login = login_command(error.stored_for)
    if error.source == OAUTH:
        return f"log in again with {login}"
    place = f" in {error.source}" if error.source else ""
    return f"store another password{place} with {login}"


def _of_server(error: ServerFailed) -> str:
    """Return what helps against the cause at the server of a destination; its settings are in a table."""
    if error.unless_named:
        return f"to send it again, name it: `pop3fetch get {error.unless_named}`"
    cause = error.__cause__
    if not isinstance(cause, CertificateError | ClientCertificateRequired | LoginPaused | LoginRefused):
        return ""
    advice = ADVICE[type(cause)](cause)
    keys = re.sub("--[a-z-]+", lambda option: option[0].lstrip("-").replace("-", "_"), advice)
    return advice if keys == advice else f"{keys} (keys of [destinations.NAME])"


ADVICE: dict[type[POP3Error], Callable[[Any], str]] = {
    CertificateError: _of_certificate,
    ClientCertificateRequired: lambda error: "give one with --client-cert",
    DeletionUnsafe: lambda error: "first fetch them all with `pop3fetch get`",
    FetcherRunning: lambda error: (
        f"stop its job, and let it end{'' if error.process else ', or remove that file if it was killed'}"
    ),
    HeadersNotOffered: lambda error: "choose by --larger, --smaller, numbers or unique-ids instead",
    InsecureAuthenticationDisallowed: _of_clear_text,
    InvalidSelector: _of_selector,
    LoginRefused: _of_refused_login,
    LoginPaused: lambda error: "a new password is tried at once; on a terminal, every password is",
    MechanismNotOffered: lambda error: "use --tls implicit" if error.is_forgeable else "",
    NoCommonCipher: lambda error: {
        "": "it may be an old server; try --tls-ciphers DEFAULT",
        "DEFAULT": "it may be a very old server; try --tls-ciphers DEFAULT:@SECLEVEL=1",
    }.get(error.ciphers, ""),
    NotATLSPort: lambda error: "try --tls starttls",
    NothingToVerify: lambda error: (
        "pin the certificate with --tls-fingerprint, or use --tls off with --allow-insecure-login"
    ),
    NothingRecognised: lambda error: (
        "is it the right mailbox? `pop3fetch record forget --all` has all messages fetched"
    ),
    NotPOP3Server: lambda error: {
        ("TLS", error.port): "use --tls implicit",
        ("IMAP", 993): "its POP3 port is probably 995",
        ("IMAP", 143): "its POP3 port is probably 110",
    }.get((error.speaks, error.port), ""),
    PipeliningBroken: lambda error: "try --no-pipelining",
    ServerFailed: _of_server,
    ServerNotFound: lambda error: "if there is one, name it with --host",
    TimedOut: lambda error: "if it waits for TLS, use --tls implicit" if error.may_await_tls else "",
    TLSNotSupportedError: lambda error: "try --tls implicit (port 995)",
    UidShared: lambda error: "use a number",
    UniqueIdsRefused: lambda error: "try again later",
}


def error_line(error: POP3Error) -> str:
    """Return the line of an error as the command line prints it: what happened, and what to do."""
    sentence, advise = str(error), ADVICE.get(type(error))
    advice = advise(error) if advise else ""
    refused = certificate_error(error)
    if refused and refused.fingerprint in advice:  # it is enough to show it once
        sentence = sentence.replace(f", SHA-256 {refused.fingerprint}]", "]")
    return f"{sentence.removesuffix('.')}; {advice}" if advice else sentence


def certificate_error(error: POP3Error) -> CertificateError | None:
    """Return the error if it is about a certificate, be it that of a destination's server."""
    cause = error.__cause__ if isinstance(error, ServerFailed) else error
    return cause if isinstance(cause, CertificateError) else None


def certificate_block(error: POP3Error, refused: CertificateError) -> list[str]:
    """Return the lines of an error about a certificate on a terminal, the fingerprint alone on one."""
    wide = max(len(word) for word, _ in refused.certificate)
    fingerprint = printable(refused.fingerprint)
    advice = ADVICE[type(error)](error).replace(PINNED, "with").replace(fingerprint, "and these digits")
    return [
        str(error).replace(str(refused), str(CertificateError(refused.host, refused.reason))),
        *(f"  {word:{wide}}  {printable(text)}" for word, text in refused.certificate),
        "  SHA-256 fingerprint:",
        f"  {fingerprint}",
        f"  {advice}",
    ]


def notice_line(text: str) -> str:
    """Return a notice as the command line prints it."""
    from pop3fetch.pop3.login import ALTHOUGH_STLS, MAIL_IN_CLEAR_TEXT

    lines = {
        ALTHOUGH_STLS: f"{MAIL_IN_CLEAR_TEXT}; use --tls starttls",
    }
    return lines.get(text, text)
