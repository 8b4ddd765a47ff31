"""From an account to a client that is logged in."""

from __future__ import annotations

import os.path
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.credentials import Password
from pop3fetch.account.settings_table import Account
from pop3fetch.ahead import Ahead, Interrupts, pause
from pop3fetch.errors import LoginRefused, LoginTooSoon, POP3Error
from pop3fetch.net.dial import Endpoint, dial
from pop3fetch.record.place import (
    ANSWERS_AT_ONCE,
    LOSES_EARLY_INPUT,
    LOSES_WHAT_FOLLOWS,
    NEEDS_BUNDLE,
    REFUSED_LOGINS,
    KnownServer,
    RecordPlace,
)
from pop3fetch.sessions.login_delay import LoginDelay
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from ssl import SSLContext

    from pop3fetch.net.resumption import Handshake, Peer
    from pop3fetch.net.tls import TLSOptions
    from pop3fetch.pop3.conversation import Server
    from pop3fetch.pop3.mail_session import MailSession
    from pop3fetch.pop3.trace import Secrets
    from pop3fetch.sessions.refused_logins import RefusedLogins


UNNOTICED = 1.0  # seconds that a person waits without wondering
REFRESHED = 24 * 60 * 60  # seconds until what is known of a server is written again


class Waiting(NamedTuple):
    """How to show a person what a session waits for: ``begin`` takes the text, ``end`` removes it."""

    begin: Callable[[str], None]
    end: Callable[[], None]


class ProcessContext(NamedTuple):
    """What a session needs of the process.

    ``child_environment`` is for programs that it starts. ``notice`` takes a line; ``trace``, if given, every
    line of the protocol with who sent it. ``interrupts`` end what the session waits for. ``is_attended``:
    whether there is a terminal to ask on. ``waiting`` shows a person what is waited for. ``resume``: what
    may resume a TLS session.
    """

    child_environment: Mapping[str, str]
    notice: Callable[[str], None]
    trace: Callable[[str, bytes], None] | None = None
    interrupts: Interrupts | None = None
    is_attended: Callable[[], bool] = lambda: False
    waiting: Waiting | None = None
    resume: Callable[[Peer], Handshake] | None = None


def server_of(account: Account, process: ProcessContext, context: SSLContext | None = None) -> Server:
    """Return the address of the account's server, and how to talk to it."""
    from pop3fetch.pop3.conversation import Server
    from pop3fetch.pop3.login import LoginPolicy

    return Server(
        endpoint=endpoint_of(account, process.child_environment),
        policy=LoginPolicy(
            mode=account.tls,
            method=None if account.auth == "auto" else account.auth,
            allow_insecure=account.allow_insecure_login,
            utf8=account.utf8,
        ),
        timeout=account.timeout or None,
        tls=tls_options(account),
        context=context,
        pipelining=account.pipelining,
        trace=process.trace,
        notice=process.notice,
        interrupts=process.interrupts,
        resume=process.resume,
    )


def tls_options(account: Account) -> TLSOptions:
    """Return what the user chose for TLS."""
    from pop3fetch.net.tls import TLSOptions

    return TLSOptions(
        account.ca_file,
        account.tls_fingerprint,
        account.client_cert,
        account.client_key,
        account.tls_ciphers,
    )


def endpoint_of(account: Account, child_environment: Mapping[str, str]) -> Endpoint:
    """Return the address of the account's server, and the way to it."""
    tunnel = None
    if account.tunnel_command is not None:
        from pop3fetch.net.tunnel import Tunnel

        tunnel = Tunnel(account.tunnel_command, child_environment)
    return Endpoint(account.host, account.port, account.family, account.proxy, tunnel, account.tls_name)


