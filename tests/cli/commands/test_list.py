"""`list`: a table for people, lines and objects for scripts, and nothing hostile in either."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from pop3fetch.cli import options
from pop3fetch.pop3.replies import MESSAGES_LIMIT
from pop3fetch.status import Status
from tests.support.command import Ended, Run
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES
from tests.support.running import begun
from tests.support.scripted_server import PATIENCE, Talk
from tests.support.served_mail import DEMO, GREETING, HOSTILE, LETTERS, StartPost, harmless, letters
from tests.support.terminal import Terminal, cells

# A hostile text in every field: raw, and as an encoded word, which may contain line ends.
LINES = f"{HOSTILE} tab\there\nline"
ENCODED = f"=?utf-8?b?{base64.b64encode(LINES.encode()).decode()}?="
HOSTILE_LETTER = (
    f"From: {ENCODED} <evil@example.com>\r\nTo: {ENCODED}\r\nSubject: {ENCODED}\r\n"
    f"Date: Thu, 12 Feb 2026 11:11:00 +0100\r\nMessage-ID: <{HOSTILE}>\r\n\r\nHello.\r\n"
).encode()
RAW_LETTER = f"Subject: {HOSTILE}\x85\u2028 raw\r\n\r\n".encode()
# What LIST and UIDL let through: 8-bit octets, C1 controls among them, and spaces.
HOSTILE_UID = "\u202e\x9b31m [/x]é \u2066\x9d0;x\x9c".encode() + b"\x9b\xff"


def columns_of(line: bytes) -> list[str]:
    return line.decode().split("\t")


# -- what cannot be listed -----------------------------------------------------------------------


NO_UIDL = {b"UIDL\r\n": b"-ERR no\r\n"}


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--new", "1"], ["rm", "uid:uid-1", "--yes"], ["get", "-o", "-", "uid:uid-1"]]
)
def test_a_server_that_had_unique_ids_and_refuses_them_is_asked_again_later(
    here: Here, post: StartPost, words: list[str]
) -> None:
    served = post(letters(2))
    assert here("get", "-o", here.folder / "Maildir", env=served.environment).status == 0
    served.mailbox.capabilities, served.mailbox.replies = None, NO_UIDL
    ended = here(*words, env=served.environment)
    assert (ended.status, ended.out) == (Status.TRY_LATER, b"")
    assert b"the server refuses UIDL, which it has answered before" in ended.err
    assert len(served.mailbox.messages) == 2


def test_a_server_without_unique_ids_is_listed_with_stand_ins(here: Here, post: StartPost) -> None:
    ended = here("list", env=post(letters(2), capabilities=None, replies=NO_UIDL).environment)
    assert ended.status == 0
    assert [columns_of(line)[2].startswith("digest-") for line in ended.out.splitlines()] == [True] * 2


@pytest.mark.parametrize("command", ["list", "rm"])
def test_a_message_that_cannot_be_listed_is_named(here: Here, post: StartPost, command: str) -> None:
    refused = dict.fromkeys((b"TOP 2 0\r\n", b"RETR 2\r\n"), b"-ERR no\r\n")
    uidl = {b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n3 uid-3\r\n.\r\n"}
    words = [command, *(["uid:uid-1", "uid:uid-3", "--dry-run"] if command == "rm" else [])]
    ended = here(*words, env=post(letters(3), replies=refused | uidl).environment)
    assert ended.status == Status.REFUSED
    assert len(ended.out.splitlines()) == 2
    assert ended.err.splitlines() == [
        b"pop3fetch: LIST and UIDL disagree: 1 message is in one of them only (2)",
        b"pop3fetch: message 2 cannot be listed: the server refused RETR 2: no",
    ]


def test_a_size_that_list_lacks_is_unknown(here: Here, terminal: Terminal, post: StartPost) -> None:
    served = post(letters(3), replies={b"LIST\r\n": b"+OK\r\n1 104\r\n3 104\r\n.\r\n"})
    warning = "pop3fetch: LIST and UIDL disagree: 1 message is in one of them only (2)"
    ended = here("list", env=served.environment)
    assert ended == Ended(0, b"1\t104\tuid-1\n2\t?\tuid-2\n3\t104\tuid-3\n", f"{warning}\n".encode())
    shown = here("list", "--json", env=served.environment).out.splitlines()
    assert [json.loads(line)["size"] for line in shown] == [104, None, 104]
    assert [" ".join(line.split()) for line in terminal("list", env=served.environment).screen] == [
        warning,
        "# uid size",
        "1 * uid-1 104 B",
        "2 * uid-2 ?",
        "3 * uid-3 104 B",
    ]


# -- selection -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ([], [1, 2, 3, 4, 5]),
        (["3"], [3]),
        (["2-4"], [2, 3, 4]),
        (["4-"], [4, 5]),
        (["last"], [5]),
        (["uid:uid-2"], [2]),
        (["1,3"], [1, 3]),
        (["last:2"], [4, 5]),
        (["last:9"], [1, 2, 3, 4, 5]),
        (["5", "1-2", "uid:uid-1", "2"], [5, 1, 2]),
        (["4-,1,uid:uid-2", "last:2"], [4, 5, 1, 2]),
    ],
)
def test_messages_select(here: Here, post: StartPost, words: list[str], numbers: list[int]) -> None:
    ended = here("list", *words, env=post(letters(5)).environment)
    assert [int(columns_of(line)[0]) for line in ended.out.splitlines()] == numbers


def test_messages_are_read_from_standard_input(here: Here, post: StartPost) -> None:
    ended = here(
        "list", "4", "--stdin", env=post(letters(5)).environment, stdin=b"1-2\n\n  uid:uid-5  \nlast\n3,1\n"
    )
    assert [columns_of(line)[0] for line in ended.out.splitlines()] == ["4", "1", "2", "5", "3"]


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take fewer lines and octets on standard input than we do, for the sake of time."""
    assert options.LINES_LIMIT == MESSAGES_LIMIT
    monkeypatch.setattr(options, "LINES_LIMIT", 1000)
    monkeypatch.setattr(options, "OCTETS_LIMIT", 64_000)


