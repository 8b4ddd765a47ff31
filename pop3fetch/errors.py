"""Every error that leaves pop3fetch, each with its exit status.

    POP3Error
    ├── ServerErrorResponse              -ERR, with its text and response code
    │   ├── GreetingRefused              the greeting was -ERR
    │   └── LoginRefused                 the login was
    ├── ProtocolViolation                the server broke the protocol
    │   ├── NotPOP3Server                it is not a POP3 server
    │   ├── LineTooLong                  a status or list line without end
    │   ├── MalformedListing             an invalid reply to LIST, UIDL, CAPA or STAT
    │   └── PipeliningBroken             replies mixed up under PIPELINING
    ├── ConnectionFailed                 cannot connect; also ConnectionError
    ├── ConnectionLost                   the stream ended too early; also ConnectionError
    ├── TimedOut                         no progress in time; also TimeoutError
    ├── UnknownHost                      the host name does not exist; also OSError
    ├── ResolverFailed                   the resolver cannot answer now; also OSError
    ├── ServerNotFound                   no server was found for the mail of a domain
    ├── TLSError                         the handshake or a record failed; also OSError
    │   ├── ClientCertificateRequired    the server requires a client certificate
    │   ├── TLSNotSupportedError         STLS is not offered, or was refused
    │   ├── NoCommonCipher               the server takes none of the ciphers
    │   ├── NotATLSPort                  what answers does not speak TLS
    │   └── CertificateError             the certificate does not verify
    ├── AuthenticationError              the login cannot be made in this way
    │   ├── InsecureAuthenticationDisallowed  a clear-text password without consent
    │   ├── MechanismNotOffered          the forced method is not offered
    │   ├── MechanismFailed              the server's side of a SASL exchange is wrong
    │   ├── AuthorizationFailed          the OAuth 2 server gave no token
    │   └── NoPassword                   no source has a password
    ├── LoginTooSoon                     the server's LOGIN-DELAY is not over
    │   └── LoginPaused                  the server has refused the same secret a short while ago
    ├── SessionEnded                     a call after the session's end; also RuntimeError
    ├── CommandNotAllowed                a command in the wrong state; also RuntimeError
    ├── InvalidArgument                  an argument that no command may carry; also ValueError
    ├── EmptyMessage                     a message arrived without an octet
    ├── IncompleteMessage                a message arrived blank, or far shorter than before
    ├── UniqueIdsRefused                 UIDL is refused, although the record has unique-ids
    ├── HeadersNotOffered                the server has no TOP, which shows headers alone
    ├── ThreadLimit                      the system allows no more threads
    ├── DeletionUnsafe                   more would be deleted than is meant
    ├── MessageNotFound                  a selected message is missing; also LookupError
    ├── UidShared                        several messages share the selected UID
    ├── DeliveryError                    the destination cannot take it; also OSError
    │   ├── DestinationLocked            another program has locked it
    │   ├── RecordNotWritten             the disk is full, or fails
    │   └── ServerFailed                 its server does not take messages
    ├── FetcherRunning                   another fetcher is at work on the same mailbox
    ├── RecordError                      the record cannot be used
    │   └── RecordLocked                 another run has locked it
    ├── ConfigurationError               the configuration is wrong; also ValueError
    │   ├── NothingRecognised            the server lists nothing of what was added to the record
    │   └── NothingToVerify              TLS to a UNIX socket, which has no name to verify
    └── UsageError                       the command line is wrong; also ValueError
        └── InvalidSelector              a word of MESSAGES is invalid

An error has its facts as attributes; ``str()`` is what happened and where, its foreign text safe to show.
The command line's advice is in ``cli/screen/advice.py``. Any other exception that leaves a module is a bug.
"""

from __future__ import annotations

from typing import ClassVar, dataclass_transform

from pop3fetch.printable import printable
from pop3fetch.refusal import code_means_later, means_later
from pop3fetch.status import Status

