"""The whole client against octets of any kind: well-formed, spoilt, or random, cut anywhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pop3fetch.cli.main import run
from pop3fetch.cli.screen.console import Console
from pop3fetch.status import Status
from tests.fuzz import core
from tests.fuzz.model import Stream
from tests.support.hostile_servers import GREETING, PASSWORD, SECRETS, litter, new_in, recorded_in
from tests.support.scripted_server import ScriptedServer, Talk
from tests.support.served_mail import harmless

CAPA = b"+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\n.\r\n"
MESSAGES = (
    b"Subject: one\r\n\r\nHello.\r\n",
    b"From: x\r\n\r\n..stuffed\r\n\n.\n+OK\r\n",
    b"\r\n" + bytes(range(128, 256)) + b"\0\r\r\n",
)
LIST = b"+OK\r\n1 23\r\n2 30\r\n3 140\r\n.\r\n"
UIDL = b"+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n"
HONEST = [
    GREETING, CAPA, b"+OK\r\n", CAPA, LIST, UIDL, *(b"+OK\r\n" + message + b".\r\n" for message in MESSAGES),
    b"+OK\r\n", b"+OK\r\n", b"+OK\r\n", b"+OK bye\r\n",
]  # fmt: skip

POSSIBLE = {*Status} - {Status.USAGE, Status.CONFIGURATION, Status.INTERRUPTED, Status.TERMINATED}
PIECES = [
    b"",
    b"\r\n.\r\n",
    b".",
    b"\n",
    b"\r",
    b"+OK\r\n",
    b"-ERR\r\n",
    b"\0",
    b"\x1b[2J",
    b"9" * 30,
    b" ",
    b"+ \r\n",
]


@dataclass(frozen=True)
class Spoiling:
    """One change: at ``reply`` and ``place`` (both modulo), ``dropped`` octets make room for ``put``."""

    reply: int
    place: int
    dropped: int
    put: bytes

    def of(self, replies: list[bytes]) -> None:
        index = self.reply % len(replies)
        place = self.place % (len(replies[index]) + 1)
        replies[index] = replies[index][:place] + self.put + replies[index][place + self.dropped :]


spoilings = st.lists(
    st.builds(
        Spoiling,
        st.integers(0, 20),
        st.integers(0, 200),
        st.integers(0, 5),
        st.sampled_from(PIECES) | st.binary(max_size=6),
    ),
    max_size=3,
)
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=4)


def spoilt(changes: Sequence[Spoiling]) -> list[bytes]:
    replies = list(HONEST)
    for change in changes:
        change.of(replies)
    return replies


class Playing:
    """Answers each command with the next reply, in pieces; keeps what it sent and received."""

    def __init__(self, replies: Sequence[bytes], sizes: Sequence[int]) -> None:
        self._replies = replies
        self._sizes = sizes
        self.sessions: list[tuple[bytearray, list[bytes]]] = []

    def __call__(self, talk: Talk) -> None:
        said = bytearray()
        self.sessions.append((said, talk.commands))
        for reply in self._replies:
            for piece in core.cut(reply, self._sizes):
                said += piece
                talk.say(piece)
            if not talk.line():
                return

    def messages(self) -> list[bytes]:
        """Return the messages that came whole, by the model."""
        return [
            answer.content
            for said, commands in self.sessions
            for answer in Stream(bytes(said)).answers(commands)
            if answer.command.startswith(b"RETR") and answer.content is not None
        ]


def attacked(playing: Playing, folder: Path) -> tuple[int, bytes]:
    """Fetch and delete all mail; return the status and the output."""
    out, err = folder / "out", folder / "err"
    with ScriptedServer(playing) as server, open(out, "w") as out_file, open(err, "w") as err_file:
        arguments = [
            "get", "-a", server.url(), "-o", str(folder / "Maildir"), "--state-dir", str(folder / "state"),
            "--delete", "--crlf", "--timeout", "0.1",
        ]  # fmt: skip
        status = run(arguments, Console(out_file, err_file, os.environ))
        server.wait()
    return status, err.read_bytes()


def check(replies: Sequence[bytes], sizes: Sequence[int]) -> None:
    """Run the whole client over ``replies``, and require what holds whatever they are."""
    playing = Playing(replies, sizes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        status, said = attacked(playing, folder)
        delivered = new_in(folder / "Maildir")
        recorded = recorded_in(folder / "state")
        assert litter(folder / "Maildir", folder / "state") == []
    assert status in POSSIBLE, said
    assert (status == 0) or said.startswith(b"pop3fetch: ")
    assert harmless(said)
    assert b"internal error" not in said
    assert not [secret for secret in SECRETS if secret in said]
    came = iter(playing.messages())
    assert all(message in came for message in delivered), "it delivered what was not sent, or not whole"
    assert len(recorded) <= len(delivered)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POP3FETCH_PASSWORD", PASSWORD)


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(changes=spoilings, sizes=sizes)
def test_a_session_that_is_spoilt_anywhere_delivers_what_was_sent(
    changes: list[Spoiling], sizes: list[int]
) -> None:
    check(spoilt(changes), sizes)


@settings(QUICK, max_examples=20)
@given(replies=st.lists(st.binary(max_size=60), max_size=8), sizes=sizes, honest=st.integers(0, 8))
def test_any_octets_from_anywhere_in_a_session_do_no_harm(
    replies: list[bytes], sizes: list[int], honest: int
) -> None:
    check([*HONEST[:honest], *replies], sizes)


@settings(QUICK, max_examples=300)
@given(octets=st.lists(st.sampled_from([*PIECES, *HONEST]) | st.binary(max_size=9), max_size=12), sizes=sizes)
def test_the_state_machine_and_the_model_agree(octets: list[bytes], sizes: list[int]) -> None:
    core.check(b"".join(octets), sizes)


@settings(QUICK, max_examples=200)
@given(changes=spoilings, sizes=sizes)
def test_the_state_machine_and_the_model_agree_on_spoilt_sessions(
    changes: list[Spoiling], sizes: list[int]
) -> None:
    core.check(b"".join(spoilt(changes)), sizes)


@pytest.mark.parametrize(
    "file", sorted((Path(core.__file__).parent / "corpus").iterdir()), ids=lambda file: file.name
)
def test_the_corpus_is_understood(file: Path) -> None:
    octets = file.read_bytes()
    core.check(octets[3:], list(octets[:3]))
