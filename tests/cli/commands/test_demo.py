"""`demo`: the ordinary commands against a built-in server."""

from __future__ import annotations

from pathlib import Path

from tests.support.in_process import Here


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
