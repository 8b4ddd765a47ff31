"""What macOS and the BSDs do otherwise than Linux, as far as it can be simulated.

The table *Platforms* in CONTRIBUTING.md has the rest.
"""

from __future__ import annotations

import errno
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pop3fetch.account.password_file import password
from pop3fetch.account.registration import password_file_of
from pop3fetch.ahead import Ahead
from pop3fetch.delivery import mbox_lock, stream
from pop3fetch.delivery.program import _Run
from pop3fetch.durable import sync_files
from pop3fetch.net.dial import Endpoint, dial
from tests.support.sessions import NEVER

SELECTABLE = 1024  # FD_SETSIZE: descriptors that select(2) takes

# macOS has two numbers for what is not supported; file systems such as exFAT return the smaller one.
WITHOUT_LINKS_AND_LOCKS = """\
import errno, fcntl, os, threading
from pathlib import Path
errno.ENOTSUP, errno.EOPNOTSUPP = 45, 102
def refuse(*_): raise OSError(errno.ENOTSUP, "Operation not supported")
os.link = fcntl.flock = refuse
from pop3fetch.delivery.mbox_lock import take_lock
from pop3fetch.record.place import Lock
take_lock(Path("inbox"), "0123456789abcdef", 0, threading.Event()).release()
Lock(Path("record.lock")).release()
"""


def test_a_file_system_of_macos_may_have_no_links_and_locks(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_LINKS_AND_LOCKS]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "inbox").exists()


def test_locks_of_open_files_are_those_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has them with another struct, in which ours would lock a part of the file, or none."""
    monkeypatch.setattr("fcntl.F_OFD_SETLK", 90, raising=False)
    monkeypatch.setattr("sys.platform", "darwin")
    assert runpy.run_path(mbox_lock.__file__)["OFD_SETLK"] is None


def test_a_connection_that_the_server_has_reset_is_read_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("socket.socket.setsockopt", refuse)
        with dial(Endpoint(*listener.getsockname()), NEVER) as connected:
            assert connected.getpeername() == listener.getsockname()


def test_files_are_synced_without_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    monkeypatch.setattr("pop3fetch.durable.sync_file", synced.append)
    sync_files([3, 4])
    assert sorted(synced) == [3, 4]


def test_a_group_that_has_ended_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []

    def refuse(group: int, number: int) -> None:
        killed.append((group, number))
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with subprocess.Popen(["true"], stderr=subprocess.PIPE, start_new_session=True) as process:
        process.wait()
        monkeypatch.setattr("os.killpg", refuse)
        _Run(process).end()
    assert killed == [(process.pid, signal.SIGTERM), (process.pid, signal.SIGKILL)]


def test_a_reader_has_gone_if_the_system_reports_that_it_hung_up() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        assert not stream._has_no_reader(ours.fileno())
        theirs.close()
        poll = select.poll()
        poll.register(ours, 0)
        assert poll.poll(0) == [(ours.fileno(), select.POLLHUP)], "as a pipe of theirs"
        assert stream._has_no_reader(ours.fileno())


@pytest.fixture
def many_files() -> Iterator[None]:
    """Have as many files open as a batch for a maildir may have."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < SELECTABLE + 64:
        pytest.skip(f"the system allows {limits[1]} files")
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (SELECTABLE + 64, limits[1]))
        file = 0
        while file < SELECTABLE:  # some are open already
            file = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, file)
        yield


@pytest.mark.usefixtures("many_files")
def test_a_password_is_awaited_from_a_pipe_of_any_number(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    writing = os.open(fifo, os.O_RDWR)
    try:
        reading = Ahead(lambda: password(str(fifo), NEVER))
        os.write(writing, b"s3cret\n")
        assert reading.result() == "s3cret"
    finally:
        os.close(writing)


def test_password_files_differ_where_case_does_not_count(tmp_path: Path) -> None:
    names = ("work", "Work", "WORK", "%57ork", "w%4Frk", "wOrk")
    files = {password_file_of(tmp_path / "config.toml", name).name.lower() for name in names}
    assert len(files) == len(names)


LOGS = """\
import sys
from pop3fetch.cli import log
log.SYSTEM_LOGS = sys.argv[1:]
log.open_log("syslog", as_json=False)("error", "work", "it broke")
"""


def test_the_system_log_is_found_where_it_is(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.settimeout(NEVER)
        system.bind(str(tmp_path / "syslog"))
        places = [tmp_path / "missing", tmp_path / "syslog"]
        subprocess.run([sys.executable, "-W", "error", "-c", LOGS, *places], check=True)
        line = system.recv(4096)
    assert line.startswith(b"<19>pop3fetch[")  # mail, error
    assert line.endswith(b" work error: it broke\0")
