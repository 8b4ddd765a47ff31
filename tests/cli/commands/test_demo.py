"""`demo`: the ordinary commands against a server that comes along."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.in_process import Here
from tests.support.terminal import Terminal, check_snapshot


def masked(text: str) -> str:
    text = re.sub(r"127\.0\.0\.1:\d{5}", "127.0.0.1:PORT.", text)
    text = re.sub(r"PASSWORD=[0-9a-f]{16}", "PASSWORD=SECRET..........", text)
    text = re.sub(r"/[^\s']*/pop3fetch-demo-\w{8}", "/tmp/pop3fetch-demo-XXXXXXXX", text)
    text = re.sub(r"record: .*", "record: FILE", text)
    return re.sub(r"\d+\.M\d+P\d+(Q\d+)\.pop3fetch-\w+\.\S+", r"NAME\1", text)


def test_it_lists_fetches_and_deletes(here: Here) -> None:
    ended = here("demo")
    assert ended.status == 0
    commands = [line for line in ended.out.decode().splitlines() if line.startswith("$ pop3fetch")]
    assert [command.split()[2] for command in commands] == ["list", "get", "list", "rm", "list"]
    last = ended.out.decode().rpartition("$ pop3fetch list -l\n")[2]
    assert len(last.splitlines()) == 7
    assert ended.err == b""


def test_nothing_stays_behind_and_nothing_of_ones_own_is_used(here: Here, home: Path, tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path), "POP3FETCH_HOST": "mail.example.org", "POP3FETCH_TLS": "implicit"}
    assert here("demo", env=env).status == 0
    assert list(home.rglob("*")) == []
    assert [file for file in tmp_path.iterdir() if not file.name.startswith(".")] == []


def test_a_terminal_shows_it_like_this(terminal: Terminal) -> None:
    seen = terminal("demo", columns=100)
    assert seen.status == 0
    check_snapshot("demo-100", masked("\n".join(seen.screen)).splitlines())
