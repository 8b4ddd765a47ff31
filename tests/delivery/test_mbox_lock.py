"""The lock of an mbox, against other programs that lock as they do."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pop3fetch.delivery import mbox_lock as lock
from pop3fetch.delivery.destination import Draft
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.delivery.mbox_lock import STALE, MboxLock, take_lock
from pop3fetch.errors import DestinationLocked
from pop3fetch.status import Status
from tests.support.delivering import TAG, Journal, drafts, messages_of_mboxrd
from tests.support.file_modes import mode

PATIENCE = 10.0  # seconds
NOBODY = (1 << 22) + 1  # a process that cannot be: Linux goes to 1 << 22, others not as far
MESSAGE = b"Subject: hello\n\nworld\n"

HOLDER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print(flush=True)
    sys.stdin.read()
"""

TRIER = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(75)
"""

FULL = """
import os, resource, sys, threading
from pathlib import Path
from pop3fetch.delivery.mbox_lock import take_lock
held = take_lock(Path(sys.argv[1]), sys.argv[2], 0.0, threading.Event())
resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    os.open(sys.argv[3], os.O_RDONLY)
except OSError as error:
    held.release()
    sys.exit(error.errno)
"""


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.touch()
    return inbox


@pytest.fixture
def dot_lock(tmp_path: Path) -> Path:
    return tmp_path / "inbox.lock"


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a file system without links; root may write anywhere."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.link", refuse)


def refuse_locks_of_open_files(monkeypatch: pytest.MonkeyPatch, number: int = errno.EINVAL) -> None:
    """Be on a file system without them."""
    set_lock = fcntl.fcntl

    def refuse(file: int, command: int, argument: bytes | int = 0) -> bytes | int:
        if command == lock.OFD_SETLK:
            raise OSError(number, os.strerror(number))
        return set_lock(file, command, argument)

    monkeypatch.setattr("fcntl.fcntl", refuse)


@pytest.fixture(params=["of the file", "of the process", "of the process on this file system"])
def kind_of_lock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have locks of this kind."""
    if request.param == "of the process":
        monkeypatch.setattr(lock, "OFD_SETLK", None)  # as on macOS and the BSDs
    elif lock.OFD_SETLK is None:
        pytest.skip("the system has no locks of open files")
    elif request.param != "of the file":
        refuse_locks_of_open_files(monkeypatch)


def take(inbox: Path, patience: float = 0.0) -> MboxLock:
    return take_lock(inbox, TAG, patience, threading.Event())


def is_free(inbox: Path) -> bool:
    with suppress(BlockingIOError):
        take(inbox).release()
        return True
    return False


