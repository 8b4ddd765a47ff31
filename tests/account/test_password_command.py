"""The program that prints a password."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pop3fetch.account.password_command import LARGEST, first_line
from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.errors import NoPassword
from pop3fetch.status import Status

LIMIT = 30.0  # seconds; only a bug comes near it
SOON = 0.2  # seconds that a command which never ends is given


def shell(script: str, limit: float = LIMIT) -> str:
    return first_line(["/bin/sh", "-c", script], dict(os.environ), limit)


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo s3cret", "s3cret"),
        ("printf s3cret", "s3cret"),
        ("printf 's3cret\\r\\n'", "s3cret"),
        ("printf 's3cret\\nuser: alice\\n'", "s3cret"),
        ("printf ' two words \\n'", " two words "),
        ("printf 'zo\\303\\253\\n\\377'", "zoë"),
        ("printf 'p\\247ss\\n'", "p\udca7ss"),
        ("printf 's3cret\\r'", "s3cret\r"),
        ("echo noise >&2; echo s3cret", "s3cret"),
        ("cat; echo s3cret", "s3cret"),
        ("head -c 65535 /dev/zero | tr '\\0' x", "x" * 65535),
    ],
)
def test_the_first_line_is_the_password(script: str, line: str) -> None:
    assert shell(script) == line


def test_words_go_to_the_program_without_a_shell() -> None:
    command = [sys.executable, "-W", "error", "-c", "import sys; print(sys.argv[1:])", "$HOME", "a b", "*"]
    assert first_line(command, dict(os.environ), LIMIT) == "['$HOME', 'a b', '*']"


def test_the_environment_is_the_one_that_is_handed_in() -> None:
    assert first_line(["/usr/bin/env"], {"ONLY": "this"}, LIMIT) == "ONLY=this"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "failed with status 3"),
        ("echo s3cret; echo 'gpg: no key' >&2; exit 2", "failed with status 2: gpg: no key"),
        ("printf 'a\\n\\nb\\nc\\nd\\n' >&2; exit 2", "failed with status 2: b; c; d"),
        ("printf '\\033[2Jno\\377' >&2; exit 2", "failed with status 2: \\x1b[2Jno\\xff"),
        ("kill -9 $$", "was ended by signal 9"),
        ("true", "printed no password: its first line is empty"),
        ("echo; echo s3cret", "printed no password: its first line is empty"),
        (f"echo s3cret; head -c {LARGEST} /dev/zero", f"printed more than {LARGEST} octets"),
        ("echo s3cret; exec cat /dev/zero", f"printed more than {LARGEST} octets"),
    ],
)
def test_a_command_that_fails_is_an_error_with_its_reason(script: str, reason: str) -> None:
    with pytest.raises(NoPassword) as caught:
        shell(script)
    assert str(caught.value) == f"the password command (/bin/sh) {reason}"
    assert caught.value.exit_status == Status.NO_LOGIN
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/does/not/exist", "s3cret"], "(/does/not/exist) cannot be run: No such file or directory"),
        (["/etc/passwd", "s3cret"], "(/etc/passwd) cannot be run: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run_is_named_without_its_words(command: list[str], reason: str) -> None:
    with pytest.raises(NoPassword) as caught:
        first_line(command, {}, LIMIT)
    assert str(caught.value) == f"the password command {reason}"


def test_only_the_end_of_a_long_complaint_is_kept() -> None:
    script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo 'the end' >&2; exit 1"
    with pytest.raises(NoPassword) as caught:
        shell(script)
    assert str(caught.value).endswith("; the end")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "script",
    [
        "sleep 600",
        "exec >&-; sleep 600",
        "while :; do echo noise >&2; done",
        "trap '' TERM; sleep 600; sleep 600",
    ],
)
def test_a_command_that_does_not_end_is_ended(script: str) -> None:
    with pytest.raises(NoPassword) as caught:
        shell(script, SOON)
    assert str(caught.value) == "the password command (/bin/sh) did not end within 0.2 s"


def test_a_command_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    held, ready = tmp_path / "held", tmp_path / "ready"
    os.mkfifo(held)
    os.mkfifo(ready)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(NoPassword):
            shell(
                f"(echo started; echo >{ready}; exec sleep 600) >{held} & read x <{ready}; exec cat /dev/zero"
            )
        os.set_blocking(reader, True)
        assert os.read(reader, 100) == b"started\n"
        # The end of the file: no process has the other end open any longer.
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)


def test_what_is_left_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # Like a shared ssh connection: it lets go of standard output, and keeps standard error.
    assert shell(f"(exec cat {fifo}) >/dev/null & echo s3cret") == "s3cret"
    os.close(os.open(fifo, os.O_WRONLY))


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo s3cret", "s3cret"),
        ("printf s3cret", "s3cret"),
        ("echo s3cret; echo more", "s3cret"),
    ],
)
def test_a_background_program_that_keeps_the_output_open_is_not_waited_for(
    tmp_path: Path, script: str, line: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert shell(f"(exec cat {fifo}) & {script}") == line
    os.close(os.open(fifo, os.O_WRONLY))  # hangs if the program was killed


def test_a_failure_is_not_kept_waiting_by_a_background_program(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(NoPassword, match="failed with status 3"):
        shell(f"(exec cat {fifo}) & exit 3")
    os.close(os.open(fifo, os.O_WRONLY))


def test_what_a_background_program_prints_after_the_end_counts(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The command itself has ended when the first line comes.
    script = f'(sh -c "while kill -0 $$ 2>/dev/null; do :; done; exec cat {fifo}") & echo s3cret >{fifo} &'
    assert shell(script) == "s3cret"


def test_a_background_program_that_prints_nothing_is_ended_in_time() -> None:
    with pytest.raises(NoPassword, match=r"did not end within 0\.2 s"):
        shell("sleep 600 &", SOON)


def test_a_command_can_be_interrupted_from_another_thread(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command, interrupts = ["/bin/sh", "-c", f"echo started >{fifo}; sleep 600"], Interrupts()
    waiting = Ahead(lambda: first_line(command, dict(os.environ), LIMIT, interrupts))
    with open(fifo) as started:
        assert started.read() == "started\n"
    interrupts.interrupt()  # maybe before the thread knows that the command has started
    with pytest.raises(NoPassword, match="was ended by signal 9"):
        waiting.result(LIMIT)
