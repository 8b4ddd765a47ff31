"""``python -m bench.accounts``: many accounts of one server in one process, against ``parallel -j32 mpop``.

Each account is fetched from twice: first there are new messages, then none. What is measured in one turn is
compared with nothing else, as other work on the machine changes all figures alike.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import disk, mail
from bench.measure import Command, RunFailed, Usage, run
from bench.peers import POP3FETCH, Errand, Mailbox, mpop_get, pop3fetch_all
from bench.server import Server
from tests.support.dovecot import missing

AT_ONCE = "32"
OPTIONS = ("--jobs", AT_ONCE, "--jobs-per-host", AT_ONCE)
MOST_MEMORY = 150 << 20  # octets
MESSAGES, SIZE = 5, 4096


class Turn(NamedTuple):
    """What a program took for the new messages, and then for none."""

    new: Usage
    none: Usage


def ours(errand: Errand) -> Command:
    """Return `get -A` with so many jobs."""
    [command] = pop3fetch_all(*OPTIONS)(errand)
    return command


def mpops(errand: Errand) -> Command:
    """Return GNU parallel with an mpop for each account."""
    files = [command.argv[2] for command in mpop_get(errand)]
    return Command(("parallel", "-j", AT_ONCE, "mpop", "-q", "-C", ":::", *files))


class Measurement:
    """Turns of programs over the mailboxes of a server."""

    def __init__(self, folder: Path, mailboxes: Sequence[Mailbox]) -> None:
        self._folder = folder
        self._mailboxes = mailboxes

    def turn(self, command: Callable[[Errand], Command], accounts: int) -> Turn:
        """Fetch from so many accounts; raises RunFailed if a message is missing."""
        folder = self._folder / "turn"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        errand = Errand(self._mailboxes[:accounts], folder)
        for mailbox in errand.mailboxes:
            for part in ("tmp", "new", "cur"):
                (errand.maildir(mailbox) / part).mkdir(parents=True)
        asked = command(errand)
        used = Turn(run([asked], folder), run([asked], folder))
        delivered = len([*folder.glob("mail-*/new/*")])
        if delivered != accounts * MESSAGES:
            raise RunFailed(f"{delivered} messages delivered, not {accounts * MESSAGES}")
        return used


def main() -> int:
    """Measure, print the figures, and return 1 if one misses its bound."""
    parser = argparse.ArgumentParser(prog="make accounts", description=__doc__)
    parser.add_argument("--accounts", type=int, default=200, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    options = parser.parse_args()
    absent = [name for name in ("mpop", "parallel", POP3FETCH) if shutil.which(name) is None]
    if reason := missing() or (f"not installed: {', '.join(absent)}" if absent else None):
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder, home = disk.for_deliveries(), disk.for_the_server()
        stack.callback(shutil.rmtree, folder)
        stack.callback(shutil.rmtree, home)
        users = [f"user{number:03}" for number in range(options.accounts)]
        server = Server(home, users)
        stack.callback(server.stop)
        for user in users:
            server.deliver(user, mail.of_size(MESSAGES, SIZE))
        measurement = Measurement(folder, [server.mailbox(user) for user in users])
        measurement.turn(mpops, options.accounts)  # Dovecot makes its indexes
        rounds = [
            (
                measurement.turn(ours, options.accounts),
                measurement.turn(mpops, options.accounts),
                measurement.turn(ours, max(1, options.accounts // 10)),
            )
            for _ in range(options.rounds)
        ]
    return _report(rounds, options.accounts)


def _report(rounds: Sequence[tuple[Turn, Turn, Turn]], accounts: int) -> int:
    missed = False
    few = max(1, accounts // 10)

    def line(name: str, value: float, bound: float, unit: str) -> None:
        nonlocal missed
        missed |= value > bound
        print(f"{'MISSED' if value > bound else 'ok'}  {name}: {value:.2f} {unit} (at most {bound:.2f})")

    for word in Turn._fields:
        all_ours = [getattr(turns[0], word) for turns in rounds]
        all_mpops = [getattr(turns[1], word) for turns in rounds]
        few_ours = [getattr(turns[2], word) for turns in rounds]
        wall, theirs = (median(used.wall for used in each) for each in (all_ours, all_mpops))
        print(f"{accounts} accounts, {word} messages: {wall:.2f} s, parallel mpop {theirs:.2f} s")
        ratio = median(a.wall / b.wall for a, b in zip(all_ours, all_mpops, strict=True))
        line("wall time", ratio, 1.0, "of parallel mpop")
        line("memory", max(used.peak for used in all_ours) / 2**20, MOST_MEMORY / 2**20, "MiB")
        one = median(used.cpu for used in few_ours) / few * 1000
        line("CPU per account", median(used.cpu for used in all_ours) / accounts * 1000, one,
             f"ms, of {few} accounts {one:.2f} ms")  # fmt: skip
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