@pytest.mark.parametrize("lines", [b"1\n" * 1001, b"uid:" + b"x" * 64_000])
def test_endless_standard_input_is_not_a_list(
    here: Here, post: StartPost, low_limits: None, lines: bytes
) -> None:
    served = post(letters(1))
    ended = here("list", "--stdin", env=served.environment, stdin=lines)
    assert (ended.status, ended.out, served.verbs) == (Status.USAGE, b"", [])
    assert ended.err.startswith(b"pop3fetch: standard input is not a list of messages: ")


def test_as_many_lines_as_a_listing_may_have_are_read(here: Here, post: StartPost, low_limits: None) -> None:
    ended = here("list", "--stdin", env=post(letters(1)).environment, stdin=b"1\n" * 1000)
    assert ended.out.count(b"\n") == 1


def test_a_uid_on_standard_input_may_be_any_octets(here: Here, post: StartPost) -> None:
    served = post(letters(2), uids=[b"one", b"t\xff wo"])
    assert here("list", "--stdin", env=served.environment, stdin=b"uid:t\xff wo\n").out.startswith(b"2\t")


def test_no_line_on_standard_input_selects_nothing_and_not_everything(here: Here, post: StartPost) -> None:
    served = post()
    ended = here("list", "--stdin", env=served.environment, stdin=b"\n")
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert served.verbs == []


@pytest.mark.parametrize("words", [["0"], ["3-2"], ["first"], ["uid:"], ["1", "2,,3"], ["+1"], ["-l", "1.5"]])
def test_what_can_select_nothing_is_a_mistake(here: Here, post: StartPost, words: list[str]) -> None:
    served = post()
    ended = here("list", *words, env=served.environment)
    assert ended.status == Status.USAGE
    assert served.verbs == [], "nothing is asked"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("9", b"is no message 9"),
        ("1 9", b"is no message 9"),
        ("2-9", b"are no messages 4-9"),
        ("1,4,5", b"are no messages 4, 5"),
        ("9-", b"is no message 9 or higher"),
        ("uid:UID-1", b"is no message uid:UID-1"),
    ],
)
def test_messages_that_are_missing_are_named(here: Here, post: StartPost, words: str, missing: bytes) -> None:
    ended = here("list", *words.split(), env=post().environment)
    assert (ended.status, ended.out) == (Status.NO_MESSAGE, b"")
    assert ended.err == b"pop3fetch: there " + missing + b" on the server\n"


