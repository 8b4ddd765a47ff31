"""TLS: how contexts are made, and what the errors of a handshake mean.

One function makes every verifying context, for implicit TLS and for STLS. Another client verified on one
way and not on the other (CVE-2021-26911). No option switches verification off. A fingerprint replaces
the chain, and is compared before an octet is sent.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NoReturn

from pop3fetch.errors import (
    CertificateError,
    ClientCertificateRequired,
    ConfigurationError,
    NoCommonCipher,
    NotATLSPort,
    NothingToVerify,
    TLSError,
)
from pop3fetch.net.dial import certificate_name
from pop3fetch.tls_policy import (
    MINIMUM_NAME,
    MINIMUM_VERSION,
    authorities_folder,
    choose_ciphers,
    verifying_context,
)
from pop3fetch.values import NamedTuple


class TLSOptions(NamedTuple):
    """What the user chose: file names in PEM, the fingerprint as 64 hexadecimal digits.

    ``ciphers``: OpenSSL's list for TLS 1.2; those of TLS 1.3 are all good.
    """

    ca_file: str | None = None
    fingerprint: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    ciphers: str | None = None


Stamp = list[tuple[int, ...] | None]

_making = Lock()  # otherwise twenty accounts would make a context each at the same time
_contexts: dict[tuple[TLSOptions, str | None], ssl.SSLContext] = {}
_stamps: dict[tuple[TLSOptions, str | None], Stamp] = {}  # of the files that each was made of


def authorities_on_demand(options: TLSOptions) -> str | None:
    """Return the folder from which the system's authorities can be loaded one by one, or None."""
    return None if options.ca_file or options.fingerprint else authorities_folder()


def client_context(options: TLSOptions, ca_folder: str | None = None) -> ssl.SSLContext:
    """Return the context for all connections: TLS 1.2 at least, verified (RFC 8314 section 4.1).

    ``ca_folder``: with authorities from there, as chains need them; some may be only in the system's bundle.
    The bundle takes as long to read as half a round trip, so all accounts share one context, until a file
    that it was made of is replaced: a process may stay for months, and outlive a certificate or the trust in
    an authority. Raises ConfigurationError if a file cannot be used.
    """
    with _making:
        stamp = _stamp_of(options)
        if _stamps.get((options, ca_folder)) == stamp:
            return _contexts[options, ca_folder]
        if options.fingerprint:
            context = unverified_context(options.ciphers)
        else:
            with _usable(f"CA file {options.ca_file}" if options.ca_file else "CA certificates"):
                context = verifying_context(options.ca_file, ca_folder=ca_folder)
            context.hostname_checks_common_name = False  # RFC 6125 section 6.4.4
            if options.ciphers:
                choose_ciphers(context, options.ciphers)
        if options.client_cert:
            files = " and key ".join(filter(None, (options.client_cert, options.client_key)))
            files = f"client certificate {files}"

            def refuse_pass_phrase() -> NoReturn:  # without it, OpenSSL would ask on the terminal
                advice = "`openssl pkey -in KEY -out NEW` removes it"
                raise ConfigurationError(files, f"the key has a pass phrase; {advice}")

            with _usable(files):
                context.load_cert_chain(options.client_cert, options.client_key, refuse_pass_phrase)
        _contexts[options, ca_folder], _stamps[options, ca_folder] = context, stamp
        return context


def _stamp_of(options: TLSOptions) -> Stamp:
    """Return what changes if a file that a context is made of is replaced."""
    files = [options.ca_file, options.client_cert, options.client_key]
    if not (options.ca_file or options.fingerprint):
        system = ssl.get_default_verify_paths()
        files += [system.cafile, system.capath]
    stamp: Stamp = []
    for file in filter(None, files):
        try:
            status = os.stat(file)
        except OSError:
            stamp.append(None)
        else:
            stamp.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return stamp


