"""Folders and files are private, whatever the umask, and synced, each of them."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Barrier, Event, Lock, Thread, current_thread

import pytest

from pop3fetch import durable
from pop3fetch.durable import (
    folder_id,
    is_absent,
    make_folder,
    open_private,
    replace_file,
    require_own_links,
    sync_file,
    sync_files,
    sync_folder,
)
from tests.support.file_modes import mode, umask
from tests.support.sessions import NEVER


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_a_file_is_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        os.close(open_private(tmp_path / "file", os.O_WRONLY))
    assert mode(tmp_path / "file") == 0o600


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_folders_are_made_private_with_their_parents(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        make_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(0o755)
    before = mode(tmp_path / "mine")
    make_folder(tmp_path / "mine")
    assert mode(tmp_path / "mine") == before


def test_a_file_in_the_way_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        make_folder(tmp_path / "file")


# -- in the place of another -----------------------------------------------------------------------


KILLED = """
import os, signal, sys
from pathlib import Path
from pop3fetch import durable
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
durable.replace_file(Path(sys.argv[1]), b"half", durably=True)
"""


def test_a_link_in_the_place_of_a_new_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root delivers for a user, who has replaced the folder at once."""
    target = tmp_path / "file"
    target.touch(0o644)
    monkeypatch.setattr(Path, "mkdir", lambda path, mode: path.symlink_to(target))
    with suppress(OSError):
        make_folder(tmp_path / "new")
    assert mode(target) == 0o644


def kill_while_replacing(path: Path) -> str:
    """Kill a process just before it replaces ``path``; return the name of what it leaves behind."""
    before = set(path.parent.iterdir())
    ended = subprocess.run([sys.executable, "-W", "error", "-c", KILLED, str(path)])
    assert ended.returncode == -signal.SIGKILL
    [stray] = set(path.parent.iterdir()) - before
    return stray.name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    for _ in range(2):
        kill_while_replacing(tmp_path / "work.account")
    replace_file(tmp_path / "work.account", b"new", durably=False)
    assert names(tmp_path) == ["work.account"]
    assert (tmp_path / "work.account").read_bytes() == b"new"
    assert mode(tmp_path / "work.account") == 0o600


@pytest.mark.parametrize("durably", [False, True])
def test_a_failure_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path, durably: bool) -> None:
    path = tmp_path / "work.account"
    replace_file(path, b"old", durably=durably)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace_file(path, b"new", durably=durably)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ["work.account"]
    assert path.read_bytes() == b"old"


def test_an_interrupt_as_soon_as_the_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(file: int, operation: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fcntl, "flock", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "work.account", b"new", durably=False)
    assert names(tmp_path) == []


def test_what_another_process_is_writing_stays_and_so_does_what_is_not_ours(tmp_path: Path) -> None:
    others = ["work.account-1.bak", "work.accounts-12", "work.account-", "work.sqlite-20261129"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "work.account-17").symlink_to("work.sqlite-20261129")
    written = open_private(tmp_path / "work.account-1", os.O_WRONLY)
    fcntl.flock(written, fcntl.LOCK_EX)
    replace_file(tmp_path / "work.account", b"new", durably=False)
    assert names(tmp_path) == sorted(["work.account", "work.account-1", "work.account-17", *others])
    os.close(written)
    replace_file(tmp_path / "work.account", b"newer", durably=False)
    assert names(tmp_path) == sorted(["work.account", "work.account-17", *others])


def test_a_file_that_was_taken_for_left_behind_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, lock = tmp_path / f"file-{os.getpid()}", fcntl.flock
    removed: list[int] = []

    def remove_first(file: int, operation: int) -> None:
        if not removed:
            removed.append(file)
            aside.unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    replace_file(tmp_path / "file", b"whole", durably=False)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_threads_that_replace_one_file_leave_it_whole(tmp_path: Path) -> None:
    path, octets = tmp_path / "file", [b"%d" % digit * 100_000 for digit in range(4)]

    def replace(by: bytes) -> None:
        for _ in range(50):
            replace_file(path, by, durably=False)

    threads = [Thread(target=replace, args=(each,)) for each in octets]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_bytes() in octets
    assert names(tmp_path) == ["file"]


# -- on the medium ---------------------------------------------------------------------------------


def test_a_file_is_synced_to_the_medium_itself_if_the_system_has_a_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(durable, "FULL_SYNC", 51)  # as on macOS
    monkeypatch.setattr("fcntl.fcntl", lambda file, command: calls.append(("full", command)))
    monkeypatch.setattr("os.fsync", lambda file: calls.append(("fsync", 0)))
    with (tmp_path / "file").open("wb") as file:
        sync_file(file.fileno())
    sync_folder(tmp_path)
    assert calls == [("full", 51)] * 2


