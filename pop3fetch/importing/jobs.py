"""The jobs of the user that still run another program: lines of the crontab, and units of systemd.

They are named, and not changed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from shutil import which

from pop3fetch.account.secret import text_of
from pop3fetch.importing import files
from pop3fetch.importing.foreign import Finding, Origin

LIMIT = 5.0  # seconds that `crontab -l` may take


def jobs(program: str, units: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Return the jobs that run a ``program``; ``units`` is the folder of the user's units."""
    found = [Origin("crontab", line) for line in _lines(program, crontab(environment))]
    enabled = [*units.glob("*.wants/*.service"), *units.glob("*.service")]
    # One of the system is only a link there; that of a unit of the user is the unit once more.
    for file in sorted({os.path.realpath(unit): unit for unit in enabled}.values()):
        with suppress(OSError):  # a link to nothing, or a pipe
            lines = files.read(str(file)).octets.split(b"\n")
            commands = [line for line in lines if line.startswith(b"ExecStart")]
            if _lines(program, b"\n".join(commands)):
                found.append(Origin(str(file)))
    text = f"still runs {program}: remove it when pop3fetch has taken over"
    return [Finding(origin, text) for origin in found]


def crontab(environment: Mapping[str, str]) -> bytes:
    """Return the crontab of the user, which is empty if there is none."""
    command = which("crontab", path=environment.get("PATH"))
    if command is None:
        return b""
    try:
        return subprocess.run(  # noqa: S603
            [command, "-l"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(environment),
            timeout=LIMIT,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def _lines(program: str, octets: bytes) -> list[int]:
    """Return the numbers of the lines that name the program, comments left out."""
    word = re.compile(rf"(?<![\w.-]){re.escape(program)}s?(?![\w-])")  # getmails runs getmail
    lines = enumerate(text_of(octets).split("\n"), 1)
    return [number for number, line in lines if not line.lstrip().startswith("#") and word.search(line)]
