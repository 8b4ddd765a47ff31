"""The password that a person types: when it is asked for, and how often."""

from __future__ import annotations

import pytest

from pop3fetch.status import Status
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.served_mail import GREETING, LETTERS, StartPost
from tests.support.terminal import Terminal

ASKED = b"Password of alice@127.0.0.1"
RIGHT, WRONG, NONE = (ASKED, b"secret\n"), (ASKED, b"guess\n"), (ASKED, b"\x04")
REFUSED = "pop3fetch: the server refused the login of alice (APOP): [AUTH] wrong user or password"
COUNTED = "3 messages, 1.5 kB"


@pytest.mark.parametrize("command", ["stat", "login"])
@pytest.mark.parametrize("wrong", [1, 2])
def test_a_wrong_password_is_asked_for_again(
    terminal: Terminal, post: StartPost, command: str, wrong: int
) -> None:
    served = post()
    env = {"POP3FETCH_ACCOUNT": served.server.url()}
    seen = terminal(command, *["--store", "none"][: 2 * (command == "login")], env=env, columns=120,
                    answers=[*[WRONG] * wrong, RIGHT])  # fmt: skip
    assert seen.status == Status.OK
    question = f"{ASKED.decode()}:{served.server.port}:"
    assert seen.screen[:-1] == [*[question, REFUSED] * wrong, question]
    assert served.verbs.count(b"APOP") == wrong + 1


def test_the_third_wrong_password_is_the_last(terminal: Terminal, post: StartPost) -> None:
    served = post()
    seen = terminal("stat", env={"POP3FETCH_ACCOUNT": served.server.url()}, answers=[WRONG] * 3, columns=120)
    assert (seen.status, seen.screen[-1]) == (Status.NO_LOGIN, REFUSED)
    assert served.verbs.count(b"APOP") == 3


def test_no_password_the_second_time_is_the_end(terminal: Terminal, post: StartPost) -> None:
    served = post()
    seen = terminal("stat", env={"POP3FETCH_ACCOUNT": served.server.url()}, answers=[WRONG, NONE])
    assert seen.status == Status.NO_LOGIN
    assert b"there is no password" in seen.raw


def test_a_wrong_password_that_was_not_typed_is_not_asked_for(terminal: Terminal, post: StartPost) -> None:
    served = post(password="other")
    seen = terminal("stat", env=served.environment, columns=120)
    assert (seen.status, seen.screen) == (Status.NO_LOGIN, [f"{REFUSED}; check POP3FETCH_PASSWORD"])


def test_a_temporary_refusal_does_not_ask_again(terminal: Terminal, post: StartPost) -> None:
    served = post(
        capabilities=[b"USER"], greeting=b"+OK\r\n", replies={b"PASS secret\r\n": b"-ERR [IN-USE] x\r\n"}
    )
    env = {"POP3FETCH_ACCOUNT": served.server.url(), "POP3FETCH_ALLOW_INSECURE_LOGIN": "1"}
    assert terminal("stat", env=env, answers=[RIGHT]).status == Status.TRY_LATER


def test_a_server_that_does_not_wait_is_connected_to_again(terminal: Terminal, server: StartServer) -> None:
    def impatient(talk: Talk) -> None:
        talk.say(GREETING)
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nUSER\r\n.\r\n")
        talk.close()

    running = server([impatient, Mailbox(LETTERS, greeting=GREETING)])
    seen = terminal("stat", env={"POP3FETCH_ACCOUNT": running.url()}, answers=[RIGHT])
    assert (seen.status, seen.screen[1:]) == (Status.OK, [COUNTED])


def test_a_certificate_that_does_not_verify_shows_before_the_question(
    terminal: Terminal, post: StartPost
) -> None:
    served = post(tls="implicit")
    seen = terminal("login", env={"POP3FETCH_ACCOUNT": f"pop3s://alice@127.0.0.1:{served.server.port}"})
    assert seen.status == Status.PROTOCOL
    assert b"Password" not in seen.raw
