"""Fingerprints and descriptions of certificates, by handshakes in memory."""

from __future__ import annotations

import hashlib
import ssl
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from pop3fetch.errors import CertificateError
from pop3fetch.net.certificate import check_fingerprint, describe, fingerprint_of, peer_der, session_of
from pop3fetch.net.tls import TLSOptions, client_context, unverified_context
from tests.support.certificates import server_context as context_for
from tests.support.certificates import shake_hands

HOST = "mail.example.org"
YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))


@pytest.fixture
def trusting(ca_file: Path) -> ssl.SSLContext:
    return client_context(TLSOptions(ca_file=str(ca_file)))


# Fingerprints


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_the_certificate_with_the_fingerprint_is_taken(
    spelled: Callable[[str], str], unknown_authority: trustme.CA
) -> None:
    tls = shake_hands(unverified_context(), context_for(unknown_authority, "whatever"), HOST)
    check_fingerprint(tls, spelled(hashlib.sha256(peer_der(tls)).hexdigest()), HOST)


def test_another_fingerprint_is_refused_even_if_the_authority_is_trusted(
    trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    tls = shake_hands(trusting, context_for(authority, HOST), HOST)
    with pytest.raises(CertificateError) as raised:
        check_fingerprint(tls, "00" * 32, HOST)
    assert raised.value.fingerprint == hashlib.sha256(peer_der(tls)).hexdigest()
    assert raised.value.cause == "fingerprint"


# Descriptions


def test_a_certificate_is_described_the_same_verified_or_not(
    trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    server = context_for(authority, HOST, "192.0.2.1", "2001:db8::1", "*.example.org", not_after=TOMORROW)
    verified = describe(shake_hands(trusting, server, HOST))
    unverified = describe(shake_hands(unverified_context(), server, HOST))
    assert verified == unverified
    assert verified.names == (HOST, "192.0.2.1", "2001:db8::1", "*.example.org")
    assert verified.expires == int(TOMORROW.timestamp())
    assert "trustme" in verified.issuer
    assert verified.facts() == (
        ("subject", verified.subject),
        ("names", f"{HOST} 192.0.2.1 2001:db8::1 *.example.org"),
        ("issuer", verified.issuer),
        ("expires", f"{TOMORROW:%Y-%m-%d}"),
    )


def test_a_certificate_with_many_names_is_described_by_some(authority: trustme.CA) -> None:
    names = [f"mail{number}.example.org" for number in range(100)]
    certificate = describe(shake_hands(unverified_context(), context_for(authority, *names), HOST))
    assert len(certificate.names) == 100
    assert dict(certificate.facts())["names"].split() == names[:8]


def test_a_session_is_described(trusting: ssl.SSLContext, authority: trustme.CA) -> None:
    server = context_for(authority, HOST)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    session = session_of(shake_hands(trusting, server, HOST))
    assert session.version == "TLSv1.2"
    assert session.cipher.startswith("ECDHE-")
    assert session.certificate.names == (HOST,)


def test_without_a_library_the_expiry_of_a_verified_certificate_is_still_known(
    trusting: ssl.SSLContext, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    server = context_for(authority, HOST, not_after=TOMORROW)
    assert session_of(shake_hands(trusting, server, HOST)).certificate.expires == int(TOMORROW.timestamp())
    assert session_of(shake_hands(unverified_context(), server, HOST)).certificate.expires is None


def self_signed(
    folder: Path,
    algorithm: hashes.HashAlgorithm | None,
    subject: str = "self",
    *,
    san: x509.ExtensionType | None = None,
    expires: datetime = TOMORROW,
) -> ssl.SSLContext:
    """Return a server's context whose certificate is signed with ``algorithm``; ``san``: its names."""
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm else ed25519.Ed25519PrivateKey.generate()
    certificate = signed(key, algorithm, subject, san, expires)
    pem = serialization.Encoding.PEM
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(path)
    return context


def signed(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.HashAlgorithm | None,
    subject: str = "self",
    san: x509.ExtensionType | None = None,
    expires: datetime = TOMORROW,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, YESTERDAY, expires)
    if san is not None:
        builder = builder.add_extension(san, critical=False)
    return builder.sign(key, algorithm)  # type: ignore[arg-type]


def lax() -> ssl.SSLContext:
    context = unverified_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_a_certificate_without_names_is_described(tmp_path: Path) -> None:
    certificate = describe(shake_hands(lax(), self_signed(tmp_path, hashes.SHA256()), HOST))
    assert (certificate.subject, certificate.names) == ("CN=self", ())
    assert "names" not in dict(certificate.facts())


class Peer:
    """The ssl module's view of a session that no server of ours can be made to have."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool) -> bytes:
        assert binary_form
        return self._der


def test_what_cannot_be_read_has_a_fingerprint_all_the_same() -> None:
    certificate = describe(Peer(b"rubbish"))  # type: ignore[arg-type]
    assert certificate.fingerprint == fingerprint_of(b"rubbish") == hashlib.sha256(b"rubbish").hexdigest()
    assert "unreadable" in str(certificate)


ODD_NAMES = {
    "ediPartyName": bytes.fromhex("3009a507a1050c0378797a"),
    "x400Address": bytes.fromhex("3004a3023000"),
    "no sequence": b"\x05\x00",
    "broken": b"\x30\x84\xff\xff\xff\xff",
    "an address of three octets": bytes.fromhex("30058703010203"),
    "a name in Latin-1": b"\x30\x04\x82\x02\xe9\xe9",
}


@pytest.mark.parametrize("san", ODD_NAMES.values(), ids=ODD_NAMES)
def test_names_that_cannot_be_read_are_left_out(san: bytes) -> None:
    names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), san)
    made = signed(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), san=names)
    der = made.public_bytes(serialization.Encoding.DER)
    certificate = describe(Peer(der))  # type: ignore[arg-type]
    assert certificate.fingerprint == fingerprint_of(der)
    assert certificate.names == ()
    assert (certificate.subject, certificate.expires) == ("CN=self", int(TOMORROW.timestamp()))


def test_names_of_every_kind_are_shown(tmp_path: Path) -> None:
    names: list[x509.GeneralName] = [
        x509.DNSName("mail.example.org"),
        x509.RFC822Name("post@example.org"),
        x509.UniformResourceIdentifier("pop://mail.example.org"),
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    ]
    context = self_signed(tmp_path, hashes.SHA256(), san=x509.SubjectAlternativeName(names))
    shown = (
        "mail.example.org",
        "post@example.org",
        "pop://mail.example.org",
        "CN=mail",
        "1.2.3",
        "(OtherName)",
    )
    assert describe(shake_hands(lax(), context, HOST)).names == shown


def test_the_last_day_of_all_is_shown(tmp_path: Path) -> None:
    context = self_signed(tmp_path, hashes.SHA256(), expires=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert ("expires", "9999-12-31") in describe(shake_hands(lax(), context, HOST)).facts()


class OldName:
    def rfc4514_string(self) -> str:
        return "CN=old"


class OldCertificate:
    """What cryptography 38 makes of a certificate, as far as it is asked."""

    subject = issuer = OldName()
    not_valid_after = datetime(2030, 1, 1)


class PanicException(BaseException):
    """How an error of Rust comes to Python."""


def loading(monkeypatch: pytest.MonkeyPatch, load: Callable[[bytes], object]) -> None:
    monkeypatch.setattr(x509, "load_der_x509_certificate", load)


def test_an_old_library_shows_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    loading(monkeypatch, lambda der: OldCertificate())
    certificate = describe(Peer(b"octets"))  # type: ignore[arg-type]
    assert (certificate.subject, certificate.names, certificate.issuer) == ("CN=old", (), "CN=old")
    assert ("expires", "2030-01-01") in certificate.facts()


@pytest.mark.parametrize("error", [TypeError, AttributeError, RecursionError, PanicException])
def test_whatever_the_library_raises_the_fingerprint_is_shown(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(der: bytes) -> object:
        raise error

    loading(monkeypatch, fail)
    certificate = describe(Peer(b"octets"))  # type: ignore[arg-type]
    assert certificate.fingerprint == fingerprint_of(b"octets")
    assert "unreadable" in str(certificate)


def test_an_interrupt_is_not_taken_for_an_unreadable_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(der: bytes) -> object:
        raise KeyboardInterrupt

    loading(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        describe(Peer(b"octets"))  # type: ignore[arg-type]


def test_without_a_library_for_certificates_a_fingerprint_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    certificate = describe(Peer(b"octets"))  # type: ignore[arg-type]
    assert certificate.fingerprint == fingerprint_of(b"octets")
    assert "not shown without cryptography" in str(certificate)
