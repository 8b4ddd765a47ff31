"""--from, --to, --subject, --since, --before, --larger and --smaller of list, get and rm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pop3fetch.cli.options import FILTER_NAMES
from pop3fetch.filters import Filters
from pop3fetch.status import Status
from tests.cli.test_many_accounts import config_for
from tests.support.filtered_mail import CHOICES, EVERYTHING, MAIL
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES
from tests.support.served_mail import Post, StartPost, delivered
from tests.support.terminal import Terminal

QUESTION = b"from the server? [y/N] "
NO_TOP = tuple(name for name in CAPABILITIES if name != b"TOP")
NO_UIDL = {"replies": {b"UIDL\r\n": b"-ERR no\r\n"}, "capabilities": (b"TOP", b"USER", b"PIPELINING")}
TABLE = pytest.mark.parametrize(("options", "numbers"), CHOICES)


@pytest.fixture
def served(post: StartPost) -> Post:
    """Serve a message of each kind."""
    return post(MAIL)


def listed(here: Here, served: Post, *options: str) -> list[int]:
    """Return the numbers that `list` prints."""
    ended = here("list", *options, env=served.environment)
    assert (ended.status, ended.err) == (0, b"")
    return [int(line.split(b"\t")[0]) for line in ended.out.splitlines()]


def left(served: Post) -> list[int]:
    """Return the numbers that the messages which are left had at first."""
    return [int(uid.removeprefix(b"uid-")) for uid in served.mailbox.uids]


def on_disk(*numbers: int) -> list[bytes]:
    return [MAIL[number - 1].replace(b"\r\n", b"\n") for number in numbers]


# -- each filter, alone and together -----------------------------------------------------------


@TABLE
def test_list_lists_what_matches(here: Here, served: Post, options: str, numbers: list[int]) -> None:
    assert listed(here, served, *options.split()) == numbers
    assert listed(here, served, "-l", *options.split()) == numbers


@TABLE
def test_get_fetches_what_matches(
    here: Here, served: Post, maildir: Path, options: str, numbers: list[int]
) -> None:
    ended = here("get", "-o", maildir, *options.split(), env=served.environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert delivered(maildir) == on_disk(*numbers)
    assert listed(here, served, "--new") == [number for number in EVERYTHING if number not in numbers]


@TABLE
def test_rm_deletes_what_matches(here: Here, served: Post, options: str, numbers: list[int]) -> None:
    ended = here("rm", *options.split(), env=served.environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert left(served) == [number for number in EVERYTHING if number not in numbers]
    assert served.verbs.count(b"DELE") == len(numbers)


def test_one_command_at_a_time_chooses_the_same(here: Here, post: StartPost) -> None:
    served = post(MAIL, capabilities=[name for name in CAPABILITIES if name != b"PIPELINING"])
    assert listed(here, served, "--from", "bob", "--larger", "2K") == [6]
    assert served.verbs.count(b"TOP") == 1


def test_names_of_options_are_those_of_the_filters() -> None:
    assert Filters._fields == FILTER_NAMES


# -- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["list", "get", "rm"])
@pytest.mark.parametrize(
    ("option", "word", "why"),
    [
        ("--from", "", "must not be empty"),
        ("--to", " ", "must not be empty"),
        ("--subject", "", "must not be empty"),
        ("--since", "yesterday", "must be a date such as 2026-11-01 or 2026-11-01T12:00, or an age"),
        ("--before", "6m", "must be a date such as 2026-11-01 or 2026-11-01T12:00, or an age"),
        ("--larger", "10T", "must be a number of octets such as 500000, 64K or 10M, not '10T'"),
        ("--smaller", "-1", "must be a number of octets such as 500000, 64K or 10M, not '-1'"),
    ],
)
def test_a_wrong_word_is_shown_with_a_right_one(
    here: Here, served: Post, command: str, option: str, word: str, why: str
) -> None:
    ended = here(command, option, word, env=served.environment)
    assert ended.status == Status.USAGE
    assert ended.err.decode().startswith(f"pop3fetch: {option} {why}")
    assert served.verbs == []


@pytest.mark.parametrize("command", ["list", "get", "rm"])
@pytest.mark.parametrize("words", [["9"], ["1", "uid:nowhere"], ["5-9"]])
def test_a_message_that_does_not_exist_is_an_error_before_headers_are_read(
    here: Here, served: Post, command: str, words: list[str]
) -> None:
    ended = here(command, *words, "--from", "bob", env=served.environment)
    assert (ended.status, ended.out) == (Status.NO_MESSAGE, b"")
    assert not {b"TOP", b"RETR", b"DELE"} & set(served.verbs)


# -- messages and servers that do not show their headers ----------------------------------------


@pytest.mark.parametrize("command", [["list"], ["get"], ["get", "--dry-run"], ["rm", "--dry-run"]])
def test_verbose_names_what_cannot_match(here: Here, post: StartPost, command: list[str]) -> None:
    served = post(MAIL, replies={b"TOP 1 0\r\n": b"-ERR gone\r\n"})
    ended = here(*command, "--before", "1d", "-v", env=served.environment)
    named = [line for line in ended.err.decode().splitlines() if "cannot match" in line]
    assert named == [
        "pop3fetch: message 1 cannot match: the server refused TOP 1: gone",
        "pop3fetch: message 4 cannot match: it has no usable date",
        "pop3fetch: message 5 cannot match: it has no usable date",
        "pop3fetch: message 7 cannot match: it has no usable date",
    ]


@pytest.mark.parametrize(
    "command", ["list", "list -l", "get -o maildir:~/M", "get -o -", "get -o - --all", "rm"]
)
def test_without_top_a_filter_on_headers_is_an_error(here: Here, post: StartPost, command: str) -> None:
    served = post(MAIL, capabilities=NO_TOP)
    ended = here(*command.split(), "--from", "bob", env=served.environment)
    assert (ended.status, ended.out) == (Status.REFUSED, b"")
    assert ended.err == (
        b"pop3fetch: the server cannot show headers alone: it has no TOP;"
        b" choose by --larger, --smaller, numbers or unique-ids instead\n"
    )
    assert not {b"RETR", b"DELE"} & set(served.verbs)


def test_without_top_a_filter_on_sizes_works(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(MAIL, capabilities=NO_TOP)
    assert listed(here, served, "--larger", "2K") == [6]
    assert here("get", "-o", maildir, "--larger", "2K", env=served.environment).status == 0
    assert delivered(maildir) == on_disk(6)
    assert here("rm", "--smaller", "2K", env=served.environment).status == 0
    assert left(served) == [6]


@pytest.mark.parametrize("gone", [b"RETR 4\r\n", b"TOP 4 0\r\n"])
def test_a_message_that_vanishes_does_not_stop_the_others(
    here: Here, post: StartPost, maildir: Path, gone: bytes
) -> None:
    served = post(MAIL, replies={gone: b"-ERR no such message\r\n"})
    ended = here("get", "-o", maildir, "--from", "bob", "--delete", env=served.environment)
    assert delivered(maildir) == on_disk(1, 5, 6)
    assert left(served) == [2, 3, 4, 7]
    assert ended.status == (Status.REFUSED if gone.startswith(b"RETR") else Status.OK)


def test_a_message_that_vanishes_before_it_is_deleted_is_named(here: Here, post: StartPost) -> None:
    served = post(MAIL, replies={b"DELE 4\r\n": b"-ERR no such message\r\n"})
    ended = here("rm", "--from", "bob", env=served.environment)
    assert ended.status == Status.REFUSED
    assert ended.err == (
        b"pop3fetch: message 4 stays on the server: the server refused DELE: no such message\n"
    )
    assert left(served) == [2, 3, 4, 7]


@pytest.mark.parametrize("command", ["list", "get -o maildir:~/M --delete", "rm"])
@pytest.mark.parametrize("reply", [b"", b"+OK\r\nFrom: Bob <bob@exa"])
def test_a_line_that_breaks_among_headers_fetches_and_deletes_nothing(
    here: Here, post: StartPost, command: str, reply: bytes
) -> None:
    top = b"TOP 5 0\r\n"
    served = post(MAIL, replies={top: reply}, after={top: lambda talk: talk.close()})
    ended = here(*command.split(), "--from", "bob", env=served.environment)
    assert ended.status == Status.TRY_LATER
    assert not {b"RETR", b"DELE", b"QUIT"} & set(served.verbs)
    assert left(served) == EVERYTHING


@pytest.mark.parametrize("options", [["--from", "bob"], ["--from", "bob", "--delete"]])
def test_a_server_that_deletes_what_it_shows_keeps_what_does_not_match(
    here: Here, post: StartPost, maildir: Path, options: list[str]
) -> None:
    served = post(MAIL, capabilities=[*CAPABILITIES, b"EXPIRE 0"])
    assert here("get", "-o", maildir, *options, env=served.environment).status == 0
    assert delivered(maildir) == on_disk(1, 4, 5, 6)
    assert served.server.talks[0].commands[-1] != b"QUIT\r\n"
    assert left(served) == ([2, 3, 7] if "--delete" in options else EVERYTHING)


def test_rm_deletes_nothing_if_quit_could_delete_what_does_not_match(here: Here, post: StartPost) -> None:
    served = post(MAIL, capabilities=[*CAPABILITIES, b"EXPIRE 0"])
    ended = here("rm", "--from", "bob", env=served.environment)
    assert ended.status == Status.REFUSED
    assert ended.err.startswith(b"pop3fetch: nothing is deleted: ")
    assert not {b"DELE", b"QUIT"} & set(served.verbs)


# -- with other options ------------------------------------------------------------------------


def test_new_is_decided_before_headers_are_read(here: Here, served: Post, maildir: Path) -> None:
    here("get", "-o", maildir, "4-", env=served.environment)
    served.server.talks.clear()
    assert listed(here, served, "--new", "--from", "bob") == [1]
    assert served.verbs.count(b"TOP") == 3


def test_long_reads_each_header_once(here: Here, served: Post) -> None:
    ended = here("list", "-l", "--subject", "invoice", env=served.environment)
    assert [line.split(b"\t")[5] for line in ended.out.splitlines()] == [b"Invoice 1", b"invoice 2"]
    assert served.verbs.count(b"TOP") == len(MAIL)


def test_long_reads_headers_only_of_what_has_the_size(here: Here, served: Post) -> None:
    ended = here("list", "-l", "--larger", "2K", env=served.environment)
    assert [line.split(b"\t")[5] for line in ended.out.splitlines()] == [b"invoice 2"]
    assert served.verbs.count(b"TOP") == 1


def test_json_has_headers_only_if_they_are_wanted(here: Here, served: Post) -> None:
    short, long = (
        json.loads(here("list", "--json", *options, "--to", "team", "2", env=served.environment).out)
        for options in ([], ["-l"])
    )
    assert (short["number"], "subject" in short) == (2, False)
    assert (long["number"], long["subject"]) == (2, "Invoice 1")


@pytest.mark.parametrize("command", ["list", "get -o maildir:~/M", "rm"])
def test_standard_input_names_what_is_filtered(here: Here, served: Post, command: str) -> None:
    words = [*command.split(), "--stdin", "--json", "--from", "bob"]
    ended = here(*words, env=served.environment, stdin=b"6\nuid:uid-2\n1\n")
    assert [json.loads(line)["number"] for line in ended.out.splitlines()] == [6, 1]


@pytest.mark.parametrize("command", ["list", "get", "rm"])
def test_nothing_on_standard_input_is_nothing_to_filter(here: Here, served: Post, command: str) -> None:
    ended = here(command, "--stdin", "--from", "bob", env=served.environment)
    assert (ended.status, ended.out, ended.err, served.verbs) == (0, b"", b"", [])


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ("--from bob --limit 2", [1, 4]),
        ("--from bob --max-size 2K", [1, 4, 5]),
        ("--from bob --all", [1, 4, 5, 6]),
        ("--to alice --limit 1 5-", [5]),
    ],
)
def test_limits_count_what_matches(
    here: Here, served: Post, maildir: Path, options: str, numbers: list[int]
) -> None:
    assert here("get", "-o", maildir, *options.split(), env=served.environment).status == 0
    assert delivered(maildir) == on_disk(*numbers)


def test_only_what_matches_is_reported_as_too_large(here: Here, served: Post, maildir: Path) -> None:
    for sender, named in (("carol", False), ("bob", True)):
        ended = here("get", "-o", maildir, "--max-size", "2K", "--from", sender, env=served.environment)
        assert (b"message 6 has 3.1 kB: larger than --max-size, skipped" in ended.err) is named


def test_only_new_messages_are_fetched_without_messages(here: Here, served: Post, maildir: Path) -> None:
    for _ in range(2):
        assert here("get", "-o", maildir, "--from", "bob", env=served.environment).status == 0
    assert delivered(maildir) == on_disk(1, 4, 5, 6)
    assert here("get", "-o", maildir, env=served.environment).status == 0
    assert len(delivered(maildir)) == len(MAIL)


def test_filtered_messages_on_standard_output_are_delivered(here: Here, served: Post) -> None:
    assert here("get", "-o", "-", "--larger", "2K", env=served.environment).out == on_disk(6)[0]
    assert 6 not in listed(here, served, "--new")


def test_named_messages_are_looked_at_if_they_match(here: Here, served: Post) -> None:
    look = ("get", "-o", "-", "--from", "bob", "--limit", "1")
    assert here(*look, "2-4", env=served.environment).out == on_disk(4)[0]
    ended = here("get", "-o", "-", "--lines", "0", "--subject", "invoice", "--all", env=served.environment)
    assert ended.out.count(b"Subject: ") == 2
    assert listed(here, served, "--new") == EVERYTHING


def test_mark_records_what_matches(here: Here, served: Post) -> None:
    assert here("get", "--mark", "--from", "bob", env=served.environment).status == 0
    assert listed(here, served, "--new") == [2, 3, 7]


def test_a_dry_run_shows_what_matches(here: Here, served: Post, maildir: Path) -> None:
    ended = here("get", "-o", maildir, "--larger", "2K", "--delete", "--dry-run", env=served.environment)
    assert [line.split(b"\t")[:2] for line in ended.out.splitlines()] == [[b"fetch", b"6"], [b"delete", b"6"]]
    ended = here("rm", "--from", "carol", "--dry-run", "--json", env=served.environment)
    assert [json.loads(line)["number"] for line in ended.out.splitlines()] == [2, 3]
    assert left(served) == EVERYTHING


def test_each_account_is_filtered(here: Here, post: StartPost, tmp_path: Path) -> None:
    served = {"one": post(MAIL), "two": post(MAIL[:3])}
    config = config_for(tmp_path, [(name, each.server) for name, each in served.items()])
    ended = here("get", "-A", "-c", config, "--from", "bob", "--delete")
    assert (ended.status, ended.err) == (0, b"")
    assert delivered(tmp_path / "one") == on_disk(1, 4, 5, 6)
    assert delivered(tmp_path / "two") == on_disk(1)
    assert {name: left(each) for name, each in served.items()} == {"one": [2, 3, 7], "two": [2, 3]}


# -- what get deletes --------------------------------------------------------------------------


def test_delete_deletes_only_what_this_run_delivered(here: Here, served: Post, maildir: Path) -> None:
    here("get", "-o", maildir, "1-3", env=served.environment)
    assert here("get", "-o", maildir, "--from", "bob", "--delete", env=served.environment).status == 0
    assert sorted(delivered(maildir)) == sorted(on_disk(1, 2, 3, 4, 5, 6))
    assert left(served) == [1, 2, 3, 7]


def test_delete_deletes_nothing_if_nothing_matches(here: Here, served: Post, maildir: Path) -> None:
    here("get", "-o", maildir, env=served.environment)
    ended = here("get", "-o", maildir, "--from", "bob", "--delete", env=served.environment)
    assert (ended.status, left(served)) == (0, EVERYTHING)


def test_delete_after_deletes_what_matches(here: Here, served: Post, maildir: Path) -> None:
    here("get", "-o", maildir, env=served.environment)
    options = ("--from", "bob", "--smaller", "2K", "--delete-after", "0")
    assert here("get", "-o", maildir, *options, env=served.environment).status == 0
    assert left(served) == [2, 3, 6, 7]


# -- what rm asks ------------------------------------------------------------------------------


def test_a_filter_names_messages(here: Here, served: Post) -> None:
    assert here("rm", env=served.environment).status == Status.USAGE
    assert here("rm", "--all", "--from", "bob", env=served.environment).status == Status.USAGE
    assert served.verbs == []
    assert here("rm", "--all", "--yes", "--from", "bob", env=served.environment).status == 0
    assert left(served) == [2, 3, 7]


@pytest.mark.parametrize(("answer", "numbers"), [(b"n\n", EVERYTHING), (b"y\n", [2, 3, 7])])
def test_rm_shows_what_it_would_delete_and_asks(
    terminal: Terminal, here: Here, served: Post, maildir: Path, answer: bytes, numbers: list[int]
) -> None:
    here("get", "-o", maildir, "4,6", env=served.environment)
    seen = terminal("rm", "--from", "bob", env=served.environment, answers=[(QUESTION, answer)])
    marks = {line.split()[0]: "*" in line for line in seen.screen[1:5]}
    assert marks == {"1": True, "4": False, "5": True, "6": False}
    assert seen.screen[5] == "3.5 kB in all, 2 never fetched (*)"
    assert left(served) == numbers


def test_rm_counts_what_it_does_not_show(
    terminal: Terminal, here: Here, post: StartPost, maildir: Path
) -> None:
    served = post(MAIL[:1] * 30)
    here("get", "-o", maildir, "--limit", "25", env=served.environment)
    seen = terminal("rm", "--from", "bob", env=served.environment, answers=[(QUESTION, b"n\n")])
    assert "… and 10 more" in seen.screen
    assert seen.screen[-3].endswith(" in all, 5 never fetched (*)")


def test_rm_says_nothing_of_never_fetched_if_all_were(
    terminal: Terminal, here: Here, served: Post, maildir: Path
) -> None:
    here("get", "-o", maildir, env=served.environment)
    seen = terminal("rm", "6", env=served.environment, answers=[(QUESTION, b"n\n")])
    assert seen.screen[2] == "3.1 kB in all"


def test_rm_marks_by_stand_ins_if_there_are_no_unique_ids(
    terminal: Terminal, here: Here, post: StartPost, maildir: Path
) -> None:
    served = post(MAIL, **NO_UIDL)
    here("get", "-o", maildir, "1", env=served.environment)
    seen = terminal("rm", "1,2", env=served.environment, answers=[(QUESTION, b"n\n")])
    assert seen.screen[3].endswith(", 1 never fetched (*)")


def test_rm_marks_nothing_if_a_stand_in_could_cost_mail(terminal: Terminal, post: StartPost) -> None:
    served = post(MAIL, **NO_UIDL | {"capabilities": (b"USER",)})
    seen = terminal("rm", "2", env=served.environment, answers=[(QUESTION, b"y\n")])
    assert "never fetched" not in "".join(seen.screen)
    assert (seen.status, left(served)) == (0, [1, 3, 4, 5, 6, 7])


def test_rm_does_not_ask_if_nothing_matches(terminal: Terminal, served: Post) -> None:
    seen = terminal("rm", "--from", "nobody", env=served.environment)
    assert (seen.status, seen.screen) == (0, ["no matching messages"])


@pytest.mark.parametrize("command", ["list", "get"])
def test_a_terminal_shows_that_nothing_matches(terminal: Terminal, served: Post, command: str) -> None:
    seen = terminal(command, "--from", "nobody", env=served.environment)
    assert (seen.status, seen.screen) == (0, ["no matching messages"])
