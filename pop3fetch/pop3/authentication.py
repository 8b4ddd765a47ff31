"""Logging in: takes the steps that the login policy decides, one exchange at a time.

A password is asked for when a step that needs it was chosen, never before; and it is tried once:
a second mechanism with the same wrong password only gets accounts locked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from pop3fetch.errors import (
    ConnectionLost,
    LoginRefused,
    MechanismFailed,
    POP3Error,
    ServerErrorResponse,
)
from pop3fetch.pop3 import sasl
from pop3fetch.pop3.conversation import Conversation
from pop3fetch.pop3.login import APOP, USER, Login, Situation, StartTLS, next_step
from pop3fetch.pop3.machine import Challenge, Reply
from pop3fetch.pop3.replies import Capabilities
from pop3fetch.pop3.wire import COMMAND_LIMIT, StatusLine

Secret = Callable[[], str]


class Line(Protocol):
    """What a login needs of the client."""

    conversation: Conversation

    def capabilities(self, use_cache: bool = True) -> Capabilities: ...
    def begin_tls(self) -> None: ...
    def reconnect(self) -> None: ...
    def notice(self, text: str) -> None: ...


class Wish(NamedTuple):
    """What the user wants of the login: the TLS mode, one forced method, clear text allowed, UTF8."""

    mode: str
    method: str | None = None
    allow_insecure: bool = False
    utf8: bool = False


class Attempt:
    """One method being tried: ``begun`` once AUTH is said, ``proof_sent`` once the secret can be judged."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.begun = False
        self.proof_sent = False


