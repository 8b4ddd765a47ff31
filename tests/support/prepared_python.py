"""A Python that has imported all of pop3fetch, and forks for each program: no start to wait for.

Each program has arguments, an environment, a folder, streams and a session of its own, and a terminal if it
begins on one. Only what Python itself does at its start, and the imports, happen once for all; tests of these
start a process, which takes 70 ms of CPU more.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import TracebackType
from typing import BinaryIO, NoReturn

from pop3fetch.status import Status

PIPE = 65536  # octets that a pipe takes before they are read
NUMBER = struct.Struct("i")
AT_THE_START = ("PYTHON", "LC_", "LANG", "OPENSSL_")  # variables that have an effect only there
NOT_AT_THE_START = "PYTHON_KEYRING_BACKEND"


class PreparedPython:
    """The process that forks, for one program at a time."""

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._channel, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.prepared_python"],
                cwd=Path(__file__).parents[2],
                env={"PATH": os.environ.get("PATH", os.defpath)},
                stdin=its.fileno(),
                start_new_session=True,
            )

    def __enter__(self) -> PreparedPython:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._process.wait()

    def begin(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: Sequence[int],
        *,
        on_terminal: bool = False,
    ) -> Forked | None:
        """Begin ``words``, the first of which is this Python; return None if they need a start.

        ``streams`` are the descriptors of its standard streams. ``on_terminal``: the first of them is the
        terminal of the session.
        """
        needing = [name for name in environment if name.startswith(AT_THE_START) and name != NOT_AT_THE_START]
        if needing or not self._free.acquire(blocking=False):
            return None
        os.umask(umask := os.umask(0o077))
        job = (
            json.dumps([list(words[1:]), str(folder), dict(environment), umask, on_terminal]).encode() + b"\n"
        )
        sent = socket.send_fds(self._channel, [job], streams)
        self._channel.sendall(job[sent:])
        return Forked(self._channel, self._free)

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        octets: bytes,
        timeout: float,
    ) -> tuple[int, bytes, bytes] | None:
        """Run ``words`` with ``octets`` as input; return status, output and errors, or None as above."""
        if len(octets) > PIPE:
            return None
        with ExitStack() as files:
            stdin, fed = _pipe(files)
            out, stdout = _pipe(files)
            err, stderr = _pipe(files)
            fed.write(octets)
            fed.close()
            its = (stdin, stdout, stderr)
            forked = self.begin(words, folder, environment, [each.fileno() for each in its])
            if forked is None:
                return None
            for each in its:
                each.close()
            try:
                written, errors = _read_both(out, err, timeout)
                return forked.wait(timeout), written, errors
            finally:
                forked.kill()


class Forked:
    """A program that was begun, and is to be waited for."""

    stdout = None  # as that of a Popen without a pipe

    def __init__(self, channel: socket.socket, free: threading.Lock) -> None:
        self._channel = channel
        self._free = free
        self._process = self._hear(None)
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return its status, or the negative number of the signal that ended it."""
        if self._status is None:
            self._status = self._hear(timeout)
            self._free.release()
        return self._status

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
            self.wait()

    def _hear(self, timeout: float | None) -> int:
        self._channel.settimeout(timeout)
        number: int = NUMBER.unpack(self._channel.recv(NUMBER.size))[0]
        return number


def _pipe(files: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    read, write = os.pipe()
    return files.enter_context(open(read, "rb", 0)), files.enter_context(open(write, "wb", 0))


def _read_both(out: BinaryIO, err: BinaryIO, timeout: float) -> tuple[bytes, bytes]:
    """Read two pipes to their ends."""
    deadline = time.monotonic() + timeout
    found = {out.fileno(): b"", err.fileno(): b""}
    with selectors.DefaultSelector() as unended:
        for number in found:
            unended.register(number, selectors.EVENT_READ)
        while unended.get_map():
            ready = unended.select(max(deadline - time.monotonic(), 0))
            assert ready, f"no end: {found}"
            for key, _ in ready:
                octets = os.read(key.fd, PIPE)
                found[key.fd] += octets
                if not octets:
                    unended.unregister(key.fd)
    return found[out.fileno()], found[err.fileno()]


# -- in the process that forks ---------------------------------------------------------------------


def serve(channel: socket.socket) -> None:
    """Fork for each program that is asked for, until nobody can ask any more."""
    import_everything()
    gc.freeze()  # or a search for garbage would copy all this memory
    while True:
        job, streams, _, _ = socket.recv_fds(channel, PIPE, 3)
        if not job:
            return
        while not job.endswith(b"\n"):
            job += channel.recv(PIPE)
        process = os.fork()
        if not process:
            become(streams, *json.loads(job))
        for stream in streams:
            os.close(stream)
        channel.sendall(NUMBER.pack(process))
        channel.sendall(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])))


def import_everything() -> None:
    import pop3fetch
    from pop3fetch import cli

    main = cli.main
    for module in walk_packages(pop3fetch.__path__, "pop3fetch."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    cli.main = main  # not the module of that name


def become(
    streams: Sequence[int],
    words: list[str],
    folder: str,
    environment: dict[str, str],
    umask: int,
    on_terminal: bool,
) -> NoReturn:
    """Be the program."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(len(streams), max(streams) + 1)
    if on_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    os.umask(umask)
    for name in os.environ.keys() - {"LC_CTYPE"}:  # Python sets it if there is no locale
        del os.environ[name]
    os.environ.update(environment)
    time.tzset()
    sys.stdin = open(0, errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    finally:  # the command ends its process itself, so this is a bug of it or of ours
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(Status.BUG)


if __name__ == "__main__":
    serve(socket.socket(fileno=0))
