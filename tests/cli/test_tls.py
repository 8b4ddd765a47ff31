"""TLS at the command line: certificates, fingerprints, wrong ports."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.support import certificates
from tests.support.certificates import Identity
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer
from tests.support.sessions import SOON

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
BEFORE_TLS = {b"CAPA", b"STLS"}
TODAY = datetime.now(UTC)
WAYS = ["implicit", "starttls", "auto"]

Wrong = Callable[[trustme.CA, trustme.CA], Identity]


def by_a_stranger(authority: trustme.CA, stranger: trustme.CA) -> Identity:
    return certificates.identity(stranger, not_after=datetime(2040, 5, 17, tzinfo=UTC))


def expired(authority: trustme.CA, stranger: trustme.CA) -> Identity:
    return certificates.identity(
        authority,
        not_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_after=datetime(2021, 5, 17, tzinfo=UTC),
    )


def for_another(authority: trustme.CA, stranger: trustme.CA) -> Identity:
    return certificates.identity(authority, "mail.example.org", "pop.example.org")


WRONG: dict[Wrong, str] = {
    by_a_stranger: "its authority is not trusted (unable to get local issuer certificate)",
    expired: "certificate has expired",
    for_another: "IP address mismatch, certificate is not valid for '127.0.0.1'",
}
ADVICE: dict[Wrong, str] = {
    by_a_stranger: "or add its authority to /",
    expired: "only the server's operator can renew it",
    for_another: "use a host name that the certificate has",
}
wrong_certificates = pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
ways = pytest.mark.parametrize("mode", WAYS)


@pytest.fixture
def serve(server: StartServer) -> Callable[[Identity, str], ScriptedServer]:
    """Start a server with an identity, whose TLS begins as a mode wants it."""

    def start(identity: Identity, mode: str) -> ScriptedServer:
        mailbox = Mailbox([], capabilities=(*CAPABILITIES, b"STLS"))
        return server(mailbox, tls="implicit" if mode == "implicit" else None, context=identity.context)

    return start


Serve = Callable[[Identity, str], ScriptedServer]


def arguments(server: ScriptedServer, mode: str) -> list[str]:
    return ["-H", server.host, "-p", str(server.port), "-u", "alice", "--tls", mode]


def error(ended: Ended) -> str:
    (line,) = ended.err.decode().splitlines()
    return line.removeprefix("pop3fetch: ")


def verbs(server: ScriptedServer) -> set[bytes]:
    """Return the commands that came on any connection."""
    return {line.split()[0] for line in server.commands}


# -- certificates that do not verify ---------------------------------------------------------------


@ways
@wrong_certificates
def test_a_wrong_certificate_is_shown_and_nothing_is_sent(
    here: Here,
    serve: Serve,
    authority: trustme.CA,
    unknown_authority: trustme.CA,
    ca_file: Path,
    wrong: Wrong,
    mode: str,
) -> None:
    server = serve(identity := wrong(authority, unknown_authority), mode)
    ended = here("stat", *arguments(server, mode), "--ca-file", ca_file, env=PASSWORD)
    assert (ended.status, ended.out) == (76, b"")
    assert f"the certificate of 127.0.0.1 does not verify: {WRONG[wrong]} [" in error(ended)
    assert re.search(rf"--tls-fingerprint {identity.fingerprint}\b", error(ended))
    assert ADVICE[wrong] in error(ended)
    assert "--ca-file" not in error(ended), "it was given"
    assert verbs(server) <= BEFORE_TLS


@ways
def test_the_certificate_of_the_server_may_be_the_authority(
    here: Here, serve: Serve, unknown_authority: trustme.CA, tmp_path: Path, mode: str
) -> None:
    leaf, other = (unknown_authority.issue_cert(*certificates.LOOPBACK) for _ in range(2))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    server = serve(Identity(context, ""), mode)
    for given, status in ((leaf, 0), (other, 76)):
        trusted = tmp_path / f"{status}.pem"
        given.cert_chain_pems[0].write_to_path(str(trusted))
        ended = here("stat", *arguments(server, mode), "--ca-file", trusted, env=PASSWORD)
        assert ended.status == status


@ways
def test_the_error_describes_the_certificate(
    here: Here, serve: Serve, authority: trustme.CA, unknown_authority: trustme.CA, ca_file: Path, mode: str
) -> None:
    server = serve(identity := by_a_stranger(authority, unknown_authority), mode)
    ended = here("stat", *arguments(server, mode), "--ca-file", ca_file, env=PASSWORD)
    subject, names, issuer, expiry, fingerprint = re.search(  # type: ignore[union-attr]
        r"\[subject (.*), names (.*), issuer (.*), expires (.*)\]; .*--tls-fingerprint ([0-9a-f]{64})",
        error(ended),
    ).groups()
    assert "Testing cert" in subject
    assert names == "localhost 127.0.0.1 ::1"
    assert "trustme" in issuer and "Testing CA" in issuer
    assert expiry == "2040-05-17"
    assert fingerprint == identity.fingerprint


@ways
@wrong_certificates
def test_the_fingerprint_is_verified_instead_of_the_chain(
    here: Here, serve: Serve, authority: trustme.CA, unknown_authority: trustme.CA, wrong: Wrong, mode: str
) -> None:
    server = serve(identity := wrong(authority, unknown_authority), mode)
    colons = ":".join(re.findall("..", identity.fingerprint.upper()))
    for spelled in (identity.fingerprint, colons):
        ended = here("stat", *arguments(server, mode), "--tls-fingerprint", spelled, env=PASSWORD)
        assert (ended.status, ended.out, ended.err) == (0, b"0\t0\n", b"")


def test_the_option_that_the_error_names_works(
    here: Here, serve: Serve, authority: trustme.CA, unknown_authority: trustme.CA
) -> None:
    server = serve(by_a_stranger(authority, unknown_authority), "implicit")
    refused = here("stat", *arguments(server, "implicit"), env=PASSWORD)
    option = re.search(r"--tls-fingerprint [0-9a-f]+", error(refused))
    assert option is not None
    assert here("stat", *arguments(server, "implicit"), *option[0].split(), env=PASSWORD).status == 0


@ways
def test_another_fingerprint_is_refused_even_if_the_certificate_verifies(
    here: Here, serve: Serve, authority: trustme.CA, ca_file: Path, mode: str
) -> None:
    server = serve(identity := certificates.identity(authority), mode)
    pinned = ["--tls-fingerprint", "ab" * 32, "--ca-file", str(ca_file)]
    ended = here("stat", *arguments(server, mode), *pinned, env=PASSWORD)
    assert ended.status == 76
    assert "its fingerprint does not match" in error(ended)
    assert error(ended).endswith(
        "if the operator confirms this new certificate, trust exactly this certificate with "
        f"--tls-fingerprint {identity.fingerprint}"
    )
    assert verbs(server) <= BEFORE_TLS


@pytest.mark.parametrize("given", ["abc", "g" * 64, "ab" * 20])
def test_an_invalid_fingerprint_is_a_usage_error(here: Here, given: str) -> None:
    ended = here("stat", "-H", "localhost", "-u", "alice", "--tls-fingerprint", given)
    assert ended.status == 2
    assert error(ended).startswith("--tls-fingerprint must be a SHA-256 fingerprint")


# -- another name, other ciphers -------------------------------------------------------------------


@ways
def test_the_certificate_must_be_for_the_name_that_is_given(
    here: Here, serve: Serve, authority: trustme.CA, ca_file: Path, mode: str
) -> None:
    server = serve(certificates.identity(authority, "mail.example.org"), mode)
    options = [*arguments(server, mode), "--ca-file", str(ca_file)]
    for name in ("mail.example.org", "MAIL.example.org"):
        ended = here("stat", *options, "--tls-name", name, env=PASSWORD)
        assert (ended.status, ended.out, ended.err) == (0, b"0\t0\n", b"")
    for name in ("pop.example.org", "127.0.0.1"):
        ended = here("stat", *options, "--tls-name", name, env=PASSWORD)
        assert ended.status == 76
        assert f"certificate is not valid for '{name}'" in error(ended)


def test_the_tls_name_is_sent_to_the_server(
    here: Here, server: StartServer, authority: trustme.CA, ca_file: Path
) -> None:
    named = certificates.identity(authority, "mail.example.org").context
    asked: list[str | None] = []
    named.sni_callback = lambda _, name, __: asked.append(name)
    running = server(Mailbox([]), tls="implicit", context=named)
    options = ("--ca-file", ca_file, "--tls-name", "mail.example.org")
    assert here("stat", *arguments(running, "implicit"), *options, env=PASSWORD).status == 0
    assert asked == ["mail.example.org"]


def old_server(server: StartServer, authority: trustme.CA, ciphers: str) -> ScriptedServer:
    context = certificates.server_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    return server(Mailbox([]), tls="implicit", context=context)


OLD = "ECDHE-ECDSA-AES128-SHA"


@pytest.mark.skipif(
    any(cipher["name"] == OLD for cipher in ssl.create_default_context().get_ciphers()),
    reason="the system's list for Python has old ciphers",
)
def test_old_ciphers_must_be_asked_for(
    here: Here, server: StartServer, authority: trustme.CA, ca_file: Path
) -> None:
    running = old_server(server, authority, OLD)
    options = (*arguments(running, "implicit"), "--ca-file", str(ca_file))
    refused = here("stat", *options, env=PASSWORD)
    assert refused.status == 76
    option = re.search(r"--tls-ciphers \w+", error(refused))
    assert option is not None
    ended = here("stat", *options, *option[0].split(), env=PASSWORD)
    assert (ended.status, ended.out, ended.err) == (0, b"0\t0\n", b"")
    ended = here("stat", *options, "--tls-ciphers", "ECDHE-ECDSA-AES256-SHA", env=PASSWORD)
    assert (ended.status, "--tls-ciphers" in error(ended)) == (76, False)


def test_ciphers_that_were_tried_are_not_advised_again(
    here: Here, server: StartServer, authority: trustme.CA, ca_file: Path
) -> None:
    running = old_server(server, authority, "AECDH-AES128-SHA:@SECLEVEL=0")
    options = (*arguments(running, "implicit"), "--ca-file", str(ca_file), "--tls-ciphers")
    ended = here("stat", *options, "DEFAULT", env=PASSWORD)
    assert error(ended).endswith("; it may be a very old server; try --tls-ciphers DEFAULT:@SECLEVEL=1")
    ended = here("stat", *options, "DEFAULT:@SECLEVEL=1", env=PASSWORD)
    assert (ended.status, "--tls-ciphers" in error(ended)) == (76, False)


def test_old_ciphers_do_not_skip_the_check_of_the_certificate(
    here: Here, server: StartServer, unknown_authority: trustme.CA, ca_file: Path
) -> None:
    running = old_server(server, unknown_authority, "ECDHE-ECDSA-AES128-SHA")
    options = (*arguments(running, "implicit"), "--ca-file", str(ca_file), "--tls-ciphers", "DEFAULT")
    ended = here("stat", *options, env=PASSWORD)
    assert ended.status == 76
    assert "does not verify" in error(ended)
    assert "--tls-fingerprint " in error(ended), "the refused certificate is described with these ciphers"


def test_a_server_without_a_certificate_is_refused(
    here: Here, server: StartServer, authority: trustme.CA, ca_file: Path
) -> None:
    running = old_server(server, authority, "AECDH-AES128-SHA:@SECLEVEL=0")
    options = (*arguments(running, "implicit"), "--ca-file", str(ca_file))
    for ciphers in ("ALL:@SECLEVEL=0", "DEFAULT:AECDH-AES128-SHA:@SECLEVEL=0"):
        assert here("stat", *options, "--tls-ciphers", ciphers, env=PASSWORD).status == 76
    assert here("stat", *options, "--tls-ciphers", "aNULL", env=PASSWORD).status == 2


# -- wrong ports -----------------------------------------------------------------------------------


def test_tls_on_a_plain_port_is_recognised(here: Here, server: StartServer) -> None:
    running = server(Mailbox([]))
    ended = here("stat", *arguments(running, "implicit"), env=PASSWORD)
    assert ended.status == 76
    assert error(ended).endswith("not seem to speak TLS (wrong version number); try --tls starttls")


@pytest.mark.parametrize("mode", ["starttls", "auto", "off"])
def test_clear_text_on_a_tls_port_is_recognised(here: Here, server: StartServer, mode: str) -> None:
    running = server(Mailbox([]), tls="implicit")
    ended = here("stat", *arguments(running, mode), "--timeout", str(SOON), env=PASSWORD)
    assert ended.status == 75
    assert error(ended).endswith("; if it waits for TLS, use --tls implicit")


def test_a_server_without_stls_is_reported_with_the_alternative(here: Here, server: StartServer) -> None:
    running = server(Mailbox([]))
    ended = here("stat", *arguments(running, "starttls"), env=PASSWORD)
    assert ended.status == 76
    assert "cannot start TLS" in error(ended) and "try --tls implicit (port 995)" in error(ended)
    assert verbs(running) == {b"STLS"}


# -- the client's own certificate ------------------------------------------------------------------


@pytest.fixture
def demanding(authority: trustme.CA, unknown_authority: trustme.CA) -> Identity:
    """Return a server that wants a client certificate by ``unknown_authority``."""
    identity = certificates.identity(authority)
    identity.context.verify_mode = ssl.CERT_REQUIRED
    unknown_authority.configure_trust(identity.context)
    return identity


@pytest.mark.parametrize("in_one_file", [True, False])
@ways
def test_a_client_certificate_is_shown(
    here: Here,
    serve: Serve,
    demanding: Identity,
    unknown_authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    in_one_file: bool,
    mode: str,
) -> None:
    leaf = unknown_authority.issue_cert("alice@example.org")
    certificate, key = tmp_path / "alice.pem", tmp_path / "alice.key"
    own = ["--client-cert", str(certificate)]
    if in_one_file:
        leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    else:
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        own += ["--client-key", str(key)]
    server = serve(demanding, mode)
    ended = here("stat", *arguments(server, mode), "--ca-file", ca_file, *own, env=PASSWORD)
    assert (ended.status, ended.err) == (0, b"")


def test_a_missing_client_certificate_is_reported(
    here: Here, serve: Serve, demanding: Identity, ca_file: Path
) -> None:
    server = serve(demanding, "implicit")
    ended = here("stat", *arguments(server, "implicit"), "--ca-file", ca_file, env=PASSWORD)
    assert ended.status == 76
    assert error(ended).endswith("the server requires a client certificate; give one with --client-cert")


@pytest.mark.parametrize("option", ["--ca-file", "--client-cert"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_a_file_that_cannot_be_used_is_named_before_anything_is_connected(
    here: Here, serve: Serve, authority: trustme.CA, tmp_path: Path, option: str, content: bytes | None
) -> None:
    server = serve(certificates.identity(authority), "implicit")
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_bytes(content)
    ended = here("stat", *arguments(server, "implicit"), option, file, env=PASSWORD)
    assert ended.status == 78
    assert error(ended).startswith(("CA file ", "client certificate "))
    assert f" {file}: " in error(ended)
    assert not any(server.received)


def test_a_key_with_a_pass_phrase_is_an_error_and_not_a_question(
    here: Here, authority: trustme.CA, tmp_path: Path, server: StartServer
) -> None:
    """OpenSSL would ask for it on the terminal by itself, in the middle of all that is shown there."""
    leaf = authority.issue_cert("alice@example.org")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    sealed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a pass phrase"),
    )
    (tmp_path / "alice.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    (tmp_path / "key.pem").write_bytes(sealed)
    running = server(Mailbox([]))
    options = ["--client-cert", str(tmp_path / "alice.pem"), "--client-key", str(tmp_path / "key.pem")]
    ended = here("stat", *arguments(running, "implicit"), *options, env=PASSWORD)
    assert ended.status == 78
    assert "alice.pem and key " in error(ended)
    assert "the key has a pass phrase" in error(ended)
    assert not any(running.received)


def test_of_two_files_the_wrong_one_is_named(
    here: Here, authority: trustme.CA, tmp_path: Path, server: StartServer
) -> None:
    certificate, missing = tmp_path / "alice.pem", tmp_path / "no-such-ca.pem"
    authority.issue_cert("alice@example.org").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    options = ["--client-cert", str(certificate), "--ca-file", str(missing)]
    ended = here("stat", *arguments(server(Mailbox([])), "implicit"), *options, env=PASSWORD)
    assert ended.status == 78
    assert error(ended) == f"CA file {missing}: No such file or directory"


# -- what is shown of TLS that works ---------------------------------------------------------------


@ways
@pytest.mark.parametrize("pinned", [True, False])
def test_caps_shows_the_session_and_the_certificate(
    here: Here, serve: Serve, authority: trustme.CA, ca_file: Path, mode: str, pinned: bool
) -> None:
    end = TODAY.replace(microsecond=0) + timedelta(days=41, hours=12)
    server = serve(identity := certificates.identity(authority, not_after=end), mode)
    trust = ["--tls-fingerprint", identity.fingerprint] if pinned else ["--ca-file", str(ca_file)]
    ended = here("caps", "-v", *arguments(server, mode), *trust, env=PASSWORD)
    assert ended.status == 0
    lines = [line.removeprefix("pop3fetch: ") for line in ended.err.decode().splitlines()]
    assert "TLS: TLSv1.3, TLS_AES_256_GCM_SHA384" in lines
    assert any(re.fullmatch(r"certificate: .*Testing cert.*", line) for line in lines)
    assert "names: localhost 127.0.0.1 ::1" in lines
    assert any(re.fullmatch(r"issuer: .*Testing CA.*", line) for line in lines)
    assert f"expires: {end:%Y-%m-%d} (in 41 days)" in lines
    assert f"SHA-256: {identity.fingerprint}" in lines


def test_caps_shows_how_long_a_pinned_certificate_has_been_expired(
    here: Here, serve: Serve, authority: trustme.CA, unknown_authority: trustme.CA
) -> None:
    server = serve(identity := expired(authority, unknown_authority), "implicit")
    pinned = ["--tls-fingerprint", identity.fingerprint]
    ended = here("caps", "-v", *arguments(server, "implicit"), *pinned, env=PASSWORD)
    assert re.search(r"expires: 2021-05-17 \(\d+ days ago\)", ended.err.decode())
