"""The files of other programs: what is read, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pop3fetch.errors import FetcherRunning
from pop3fetch.importing import files


def test_a_file_is_read_whole_with_its_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\0\xff" * 3_000_000)
    file.chmod(0o600)
    os.utime(file, (1, 1_700_000_000))
    assert files.read(str(file)) == (b"\0\xff" * 3_000_000, 1_700_000_000, False)


@pytest.mark.parametrize(
    ("mode", "is_shared"), [(0o600, False), (0o640, True), (0o604, True), (0o700, False)]
)
def test_others_who_can_read_it_are_seen(tmp_path: Path, mode: int, is_shared: bool) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(mode)
    assert files.read(str(file)).is_shared is is_shared


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert files.read(str(tmp_path / "link")).octets == b"x"


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match="not an ordinary file"):
            files.read(str(path))
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "missing"))


def test_a_file_that_is_not_locked_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert files.read(str(tmp_path / "file"), "mpop").octets == b"x"


@pytest.mark.parametrize("content", [b"", b"no number\n"])
def test_a_lock_without_a_number_is_enough(tmp_path: Path, content: bytes) -> None:
    lock = tmp_path / "lock"
    lock.write_bytes(content)
    with pytest.raises(FetcherRunning) as error:
        files.require_ended("fdm", str(lock))
    assert error.value.process is None


def test_a_process_that_is_gone_or_another_program_locks_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    for content in (b"999999999999\n", b"%d\n" % os.getpid()):
        lock.write_bytes(content)
        files.require_ended("fetchmail", str(lock))
    files.require_ended("fetchmail", str(tmp_path / "missing"))


def test_newer_messages_are_counted(tmp_path: Path) -> None:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / folder).mkdir()
        for name, moment in (("a", 100), ("b", 101), ("c", 102)):
            file = tmp_path / folder / name
            file.touch()
            os.utime(file, (moment, moment))
    assert files.newer_messages(tmp_path, 100) == 2
    assert files.newer_messages(tmp_path / "missing", 0) == 0
