"""Destinations at scripted mail servers, and what they report."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pop3fetch.delivery.destination import Destination
from pop3fetch.delivery.kinds import SCHEMES
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import DeliveryError, LoginRefused
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.trace import Secrets
from tests.support.delivering import Journal, drafts
from tests.support.scripted_server import Script, ScriptedServer

AnyDestination = TypeVar("AnyDestination", bound=Destination)


class MailDestinations:
    """Starts a scripted server for each destination; all of them end with ``stack``.

    ``folder`` is for what a destination spools, ``ca_file`` what it verifies the servers with.
    """

    def __init__(self, folder: Path, stack: ExitStack, context: ssl.SSLContext, ca_file: Path) -> None:
        self.reports: list[str] = []
        self.refusals: list[LoginRefused] = []
        self.folder = folder
        self.ca_file = ca_file
        self._stack = stack
        self._context = context

    def serve(
        self, script: Script, scheme: str, user: str | None, mailbox: str = "", *, tls: str, **options: Any
    ) -> MailServer:
        """Start a server; return what a destination needs of it. ``options`` are those of MailServer."""
        implicit = "implicit" if tls == "implicit" else None
        running = self._stack.enter_context(ScriptedServer(script, tls=implicit, context=self._context))
        return MailServer(
            ServerAddress(
                scheme, running.host, SCHEMES[scheme].port, user, mailbox
            ),  # the same for all servers
            Endpoint(running.host, running.port),
            tls,
            Secrets(),
            TLSOptions(ca_file=str(self.ca_file)),
            secret=lambda: "secret",
            refused=self.refusals.append,
            report=self.reports.append,
            **options,
        )

    def prepared(self, destination: AnyDestination, known: str | None = None) -> AnyDestination:
        """Prepare a destination as in a run; it is closed in the end."""
        self._stack.callback(destination.close)
        destination.prepare(known)
        return destination

    def fails(self, destination: Destination, journal: Journal, *messages: bytes) -> DeliveryError:
        """Return the error that ends a delivery."""
        with pytest.raises(DeliveryError) as caught:
            destination.deliver(drafts(destination, messages), journal)
        assert caught.value.fatal
        return caught.value
