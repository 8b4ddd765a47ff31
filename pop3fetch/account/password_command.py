"""The program that prints a password: its first line, within limits of time and size.

No shell runs it, and its standard input is empty. An error never contains what it prints, only what it writes
on standard error. It has a session of its own, so that it can be killed with everything that it has started.

The wait is over when the program itself has ended: an agent that it leaves in the background may keep its
output open for days.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pop3fetch.account import secret
from pop3fetch.ahead import Interrupts
from pop3fetch.errors import NoPassword
from pop3fetch.printable import printable

LARGEST = 1 << 16  # octets of standard output; an access token has a few thousand
COMPLAINT = 1 << 12  # octets of standard error that are kept, its last ones
COMPLAINT_LINES = 3  # lines of it that an error shows
COMPLAINT_WIDTH = 100  # characters of each
BLOCK = 1 << 14  # octets
BLOCKS_OF_A_PIPE = 64  # 1 MiB is the most that a pipe holds on Linux without privileges (pipe(7))
TICK = 0.02  # seconds between two checks whether a program has ended that leaves its output open


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Run:
    """What a command has written, and how it ended."""

    command: Sequence[str] = field(repr=False)
    printed: bytearray = field(default_factory=bytearray, repr=False)
    complaint: bytearray = field(default_factory=bytearray)
    status: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)  # while it runs

    def interrupt(self) -> None:
        """Kill the command with all that it has started; from any thread."""
        process = self.process
        if process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def first_line(
    command: Sequence[str],
    environment: Mapping[str, str],
    limit: float,
    interrupts: Interrupts | None = None,
) -> str:
    """Return the first line that ``command`` prints, without its end; ``limit`` in seconds.

    Raises NoPassword if the program cannot be run, fails, takes too long, or prints none.
    """
    try:
        run = _run(command, environment, time.monotonic() + limit, interrupts)
    except (TimeoutError, subprocess.TimeoutExpired):
        raise _error(command, f"did not end within {limit:g} s") from None
    except OSError as error:
        raise _error(command, f"cannot be run: {error.strerror}") from None
    if run.status:
        raise _error(command, _failure(run))
    line = secret.first_line(bytes(run.printed))
    if not line:
        raise _error(command, "printed no password: its first line is empty")
    return line


def _run(
    command: Sequence[str], environment: Mapping[str, str], deadline: float, interrupts: Interrupts | None
) -> _Run:
    run = _Run(command)
    # The command is the user's own, split into words: nothing foreign is in it.
    with subprocess.Popen(  # noqa: S603
        command,
        bufsize=0,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        run.process = process
        try:
            if interrupts:
                interrupts.watch(run)
            _listen(process, run, deadline)
            run.status = process.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:
            run.interrupt()
            raise
        finally:
            run.process = None
        _catch_up(process, run)
    return run


def _listen(process: subprocess.Popen[bytes], run: _Run, deadline: float) -> None:
    """Read until standard output ends, or the program does and has printed something, or failed.

    Raises TimeoutError, and NoPassword if it prints too much.
    """
    assert process.stdout is not None and process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, run.printed)
        selector.register(process.stderr, selectors.EVENT_READ, run.complaint)
        while process.stdout in selector.get_map():
            # Checked before the pipes are read: by then, all that it printed is in them.
            is_over = process.poll() is not None and bool(run.printed or process.returncode)
            ready = selector.select(0 if is_over else TICK)
            if is_over and not any(key.fileobj is process.stdout for key, _ in ready):
                return
            if time.monotonic() > deadline:
                raise TimeoutError
            for key, _ in ready:
                block = os.read(key.fd, BLOCK)
                key.data.extend(block)
                if not block:
                    selector.unregister(key.fileobj)
            if len(run.printed) > LARGEST:
                raise _error(run.command, f"printed more than {LARGEST} octets")
            del run.complaint[:-COMPLAINT]


def _catch_up(process: subprocess.Popen[bytes], run: _Run) -> None:
    """Read what the command had still written on standard error when it ended."""
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    with suppress(BlockingIOError):
        for _ in range(BLOCKS_OF_A_PIPE):  # and no more: a process in the background may write forever
            if not (block := os.read(process.stderr.fileno(), BLOCK)):
                break
            run.complaint += block
    del run.complaint[:-COMPLAINT]


def _failure(run: _Run) -> str:
    how = f"failed with status {run.status}" if run.status > 0 else f"was ended by signal {-run.status}"
    lines = run.complaint.decode(errors="backslashreplace").split("\n")
    said = [printable(line.strip(), COMPLAINT_WIDTH) for line in lines if line.strip()]
    return f"{how}: {'; '.join(said[-COMPLAINT_LINES:])}" if said else how


def _error(command: Sequence[str], reason: str) -> NoPassword:
    # Only the name: the other words of the command may be secrets.
    return NoPassword(f"the password command ({printable(command[0])}) {reason}")