_SENTENCE_LIMIT = 1000  # characters of a reason that is our own sentence with foreign text in it


@dataclass_transform(eq_default=False)
class POP3Error(Exception):  # thirty dataclasses would double the time that `pop3fetch --help` takes
    """The base of all errors; their facts are annotated names, given in order or by name."""

    status: ClassVar[Status] = Status.PROTOCOL
    is_temporary: ClassVar[bool] = False  # whether it may succeed later with nothing changed

    def __init__(self, *values: object, **facts: object) -> None:
        super().__init__()
        names = facts_of(type(self))
        facts = dict(zip(names, values, strict=False)) | facts
        missing = [name for name in names if name not in facts and not hasattr(type(self), name)]
        if missing or len(values) > len(names) or not facts.keys() <= set(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}")
        self.__dict__.update(facts)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={getattr(self, name)!r}" for name in facts_of(type(self)))
        return f"{type(self).__name__}({facts})"

    @property
    def exit_status(self) -> Status:
        """The exit status of the command line for this error."""
        return Status.TRY_LATER if self.is_temporary else self.status


def facts_of(error: type[POP3Error]) -> tuple[str, ...]:
    """Return the names of an error's facts, in the order in which they are given."""
    kinds: dict[str, object] = {}
    for each in reversed(error.__mro__):
        kinds |= getattr(each, "__annotations__", {})
    return tuple(name for name, kind in kinds.items() if not str(kind).startswith("ClassVar"))


class ServerErrorResponse(POP3Error):
    """The server answered -ERR, with ``text`` after it; the session goes on."""

    status = Status.REFUSED
    command: str
    text: bytes
    code: bytes | None = None  # the response code in the text, without brackets (RFC 2449 section 8)

    @property
    def is_temporary(self) -> bool:  # type: ignore[override]
        """Whether the command may succeed later: by the response code, or else by the text."""
        by_code = code_means_later(self.code)
        return means_later(self.text) if by_code is None else by_code

    @property
    def exit_status(self) -> Status:
        # A code for a permanent failure is about the user: AUTH, SYS/PERM (RFC 3206).
        return Status.NO_LOGIN if code_means_later(self.code) is False else super().exit_status

    def __str__(self) -> str:
        return f"the server refused {self.command}: {self._words()}"

    def _words(self) -> str:
        return printable(self.text.strip()) or "it gave no reason"


class GreetingRefused(ServerErrorResponse):
    """The server's greeting was -ERR."""

    def __str__(self) -> str:
        return f"the server refused the connection: {self._words()}"


class LoginRefused(ServerErrorResponse):
    """The server refused the login; ``command`` is the method, ``source`` gave the secret."""

    status = Status.NO_LOGIN
    user: str = ""
    source: str = ""
    stored_for: str | None = None  # the account, perhaps without a name, for which we stored the secret
    other_user: str = ""  # whom the server may want instead

    @property
    def blames_secret(self) -> bool:
        """Whether the secret or the user may be wrong."""
        return not self.is_temporary and not (self.code or b"").upper().startswith(b"SYS/")  # SYS/PERM

    def __str__(self) -> str:
        return f"the server refused the login of {printable(self.user)} ({self.command}): {self._words()}"


class ProtocolViolation(POP3Error):
    """The server sent what the protocol does not allow; the connection cannot be used any more."""

    status = Status.PROTOCOL
    what: str
    octets: bytes = b""
    _opening: ClassVar[str] = "the server broke the protocol"

    def __str__(self) -> str:
        shown = f": {printable(self.octets, 120)}" if self.octets else ""
        return f"{self._opening}: {self.what}{shown}"


class NotPOP3Server(ProtocolViolation):
    """The server at ``port`` is not a POP3 server; it ``speaks`` another protocol, if that is known."""

    speaks: str = ""
    port: int = 0
    _opening = "this is not a POP3 server"


class LineTooLong(ProtocolViolation):
    """A line of a status or a list exceeded its limit."""

    status = Status.BAD_DATA


