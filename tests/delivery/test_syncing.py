"""Files are synced, each of them, by threads of ours or by a process; and errors of the disk are heard."""

from __future__ import annotations

import errno
import os
import resource
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Barrier, Event, Lock, Thread, current_thread

import pytest

from pop3fetch.delivery import syncing
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.delivery.syncing import (
    BATCHES,
    FILES_A_MESSAGE,
    MANY,
    SYNC_SHARE,
    Syncer,
    SyncProcess,
    sync_files,
)
from tests.crash.strace import missing
from tests.support.delivering import TAG, deliver, refuses_to_deliver
from tests.support.sessions import NEVER

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


@contextmanager
def opened(folder: Path, count: int) -> Iterator[list[int]]:
    with ExitStack() as stack:
        files = []
        for number in range(count):
            files.append(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o600))
            stack.callback(os.close, files[-1])
        yield files


@pytest.fixture
def synced_here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the files that are synced in this process."""
    synced: list[int] = []
    fsync = os.fsync

    def watched(file: int) -> None:
        fsync(file)
        synced.append(file)

    monkeypatch.setattr(os, "fsync", watched)
    return synced


# -- in this process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, SYNC_SHARE, SYNC_SHARE + 1, 400])
def test_every_file_is_synced_once(tmp_path: Path, count: int, synced_here: list[int]) -> None:
    with opened(tmp_path, count) as files:
        sync_files(files)
    assert sorted(synced_here) == sorted(files)


@pytest.mark.parametrize("place", [0, 1, SYNC_SHARE, 399])
def test_an_error_of_any_thread_is_raised(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def failing(file: int) -> None:
        if file == files[place]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)

    with opened(tmp_path, 400) as files:
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            sync_files(files)


def test_few_accounts_sync_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock()
    syncing: set[int] = set()
    most = 0
    fsync = os.fsync

    def watched(file: int) -> None:
        nonlocal most
        with lock:
            syncing.add(file)
            most = max(most, len(syncing))
        fsync(file)
        with lock:
            syncing.remove(file)

    with opened(tmp_path, 80) as files:
        monkeypatch.setattr(os, "fsync", watched)
        # Too few files for a second thread, so each of these is one.
        threads = [Thread(target=sync_files, args=(files[first::8],)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= most <= BATCHES


def test_disks_that_hang_hold_up_no_other_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "PATIENCE", 0.01)
    hanging, may_go_on, fsync = Barrier(BATCHES + 1), Event(), os.fsync

    def hang(file: int) -> None:
        if current_thread() in threads:
            hanging.wait(NEVER)
            may_go_on.wait(NEVER)
        fsync(file)

    monkeypatch.setattr(os, "fsync", hang)
    with opened(tmp_path, BATCHES + 1) as files:
        threads = [Thread(target=sync_files, args=([file],)) for file in files[:BATCHES]]
        for thread in threads:
            thread.start()
        hanging.wait(NEVER)
        sync_files(files[BATCHES:])
        assert all(thread.is_alive() for thread in threads)
        may_go_on.set()
        for thread in threads:
            thread.join()


# -- in another one --------------------------------------------------------------------------------


def wait_until_up(process: SyncProcess) -> SyncProcess:
    assert select.select([process._line], [], [], NEVER)[0]
    assert process.is_up
    return process


@pytest.fixture
def process() -> Iterator[SyncProcess]:
    process = wait_until_up(SyncProcess())
    yield process
    process.close()


@pytest.fixture
def syncer(tmp_path: Path) -> Iterator[Syncer]:
    """Return one whose process is up."""
    syncer = Syncer()
    (tmp_path / "first").mkdir()
    with opened(tmp_path / "first", MANY) as files:
        syncer.sync(files)
    assert syncer.process
    wait_until_up(syncer.process)
    yield syncer
    syncer.close()


def synced(process: SyncProcess, files: list[int]) -> bool:
    process.give(files)
    return process.has_synced(len(files))


@pytest.mark.parametrize("count", [1, FILES_A_MESSAGE - 1, FILES_A_MESSAGE, FILES_A_MESSAGE + 1, 600])
def test_the_process_syncs_batch_after_batch(tmp_path: Path, count: int, process: SyncProcess) -> None:
    with opened(tmp_path, count) as files:
        assert all(synced(process, files) for _ in range(3))


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SyncProcess]]:
    """Return what starts a process under strace, with its options; the log is in ``tmp_path``."""
    if why := missing():
        pytest.skip(why)
    processes: list[SyncProcess] = []

    def start(*options: str) -> SyncProcess:
        words = shlex.join(["strace", "-f", "-y", "-o", f"{tmp_path}/log", *options, sys.executable])
        shell = tmp_path / "python"
        shell.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        shell.chmod(0o700)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(shell))
            processes.append(SyncProcess())
        return wait_until_up(processes[-1])

    yield start
    for process in processes:
        process.close()


def test_the_process_syncs_each_file_once(tmp_path: Path, traced: Callable[..., SyncProcess]) -> None:
    (tmp_path / "files").mkdir()
    with opened(tmp_path / "files", 300) as files:
        assert synced(traced("-e", "trace=fsync"), files)
    log = (tmp_path / "log").read_text()
    assert all(log.count(f"<{tmp_path}/files/{number}>") == 1 for number in range(300))


def test_an_error_of_the_disk_is_raised_whichever_thread_hears_of_it(
    tmp_path: Path, traced: Callable[..., SyncProcess]
) -> None:
    with opened(tmp_path, 300) as files:
        process = traced("-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=3")
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            synced(process, files)


def test_a_process_that_dies_without_an_answer_has_synced_nothing(
    tmp_path: Path, traced: Callable[..., SyncProcess], synced_here: list[int]
) -> None:
    """It may have heard that the disk has failed, and the kernel says so once."""
    syncer = Syncer()
    syncer._files = MANY  # so that it starts none of its own
    # It says that it is up, and is killed where it says what became of the files.
    syncer.process = traced("-e", "trace=sendto", "-e", "inject=sendto:signal=KILL:when=2")
    with opened(tmp_path, 300) as files:
        with pytest.raises(OSError, match="the process that syncs files has ended"):
            syncer.sync(files)
        assert synced_here == []
        syncer.sync(files)
        assert sorted(synced_here) == sorted(files)


def test_what_cannot_be_synced_is_an_error_and_threads_go_on(
    tmp_path: Path, syncer: Syncer, synced_here: list[int]
) -> None:
    with opened(tmp_path, 300) as files, open("/dev/null") as unsyncable:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            syncer.sync([*files, unsyncable.fileno()])
        assert synced_here == []
        syncer.sync(files)
        assert sorted(synced_here) == sorted(files)


@ON_LINUX
def test_the_process_keeps_no_file_open(tmp_path: Path, process: SyncProcess) -> None:
    (tmp_path / "files").mkdir()
    with opened(tmp_path / "files", 300) as files:
        assert synced(process, files)
    (tmp_path / "next").mkdir()
    with opened(tmp_path / "next", 300) as files:  # it answers before it closes, and closes before it goes on
        assert synced(process, files)
    held = []
    for file in Path(f"/proc/{process._process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            held.append(os.readlink(file))
    assert [name for name in held if name.startswith(str(tmp_path / "files"))] == []


@ON_LINUX
def test_the_process_is_told_no_secret_and_holds_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POP3FETCH_PASSWORD", "secret")
    process = wait_until_up(SyncProcess())
    try:
        assert b"secret" not in Path(f"/proc/{process._process.pid}/environ").read_bytes()
        assert os.readlink(f"/proc/{process._process.pid}/cwd") == "/"
    finally:
        process.close()


def test_what_would_end_us_leaves_the_process_at_work(tmp_path: Path, process: SyncProcess) -> None:
    assert os.getpgid(process._process.pid) == process._process.pid  # so that Ctrl-C does not reach it
    os.kill(process._process.pid, signal.SIGTERM)
    with opened(tmp_path, 300) as files:
        assert synced(process, files)


@ON_LINUX
def test_the_process_ends_with_us() -> None:
    script = (
        "import os\nfrom pop3fetch.delivery.syncing import SyncProcess\n"
        "process = SyncProcess()\nprint(process._process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL
    wait_for_the_end_of(int(ended.stdout))


def wait_for_the_end_of(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], NEVER)[0]
    finally:
        os.close(process)


# -- where ------------------------------------------------------------------------------------------


def test_few_files_start_no_process(tmp_path: Path, synced_here: list[int]) -> None:
    syncer = Syncer()
    with opened(tmp_path, MANY - 1) as files:
        syncer.sync(files)
        assert sorted(synced_here) == sorted(files)
    assert syncer.process is None


def test_many_files_are_synced_elsewhere(tmp_path: Path, syncer: Syncer, synced_here: list[int]) -> None:
    with opened(tmp_path, 300) as files:
        syncer.sync(files)
        syncer.sync(files[:1])
    assert synced_here == []


PYTHONS = [None, "", "/nonexistent/python", "/bin/false", "/bin/true", "/bin/cat"]


@pytest.mark.parametrize("executable", PYTHONS)
def test_where_no_process_comes_up_threads_do_it(
    executable: str | None, tmp_path: Path, synced_here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    syncer = Syncer()
    with opened(tmp_path, MANY) as files:
        for _ in range(3):
            synced_here.clear()
            syncer.sync(files)
            assert sorted(synced_here) == sorted(files)
    syncer.close()


def test_what_never_says_that_it_is_up_is_ended(
    tmp_path: Path, synced_here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 1000\n")
    sleeper.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    syncer = Syncer()
    (tmp_path / "files").mkdir()
    with opened(tmp_path / "files", MANY) as files:
        syncer.sync(files)
        synced_here.clear()
        syncer.sync(files)
        assert sorted(synced_here) == sorted(files)
    assert syncer.process
    pid = syncer.process._process.pid
    syncer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_is_gone_leaves_the_work_to_threads(
    tmp_path: Path, syncer: Syncer, synced_here: list[int]
) -> None:
    assert syncer.process
    syncer.process._process.kill()
    syncer.process._process.wait()
    with opened(tmp_path, 300) as files:
        for _ in range(2):
            synced_here.clear()
            syncer.sync(files)
            assert sorted(synced_here) == sorted(files)


@ON_LINUX
def test_a_process_that_cannot_take_all_files_leaves_the_work_to_threads(
    tmp_path: Path, syncer: Syncer, synced_here: list[int]
) -> None:
    assert syncer.process
    resource.prlimit(syncer.process._process.pid, resource.RLIMIT_NOFILE, (64, 64))
    with opened(tmp_path, 300) as files:
        for _ in range(2):
            synced_here.clear()
            syncer.sync(files)
            assert sorted(synced_here) == sorted(files)
        syncer.sync(files[:9])
        assert len(synced_here) == 300, "few enough are taken"


def test_an_answer_that_was_not_awaited_counts_for_no_other_files(
    tmp_path: Path, syncer: Syncer, synced_here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(process: SyncProcess, count: int) -> bool:
        raise MemoryError

    with opened(tmp_path, 300) as files:
        with monkeypatch.context() as patch, pytest.raises(MemoryError):
            patch.setattr(SyncProcess, "has_synced", interrupted)
            syncer.sync(files)
        with open("/dev/null") as unsyncable, pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            syncer.sync([unsyncable.fileno()])


# -- in a destination -------------------------------------------------------------------------------


@pytest.fixture(params=["maildir", "mbox"])
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Maildir | Mbox]:
    """Return a destination whose process is up."""
    monkeypatch.setattr(syncing, "MANY", 1)
    target = tmp_path / "target"
    is_mbox = request.param == "mbox"
    destination = Mbox(target, TAG, tmp_path / "spool") if is_mbox else Maildir(target, TAG)
    assert deliver(destination, b"first\n").delivered == [0]
    assert destination._syncer.process
    wait_until_up(destination._syncer.process)
    yield destination
    destination.close()


def test_what_was_synced_elsewhere_is_delivered(destination: Maildir | Mbox, synced_here: list[int]) -> None:
    nine = [b"%d\n" % number for number in range(9)]
    assert deliver(destination, *nine).delivered == list(range(9))
    assert len(synced_here) < len(nine), "only folders, and the mbox itself"


def test_the_process_ends_with_the_destination(destination: Maildir | Mbox) -> None:
    process = destination._syncer.process
    assert process
    destination.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process._process.pid, 0)


def test_what_the_process_may_not_have_synced_is_not_delivered(
    destination: Maildir | Mbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = destination._syncer.process
    assert process
    give = SyncProcess.give

    def killed(process: SyncProcess, files: Sequence[int]) -> None:
        process._process.send_signal(signal.SIGSTOP)
        give(process, files)
        process._process.kill()

    monkeypatch.setattr(SyncProcess, "give", killed)
    error = refuses_to_deliver(destination, b"one\n", b"two\n")
    assert error.reason == "the process that syncs files has ended"
    assert destination._syncer.process is None