@contextmanager
def locked_by_fcntl(inbox: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Hold the lock of fcntl in another process."""
    words = [sys.executable, "-W", "error", "-S", "-c", HOLDER, str(inbox)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        yield process
        with suppress(BrokenPipeError):
            process.stdin.close()


# -- against others --------------------------------------------------------------------------------


def test_others_see_both_locks_until_they_are_released(inbox: Path, dot_lock: Path) -> None:
    trier = [sys.executable, "-W", "error", "-S", "-c", TRIER, str(inbox)]

    held = take(inbox)
    assert dot_lock.exists()
    assert subprocess.run(trier).returncode == 75

    held.release()
    assert not dot_lock.exists()
    assert subprocess.run(trier).returncode == 0
    assert os.listdir(inbox.parent) == ["inbox"]


def test_a_lock_of_fcntl_is_respected_until_its_process_ends(inbox: Path, dot_lock: Path) -> None:
    with locked_by_fcntl(inbox) as process:
        assert not is_free(inbox)
        assert not dot_lock.exists()
        process.kill()
        process.wait()
        assert is_free(inbox)


def test_a_dot_lock_is_respected_and_the_lock_of_fcntl_let_go(inbox: Path, dot_lock: Path) -> None:
    dot_lock.touch()

    assert not is_free(inbox)
    assert dot_lock.exists()
    with inbox.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert subprocess.run([sys.executable, "-W", "error", "-S", "-c", TRIER, str(inbox)]).returncode == 0


@pytest.mark.skipif(not shutil.which("lockfile"), reason="procmail is not installed")
def test_procmail_waits_for_us_and_we_for_procmail(inbox: Path, dot_lock: Path) -> None:
    lockfile = ["lockfile", "-r0", str(dot_lock)]

    held = take(inbox)
    assert subprocess.run(lockfile, capture_output=True).returncode != 0
    held.release()

    assert subprocess.run(lockfile, capture_output=True).returncode == 0
    assert not is_free(inbox)


@pytest.mark.skipif(not shutil.which("dotlockfile"), reason="liblockfile is not installed")
def test_liblockfile_takes_our_lock_for_that_of_a_live_process(inbox: Path, dot_lock: Path) -> None:
    held = take(inbox)
    os.utime(dot_lock, (0, 0))
    assert subprocess.run(["dotlockfile", "-p", "-r", "0", str(dot_lock)]).returncode != 0
    held.release()


def test_waiting_ends_when_the_lock_is_free(inbox: Path, dot_lock: Path) -> None:
    dot_lock.touch()
    threading.Timer(0.05, dot_lock.unlink).start()

    held = take(inbox, PATIENCE)

    assert dot_lock.exists()
    held.release()


def test_waiting_can_be_given_up(inbox: Path, dot_lock: Path) -> None:
    dot_lock.touch()
    given_up = threading.Event()
    threading.Timer(0.05, given_up.set).start()

    started = time.monotonic()
    with pytest.raises(BlockingIOError):
        take_lock(inbox, TAG, 60.0, given_up)

    assert time.monotonic() - started < PATIENCE


def test_waiting_has_an_end(inbox: Path, dot_lock: Path) -> None:
    dot_lock.touch()
    with pytest.raises(BlockingIOError):
        take(inbox, 0.15)


# -- dot-locks of the dead -------------------------------------------------------------------------


def signed(process: int, host: str = os.uname().nodename) -> bytes:
    return f"{process} {host}\n".encode()


AGED = STALE + 10.0


@pytest.mark.parametrize(
    ("owner", "age", "stale"),
    [
        pytest.param(signed(NOBODY), 0.0, True, id="of the dead"),
        pytest.param(signed(os.getpid()), 0.0, True, id="of ourselves"),
        pytest.param(signed(os.getppid()), 0.0, False, id="of the living"),
        pytest.param(signed(os.getppid()), AGED, True, id="of the living, aged"),
        pytest.param(signed(1), 0.0, False, id="of init"),
        pytest.param(signed(NOBODY, "elsewhere.example.org"), 0.0, False, id="from elsewhere"),
        pytest.param(signed(NOBODY, "elsewhere.example.org"), AGED, True, id="from elsewhere, aged"),
        pytest.param(b"%d\n" % NOBODY, 0.0, False, id="of the dead, no host"),
        pytest.param(b"%d\n" % os.getppid(), AGED, True, id="of the living, no host, aged"),
        pytest.param(signed(9_999_999_999), 0.0, False, id="no process number"),
        pytest.param(b"", 0.0, False, id="empty"),
        pytest.param(b"", STALE - 10.0, False, id="empty, nearly aged"),
        pytest.param(b"", AGED, True, id="empty, aged"),
        pytest.param(b"0", AGED, True, id="number 0, aged"),
        pytest.param(b"x" * 100_000, 0.0, False, id="long"),
    ],
)
def test_a_dot_lock_of_the_dead_is_broken(
    owner: bytes, age: float, stale: bool, inbox: Path, dot_lock: Path
) -> None:
    dot_lock.write_bytes(owner)
    moment = time.time() - age
    os.utime(dot_lock, (moment, moment))
    with suppress(BlockingIOError):
        take(inbox).release()

    assert dot_lock.exists() is not stale
    assert is_free(inbox) is stale


def test_a_stale_dot_lock_is_not_broken_while_another_process_holds_the_fcntl_lock(
    inbox: Path, dot_lock: Path
) -> None:
    dot_lock.touch()
    os.utime(dot_lock, (0, 0))
    with locked_by_fcntl(inbox):
        assert not is_free(inbox)
        assert dot_lock.exists()


def test_a_dot_lock_names_its_owner_as_soon_as_it_exists(inbox: Path, dot_lock: Path) -> None:
    held = take(inbox)
    assert dot_lock.read_bytes() == signed(os.getpid())
    assert mode(dot_lock) == 0o600
    held.release()


def test_what_a_crash_left_of_a_dot_lock_goes_with_the_next_run(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / f"inbox.lock.pop3fetch-{TAG}").write_bytes(b"12")

    take(inbox).release()

    assert os.listdir(tmp_path) == ["inbox"]


@pytest.mark.parametrize(
    ("event", "function"), [("c_call", "link"), ("c_return", "link"), ("return", "__init__")]
)
def test_an_interrupt_while_it_is_locked_leaves_no_lock(
    event: str, function: str, inbox: Path, dot_lock: Path, tmp_path: Path
) -> None:
    def interrupt(frame: FrameType, happened: str, called: Any) -> None:
        name = called.__name__ if happened.startswith("c_") else frame.f_code.co_name
        if (happened, name) == (event, function) and frame.f_code.co_filename == lock.__file__:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        take(inbox)
    assert sys.getprofile() is None
    assert os.listdir(tmp_path) == ["inbox"]
    take(inbox).release()


def is_dropped(frame: FrameType | None) -> bool:
    """Whether Python drops what is raised here: in a finaliser, see cli.signals."""
    while frame and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def interrupted(step: int, work: Callable[[], object]) -> bool:
    """Raise KeyboardInterrupt at a step (from 1) of ``work`` in this room; return whether it came so far."""
    room = str(Path(lock.__file__).parent)
    steps = itertools.count(1)

    def interrupt(frame: FrameType, happened: str, called: Any) -> None:
        ours = frame.f_code.co_filename.startswith(room)
        if ours and not is_dropped(frame) and next(steps) == step:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.mark.usefixtures("kind_of_lock")
def test_an_interrupt_at_any_step_leaves_no_lock(inbox: Path, tmp_path: Path) -> None:
    for step in itertools.count(1):
        mbox = Mbox(inbox, TAG, tmp_path / "state", patience=0.0)
        came = interrupted(step, mbox.prepare)
        mbox.close()
        assert sorted(os.listdir(tmp_path)) in (["inbox"], ["inbox", "state"]), step
        assert is_free(inbox), step
        if not came:
            break
    assert step > 50


def test_the_lock_is_released_if_no_further_file_can_be_opened(inbox: Path, dot_lock: Path) -> None:
    # In a process of its own, because servers of other tests would lose the connections that come meanwhile.
    run = subprocess.run([sys.executable, "-W", "error", "-c", FULL, str(inbox), TAG, str(dot_lock)])
    assert run.returncode == errno.EMFILE
    assert not dot_lock.exists()


def test_a_new_lock_in_the_place_of_ours_stays(inbox: Path, dot_lock: Path) -> None:
    held = take(inbox)
    dot_lock.unlink()  # as one that is forgotten
    dot_lock.touch()  # perhaps with the same number, which a file system gives again
    os.utime(dot_lock, (time.time() + STALE, time.time() + STALE))
    held.release()
    assert dot_lock.exists()


def test_if_no_dot_lock_can_be_made_fcntl_is_enough(
    inbox: Path, dot_lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch)

    held = take(inbox)

    assert os.listdir(inbox.parent) == ["inbox"]
    assert subprocess.run([sys.executable, "-W", "error", "-S", "-c", TRIER, str(inbox)]).returncode == 75
    dot_lock.touch()
    held.release()
    assert dot_lock.exists()


# -- the file --------------------------------------------------------------------------------------


def test_a_file_that_was_replaced_while_we_locked_is_opened_anew(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_by_fcntl = lock._lock_by_fcntl

    def meanwhile(file: int) -> None:
        lock_by_fcntl(file)
        monkeypatch.undo()
        inbox.with_name("new").write_bytes(b"rewritten\n\n")
        inbox.with_name("new").rename(inbox)

    monkeypatch.setattr(lock, "_lock_by_fcntl", meanwhile)

    held = take(inbox, PATIENCE)

    assert os.pread(held.file, 100, 0) == b"rewritten\n\n"
    held.release()


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_only_a_regular_file_is_locked(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OSError, match=r"regular file|symbolic links"):
        take(tmp_path / kind)


# -- an mbox ---------------------------------------------------------------------------------------


def test_an_mbox_that_stays_locked_is_tried_again_later(inbox: Path, dot_lock: Path, tmp_path: Path) -> None:
    mbox = Mbox(inbox, TAG, tmp_path / "state", patience=0.0)
    mbox.prepare()
    batch = drafts(mbox, [MESSAGE])
    dot_lock.touch()
    journal = Journal()

    with pytest.raises(DestinationLocked, match="inbox: it is locked by another program") as caught:
        mbox.deliver(batch, journal)

    assert caught.value.exit_status is Status.TRY_LATER
    assert journal.seen == []
    for draft in batch:
        draft.discard()
    assert os.listdir(tmp_path / "state") == []
    assert inbox.read_bytes() == b""


def test_an_mbox_is_locked_from_before_the_intent_until_all_is_done(
    inbox: Path, dot_lock: Path, tmp_path: Path
) -> None:
    mbox = Mbox(inbox, TAG, tmp_path / "state")
    mbox.prepare()
    journal = Journal(dot_lock.exists)

    mbox.deliver(drafts(mbox, [MESSAGE]), journal)

    assert journal.seen == [("intend", True), ("done", True)]
    assert not dot_lock.exists()


def test_an_interrupted_delivery_does_not_wait_for_the_lock(
    inbox: Path, dot_lock: Path, tmp_path: Path
) -> None:
    mbox = Mbox(inbox, TAG, tmp_path / "state")
    mbox.prepare()
    dot_lock.touch()
    threading.Timer(0.05, mbox.interrupt).start()

    started = time.monotonic()
    with pytest.raises(DestinationLocked):
        mbox.deliver(drafts(mbox, [MESSAGE]), Journal())

    assert time.monotonic() - started < PATIENCE


@pytest.mark.parametrize("has_dot_locks", [True, False])
def test_accounts_of_one_process_deliver_to_one_mbox_in_turn(
    has_dot_locks: bool, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_dot_locks:
        refuse_links(monkeypatch)
    failures: list[BaseException] = []

    def account(name: str) -> None:
        mbox = Mbox(inbox, name * 16, tmp_path / name)
        try:
            mbox.prepare()
            for count in range(5):
                batch: list[Draft] = drafts(
                    mbox, [b"Subject: %b%d\n\n" % (name.encode(), count) + b"x\n" * 2000]
                )
                mbox.deliver(batch, Journal())
        except BaseException as error:
            failures.append(error)
        mbox.close()

    threads = [threading.Thread(target=account, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    messages = sorted(messages_of_mboxrd(inbox.read_bytes()))
    assert messages == [
        b"Subject: %c%d\n\n" % (name, n) + b"x\n" * 2000 for name in b"abcd" for n in range(5)
    ]


# -- names and owners ------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind_of_lock")
def test_a_file_with_two_names_is_locked_once(inbox: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    os.link(inbox, other)
    held = take(inbox)
    with pytest.raises(BlockingIOError):
        MboxLock(other, TAG)
    held.release()
    take(other).release()
    assert is_free(inbox)


@pytest.mark.usefixtures("kind_of_lock")
@pytest.mark.parametrize("exists", [True, False])
def test_one_account_does_not_break_the_dot_lock_of_another_one(
    exists: bool, inbox: Path, dot_lock: Path
) -> None:
    """It has the number of their process, as what a run left behind in a container has."""
    if not exists:
        inbox.unlink()
    held = take(inbox)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            MboxLock(inbox, "f" * 16)
        assert dot_lock.exists()
    held.release()
    assert is_free(inbox)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("mode_of_folder", "owner", "is_refused"),
    [(0o1777, 54321, False), (0o1777, 54322, True), (0o777, 54322, True), (0o755, 54322, False)],
)
def test_in_a_shared_folder_an_mbox_must_be_ones_own(
    tmp_path: Path, mode_of_folder: int, owner: int, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "box").touch()
    os.chown(folder / "box", owner, owner)
    os.chmod(folder / "box", 0o666)
    os.chmod(folder, mode_of_folder)
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    if is_refused:
        with pytest.raises(PermissionError, match="belongs to another user"):
            MboxLock(folder / "box", TAG)
    else:
        MboxLock(folder / "box", TAG).release()


def test_in_a_shared_folder_an_mbox_must_have_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (tmp_path / "precious").touch()
    os.link(tmp_path / "precious", folder / "box")
    take(folder / "box").release()
    folder.chmod(0o1777)
    with pytest.raises(PermissionError, match="second name"):
        MboxLock(folder / "box", TAG)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
@pytest.mark.parametrize(
    ("folder_owner", "folder_mode", "owner", "name", "is_refused"),
    [
        (0, 0o1777, 54321, "box", True),
        (0, 0o1777, 0, "box", False),
        (0, 0o2775, 1, "daemon", False),
        (0, 0o2775, 1, "bin", True),
        (54321, 0o700, 54321, "box", False),
        (54321, 0o770, 54321, "box", False),
        (54321, 0o700, 54322, "box", True),
        (54321, 0o700, 0, "box", False),
    ],
)
def test_root_delivers_only_to_ones_own_mbox(
    tmp_path: Path, folder_owner: int, folder_mode: int, owner: int, name: str, is_refused: bool
) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / name).touch()
    os.chown(folder / name, owner, owner)
    os.chown(folder, folder_owner, folder_owner)
    folder.chmod(folder_mode)
    if is_refused:
        with pytest.raises(PermissionError, match="belongs to another user"):
            MboxLock(folder / name, TAG)
    else:
        MboxLock(folder / name, TAG).release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
def test_root_writes_to_no_file_that_a_user_has_linked_into_the_users_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 54321, 54321)
    (tmp_path / "precious").touch()
    os.link(tmp_path / "precious", home / "box")
    with pytest.raises(PermissionError, match="second name"):
        MboxLock(home / "box", TAG)


@pytest.mark.skipif(lock.OFD_SETLK is None, reason="the system has no locks of open files")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_system_without_locks_of_open_files_has_those_of_processes(
    inbox: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_locks_of_open_files(monkeypatch, number)
    held = take(inbox)
    assert subprocess.run([sys.executable, "-W", "error", "-S", "-c", TRIER, str(inbox)]).returncode == 75
    held.release()
    with locked_by_fcntl(inbox):
        assert not is_free(inbox)
