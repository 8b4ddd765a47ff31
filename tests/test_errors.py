"""The errors: the tree that is drawn is the tree that is, and no sentence can do harm."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pop3fetch import errors
from pop3fetch.errors import (
    AuthenticationError,
    AuthorizationFailed,
    CertificateError,
    ClientCertificateRequired,
    CommandNotAllowed,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    DeletionUnsafe,
    DeliveryError,
    DestinationLocked,
    EmptyMessage,
    FetcherRunning,
    GreetingRefused,
    HeadersNotOffered,
    IncompleteMessage,
    InsecureAuthenticationDisallowed,
    InvalidArgument,
    InvalidSelector,
    LineTooLong,
    LoginPaused,
    LoginRefused,
    LoginTooSoon,
    MalformedListing,
    MechanismFailed,
    MechanismNotOffered,
    MessageNotFound,
    NoCommonCipher,
    NoPassword,
    NotATLSPort,
    NothingRecognised,
    NothingToVerify,
    NotPOP3Server,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    RecordError,
    RecordLocked,
    RecordNotWritten,
    ResolverFailed,
    ServerErrorResponse,
    ServerFailed,
    ServerNotFound,
    SessionEnded,
    ThreadLimit,
    TimedOut,
    TLSError,
    TLSNotSupportedError,
    UidShared,
    UniqueIdsRefused,
    UnknownHost,
    UsageError,
    facts_of,
)
from pop3fetch.refusal import code_means_later
from pop3fetch.status import Status

# The contract's table of exit statuses, by error.
STATUSES: dict[int, set[type[POP3Error]]] = {
    2: {InvalidArgument, InvalidSelector, UsageError},
    65: {EmptyMessage, LineTooLong, MalformedListing},
    66: {MessageNotFound, UidShared},
    68: {UnknownHost, ServerNotFound},
    69: {DeletionUnsafe, GreetingRefused, HeadersNotOffered, IncompleteMessage, ServerErrorResponse},
    73: {DeliveryError, RecordNotWritten, ServerFailed},
    75: {
        ConnectionFailed,
        ConnectionLost,
        DestinationLocked,
        FetcherRunning,
        LoginPaused,
        LoginTooSoon,
        RecordLocked,
        ResolverFailed,
        ThreadLimit,
        TimedOut,
        UniqueIdsRefused,
    },
    76: {
        CertificateError,
        ClientCertificateRequired,
        CommandNotAllowed,
        NoCommonCipher,
        NotATLSPort,
        NotPOP3Server,
        PipeliningBroken,
        POP3Error,
        ProtocolViolation,
        SessionEnded,
        TLSError,
        TLSNotSupportedError,
    },
    77: {
        AuthenticationError,
        AuthorizationFailed,
        InsecureAuthenticationDisallowed,
        LoginRefused,
        MechanismFailed,
        MechanismNotOffered,
        NoPassword,
    },
    78: {ConfigurationError, NothingRecognised, NothingToVerify, RecordError},
}

# -- the tree --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A line of the tree on top of the module."""

    name: str
    parent: str
    also: str


def drawn_tree() -> Iterator[Drawn]:
    """Yield the lines below the root, which are four columns deeper than their parents."""
    line = re.compile(r"    (?P<branches>[│├└─ ]*)── (?P<name>\w+)(?P<note>.*)")
    ancestors = ["POP3Error"]
    for match in map(line.fullmatch, (errors.__doc__ or "").splitlines()):
        if match:
            del ancestors[len(match["branches"]) // 4 + 1 :]
            also = re.search(r"; also (\w+)$", match["note"])
            yield Drawn(match["name"], ancestors[-1], also[1] if also else "")
            ancestors.append(match["name"])


def class_tree(parent: type[POP3Error] = POP3Error) -> Iterator[type[POP3Error]]:
    for child in parent.__subclasses__():
        yield child
        yield from class_tree(child)


def test_the_drawn_tree_is_the_class_tree() -> None:
    classes = [error for error in class_tree() if error.__module__ == errors.__name__]
    built_in = [
        [base.__name__ for base in error.__bases__ if hasattr(builtins, base.__name__)] for error in classes
    ]
    assert set(drawn_tree()) == {
        Drawn(error.__name__, error.__bases__[0].__name__, "".join(also))
        for error, also in zip(classes, built_in, strict=True)
    }


def test_no_error_of_ours_is_outside_the_tree() -> None:
    exceptions = {
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, BaseException)
    }
    assert exceptions == {POP3Error, *class_tree()}


