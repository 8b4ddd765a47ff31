"""Logging in: takes the steps that the login policy decides, one exchange at a time.

A password is asked for when a chosen step needs it, and not before. It is tried once, because a second
mechanism with the same wrong password only gets accounts locked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.errors import (
    ConnectionLost,
    LoginRefused,
    MechanismFailed,
    POP3Error,
    ServerErrorResponse,
)
from pop3fetch.pop3.conversation import Conversation
from pop3fetch.pop3.login import (
    ALTHOUGH_STLS,
    APOP,
    CLEAR_TEXT,
    MAIL_IN_CLEAR_TEXT,
    STLS,
    USER,
    LoginPolicy,
    Situation,
    next_step,
)
from pop3fetch.pop3.machine import Challenge, Reply
from pop3fetch.pop3.replies import Capabilities
from pop3fetch.pop3.sasl import (
    Credentials,
    Mechanism,
    apop_digest,
    decode,
    encode,
    encode_initial,
    mechanism,
)
from pop3fetch.pop3.wire import COMMAND_LIMIT, StatusLine

if TYPE_CHECKING:
    from typing import Protocol

    class Line(Protocol):
        """What a login needs of the client."""

        conversation: Conversation

        @property
        def started_tls(self) -> bool: ...
        def capabilities(self, use_cache: bool = True) -> Capabilities: ...
        def begin_tls(self) -> None: ...
        def reconnect(self) -> None: ...


Secret = Callable[[], str]


class Attempt:
    """How far a method got: ``begun`` once AUTH is sent, ``proof_sent`` once the secret can be judged."""

    begun = False
    proof_sent = False


class Authentication:
    """One login of ``user``, over as many connections as it takes."""

    def __init__(
        self, line: Line, policy: LoginPolicy, user: str, secret: Secret, notice: Callable[[str], object]
    ) -> None:
        self._line = line
        self._policy = policy
        self._notice = notice
        self._user = user
        self._secret = secret
        self._known_secret: str | None = None  # once it was asked for
        self.method = ""  # that was tried last
        self._refused: frozenset[str] = frozenset()
        self._unfit: frozenset[str] = frozenset()
        self._refusal: LoginRefused | MechanismFailed | None = None  # why a method was given up
        self._decided_on_utf8: tuple[Conversation, bool] | None = None  # and whether that was inside TLS

    def run(self) -> bytes:
        """Log in; return the server's text.

        Raises what the policy refuses, LoginRefused, MechanismFailed, or a broken line's error.
        """
        while True:
            try:
                step = next_step(self._situation())
            except POP3Error:
                if self._refusal:  # what the server replied is the better explanation
                    raise self._refusal from None
                raise
            if step == STLS:
                self._line.begin_tls()
                self._refusal = None  # of APOP; a failure inside TLS has its own reason
                continue
            attempt, self.method = Attempt(), step
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

    def _situation(self) -> Situation:
        policy = self._policy
        if policy.mode == "starttls" and not self._line.conversation.transport.tls:
            return Situation(policy.mode)  # this saves a round trip: CAPA does not matter
        capabilities = self._line.capabilities()
        # Only now: if the server hung up on CAPA, this is a new connection, perhaps without TLS.
        session, transport = self._line.conversation.session, self._line.conversation.transport
        is_inside_tls = transport.tls is not None
        return Situation(
            policy.mode,
            policy.method,
            tls_active=is_inside_tls,
            challenge=session.challenge is not None,
            capabilities=capabilities or None,
            allow_insecure=policy.allow_insecure,
            bindable=is_inside_tls
            and _offers_channel_binding(capabilities.get("SASL") or [])
            and transport.channel_binding() is not None,
            refused=self._refused,
            unfit=self._unfit,
            challenge_forgotten=session.challenge_forgotten,
        )

    def _go_on_after(self, attempt: Attempt, refusal: LoginRefused) -> None:
        """Remember the refusal if another method may still be tried; else raise it."""
        self._refusal = refusal
        self._refused |= {self.method}
        if self._policy.method is not None or refusal.is_temporary:
            raise refusal
        stls_is_left = self._policy.mode == "auto" and not self._line.started_tls
        if self.method == APOP and stls_is_left and STLS in self._line.capabilities():
            # Servers send a challenge even if the user has no APOP secret (Mailutils, Cyrus).
            try:
                self._line.capabilities(use_cache=False)
            except ConnectionLost:  # some close after any refused login (nginx, popa3d)
                self._line.reconnect()
        elif attempt.proof_sent or refusal.code or self._line.conversation.session.over:
            raise refusal

    def _pass_over(self, attempt: Attempt, failure: MechanismFailed) -> None:
        """Skip a mechanism that cannot carry these credentials, such as SCRAM after SASLprep."""
        if attempt.begun or self.method == APOP or self._policy.method is not None:
            raise failure
        self._refusal = failure
        if self.method in CLEAR_TEXT:  # PASS would reveal no more than this did
            self._unfit |= {self.method}
        else:
            self._refused |= {self.method}

    # -- one attempt -------------------------------------------------------------------------

    def _try(self, attempt: Attempt) -> bytes:
        conversation = self._line.conversation
        secret = ""
        if self.method != "EXTERNAL":
            if self._known_secret is None:
                self._known_secret = self._secret()
            secret = self._known_secret
        conversation.trace.secrets.keep(secret)
        try:
            if self._policy.utf8 or (self.method == USER and not (self._user + secret).isascii()):
                self._send_utf8()
            if self.method == APOP:
                digest = apop_digest(conversation.session.challenge or b"", secret)
                conversation.trace.secrets.keep(digest)  # the password can be guessed from it
                attempt.proof_sent = True
                welcome = conversation.ask("APOP", self._user, digest).text
                if not conversation.transport.tls:
                    offers_stls = STLS in self._line.capabilities()
                    self._notice(ALTHOUGH_STLS if offers_stls else MAIL_IN_CLEAR_TEXT)
                return welcome
            if self.method == USER:
                conversation.ask("USER", self._user)
                attempt.proof_sent = True
                return conversation.ask("PASS", secret).text
            return Exchange(conversation, self._mechanism(self.method, secret), attempt).run().text
        except ServerErrorResponse as refusal:
            raise LoginRefused(self.method, refusal.text, refusal.code, self._user) from refusal

    def _mechanism(self, method: str, secret: str) -> Mechanism:
        transport = self._line.conversation.transport
        binding = None
        if method.startswith("SCRAM-"):
            # A SCRAM that is not -PLUS states that no -PLUS is offered. If an attacker removed the offer,
            # the server then ends the login (RFC 5802 section 6).
            offered = self._line.capabilities().get("SASL") or []
            if offered and (method.endswith("-PLUS") or not _offers_channel_binding(offered)):
                binding = transport.channel_binding()
        host = transport.server_name or ""
        return mechanism(method, Credentials(self._user, secret, host, transport.port, binding))

    def _send_utf8(self) -> None:
        """Send UTF8, once on each line, if it is offered and of use (RFC 6856 section 2)."""
        offered = self._line.capabilities()
        here = (self._line.conversation, self._line.started_tls)
        if self._decided_on_utf8 == here:
            return
        self._decided_on_utf8 = here
        if "UTF8" not in offered:  # some servers hang up on commands that they do not offer (WildDuck)
            self._notice("the server does not offer UTF8")
        elif self._policy.utf8 or "USER" in (offered["UTF8"] or []):
            try:
                self._line.conversation.ask("UTF8")
            except ServerErrorResponse as refusal:  # the login may succeed without it
                self._notice(str(refusal))


class Exchange:
    """The SASL exchange of one AUTH command (RFC 5034 section 4)."""

    def __init__(self, conversation: Conversation, chosen: Mechanism, attempt: Attempt) -> None:
        self._conversation = conversation
        self._mechanism = chosen
        self._attempt = attempt
        self._initial = chosen.initial()

    def run(self) -> StatusLine:
        """Send AUTH and answer each challenge; returns the +OK, raises ServerErrorResponse."""
        conversation, name = self._conversation, self._mechanism.name
        self._attempt.begun = True
        arguments: list[bytes] = []
        if self._initial is not None:
            argument = encode_initial(self._initial)
            conversation.trace.secrets.keep(argument)
            if len(f"AUTH {name} \r\n") + len(argument) <= COMMAND_LIMIT:
                self._initial = None
                self._attempt.proof_sent = name in CLEAR_TEXT
                arguments.append(argument)
        conversation.send("AUTH", name, *arguments)
        conversation.flush()
        while not isinstance(event := conversation.next_event(), Reply):
            assert isinstance(event, Challenge)
            self._answer(event.octets)
        status = event.status
        if not status.ok:
            said = self._mechanism.refused()
            text = status.text + (b" (" + said.encode() + b")" if said else b"")
            raise conversation.refusal("AUTH", StatusLine(False, text))
        try:
            self._mechanism.finish()
        except MechanismFailed:
            conversation.close("the server did not prove itself")
            raise
        return status

    def _answer(self, challenge: bytes) -> None:
        self._attempt.proof_sent = self._initial is None or self._mechanism.name in CLEAR_TEXT
        try:
            if self._initial is not None:  # the server requests what did not fit in the line of AUTH
                response, self._initial = self._initial, None
            else:
                response = self._mechanism.respond(decode(challenge))
        except MechanismFailed as failure:
            failure.reason = self._conversation.trace.secrets.blot(failure.reason.encode()).decode()
            with suppress(POP3Error):  # the reason for cancelling explains more
                self._conversation.exchange(b"*")
                event = self._conversation.next_event()
                if not isinstance(event, Reply) or event.status.ok:
                    self._conversation.close("the server continued after a cancelled login")
            raise
        encoded = encode(response)
        self._conversation.trace.secrets.keep(encoded)
        self._conversation.exchange(encoded)


def _offers_channel_binding(mechanisms: list[str]) -> bool:
    return any(name.upper().endswith("-PLUS") for name in mechanisms)
