"""The jobs that still run another program are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.importing.foreign import Origin
from pop3fetch.importing.jobs import LIMIT, crontab, jobs

CRONTAB = """\
# getmail is not there any more
*/5 * * * * /usr/bin/getmail -q
@daily getmails
@daily mygetmail --getmail-like; getmail-tool; x.getmail
"""

Install = Callable[[str], dict[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Put a ``crontab`` into a folder, and return an environment that has it in its path."""

    def put(script: str) -> dict[str, str]:
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin/crontab"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        return {"PATH": f"{tmp_path}/bin:/bin:/usr/bin"}

    return put


def test_lines_of_the_crontab_are_found(tmp_path: Path, install: Install) -> None:
    (tmp_path / "tab").write_text(CRONTAB)
    environment = install(f'test "$*" = -l && cat {tmp_path}/tab')
    found = jobs("getmail", tmp_path / "units", environment)
    assert [finding.origin for finding in found] == [Origin("crontab", 2), Origin("crontab", 3)]
    assert not any(finding.affects for finding in found)


def test_units_are_found(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    for name, text in {
        "a.service": "[Unit]\nDescription=fdm\n[Service]\nExecStart=/usr/bin/fdm fetch\n",
        "b.service": "[Unit]\nDescription=fdm\n[Service]\nExecStart=/bin/true\n",
        "c.timer": "ExecStart=fdm",
    }.items():
        (units / name).write_text(text)
    assert [finding.origin for finding in jobs("fdm", units, {"PATH": ""})] == [Origin(f"{units}/a.service")]


def test_units_of_the_system_are_found_if_they_are_enabled(tmp_path: Path) -> None:
    system, units = tmp_path / "system", tmp_path / "user"
    for folder in (system, units / "default.target.wants"):
        folder.mkdir(parents=True)
    for file in (system / "fdm.service", system / "other.service", units / "own.service"):
        file.write_text("[Service]\nExecStart=/usr/bin/fdm fetch\n")
    for unit in (system / "fdm.service", units / "own.service", tmp_path / "missing.service"):
        (units / "default.target.wants" / unit.name).symlink_to(unit)
    (units / "itself.service").symlink_to(units / "itself.service")
    os.mkfifo(units / "pipe.service")
    found = [finding.origin.file for finding in jobs("fdm", units, {"PATH": ""})]
    assert found == [f"{units}/default.target.wants/fdm.service", f"{units}/own.service"]


@pytest.mark.parametrize("script", ["exit 1", "echo no crontab >&2; exit 1"])
def test_there_may_be_no_crontab(install: Install, script: str) -> None:
    assert crontab(install(script)) == b""


def test_there_may_be_no_cron() -> None:
    assert crontab({"PATH": "/nowhere"}) == b""
    assert LIMIT < 10
