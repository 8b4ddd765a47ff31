"""What only a program does: it may refuse, die, hang, talk, and leave others behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pop3fetch.delivery import program
from pop3fetch.delivery.program import Program
from pop3fetch.errors import DeliveryError
from tests.support.delivering import Died, Journal, draft, drafts, message

ONE, TWO, THREE = (b"Subject: %d\n\nhello\n" % number for number in range(1, 4))
PATIENCE = 30.0  # seconds
LONG = "1000"  # seconds that a program sleeps which is to be ended


class Runner:
    """Runs commands, and keeps what they write on standard error."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.said: list[str] = []

    def program(self, *command: str, limit: float = PATIENCE) -> Program:
        return Program(
            command, environment=self.environment, account="work", report=self.said.append, limit=limit
        )

    def shell(self, script: str, limit: float = PATIENCE) -> Program:
        return self.program("sh", "-c", script, limit=limit)

    def failure(self, destination: Program, octets: bytes = ONE) -> DeliveryError:
        """Return why the one message was refused."""
        journal = Journal()
        ((refused, error),) = destination.deliver([draft(destination, octets)], journal)
        assert refused.octets == len(octets)
        assert not error.fatal
        assert journal.delivered == []
        return error


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner({"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SECRET": "none"})


class Pipe:
    """A named pipe, by which a program shows that it has started, and that all of it has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def has_ended(self) -> bool:
        """Return whether no process has it open for writing any more, once one has written."""
        while select.select([self._reader], [], [], PATIENCE)[0]:
            if not os.read(self._reader, 4096):
                return True
        return False

    def wait_for_start(self) -> None:
        assert select.select([self._reader], [], [], PATIENCE)[0]

    def close(self) -> None:
        os.close(self._reader)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


# -- what it gets ----------------------------------------------------------------------------------


def test_a_program_gets_the_number_and_the_uid_of_the_message(runner: Runner) -> None:
    destination = runner.shell("env | grep ^POP3FETCH_ | sort > seen")
    begun = destination.draft(message(6, b"size as listed", b"uid \xff"))
    begun.write(ONE)

    assert destination.deliver([begun], Journal()) == []

    assert Path("seen").read_bytes() == (
        b"POP3FETCH_ACCOUNT=work\nPOP3FETCH_NUMBER=7\nPOP3FETCH_SIZE=18\nPOP3FETCH_UID=uid \xff\n"
    )


def test_a_program_sees_the_environment_that_it_was_given_and_no_other(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POP3FETCH_PASSWORD", "secret")
    destination = runner.shell("env > seen")

    destination.deliver([draft(destination, ONE)], Journal())

    seen = Path("seen").read_text()
    assert "SECRET=none\n" in seen
    assert "secret" not in seen


def test_no_shell_reads_the_words_of_a_command(runner: Runner) -> None:
    destination = runner.program("touch", "a b", "$(touch c)", "d;touch e", "*")

    destination.deliver([draft(destination, ONE)], Journal())

    assert sorted(os.listdir()) == ["$(touch c)", "*", "a b", "d;touch e"]


def test_a_program_may_take_no_notice_of_its_message(runner: Runner) -> None:
    destination, journal = runner.program("true"), Journal()

    assert destination.deliver([draft(destination, b"x" * (1 << 21))], journal) == []
    assert journal.delivered == [0]


def test_a_program_inherits_no_file_but_the_three_usual_ones(runner: Runner, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        destination = runner.shell("ls /proc/self/fd | tr '\\n' ' ' > seen")
        destination.deliver([draft(destination, ONE)], Journal())

    assert Path("seen").read_text() == "0 1 2 3 "  # 3 is the folder that ls reads


def test_a_program_has_a_session_of_its_own_and_the_usual_signals(runner: Runner) -> None:
    destination = runner.shell(
        "cut -d' ' -f6 /proc/self/stat > session; grep ^SigIgn: /proc/self/status > ignored"
    )

    destination.deliver([draft(destination, ONE)], Journal())

    assert int(Path("session").read_text()) != os.getsid(0)
    # The 31 that POSIX names: Python ignores two, and what our starter ignores, as nohup does, stays so.
    ours = {number for number in range(1, 32) if signal.getsignal(number) is signal.SIG_IGN}
    mask = int(Path("ignored").read_text().split()[1], 16)
    ignored = {number for number in range(1, 32) if mask >> (number - 1) & 1}
    assert ignored == ours - {signal.SIGPIPE, signal.SIGXFSZ}


# -- what it answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [1, 75, 255])
def test_an_exit_status_other_than_0_leaves_the_message_new(status: int, runner: Runner) -> None:
    error = runner.failure(runner.shell(f"cat; exit {status}"))

    assert str(error) == f"cannot deliver to exec:sh: exit status {status}"
    assert runner.said == []


def test_the_last_line_of_standard_error_is_the_reason(runner: Runner) -> None:
    error = runner.failure(runner.shell("echo first >&2; echo last >&2; echo >&2; exit 75"))

    assert error.reason == "exit status 75: last"
    assert runner.said == ["first"], "the last line is in the reason, and is not shown twice"


def test_a_program_that_dies_of_a_signal_leaves_the_message_new(runner: Runner) -> None:
    error = runner.failure(runner.shell("kill -SEGV $$"))

    assert error.reason == "it was ended by signal 11 (Segmentation fault)"


def test_one_refusal_does_not_keep_the_others_from_being_delivered(runner: Runner) -> None:
    destination, journal = runner.shell('test "$POP3FETCH_NUMBER" != 2'), Journal()
    batch = drafts(destination, [ONE, TWO, THREE])

    ((refused, _),) = destination.deliver(batch, journal)

    assert refused is batch[1]
    assert journal.delivered == [0, 2]


def test_each_message_is_done_before_the_next_one_is_tried(runner: Runner) -> None:
    destination = runner.shell('touch "$POP3FETCH_NUMBER"')
    journal = Journal(lambda: sorted(os.listdir()))

    destination.deliver(drafts(destination, [ONE, TWO]), journal)

    assert journal.seen == [("done", ["1"]), ("done", ["1", "2"])]


def test_a_program_that_cannot_be_run_ends_the_delivery(runner: Runner) -> None:
    Path("script").write_text("#!/no/such/interpreter\n")
    Path("script").chmod(0o700)
    destination, journal = runner.program("./script"), Journal()
    destination.prepare()
    batch = drafts(destination, [ONE, TWO])

    with pytest.raises(DeliveryError, match=r"exec:\./script: it cannot be run: No such file") as caught:
        destination.deliver(batch, journal)

    assert caught.value.fatal
    assert journal.delivered == []
    for each in batch:
        each.discard()


@pytest.mark.parametrize("command", ["none", "./none", "/"])
def test_a_program_that_is_not_there_is_refused_beforehand(command: str, runner: Runner) -> None:
    with pytest.raises(DeliveryError, match="there is no such program"):
        runner.program(command).prepare()


def test_the_path_of_the_given_environment_counts(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/deliver").write_text("#!/bin/sh\n/bin/cat > seen\n")
    (tmp_path / "bin/deliver").chmod(0o700)
    runner.environment = {"PATH": str(tmp_path / "bin")}
    destination = runner.program("deliver")

    destination.prepare()
    destination.deliver([draft(destination, ONE)], Journal())

    assert Path("seen").read_bytes() == ONE


# -- what it prints --------------------------------------------------------------------------------


def test_the_output_of_a_program_is_shown_harmlessly_line_by_line(runner: Runner) -> None:
    destination = runner.shell(r"printf 'one\n\n\033[2J two\r\nthr\377ee' >&2")

    assert destination.deliver([draft(destination, ONE)], Journal()) == []

    assert runner.said == ["one", r"\x1b[2J two", r"thr\xffee"]


def test_a_program_that_talks_without_end_is_neither_blocked_nor_kept(runner: Runner) -> None:
    destination = runner.shell("yes | head -c 1000000 >&2")

    assert destination.deliver([draft(destination, ONE)], Journal()) == []

    assert runner.said == ["y"] * (program.COMPLAINT // 2)


def test_a_program_may_close_its_standard_error_and_go_on(runner: Runner) -> None:
    destination, journal = runner.shell("exec 2>&-; sleep 0.01; cat > seen"), Journal()

    assert destination.deliver([draft(destination, ONE)], journal) == []
    assert Path("seen").read_bytes() == ONE


def test_what_a_program_leaves_in_the_background_is_not_waited_for(runner: Runner, pipe: Pipe) -> None:
    destination = runner.shell("echo > pipe; { read line < release; } > pipe & echo said >&2; exit 0")
    os.mkfifo("release")

    assert destination.deliver([draft(destination, ONE)], Journal()) == []

    assert runner.said == ["said"]
    with Path("release").open("w") as release:  # a process still reads it
        release.write("\n")
    assert pipe.has_ended()


# -- its end ---------------------------------------------------------------------------------------


def test_the_time_limit_ends_a_program_with_all_that_it_has_started(runner: Runner, pipe: Pipe) -> None:
    destination = runner.shell(f"echo slow >&2; exec > pipe; echo; sleep {LONG} & wait", limit=0.2)

    error = runner.failure(destination)

    assert error.reason == "it did not end within 0.2 s: slow"
    assert pipe.has_ended()


def test_a_program_that_does_not_want_to_end_is_killed(
    runner: Runner, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "GRACE", 0.05)
    destination = runner.shell(f"trap '' TERM; exec > pipe; echo; sleep {LONG}; sleep {LONG}", limit=0.2)

    runner.failure(destination)

    assert pipe.has_ended()


def test_a_program_that_was_asked_to_end_may_tidy_up(runner: Runner) -> None:
    destination = runner.shell(f"trap 'touch tidy; exit 0' TERM; sleep {LONG} & wait", limit=0.2)

    assert "did not end" in runner.failure(destination).reason
    assert Path("tidy").exists()


def test_closing_ends_the_program_that_runs_and_starts_no_other(runner: Runner, pipe: Pipe) -> None:
    destination, journal = runner.shell(f"exec > pipe; echo; sleep {LONG}"), Journal()
    batch = drafts(destination, [ONE, TWO])
    errors: list[DeliveryError] = []

    def work() -> None:
        try:
            destination.deliver(batch, journal)
        except DeliveryError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pipe.wait_for_start()
    destination.close()
    assert pipe.has_ended()
    thread.join()

    assert [error.fatal for error in errors] == [True]
    assert journal.delivered == []
    for each in batch:
        each.discard()


def test_an_exception_in_the_delivering_thread_leaves_no_program_behind(
    runner: Runner, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = runner.shell(f"exec > pipe; echo; sleep {LONG}")
    waiting = draft(destination, ONE)

    def interrupted() -> float:
        pipe.wait_for_start()
        raise Died

    clock = time.monotonic
    calls = iter([clock, interrupted])
    monkeypatch.setattr("pop3fetch.delivery.program.time.monotonic", lambda: next(calls, clock)())
    with pytest.raises(Died):
        destination.deliver([waiting], Journal())

    assert pipe.has_ended()
    waiting.discard()


# -- real ones -------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("procmail"), reason="procmail is not installed")
def test_procmail_takes_messages(runner: Runner, tmp_path: Path) -> None:
    # Procmail takes the home folder of the password file, not HOME: no path may be relative to that.
    Path("rc").write_text(f":0:\n* ^Subject: 2\n{tmp_path}/inbox\n:0\n{tmp_path}/Mail/\n")
    command = ["procmail", "-m", f"DEFAULT={tmp_path}/default", f"MAILDIR={tmp_path}", f"{tmp_path}/rc"]
    destination, journal = runner.program(*command), Journal()

    assert destination.deliver(drafts(destination, [ONE, TWO, THREE]), journal) == []

    assert journal.delivered == [0, 1, 2]
    assert sorted(path.read_bytes() for path in Path("Mail/new").iterdir()) == [ONE, THREE]
    assert Path("inbox").read_bytes().endswith(TWO + b"\n")


@pytest.mark.skipif(not shutil.which("maildrop"), reason="maildrop is not installed")
def test_maildrop_takes_messages_and_may_put_one_off(runner: Runner, tmp_path: Path) -> None:
    Path("inbox").touch()
    Path("rc").write_text(f'if (/^Subject: 2/)\n{{\n  EXITCODE=75\n  exit\n}}\nto "{tmp_path}/inbox"\n')
    Path("rc").chmod(0o600)
    destination, journal = runner.program("maildrop", "./rc"), Journal()
    batch = drafts(destination, [ONE, TWO, THREE])

    ((refused, error),) = destination.deliver(batch, journal)

    assert (refused, error.reason) == (batch[1], "exit status 75")
    assert journal.delivered == [0, 2]
    inbox = Path("inbox").read_bytes()
    assert inbox.count(ONE) == inbox.count(THREE) == 1
    assert TWO not in inbox
