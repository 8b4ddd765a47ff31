"""A server that loses what is sent before its greeting is remembered."""

from __future__ import annotations

from pathlib import Path

from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.sessions import everything_sent, serve


def lose(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n")
    talk.stall()


def test_what_a_server_loses_is_remembered(
    here: Here, server: StartServer, ca_file: Path, tmp_path: Path
) -> None:
    mailbox = Mailbox([b"Subject: x\r\n"])
    running = serve(server, [lose, mailbox, mailbox, mailbox], "implicit")
    account = ("-a", f"pop3s://alice@localhost:{running.port}", "--ca-file", ca_file)
    for command in ("stat", "stat", "list"):
        state = ("--state-dir", tmp_path / "state")
        ended = here(command, *account, *state, env={"POP3FETCH_PASSWORD": "secret"})
        assert (ended.status, ended.err) == (0, b"")
    assert len(everything_sent(running)) == 4
