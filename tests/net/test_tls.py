"""Contexts, certificates and their errors, by handshakes in memory."""

from __future__ import annotations

import hashlib
import ssl
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from pop3fetch.errors import CertificateError, ConfigurationError, NotATLSPort, TLSError
from pop3fetch.net.tls import (
    TLSOptions,
    channel_binding,
    check_fingerprint,
    client_context,
    describe,
    fingerprint_of,
    handshake_error,
    peer_der,
    session_error,
    session_of,
    unverified_context,
)
from pop3fetch.status import Status
from tests.support.certificates import server_context as context_for

HOST = "mail.example.org"
YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = HOST) -> ssl.SSLObject:
    """Make a handshake in memory; return the client's end, or raise the client's error."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # turns: TLS 1.2 takes two of each
        with suppress(ssl.SSLWantReadError):
            here.do_handshake()
        with suppress(ssl.SSLError):  # the client's is the one that is looked at
            there.do_handshake()
    here.do_handshake()
    return here


def refusal(client: ssl.SSLContext, server: ssl.SSLContext, name: str = HOST) -> TLSError:
    with pytest.raises(ssl.SSLError) as raised:
        shake_hands(client, server, name)
    return handshake_error(name, raised.value, first=True)


@pytest.fixture
def trusting(ca_file: Path) -> ssl.SSLContext:
    return client_context(TLSOptions(ca_file=str(ca_file)))


# The context


def test_all_accounts_share_what_takes_long_to_make(ca_file: Path) -> None:
    options = TLSOptions(ca_file=str(ca_file))
    assert client_context(options) is client_context(TLSOptions(ca_file=str(ca_file)))
    assert client_context(options) is not client_context(TLSOptions())


@pytest.mark.parametrize("field", ["ca_file", "client_cert"])
def test_a_file_that_is_replaced_is_read_again(tmp_path: Path, field: str) -> None:
    file = tmp_path / "file.pem"
    made = []
    for _ in range(2):
        authority = trustme.CA()
        pair = authority.issue_cert("client.example").private_key_and_cert_chain_pem
        (authority.cert_pem if field == "ca_file" else pair).write_to_path(str(tmp_path / "new.pem"))
        (tmp_path / "new.pem").replace(file)
        made.append(client_context(TLSOptions(**{field: str(file)})))
        assert made[-1] is client_context(TLSOptions(**{field: str(file)}))
    assert made[0] is not made[1]
    if field == "ca_file":
        assert made[0].get_ca_certs() != made[1].get_ca_certs()


def test_the_context_verifies_chain_and_name_by_tls_1_2_at_least(ca_file: Path) -> None:
    for options in (TLSOptions(), TLSOptions(ca_file=str(ca_file))):
        context = client_context(options)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert not context.hostname_checks_common_name
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_ca_file_replaces_the_authorities_of_the_system(ca_file: Path) -> None:
    assert len(client_context(TLSOptions(ca_file=str(ca_file))).get_ca_certs()) == 1


def test_a_fingerprint_replaces_chain_and_name_and_nothing_else() -> None:
    context = client_context(TLSOptions(fingerprint="00" * 32))
    assert context.verify_mode is ssl.CERT_NONE
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def written(folder: Path, text: str) -> str:
    path = folder / "file.pem"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("text", ["", "no certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_ca_file_that_holds_no_certificate_is_a_mistake_in_the_configuration(
    text: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError, match=path) as raised:
        client_context(TLSOptions(ca_file=path))
    assert raised.value.exit_status is Status.CONFIGURATION


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigurationError, match=f"{path}: No such file"):
        client_context(TLSOptions(ca_file=path))
    with pytest.raises(ConfigurationError, match=f"{path}: No such file"):
        client_context(TLSOptions(client_cert=path))


def test_the_file_that_is_missing_is_the_one_that_is_named(ca_file: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigurationError, match=path):
        client_context(TLSOptions(ca_file=str(ca_file), client_cert=path))
    with pytest.raises(ConfigurationError, match=path):
        client_context(TLSOptions(ca_file=path, client_cert=str(ca_file)))
    with pytest.raises(ConfigurationError, match=path):
        client_context(TLSOptions(client_cert=str(ca_file), client_key=path))


def test_a_client_certificate_is_presented(authority: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    leaf = authority.issue_cert("alice@example.org")
    both, certificate, key = (str(tmp_path / name) for name in ("both.pem", "certificate.pem", "key.pem"))
    leaf.private_key_and_cert_chain_pem.write_to_path(both)
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    server = context_for(authority, HOST)
    server.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server)
    server.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the client learns of it in the handshake
    for options in (
        TLSOptions(str(ca_file), client_cert=both),
        TLSOptions(str(ca_file), client_cert=certificate, client_key=key),
    ):
        shake_hands(client_context(options), server)
    # Without one it comes to nothing: the server goes no further.
    with pytest.raises(ssl.SSLError):
        shake_hands(client_context(TLSOptions(str(ca_file))), server)


# What is refused


def test_a_certificate_that_verifies_is_taken(trusting: ssl.SSLContext, authority: trustme.CA) -> None:
    assert shake_hands(trusting, context_for(authority, HOST)).version() == "TLSv1.3"


def test_an_unknown_authority_is_refused(trusting: ssl.SSLContext, unknown_authority: trustme.CA) -> None:
    error = refusal(trusting, context_for(unknown_authority, HOST))
    assert isinstance(error, CertificateError)
    assert error.exit_status is Status.PROTOCOL
    assert "issuer" in error.reason
    assert str(error).startswith(f"the certificate of {HOST} does not verify: ")


@pytest.mark.parametrize("name", ["other.example.org", "example.org", "*.org", "127.0.0.1"])
def test_a_certificate_for_another_host_is_refused(
    name: str, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    error = refusal(trusting, context_for(authority, name))
    assert isinstance(error, CertificateError)
    assert HOST in error.reason


def test_an_expired_certificate_is_refused(trusting: ssl.SSLContext, authority: trustme.CA) -> None:
    long_ago = YESTERDAY - timedelta(days=300)
    error = refusal(trusting, context_for(authority, HOST, not_before=long_ago, not_after=YESTERDAY))
    assert isinstance(error, CertificateError)
    assert "expired" in error.reason


def test_a_certificate_of_the_future_is_refused(trusting: ssl.SSLContext, authority: trustme.CA) -> None:
    error = refusal(trusting, context_for(authority, HOST, not_before=TOMORROW))
    assert isinstance(error, CertificateError)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(
    version: ssl.TLSVersion, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    server = context_for(authority, HOST)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        server.minimum_version = version
        server.maximum_version = version
    server.set_ciphers("ALL:@SECLEVEL=0")
    for client in (trusting, unverified_context()):
        error = refusal(client, server)
        assert not isinstance(error, CertificateError)
        assert error.exit_status is Status.PROTOCOL
        assert "the server offers only versions before TLS 1.2" in error.reason


@pytest.mark.parametrize("first", [True, False])
def test_an_old_server_that_answers_in_its_own_version_is_named_as_such(first: bool) -> None:
    shown = str(handshake_error(HOST, failed("UNSUPPORTED_PROTOCOL"), first=first))
    assert "the server offers only versions before TLS 1.2" in shown
    assert "--tls" not in shown


# Fingerprints


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_the_certificate_with_the_fingerprint_is_taken(
    spelled: Callable[[str], str], unknown_authority: trustme.CA
) -> None:
    tls = shake_hands(unverified_context(), context_for(unknown_authority, "whatever"))
    check_fingerprint(tls, spelled(hashlib.sha256(peer_der(tls)).hexdigest()), HOST)


def test_another_fingerprint_is_refused_even_if_the_authority_is_trusted(
    trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    tls = shake_hands(trusting, context_for(authority, HOST))
    with pytest.raises(CertificateError) as raised:
        check_fingerprint(tls, "00" * 32, HOST)
    assert raised.value.fingerprint == hashlib.sha256(peer_der(tls)).hexdigest()
    assert raised.value.cause == "fingerprint"


# Descriptions


def test_a_certificate_is_described_the_same_verified_or_not(
    trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    server = context_for(authority, HOST, "192.0.2.1", "2001:db8::1", "*.example.org", not_after=TOMORROW)
    verified = describe(shake_hands(trusting, server))
    unverified = describe(shake_hands(unverified_context(), server))
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
    certificate = describe(shake_hands(unverified_context(), context_for(authority, *names)))
    assert len(certificate.names) == 100
    assert dict(certificate.facts())["names"].split() == names[:8]


def test_a_session_is_described(trusting: ssl.SSLContext, authority: trustme.CA) -> None:
    server = context_for(authority, HOST)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    session = session_of(shake_hands(trusting, server))
    assert session.version == "TLSv1.2"
    assert session.cipher.startswith("ECDHE-")
    assert session.certificate.names == (HOST,)


def test_without_a_library_the_expiry_of_a_verified_certificate_is_still_known(
    trusting: ssl.SSLContext, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    server = context_for(authority, HOST, not_after=TOMORROW)
    assert session_of(shake_hands(trusting, server)).certificate.expires == int(TOMORROW.timestamp())
    assert session_of(shake_hands(unverified_context(), server)).certificate.expires is None


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
    certificate = describe(shake_hands(lax(), self_signed(tmp_path, hashes.SHA256())))
    assert (certificate.subject, certificate.names) == ("CN=self", ())
    assert "names" not in dict(certificate.facts())


class Peer:
    """The ssl module's view of a session that no server of ours can be made to have."""

    def __init__(self, der: bytes, version: str = "TLSv1.3") -> None:
        self._der, self._version = der, version

    def getpeercert(self, binary_form: bool) -> bytes:
        assert binary_form
        return self._der

    def version(self) -> str:
        return self._version


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
    assert describe(shake_hands(lax(), context)).names == shown


