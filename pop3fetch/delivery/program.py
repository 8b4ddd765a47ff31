"""A program that takes messages: each one whole, on its standard input, without a shell.

Exit status 0 means delivered; whatever else happens, that message stays new and the next one is
tried. The program has a session of its own, so that it can be ended with all that it has started.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.defaults import CRON_PATH, DEFAULT_EXEC_TIMEOUT
from pop3fetch.delivery.destination import Destination, Draft, Journal, delivery_errors
from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Message
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from pop3fetch.step_results import StepResult

PREFIX = "exec:"
GRACE = 2.0  # seconds between asking a program to end and killing it
TICK = 0.05  # seconds between two looks at a silent program
IN_MEMORY = 1 << 20  # octets of a message that need no file before the program is started
COMPLAINT = 1 << 16  # octets of standard error that are shown


class ProgramDraft(Draft):
    """A message in memory, or in a private file without a name."""

    def __init__(self, message: Message, destination: str) -> None:
        super().__init__(message)
        self._destination = destination
        self._spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115

    def write(self, block: bytes) -> None:
        with delivery_errors(self._destination):
            self._spool.write(block)
        self.octets += len(block)

    def open_input(self) -> int:
        """Return the message as an open file, to be read from its beginning."""
        with delivery_errors(self._destination):
            file = self._spool.fileno()  # from here on it is a file, however small
            self._spool.flush()
            os.lseek(file, 0, os.SEEK_SET)
        return file

    def discard(self) -> None:
        with suppress(OSError):
            self._spool.close()


class Program(Destination):
    """A command, run once for each message."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        account: str,
        report: Callable[[str], None],
        limit: float = DEFAULT_EXEC_TIMEOUT,
    ) -> None:
        """``command``: its words, one at least; ``environment``: all that it sees, besides ours.

        ``report`` is called with each harmless line of its standard error, in the thread
        that delivers. ``limit`` in seconds.
        """
        self.name = PREFIX + command[0]
        self._command = command
        self._environment = environment
        self._account = account
        self._limit = limit
        self._report = report
        self._interrupted = threading.Event()
        self._running = threading.Lock()

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        path = self._environment.get("PATH", os.defpath)
        if shutil.which(self._command[0], path=path) is None:
            raise DeliveryError(self.name, "there is no such program, or it is not executable")

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        from pop3fetch.step_results import StepResult, warning

        self.prepare(known)
        if shutil.which(self._command[0], path=CRON_PATH) is None:
            text = f"{self.name}: cron does not find the program in {CRON_PATH}: write its whole path"
            yield warning("destination", text)
        else:
            yield StepResult("destination", f"{self.name} exists; it is not run now")

    def draft(self, message: Message) -> ProgramDraft:
        return ProgramDraft(message, self.name)

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        refused: list[tuple[Draft, DeliveryError]] = []
        for draft in drafts:
            assert isinstance(draft, ProgramDraft)
            failure = self._run(draft)
            if failure is None:
                journal.done([draft])
            else:
                refused.append((draft, DeliveryError(self.name, failure, fatal=False)))
            draft.discard()
        return refused

    def _run(self, draft: ProgramDraft) -> str | None:
        """Run the program for one message; return None, or why it is not delivered."""
        with self._running:
            if self._interrupted.is_set():
                raise DeliveryError(self.name, "it was interrupted")
            with self._start(draft) as process:
                run = _Run(process)
                try:
                    failure = self._attend(run)
                except BaseException:
                    run.end()
                    raise
        lines = [printable(line.strip()) for line in bytes(run.complaint).split(b"\n") if line.strip()]
        for line in lines[:-1] if failure else lines:  # the last one is in the failure
            self._report(line)
        return f"{failure}: {lines[-1]}" if failure and lines else failure

    def _start(self, draft: ProgramDraft) -> subprocess.Popen[bytes]:
        message = draft.open_input()
        try:
            # The command is the user's own, split into words: nothing foreign is in it.
            return subprocess.Popen(  # noqa: S603
                self._command,
                bufsize=0,
                env={
                    **self._environment,
                    "POP3FETCH_UID": os.fsdecode(draft.message.uid),
                    "POP3FETCH_NUMBER": str(draft.message.number),
                    "POP3FETCH_SIZE": str(draft.octets),
                    "POP3FETCH_ACCOUNT": self._account,
                },
                stdin=message,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(self.name, f"it cannot be run: {error.strerror}") from error

    def _attend(self, run: _Run) -> str | None:
        deadline = time.monotonic() + self._limit
        while (status := run.status()) is None:
            if self._interrupted.is_set():
                raise DeliveryError(self.name, "it was interrupted")
            if time.monotonic() >= deadline:
                run.end()
                return f"it did not end within {self._limit:g} s"
            run.listen(TICK)
        if status < 0:
            return f"it was ended by signal {-status} ({signal.strsignal(-status)})"
        return f"exit status {status}" if status else None

    def interrupt(self) -> None:
        """End the program that runs, with all that it has started, and start no more; from any thread."""
        self._interrupted.set()

    def close(self) -> None:
        """Interrupt, and wait until no program of ours runs."""
        self.interrupt()
        with self._running:
            pass


class _Run:
    """One run of a program, and the beginning of its standard error."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self.complaint = bytearray()
        self._process = process
        self._pipe = process.stderr.fileno()
        self._is_open = True

    def status(self) -> int | None:
        """Return the exit status, negative for a signal, or None if the program still runs."""
        status = self._process.poll()
        if status is not None and self._is_open:
            # The end is not awaited: what a program leaves in the background may keep the pipe open.
            os.set_blocking(self._pipe, False)
            with suppress(BlockingIOError):
                self._read()
        return status

    def listen(self, seconds: float) -> None:
        """Wait for output of the program, or its end."""
        if not self._is_open:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            if selector.select(seconds):
                self._read()

    def _read(self) -> None:
        # More is read and dropped, lest the program wait for us.
        octets = os.read(self._pipe, COMPLAINT)
        self.complaint += octets[: COMPLAINT - len(self.complaint)]
        self._is_open = bool(octets)

    def end(self) -> None:
        """End the program and its whole group: asked first, then killed."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS reports EPERM for a group of zombies
            os.killpg(self._process.pid, number)
