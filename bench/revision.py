"""An earlier revision of pop3fetch, in an environment of its own, to race against."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bench.peers import Program, pop3fetch_at

PROJECT = Path(__file__).parent.parent


def program_of(revision: str) -> Program:
    """Return the pop3fetch of a revision, built as a wheel if it was not yet; raises CalledProcessError."""
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    environment = Path(sys.prefix) / f"against-{commit[:12]}"
    executable = environment / "bin" / "pop3fetch"
    if not executable.exists():
        _build(commit, environment)
    return pop3fetch_at(str(executable), f"pop3fetch {commit[:7]}")


def _build(commit: str, environment: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        archive.write_bytes(_git("archive", commit))
        with tarfile.open(archive) as files:
            files.extractall(Path(folder) / "source", filter="data")
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", Path(folder) / "source"], check=True)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", PROJECT, *words], stdout=subprocess.PIPE, check=True).stdout
