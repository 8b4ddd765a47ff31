"""`make night`: a night of real processes for each outage, by a clock of their own.

make night ARGS="--only 'in use'"
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.night.night import OUTAGES, flaws, night, place_in
from tests.support.clock import Clock
from tests.support.command import Ended, Run


def main() -> int:
    """Simulate the nights; return 1 if a run was not silent or not reported when it should be."""
    parser = argparse.ArgumentParser(prog="make night")
    parser.add_argument("--only", choices=OUTAGES, action="append", help="only this outage")
    only = parser.parse_args().only or OUTAGES
    return max([_simulated(outage) for outage in only])


def _simulated(outage: str) -> int:
    begun, clock = time.monotonic(), Clock()
    with TemporaryDirectory() as name, place_in(Path(name)) as place:
        run = Run(Path(name), Path(name))
        environment = {**run.environment, "POP3FETCH_PASSWORD": "secret"}

        def get(*arguments: str) -> Ended:
            ended = subprocess.run(
                clock.command(arguments), env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                start_new_session=True,
            )  # fmt: skip
            return Ended(ended.returncode, ended.stdout, ended.stderr)

        seen = night(place, outage, get, clock)
        wrong = flaws(seen, place)
    seconds = time.monotonic() - begun
    print(f"{outage}: {len(seen)} runs in {seconds:.0f} s, {len(wrong)} flaws", flush=True)
    for _, ended in seen:
        sys.stdout.write(ended.err.decode())
    for flaw in wrong:
        print(f"FLAW {flaw}")
    return int(bool(wrong))


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    sys.exit(main())