class MalformedListing(ProtocolViolation):
    """The reply to LIST, UIDL, CAPA or STAT is invalid."""

    status = Status.BAD_DATA


class PipeliningBroken(ProtocolViolation):
    """A pipelined reply does not begin with a status line: the server mixed up replies."""


class ConnectionFailed(POP3Error, ConnectionError):
    """No connection could be made, because of ``reason``; ``port`` is 0 for a UNIX socket."""

    is_temporary = True
    host: str
    port: int
    reason: str

    def __str__(self) -> str:
        port = f" port {self.port}" if self.port else ""
        return f"cannot connect to {printable(self.host)}{port}: {printable(self.reason)}"


class ConnectionLost(POP3Error, ConnectionError):
    """The stream ended or broke before the session did."""

    is_temporary = True
    host: str
    during: str
    reason: str = "the server closed the connection"

    def __str__(self) -> str:
        return f"lost the connection to {printable(self.host)} {self.during}: {printable(self.reason)}"


class TimedOut(POP3Error, TimeoutError):
    """The server made no progress in ``timeout`` seconds; ``during``: ``waiting for the greeting of``."""

    is_temporary = True
    host: str
    during: str
    timeout: float
    may_await_tls: bool = False  # nothing was received in clear text; a server that waits for TLS is silent

    def __str__(self) -> str:
        return f"timed out after {self.timeout:g} s {self.during} {printable(self.host)}"


class UnknownHost(POP3Error, OSError):
    """The host name does not exist."""

    status = Status.NO_HOST
    host: str
    reason: str = ""

    def __str__(self) -> str:
        failure = f"cannot resolve the host name {printable(self.host)}"
        return f"{failure}: {printable(self.reason)}" if self.reason else failure


class ResolverFailed(POP3Error, OSError):
    """The resolver cannot find out now whether the host name exists, because of ``reason``."""

    is_temporary = True
    host: str
    reason: str

    def __str__(self) -> str:
        return f"cannot resolve the host name {printable(self.host)} now: {printable(self.reason)}"


class ServerNotFound(POP3Error):
    """No server was found for the mail of a domain, because of ``reason``."""

    status = Status.NO_HOST
    domain: str
    reason: str

    def __str__(self) -> str:
        failure = f"no POP3 server was found for {printable(self.domain)}"
        return f"{failure}: {printable(self.reason, _SENTENCE_LIMIT)}"


class TLSError(POP3Error, OSError):
    """TLS could not be started, or broke."""

    status = Status.PROTOCOL
    host: str
    reason: str

    def __str__(self) -> str:
        return f"TLS with {printable(self.host)} failed: {printable(self.reason)}"


class ClientCertificateRequired(TLSError):
    """The server requires a client certificate, and got none."""


class TLSNotSupportedError(TLSError):
    """The server does not offer STLS, or refused it."""

    def __str__(self) -> str:
        return f"{printable(self.host)} cannot start TLS: {printable(self.reason)}"


class NoCommonCipher(TLSError):
    """The server takes none of the ``ciphers`` that were offered, or its keys are too short for them."""

    ciphers: str = ""  # if the user chose them


class NotATLSPort(TLSError):
    """The first octets from the server are not TLS."""


class CertificateError(TLSError):
    """The server's certificate does not verify."""

    certificate: tuple[tuple[str, str], ...] = ()  # pairs such as ("issuer", "CN=…")
    fingerprint: str = ""
    cause: str = ""  # authority, expired, not yet valid, name, fingerprint, or empty
    ca_file: str = ""  # what was trusted, if given

    def __str__(self) -> str:
        facts = (*self.certificate, ("SHA-256", self.fingerprint))
        shown = ", ".join(f"{word} {printable(text, 200)}" for word, text in facts if text)
        failure = f"the certificate of {printable(self.host)} does not verify: {printable(self.reason)}"
        return f"{failure} [{shown}]" if shown else failure