class Authentication:
    """One login of ``user``, over as many connections as it takes."""

    def __init__(self, line: Line, wish: Wish, user: str, secret: Secret) -> None:
        self._line = line
        self._wish = wish
        self._user = user
        self._secret = _once(secret)
        self._refused: frozenset[str] = frozenset()
        self._unfit: frozenset[str] = frozenset()
        self._refusal: LoginRefused | MechanismFailed | None = None  # why a method was given up
        self._heard_of_utf8: tuple[Conversation, bool] | None = None  # and whether that was inside TLS

    def run(self) -> bytes:
        """Log in; return the server's text.

        Raises what the policy refuses, LoginRefused, MechanismFailed, or a broken line's error.
        """
        while True:
            step = self._next_step()
            if isinstance(step, StartTLS):
                self._line.begin_tls()
                self._refusal = None  # of APOP; what goes wrong inside TLS has its own reasons
                continue
            attempt = Attempt(step.method)
            try:
                return self._try(attempt)
            except LoginRefused as refusal:
                self._go_on_after(attempt, refusal)
            except MechanismFailed as failure:
                self._pass_over(attempt, failure)
            except ConnectionLost:
                # Some servers close after any refused login (nginx, popa3d).
                if isinstance(self._refusal, LoginRefused):
                    raise self._refusal from None
                raise

    def _next_step(self) -> StartTLS | Login:
        try:
            return next_step(self._situation())
        except POP3Error:
            if self._refusal:  # what the server said is the better explanation
                raise self._refusal from None
            raise

    def _situation(self) -> Situation:
        wish = self._wish
        known = Situation(
            wish.mode,
            wish.method,
            allow_insecure=wish.allow_insecure,
            refused=self._refused,
            unfit=self._unfit,
        )
        if known._replace(tls_active=self._tls_active).tls_whatever_comes:
            return known  # a round trip saved: CAPA does not matter
        capabilities = self._line.capabilities()
        # Only now: a server that hangs up on CAPA leaves us with a new line, perhaps without TLS.
        conversation = self._line.conversation
        bindable = _offers_channel_binding(capabilities.get("SASL") or [])
        return known._replace(
            tls_active=self._tls_active,
            challenge=conversation.session.challenge is not None,
            challenge_forgotten=conversation.session.challenge_forgotten,
            capabilities=capabilities or None,
            bindable=bindable and conversation.transport.channel_binding() is not None,
        )

    def _go_on_after(self, attempt: Attempt, refusal: LoginRefused) -> None:
        """Remember the refusal where another method may still be tried; else raise it."""
        self._refusal = refusal
        self._refused |= {attempt.method}
        if self._wish.method is not None or refusal.is_temporary:
            raise refusal
        if attempt.method == APOP and self._stls_is_left():
            # Servers show a challenge to users who have no APOP secret, too (Mailutils, Cyrus).
            self._renew_line()
        elif attempt.proof_sent or refusal.code or self._line.conversation.session.over:
            raise refusal

    def _pass_over(self, attempt: Attempt, failure: MechanismFailed) -> None:
        """Leave out a mechanism that cannot carry these credentials, such as SCRAM after SASLprep."""
        if attempt.begun or attempt.method == APOP or self._wish.method is not None:
            raise failure
        self._refusal = failure
        if attempt.method in sasl.CLEAR_TEXT:  # so PASS would show no more
            self._unfit |= {attempt.method}
        else:
            self._refused |= {attempt.method}

    def _stls_is_left(self) -> bool:
        return self._wish.mode == "auto" and not self._tls_active and "STLS" in self._line.capabilities()

    def _renew_line(self) -> None:
        """Go on where the server still listens; some close after any refused login (nginx, popa3d)."""
        try:
            self._line.capabilities(use_cache=False)
        except ConnectionLost:
            self._line.reconnect()

    @property
    def _tls_active(self) -> bool:
        return self._line.conversation.transport.tls is not None

    # -- one attempt -------------------------------------------------------------------------

    def _try(self, attempt: Attempt) -> bytes:
        secret = "" if attempt.method == "EXTERNAL" else self._secret()
        self._line.conversation.trace.keep_secret(secret)
        try:
            self._say_utf8(attempt.method, secret)
            return self._exchange(attempt, secret).text
        except ServerErrorResponse as refusal:
            raise LoginRefused(attempt.method, refusal.text, refusal.code, self._user) from refusal

    def _exchange(self, attempt: Attempt, secret: str) -> StatusLine:
        if attempt.method == APOP:
            return self._apop(attempt, secret)
        if attempt.method == USER:
            return self._user_pass(attempt, secret)
        return Exchange(self._line.conversation, self._mechanism(attempt.method, secret), attempt).run()

    def _apop(self, attempt: Attempt, secret: str) -> StatusLine:
        conversation = self._line.conversation
        if not conversation.transport.tls:
            self._line.notice(
                "APOP protects the password alone: the mail crosses in clear text (see --tls starttls)"
            )
        attempt.proof_sent = True
        digest = sasl.apop_digest(conversation.session.challenge or b"", secret)
        conversation.trace.keep_secret(digest)  # the password can be guessed from it
        return conversation.ask("APOP", self._user, digest)

    def _user_pass(self, attempt: Attempt, secret: str) -> StatusLine:
        conversation = self._line.conversation
        conversation.ask("USER", self._user)
        attempt.proof_sent = True
        return conversation.ask("PASS", secret)

    def _mechanism(self, method: str, secret: str) -> sasl.Mechanism:
        transport = self._line.conversation.transport
        host = transport.server_name or ""
        credentials = sasl.Credentials(self._user, secret, host, transport.port, self._binding(method))
        return sasl.mechanism(method, credentials)

    def _binding(self, method: str) -> tuple[str, bytes] | None:
        """Return what a SCRAM tells of its channel.

        One that is not -PLUS tells that none is offered: a server whose offer was taken out on the
        way then ends the login (RFC 5802 section 6).
        """
        offered = self._line.capabilities().get("SASL") or []
        if not method.startswith("SCRAM-") or not offered:
            return None
        if not method.endswith("-PLUS") and _offers_channel_binding(offered):
            return None
        return self._line.conversation.transport.channel_binding()

    def _say_utf8(self, method: str, secret: str) -> None:
        """Say UTF8 where it was asked for, or where USER needs it (RFC 6856 section 2)."""
        if not self._wish.utf8 and (method != USER or (self._user + secret).isascii()):
            return
        offered = self._line.capabilities()
        here = (self._line.conversation, self._tls_active)
        if self._heard_of_utf8 == here:
            return
        self._heard_of_utf8 = here
        if "UTF8" not in offered:  # what is not offered makes some servers hang up (WildDuck)
            self._line.notice("the server does not offer UTF8")
        elif self._wish.utf8 or "USER" in (offered["UTF8"] or []):
            self._enter_utf8()

    def _enter_utf8(self) -> None:
        try:
            self._line.conversation.ask("UTF8")
        except ServerErrorResponse as refusal:  # the login may do without
            self._line.notice(str(refusal))


