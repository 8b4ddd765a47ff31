"""Which certificates are taken: the same ones by every version of Python."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pop3fetch.account.oauth.http import _opener
from pop3fetch.importing.foreign import NEWER_TLS
from pop3fetch.tls_policy import MINIMUM_NAME, MINIMUM_VERSION, authorities_folder, verifying_context

HOST = "localhost"


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def issue(
    name: str,
    by: Issued | None = None,
    *,
    is_ca: bool,
    basic_constraints_are_critical: bool = True,
    has_key_usage: bool = False,
    has_key_identifier: bool = True,
) -> Issued:
    """Return a certificate for ``name``, self-signed if it is by none."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=basic_constraints_are_critical)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if has_key_usage:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    if has_key_identifier:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def is_taken(server: Issued, trusted: Issued, folder: Path) -> bool:
    """Return whether a client that trusts one certificate takes the server's."""
    key = server.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(key + server.pem)
    (folder / "ca.pem").write_bytes(trusted.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = verifying_context(str(folder / "ca.pem")).wrap_bio(to_client, to_server, server_hostname=HOST)
    there = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for end in (client, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return client.version() is not None


AUTHORITIES = {
    "as openssl req -x509 makes it": issue("CA", is_ca=True),
    "with a key usage": issue("CA", is_ca=True, has_key_usage=True),
    "basic constraints not critical": issue("CA", is_ca=True, basic_constraints_are_critical=False),
}


@pytest.mark.parametrize("authority", AUTHORITIES.values(), ids=AUTHORITIES)
@pytest.mark.parametrize("has_key_identifier", [True, False])
def test_what_openssl_takes_is_taken(tmp_path: Path, authority: Issued, has_key_identifier: bool) -> None:
    server = issue(HOST, authority, is_ca=False, has_key_identifier=has_key_identifier)
    assert is_taken(server, authority, tmp_path)


def test_a_certificate_may_be_trusted_as_it_is(tmp_path: Path) -> None:
    own = issue(HOST, is_ca=False)
    assert is_taken(own, own, tmp_path)
    issued = issue(HOST, AUTHORITIES["with a key usage"], is_ca=False)
    assert is_taken(issued, issued, tmp_path)


@pytest.mark.parametrize("is_strict", [True, False])
@pytest.mark.parametrize("is_partial", [True, False])
def test_the_flags_do_not_depend_on_the_defaults_of_python(
    monkeypatch: pytest.MonkeyPatch, is_strict: bool, is_partial: bool
) -> None:
    expected = verifying_context().verify_flags
    default = ssl.create_default_context()
    for flag, is_set in ((ssl.VERIFY_X509_STRICT, is_strict), (ssl.VERIFY_X509_PARTIAL_CHAIN, is_partial)):
        default.verify_flags = default.verify_flags | flag if is_set else default.verify_flags & ~flag
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: default)
    assert verifying_context().verify_flags == expected
    assert not expected & ssl.VERIFY_X509_STRICT
    assert expected & ssl.VERIFY_X509_PARTIAL_CHAIN


def test_another_authority_and_another_name_are_refused(tmp_path: Path) -> None:
    authority, other = (issue("CA", is_ca=True) for _ in range(2))
    assert not is_taken(issue(HOST, other, is_ca=False), authority, tmp_path)
    assert not is_taken(issue("elsewhere.example.org", authority, is_ca=False), authority, tmp_path)
    assert not is_taken(issue("elsewhere.example.org", is_ca=False), authority, tmp_path)


def test_requests_for_tokens_are_verified_in_the_same_way() -> None:
    contexts = [getattr(handler, "_context", None) for handler in vars(_opener("https"))["handlers"]]
    [context] = [context for context in contexts if context]
    assert context.verify_flags == verifying_context().verify_flags
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("names", "is_hashed"),
    [
        (["3513523f.0", "DigiCert.pem"], True),
        (["ca-certificates.crt"], False),
        (["3513523F.0", "3513523f", "3513523f.pem", "x3513523f.0"], False),
        ([], False),
    ],
)
def test_a_folder_of_authorities_has_hashed_names(
    names: list[str], is_hashed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    for name in names:
        (tmp_path / name).touch()
    assert authorities_folder() == (str(tmp_path) if is_hashed else None)


def test_a_folder_of_authorities_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    assert authorities_folder() is None


def test_no_version_before_tls_1_2_is_spoken() -> None:
    assert verifying_context().minimum_version == MINIMUM_VERSION == ssl.TLSVersion.TLSv1_2


def test_all_texts_name_the_minimum_version() -> None:
    assert MINIMUM_VERSION.name.replace("v", " ").replace("_", ".") == MINIMUM_NAME
    assert f"pop3fetch uses {MINIMUM_NAME} or newer" == NEWER_TLS