class Sessions(AbstractContextManager["Sessions"]):
    """Sessions of one account; its password is looked for once, and not before a login needs it.

    The state folder shows whether the server's LOGIN-DELAY is over, and which secrets it has refused.
    """

    def __init__(
        self, account: Account, state_folder: Path, password: Password, process: ProcessContext
    ) -> None:
        self.account = account
        self.password = password
        self.process = process
        self.state_folder = state_folder
        self._place = RecordPlace(state_folder, account.address)
        self._delay = LoginDelay(self._place)
        self._known = KnownServer(self._place)
        self._refused: RefusedLogins | None = None  # if there are any
        self._begun: Ahead[MailSession] | None = None
        self._secrets: Secrets | None = None  # of all connections of the run
        self._was_checked = False
        self._following: tuple[str, ...] = ()  # the commands that may be sent together with the login
        self.other_user = ""  # whom the server may want if it refuses the login

    def check(self, *, logs_in: bool = True) -> None:
        """Raise what forbids a login before anything is connected; waits for a LOGIN-DELAY that ends in time.

        It raises ConfigurationError if ``logs_in`` and there is no user; LoginTooSoon before the first
        login; NoPassword if a secret was refused before; LoginPaused if the secret must not be tried yet and
        there is no terminal.
        """
        if logs_in:
            self.account.login_name()
        if self.account.user is None:  # without a login there is nothing to wait for
            return
        if not self._was_checked and os.path.exists(self._place.beside(REFUSED_LOGINS)):
            self._refused = self._refused_logins()
            if self._refused and not self.process.is_attended():
                self._refused.check(self.password(), time.time())
        try:
            self._delay.await_end(
                self.account.timeout or None, wait=lambda seconds: pause(seconds, self.process.interrupts)
            )
        except LoginTooSoon:
            if not self._was_checked:
                raise
        self._was_checked = True

    def begin(self, following: Sequence[str] = ()) -> Sessions:
        """Open the connection that :meth:`connect` will return, in the background.

        ``following``: the commands that the caller sends first after the login; a known server gets them
        together with it. Raises what forbids a login, before anything is connected.
        """
        self.check()
        self._following = tuple(following)
        self._begun = Ahead(self._opening(self._following), interrupts=self.process.interrupts)
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was begun and never wanted."""
        begun, self._begun = self._begun, None
        if begun:
            begun.abandon(lambda client: client.close())

    def connect(self, pipelining: bool = True) -> MailSession:
        """Return a client that has read the greeting; instead raises what :meth:`check` does.

        A further connection of the same run is held up at most as long as the time-out: then it is for
        the server to refuse.
        """
        self.check(logs_in=False)
        begun, self._begun = self._begun, None
        if self.process.waiting:
            begun = begun or Ahead(self._opening(), interrupts=self.process.interrupts)
            client = self._watched(begun, self.process.waiting)
        else:
            client = begun.result() if begun else self._opening()()
        if not pipelining:
            client.stop_pipelining()
        return client

    def _watched(self, begun: Ahead[MailSession], waiting: Waiting) -> MailSession:
        """Return the client, and show what is waited for if that takes long."""
        try:
            return begun.result(UNNOTICED)
        except TimeoutError as error:
            if isinstance(error, POP3Error):  # of the server, and not of this wait
                raise
        waiting.begin(f"connecting to {self.account.host} …")
        try:
            return begun.result()
        finally:
            waiting.end()

    def _opening(self, following: tuple[str, ...] = ()) -> Callable[[], MailSession]:
        """Start to connect, load what will speak on the line, and return what opens it."""
        endpoint = endpoint_of(self.account, self.process.child_environment)
        dialling = Ahead(
            lambda: dial(endpoint, self.account.timeout or None), interrupts=self.process.interrupts
        )
        from pop3fetch.pop3.conversation import Shortcut
        from pop3fetch.pop3.mail_session import MailSession
        from pop3fetch.pop3.trace import Secrets

        self._secrets = self._secrets or Secrets()
        known, now = self._known, time.time()
        early, on_demand = (
            Shortcut(known.knows(failure, now) is None, partial(known.remember, failure, now))
            for failure in (LOSES_EARLY_INPUT, NEEDS_BUNDLE)
        )
        server = server_of(self.account, self.process)._replace(
            secrets=self._secrets, dialling=dialling, early=early, on_demand=on_demand
        )
        seen = known.knows(ANSWERS_AT_ONCE, now) if following else None
        if seen and not known.knows(LOSES_WHAT_FOLLOWS, now):
            from pop3fetch.pop3.known_session import Flight, KnownSession, may_fly

            if may_fly(server):
                failed = partial(known.remember, LOSES_WHAT_FOLLOWS, now)
                flight = Flight(following, seen.milliseconds / 1000, failed)
                return lambda: KnownSession(server, flight)
        return lambda: MailSession(server)

    def log_in(self, pipelining: bool = True) -> MailSession:
        """Return a client that is logged in; raises what :meth:`check` does.

        If a person has typed a wrong password, they are asked again.
        """
        self.account.login_name()  # before anything is connected
        client = self.connect(pipelining)
        try:
            self.log_in_on(client)
        except BaseException as error:
            client.close()
            if isinstance(error, LoginRefused):
                error.other_user = self.other_user
            if isinstance(error, POP3Error) and self.password.may_be_right_next_time(error):
                return self.log_in(pipelining)
            raise
        return client

    def log_in_on(self, client: MailSession, secret: Callable[[], str] | None = None) -> None:
        """Log in, by another ``secret`` than the account's if one is given.

        Remembers the pause that the server wants until the next time; what it says of that after the
        login is this user's own (RFC 2449 section 6.5).
        """
        try:
            client.login(self.account.login_name(), secret or self.password)
        except LoginRefused as refusal:
            self._refused = self._refused_logins()
            if secret is None:
                self.password.blame(refusal)
                if self._refused:
                    self._refused.remember(self.password(), refusal, time.time())
            raise
        if self._refused:
            self._refused.forget()
        now = time.time()
        client.when_announced = lambda announced: self._delay.remember(now, announced.get("LOGIN-DELAY"))
        before = client.capabilities_before_login
        client.when_announced(before)
        if "USER" in (before.get("LOGIN-DELAY") or []) and not client.conversation.ahead:  # else it is asked
            client.capabilities()
        if self._following and self.account.tls == "implicit":
            self._keep_what_was_seen(client, now)

    def _keep_what_was_seen(self, client: MailSession, now: float) -> None:
        """Remember whether the next session may send all at once, and how long the server took to reply."""
        from pop3fetch.pop3.known_session import answers_at_once

        slowest = int(client.conversation.slowest * 1000) + 1
        seen = self._known.knows(ANSWERS_AT_ONCE, now)
        if not answers_at_once(client.capabilities_before_login):
            self._known.forget(ANSWERS_AT_ONCE)
        elif seen is None or now - seen.since > REFRESHED or slowest > seen.milliseconds:
            self._known.remember(ANSWERS_AT_ONCE, now, slowest)

    def _refused_logins(self) -> RefusedLogins | None:
        """Return the refused secrets; None if each login has another one, or none."""
        if self.account.uses_oauth or self.account.auth == "external":
            return None
        from pop3fetch.sessions.refused_logins import RefusedLogins

        return RefusedLogins(self._place, self.account.title)
