"""What the tests rely on: the scripts that install other programs, and warnings in programs of tests."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import Run
from tests.support.file_modes import umask

PROJECT = Path(__file__).parent.parent
NEED, UNPACK = PROJECT / ".ci/need", PROJECT / ".ci/unpack"
REQUIRED = {"POP3FETCH_REQUIRE_ALL": "1"}
WHY = "echo too old >&2; false"

MAY_WARN = "cli/test_signals.py"  # its programs end in the middle of a finaliser

needs_debian = pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="this is not Debian")


class Programs:
    """Stand-ins for the programs of the system that a script calls; they come first in its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.add("id", "echo 1000")  # not root, so nothing is installed
        self.add("apt-get", "exit 100")

    def add(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, *words: str | Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Return the exit status of a script and what it wrote to standard error."""
        path = f"{self.folder}:{os.environ['PATH']}"
        ended = subprocess.run(words, env={"PATH": path, **(env or {})}, capture_output=True, text=True)
        assert ended.stdout == ""
        return ended.returncode, ended.stderr


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "bin")


# -- .ci/need --------------------------------------------------------------------------------------


def test_need_is_silent_about_what_is_installed(programs: Programs) -> None:
    assert programs.run(NEED, "true", "package", "no test", env=REQUIRED) == (0, "")


@pytest.mark.parametrize(("env", "status"), [({}, 0), (REQUIRED, 1)])
def test_need_reports_what_is_missing_and_why(programs: Programs, env: dict[str, str], status: int) -> None:
    ended = programs.run(NEED, WHY, "package", "no test of it", env=env)
    assert ended == (status, "missing: package (no test of it): too old\n")


# -- .ci/unpack ------------------------------------------------------------------------------------


@needs_debian
@pytest.mark.parametrize(("env", "status"), [({}, 0), (REQUIRED, 1)])
def test_unpack_reports_what_cannot_be_had(
    programs: Programs, tmp_path: Path, env: dict[str, str], status: int
) -> None:
    programs.add("apt-cache", "exit 100")
    ended, err = programs.run(UNPACK, tmp_path / "there", WHY, "no test of it", "server", "more", env=env)
    assert ended == status
    assert err.splitlines()[0] == "unpacking server"
    assert err.splitlines()[-1] == "missing: server (no test of it): too old"


@needs_debian
def test_unpack_adds_the_libraries_that_are_not_installed(programs: Programs, tmp_path: Path) -> None:
    depends = ["Depends: libhere1", "Depends: libnew1t64", "Depends: adduser", "Depends: <libvirtual>"]
    depends += ["Depends: libremoved2", "Recommends: libother3", "|Depends: libfirst4"]
    programs.add("apt-cache", "\n".join(f"echo '  {line}'" for line in depends))
    programs.add(
        "dpkg-query",
        """for name; do :; done
        case $name in
            libhere1) echo 'install ok installed' ;;
            libremoved2) echo 'deinstall ok config-files' ;;
            *) exit 1 ;;
        esac""",
    )
    programs.add("apt-get", f"echo \"$*\" >>'{tmp_path}/asked'")
    programs.run(UNPACK, tmp_path / "there", "false", "no test of it", "server", "more")
    assert (tmp_path / "asked").read_text() == "-qq download server more libnew1t64 libremoved2\n"


# -- programs of tests -----------------------------------------------------------------------------


def test_programs_of_tests_turn_warnings_into_errors() -> None:
    """A warning of a newer Python, such as about an escape sequence, would show up as wrong output."""
    lenient = [
        f"{path.relative_to(PROJECT)}:{node.lineno}"
        for path in PROJECT.glob("tests/**/*.py")
        if not path.match(MAY_WARN) and "sys.executable" in (source := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.List | ast.Tuple)
        if "sys.executable" in (words := [ast.unparse(word) for word in node.elts])
        if "'-c'" in words and words[1:3] != ["'-W'", "'error'"]
    ]
    assert lenient == []


# -- the prepared Python ---------------------------------------------------------------------------

# What a program finds; not what it imports.
FINDING = """\
import json, os, signal, sys
os.umask(umask := os.umask(0))
files = (sys.stdin, sys.stdout, sys.stderr)
found = {
    "arguments": sys.argv,
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "umask": umask,
    "input": sys.stdin.read(),
    "streams": [(file.encoding, file.errors, file.line_buffering, file.isatty()) for file in files],
    "first files": sorted(map(int, os.listdir("/dev/fd")))[:5],
    "signals": {number.name: str(signal.getsignal(number)) for number in signal.Signals},
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "leads its session": os.getsid(0) == os.getpid(),
    "parent": os.getppid(),
}
print(json.dumps(found), flush=True)
os._exit(7)
"""


@dataclass(frozen=True, slots=True)
class RunFinding(Run):
    """Runs another program, as if it were the command."""

    def command(self, *arguments: str | Path) -> list[str]:
        program = self.folder / "finding.py"
        program.write_text(FINDING)
        return [sys.executable, str(program), *map(str, arguments)]


def test_a_program_finds_in_the_prepared_python_what_it_finds_after_a_start(run: Run) -> None:
    prepared, started = RunFinding(run.home, run.folder, python=run.python), RunFinding(run.home, run.folder)
    with umask(0o027):
        ends = [
            each("a b", "\u00fc", env={"TZ": "CET-1", "NAME": "\udcff"}, stdin=b"in\xff")
            for each in (prepared, started)
        ]
    assert [(ended.status, ended.err) for ended in ends] == [(7, b"")] * 2
    found = [json.loads(ended.out) for ended in ends]
    parents = [each.pop("parent") for each in found]
    assert found[0] == found[1]
    assert parents[0] != parents[1] == os.getpid()


@pytest.mark.parametrize("variable", ["PYTHONPROFILEIMPORTTIME", "LC_ALL"])
def test_what_python_heeds_at_its_start_takes_one(run: Run, variable: str) -> None:
    ended = RunFinding(run.home, run.folder, python=run.python)(env={variable: "C"})
    assert json.loads(ended.out)["parent"] == os.getpid()
