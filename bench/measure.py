"""Measures programs: wall time, CPU time and peak memory, each in a fresh environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
PATIENCE = 1800.0  # seconds for one run, so that a peer that hangs does not end the benchmark


class RunFailed(Exception):
    """A program failed, hung, or did not do what it should have done."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run; ``statuses`` are those that mean success."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    statuses: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run took: seconds of wall and of CPU (user and system), and octets of peak memory."""

    wall: float
    cpu: float
    peak: int


def run(commands: Sequence[Command], folder: Path) -> Usage:
    """Run ``commands`` at once with ``folder`` as their home, and return what they took together.

    Their output is left in ``stdout-0``, ``stderr-0``, ``stdout-1``... Raises RunFailed.
    """
    os.sync()  # what the program before left to be written is not this one's burden
    work = {"folder": str(folder), "commands": [_described(command, folder) for command in commands]}
    report = json.loads(_launch(json.dumps(work)))
    for number, (command, status) in enumerate(zip(commands, report["statuses"], strict=True)):
        if status not in command.statuses:
            raise RunFailed(f"status {status}: {_last_line(folder / f'stderr-{number}')}")
    return Usage(report["wall"], report["cpu"], report["peak"] * 1024)


def _described(command: Command, folder: Path) -> dict[str, object]:
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    return {"argv": command.argv, "env": {**surroundings, **command.env}}


def _launch(work: str) -> str:
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = launcher.communicate(work, PATIENCE)
    except BaseException as error:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise RunFailed(f"no end after {PATIENCE:.0f} seconds") from error
        raise
    if launcher.returncode:
        raise RunFailed("cannot be started")
    return output


def _last_line(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "said nothing"
