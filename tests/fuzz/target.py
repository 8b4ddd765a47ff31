"""A target for atheris (libFuzzer): ``python -m tests.fuzz.target [SECONDS]``.

The first octets of an input define how the others are cut into pieces. Findings are written to the
folder that this is started in.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pop3fetch.pop3"]):
    from tests.fuzz import core

CORPUS = Path(__file__).parent / "corpus"
MEMORY = 512  # MiB of the whole process; libFuzzer's own tables are most of it


def one_input(octets: bytes) -> None:
    """Check one input; whatever is raised is a finding."""
    sizes, session = octets[:3], octets[3:]
    core.check(session, list(sizes))


def main(seconds: int) -> None:
    """Fuzz for so long, from the corpus on; new inputs are kept only while it runs."""
    with tempfile.TemporaryDirectory() as found:
        arguments = [
            sys.argv[0], found, str(CORPUS), f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}",
            "-timeout=5", "-max_len=20000", "-print_final_stats=1",
        ]  # fmt: skip
        atheris.Setup(arguments, one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
