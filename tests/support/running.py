"""The real command, begun and not awaited: for what happens to it on the way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import Run


@contextmanager
def begun(run: Run, *arguments: str | Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Begin a command; kill it at the end."""
    process = subprocess.Popen(
        run.command(*arguments),
        cwd=run.folder,
        env={**run.environment, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
        process.wait()


def read_and_leave(process: subprocess.Popen[bytes], octets: int) -> bytes:
    """Read so many octets of its output, and close the pipe."""
    assert process.stdout
    with process.stdout as out:
        return out.read(octets)


def last_words(process: subprocess.Popen[bytes]) -> bytes:
    """Return what it writes on standard error until its end."""
    assert process.stderr
    return process.stderr.read()
