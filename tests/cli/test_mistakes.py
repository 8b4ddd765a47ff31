"""Mistakes in the command line and in variables: one line that shows what to write."""

from __future__ import annotations

import pytest

from pop3fetch.status import Status
from tests.support.in_process import Here


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("lst", "no such command: lst; did you mean 'list'?"),
        ("fetch", "no such command: fetch; write `pop3fetch get`"),
        ("rm --acount x", "no such option: --acount; did you mean --account? (see `pop3fetch rm --help`)"),
        ("rm --dryrun", "no such option: --dryrun; did you mean --dry-run? (see `pop3fetch rm --help`)"),
        ("rm --new", "no such option: --new (see `pop3fetch rm --help`)"),
        ("list -json", "no such option: -json; did you mean --json? (see `pop3fetch list --help`)"),
        ("get --nokeep", "no such option: --nokeep; write --delete (see `pop3fetch get --help`)"),
        ("get --daemon 300", "no such option: --daemon; write --every (see `pop3fetch get --help`)"),
        ("get -d 300", "no such option: -d; write --every (see `pop3fetch get --help`)"),
        ("list --ssl", "no such option: --ssl; write --tls implicit (see `pop3fetch list --help`)"),
        ("list --nokeep", "no such option: --nokeep (see `pop3fetch list --help`)"),
        ("-x list", "no such option: -x (see `pop3fetch --help`)"),
        ("stat 3", "unexpected argument: 3 (see `pop3fetch stat --help`)"),
        (
            "check work",
            "unexpected argument: work; an account is given with -a (see `pop3fetch check --help`)",
        ),
        ("list --tls on", "--tls must be one of implicit, auto, starttls, off, not 'on'"),
        ("list -p x", "--port must be a whole number, not 'x'"),
        ("get --ca-file", "--ca-file needs a value: --ca-file FILE"),
        ("list --from", "--from needs a value: --from TEXT"),
        ("rm --before", "--before needs a value: --before WHEN"),
        ("get --larger", "--larger needs a value: --larger SIZE"),
        ("list --json=1", "--json takes no value"),
        ("list --verbose=1", "--verbose takes no value"),
        ("list -H h -p 70000", "--port must be between 1 and 65535, not 70000"),
        ("list -a", "-a needs a value: -a NAME|URL"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_helps(here: Here, arguments: str, said: str) -> None:
    ended = here(*arguments.split())
    assert (ended.status, ended.out) == (Status.USAGE, b"")
    assert ended.err.decode() == f"pop3fetch: {said}\n"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POP3FETCH_PORT", "x", "POP3FETCH_PORT must be a whole number, not 'x'"),
        ("POP3FETCH_TLS", "on", "POP3FETCH_TLS must be one of implicit, auto, starttls, off, not 'on'"),
        ("POP3FETCH_UTF8", "maybe", "POP3FETCH_UTF8 must be 1 or 0, not 'maybe'"),
        ("POP3FETCH_HOST", "a b", "POP3FETCH_HOST must be a host name or an address"),
        ("POP3FETCH_TIMEOUT", "-1", "POP3FETCH_TIMEOUT must be between 0"),
    ],
)
def test_a_wrong_variable_is_named(here: Here, variable: str, value: str, said: str) -> None:
    ended = here("list", "-u", "alice", env={"POP3FETCH_HOST": "localhost", variable: value})
    assert ended.status == Status.USAGE
    assert ended.err.decode().startswith(f"pop3fetch: {said}")
    assert ended.err.count(b"\n") == 1


@pytest.mark.parametrize("option", ["--password", "--pass"])
def test_an_option_for_a_password_is_answered_with_the_ways_to_give_one(here: Here, option: str) -> None:
    ended = here("list", option, "s3cret")
    assert ended.status == Status.USAGE
    assert ended.err.startswith(b"pop3fetch: no option takes a password")
    assert b"--password-command" in ended.err and b"s3cret" not in ended.err
