"""``python -m bench``: run the scenarios and print the tables."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from bench import disk, report
from bench.peers import OURS, PEERS, PROGRAMS
from bench.revision import program_of
from bench.rounds import Track
from bench.scenarios import SCENARIOS, USERS, Stage
from bench.server import Server
from tests.support.dovecot import missing


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument(
        "--only", choices=SCENARIOS, action="append", metavar="NAME", help=", ".join(SCENARIOS)
    )
    parser.add_argument(
        "--against", metavar="REVISION", help="let pop3fetch of another revision take part as well"
    )
    parser.add_argument("--output", type=Path, default=Path("bench/results.md"), metavar="FILE.md")
    return parser.parse_args()


def main() -> int:
    """Run what is requested; return 1 if there is no server to run it against."""
    options = _options()
    if reason := missing():
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    if options.against:
        PROGRAMS.append(program_of(options.against))
    for program in (OURS, *PEERS):
        if reason := program.missing():
            print(f"bench: {program.name} does not take part: {reason}", file=sys.stderr)
    with ExitStack() as stack:
        folder, home = disk.for_deliveries(), disk.for_the_server()
        stack.callback(shutil.rmtree, folder)
        stack.callback(shutil.rmtree, home)
        server = Server(home, USERS)
        stack.callback(server.stop)
        _run(options, server, folder)
    return 0


def _run(options: argparse.Namespace, server: Server, folder: Path) -> None:
    stage, track = Stage(server, 10 if options.quick else 1), Track(server, folder)
    results = []
    for name in options.only or SCENARIOS:
        scenario = SCENARIOS[name](stage)
        print(f"{name}: {scenario.title}", file=sys.stderr)
        results.append(report.Result(name, scenario, track.run(scenario, options.rounds)))
        facts = report.surroundings(folder, options.rounds)
        options.output.write_text(
            report.document(results, facts), "utf-8"
        )  # an interrupted run leaves the rest
    print(options.output.read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