def test_a_file_system_without_that_way_is_synced_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, command: int) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    synced: list[int] = []
    monkeypatch.setattr(durable, "FULL_SYNC", 51)
    monkeypatch.setattr("fcntl.fcntl", refuse)
    monkeypatch.setattr("os.fsync", synced.append)
    sync_folder(tmp_path)
    assert len(synced) == 1


# -- what is there ---------------------------------------------------------------------------------


def test_a_folder_is_known_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    known = folder_id(tmp_path / "one")
    (tmp_path / "link").symlink_to("one")
    assert known == folder_id(tmp_path / "link") != folder_id(tmp_path)
    (tmp_path / "one").rename(tmp_path / "two")
    assert (folder_id(tmp_path / "two"), folder_id(tmp_path / "one")) == (known, "")
    (tmp_path / "file").touch()
    assert folder_id(tmp_path / "file" / "below") == ""


def test_only_what_has_no_name_is_absent(tmp_path: Path) -> None:
    assert is_absent(tmp_path / "nothing")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert not is_absent(tmp_path / "dangling")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        is_absent(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
@pytest.mark.parametrize("part", ["link", "link/below"])
def test_the_link_of_another_user_is_not_followed(tmp_path: Path, part: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    require_own_links(tmp_path / part)
    os.chown(tmp_path / "link", 54321, 54321, follow_symlinks=False)
    os.chown(tmp_path / "folder", 54322, 54322)
    with pytest.raises(PermissionError, match="link of another user"):
        require_own_links(tmp_path / part)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
def test_foreign_link_behind_an_own_link_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "precious").touch()
    (tmp_path / "foreign").symlink_to("precious")
    (tmp_path / "own").symlink_to(tmp_path / "foreign")
    for name, owner in (("precious", 54321), ("foreign", 54322), ("own", 54321)):
        os.chown(tmp_path / name, owner, owner, follow_symlinks=False)
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    with pytest.raises(PermissionError, match="link of another user"):
        require_own_links(tmp_path / "own")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
@pytest.mark.parametrize(("owner", "is_refused"), [(54321, False), (0, True), (54322, True)])
@pytest.mark.parametrize("exists", [True, False])
def test_root_follows_a_users_link_only_to_what_is_that_users(
    tmp_path: Path, owner: int, is_refused: bool, exists: bool
) -> None:
    (tmp_path / "target").mkdir()
    if exists:
        (tmp_path / "target" / "in").mkdir()
    (tmp_path / "link").symlink_to("target/in")
    for path in (tmp_path / "target", *(tmp_path / "target").iterdir()):
        os.chown(path, owner, owner)
    os.chown(tmp_path / "link", 54321, 54321, follow_symlinks=False)
    if is_refused:
        with pytest.raises(PermissionError, match="link of another user"):
            require_own_links(tmp_path / "link" / "new")
    else:
        require_own_links(tmp_path / "link" / "new")


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("../" + tmp_path.name + "/one")
    with pytest.raises(OSError, match="Too many levels"):
        require_own_links(tmp_path / "one")


def test_sync_that_fails_on_the_medium_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(durable, "FULL_SYNC", 51)
    monkeypatch.setattr("fcntl.fcntl", fail)
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        sync_file(file.fileno())


# -- many files at once -----------------------------------------------------------------------------


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


@pytest.mark.parametrize("count", [0, 1, durable.SYNC_SHARE, durable.SYNC_SHARE + 1, 400])
def test_every_file_is_synced_once(tmp_path: Path, count: int, synced_here: list[int]) -> None:
    with opened(tmp_path, count) as files:
        sync_files(files)
    assert sorted(synced_here) == sorted(files)


@pytest.mark.parametrize("place", [0, 1, durable.SYNC_SHARE, 399])
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
    assert 1 <= most <= durable.SYNCS_AT_ONCE


def test_disks_that_hang_hold_up_no_other_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "TURN_TIMEOUT", 0.01)
    hanging, may_go_on, fsync = Barrier(durable.SYNCS_AT_ONCE + 1), Event(), os.fsync

    def hang(file: int) -> None:
        if current_thread() in threads:
            hanging.wait(NEVER)
            may_go_on.wait(NEVER)
        fsync(file)

    monkeypatch.setattr(os, "fsync", hang)
    with opened(tmp_path, durable.SYNCS_AT_ONCE + 1) as files:
        threads = [Thread(target=sync_files, args=([file],)) for file in files[: durable.SYNCS_AT_ONCE]]
        for thread in threads:
            thread.start()
        hanging.wait(NEVER)
        sync_files(files[durable.SYNCS_AT_ONCE :])
        assert all(thread.is_alive() for thread in threads)
        may_go_on.set()
        for thread in threads:
            thread.join()
