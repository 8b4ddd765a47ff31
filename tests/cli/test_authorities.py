"""Authorities of the system: single ones from the hashed folder, and the bundle only if one is missing."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from pop3fetch.net import tls
from tests.support.certificates import server_context
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an empty folder and an empty bundle the system's."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bundle.pem").touch()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "folder"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    monkeypatch.setattr(tls, "_contexts", {})
    monkeypatch.setattr(tls, "_stamps", {})


def put_in_folder(authority: trustme.CA, folder: Path) -> None:
    certificate = folder / f"{id(authority)}.pem"
    authority.cert_pem.write_to_path(str(certificate))
    subprocess.run(["openssl", "rehash", folder], check=True)


@pytest.fixture
def stat(here: Here, tmp_path: Path) -> Callable[..., Ended]:
    def run(server: ScriptedServer, *more: str | Path) -> Ended:
        account = ("-a", f"pop3s://alice@localhost:{server.port}", "--state-dir", tmp_path / "state")
        return here("stat", *account, *more, env=PASSWORD)

    return run


def test_an_authority_in_the_folder_needs_no_bundle(
    server: StartServer, authority: trustme.CA, tmp_path: Path, stat: Callable[..., Ended]
) -> None:
    put_in_folder(authority, tmp_path / "folder")
    running = server(Mailbox([]), tls="implicit", context=server_context(authority))
    assert stat(running).status == 0
    assert len(running.talks) == 1
    assert [context.cert_store_stats()["x509"] for context in tls._contexts.values()] == [1]


def test_an_authority_that_only_the_bundle_has_is_found_and_remembered(
    server: StartServer,
    authority: trustme.CA,
    unknown_authority: trustme.CA,
    tmp_path: Path,
    stat: Callable[..., Ended],
) -> None:
    put_in_folder(unknown_authority, tmp_path / "folder")
    authority.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    running = server(Mailbox([]), tls="implicit", context=server_context(authority))
    assert (stat(running).status, len(running.talks)) == (0, 2)
    assert (stat(running).status, len(running.talks)) == (0, 3)


def test_an_unknown_authority_is_refused_and_nothing_is_sent(
    server: StartServer,
    authority: trustme.CA,
    unknown_authority: trustme.CA,
    tmp_path: Path,
    stat: Callable[..., Ended],
) -> None:
    put_in_folder(authority, tmp_path / "folder")
    running = server(Mailbox([]), tls="implicit", context=server_context(unknown_authority))
    ended = stat(running)
    assert ended.status == 76
    assert b"--tls-fingerprint" in ended.err
    assert not running.commands
    assert not list((tmp_path / "state").glob("*.server"))


def test_another_name_is_refused_at_once(
    server: StartServer, authority: trustme.CA, tmp_path: Path, stat: Callable[..., Ended]
) -> None:
    put_in_folder(authority, tmp_path / "folder")
    context: ssl.SSLContext = server_context(authority, "elsewhere.example.org")
    running = server(Mailbox([]), tls="implicit", context=context)
    ended = stat(running)
    assert ended.status == 76
    assert b"elsewhere.example.org" in ended.err
    assert len(running.talks) == 2  # one of them fetches the certificate
    assert not running.commands


def test_a_file_of_authorities_replaces_the_folder(
    server: StartServer,
    authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    stat: Callable[..., Ended],
    unknown_authority: trustme.CA,
) -> None:
    put_in_folder(unknown_authority, tmp_path / "folder")
    refused = server(Mailbox([]), tls="implicit", context=server_context(unknown_authority))
    taken = server(Mailbox([]), tls="implicit", context=server_context(authority))
    assert stat(refused, "--ca-file", ca_file).status == 76
    assert stat(taken, "--ca-file", ca_file).status == 0
    assert len(taken.talks) == 1