def test_every_error_or_one_below_it_is_raised() -> None:
    package = Path(errors.__file__).parent
    nodes = [
        node
        for path in package.rglob("*.py")
        if path != Path(errors.__file__)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    made = [node.func for node in nodes if isinstance(node, ast.Call)]
    made += [node.exc for node in nodes if isinstance(node, ast.Raise) and node.exc]
    names = {ast.unparse(error).rpartition(".")[2] for error in made}
    unused = {
        error.__name__
        for error in class_tree()
        if not names & {each.__name__ for each in (error, *class_tree(error))}
    }
    assert unused == set()


# -- exit statuses -----------------------------------------------------------------------------------


def hostile(error: type[POP3Error]) -> POP3Error:
    """Return such an error, whose facts from outside hold all that a terminal obeys."""
    return error(**{name: fact(name, str(kind_of(error, name))) for name in facts_of(error)})


def kind_of(error: type[POP3Error], name: str) -> object:
    return next(vars(each)["__annotations__"][name] for each in error.__mro__ if name in each.__annotations__)


# In our own words. (``command`` has passed command_line(), which takes only keywords.)
OURS = {
    "what": "what",
    "command": "RETR",
    "during": "",
    "state": "WAITING",
    "why": "",
    "hint": "",
    "fingerprint": "0f",
}
POISON = "a\x1b[31m\x9b\r\n\t\0\x7f\u202e\u2028" + "x" * 5000


def fact(name: str, kind: str) -> object:
    foreign = {
        "Status": Status.CANNOT_DELIVER,
        "str": POISON,
        "bytes": POISON.encode() + b"\xff",
        "bytes | None": None,
        "tuple[tuple[str, str], ...]": 4 * (("subject", POISON),),
    }
    return OURS[name] if name in OURS and kind == "str" else foreign.get(kind, 7)


EVERY_ERROR = pytest.mark.parametrize("error", [POP3Error, *class_tree()])


@EVERY_ERROR
def test_the_exit_status_of_an_error_is_the_contracts(error: type[POP3Error]) -> None:
    [status] = [status for status, members in STATUSES.items() if error in members]
    assert hostile(error).exit_status == status
    assert hostile(error).is_temporary == (status == Status.TRY_LATER)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (b"IN-USE", Status.TRY_LATER),
        (b"in-use", Status.TRY_LATER),
        (b"IN-USE/x", Status.TRY_LATER),
        (b"LOGIN-DELAY", Status.TRY_LATER),
        (b"SYS/TEMP", Status.TRY_LATER),
        (b"Sys/Temp", Status.TRY_LATER),
        (b"SYS/TEMP/x", Status.TRY_LATER),
        (b"sys/temp/disk/full", Status.TRY_LATER),
        (b"SYS/PERM", Status.NO_LOGIN),
        (b"SYS/PERM/x", Status.NO_LOGIN),
        (b"AUTH", Status.NO_LOGIN),
        (b"AUTH/x", Status.NO_LOGIN),
        (b"SYS", None),
        (b"SYS/OTHER", None),
        (b"SYS/TEMPORARY", None),
        (b"IN-USED", None),
        (b"/IN-USE", None),
        (b"UTF8", None),
        (b"", None),
        (None, None),
    ],
)
def test_a_response_code_decides_the_exit_status_of_a_refusal(
    code: bytes | None, status: Status | None
) -> None:
    assert code_means_later(code) is {Status.TRY_LATER: True, Status.NO_LOGIN: False, None: None}[status]
    assert ServerErrorResponse("RETR", b"no", code).exit_status == (status or 69)
    assert GreetingRefused("the connection", b"no", code).exit_status == (status or 69)
    assert LoginRefused("APOP", b"no", code, "alice").exit_status == (status or 77)