@contextmanager
def _usable(files: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigurationError(files, f"not in PEM form, or damaged ({_words(error)})") from error
    except OSError as error:
        raise ConfigurationError(files, error.strerror or str(error)) from error


def context_for(
    host: str, options: TLSOptions, given: ssl.SSLContext | None = None, ca_folder: str | None = None
) -> ssl.SSLContext:
    """Return the context for a handshake with ``host``, or the ``given`` one if it can serve.

    Raises ConfigurationError if a file cannot be used, NothingToVerify.
    """
    context = given or client_context(options, ca_folder)
    if context.check_hostname and certificate_name(host) is None:
        raise NothingToVerify(host)
    return context


def unverified_context(ciphers: str | None = None) -> ssl.SSLContext:
    """Return a context that verifies nothing: to pin, or to look at a refused certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = MINIMUM_VERSION
    if ciphers:
        choose_ciphers(context, ciphers)
    return context


# Error numbers of OpenSSL (X509_V_ERR_…), as far as they decide what the user can do.
_CAUSES = {
    **dict.fromkeys((2, 18, 19, 20, 21, 27, 33), "authority"),
    9: "not yet valid",
    10: "expired",
    **dict.fromkeys((62, 64), "name"),
}
_TOO_OLD = ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION")
# OpenSSL 3.2 and newer call the alert by its later name.
_NO_CIPHER = (
    "SSLV3_ALERT_HANDSHAKE_FAILURE", "SSL/TLS_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "DH_KEY_TOO_SMALL", "EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "NO_CIPHERS_AVAILABLE",
)  # fmt: skip
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def handshake_error(host: str, error: ssl.SSLError, *, first: bool) -> TLSError:
    """Return our error for a failed handshake, with a hint if the cause is a common one.

    ``first``: nothing was sent in clear text before it.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = _CAUSES.get(error.verify_code, "")
        reason = error.verify_message.rstrip(".")
        if cause == "authority" and "self-signed" not in reason:
            reason = f"its authority is not trusted ({reason})"
        return CertificateError(host, reason, cause=cause)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):  # the latter until Python 3.11.3
        return TLSError(host, "the server hung up in the handshake")
    name, words = getattr(error, "reason", None) or "", _words(error)
    if name in _TOO_OLD:
        words = f"the server offers only versions before {MINIMUM_NAME} ({words}); only its operator can help"
    elif first and name in _NO_TLS:
        return NotATLSPort(host, f"this port does not seem to speak TLS ({words})")
    elif "_ALERT_" in name:
        words = f"the server ended the handshake ({words})"
    return NoCommonCipher(host, words) if name in _NO_CIPHER else TLSError(host, words)


def session_error(host: str, error: ssl.SSLError) -> TLSError:
    """Return our error for a session that breaks after its handshake."""
    if (
        getattr(error, "reason", None) == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    ):  # in TLS 1.3, after our side of the handshake
        return ClientCertificateRequired(host, "the server requires a client certificate")
    return TLSError(host, _words(error))


def _words(error: ssl.SSLError) -> str:
    if reason := getattr(error, "reason", None):  # not of our own ones
        return str(reason).replace("_", " ").lower()
    return re.sub(r"^\[SSL\] | \(_ssl\.c:\d+\)$", "", str(error))


def channel_binding(tls: ssl.SSLObject) -> tuple[str, bytes] | None:
    """Return the type and the octets that SCRAM binds a login by in this session, or None.

    ``tls-exporter`` in TLS 1.3 (RFC 9266 section 3), which no ssl module offers up to Python 3.14;
    ``tls-unique`` before it (RFC 5802 section 6.1).
    """
    # Not tls-server-end-point, although every version has it: no known server accepts it. Cyrus 3.6
    # reports a wrong password, and Dovecot 2.4.1 hangs up.
    kind = "tls-exporter" if tls.version() == "TLSv1.3" else "tls-unique"
    if kind not in ssl.CHANNEL_BINDING_TYPES:
        return None
    octets = tls.get_channel_binding(kind)
    return (kind, octets) if octets else None
