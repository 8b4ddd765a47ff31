"""The file that holds a password."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pop3fetch.account.password_file import LARGEST, password
from pop3fetch.ahead import Ahead
from pop3fetch.errors import NoPassword
from pop3fetch.status import Status

LIMIT = 30.0  # seconds; only a bug comes near it
SOON = 0.05


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(0o600)
    return file


@pytest.mark.parametrize(
    ("octets", "secret"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\nmore\n", "s3cret"),
        (b"p\xa7ss\n", "p\udca7ss"),
        (b"x" * LARGEST, "x" * LARGEST),
        (b"s3cret\n" + b"x" * 2 * LARGEST, "s3cret"),
    ],
)
def test_the_first_line_is_the_password(file: Path, octets: bytes, secret: str) -> None:
    file.write_bytes(octets)
    assert password(str(file), LIMIT) == secret


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_private_file_is_read(file: Path, mode: int) -> None:
    file.write_bytes(b"s3cret")
    file.chmod(mode)
    assert password(str(file), LIMIT) == "s3cret"


def refused(file: Path, limit: float = LIMIT) -> str:
    with pytest.raises(NoPassword) as caught:
        password(str(file), limit)
    assert caught.value.exit_status == Status.NO_LOGIN
    assert "s3cret" not in str(caught.value)
    return str(caught.value).removeprefix(f"the password file {file} ")


@pytest.mark.parametrize("mode", [0o604, 0o444, 0o602, 0o620, 0o601])
def test_a_file_that_others_can_reach_is_refused(file: Path, mode: int) -> None:
    file.write_bytes(b"s3cret")
    file.chmod(mode)
    assert refused(file).startswith("can be read or changed by others; chmod 600 it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_group_of_root_is_root_and_any_other_is_not(file: Path) -> None:
    file.write_bytes(b"s3cret")
    file.chmod(0o440)  # as systemd leaves a credential
    assert password(str(file), LIMIT) == "s3cret"
    os.chown(file, 0, 54321)
    assert refused(file).startswith("can be read or changed by others")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_is_refused(file: Path) -> None:
    file.write_bytes(b"s3cret")
    os.chown(file, 54321, -1)
    assert refused(file) == "belongs to another user; chown it"


def test_a_file_that_is_missing_empty_or_too_long_is_an_error(tmp_path: Path, file: Path) -> None:
    assert refused(tmp_path / "none") == "cannot be read: No such file or directory"
    assert refused(file) == "contains no password: its first line is empty"
    file.write_bytes(b"x" * (LARGEST + 1))
    assert refused(file) == f"has a first line of more than {LARGEST} octets"


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert refused(tmp_path) == "cannot be read: Is a directory"


def test_a_pipe_is_waited_for_until_it_has_a_line() -> None:
    reading, writing = os.pipe()
    try:
        waiting = Ahead(lambda: password(f"/dev/fd/{reading}", LIMIT))
        os.write(writing, b"s3c")
        os.write(writing, b"ret\n")
        assert waiting.result(LIMIT) == "s3cret"
        assert refused(Path(f"/dev/fd/{reading}"), SOON) == "did not give a line within 0.05 s"
    finally:
        os.close(reading)
        os.close(writing)
