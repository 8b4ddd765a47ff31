"""Start the real command hundreds of times, each time in a process of its own that is ready at once.

A launcher is a process that has imported everything and waits. It forks for each command, so that a run does
not cost a start of Python. The process may be held until a tracer has it. At a chosen step it may die, be
refused by the kernel, or wait.

    with Launcher(home) as launcher:
        ended = launcher.run("get", "-a", url, fault=Fault(step=17))
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from tests.support.command import Ended, homely

DIED = 9  # the status of a process that a fault has ended
WAITING = "waiting\n"  # instead of the status, of a process that a fault holds up
PASSWORD = "secret"  # of alice, in tests.support.mail_server


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong before the ``step``-th call (from 1) that touches disk, record or connection.

    The process is gone at once; or the call, if it is one of ``os``, fails with ``errno``; or, if it
    ``waits``, it is made once something else has happened, for which a call that only looks is a
    step, too. If a ``name`` is given, only calls of that name are counted.
    """

    step: int
    errno: int | None = None
    name: str = ""
    waits: bool = False


class Launcher:
    """The process that forks; ``home`` is the home of all its commands.

    ``patience``: seconds that a small batch waits for more, if not the usual ones.
    ``steps``: how many the last run took that had a fault and outlived it.
    """

    def __init__(self, home: Path, patience: float | None = None) -> None:
        self.steps = 0
        self._out, self._err = home / "launched.out", home / "launched.err"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "POP3FETCH_PASSWORD": PASSWORD,
            **homely(home),
        }
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.launcher",
                str(home),
                *([str(patience)] if patience else []),
            ],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._read()

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self,
        *arguments: str | Path,
        fault: Fault | None = None,
        trace: Callable[[int], None] = lambda process: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Run `pop3fetch` with ``arguments``, after ``trace`` was called with the process's number.

        ``meanwhile`` is called when the run waits at its fault. A process that a signal has ended has
        the negative number of it as its status.
        """
        job = {
            "arguments": [*map(str, arguments)],
            "out": str(self._out),
            "err": str(self._err),
            "fault": asdict(fault) if fault else None,
        }
        self._write(json.dumps(job))
        trace(int(self._read()))
        self._write("go")
        line = self._read()
        if line == WAITING:
            meanwhile()
            self._write("go")
            line = self._read()
        status, self.steps = map(int, line.split())
        return Ended(status, self._out.read_bytes(), self._err.read_bytes())

    def _write(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the launcher has died"
        return line


# -- in the launcher's process ---------------------------------------------------------------------


def serve(home: Path, patience: float | None = None) -> None:
    """Fork for each job that is read, until the end."""
    import_everything(home)
    look_soon()
    if patience:
        from pop3fetch.fetch import batch

        batch.BATCH_DELAY = patience
    allow_tracing()
    print("ready", flush=True)
    while job := sys.stdin.readline():
        ours, its = socket.socketpair()
        process = os.fork()
        if process == 0:
            ours.close()
            run(json.loads(job), its)
        its.close()
        ours.recv(1)  # it is ready
        print(process, flush=True)
        sys.stdin.readline()
        let_go(ours)
        if (steps := heard(ours)) == b"?":  # it waits
            print(WAITING, end="", flush=True)
            sys.stdin.readline()
            let_go(ours)
            steps = heard(ours)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        print(status, (steps or b"0").decode(), flush=True)
        ours.close()


def look_soon() -> None:
    """Let messages whose answer was lost be looked for soon: no server here stores or answers late."""
    from pop3fetch.delivery.servers import line
    from pop3fetch.delivery.servers.mailbox import Mailbox
    from pop3fetch.delivery.servers.settling import Settlement

    line.DATA_TIMEOUT = 1.0
    Mailbox.__init__.__defaults__ = (Settlement(0.05, 0.01),)


def let_go(process: socket.socket) -> None:
    """Let a process that is held go on; a signal may have ended it meanwhile."""
    with suppress(ConnectionError):
        process.sendall(b"!")


def heard(process: socket.socket) -> bytes:
    """Return what the process reports before it ends, if anything."""
    try:
        return process.recv(20)
    except ConnectionError:  # it was killed
        return b""


def import_everything(home: Path) -> None:
    """Make a run that ends before the login: nearly all modules are loaded by then."""
    from contextlib import redirect_stderr
    from importlib import import_module
    from io import StringIO
    from pkgutil import walk_packages

    import pop3fetch
    from pop3fetch.cli.main import run

    for module in walk_packages(pop3fetch.__path__, "pop3fetch."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    with socket.socket() as nobody, redirect_stderr(StringIO()):
        nobody.bind(("127.0.0.1", 0))
        url = f"pop3://alice@127.0.0.1:{nobody.getsockname()[1]}"
        for destination in ("maildir:warm", "mbox:warm/mbox"):
            run(
                [
                    "get",
                    "-a",
                    url,
                    "--state-dir",
                    str(home / "warm"),
                    "-o",
                    destination.replace("warm", f"{home}/warm"),
                ]
            )


def allow_tracing() -> None:
    """Let any process of this user trace the ones that are forked, which Linux may forbid (Yama)."""
    import ctypes

    if sys.platform == "linux":
        pr_set_ptracer, any_process = 0x59616D61, ctypes.c_ulong(-1)
        ctypes.CDLL(None).prctl(pr_set_ptracer, any_process, 0, 0, 0)


def run(job: Mapping[str, Any], launcher: socket.socket) -> NoReturn:
    """Be the command: its streams are files, and its end is that of the process."""
    from pop3fetch.cli.main import run

    allow_tracing()  # it is not inherited
    for stream, path in enumerate((os.devnull, job["out"], job["err"])):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    for number in (signal.SIGINT, signal.SIGTERM):  # what the launcher's own run has set up is not ours
        signal.signal(number, signal.SIG_DFL)
    launcher.sendall(b"!")
    launcher.recv(1)  # we may go
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = arm(Fault(**job["fault"]), launcher) if job["fault"] else itertools.count()
    status = run(job["arguments"])
    sys.setprofile(None)
    sys.stdout.flush()
    if job["fault"]:
        launcher.sendall(b"%d" % next(steps))
    os._exit(status)  # to take everything down that was imported would cost more than the run


def arm(fault: Fault, launcher: socket.socket) -> Iterator[int]:
    """Make the fault come at its step, in whatever thread that is; return what counts the steps."""
    import sqlite3
    import threading

    functions = {
        os.open, os.write, os.pwrite, os.fsync, os.rename, os.link, os.unlink, os.mkdir, os.ftruncate,
    }  # fmt: skip
    if fault.waits:
        functions |= {os.stat, os.lstat, os.listdir}
    methods = {"execute", "executemany", "sendall", "recv_into"}
    kinds = (sqlite3.Connection, socket.socket)
    steps = itertools.count()

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call":
            return
        of_os = called in functions
        if not of_os and not (called.__name__ in methods and isinstance(called.__self__, kinds)):
            return
        if fault.name and fault.name != called.__name__:
            return
        if next(steps) + 1 == fault.step:
            if fault.waits:
                launcher.sendall(b"?")
                launcher.recv(1)
            elif fault.errno is None:
                os._exit(DIED)
            elif of_os:
                raise OSError(fault.errno, os.strerror(fault.errno))

    threading.setprofile(watch)
    sys.setprofile(watch)
    return steps


if __name__ == "__main__":
    serve(Path(sys.argv[1]), *map(float, sys.argv[2:]))
