"""``python -m bench.polls``: one ``get --every`` through ten thousand polls of a mailbox that changes.

SIGUSR1 asks for the next poll when one has ended, so nothing is waited for; the time of day runs so fast that
about ten minutes pass between two. Memory and open descriptors are compared with those after the first
hundred polls, and the CPU time of an idle poll with that of a whole mpop.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory

import trustme

from bench.measure import RunFailed
from bench.peers import PYTHON, Errand, mpop_get
from bench.peers import Mailbox as Address
from tests.support.certificates import server_context
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, Talk

PASSWORD = "secret"
CHANGED = 5  # sessions for each new message
KEPT = 20  # messages that the mailbox holds
WARM = 100  # polls before the first look
MOST_GROWTH = 5 << 20  # octets
IDLE = 300  # polls
PATIENCE = 60.0  # seconds for a session
SETTLED = 1.0  # seconds after the end of a session until its run has ended, too

# Starts the program by a clock whose rate is the first argument.
FAST = """\
import sys, time
rate, begun, monotonic = float(sys.argv.pop(1)), time.time(), time.monotonic
since = monotonic()
time.time = lambda: begun + (monotonic() - since) * rate
from pop3fetch.cli import main
main()
"""
RATE = 30_000  # ten minutes in 20 ms
TICKS = os.sysconf("SC_CLK_TCK")


class Polled:
    """A mailbox whose sessions can be awaited; with every fifth it ``changes``."""

    def __init__(self) -> None:
        self.mailbox = Mailbox([b"Subject: first\r\n\r\nx\r\n"])
        self.changes = True
        self.resumed = self.sessions = 0
        self._ended: SimpleQueue[None] = SimpleQueue()

    def __call__(self, talk: Talk) -> None:
        self.sessions += 1
        self.resumed += talk.is_resumed
        try:
            self.mailbox(talk)
        finally:
            if self.changes and self.sessions % CHANGED == 0:
                self._change()
            self._ended.put(None)

    def wait(self) -> None:
        """Wait for the end of a session; raises RunFailed."""
        try:
            self._ended.get(timeout=PATIENCE)
        except Empty:
            raise RunFailed(f"no session within {PATIENCE:g} s") from None

    def _change(self) -> None:
        number = self.sessions
        self.mailbox.add(b"Subject: %d\r\n\r\n" % number + b"x" * 1000 + b"\r\n", b"later-%d" % number)
        if len(self.mailbox.maildrop) > KEPT:
            self.mailbox.remove(self.mailbox.maildrop[:1])
        self.mailbox.removed.clear()


class Process:
    """A process of `get --every`, and what the kernel knows of it."""

    def __init__(self, folder: Path, address: Address) -> None:
        server = ("-H", address.host, "-p", str(address.port), "-u", address.user)
        places = ("--ca-file", address.ca_file, "--state-dir", folder / "state", "-o", folder / "mail")
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "POP3FETCH_PASSWORD": PASSWORD}
        self._process = subprocess.Popen(
            [PYTHON, "-I", "-c", FAST, str(RATE), "get", "--every", "1d", *server, *map(str, places)],
            env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self._proc = Path(f"/proc/{self._process.pid}")

    def poll(self) -> None:
        """Ask for the next poll."""
        self._process.send_signal(signal.SIGUSR1)

    def settled(self) -> tuple[int, int]:
        """Return the octets in memory, and the open descriptors, between two polls."""
        time.sleep(SETTLED)
        pages = (self._proc / "statm").read_text().split()[1]
        return int(pages) * resource.getpagesize(), len(os.listdir(self._proc / "fd"))

    @property
    def cpu(self) -> float:
        """Seconds of CPU."""
        user, system = (self._proc / "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS

    def end(self) -> int:
        """End it in order; return its status."""
        self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._process.kill()


def main() -> int:
    """Measure, print the figures, and return 1 if one misses its bound."""
    parser = argparse.ArgumentParser(prog="make polls", description=__doc__)
    parser.add_argument("--polls", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    if shutil.which("mpop") is None or not Path("/proc/self/statm").exists():
        print("bench: mpop is not installed, or there is no /proc", file=sys.stderr)
        return 1
    authority, polled = trustme.CA(), Polled()
    # In memory if possible: no poll shall wait for a disk.
    with TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        folder = Path(name)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        context = server_context(authority)
        with ScriptedServer(polled, tls="implicit", context=context) as server:
            address = Address(server.port, "alice", PASSWORD, folder / "ca.pem")
            return _measure(folder, address, polled, server, options.polls)


def _measure(folder: Path, address: Address, polled: Polled, server: ScriptedServer, polls: int) -> int:
    process = Process(folder, address)
    figures: dict[str, tuple[float, float, str]] = {}
    try:
        polled.wait()
        _poll(process, polled, server, WARM - 1)
        memory, descriptors = process.settled()
        _poll(process, polled, server, polls - WARM)
        polled.changes = False
        then = process.settled()
        figures["growth of memory"] = ((then[0] - memory) / 2**20, MOST_GROWTH / 2**20, "MiB")
        figures["more descriptors"] = (then[1] - descriptors, 0, "")
        print(f"memory {memory / 2**20:.1f} MiB after {WARM} polls")
        print(f"{polled.resumed} of {polled.sessions} TLS sessions resumed")
        delivered = len(os.listdir(folder / "mail/new"))
        if delivered < polls // CHANGED:
            raise RunFailed(f"{delivered} messages delivered in {polls} polls")
        _poll(process, polled, server, 2)
        before = process.cpu
        _poll(process, polled, server, IDLE)
        idle = (process.cpu - before) / IDLE * 1000
    finally:
        status = process.end()
    if status:
        raise RunFailed(f"status {status} after SIGTERM")
    figures["CPU of an idle poll"] = (idle, _cpu_of_mpop(folder, address) * 1000, "ms")
    for name, (value, bound, unit) in figures.items():
        word = "MISSED" if value > bound else "ok"
        print(f"{word}  {name}: {value:.2f} {unit} (at most {bound:.2f})")
    return int(any(value > bound for value, bound, _ in figures.values()))


def _poll(process: Process, polled: Polled, server: ScriptedServer, times: int) -> None:
    for _ in range(times):
        process.poll()
        polled.wait()
        del server.talks[:-10]  # a week of them would fill the memory of this process


def _cpu_of_mpop(folder: Path, address: Address) -> float:
    """Return the seconds of CPU that an mpop takes for an idle poll."""
    home = folder / "mpop"
    home.mkdir()
    errand = Errand([address], home)
    for part in ("tmp", "new", "cur"):
        (errand.maildir(address) / part).mkdir(parents=True)
    [command] = mpop_get(errand)
    environment: Mapping[str, str] = {"PATH": os.environ["PATH"], "HOME": str(home), **command.env}

    def mpop() -> None:
        subprocess.run(command.argv, env=environment, check=True, stdout=subprocess.DEVNULL)

    mpop()  # which fetches what is new
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(IDLE // 10):
        mpop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / (IDLE // 10)


if __name__ == "__main__":
    sys.exit(main())
