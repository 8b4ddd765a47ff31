"""`rm`: what it deletes, when it asks, and what counts as deleted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.in_process import Here
from tests.support.scripted_server import Talk
from tests.support.served_mail import HOSTILE, LETTERS, StartPost, delivered, letters
from tests.support.terminal import Terminal

QUESTION = b"from the server? [y/N] "


def test_chosen_messages_are_deleted_in_silence(here: Here, post: StartPost) -> None:
    served = post(letters(5))
    ended = here("rm", "2-3", "uid:uid-5", env=served.environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert served.mailbox.uids == [b"uid-1", b"uid-4"]


def test_messages_are_read_from_standard_input(here: Here, post: StartPost) -> None:
    served = post()
    here("rm", "--stdin", env=served.environment, stdin=b"uid:uid-1\nlast\n")
    assert served.mailbox.uids == [b"uid-2"]


def test_no_line_on_standard_input_deletes_nothing(here: Here, post: StartPost) -> None:
    served = post()
    ended = here("rm", "--stdin", env=served.environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert served.verbs == []


@pytest.mark.parametrize("words", [[], ["--yes"], ["--all"], ["--all", "1"], ["--all", "--stdin"]])
def test_rm_needs_messages_or_all_and_consent(here: Here, post: StartPost, words: list[str]) -> None:
    served = post()
    ended = here("rm", *words, env=served.environment, stdin=b"1\n")
    assert ended.status == Status.USAGE
    assert served.verbs == []


def test_all_with_yes_deletes_everything(here: Here, post: StartPost) -> None:
    served = post()
    assert here("rm", "--all", "--yes", env=served.environment).status == 0
    assert served.mailbox.messages == []


def test_an_empty_maildrop_has_nothing_to_delete(here: Here, post: StartPost) -> None:
    ended = here("rm", "--all", "--yes", env=post([]).environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")


def test_the_copy_that_is_left_is_not_taken_for_the_deleted_one(here: Here, post: StartPost) -> None:
    served = post([letters(1)[0]] * 2)
    served.mailbox.maildrop = [replace(message, uid=b"shared") for message in served.mailbox.maildrop]
    get = ("get", "--limit", "1", "-o", here.folder / "Maildir")
    for command in (get, ("rm", "1"), get):
        assert here(*command, env=served.environment).status == 0
    assert len(delivered(here.folder / "Maildir")) == 2


def test_a_missing_message_is_an_error_before_anything_is_deleted(here: Here, post: StartPost) -> None:
    served = post()
    ended = here("rm", "1", "4", env=served.environment)
    assert (ended.status, ended.err) == (
        Status.NO_MESSAGE,
        b"pop3fetch: there is no message 4 on the server\n",
    )
    assert b"DELE" not in served.verbs


def test_a_dry_run_names_and_keeps(here: Here, post: StartPost) -> None:
    served = post(letters(3))
    ended = here("rm", "--all", "--dry-run", env=served.environment)
    assert ended.out == b"".join(b"delete\t%d\t104\tuid-%d\t%d\n" % (n, n, n - 1) for n in (1, 2, 3))
    assert len(served.mailbox.messages) == 3


def test_nothing_counts_as_deleted_until_quit_is_answered(here: Here, post: StartPost) -> None:
    served = post(replies={b"QUIT\r\n": b"-ERR some messages were not removed\r\n"})
    ended = here("rm", "--json", "1-2", env=served.environment)
    assert (ended.status, ended.out) == (Status.REFUSED, b"")
    assert ended.err == b"pop3fetch: the server refused QUIT: some messages were not removed\n"


def test_a_line_that_breaks_at_quit_is_an_error(here: Here, post: StartPost) -> None:
    served = post(replies={b"QUIT\r\n": b""}, after={b"QUIT\r\n": lambda talk: talk.close()})
    ended = here("rm", "--json", "1", env=served.environment)
    assert (ended.status, ended.out) == (Status.TRY_LATER, b"")


def test_a_refused_message_is_named_and_the_others_go(here: Here, post: StartPost) -> None:
    served = post(replies={b"DELE 2\r\n": b"-ERR not this one\r\n"})
    ended = here("rm", "--json", "1-3", env=served.environment)
    assert ended.status == Status.REFUSED
    assert ended.err == b"pop3fetch: message 2 stays on the server: the server refused DELE: not this one\n"
    assert [json.loads(line)["number"] for line in ended.out.splitlines()] == [1, 3]
    assert served.mailbox.uids == [b"uid-2"]


def test_a_uid_may_come_again_if_it_is_not_known_what_was_deleted(
    here: Here, post: StartPost, maildir: Path
) -> None:
    served = post(LETTERS[:1])
    here("get", "-o", maildir, env=served.environment)
    served.mailbox.replies[b"QUIT\r\n"] = b""
    served.mailbox.after[b"QUIT\r\n"] = lambda talk: talk.cut()
    assert here("rm", "1", env=served.environment).status == Status.TRY_LATER
    served.mailbox.replies.clear()
    served.mailbox.after.clear()
    served.mailbox.maildrop.clear()
    served.mailbox.add(LETTERS[0].replace(b"<1@", b"<2@"), b"uid-1")
    here("get", "-o", maildir, env=served.environment)
    assert len(delivered(maildir)) == 2


def test_a_uid_may_come_again_if_the_deletion_was_the_last_thing_done(
    here: Here, post: StartPost, maildir: Path, tmp_path: Path
) -> None:
    served = post(LETTERS[:1])
    here("get", "-o", maildir, "--state-dir", tmp_path / "state", env=served.environment)

    def die(_: Talk) -> None:
        """Keep the record as it is at this moment: so a run leaves it that is killed here."""
        shutil.copytree(tmp_path / "state", tmp_path / "killed")

    served.mailbox.after[b"QUIT\r\n"] = die
    here("rm", "1", "--state-dir", tmp_path / "state", env=served.environment)
    served.mailbox.after.clear()
    served.mailbox.add(LETTERS[0].replace(b"<1@", b"<2@"), b"uid-1")
    here("get", "-o", maildir, "--state-dir", tmp_path / "killed", env=served.environment)
    assert len(delivered(maildir)) == 2


def test_a_deleted_uid_may_come_again(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(LETTERS[:1])
    here("get", "-o", maildir, env=served.environment)
    here("rm", "1", env=served.environment)
    served.mailbox.add(LETTERS[1], b"uid-1")
    here("get", "-o", maildir, env=served.environment)
    assert len(delivered(maildir)) == 2


def test_a_message_that_is_back_after_its_deletion_is_not_new(
    here: Here, post: StartPost, maildir: Path
) -> None:
    served = post(LETTERS[:1])
    here("get", "-o", maildir, env=served.environment)
    here("rm", "1", env=served.environment)
    served.mailbox.add(LETTERS[0], b"uid-1")
    assert here("list", "--new", env=served.environment).out == b""
    here("get", "-o", maildir, env=served.environment)
    assert len(delivered(maildir)) == 1


# -- servers that delete what they have shown ------------------------------------------------

POPS = {"capabilities": (b"USER", b"EXPIRE 0"), "replies": {b"UIDL\r\n": b"-ERR no\r\n"}}


def test_a_number_is_deleted_without_a_look_at_other_messages(here: Here, post: StartPost) -> None:
    served = post(letters(3), **POPS)  # which has neither UIDL nor TOP
    assert here("rm", "2", env=served.environment).status == 0
    assert served.mailbox.messages == [letters(3)[0], letters(3)[2]]
    assert b"RETR" not in served.verbs


@pytest.mark.parametrize("expire", [(), (b"EXPIRE 0",), (b"EXPIRE 30",)])
def test_a_stand_in_is_deleted_only_if_no_other_message_is(
    here: Here, post: StartPost, expire: tuple[bytes, ...]
) -> None:
    served = post(letters(3), capabilities=(b"USER", *expire), replies={b"UIDL\r\n": b"-ERR no\r\n"})
    uid = json.loads(here("list", "2", "--json", env=served.environment).out)["uid"]
    assert b"QUIT" not in served.verbs or expire == (b"EXPIRE 30",)
    ended = here("rm", f"uid:{uid}", env=served.environment)
    if expire == (b"EXPIRE 30",):
        assert (ended.status, len(served.mailbox.messages)) == (0, 2)
        return
    assert (ended.status, ended.out) == (Status.REFUSED, b"")
    assert ended.err.startswith(b"pop3fetch: nothing is deleted: ")
    assert b"DELE" not in served.verbs


def test_a_uid_that_messages_share_deletes_none_of_them(here: Here, post: StartPost) -> None:
    served = post(letters(3), uids=[b"same", b"other", b"same"])
    ended = here("rm", "2", "uid:same", env=served.environment)
    assert ended.status == Status.NO_MESSAGE
    assert ended.err == b"pop3fetch: uid:same is shared by the messages 1, 3; use a number\n"
    assert len(served.mailbox.messages) == 3
    assert here("rm", "1,3", env=served.environment).status == 0
    assert served.mailbox.messages == [letters(3)[1]]


def test_rm_of_all_messages_works_even_if_quit_deletes_what_was_shown(here: Here, post: StartPost) -> None:
    served = post(letters(3), **POPS)
    assert here("rm", "--all", "--yes", env=served.environment).status == 0
    assert served.mailbox.messages == []


def test_a_dry_run_deletes_nothing_there_either(here: Here, post: StartPost) -> None:
    served = post(letters(3), **POPS)
    assert here("rm", "1", "--dry-run", env=served.environment).status == 0
    assert not {b"DELE", b"RETR"} & set(served.verbs)


# -- on a terminal ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "left"),
    [(b"y\n", 1), (b"Yes\n", 1), (b"n\n", 3), (b"\n", 3), (b"maybe\n", 3), (b"\x04", 3)],
    ids=["y", "yes", "n", "enter", "maybe", "Ctrl-D"],
)
def test_only_a_yes_deletes(terminal: Terminal, post: StartPost, answer: bytes, left: int) -> None:
    served = post(letters(3))
    seen = terminal("rm", "1-2", env=served.environment, answers=[(QUESTION, answer)])
    assert seen.status == 0
    assert len(served.mailbox.messages) == left
    assert seen.screen[-1] == ("2 messages deleted from the server" if left == 1 else "nothing was deleted")


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 1), (b"n\n", 3)], ids=["y", "n"])
def test_rm_asks_on_the_terminal_even_if_a_pipe_names_the_messages(
    terminal: Terminal, post: StartPost, answer: bytes, left: int
) -> None:
    served = post(letters(3))
    seen = terminal("rm", "--stdin", env=served.environment, answers=[(QUESTION, answer)], fed="1\n2\n")
    assert seen.status == 0
    assert len(served.mailbox.messages) == left


def test_an_interrupt_at_the_question_deletes_nothing(terminal: Terminal, post: StartPost) -> None:
    served = post()
    seen = terminal("rm", "--all", env=served.environment, answers=[(QUESTION, b"\x03")])
    assert seen.status == Status.INTERRUPTED
    assert seen.screen[-1] == "pop3fetch: interrupted"
    assert len(served.mailbox.messages) == 3


def test_of_many_messages_some_are_shown(terminal: Terminal, post: StartPost) -> None:
    served = post(letters(30))
    seen = terminal("rm", "--all", env=served.environment, answers=[(QUESTION, b"n\n")])
    assert "… and 10 more" in seen.screen
    assert served.verbs.count(b"TOP") == 20


def test_hostile_text_is_harmless_in_the_question(terminal: Terminal, post: StartPost) -> None:
    served = post([f"From: {HOSTILE}\r\nSubject: {HOSTILE}\r\n\r\n".encode()])
    seen = terminal("rm", "1", env=served.environment, answers=[(QUESTION, b"n\n")])
    assert len(seen.screen) == 5
    assert b"\x1b]" not in seen.raw


def test_yes_leaves_out_the_question(terminal: Terminal, post: StartPost) -> None:
    served = post()
    seen = terminal("rm", "--all", "--yes", env=served.environment)
    assert seen.screen == ["3 messages deleted from the server"]
    assert served.mailbox.messages == []


def test_quiet_asks_all_the_same_and_shows_what_would_be_deleted(terminal: Terminal, post: StartPost) -> None:
    served = post(letters(22))
    seen = terminal("rm", "-q", "1-21", env=served.environment, answers=[(QUESTION, b"y\n")])
    assert seen.status == 0
    assert seen.screen[-3:-1] == ["… and 1 more", "2.2 kB in all, 21 never fetched (*)"]
    assert len(served.mailbox.messages) == 1
