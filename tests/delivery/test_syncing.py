"""Files are synced, each of them, by threads of ours or by a process; and errors of the disk are heard."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock, Thread

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
from tests.delivering import TAG, deliver, refuses_to_deliver
from tests.session import NEVER


@contextmanager
def opened(folder: Path, count: int) -> Iterator[list[int]]:
    with ExitStack() as stack:
        files = []
        for number in range(count):
            files.append(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o600))
            stack.callback(os.close, files[-1])
        yield files


# -- in this process ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, SYNC_SHARE, SYNC_SHARE + 1, 400])
def test_every_file_is_synced_once(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def watched(file: int) -> None:
        fsync(file)
        synced.append(file)

    with opened(tmp_path, count) as files:
        monkeypatch.setattr(os, "fsync", watched)
        sync_files(files)
    assert sorted(synced) == sorted(files)


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


# -- in another one --------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the files that are synced in this process."""
    synced: list[int] = []
    fsync = os.fsync

    def watched(file: int) -> None:
        fsync(file)
        synced.append(file)

    monkeypatch.setattr(os, "fsync", watched)
    return synced


@pytest.fixture
def process() -> Iterator[SyncProcess]:
    process = SyncProcess()
    yield process
    process.close()


@pytest.mark.parametrize("count", [1, FILES_A_MESSAGE - 1, FILES_A_MESSAGE, FILES_A_MESSAGE + 1, 600])
def test_the_process_syncs_batch_after_batch(tmp_path: Path, count: int, process: SyncProcess) -> None:
    with opened(tmp_path, count) as files:
        assert [process.sync(files) for _ in range(3)] == [0, 0, 0]


@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_the_process_syncs_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    traced = tmp_path / "python"
    traced.write_text(f'#!/bin/sh\nexec strace -f -y -e trace=fsync -o {log} {sys.executable} "$@"\n')
    traced.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(traced))
    (tmp_path / "files").mkdir()
    with opened(tmp_path / "files", 300) as files:
        process = SyncProcess()
        assert process.sync(files) == 0
        process.close()
    for number in range(300):
        assert log.read_text().count(f"<{tmp_path}/files/{number}>") == 1


def test_the_process_says_what_the_disk_says(process: SyncProcess) -> None:
    with open("/dev/null") as unsyncable:
        assert process.sync([unsyncable.fileno()]) == errno.EINVAL


def test_the_process_keeps_no_file_open(tmp_path: Path, process: SyncProcess) -> None:
    with opened(tmp_path, 300) as files:
        process.sync(files)
    held = [os.readlink(file) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert [name for name in held if name.startswith(str(tmp_path))] == []


def test_the_process_is_told_no_secret_and_heeds_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POP3FETCH_PASSWORD", "secret")
    process = SyncProcess()
    try:
        with opened(tmp_path, 1) as files:
            assert process.sync(files) == 0  # so it is up by now
        assert b"secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
        assert os.getpgid(process.pid) == process.pid
        assert os.readlink(f"/proc/{process.pid}/cwd") == "/"
    finally:
        process.close()


def test_the_process_ends_with_us() -> None:
    script = (
        "import os\nfrom pop3fetch.delivery.syncing import SyncProcess\n"
        "process = SyncProcess()\nprint(process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
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


def test_a_destination_of_few_files_starts_no_process(tmp_path: Path, here: list[int]) -> None:
    syncer = Syncer()
    with opened(tmp_path, MANY - 1) as files:
        syncer.sync(files)
        assert sorted(here) == sorted(files)


def test_one_of_many_syncs_elsewhere(tmp_path: Path, here: list[int]) -> None:
    syncer = Syncer()
    with opened(tmp_path, MANY) as files:
        syncer.sync(files[: MANY // 2])
        here.clear()
        syncer.sync(files[MANY // 2 :])
        assert here == []
        syncer.sync(files[:1])
        assert here == []
    syncer.close()


def test_an_error_of_the_process_is_raised_and_the_process_goes_on(tmp_path: Path, here: list[int]) -> None:
    syncer = Syncer()
    with opened(tmp_path, MANY) as files, open("/dev/null") as unsyncable:
        syncer.sync(files)
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            syncer.sync([*files, unsyncable.fileno()])
        syncer.sync(files)
    assert here == []
    syncer.close()


@pytest.mark.parametrize("executable", [None, "", "/nonexistent/python", "/bin/false", "/bin/true"])
def test_where_no_process_can_be_started_threads_do_it(
    executable: str | None, tmp_path: Path, here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    syncer = Syncer()
    with opened(tmp_path, MANY) as files:
        for _ in range(2):
            here.clear()
            syncer.sync(files)
            assert sorted(here) == sorted(files)
    syncer.close()


def test_a_process_that_is_gone_leaves_the_work_to_threads(tmp_path: Path, here: list[int]) -> None:
    syncer = Syncer()
    with opened(tmp_path, MANY) as files:
        syncer.sync(files)
        assert syncer.process
        os.kill(syncer.process.pid, signal.SIGKILL)
        for _ in range(2):
            here.clear()
            syncer.sync(files)
            assert sorted(here) == sorted(files)


def test_a_process_that_cannot_take_all_files_leaves_the_work_to_threads(
    tmp_path: Path, here: list[int]
) -> None:
    syncer = Syncer()
    with opened(tmp_path, MANY) as files:
        syncer.sync(files)
        assert syncer.process
        resource.prlimit(syncer.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        here.clear()
        syncer.sync(files)
        assert sorted(here) == sorted(files)


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_many_messages_are_delivered_and_the_process_ends_with_the_destination(
    kind: str, tmp_path: Path, here: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "MANY", 2)
    target = tmp_path / "target"
    destination = Maildir(target, TAG) if kind == "maildir" else Mbox(target, TAG, tmp_path / "spool")
    assert deliver(destination, b"one\n", b"two\n", b"three\n").delivered == [0, 1, 2]
    octets = (
        target.read_bytes()
        if kind == "mbox"
        else b"".join(path.read_bytes() for path in (target / "new").iterdir())
    )
    assert all(octets.count(line) == 1 for line in (b"one\n", b"two\n", b"three\n"))
    process = destination._syncer.process
    assert process
    destination.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_what_the_process_could_not_sync_is_not_delivered(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "MANY", 2)
    monkeypatch.setattr(SyncProcess, "sync", lambda process, files: errno.EIO)
    target = tmp_path / "target"
    destination = Maildir(target, TAG) if kind == "maildir" else Mbox(target, TAG, tmp_path / "spool")
    error = refuses_to_deliver(destination, b"one\n", b"two\n")
    assert error.reason == "the disk reports an error"
    assert (
        target.read_bytes() if kind == "mbox" else b"".join(map(bytes, (target / "new").iterdir()))
    ) == b""
    destination.close()
