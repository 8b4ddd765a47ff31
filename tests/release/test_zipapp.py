"""The single-file program, run without any installed library."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch import __version__
from release import zipapp
from tests.support.command import PATIENCE, Ended, Run
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer
from tests.support.served_mail import LETTERS

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
ALONE = ("-I", "-S")  # no installed library, no variable and no folder to import from


@dataclass(frozen=True, slots=True)
class Alone:
    """Runs the single file with nothing but the standard library around it."""

    file: Path
    run: Run

    def __call__(self, *arguments: str | Path) -> Ended:
        ended = subprocess.run(
            [sys.executable, *ALONE, self.file, *arguments],
            cwd=self.run.folder,
            env={**self.run.environment, **PASSWORD},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the single file."""
    file = tmp_path_factory.mktemp("zipapp") / "pop3fetch.pyz"
    zipapp.build(file)
    return file


@pytest.fixture
def alone(file: Path, run: Run) -> Alone:
    """Run the single file."""
    return Alone(file, run)


def test_its_keyring_can_be_imported(alone: Alone, file: Path) -> None:
    ended = alone("check", "-a", "pop3://alice@127.0.0.1:1", "--password-command", "false")
    assert b"ModuleNotFoundError" not in ended.out
    words = f"import sys; sys.path.insert(0, {str(file)!r}); import keyring, keyring.backends.SecretService"
    imported = subprocess.run(
        [sys.executable, *ALONE, "-W", "error", "-c", words], capture_output=True, timeout=PATIENCE
    )
    assert (imported.returncode, imported.stderr) == (0, b"")


def test_it_prints_its_version(alone: Alone) -> None:
    assert alone("--version") == Ended(0, f"pop3fetch {__version__}\n".encode(), b"")


def test_it_lists_and_fetches(alone: Alone, server: StartServer, maildir: Path, ca_file: Path) -> None:
    url = server(Mailbox(LETTERS), tls="implicit").url()
    listed = alone("list", "-l", "--json", "-a", url, "--ca-file", ca_file)
    subjects = [json.loads(line)["subject"] for line in listed.out.splitlines()]
    assert (listed.status, listed.err, len(subjects)) == (0, b"", len(LETTERS))
    assert alone("get", "-a", url, "--ca-file", ca_file, "-o", maildir) == Ended(0, b"", b"")
    fetched = sorted(path.read_bytes() for path in (maildir / "new").iterdir())
    assert fetched == sorted(message.replace(b"\r\n", b"\n") for message in LETTERS)


def test_another_server_is_refused_by_its_fingerprint(alone: Alone, server: StartServer) -> None:
    refused = alone("list", "-a", server(Mailbox(LETTERS), tls="implicit").url())
    assert refused.status == 76
    assert b"not shown without cryptography" in refused.err
    assert b"--tls-fingerprint " in refused.err


def test_it_runs_the_demo(alone: Alone) -> None:
    assert alone("demo").status == 0


@pytest.mark.parametrize(
    "library", ["oauthlib.oauth2", "keyring", "dns.resolver", "python_socks.sync", "tomlkit"]
)
def test_what_is_imported_only_when_it_is_needed_is_there(file: Path, library: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(file)!r}); import {library}"
    subprocess.run([sys.executable, "-W", "error", *ALONE, "-c", program], check=True)


def test_it_is_executable(file: Path) -> None:
    assert file.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert file.stat().st_mode & 0o111 == 0o111


def test_it_holds_licences_and_nothing_compiled(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    assert [name for name in names if name.endswith((".so", ".pyc", ".pth"))] == []
    assert "LICENSE" in names
    assert [name for name in names if name.startswith("pop3fetch-")] == []  # metadata of another version


def test_it_is_built_of_the_same_octets_again(file: Path, tmp_path: Path) -> None:
    zipapp.build(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()
