"""A refused login, from one run to the next: without a terminal the same password waits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.clock import Clock
from tests.support.command import Ended, Run
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer
from tests.support.served_mail import GREETING, Post, StartPost, delivered
from tests.support.terminal import Terminal

COMMANDS = [["stat"], ["list"], ["get"], ["get", "-o", "-", "1"], ["rm", "1"], ["caps"], ["login"]]
MINUTE = 60


def error(ended: Ended) -> str:
    (line,) = ended.err.decode().splitlines()
    return line.removeprefix("pop3fetch: ")


def logins(served: Post) -> int:
    return sum(verb in (b"APOP", b"PASS", b"AUTH") for verb in served.verbs)


@pytest.fixture
def refusing(post: StartPost) -> Post:
    """Return a server that knows another password."""
    return post(password="new")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_connects_with_a_password_that_was_refused(
    here: Here, refusing: Post, arguments: list[str]
) -> None:
    assert here("stat", env=refusing.environment).status == 77
    ended = here(*arguments, env=refusing.environment)
    assert (ended.status, ended.out) == (75, b"")
    assert len(refusing.server.talks) == 1


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_each_command_that_logs_in_remembers_a_refusal(
    here: Here, refusing: Post, arguments: list[str]
) -> None:
    assert here(*arguments, env=refusing.environment).status == 77
    assert here("stat", env=refusing.environment).status == 75
    assert logins(refusing) == 1


def test_the_error_says_until_when_and_why_and_what_helps(here: Here, refusing: Post) -> None:
    first = error(here("stat", env=refusing.environment))
    refusal = "the server refused the login of alice (APOP): [AUTH] wrong user or password"
    assert first == f"{refusal}; check POP3FETCH_PASSWORD"
    second = error(here("stat", env=refusing.environment))
    account = f"alice@127.0.0.1:{refusing.server.port}"
    assert second.startswith(f"{account}: no login before 2")
    advice = "a new password is tried at once; on a terminal, every password is"
    assert second.endswith(f", so that the account is not locked: {refusal}; {advice}")


def test_the_pauses_grow_up_to_six_hours(here: Here, refusing: Post, clock: Clock) -> None:
    for tried, minutes in enumerate([15, 30, 60, 120, 240, 360, 360, 360], 1):
        assert here("get", env=refusing.environment).status == 77
        for passed in (minutes * MINUTE - 1, 1):
            assert here("get", env=refusing.environment).status == 75
            assert logins(refusing) == tried
            clock.forward(passed)


def test_another_password_is_tried_at_once(here: Here, refusing: Post, maildir: Path) -> None:
    assert here("get", "-o", maildir, env=refusing.environment).status == 77
    assert here("get", "-o", maildir, env={**refusing.environment, "POP3FETCH_PASSWORD": "new"}).status == 0
    assert len(delivered(maildir)) == 3


def test_a_success_forgets_the_refusals(here: Here, refusing: Post, home: Path) -> None:
    assert here("stat", env=refusing.environment).status == 77
    refusing.mailbox.password = b"secret"
    assert here("stat", env={**refusing.environment, "POP3FETCH_PASSWORD": "new"}).status == 77
    assert here("stat", env=refusing.environment).status == 75
    refusing.mailbox.password = b"newest"
    assert here("stat", env={**refusing.environment, "POP3FETCH_PASSWORD": "newest"}).status == 0
    assert list((home / ".local/state/pop3fetch").glob("*.refused*")) == []
    refusing.mailbox.password = b"secret"
    assert here("stat", env=refusing.environment).status == 0


def test_on_a_terminal_the_password_is_tried_again(
    here: Here, refusing: Post, terminal: Terminal, home: Path
) -> None:
    assert here("stat", env=refusing.environment).status == 77
    assert terminal("stat", env=refusing.environment).status == 77
    assert logins(refusing) == 2
    assert here("stat", env=refusing.environment).status == 75
    refusing.mailbox.password = b"secret"
    assert terminal("stat", env=refusing.environment).status == 0
    assert list((home / ".local/state/pop3fetch").glob("*.refused*")) == []


def test_a_password_that_is_mistyped_holds_up_no_job(here: Here, post: StartPost, terminal: Terminal) -> None:
    served = post()
    account = {"POP3FETCH_ACCOUNT": served.server.url()}
    typed = terminal("stat", env=account, answers=[(b"Password of", b"sceret\n")] * 3)
    assert typed.status == 77
    assert here("stat", env=served.environment).status == 0


@pytest.mark.parametrize(
    "reply", [b"-ERR [IN-USE] locked\r\n", b"-ERR [SYS/TEMP] oops\r\n", b"-ERR [SYS/PERM] gone\r\n"]
)
def test_a_refusal_for_another_reason_is_not_remembered(
    here: Here, server: StartServer, reply: bytes
) -> None:
    mailbox = Mailbox([], replies={b"PASS secret\r\n": reply})
    running = server(mailbox)
    env = {"POP3FETCH_ACCOUNT": running.url(), "POP3FETCH_PASSWORD": "secret"}
    statuses = {here("stat", "--allow-insecure-login", "--auth", "user", env=env).status for _ in "12"}
    assert len(statuses) == 1
    assert len(running.talks) == 2


def test_a_password_command_is_asked_before_the_server(here: Here, refusing: Post, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old\n")
    env = {"POP3FETCH_ACCOUNT": refusing.server.url(), "POP3FETCH_PASSWORD_COMMAND": f"cat {secret}"}
    assert [here("stat", env=env).status for _ in "12"] == [77, 75]
    secret.write_text("new\n")
    assert here("stat", env=env).status == 0


def test_a_refused_certificate_login_is_not_about_a_password(here: Here, server: StartServer) -> None:
    mailbox = Mailbox(
        [], capabilities=(b"SASL EXTERNAL",), replies={b"AUTH EXTERNAL =\r\n": b"-ERR [AUTH] no\r\n"}
    )
    running = server(mailbox)
    env = {"POP3FETCH_ACCOUNT": running.url(), "POP3FETCH_AUTH": "external", "POP3FETCH_TLS": "off"}
    ended = [here("stat", "--allow-insecure-login", env=env) for _ in "12"]
    assert [each.status for each in ended] == [77, 77]


def test_the_password_is_in_no_file(run: Run, refusing: Post, home: Path) -> None:
    env = {**refusing.environment, "POP3FETCH_PASSWORD": "wr0ng-w0rd"}
    assert run("get", "-vv", env=env).status == 77
    files = [file for file in home.rglob("*") if file.is_file()]
    assert [file.suffix for file in files].count(".refused") == 1
    assert [file for file in files if b"wr0ng-w0rd" in file.read_bytes()] == []


def test_each_guess_of_the_password_takes_work(run: Run, refusing: Post, home: Path) -> None:
    assert run("stat", env={**refusing.environment, "POP3FETCH_PASSWORD": "wr0ng-w0rd"}).status == 77
    (file,) = home.rglob("*.refused")
    kept = json.loads(file.read_bytes())
    digest = hashlib.scrypt(b"wr0ng-w0rd", salt=bytes.fromhex(kept["salt"]), n=1 << 14, r=8, p=1, dklen=32)
    assert [each["digest"] for each in kept["secrets"]] == [digest.hex()]


def test_two_accounts_wait_each_for_itself(here: Here, post: StartPost, tmp_path: Path) -> None:
    wrong, right = post(password="new"), post()
    config = tmp_path / "config.toml"
    config.write_text(
        "".join(
            f"[accounts.{name}]\nhost = '127.0.0.1'\nport = {served.server.port}\ntls = 'auto'\n"
            "user = 'alice'\npassword = 'secret'\n"
            for name, served in (("wrong", wrong), ("right", right))
        )
    )
    config.chmod(0o600)
    statuses = [here("get", "-A", "-c", config).status for _ in "12"]
    assert statuses == [77, 75]
    assert (logins(wrong), logins(right)) == (1, 2)


def test_a_password_that_is_refused_over_tls_is_sent_once(here: Here, post: StartPost, ca_file: Path) -> None:
    served = post(password="new", tls="implicit", greeting=GREETING)
    env = {**served.environment, "POP3FETCH_CA_FILE": str(ca_file)}
    assert [here("get", env=env).status for _ in "1234"] == [77, 75, 75, 75]
    assert logins(served) == 1
