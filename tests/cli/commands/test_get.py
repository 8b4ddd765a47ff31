"""`get`: what it fetches and reports; how it ends early; what it shows on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.cli.screen.progress import NAMED
from pop3fetch.status import Status
from tests.support.command import PATIENCE, Run
from tests.support.in_process import Here
from tests.support.running import begun, last_words, read_and_leave
from tests.support.scripted_server import Talk
from tests.support.served_mail import DEMO, HOSTILE, LETTERS, StartPost, delivered, harmless, letters
from tests.support.terminal import Terminal

HARD = (
    b"Subject: hard\r\n\r\n8-bit \xe9, NUL \0, ESC \x1b[31m, bare \r and \n, \r\n.\r\n"
    + b"x" * 9000
    + b"\r\n"
)
SLOW = b"Subject: slow\r\n\r\n" + b"0123456789\r\n" * 40


def on_disk(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


# -- first runs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "count"),
    [((), 12), (("--limit", "10"), 10), (("--max-size", "100"), 12), (("--limit", "9"), None)],
)
def test_a_first_run_over_many_messages_reports_how_many_it_fetches(
    here: Here, post: StartPost, maildir: Path, options: tuple[str, ...], count: int | None
) -> None:
    served = post([b"Subject: %d\r\n\r\n" % number for number in range(12)])
    expected = [] if count is None else [f"pop3fetch: first run: fetching {count} messages"]
    for lines in (expected, []):
        ended = here("get", "-v", "-o", f"maildir:{maildir}", *options, env=served.environment)
        assert [line for line in ended.err.decode().splitlines() if "first run" in line] == lines


# -- added messages ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"y\n", b"n\n"])
def test_a_list_of_another_mailbox_is_a_question_on_a_terminal(
    terminal: Terminal, here: Here, post: StartPost, maildir: Path, tmp_path: Path, answer: bytes
) -> None:
    served = post()
    state = ("--state-dir", tmp_path / "state")
    assert here("record", "add", "-", *state, env=served.environment, stdin=b"a\nb\n").status == 0
    command = ("get", "-o", f"maildir:{maildir}", *state)
    ended = here(*command, env=served.environment)
    assert (ended.status, ended.out) == (78, b"")
    assert b"none of the 2 unique-ids added to it" in ended.err
    assert not list(maildir.glob("new/*"))
    # On one line, however long the path of the folder is.
    answers = [(b"Fetch them all? [y/N]", answer)]
    seen = terminal(*command, env=served.environment, answers=answers, columns=1000)
    assert (seen.status, len(list(maildir.glob("new/*")))) == ((0, 3) if answer == b"y\n" else (78, 0))


def test_marked_messages_are_deleted_only_if_wanted(here: Here, post: StartPost, maildir: Path) -> None:
    served = post()
    assert here("get", "--mark", env=served.environment).status == 0
    command = ("get", "-o", f"maildir:{maildir}", "--delete")
    for options, left in (((), 3), (("--delete-marked",), 0)):
        ended = here(*command, *options, env=served.environment)
        assert (ended.status, ended.err, len(served.mailbox.messages)) == (0, b"", left)
    assert not list(maildir.glob("new/*"))


@pytest.mark.parametrize("options", [(), ("--keep",), ("--mark",), ("--mark", "--delete"), ("-o", "-", "1")])
def test_delete_marked_needs_a_deletion(here: Here, post: StartPost, options: tuple[str, ...]) -> None:
    ended = here("get", "--delete-marked", *options, env=post().environment)
    assert (ended.status, ended.out) == (2, b"")


# -- what is fetched -------------------------------------------------------------------------


def test_new_messages_come_to_a_maildir_once_and_in_silence(
    here: Here, post: StartPost, maildir: Path
) -> None:
    served = post([*LETTERS, HARD])
    for _ in range(2):
        ended = here("get", "-o", f"maildir:{maildir}", env=served.environment)
        assert (ended.status, ended.out, ended.err) == (0, b"", b"")
        assert delivered(maildir) == [on_disk(letter) for letter in (*LETTERS, HARD)]
    assert served.verbs.count(b"RETR") == 4


def test_few_files_may_be_open(run: Run, post: StartPost, maildir: Path) -> None:
    served = post([b"Subject: %d\r\n\r\n" % number for number in range(200)])
    command = run.command("get", "-o", f"maildir:{maildir}")
    ended = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command],
        env={**run.environment, **served.environment},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(delivered(maildir)) == 200


def test_the_default_is_the_maildir_at_home(here: Here, post: StartPost, home: Path) -> None:
    here("get", env=post().environment)
    assert len(delivered(home / "Maildir")) == 3


def test_a_bare_folder_is_a_maildir(run: Run, post: StartPost, tmp_path: Path) -> None:
    assert run("get", "-o", "here/there", env=post().environment).status == 0
    assert len(delivered(tmp_path / "here/there")) == 3


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_missing_folders_are_created(here: Here, post: StartPost, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "one/two/three/mail"
    ended = here("get", "-o", f"{kind}:{target}", env=post().environment)
    assert (ended.status, ended.err) == (0, b"")
    assert target.is_dir() == (kind == "maildir")
    assert target.exists()
    folders = [folder for folder in target.parents if folder.is_relative_to(tmp_path / "one")]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 3


def test_chosen_messages_come_new_or_not(here: Here, post: StartPost, maildir: Path) -> None:
    served = post()
    for _ in range(2):
        here("get", "-o", maildir, "2", env=served.environment)
    assert delivered(maildir) == [on_disk(LETTERS[1])] * 2


def test_all_fetches_what_was_fetched_too(here: Here, post: StartPost, maildir: Path) -> None:
    served = post()
    here("get", "-o", maildir, "2", env=served.environment)
    here("get", "-o", maildir, "--all", env=served.environment)
    assert len(delivered(maildir)) == 4


def test_a_missing_message_is_an_error_before_anything_is_fetched(
    here: Here, post: StartPost, maildir: Path
) -> None:
    served = post()
    ended = here("get", "-o", maildir, "1", "4", "--delete", env=served.environment)
    assert ended.status == Status.NO_MESSAGE
    assert b"RETR" not in served.verbs
    assert delivered(maildir) == []


def test_nothing_on_standard_input_fetches_nothing(here: Here, post: StartPost) -> None:
    served = post()
    assert here("get", "--stdin", env=served.environment).status == 0
    assert served.verbs == []


def test_crlf_is_kept_if_requested(here: Here, post: StartPost, maildir: Path) -> None:
    here("get", "-o", maildir, "--crlf", env=post([HARD]).environment)
    assert delivered(maildir) == [HARD]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--limit", "2"], [1, 2]),
        (["--max-size", "1K"], [1, 2]),
        (["--max-size", "1200", "--limit", "1"], [1]),
    ],
)
def test_limits_leave_messages_new_and_name_large_ones_once(
    here: Here, post: StartPost, maildir: Path, options: list[str], numbers: list[int]
) -> None:
    served = post()
    ended = here("get", "-o", maildir, *options, env=served.environment)
    skipped = b"pop3fetch: message 3 has 1.2 kB: larger than --max-size, skipped\n"
    assert (ended.status, ended.err) == (0, skipped if "--max-size" in options else b"")
    assert here("get", "-o", maildir, *options, "--dry-run", env=served.environment).err == b""
    assert delivered(maildir) == [on_disk(LETTERS[number - 1]) for number in numbers]
    left = here("list", "--new", env=served.environment).out.splitlines()
    assert len(left) == 3 - len(numbers)


@pytest.mark.parametrize("option", ["--dry-run", "--mark"])
def test_what_fetches_nothing_makes_no_maildir(
    here: Here, post: StartPost, maildir: Path, option: str, home: Path
) -> None:
    served = post()
    ended = here("get", option, env=served.environment)
    assert (ended.status, ended.err) == (0, b"")
    assert b"RETR" not in served.verbs
    assert not (home / "Maildir").exists()


def test_what_is_marked_is_not_new(here: Here, post: StartPost, maildir: Path) -> None:
    served = post()
    here("get", "--mark", "2-3", env=served.environment)
    here("get", "-o", maildir, env=served.environment)
    assert delivered(maildir) == [on_disk(LETTERS[0])]


def test_a_dry_run_shows_what_it_would_do(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(letters(3))
    here("get", "-o", maildir, "1", env=served.environment)
    ended = here("get", "-o", maildir, "--delete", "--dry-run", env=served.environment)
    assert (ended.status, ended.err) == (0, b"")
    assert ended.out == b"".join(
        b"%s\t%d\t104\tuid-%d\t%d\n" % (verb, number, number, number - 1)  # the last is the subject
        for verb, number in [
            (b"fetch", 2),
            (b"delete", 2),
            (b"fetch", 3),
            (b"delete", 3),
            (b"delete", 1),
        ]
    )
    assert len(served.mailbox.messages) == 3
    assert b"RETR" not in served.verbs[served.verbs.index(b"QUIT") :]


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_a_dry_run_reports_that_the_destination_is_missing(
    here: Here, post: StartPost, tmp_path: Path, kind: str
) -> None:
    served, place = post(letters(2)), tmp_path / "disk" / "mail"
    words = ["get", "-o", f"{kind}:{place}", "--delete"]
    assert here(*words[:-1], env=served.environment).status == 0
    place.parent.rename(tmp_path / "away")
    planned, ended = here(*words, "--dry-run", env=served.environment), here(*words, env=served.environment)
    assert planned == ended
    assert (planned.status, planned.out) == (Status.CANNOT_DELIVER, b"")
    assert b"not mounted" in planned.err
    created = here(*words, "--dry-run", "--create", env=served.environment)
    assert (created.status, created.out.count(b"delete\t")) == (0, 2)
    assert not place.exists()


def test_the_sums_of_a_dry_run_come_last_in_one_file(run: Run, post: StartPost, maildir: Path) -> None:
    served = post(letters(2))
    words = run.command("get", "-v", "-o", maildir, "--dry-run")
    environment = {**run.environment, **served.environment}
    both = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE
    )
    assert both.stdout.splitlines()[-1].startswith(b"pop3fetch: would fetch 2 messages (208 B) to ")


def test_a_dry_run_as_json_has_subject_and_destination(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(LETTERS[:1])
    words = ["get", "--dry-run", "--json", "--delete", "-o", str(maildir)]
    shown = [json.loads(line) for line in here(*words, env=served.environment).out.splitlines()]
    facts = {"number": 1, "uid": "uid-1", "size": len(LETTERS[0]), "subject": "Grüße"}
    assert shown == [
        {"would": "fetch", **facts, "destination": f"maildir:{maildir}"},
        {"would": "delete", **facts, "destination": None},
    ]


def test_a_dry_run_reads_no_whole_message_for_its_subject(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(letters(2), capabilities=[b"UIDL"])
    ended = here("get", "--dry-run", "-o", maildir, env=served.environment)
    assert ended.out == b"fetch\t1\t104\tuid-1\t\nfetch\t2\t104\tuid-2\t\n"
    assert not {b"RETR", b"TOP"} & set(served.verbs)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("-v -o {maildir}", "would fetch 2 messages (208 B) to maildir:{maildir}"),
        (
            "-v -o {maildir} --limit 1 --delete",
            "would fetch 1 message (104 B) to maildir:{maildir}, delete 2 messages (208 B) from the server",
        ),
        ("-v --mark", "would mark 2 messages (208 B) as fetched"),
        ("-v --exec true 1", "would fetch 1 message (104 B) to exec:true"),
        ("-v -o - 1", "would show 1 message (104 B)"),
        ("-v -o {maildir} --max-size 99", "nothing to do, 2 skipped (larger than 99 B)"),
    ],
)
def test_a_dry_run_ends_with_destination_and_sum(
    here: Here, post: StartPost, maildir: Path, options: str, sentence: str
) -> None:
    served = post(letters(3))
    here("get", "-o", maildir, "3", env=served.environment)
    ended = here("get", "--dry-run", *options.format(maildir=maildir).split(), env=served.environment)
    assert ended.status == 0
    assert ended.err.splitlines()[-1].decode() == "pop3fetch: " + sentence.format(maildir=maildir)


@pytest.mark.parametrize(
    ("options", "left"),
    [(["--delete"], 0), (["--keep"], 3), (["--delete-after", "0"], 0), (["--delete-after", "1"], 3)],
)
def test_delivered_messages_are_deleted_on_request(
    here: Here, post: StartPost, maildir: Path, options: list[str], left: int
) -> None:
    served = post()
    assert here("get", "-o", maildir, *options, env=served.environment).status == 0
    assert (len(delivered(maildir)), len(served.mailbox.messages)) == (3, left)


@pytest.mark.parametrize(
    "options",
    [
        "--exec true -o -",
        "--all 1",
        "--lines 3 -o maildir:here",
        "--lines 3 -o mbox:-",
        "--lines 3 --exec true",
        "--lines 3 --mark",
        "--lines -1 -o -",
        "--mark -o here",
        "--mark --delete",
        "--delete --delete-after 3",
        "-o - --delete 1",
        "-o imap:here",
        "-o mbox:",
        "--limit 0",
        "--max-size 10X",
        "--delete-after -1",
        "--exec-timeout nan",
        "--exec",
        "--exec '",
        "--jobs 0 -A",
        "-A -a work",
        "-A -H host",
        "-4 -6",
    ],
)
def test_contradictions_are_mistakes(here: Here, post: StartPost, options: str) -> None:
    served = post()
    ended = here("get", *options.split(), env=served.environment)
    assert ended.status == Status.USAGE
    assert ended.err.startswith(b"pop3fetch: ")
    assert ended.err.count(b"\n") == 1
    assert served.verbs == []


@pytest.mark.parametrize("output", ["Mail/work", "maildir:Mail/work", "maildir:$HOME/Mail/work"])
def test_a_relative_output_in_the_file_begins_at_the_home_folder(
    here: Here, post: StartPost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    served = post()
    file = tmp_path / "config.toml"
    file.write_text(
        "[accounts.work]\nhost = '127.0.0.1'\nuser = 'alice'\ntls = 'off'\nallow_insecure_login = true\n"
        f"port = {served.server.port}\noutput = '{output}'\n"
    )
    env = {"POP3FETCH_PASSWORD": "secret"}
    assert here("get", "-c", file, env=env).status == 0
    assert len(delivered(tmp_path / "home/Mail/work")) == len(LETTERS)
    assert here("get", "-c", file, "--all", "-o", "Mail/option", env=env).status == 0
    assert len(delivered(tmp_path / "Mail/option")) == len(LETTERS)


def test_a_wrong_output_in_the_file_is_the_files_fault(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[accounts.work]\nhost = "localhost"\nuser = "alice"\noutput = "imap:x"\n')
    ended = here("get", "-c", file)
    assert ended.status == Status.CONFIGURATION
    assert ended.err.startswith(f"pop3fetch: {file}: accounts.work.output: ".encode())


# -- what cannot be had ----------------------------------------------------------------------


def test_a_refused_message_is_named_and_the_others_come(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(replies={b"RETR 2\r\n": b"-ERR [SYS/TEMP] not now\r\n"})
    ended = here("get", "-q", "-o", maildir, env=served.environment)
    assert ended.status == Status.TRY_LATER
    assert ended.err == (
        b"pop3fetch: message 2 stays on the server: the server refused RETR 2: [SYS/TEMP] not now\n"
    )
    assert delivered(maildir) == [on_disk(LETTERS[0]), on_disk(LETTERS[2])]
    assert here("list", "--new", env=served.environment).out.startswith(b"2\t")


@pytest.mark.parametrize("command", [["get"], ["get", "--delete"], ["get", "-o", "-", "1-"], ["rm", "1-"]])
def test_of_many_refused_messages_some_are_named(here: Here, post: StartPost, command: list[str]) -> None:
    verb = b"DELE" if command[0] == "rm" else b"RETR"
    refusals = {b"%b %d\r\n" % (verb, number): b"-ERR\r\n" for number in range(1, NAMED + 3)}
    served = post(letters(NAMED + 3), replies=refusals)
    ended = here(*command, env=served.environment)
    assert ended.status == Status.REFUSED
    *named, more = ended.err.splitlines()
    assert [line.split()[2] for line in named] == [b"%d" % number for number in range(1, NAMED + 1)]
    assert more == b"pop3fetch: 2 more stay on the server; -v names them"


def test_all_refused_messages_are_named_on_request(here: Here, post: StartPost) -> None:
    refusals = {b"RETR %d\r\n" % number: b"-ERR\r\n" for number in range(1, NAMED + 3)}
    ended = here("get", "-v", env=post(letters(NAMED + 3), replies=refusals).environment)
    assert ended.err.count(b" stays on the server: ") == NAMED + 2
    assert b"more stay" not in ended.err


def test_a_refusal_in_hostile_words_is_harmless(here: Here, post: StartPost, maildir: Path) -> None:
    words = HOSTILE.replace("\0", "").encode()
    served = post(
        replies={b"RETR 2\r\n": b"-ERR " + words + b"\r\n", b"QUIT\r\n": b"-ERR " + words + b"\r\n"}
    )
    ended = here("get", "-vv", "-o", maildir, env=served.environment)
    assert ended.status == Status.REFUSED
    assert harmless(ended.err)


def test_two_runs_at_once_do_not_mix(here: Here, post: StartPost, run: Run, maildir: Path) -> None:
    reached, may_go_on = threading.Event(), threading.Event()

    def wait(talk: Talk) -> None:
        reached.set()
        may_go_on.wait(PATIENCE)

    served = post(after={b"LIST\r\n": wait})
    with begun(run, "get", "-o", str(maildir), env=served.environment) as first:
        assert reached.wait(PATIENCE)
        second = here("get", "-o", maildir, env=served.environment)
        may_go_on.set()
        assert first.communicate(timeout=PATIENCE) == (b"", b"")
    assert second.status == Status.TRY_LATER
    assert b"another pop3fetch is using this account" in second.err
    assert len(delivered(maildir)) == 3


# -- standard output -------------------------------------------------------------------------


def test_standard_output_gets_the_octets_one_after_another(here: Here, post: StartPost) -> None:
    served = post([LETTERS[0], HARD])
    ended = here("get", "-o", "-", env=served.environment)
    assert ended.out == on_disk(LETTERS[0]) + on_disk(HARD)
    assert here("get", "-o", "-", env=served.environment).out == b"", "it was recorded"


def test_chosen_messages_on_standard_output_are_a_look(here: Here, post: StartPost) -> None:
    served = post(letters(3))
    assert here("get", "-o", "-", "--crlf", "2", env=served.environment).out == served.mailbox.messages[1]
    assert len(here("list", "--new", env=served.environment).out.splitlines()) == 3


def test_an_account_whose_output_is_standard_output_is_looked_at_as_well(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    served = post(letters(2))
    config = tmp_path / "config.toml"
    config.write_text(
        f'[accounts.work]\nhost = "{served.server.host}"\nport = {served.server.port}\n'
        'tls = "auto"\nuser = "alice"\noutput = "-"\n'
    )
    env = {"POP3FETCH_PASSWORD": "secret"}
    assert here("get", "-c", config, "--crlf", "2", env=env).out == served.mailbox.messages[1]
    assert len(here("list", "-c", config, "--new", env=env).out.splitlines()) == 2
    assert here("get", "-c", config, "--mark", "2", env=env).out == b""
    assert here("list", "-c", config, "--new", env=env).out.startswith(b"1\t")


@pytest.mark.parametrize("output", [[], ["-o", "-"]], ids=["implied", "given"])
def test_lines_shows_the_beginnings_and_records_nothing(
    here: Here, post: StartPost, output: list[str]
) -> None:
    served = post(letters(2))
    ended = here("get", *output, "--lines", "1", env=served.environment)
    assert ended.out == b"".join(b"Subject: %d\n\n0123456789abcdef\n" % number for number in range(2))
    assert b"RETR" not in served.verbs
    assert len(here("list", "--new", env=served.environment).out.splitlines()) == 2


@pytest.mark.parametrize("destination", ["output = 'maildir:Mail/work'", "exec = 'false'"])
def test_lines_go_to_standard_output_whatever_the_account_says(
    here: Here, post: StartPost, tmp_path: Path, home: Path, destination: str
) -> None:
    served = post(letters(2))
    file = tmp_path / "config.toml"
    file.write_text(f"[accounts.work]\nhost = '127.0.0.1'\nuser = 'alice'\ntls = 'auto'\n{destination}\n")
    port = str(served.server.port)
    ended = here("get", "-c", file, "-p", port, "--lines", "0", "2", env={"POP3FETCH_PASSWORD": "secret"})
    assert (ended.status, ended.out, ended.err) == (0, b"Subject: 1\n\n", b"")
    assert not (home / "Mail").exists()


def test_a_look_is_not_ended_by_a_quit_that_deletes(here: Here, post: StartPost) -> None:
    served = post(capabilities=[b"UIDL", b"TOP", b"EXPIRE 0"])
    here("get", "-o", "-", "1", env=served.environment)
    assert b"QUIT" not in served.verbs


def test_a_look_may_be_a_dry_run(here: Here, post: StartPost) -> None:
    served = post(letters(2))
    ended = here("get", "-o", "-", "--dry-run", "2", env=served.environment)
    assert ended.out == b"show\t2\t104\tuid-2\t1\n"


def test_mboxrd_on_standard_output_can_be_split(here: Here, post: StartPost) -> None:
    letter = b"Subject: quoting\r\n\r\nFrom here\r\n>From there\r\n"
    ended = here("get", "-o", "mbox:-", env=post([letter, letter]).environment)
    one, _, other = ended.out.removeprefix(b"From ").partition(b"\n\nFrom ")
    assert one.partition(b"\n")[2] + b"\n" == b"Subject: quoting\n\n>From here\n>>From there\n"
    assert other.partition(b"\n")[2] == b"Subject: quoting\n\n>From here\n>>From there\n\n"


def test_objects_do_not_mix_with_messages(here: Here, post: StartPost) -> None:
    ended = here("get", "--json", "-o", "-", env=post(LETTERS[:1]).environment)
    assert ended.out == on_disk(LETTERS[0])


def test_a_reader_that_leaves_early_is_not_an_error_and_the_rest_stays_new(run: Run, post: StartPost) -> None:
    served = post(letters(3, 500_000))
    with begun(run, "get", "-o", "-", env=served.environment) as process:
        first = read_and_leave(process, 600_000)  # the first message, and a part of the second
        assert (last_words(process), process.wait(PATIENCE)) == (b"", 0)
    assert first.startswith(on_disk(served.mailbox.messages[0]))
    assert b"QUIT" not in served.verbs, "it could delete what nobody has read"
    left = run("list", "--new", env=served.environment).out.splitlines()
    assert [line.split(b"\t")[0] for line in left] == [b"2", b"3"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", ["get -o -", "get -o - 1", "list", "stat --json"])
def test_a_full_standard_output_is_an_error(run: Run, post: StartPost, arguments: str) -> None:
    served = post()
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            run.command(*arguments.split()),
            stdout=full,
            stderr=subprocess.PIPE,
            env={**run.environment, **served.environment},
            cwd=run.folder,
        )
    assert ended.returncode == Status.CANNOT_DELIVER
    assert ended.stderr.startswith(b"pop3fetch: cannot deliver to standard output: ")
    assert ended.stderr.count(b"\n") == 1


def test_a_closed_standard_output_swallows_no_mail(run: Run, post: StartPost) -> None:
    served = post()
    script = 'exec "$@" >&-'
    ended = subprocess.run(
        ["sh", "-c", script, "sh", *run.command("get", "-o", "-")],
        stderr=subprocess.PIPE,
        env={**run.environment, **served.environment},
        cwd=run.folder,
    )
    assert ended.returncode == Status.CANNOT_DELIVER
    assert len(run("list", "--new", env=served.environment).out.splitlines()) == 3


def test_with_all_streams_closed_mail_still_comes(run: Run, post: StartPost, maildir: Path) -> None:
    served = post()
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *run.command("get", "-v", "-o", maildir)],
        env={**run.environment, **served.environment},
        cwd=run.folder,
    )
    assert ended.returncode == 0
    assert len(delivered(maildir)) == 3


# -- programs --------------------------------------------------------------------------------


def test_a_program_gets_each_message_and_no_password(here: Here, post: StartPost, tmp_path: Path) -> None:
    program = tmp_path / "take"
    program.write_text(f'#!/bin/sh\ncat > "{tmp_path}/$POP3FETCH_NUMBER"\nenv > "{tmp_path}/env"\n')
    program.chmod(0o700)
    served = post([LETTERS[0], HARD])
    ended = here("get", "--exec", program, env=served.environment)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert (tmp_path / "1").read_bytes() == on_disk(LETTERS[0])
    assert (tmp_path / "2").read_bytes() == on_disk(HARD)
    assert b"secret" not in (tmp_path / "env").read_bytes()


def test_a_program_that_fails_leaves_its_message_new(here: Here, post: StartPost) -> None:
    served = post(letters(2))
    ended = here("get", "--exec", "sh -c 'test $POP3FETCH_NUMBER = 2'", env=served.environment)
    assert ended.status == Status.CANNOT_DELIVER
    assert ended.err == (
        b"pop3fetch: message 1 stays on the server: cannot deliver to exec:sh: exit status 1\n"
    )
    assert here("list", "--new", env=served.environment).out.startswith(b"1\t")


@pytest.mark.parametrize("many", [False, True], ids=["one account", "all accounts"])
def test_a_signal_ends_the_programs_too(run: Run, post: StartPost, tmp_path: Path, many: bool) -> None:
    served = post().server
    begins = tmp_path / "begins"
    os.mkfifo(begins)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[accounts.work]\nhost = "{served.host}"\nport = {served.port}\ntls = "auto"\nuser = "alice"\n'
    )
    program = f"sh -c 'echo begun > {begins}; exec sleep 1000'"
    arguments = ["get", "--exec", program, "-c", str(config), *(["-A"] if many else [])]
    with begun(run, *arguments, env={"POP3FETCH_PASSWORD": "secret"}) as process:
        assert begins.read_text() == "begun\n"
        process.send_signal(signal.SIGTERM)
        said = b"pop3fetch: terminated; the next run fetches all 3 messages\n"
        assert process.communicate(timeout=PATIENCE) == (b"", said)
    assert process.returncode == Status.TERMINATED


# -- early ends ------------------------------------------------------------------------------


def stalling_at(number: int) -> dict[str, Any]:
    """Return options of a mailbox that never sends the whole of a message."""
    command = b"RETR %d\r\n" % number
    return {"replies": {command: b"+OK\r\nSubject: "}, "after": {command: Talk.stall}}


@pytest.mark.parametrize(
    ("arguments", "stalled", "said"),
    [
        ("", 3, "2 of 4 messages are safe; the next run fetches the others"),
        ("", 2, "1 of 4 messages is safe; the next run fetches the others"),
        ("", 1, "the next run fetches all 4 messages"),
        ("--limit 3", 3, "2 of 3 messages are safe; the next run fetches the others"),
        ("1-4", 3, "2 of 4 messages are safe; the others stay on the server"),
        ("--all", 1, "all 4 messages stay on the server"),
        ("1", 1, "the message stays on the server"),
    ],
)
def test_a_time_out_reports_what_is_safe(
    here: Here, post: StartPost, maildir: Path, arguments: str, stalled: int, said: str
) -> None:
    served = post(letters(4), **stalling_at(stalled))
    words = ["get", "-o", str(maildir), "--timeout", "0.3", *arguments.split()]
    ended = here(*words, env=served.environment)
    assert ended.status == Status.TRY_LATER
    assert ended.err.decode().partition("; ")[2] == said + "\n"
    assert ended.err.startswith(b"pop3fetch: timed out after 0.3 s ")


def test_an_unconfirmed_deletion_leaves_all_messages_safe(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(letters(2), replies={b"QUIT\r\n": b"-ERR not removed\r\n"})
    ended = here("get", "--delete", "-o", maildir, env=served.environment)
    assert ended.err == b"pop3fetch: the server refused QUIT: not removed; all 2 messages are safe\n"


def test_a_full_disk_reports_what_is_safe(run: Run, post: StartPost, maildir: Path) -> None:
    served = post([*letters(3), b"Subject: large\r\n\r\n" + b"x" * 3_000_000 + b"\r\n"])
    command = run.command("get", "-o", f"maildir:{maildir}")
    ended = subprocess.run(  # a file of more than 1 MiB fails as if the disk were full
        ["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 2048; exec "$@"', "sh", *command],
        env={**run.environment, **served.environment},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == Status.CANNOT_DELIVER
    assert ended.stderr.startswith(f"pop3fetch: cannot deliver to maildir:{maildir}: ".encode())
    assert ended.stderr.endswith(b"; 3 of 4 messages are safe; the next run fetches the others\n")
    assert len(delivered(maildir)) == 3


@pytest.mark.parametrize("many", [False, True], ids=["one account", "all accounts"])
def test_an_interrupt_reports_what_is_safe(run: Run, post: StartPost, tmp_path: Path, many: bool) -> None:
    """The first message of one account is safe when its second is interrupted."""
    waits = threading.Event()

    def stall(talk: Talk) -> None:
        waits.set()
        talk.stall()

    stalling = {"replies": {b"RETR 1\r\n": b"+OK\r\n"}, "after": {b"RETR 1\r\n": stall}}
    served = [post(letters(3)), *([post(letters(2), **stalling)] if many else [])]
    begins = tmp_path / "begins"
    os.mkfifo(begins)
    config = tmp_path / "config.toml"
    config.write_text(
        "".join(
            f'[accounts.n{number}]\nhost = "127.0.0.1"\nport = {each.server.port}\ntls = "auto"\n'
            f'user = "alice"\n'
            for number, each in enumerate(served)
        )
    )
    program = f"sh -c 'test $POP3FETCH_NUMBER = 1 || {{ echo begun > {begins}; exec sleep 1000; }}'"
    arguments = ["get", "--exec", program, "-c", str(config), *(["-A"] if many else [])]
    with begun(run, *arguments, env={"POP3FETCH_PASSWORD": "secret"}) as process:
        assert begins.read_text() == "begun\n"
        assert not many or waits.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        of = b"1 of 3" if not many else b"1 of 5"
        said = b"pop3fetch: interrupted; " + of + b" messages is safe; the next run fetches the others\n"
        assert process.communicate(timeout=PATIENCE) == (b"", said)
    assert process.returncode == Status.INTERRUPTED
    left = run("list", "-c", config, "-a", "n0", "--new", env={"POP3FETCH_PASSWORD": "secret"})
    assert left.out.count(b"\n") == 2


def test_a_second_interrupt_reports_no_figures(run: Run, post: StartPost, tmp_path: Path) -> None:
    """An account that has not ended has not told how many of its messages are safe."""
    begins, goes_on = tmp_path / "begins", tmp_path / "goes on"
    os.mkfifo(begins)
    os.mkfifo(goes_on)
    waits = threading.Event()

    def stall(talk: Talk) -> None:
        waits.set()
        talk.stall()

    stalling = {"replies": {b"RETR 1\r\n": b"+OK\r\n"}, "after": {b"RETR 1\r\n": stall}}
    served = {"one": post(letters(1)), "two": post(letters(2), **stalling)}
    config = tmp_path / "config.toml"
    config.write_text(
        "".join(
            f'[accounts.{name}]\nhost = "127.0.0.1"\nport = {each.server.port}\ntls = "auto"\n'
            f'user = "alice"\npassword = "secret"\n'
            for name, each in served.items()
        )
    )
    config.chmod(0o600)
    slow = tmp_path / "slow"
    slow.write_text(
        f'#!/bin/sh\nexec >/dev/null\ntrap \'echo told >"{begins}"; read line <"{goes_on}"; exit\' TERM\n'
        f'echo begun >"{begins}"\nsleep 1000 & wait\n'
    )
    slow.chmod(0o700)
    with begun(run, "get", "-A", "--exec", str(slow), "-c", str(config), env={}) as process:
        assert begins.read_text() == "begun\n"
        assert waits.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        assert begins.read_text() == "told\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == (b"", b"pop3fetch: interrupted\n")
    assert process.returncode == Status.INTERRUPTED
    with suppress(OSError):  # it was killed in the meantime
        os.close(os.open(goes_on, os.O_WRONLY | os.O_NONBLOCK))


# -- on a terminal ---------------------------------------------------------------------------


def dripping() -> dict[str, Any]:
    """Return options of a mailbox that takes its time for message 1, which is SLOW."""

    def drip(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        for line in SLOW.splitlines(keepends=True):
            talk.drip(line[:1], 0.01)
            talk.say(line[1:])
        talk.say(b".\r\n")

    return {"replies": {b"RETR 1\r\n": b""}, "after": {b"RETR 1\r\n": drip}}


def test_a_progress_line_is_drawn_anew_and_followed_by_a_summary(
    terminal: Terminal, post: StartPost, maildir: Path
) -> None:
    served = post([SLOW, *LETTERS], **dripping())
    seen = terminal("get", "-o", maildir, env=served.environment, columns=200)
    drawn = [part for part in seen.raw.split(b"\r") if b"/4 messages" in part]
    assert len(drawn) >= 2
    assert all(part.endswith(b"\x1b[K") for part in drawn), "each takes the one before away"
    assert seen.screen == [f"4 messages fetched (1.9 kB) to maildir:{maildir}"]


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}])
def test_on_a_dumb_terminal_nothing_is_drawn_anew(
    terminal: Terminal, post: StartPost, maildir: Path, env: dict[str, str]
) -> None:
    served = post([SLOW, *LETTERS], **dripping())
    seen = terminal("get", "-o", maildir, env={**served.environment, **env}, columns=200)
    assert b"\x1b" not in seen.raw
    assert seen.screen == [f"4 messages fetched (1.9 kB) to maildir:{maildir}"]


def test_errors_have_lines_of_their_own(terminal: Terminal, post: StartPost, maildir: Path) -> None:
    options = dripping()
    options["replies"] = {b"RETR 1\r\n": b"", b"RETR 2\r\n": b"-ERR gone\r\n"}
    served = post([SLOW, *LETTERS], **options)
    seen = terminal("get", "-o", maildir, env=served.environment, columns=200)
    assert seen.screen == [
        "pop3fetch: message 2 stays on the server: the server refused RETR 2: gone",
        f"3 messages fetched (1.8 kB) to maildir:{maildir}, 1 failed",
    ]
    assert seen.status == Status.REFUSED


def test_a_second_run_reports_that_nothing_is_new(
    terminal: Terminal, here: Here, post: StartPost, maildir: Path
) -> None:
    served = post()
    here("get", "-o", maildir, env=served.environment)
    assert terminal("get", "-o", maildir, env=served.environment).screen == ["no new messages"]


def test_a_dry_run_with_nothing_to_do_reports_that(
    terminal: Terminal, here: Here, post: StartPost, maildir: Path
) -> None:
    served = post()
    here("get", "-o", maildir, env=served.environment)
    assert terminal("get", "--dry-run", "-o", maildir, env=served.environment).screen == ["nothing to do"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("2", "1 message fetched (82 B) to {maildir}, again: there is now another copy"),
        (
            "1-3",
            "3 messages fetched (1.5 kB) to {maildir}, 2 of them again: there is now another copy of each",
        ),
        (
            "--all",
            "3 messages fetched (1.5 kB) to {maildir}, 2 of them again: there is now another copy of each",
        ),
        ("3", "1 message fetched (1.2 kB) to {maildir}"),
        ("-o {maildir}2 2", "1 message fetched (82 B) to {maildir}2"),
        ("--exec true 2", "1 message fetched (82 B) to exec:true"),
    ],
)
def test_a_second_copy_is_reported(
    terminal: Terminal, here: Here, post: StartPost, maildir: Path, words: str, line: str
) -> None:
    served = post()
    here("get", "-o", maildir, "1-2", env=served.environment)
    env = {**served.environment, "HOME": str(maildir.parent)}  # whose maildir is the default
    seen = terminal("get", *words.format(maildir=f"maildir:{maildir}").split(), env=env, columns=200)
    assert seen.screen == [line.format(maildir=f"maildir:{maildir}")]


def test_quiet_prints_nothing(terminal: Terminal, post: StartPost, maildir: Path) -> None:
    assert terminal("get", "-q", "-o", maildir, env=post().environment).raw == b""


def test_the_summary_counts_skipped_and_deleted_messages(
    terminal: Terminal, post: StartPost, maildir: Path
) -> None:
    options = ["-o", str(maildir), "--max-size", "1K", "--delete"]
    seen = terminal("get", *options, env=post().environment, columns=200)
    assert seen.screen[1:] == [
        f"2 messages fetched (251 B) to maildir:{maildir}, 2 deleted from the server,"
        " 1 skipped (larger than 1.0 kB)"
    ]


def test_messages_are_made_harmless_for_a_terminal(terminal: Terminal, post: StartPost) -> None:
    hostile = f"Subject: {HOSTILE}\r\n\r\n{HOSTILE}\r\ncafé \u202e\r\n".encode() + b"\x9b1m \xff\r\n"
    seen = terminal("get", "-o", "-", "1", env=post([hostile]).environment)
    assert b"\x1b" not in seen.raw
    assert "café \\u202e" in seen.screen
    assert "\\x9b1m \\xff" in seen.screen


def test_messages_are_raw_in_a_pipe(terminal: Terminal, post: StartPost) -> None:
    seen = terminal("get", "-o", "-", "--crlf", "1", env=post([HARD]).environment, piped=True)
    assert (seen.out, seen.raw) == (HARD, b"")


def test_no_progress_is_drawn_beside_messages(terminal: Terminal, post: StartPost) -> None:
    seen = terminal("get", "-o", "-", env=post([SLOW], **dripping()).environment, piped=True)
    assert (seen.out, seen.raw) == (on_disk(SLOW), b"")


def test_objects_come_beside_the_progress_line(terminal: Terminal, post: StartPost, maildir: Path) -> None:
    seen = terminal("get", "--json", "-o", maildir, env=post([SLOW], **dripping()).environment, columns=900)
    first, second = seen.screen
    assert json.loads(first)["number"] == 1
    assert second.startswith("1 message fetched")


def test_the_password_is_asked_for_on_a_terminal(terminal: Terminal, post: StartPost, maildir: Path) -> None:
    served = post()
    env = {"POP3FETCH_ACCOUNT": served.server.url()}
    seen = terminal("get", "-o", maildir, env=env, answers=[(b"Password of alice@", b"secret\n")])
    assert seen.status == 0
    assert b"secret" not in seen.raw
    assert len(delivered(maildir)) == 3


def test_the_demo_messages_arrive_whole(here: Here, post: StartPost, maildir: Path) -> None:
    served = post(DEMO)
    here("get", "-o", maildir, "--crlf", env=served.environment)
    assert delivered(maildir) == served.mailbox.messages
