"""What a certificate and a TLS session look like: for people to read, and to compare with a fingerprint."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from pop3fetch.errors import CertificateError
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from cryptography import x509


class Certificate(NamedTuple):
    """A certificate, for people to read; ``expires`` in seconds since the epoch."""

    subject: str
    names: tuple[str, ...]
    issuer: str
    expires: float | None
    fingerprint: str

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return what an error shows, except for the fingerprint: pairs of a word and a text."""
        expires = "" if self.expires is None else _day(self.expires)
        texts = {
            "subject": self.subject,
            "names": " ".join(self.names[:8]),
            "issuer": self.issuer,
            "expires": expires,
        }
        return tuple((word, text) for word, text in texts.items() if text)


class TLSSession(NamedTuple):
    """The protocol version, the cipher and the server's certificate of a TLS session."""

    version: str
    cipher: str
    certificate: Certificate


T = TypeVar("T")

_describing = Lock()  # filters of warnings are the process's


def check_fingerprint(tls: ssl.SSLObject, expected: str, host: str) -> None:
    """Compare the certificate with the pinned one; a mismatch fails even if an authority signed it."""
    actual = fingerprint_of(peer_der(tls))
    if actual != expected.lower():  # both are public
        facts = describe(tls).facts()
        raise CertificateError(host, "its fingerprint does not match", facts, actual, "fingerprint")


def fingerprint_of(der: bytes) -> str:
    """Return the SHA-256 digest of a certificate as 64 hexadecimal digits."""
    import hashlib

    return hashlib.sha256(der).hexdigest()


def peer_der(tls: ssl.SSLObject) -> bytes:
    """Return the server's certificate in DER."""
    return tls.getpeercert(binary_form=True) or b""


def describe(tls: ssl.SSLObject) -> Certificate:
    """Return the server's certificate for people to read, verified or not.

    Read from its octets, as the ssl module decodes none that it did not verify.
    """
    der = peer_der(tls)
    with _describing:
        return _described(der)


def _described(der: bytes) -> Certificate:
    from datetime import UTC
    from warnings import catch_warnings, simplefilter

    def load_library() -> Callable[[bytes], x509.Certificate]:
        from cryptography import x509  # slow to import

        return x509.load_der_x509_certificate

    unreadable = Certificate("an unreadable certificate", (), "unknown", None, fingerprint_of(der))
    with catch_warnings():  # for example about a serial number that is not positive
        simplefilter("ignore")
        load = _attempt(load_library)
        if load is None:  # the single-file program has no compiled library
            return unreadable._replace(subject="not shown without cryptography")
        certificate = _attempt(lambda: load(der))
        if certificate is None:
            return unreadable
        return Certificate(
            _attempt(lambda: _name(certificate.subject)) or unreadable.subject,
            _attempt(lambda: _names(certificate)) or (),
            _attempt(lambda: _name(certificate.issuer)) or unreadable.issuer,
            _attempt(lambda: certificate.not_valid_after_utc.timestamp())
            # Before cryptography 42:
            or _attempt(lambda: certificate.not_valid_after.replace(tzinfo=UTC).timestamp()),
            unreadable.fingerprint,
        )


def _attempt(read: Callable[[], T]) -> T | None:
    """Return what is read of a certificate, None if it cannot be.

    The certificate may be an attacker's, and cryptography of any age: it raises what it likes, even
    errors of Rust that are not an Exception.
    """
    try:
        return read()
    except Exception:
        return None
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            return None
        raise


def _name(name: x509.Name) -> str:
    return name.rfc4514_string() or "(no name)"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names of the subject. An entry that has no readable name is shown by its kind."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    shown = []
    for name in extension.value:
        if isinstance(name, x509.DirectoryName):
            shown.append(name.value.rfc4514_string())
        elif isinstance(name, x509.RegisteredID):
            shown.append(name.value.dotted_string)
        else:
            shown.append(f"({type(name).__name__})" if isinstance(name.value, bytes) else str(name.value))
    return tuple(shown)


def session_of(tls: ssl.SSLObject) -> TLSSession:
    """Return what ``caps -v`` and ``check`` show of a TLS session."""
    cipher, certificate = tls.cipher(), describe(tls)
    if certificate.expires is None:  # without cryptography, the ssl module still decodes what it has verified
        until = (tls.getpeercert() or {}).get("notAfter")
        certificate = certificate._replace(expires=ssl.cert_time_to_seconds(str(until)) if until else None)
    return TLSSession(tls.version() or "", cipher[0] if cipher else "", certificate)


def _day(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
