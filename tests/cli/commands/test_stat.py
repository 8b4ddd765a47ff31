"""`stat`: two numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES
from tests.support.served_mail import StartPost, letters
from tests.support.terminal import Terminal


@pytest.mark.parametrize("count", [0, 1, 3])
def test_messages_and_octets_are_counted(here: Here, post: StartPost, count: int) -> None:
    served = post(letters(count))
    assert here("stat", env=served.environment).out == b"%d\t%d\n" % (count, 104 * count)
    objects = here("stat", "--json", env=served.environment).out
    assert json.loads(objects) == {"messages": count, "octets": 104 * count}


def test_new_messages_are_counted(here: Here, terminal: Terminal, post: StartPost, maildir: Path) -> None:
    served = post(letters(3))
    for fetched in (0, 1, 3):
        if fetched:
            here("get", "-o", maildir, f"1-{fetched}", env=served.environment)
        new = 3 - fetched
        assert here("stat", "--new", env=served.environment) == Ended(0, b"3\t312\t%d\n" % new, b"")
        shown = here("stat", "--new", "--json", env=served.environment).out
        assert json.loads(shown) == {"messages": 3, "octets": 312, "new": new}
        assert terminal("stat", "--new", env=served.environment).screen == [
            f"3 messages, 312 B, {new or 'none'} new"
        ]


def test_a_named_account_keeps_its_record_at_another_address(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    table = f'[accounts.work]\nport = {post(letters(3)).server.port}\nuser = "alice"\ntls = "auto"\n'
    env = {"POP3FETCH_PASSWORD": "secret"}
    file.write_text(f'{table}host = "127.0.0.1"\noutput = "{tmp_path}/Maildir"\n')
    assert here("get", "--limit", "2", "-c", file, env=env).status == 0
    file.write_text(f'{table}host = "localhost"\n')
    assert here("stat", "--new", "-c", file, env=env).out == b"3\t312\t1\n"


def test_counting_the_new_messages_costs_a_listing(here: Here, post: StartPost) -> None:
    served = post()
    here("stat", "--new", env=served.environment)
    assert served.verbs == [b"CAPA", b"APOP", b"STAT", b"CAPA", b"LIST", b"UIDL", b"QUIT"]


def test_an_empty_maildrop_has_no_new_messages(here: Here, post: StartPost) -> None:
    assert here("stat", "--new", env=post([]).environment) == Ended(0, b"0\t0\t0\n", b"")


def test_nothing_but_stat_is_asked(here: Here, post: StartPost) -> None:
    served = post()
    here("stat", env=served.environment)
    assert served.verbs == [b"CAPA", b"APOP", b"STAT", b"QUIT"]


@pytest.mark.parametrize("capabilities", [CAPABILITIES, (b"UIDL",)])
@pytest.mark.parametrize("reply", [b"", b"-ERR no\r\n"])
def test_stat_succeeds_whatever_happens_to_quit(
    here: Here, post: StartPost, capabilities: Sequence[bytes], reply: bytes
) -> None:
    hang_up = {b"QUIT\r\n": lambda talk: talk.close()}
    served = post(letters(1), capabilities=capabilities, replies={b"QUIT\r\n": reply}, after=hang_up)
    assert here("stat", env=served.environment) == Ended(0, b"1\t104\n", b"")


@pytest.mark.parametrize(
    ("count", "sentence"), [(0, "0 messages, 0 B"), (1, "1 message, 104 B"), (30, "30 messages, 3.1 kB")]
)
def test_a_terminal_shows_words(terminal: Terminal, post: StartPost, count: int, sentence: str) -> None:
    assert terminal("stat", env=post(letters(count)).environment).screen == [sentence]
