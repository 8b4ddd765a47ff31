"""The steps of `check` that need the server: from its name to the login, and what it announces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.settings_table import Account
from pop3fetch.ahead import Ahead
from pop3fetch.cli.screen.caps import DAY, limits
from pop3fetch.cli.screen.check import failure
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import is_local, sessions_of
from pop3fetch.defaults import UNIX_PREFIX
from pop3fetch.errors import (
    ConfigurationError,
    ConnectionLost,
    POP3Error,
    TimedOut,
    TLSError,
)
from pop3fetch.net.dial import dial, resolve
from pop3fetch.pop3.conversation import Shortcut
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.pop3.replies import Capabilities
from pop3fetch.pop3.trace import Secrets
from pop3fetch.printable import printable
from pop3fetch.sessions.sessions import endpoint_of, server_of
from pop3fetch.step_results import StepResult, warning

if TYPE_CHECKING:
    import socket

SOON = 14  # days; certificates are renewed weeks before they expire
MOST_ADDRESSES = 4  # that are shown
MOST_TEXT = 200  # characters of a server's text


class ServerExamination:
    """One session with the server of an account, step by step; a step that fails ends it."""

    def __init__(self, account: Account, console: Console, state_folder: Path) -> None:
        self._account = account
        self._console = console
        self._sessions = sessions_of(account, console, state_folder)
        self._process = self._sessions.process._replace(notice=console.notice)
        self._endpoint = endpoint_of(account, self._process.child_environment)
        self._obstacle: POP3Error | None = None  # what forbids the login
        self._connected: Ahead[socket.socket] | None = None
        self._client: MailSession | None = None
        self._announced: Capabilities | None = None  # once the greeting and TLS are done
        self._showed_tls = False
        self._logged_in = False

    def close(self) -> None:
        """Close the connection."""
        if self._client:
            self._client.close()

    def steps(self) -> Iterator[StepResult]:
        """Yield the results from the name of the server to the login."""
        try:
            self._draw("the pauses between logins")
            self._sessions.check()
        except POP3Error as error:
            self._obstacle = error
        step = ""
        try:
            for step, examine in {
                "dns": self._resolve,
                "connection": self._connect,
                "greeting": self._greet,
                "login": self._log_in,
            }.items():
                self._draw(step)
                yield from examine()
        except POP3Error as error:
            yield failure(_step_of(error, step), error)
            if self._obstacle and step != "login":
                yield failure("login", self._obstacle)

    def limits(self) -> Iterator[StepResult]:
        """Yield what the server announces of LOGIN-DELAY and EXPIRE, and lacks; end the session."""
        if not self._client or self._announced is None:
            return
        try:
            if self._logged_in:
                self._announced = self._client.capabilities_before_login | self._client.capabilities()
                self._client.end_look(self._console.notice)
        except POP3Error as error:
            yield failure("limits", error)
            return
        lines = [printable(line, MOST_TEXT) for line in limits(self._announced)]
        troubles = list(self._troubles(self._announced))
        if troubles:
            yield warning("limits", "; ".join([*lines, *troubles]))
        else:
            yield StepResult(
                "limits", "; ".join(lines) or "the server announces neither LOGIN-DELAY nor EXPIRE"
            )

    def _draw(self, step: str) -> None:
        if self._console.shows_progress:
            self._console.draw(f"checking {step} …"[: self._console.width(self._console.err) - 1])

    # -- the steps ---------------------------------------------------------------------------

    def _resolve(self) -> Iterator[StepResult]:
        host, limit = self._account.host, self._account.timeout or None
        if self._endpoint.tunnel or host.startswith(UNIX_PREFIX):
            return
        if self._endpoint.proxy:
            yield StepResult("dns", f"{host} is resolved by the proxy")
            return
        resolving = Ahead(lambda: resolve(self._endpoint), interrupts=self._process.interrupts)
        try:
            found = [str(address.target[0]) for address in resolving.result(limit)]
        except TimeoutError as error:
            raise TimedOut(host, "resolving the name of", limit or 0) from error
        others = len(found) - MOST_ADDRESSES
        shown = ", ".join(found[:MOST_ADDRESSES]) + (f" and {others} more" if others > 0 else "")
        yield StepResult("dns", f"{host} is {'an address' if found == [host] else shown}")

    def _connect(self) -> Iterator[StepResult]:
        connecting = Ahead(
            lambda: dial(self._endpoint, self._account.timeout or None), interrupts=self._process.interrupts
        )
        connected = connecting.result()
        self._connected = Ahead(lambda: connected)
        port = f" port {self._account.port}" if self._account.port else ""
        if self._endpoint.tunnel:
            way = "tunnel_command"
        elif self._endpoint.proxy:
            way = f"{self._account.host}{port} through the proxy"
        else:
            peer = connected.getpeername()
            way = f"{peer[0] if isinstance(peer, tuple) else peer}{port}"
        yield StepResult("connection", f"connected to {way}")

    def _greet(self) -> Iterator[StepResult]:
        # CAPA before the greeting is quicker, but a server that fails on it needs another connection.
        server = server_of(self._account, self._process)._replace(
            early=Shortcut(is_allowed=False), secrets=Secrets(), dialling=self._connected
        )
        client = self._client = MailSession(server)
        by_apop = client.server_challenge is not None and self._account.auth in ("auto", "apop")
        mode = self._account.tls
        if mode == "starttls" or (mode == "auto" and not by_apop and "STLS" in client.capabilities()):
            client.begin_tls()
        announced = self._announced = client.capabilities()
        if client.started_tls or not (mode == "auto" and by_apop):  # else the login decides
            yield self._tls()
        greeting = printable(client.conversation.session.greeting.strip(), MOST_TEXT) or "no text"
        names = printable(" ".join(announced), MOST_TEXT) or "none (no CAPA)"
        yield StepResult("greeting", f"{greeting}; capabilities: {names}")

    def _log_in(self) -> Iterator[StepResult]:
        client = self._client
        assert client
        error = self._obstacle
        if not error:
            try:
                self._sessions.log_in_on(client)
                self._logged_in = True
            except POP3Error as refusal:
                error = refusal
        if not self._showed_tls and not isinstance(error, TLSError):
            yield self._tls()
        if error:
            raise error
        source = self._sessions.password.source
        secret = f"the secret is from {source}" if source else "without a secret"
        yield StepResult("login", f"{self._account.title} logged in by {client.login_method}; {secret}")

    # -- what they find ------------------------------------------------------------------------

    def _tls(self) -> StepResult:
        """Return the result of TLS: its version, and how long the certificate is valid."""
        assert self._client
        self._showed_tls = True
        session = self._client.tls_session()
        if session is None:
            if is_local(self._account):
                return StepResult("tls", "none; the connection stays on this machine")
            remedy = "starttls" if "STLS" in (self._announced or {}) else "implicit"
            return warning(
                "tls", f"none: others can read the mail on the network; use --tls {remedy} if the server can"
            )
        pinned = ", trusted by its fingerprint" if self._account.tls_fingerprint else ""
        expires = session.certificate.expires
        if expires is None:
            return StepResult("tls", f"{session.version}; the certificate is valid{pinned}")
        days = int((expires - time.time()) // DAY)
        day = time.strftime("%Y-%m-%d", time.gmtime(expires))
        if days < 0:  # only a pinned one
            return warning("tls", f"{session.version}; the certificate expired on {day}{pinned}")
        left = f"{session.version}; the certificate is valid for {days} more days, until {day}{pinned}"
        if days < SOON:
            return warning("tls", f"{left}; tell the server's operator")
        return StepResult("tls", left)

    def _troubles(self, announced: Capabilities) -> Iterator[str]:
        """Yield what the server announces, or lacks, that a user should know."""
        expire = next(iter(announced.get("EXPIRE") or []), "")
        kept = self._account.delete_after
        if expire == "0":
            yield "fetch everything with `get`: what is only read may be lost"
        elif expire.isdecimal() and kept is not None and kept > int(expire[:9]):
            yield f"it deletes messages before delete_after = {kept} does"
        if announced and "UIDL" not in announced:
            yield "without UIDL, messages are told apart by a digest of their headers"
        if announced and "TOP" not in announced:
            yield "without TOP, headers cannot be read alone: no filters, and --delete trusts unique-ids"


def _step_of(error: POP3Error, step: str) -> str:
    """Return the step that an error belongs to: TLS begins before the greeting, or after it."""
    in_handshake = isinstance(error, TimedOut | ConnectionLost) and "TLS" in error.during
    of_files = isinstance(error, ConfigurationError) and step == "greeting"
    return "tls" if in_handshake or of_files or isinstance(error, TLSError) else step
