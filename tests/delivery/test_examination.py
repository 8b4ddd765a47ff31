"""What `check` finds out about a destination, without writing anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Destination
from pop3fetch.delivery.examination import LITTLE
from pop3fetch.delivery.opening import DeliveryContext, open_destination, parse
from pop3fetch.errors import DeliveryError
from pop3fetch.step_results import StepResult, Verdict

BLOCK = 4096
Room = Callable[..., None]


def destination(folder: Path, name: str) -> Destination:
    context = DeliveryContext(
        tag="", spool_folder=folder / "spool", output=1, is_terminal=False, awaits_reader=False,
        environment={}, account="work", report=lambda line: None, limit=1,
    )  # fmt: skip
    return open_destination(parse(name), context)


def examined(folder: Path, name: str, known: str | None = None) -> StepResult:
    before = sorted(folder.rglob("*"))
    try:
        [result] = destination(folder, name).examine(known)
    finally:
        assert sorted(folder.rglob("*")) == before
    assert result.step == "destination"
    return result


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Room:
    """Return what gives the disk other figures: free blocks, free inodes, flags."""
    real = os.statvfs(tmp_path)

    def change(*, blocks: int = 1 << 30, inodes: int = 1000, flags: int = 0) -> None:
        figures = (BLOCK, BLOCK, 1 << 30, blocks, blocks, 2000, inodes, inodes, flags, *real[9:])
        monkeypatch.setattr("os.statvfs", lambda path: os.statvfs_result(figures))

    return change


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_what_is_missing_will_be_created(tmp_path: Path, room: Room, kind: str) -> None:
    room()
    result = examined(tmp_path, f"{kind}:{tmp_path}/a/b")
    assert result == StepResult("destination", f"{kind}:{tmp_path}/a/b: `get` will create it")


def test_what_is_there_can_be_written_to(tmp_path: Path, room: Room) -> None:
    room()
    for name in ("tmp", "new", "cur"):
        (tmp_path / "Maildir" / name).mkdir(parents=True)
    (tmp_path / "mbox").touch()
    for name in (f"maildir:{tmp_path}/Maildir", f"mbox:{tmp_path}/mbox"):
        assert examined(tmp_path, name) == StepResult("destination", f"{name} can be written to")


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"blocks": 0}, "the disk is full"),
        ({"inodes": 0}, "the disk is full"),
        ({"flags": os.ST_RDONLY}, "the file system is read-only"),
    ],
)
def test_a_disk_that_takes_nothing_is_an_error(
    tmp_path: Path, room: Room, kind: str, figures: dict[str, int], reason: str
) -> None:
    room(**figures)
    with pytest.raises(DeliveryError, match=reason):
        examined(tmp_path, f"{kind}:{tmp_path}/mail")


@pytest.mark.parametrize(("spare", "verdict"), [(0, Verdict.OK), (-1, Verdict.WARNING)])
def test_a_disk_that_is_nearly_full_is_a_warning(
    tmp_path: Path, room: Room, spare: int, verdict: Verdict
) -> None:
    room(blocks=-(-LITTLE // BLOCK) + spare)
    assert examined(tmp_path, f"maildir:{tmp_path}/mail").verdict is verdict


def test_a_folder_that_must_not_be_written_to_is_an_error(
    tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DeliveryError, match=f"Permission denied .{tmp_path}"):
        examined(tmp_path, f"maildir:{tmp_path}/mail")


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_a_file_in_the_path_is_an_error(tmp_path: Path, room: Room, kind: str) -> None:
    room()
    (tmp_path / "file").touch()
    with pytest.raises(DeliveryError, match=r"Not a directory \(.*/file(/mail)?\)"):
        examined(tmp_path, f"{kind}:{tmp_path}/file/mail")


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_what_took_mail_and_is_missing_is_not_mounted(tmp_path: Path, room: Room, kind: str) -> None:
    room()
    with pytest.raises(DeliveryError, match="not mounted"):
        examined(tmp_path, f"{kind}:{tmp_path}/disk/mail", known="1:2")


def test_an_mbox_that_a_mail_reader_has_removed_will_be_created(tmp_path: Path, room: Room) -> None:
    room()
    name = f"mbox:{tmp_path}/mbox"
    known = destination(tmp_path, name).folder_id
    assert "`get` will create it" in examined(tmp_path, name, known).text
