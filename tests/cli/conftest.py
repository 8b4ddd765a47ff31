"""The command line on a terminal, and mail for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support import keyrings
from tests.support.command import Run, RunAt
from tests.support.dns_server import NameServer
from tests.support.mail_server import Mailbox
from tests.support.new_machine import World
from tests.support.scripted_server import StartServer
from tests.support.served_mail import GREETING, LETTERS, Post, StartPost
from tests.support.terminal import Terminal

AFTERNOON = "2026-04-09T14:05:00+01:00"


@pytest.fixture
def post(server: StartServer) -> StartPost:
    """Serve mail."""

    def start(messages: Sequence[bytes] = LETTERS, *, tls: str | None = None, **options: Any) -> Post:
        mailbox = Mailbox(messages, **{"greeting": GREETING, **options})
        return Post(mailbox, server(mailbox, tls=tls))

    return start


@pytest.fixture
def terminal(run: Run) -> Terminal:
    """Run the real command on a terminal, on the afternoon of a Thursday."""
    return Terminal(RunAt(run.home, run.folder, AFTERNOON, python=run.python))


@pytest.fixture
def world(
    run: Run, tmp_path: Path, ca_file: Path, server: StartServer, authority: trustme.CA
) -> Iterator[World]:
    with NameServer() as names:
        yield World(run, keyrings.in_a_file(tmp_path), ca_file, server, authority, names)
