"""The command line on a terminal, and mail for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.cli.post import GREETING, LETTERS, Post, StartPost
from tests.cli.terminal import Terminal
from tests.command import Run
from tests.mailbox import Mailbox
from tests.server import StartServer


@pytest.fixture
def post(server: StartServer) -> StartPost:
    """Serve mail."""

    def start(messages: Sequence[bytes] = LETTERS, *, tls: str | None = None, **options: Any) -> Post:
        mailbox = Mailbox(messages, **{"greeting": GREETING, **options})
        return Post(mailbox, server(mailbox, tls=tls))

    return start


@pytest.fixture
def terminal(run: Run) -> Terminal:
    """Run the real command on a terminal."""
    return Terminal(run)
