"""How many drafts may be open at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
soft, hard, runs, most = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from pop3fetch.delivery.open_files import room_for_drafts
print(room_for_drafts(runs, most), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "runs", "expected"),
    [
        pytest.param(256, 4096, 1, (400, 4096), id="the limit is raised"),
        pytest.param(256, 20000, 8, (400, 8192), id="not further than it can be needed"),
        pytest.param(1024, 1024, 1, (400, 1024), id="what there is suffices for one"),
        pytest.param(1024, 1024, 8, (57, 1024), id="several share it"),
        pytest.param(128, 128, 1, (12, 128), id="little is left"),
        pytest.param(64, 64, 8, (1, 64), id="one at a time"),
        pytest.param(10000, 20000, 1, (400, 10000), id="what is enough is left alone"),
    ],
)
def test_drafts_are_as_many_as_files_may_be_open(
    soft: int, hard: int, runs: int, expected: tuple[int, int]
) -> None:
    arguments = map(str, (soft, hard, runs, 400))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *arguments], capture_output=True, check=True
    )
    assert tuple(map(int, ended.stdout.split())) == (*expected, hard)
