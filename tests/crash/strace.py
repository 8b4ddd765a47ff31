"""strace as it is used here: attached to a run, to log its calls of the system or to disturb one.

strace counts the calls of each thread on its own. So besides all calls of a kind, those about the
record's log, the folders and the mbox are counted by themselves: else the many calls with which
the session's thread begins would hide the few of the thread that delivers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.crash.trial import Trial
from tests.support.command import Ended

# No machine has all of the calls of a kind: strace passes over those with a ? that it does not know.
KINDS = {
    "openat": "openat",
    "mkdir": "?mkdir,?mkdirat",
    "write": "write",
    "pwrite64": "pwrite64",
    "ftruncate": "ftruncate",
    "fsync": "fsync,fdatasync",
    "link": "?link,?linkat",
    "rename": "?rename,?renameat,?renameat2",
    "unlink": "?unlink,?unlinkat",
    "sendto": "sendto",
}
PLACES = {"pwrite64": ("log", "target"), "fsync": ("log", "target", "tmp", "new"), "openat": ("tmp",)}
PATIENCE = 30.0  # seconds that strace may take to begin or to end

_CALL = re.compile(r"(\d+) +(\w+)\(")


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one kind, or those of them that are about one place."""

    kind: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.place})" if self.place else self.kind


ALL_CALLS = [*map(Calls, KINDS), *(Calls(kind, place) for kind, places in PLACES.items() for place in places)]


def missing() -> str | None:
    """Return why nothing can be traced here, or None if it can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    ended = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True)
    return None if ended.returncode == 0 else f"strace cannot trace here: {ended.stderr.decode().strip()}"


def disturbed(trial: Trial, calls: Calls, how: str) -> Ended:
    """Run the trial's command under ``how``, as strace's ``inject`` has it: ``signal=KILL:when=3``."""
    names = KINDS[calls.kind]
    place = ("-P", _path(trial, calls.place)) if calls.place else ()
    return _traced(trial, Path("/dev/null"), "-e", f"trace={names}", "-e", f"inject={names}:{how}", *place)


def logged(trial: Trial, log: Path, *kinds: str) -> list[str]:
    """Run the trial's command; return its calls of ``kinds``, a line each, with the paths of open files."""
    ended = _traced(trial, log, "-y", "-s", "4096", "-e", "trace=" + ",".join(KINDS[kind] for kind in kinds))
    assert ended.status == 0, ended
    return log.read_text("utf-8", "backslashreplace").splitlines()


def counted(trial: Trial, log: Path) -> dict[Calls, int]:
    """Run the trial's command and return how many of all kinds of calls one thread makes at most."""
    lines = logged(trial, log, *KINDS)
    return {calls: _most_of_one_thread(calls, trial, lines) for calls in ALL_CALLS}


def _most_of_one_thread(calls: Calls, trial: Trial, lines: list[str]) -> int:
    names = KINDS[calls.kind].replace("?", "").split(",")
    about = f"<{_path(trial, calls.place)}>" if calls.place else ""
    found = (call for call in map(_CALL.match, lines) if call and call[2] in names and about in call.string)
    return max(Counter(call[1] for call in found).values(), default=0)


def _traced(trial: Trial, log: Path, *options: str) -> Ended:
    tracers: list[subprocess.Popen[str]] = []
    words = ["strace", "-f", "-o", str(log), *options]

    def attach(process: int) -> None:
        tracer = subprocess.Popen(
            [*words, "-p", str(process)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        tracers.append(tracer)
        assert tracer.stderr
        line = tracer.stderr.readline()
        assert line.endswith("attached\n"), line

    ended = trial.get(trace=attach)
    for tracer in tracers:
        tracer.communicate(timeout=PATIENCE)
    return ended


def _path(trial: Trial, place: str) -> str:
    places = {
        "log": f"{trial.record}-wal",
        "target": str(trial.target),
        "tmp": str(trial.target / "tmp"),
        "new": str(trial.target / "new"),
    }
    return places[place]