def test_an_empty_maildrop_lists_nothing(here: Here, post: StartPost) -> None:
    ended = here("list", "-l", env=post([]).environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")


def test_new_leaves_out_what_was_fetched(here: Here, post: StartPost, tmp_path: Path) -> None:
    served = post(letters(3))
    here("get", "-o", tmp_path / "Maildir", "2", env=served.environment)
    new = here("list", "--new", env=served.environment)
    assert [columns_of(line)[2] for line in new.out.splitlines()] == ["uid-1", "uid-3"]
    every = here("list", "--json", env=served.environment)
    objects = [json.loads(line) for line in every.out.splitlines()]
    assert [shown["new"] for shown in objects] == [True, False, True]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--reverse"], [5, 4, 3, 2, 1]),
        (["--limit", "2"], [1, 2]),
        (["--limit", "9"], [1, 2, 3, 4, 5]),
        (["--reverse", "--limit", "2"], [5, 4]),
        (["4", "1-2", "--limit", "2"], [4, 1]),
        (["4", "1-2", "--reverse"], [4, 2, 1]),
        (["--new", "--limit", "2"], [1, 3]),
        (["--new", "--reverse", "--limit", "3"], [5, 4, 3]),
    ],
)
def test_a_list_is_reversed_and_limited(
    here: Here, post: StartPost, words: list[str], numbers: list[int]
) -> None:
    served = post(letters(5))
    here("get", "--mark", "2", env=served.environment)
    done = len(served.server.commands)
    for form in ([], ["-l"]):
        ended = here("list", *form, *words, env=served.environment)
        assert [int(columns_of(line)[0]) for line in ended.out.splitlines()] == numbers
    tops = [line for line in served.server.commands[done:] if line.startswith(b"TOP")]
    assert tops == [b"TOP %d 0\r\n" % number for number in numbers], "no other headers are asked for"


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_that_lists_nothing_is_a_mistake(here: Here, post: StartPost, limit: str) -> None:
    served = post()
    ended = here("list", "--limit", limit, env=served.environment)
    assert (ended.status, served.verbs) == (Status.USAGE, [])
    assert ended.err == f"pop3fetch: --limit must be at least 1, not {limit}\n".encode()


def test_json_has_the_time_of_fetching(here: Here, post: StartPost, tmp_path: Path) -> None:
    served = post(letters(4), uids=[b"a", b"b", b"c", b"b"])
    here("get", "-o", tmp_path / "Maildir", "2", env=served.environment)
    here("get", "--mark", "3", env=served.environment)
    before = time.time()
    for form in ([], ["-l"]):
        ended = here("list", "--json", *form, env=served.environment)
        moments = [json.loads(line)["fetched_at"] for line in ended.out.splitlines()]
        assert (moments[0], moments[3]) == (None, None), "a copy that shares its UID was not fetched"
        for moment in moments[1:3]:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
            assert 0 <= before - datetime.fromisoformat(moment).timestamp() < 60


# -- the session -----------------------------------------------------------------------------


def test_a_list_asks_for_no_header(here: Here, post: StartPost) -> None:
    served = post()
    here("list", env=served.environment)
    assert served.verbs == [b"CAPA", b"APOP", b"CAPA", b"LIST", b"UIDL", b"QUIT"]


def test_a_long_list_asks_for_the_headers_of_what_it_shows(here: Here, post: StartPost) -> None:
    served = post(letters(5))
    here("list", "-l", "2-3", env=served.environment)
    assert [line for line in served.server.commands if line.startswith(b"TOP")] == [
        b"TOP 2 0\r\n",
        b"TOP 3 0\r\n",
    ]


def test_a_long_list_without_top_is_not_ended_by_a_quit_that_deletes(here: Here, post: StartPost) -> None:
    served = post(capabilities=[b"UIDL", b"EXPIRE 0"])
    assert len(here("list", "-l", env=served.environment).out.splitlines()) == 3
    assert b"RETR" in served.verbs
    assert b"QUIT" not in served.verbs


@pytest.mark.parametrize("reply", [b"-ERR no way\r\n", b""], ids=["refused", "hung up"])
def test_a_list_that_came_is_whole_whatever_becomes_of_quit(
    here: Here, post: StartPost, reply: bytes
) -> None:
    served = post(replies={b"QUIT\r\n": reply}, after={b"QUIT\r\n": lambda talk: talk.close()})
    ended = here("list", env=served.environment)
    assert (ended.status, len(ended.out.splitlines()), ended.err) == (0, 3, b"")


def test_the_record_may_be_in_another_folder(here: Here, post: StartPost, tmp_path: Path) -> None:
    served = post()
    here("get", "--mark", "--state-dir", tmp_path / "state", env=served.environment)
    assert here("list", "--new", "--state-dir", tmp_path / "state", env=served.environment).out == b""
    assert here("list", "--new", env=served.environment).out != b""