def test_the_last_day_of_all_is_shown(tmp_path: Path) -> None:
    context = self_signed(tmp_path, hashes.SHA256(), expires=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert ("expires", "9999-12-31") in describe(shake_hands(lax(), context)).facts()


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


# Channel binding


def test_tls_1_2_is_bound_by_what_both_ends_finished_with(ca_file: Path, authority: trustme.CA) -> None:
    server = context_for(authority, HOST)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = shake_hands(client_context(TLSOptions(ca_file=str(ca_file))), server)
    assert channel_binding(tls) == ("tls-unique", tls.get_channel_binding("tls-unique"))


def test_tls_1_3_is_not_bound_by_what_was_made_for_older_ones(
    trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    """The ssl module gives ``tls-unique`` there too, which RFC 8446 appendix C.5 leaves undefined."""
    tls = shake_hands(trusting, context_for(authority, HOST))
    assert tls.get_channel_binding("tls-unique")
    assert (channel_binding(tls) or ("tls-exporter",))[0] == "tls-exporter"


class Session:
    """A session of an ssl module that knows of RFC 9266."""

    def __init__(self, version: str) -> None:
        self.version = lambda: version

    def get_channel_binding(self, kind: str) -> bytes:
        return b"octets of " + kind.encode()


@pytest.mark.parametrize(("version", "kind"), [("TLSv1.2", "tls-unique"), ("TLSv1.3", "tls-exporter")])
def test_the_version_of_tls_decides_what_a_channel_is_bound_by(
    version: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "CHANNEL_BINDING_TYPES", ["tls-unique", "tls-exporter"])
    bound = channel_binding(Session(version))  # type: ignore[arg-type]
    assert bound == (kind, b"octets of " + kind.encode())


# Errors of TLS


def failed(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL] it failed")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "hinted"),
    [
        ("WRONG_VERSION_NUMBER", True),
        ("RECORD_LAYER_FAILURE", True),
        ("PACKET_LENGTH_TOO_LONG", True),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", False),
    ],
)
def test_a_server_in_clear_text_gets_a_hint(reason: str, hinted: bool) -> None:
    error = handshake_error(HOST, failed(reason), first=True)
    assert reason.replace("_", " ").lower() in str(error)
    assert isinstance(error, NotATLSPort) == hinted
    shown = str(handshake_error(HOST, failed(reason), first=False))
    assert shown.startswith(f"TLS with {HOST} failed: ")
    assert "try" not in shown and reason.replace("_", " ").lower() in shown


def test_a_server_that_hangs_up_is_reported() -> None:
    assert "hung up" in str(handshake_error(HOST, ssl.SSLEOFError(8, "EOF occurred"), first=True))


def test_a_session_that_breaks_is_reported_as_such() -> None:
    shown = str(session_error(HOST, failed("WRONG_VERSION_NUMBER")))
    assert shown == f"TLS with {HOST} failed: wrong version number"
    shown = str(session_error(HOST, ssl.SSLError(1, "it broke")))
    assert shown == f"TLS with {HOST} failed: it broke"
