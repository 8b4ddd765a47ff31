"""Contexts and the errors of handshakes, by handshakes in memory."""

from __future__ import annotations

import ssl
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from pop3fetch.errors import CertificateError, ConfigurationError, NotATLSPort, TLSError
from pop3fetch.net.tls import (
    TLSOptions,
    channel_binding,
    client_context,
    handshake_error,
    session_error,
    unverified_context,
)
from pop3fetch.status import Status
from tests.support.certificates import server_context as context_for
from tests.support.certificates import shake_hands

HOST = "mail.example.org"
YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))


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
        shake_hands(client_context(options), server, HOST)
    # Without one it comes to nothing: the server goes no further.
    with pytest.raises(ssl.SSLError):
        shake_hands(client_context(TLSOptions(str(ca_file))), server, HOST)


# What is refused


def test_a_certificate_that_verifies_is_taken(trusting: ssl.SSLContext, authority: trustme.CA) -> None:
    assert shake_hands(trusting, context_for(authority, HOST), HOST).version() == "TLSv1.3"


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


# Channel binding


def test_tls_1_2_is_bound_by_what_both_ends_finished_with(ca_file: Path, authority: trustme.CA) -> None:
    server = context_for(authority, HOST)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = shake_hands(client_context(TLSOptions(ca_file=str(ca_file))), server, HOST)
    assert channel_binding(tls) == ("tls-unique", tls.get_channel_binding("tls-unique"))


def test_tls_1_3_is_not_bound_by_what_was_made_for_older_ones(
    trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    """The ssl module gives ``tls-unique`` there too, which RFC 8446 appendix C.5 leaves undefined."""
    tls = shake_hands(trusting, context_for(authority, HOST), HOST)
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
