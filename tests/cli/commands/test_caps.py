"""`caps`: what the server can do, before and after the login, and in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES
from tests.support.scripted_server import Talk
from tests.support.served_mail import HOSTILE, Post, StartPost, harmless


def without_user(served: Post, tls: str = "auto") -> list[str]:
    return ["-H", served.server.host, "-p", str(served.server.port), "--tls", tls]


def test_without_a_user_there_is_no_login(here: Here, post: StartPost) -> None:
    served = post()
    ended = here("caps", *without_user(served))
    assert ended.out == b"".join(line + b"\n" for line in CAPABILITIES)
    assert (ended.status, ended.err) == (0, b"")
    assert served.verbs == [b"CAPA", b"QUIT"]


def test_with_a_user_the_capabilities_after_the_login_count_as_well(here: Here, post: StartPost) -> None:
    served = post()
    mailbox = served.mailbox

    def now_pipelining(_: object) -> None:
        mailbox.capabilities = (b"TOP", b"PIPELINING", b"LOGIN-DELAY 60")

    mailbox.capabilities = (b"TOP", b"SASL PLAIN")
    mailbox.after = {b"CAPA\r\n": now_pipelining}
    ended = here("caps", env=served.environment)
    assert ended.out == b"TOP\nSASL PLAIN\nPIPELINING\nLOGIN-DELAY 60\n"
    assert served.verbs == [b"CAPA", b"APOP", b"CAPA", b"QUIT"]


def test_a_refused_login_does_not_hide_the_capabilities_before_it(here: Here, post: StartPost) -> None:
    ended = here("caps", env=post(password="other").environment)
    assert ended.status == Status.NO_LOGIN
    assert b"TOP\n" in ended.out
    assert ended.err.startswith(b"pop3fetch: the server refused the login of alice (APOP): ")


@pytest.mark.parametrize("tls", ["implicit", None])
def test_a_line_that_breaks_at_the_login_does_not_hide_it_either(
    here: Here, post: StartPost, ca_file: Path, tls: str | None
) -> None:
    def break_off(talk: Talk) -> None:
        if len(talk.commands) == 2:
            talk.cut()

    served = post(tls=tls, replies={b"CAPA\r\n": b"+OK\r\nTOP\r\nSASL PLAIN\r\n.\r\n"})
    served.mailbox.greeting = b"+OK ready\r\n"
    served.mailbox.replies[b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n"] = b""
    served.mailbox.after = {b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n": break_off}
    options = ["--ca-file", str(ca_file), "--allow-insecure-login"]
    ended = here("caps", "-v", *options, env=served.environment)
    assert (ended.status, ended.out) == (Status.TRY_LATER, b"TOP\nSASL PLAIN\n")
    assert ended.err.splitlines()[-1].startswith(b"pop3fetch: lost the connection to 127.0.0.1")


def test_a_server_without_capa_has_none(here: Here, post: StartPost) -> None:
    served = post(capabilities=None)
    assert here("caps", *without_user(served)).out == b""
    assert here("caps", "--json", *without_user(served)).out == b"{}\n"


def test_objects_distinguish_no_argument_from_an_empty_list(here: Here, post: StartPost) -> None:
    served = post(capabilities=[b"TOP", b"SASL", b"EXPIRE 30 USER"])
    ended = here("caps", "--json", *without_user(served))
    assert json.loads(ended.out) == {"TOP": None, "SASL": [], "EXPIRE": ["30", "USER"]}


def test_caps_shows_the_capabilities_inside_stls(here: Here, post: StartPost, ca_file: Path) -> None:
    served = post(capabilities=[b"STLS", b"TOP"])
    ended = here("caps", *without_user(served), "--ca-file", ca_file)
    assert ended.out == b"TOP\n"
    assert served.verbs == [b"CAPA", b"STLS", b"CAPA", b"QUIT"]


def test_hostile_text_is_harmless(here: Here, post: StartPost) -> None:
    hostile = HOSTILE.encode()
    served = post(capabilities=[b"IMPLEMENTATION " + hostile, hostile, b"SASL " + hostile])
    for option in ("-vv", "--json"):
        ended = here("caps", option, *without_user(served))
        assert ended.status == 0
        assert harmless(ended.out)
        assert harmless(ended.err)


@pytest.mark.parametrize(
    ("capability", "sentence"),
    [
        (b"EXPIRE 0", b"messages are deleted once they are retrieved (EXPIRE 0)"),
        (b"EXPIRE NEVER", b"messages are kept forever (EXPIRE NEVER)"),
        (b"EXPIRE 30", b"messages are kept for 30 days (EXPIRE)"),
        (b"LOGIN-DELAY 900", b"900 seconds must pass between two logins (LOGIN-DELAY)"),
    ],
)
def test_limits_are_described_in_words(
    here: Here, post: StartPost, capability: bytes, sentence: bytes
) -> None:
    served = post(capabilities=[capability])
    assert b"pop3fetch: " + sentence + b"\n" in here("caps", "-v", *without_user(served)).err


def test_verbose_reports_that_there_is_no_tls(here: Here, post: StartPost) -> None:
    ended = here("caps", "-v", *without_user(post(), "off"))
    assert b"pop3fetch: TLS: none" in ended.err
    assert b"pop3fetch: login: APOP, USER, PLAIN\n" in ended.err