class AuthenticationError(POP3Error):
    """The login cannot be made in this way; ``reason`` is a whole sentence."""

    status = Status.NO_LOGIN
    reason: str

    def __str__(self) -> str:
        return printable(self.reason, _SENTENCE_LIMIT)


class InsecureAuthenticationDisallowed(AuthenticationError):
    """The password would cross the network in clear text; ``is_allowed``: by the user, but APOP failed."""

    offers_stls: bool = False
    is_allowed: bool = False


class MechanismNotOffered(AuthenticationError):
    """The forced method is not offered; ``is_forgeable``: its challenge was received before STLS."""

    is_forgeable: bool = False


class MechanismFailed(AuthenticationError):
    """The server's part of a SASL exchange is wrong; it may not know the secret."""


class AuthorizationFailed(AuthenticationError):
    """The OAuth 2 server gave no token; ``error``: its code, if any (RFC 6749 sections 4.1.2.1, 5.2)."""

    error: str = ""

    @property
    def is_temporary(self) -> bool:  # type: ignore[override]
        return self.error in ("temporarily_unavailable", "server_error")  # its own trouble


class NoPassword(AuthenticationError):
    """No source gave a password, or one that cannot be used; ``is_missing``: there is none at all."""

    is_missing: bool = False


class LoginTooSoon(POP3Error):
    """The pause that the server requires between logins is not over; ``wait`` in seconds."""

    is_temporary = True
    account: str
    wait: int

    def __str__(self) -> str:
        return f"not logging in: {printable(self.account)} allows it in {self.wait} s (LOGIN-DELAY)"


class LoginPaused(LoginTooSoon):
    """The server has refused this secret, as ``why`` says; it is not tried before ``until``, local time."""

    until: str
    why: str

    def __str__(self) -> str:
        pause = f"no login before {printable(self.until)}, so that the account is not locked"
        return f"{printable(self.account)}: {pause}: {printable(self.why, _SENTENCE_LIMIT)}"


class SessionEnded(POP3Error, RuntimeError):
    """The session is over: a call followed QUIT, close or an error."""

    why: str

    def __str__(self) -> str:
        return f"the session is over: {self.why}"


class CommandNotAllowed(POP3Error, RuntimeError):
    """The command is not valid in the session's current state."""

    command: str
    state: str

    def __str__(self) -> str:
        return f"{self.command} is not allowed in the {self.state} state"


class InvalidArgument(POP3Error, ValueError):
    """No POP3 command may contain this argument; ``reason`` never shows it."""

    status = Status.USAGE
    command: str
    reason: str

    def __str__(self) -> str:
        return f"cannot send {self.command}: {printable(self.reason)}"


class EmptyMessage(POP3Error):
    """The server replied +OK, and sent nothing of a message that has octets (Mailutils, if it is deleted)."""

    status = Status.BAD_DATA
    number: int

    def __str__(self) -> str:
        return "it arrived empty"


class IncompleteMessage(POP3Error):
    """The server sent only white space for a message that it lists with ``size``, or ``octets`` of it."""

    status = Status.REFUSED
    number: int
    size: int
    octets: int | None = None

    def __str__(self) -> str:
        arrived = "it arrived blank" if self.octets is None else f"only {self.octets} octets of it arrived"
        return f"{arrived}, although the server lists {self.size} octets"


class UniqueIdsRefused(POP3Error):
    """The server refuses UIDL, although the record has unique-ids of its own."""

    is_temporary = True
    account: str

    def __str__(self) -> str:
        return f"{printable(self.account)}: the server refuses UIDL, which it has answered before"


class HeadersNotOffered(POP3Error):
    """The server has no TOP, and so does not show the headers of a message alone."""

    status = Status.REFUSED

    def __str__(self) -> str:
        return "the server cannot show headers alone: it has no TOP"


class ThreadLimit(POP3Error):
    """The system allows this user or process no more threads."""

    is_temporary = True

    def __str__(self) -> str:
        return "the system allows no more threads; try again later, or raise its limit (ulimit -u, TasksMax)"