# -- hostile text ----------------------------------------------------------------------------


def test_hostile_text_is_harmless_in_columns(here: Here, post: StartPost) -> None:
    served = post([HOSTILE_LETTER, RAW_LETTER], uids=[HOSTILE_UID, b"2"])
    ended = here("list", "-l", env=served.environment)
    assert (ended.status, ended.err) == (0, b"")
    assert harmless(ended.out)
    assert [len(columns_of(line)) for line in ended.out.splitlines()] == [6, 6]
    assert b"\\x1b]0;owned\\x07" in ended.out
    assert b"\\u202e" in ended.out
    assert b"[/x][b] :smile:" in ended.out


def test_hostile_text_is_harmless_in_json(here: Here, post: StartPost) -> None:
    served = post([HOSTILE_LETTER, RAW_LETTER], uids=[HOSTILE_UID, b"2"])
    ended = here("list", "-l", "--json", env=served.environment)
    assert ended.out.isascii()
    assert harmless(ended.out)
    first, second = map(json.loads, ended.out.splitlines())
    assert first["subject"] == LINES
    assert HOSTILE in second["subject"].replace("�", "")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_hostile_text_is_harmless_on_a_terminal(terminal: Terminal, post: StartPost, columns: int) -> None:
    served = post([HOSTILE_LETTER, RAW_LETTER], uids=[HOSTILE_UID, b"2"])
    seen = terminal("list", "-l", env=served.environment, columns=columns)
    assert len(seen.screen) == 3
    assert b"\x1b]" not in seen.raw
    assert seen.raw.count(b"[/x][b]") == 3, "no markup: a sender and two subjects"


def test_a_uid_that_no_server_may_give_is_an_error_that_shows_it_harmless(
    here: Here, post: StartPost
) -> None:
    served = post(LETTERS[:1], uids=[b"\x1b[31m\x07"])
    ended = here("list", env=served.environment)
    assert (ended.status, ended.out) == (Status.BAD_DATA, b"")
    assert harmless(ended.err)
    assert b"\\x1b[31m\\x07" in ended.err


# -- on a terminal ---------------------------------------------------------------------------


WIDTHS = pytest.mark.parametrize("columns", [40, 80, 120, 200])


@WIDTHS
def test_the_table_takes_the_whole_width(terminal: Terminal, post: StartPost, columns: int) -> None:
    seen = terminal("list", "-l", env=post(DEMO).environment, columns=columns)
    assert seen.status == 0
    assert {cells(line) for line in seen.screen} == {columns}


def test_columns_of_the_environment_win_over_the_terminal(terminal: Terminal, post: StartPost) -> None:
    served = post(DEMO)
    seen = terminal("list", "-l", env={**served.environment, "COLUMNS": "40"}, columns=200)
    assert max(map(cells, seen.screen)) <= 40


@WIDTHS
def test_without_long_the_table_has_the_uids(terminal: Terminal, post: StartPost, columns: int) -> None:
    served = post(letters(3), uids=[b"short", b"u" * 200, b"%E3" * 5])
    seen = terminal("list", env=served.environment, columns=columns)
    assert {cells(line) for line in seen.screen} == {columns}


def test_the_table_marks_the_messages_that_were_never_fetched(terminal: Terminal, post: StartPost) -> None:
    served = post(letters(3))
    terminal("get", "2", env=served.environment)
    seen = terminal("list", env=served.environment)
    assert [line.split()[:2] for line in seen.screen[1:]] == [["1", "*"], ["2", "uid-2"], ["3", "*"]]


def test_an_empty_maildrop_is_reported(terminal: Terminal, post: StartPost) -> None:
    assert terminal("list", env=post([]).environment).screen == ["no messages"]


@pytest.mark.parametrize(
    ("env", "styles"),
    [
        ({}, {b"0", b"1", b"36", b"1;32"}),
        ({"NO_COLOR": "1"}, {b"0", b"1"}),  # no-color.org: bold is not a colour
        ({"NO_COLOR": ""}, {b"0", b"1", b"36", b"1;32"}),
        ({"TERM": "dumb"}, set()),
        ({"FORCE_COLOR": "1"}, {b"0", b"1", b"36", b"1;32"}),
    ],
)
def test_the_table_has_the_colours_that_the_user_wants(
    terminal: Terminal, post: StartPost, env: dict[str, str], styles: set[bytes]
) -> None:
    raw = terminal("list", "-l", env={**post().environment, **env}).raw
    assert set(re.findall(rb"\x1b\[([0-9;]*)m", raw)) == styles
    assert raw.count(b"\x1b") == len(re.findall(rb"\x1b\[[0-9;]*m", raw))