LATER = """\
maildrop already locked
Mailbox is locked by another POP3 session
Mailbox of alice@example.org is locked
Unable to lock maildrop
can't lock your maildrop
POP lock busy!  Is another session active?
Mailbox in use
Account is in use by another client
locked
Please try again later.
Try again in a few minutes
please retry later
Server is too busy
too many connections
Too many concurrent POP3 sessions
Too many connections from your IP address
Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)
Temporary authentication failure. [mail:2026-01-01 00:00:00]
Service temporarily unavailable
"""
NOT_LATER = """\
no such message
unknown command
wrong password
login failed
Invalid login, try again
Authentication failed, please try again later
Too many failed login attempts
Too many login failures, try again later
Account locked
User locked
Your account is temporarily locked due to too many failed logins
Password expired, try again later
mailbox locked: access denied
Mailbox disabled
"""


@pytest.mark.parametrize("words", LATER.splitlines())
def test_words_that_mean_only_later_are_a_temporary_failure(words: str) -> None:
    for error in (
        ServerErrorResponse("RETR", words.encode()),
        GreetingRefused("the connection", words.upper().encode()),
        LoginRefused("USER", b"  " + words.encode(), None, "alice"),
        LoginRefused("USER", b"[X-OWN] " + words.encode(), b"X-OWN", "alice"),
    ):
        assert error.exit_status is Status.TRY_LATER
        assert error.is_temporary


@pytest.mark.parametrize("words", NOT_LATER.splitlines())
def test_other_words_are_a_refusal(words: str) -> None:
    assert LoginRefused("USER", words.encode(), None, "alice").exit_status is Status.NO_LOGIN
    assert ServerErrorResponse("RETR", words.encode()).exit_status is Status.REFUSED


def test_a_response_code_decides_before_the_words() -> None:
    refusal = LoginRefused("USER", b"[AUTH] try again later", b"AUTH", "alice")
    assert refusal.exit_status is Status.NO_LOGIN
    assert LoginRefused("USER", b"[SYS/TEMP] wrong password", b"SYS/TEMP", "alice").is_temporary


# -- sentences ---------------------------------------------------------------------------------------


