"""Certificates that no honest authority would sign."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Forgery:
    """The content of a certificate. ``names``: its DNS names; ``bits``: of an RSA key, 0 for a good key."""

    subject: str = "mail"
    names: Sequence[str] = ("localhost",)
    begins: timedelta = -DAY
    ends: timedelta = DAY
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH
    bits: int = 0
    is_authority: bool = False

    @cached_property
    def key(self) -> Key:
        if self.bits:
            return rsa.generate_private_key(65537, self.bits)
        return ec.generate_private_key(ec.SECP256R1())

    def signed_by(self, issuer: Signed | None = None) -> Signed:
        """Return the certificate, by ``issuer`` or by itself."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(self.subject))
            .issuer_name(issuer.certificate.subject if issuer else _name(self.subject))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + self.begins)
            .not_valid_after(now + self.ends)
            .add_extension(x509.BasicConstraints(ca=self.is_authority, path_length=None), critical=True)
        )
        if self.names:
            names = x509.SubjectAlternativeName([x509.DNSName(name) for name in self.names])
            builder = builder.add_extension(names, critical=False)
        if not self.is_authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([self.purpose]), critical=False)
        return Signed(self, builder.sign(issuer.forgery.key if issuer else self.key, hashes.SHA256()), issuer)


@dataclass(frozen=True)
class Signed:
    """A certificate with its key, and who signed it."""

    forgery: Forgery
    certificate: x509.Certificate
    issuer: Signed | None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def context(self) -> ssl.SSLContext:
        """Return the context of a server that shows this certificate, however weak."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        key = self.forgery.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = b"".join(certificate.pem for certificate in self._chain())
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + chain)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def trusted_in(self, folder: Path) -> Path:
        """Return a file for ``--ca-file`` with the authority of this certificate."""
        path = folder / "forged-ca.pem"
        path.write_bytes(list(self._chain())[-1].pem)
        return path

    def _chain(self) -> Sequence[Signed]:
        return [self, *(self.issuer._chain() if self.issuer else [])]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])


AUTHORITY = Forgery(subject="authority", names=(), is_authority=True)