def test_forced_colours_do_not_make_a_pipe_a_terminal(terminal: Terminal, post: StartPost) -> None:
    served = post()
    seen = terminal("list", env={**served.environment, "FORCE_COLOR": "1"}, piped=True)
    assert seen.out.startswith(b"1\t")
    assert b"\x1b" not in seen.out
    assert seen.raw == b""


def test_a_locale_without_unicode_gets_escapes(terminal: Terminal, post: StartPost) -> None:
    served = post(DEMO[:3])
    env = {**served.environment, "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    seen = terminal("list", "-l", env=env, columns=200)
    assert seen.raw.isascii()
    assert b"J\\xf6rg" in seen.raw


# -- traces ----------------------------------------------------------------------------------


def test_a_trace_shows_the_protocol_harmless_and_without_content(here: Here, post: StartPost) -> None:
    greeting = GREETING.replace(b"ready", HOSTILE.encode())
    served = post([HOSTILE_LETTER], greeting=greeting)
    ended = here("list", "-l", "-vv", env=served.environment)
    assert ended.status == 0
    assert harmless(ended.err)
    assert b"\n> LIST\n" in ended.err
    assert b"evil" not in ended.err


SECRET = "correct horse battery"
ECHOES = {
    "plain": SECRET.encode(),
    "base64": base64.b64encode(SECRET.encode()),
    "hexadecimal": SECRET.encode().hex().encode(),
    "SASL": base64.b64encode(f"\0alice\0{SECRET}".encode()),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("method", ["user", "plain"])
def test_a_server_that_repeats_the_password_does_not_betray_it(
    here: Here, post: StartPost, method: str, echo: bytes
) -> None:
    refusal = b"-ERR [AUTH] no such password: " + echo + b"\r\n"
    commands = (b"PASS " + SECRET.encode(), b"AUTH PLAIN " + ECHOES["SASL"])
    served = post(password=SECRET, replies={command + b"\r\n": refusal for command in commands})
    options = ["--auth", method, "--allow-insecure-login", "-vv"]
    env = {**served.environment, "POP3FETCH_PASSWORD": SECRET}
    ended = here("list", *options, env=env)
    assert ended.status == Status.NO_LOGIN
    assert b"no such password: (secret)" in ended.err
    for secret in ECHOES.values():
        assert secret not in ended.err


# -- headers that TOP does not give ----------------------------------------------------------


def test_messages_are_listed_in_order_if_top_is_refused_for_some(here: Here, post: StartPost) -> None:
    refused = {b"TOP %d 0\r\n" % number: b"-ERR no\r\n" for number in (2, 5)}
    served = post(letters(6), replies=refused)
    lines = here("list", "-l", env=served.environment).out.splitlines()
    assert [line.split(b"\t")[0] for line in lines] == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert all(line.split(b"\t")[5] for line in lines), "all have their subjects"


ONE_AT_A_TIME = (b"TOP", b"UIDL", b"SASL PLAIN")


# Pipelined, a message is whole once the next reply has begun: with a lone dot, it might go on.
@pytest.mark.parametrize(
    ("capabilities", "held"), [(ONE_AT_A_TIME, b"TOP 1 0\r\n"), (CAPABILITIES, b"TOP 2 0\r\n")]
)
@pytest.mark.parametrize(("options", "beginning"), [((), b"1\t"), (("--json",), b"{")])
def test_a_pipe_has_each_line_before_more_is_waited_for(
    run: Run,
    post: StartPost,
    options: tuple[str, ...],
    beginning: bytes,
    capabilities: tuple[bytes, ...],
    held: bytes,
) -> None:
    seen = threading.Event()

    def hold(_: Talk) -> None:
        assert seen.wait(PATIENCE), "the first line was not printed before more came"

    served = post(capabilities=capabilities, after={held: hold})
    with begun(run, "list", "-l", *options, env=served.environment) as process:
        assert process.stdout
        first = process.stdout.readline()
        seen.set()
        assert first.startswith(beginning)
        assert b"bob@example.com" in first
        assert len(process.stdout.readlines()) == len(LETTERS) - 1
        assert process.wait(PATIENCE) == 0