class DeletionUnsafe(POP3Error):
    """QUIT would also delete messages that were only read."""

    status = Status.REFUSED

    def __str__(self) -> str:
        return "nothing is deleted: the server may also delete every message that was read"


class MessageNotFound(POP3Error, LookupError):
    """Selected messages are missing: ``selector`` names them, and is empty if there is no message at all."""

    status = Status.NO_MESSAGE
    selector: str
    where: str = "on the server"
    are_several: bool = False

    def __str__(self) -> str:
        none = "are no messages" if self.are_several else "is no message"
        return f"there {none} {printable(self.selector)}".rstrip() + f" {printable(self.where)}"


class UidShared(POP3Error):
    """Several messages share the UID that was to select one; ``numbers`` as text."""

    status = Status.NO_MESSAGE
    selector: str
    numbers: str

    def __str__(self) -> str:
        return f"{printable(self.selector)} is shared by the messages {printable(self.numbers)}"


class DeliveryError(POP3Error, OSError):
    """A message cannot be delivered; ``fatal`` if the next one cannot be delivered either."""

    status = Status.CANNOT_DELIVER
    destination: str
    reason: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"cannot deliver to {printable(self.destination)}: {printable(self.reason)}"


class DestinationLocked(DeliveryError):
    """Another program has locked the destination."""

    is_temporary = True


class ServerFailed(DeliveryError):
    """The server of a destination does not take messages, or not this one; ``status`` is the exit status."""

    status: Status = Status.CANNOT_DELIVER  # type: ignore[misc]
    broke_at: tuple[bytes, int] | None = None  # the key of the message that may be why the delivery ended
    may_have_it: bool = False  # whether the server may have taken that message, as its reply was lost
    unless_named: int | None = None  # the number of a message that is not sent again unless it is named

    @property
    def is_temporary(self) -> bool:  # type: ignore[override]
        return self.status is Status.TRY_LATER


class RecordNotWritten(DeliveryError):
    """The disk is full, or fails, when the record is written; ``destination`` is the record."""

    def __str__(self) -> str:
        return f"cannot write the record {printable(self.destination)}: {printable(self.reason)}"


class FetcherRunning(POP3Error):
    """Another program, whose files are read, is running: ``lock`` shows it; ``process`` if that is known."""

    is_temporary = True
    program: str
    lock: str
    process: int | None = None

    def __str__(self) -> str:
        is_running = "seems to be running" if self.process is None else f"is running (process {self.process})"
        return f"{printable(self.program)} {is_running}: {printable(self.lock)}"


class RecordError(POP3Error):
    """The record of fetched messages cannot be used."""

    status = Status.CONFIGURATION
    path: str
    reason: str

    def __str__(self) -> str:
        return f"cannot use the record {printable(self.path)}: {printable(self.reason)}"


class RecordLocked(RecordError):
    """Another run is using this account."""

    is_temporary = True

    def __str__(self) -> str:
        return f"another pop3fetch is using this account ({printable(self.path)} is locked)"


class ConfigurationError(POP3Error, ValueError):
    """The configuration is wrong; ``where`` names file, table and key."""

    status = Status.CONFIGURATION
    where: str
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.where)}: {printable(self.reason)}"


class NothingRecognised(ConfigurationError):
    """The server lists none of the messages that were added to the record, ``where``."""


class NothingToVerify(ConfigurationError):
    """TLS to a UNIX socket: it has no host name to check a certificate against."""

    reason: str = "a UNIX socket has no host name to check a certificate against"


class UsageError(POP3Error, ValueError):
    """The command line is wrong; ``reason`` is a whole sentence."""

    status = Status.USAGE
    reason: str

    def __str__(self) -> str:
        return printable(self.reason)


class InvalidSelector(UsageError):
    """A word of MESSAGES is invalid; ``is_address`` if it may be meant as an account."""

    word: str = ""
    is_address: bool = False