@EVERY_ERROR
def test_a_sentence_is_one_bounded_line_whatever_the_facts_are(error: type[POP3Error]) -> None:
    sentence = str(hostile(error))
    assert sentence.isprintable()
    assert len(sentence) < 2000
    assert sentence or error is POP3Error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ServerErrorResponse("RETR", b" no such message "), "the server refused RETR: no such message"),
        (ServerErrorResponse("RETR", b""), "the server refused RETR: it gave no reason"),
        (
            GreetingRefused("the connection", b"[SYS/TEMP] disk full", b"SYS/TEMP"),
            "the server refused the connection: [SYS/TEMP] disk full",
        ),
        (
            LoginRefused("APOP", b"[AUTH] no", b"AUTH", "alice"),
            "the server refused the login of alice (APOP): [AUTH] no",
        ),
        (ProtocolViolation("what it did"), "the server broke the protocol: what it did"),
        (ProtocolViolation("what it did", b"\x1b"), "the server broke the protocol: what it did: \\x1b"),
        (NotPOP3Server("a web server answers"), "this is not a POP3 server: a web server answers"),
        (
            NotPOP3Server("a web server answers", b"HTTP/1.1 400"),
            "this is not a POP3 server: a web server answers: HTTP/1.1 400",
        ),
        (ConnectionFailed("h", 995, "it is refused"), "cannot connect to h port 995: it is refused"),
        (ConnectionFailed("unix:/s", 0, "it is refused"), "cannot connect to unix:/s: it is refused"),
        (
            ConnectionLost("h", "while waiting for the greeting"),
            "lost the connection to h while waiting for the greeting: the server closed the connection",
        ),
        (TimedOut("h", "connecting to", 60.0), "timed out after 60 s connecting to h"),
        (TimedOut("h", "connecting to", 0.5), "timed out after 0.5 s connecting to h"),
        (ResolverFailed("h", "no answer"), "cannot resolve the host name h now: no answer"),
        (UnknownHost("h"), "cannot resolve the host name h"),
        (UnknownHost("h", "no such name"), "cannot resolve the host name h: no such name"),
        (ServerNotFound("d", "gone"), "no POP3 server was found for d: gone"),
        (TLSError("h", "an alert"), "TLS with h failed: an alert"),
        (TLSNotSupportedError("h", "it has no STLS"), "h cannot start TLS: it has no STLS"),
        (NoCommonCipher("h", "alert"), "TLS with h failed: alert"),
        (NotATLSPort("h", "it is plain"), "TLS with h failed: it is plain"),
        (CertificateError("h", "it is expired"), "the certificate of h does not verify: it is expired"),
        (
            CertificateError("h", "it is expired", (("subject", "CN=h"), ("issuer", "CN=x")), "0f"),
            "the certificate of h does not verify: it is expired [subject CN=h, issuer CN=x, SHA-256 0f]",
        ),
        (NoPassword("no password: set one"), "no password: set one"),
        (LoginTooSoon("work", 30), "not logging in: work allows it in 30 s (LOGIN-DELAY)"),
        (
            LoginPaused("work", 30, "2026-11-29 08:15", "refused"),
            "work: no login before 2026-11-29 08:15, so that the account is not locked: refused",
        ),
        (SessionEnded("QUIT was sent"), "the session is over: QUIT was sent"),
        (CommandNotAllowed("RETR", "AUTHORIZATION"), "RETR is not allowed in the AUTHORIZATION state"),
        (InvalidArgument("USER", "it is too long"), "cannot send USER: it is too long"),
        (MessageNotFound("uid:x"), "there is no message uid:x on the server"),
        (MessageNotFound("5-9", are_several=True), "there are no messages 5-9 on the server"),
        (MessageNotFound(""), "there is no message on the server"),
        (IncompleteMessage(3, 500), "it arrived blank, although the server lists 500 octets"),
        (IncompleteMessage(3, 500, 90), "only 90 octets of it arrived, although the server lists 500 octets"),
        (
            UniqueIdsRefused("alice@example.org"),
            "alice@example.org: the server refuses UIDL, which it has answered before",
        ),
        (UidShared("uid:x", "1, 2"), "uid:x is shared by the messages 1, 2"),
        (EmptyMessage(3), "it arrived empty"),
        (DeliveryError("maildir:m", "No space left"), "cannot deliver to maildir:m: No space left"),
        (RecordNotWritten("r", "disk full"), "cannot write the record r: disk full"),
        (RecordError("r", "it is no database"), "cannot use the record r: it is no database"),
        (RecordLocked("r", ""), "another pop3fetch is using this account (r is locked)"),
        (ConfigurationError("c: [x] y", "unknown key"), "c: [x] y: unknown key"),
        (NothingRecognised("r", "none is listed"), "r: none is listed"),
        (
            NothingToVerify("unix:/s"),
            "unix:/s: a UNIX socket has no host name to check a certificate against",
        ),
        (UsageError("no account"), "no account"),
        (InvalidSelector("'0' names no message", "0"), "'0' names no message"),
    ],
)
def test_an_error_names_what_happened_and_where(error: POP3Error, sentence: str) -> None:
    assert str(error) == sentence


@pytest.mark.parametrize(
    ("error", "caught_as"),
    [
        (ConnectionFailed, ConnectionError),
        (ConnectionLost, ConnectionError),
        (TimedOut, TimeoutError),
        (UnknownHost, OSError),
        (ResolverFailed, OSError),
        (CertificateError, OSError),
        (InvalidArgument, ValueError),
        (MessageNotFound, LookupError),
        (SessionEnded, RuntimeError),
    ],
)
def test_errors_are_also_those_of_python(error: type[POP3Error], caught_as: type[Exception]) -> None:
    with pytest.raises(caught_as):
        raise hostile(error)


@EVERY_ERROR
def test_no_sentence_names_an_option_or_a_command(error: type[POP3Error]) -> None:
    assert not re.search(r"--\w|pop3fetch \w", str(hostile(error)).replace("another pop3fetch is", ""))


def test_an_error_takes_just_its_own_facts() -> None:
    with pytest.raises(TypeError, match="EmptyMessage takes number"):
        EmptyMessage(1, 2)  # type: ignore[call-arg]
    assert repr(EmptyMessage(3)) == "EmptyMessage(number=3)"