class Exchange:
    """The SASL exchange of one AUTH command (RFC 5034 section 4)."""

    def __init__(self, conversation: Conversation, mechanism: sasl.Mechanism, attempt: Attempt) -> None:
        self._conversation = conversation
        self._mechanism = mechanism
        self._attempt = attempt
        self._initial = mechanism.initial()

    def run(self) -> StatusLine:
        """Say AUTH and answer each challenge; returns the +OK, raises ServerErrorResponse."""
        self._say_auth()
        while not isinstance(event := self._conversation.next_event(), Reply):
            assert isinstance(event, Challenge)
            self._answer(event.octets)
        status = event.status
        if not status.ok:
            said = self._mechanism.refused()
            text = status.text + (b" (" + said.encode() + b")" if said else b"")
            raise self._conversation.refusal("AUTH", StatusLine(False, text))
        self._finish()
        return status

    def _say_auth(self) -> None:
        self._attempt.begun = True
        conversation, name = self._conversation, self._mechanism.name
        if self._initial is not None:
            argument = sasl.encode_initial(self._initial)
            conversation.trace.keep_secret(argument)
            if len(f"AUTH {name} \r\n") + len(argument) <= COMMAND_LIMIT:
                self._initial = None
                self._attempt.proof_sent = name in sasl.CLEAR_TEXT
                conversation.send("AUTH", name, argument)
                conversation.flush()
                return
        conversation.send("AUTH", name)
        conversation.flush()

    def _answer(self, challenge: bytes) -> None:
        try:
            response = self._response(challenge)
        except MechanismFailed as failure:
            failure.reason = self._conversation.trace.blot(failure.reason.encode()).decode()
            self._cancel()
            raise
        encoded = sasl.encode(response)
        self._conversation.trace.keep_secret(encoded)
        self._conversation.exchange(encoded)

    def _response(self, challenge: bytes) -> bytes:
        if self._initial is not None:  # the server asked for what did not fit behind AUTH
            response, self._initial = self._initial, None
            self._attempt.proof_sent = self._mechanism.name in sasl.CLEAR_TEXT
            return response
        self._attempt.proof_sent = True
        return self._mechanism.respond(sasl.decode(challenge))

    def _cancel(self) -> None:
        """Cancel the exchange; the server answers -ERR, whatever else it says does not matter."""
        with suppress(POP3Error):  # why it is cancelled is the better explanation
            self._conversation.exchange(b"*")
            event = self._conversation.next_event()
            if not isinstance(event, Reply) or event.status.ok:
                self._conversation.close("the server went on after a cancelled login")

    def _finish(self) -> None:
        try:
            self._mechanism.finish()
        except MechanismFailed:
            self._conversation.close("the server did not prove itself")
            raise


def _offers_channel_binding(mechanisms: list[str]) -> bool:
    return any(name.upper().endswith("-PLUS") for name in mechanisms)


def _once(secret: Secret) -> Secret:
    known: list[str] = []

    def ask() -> str:
        if not known:
            known.append(secret())
        return known[0]

    return ask
