"""`make crash`: let everything go wrong that can, and print the results in figures.

    make crash ARGS="--only disks --only 'mbox, delete' --sample 500"

``--only`` takes the name of a kind, a scenario or a single event, and may be given several times. Two names
of one sort choose either; names of two sorts choose what has both.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.crash.contradictions import CONTRADICTIONS, contradicted
from tests.crash.disks import MISHAPS, during, during_settling
from tests.crash.far_ends import FAR_ENDS, FarMisfortune, far_octets, far_replies, far_steps
from tests.crash.misfortunes import (
    Misfortune,
    Rival,
    at_calls,
    at_moments,
    at_octets,
    at_steps,
    with_rivals,
)
from tests.crash.strace import missing
from tests.crash.trial import SCENARIOS, SHORT_SESSIONS, TWO_NAMES, Scenario, Verdict
from tests.support.launcher import Launcher

MOMENTS = 100  # interrupts of each scenario
SETTLINGS = 200  # mishaps of each scenario during a run that follows a death
RIVALS = 50  # second runs of each scenario
DOUBT_STRIDE = 3  # steps from one death to the next before something contradicts the record
DISK_STRIDE = 3  # steps from one moment to the next at which something happens to the disk
SILENCE_STRIDE = 10  # octets from one silence to the next: each takes as long as its time-out
REPORTED = 500  # runs from one line about the progress to the next

KINDS = ("killed", "errors", "dead", "signals", "doubt", "disks", "line", "rivals", "far ends")
NAMES = [  # by which runs can be chosen, of each sort
    set(KINDS),
    {scenario.name for scenario in (*SCENARIOS, *SHORT_SESSIONS, *TWO_NAMES)}
    | {str(end) for end in FAR_ENDS},
    {*CONTRADICTIONS, *MISHAPS},
]

Result = tuple[Misfortune | FarMisfortune, Verdict]


class Campaign:
    """Misfortunes, tried out side by side."""

    def __init__(self, stack: ExitStack, width: int) -> None:
        self._threads = stack.enter_context(ThreadPoolExecutor(width))
        self._launchers: SimpleQueue[Launcher] = SimpleQueue()
        for _ in range(width):
            self._launchers.put(_launcher(stack))
        self._rival = _launcher(stack)

    def chosen(self, only: Collection[str], sample: int | None) -> list[Misfortune | FarMisfortune]:
        """Return what the names choose, or so many of it, at random."""
        everything = [one for one in self._everything() if is_chosen(one, only)]
        return everything if sample is None else random.sample(everything, min(sample, len(everything)))

    def results(self, misfortunes: Sequence[Misfortune | FarMisfortune]) -> Iterator[Result]:
        """Try them out and yield what came of each."""
        rivals = [one for one in misfortunes if isinstance(one, Rival)]
        others = [one for one in misfortunes if not isinstance(one, Rival)]
        yield from self._threads.map(self._try_out, others)
        yield from map(self._try_out, rivals)  # one by one, because there is one rival

    def _everything(self) -> Iterator[Misfortune | FarMisfortune]:
        for scenario in (*SCENARIOS, *TWO_NAMES):
            yield from self._all_of_a(scenario)
        for scenario in SCENARIOS:
            yield from contradicted(self._rival, scenario, DOUBT_STRIDE)
            yield from during(self._rival, scenario, DISK_STRIDE)
            yield from during_settling(self._rival, scenario, SETTLINGS)
            yield from with_rivals(self._rival, scenario, RIVALS)
        for session in SHORT_SESSIONS:
            yield from self._all_of_a_short(session)
        for far_end in FAR_ENDS:
            yield from far_steps(self._rival, far_end)
            yield from far_octets(self._rival, far_end)
            yield from far_octets(self._rival, far_end, silent=True)[::SILENCE_STRIDE]
            yield from far_replies(far_end)

    def _all_of_a(self, scenario: Scenario) -> list[Misfortune]:
        calls = [] if missing() else at_calls(self._rival, scenario)
        return [*calls, *at_steps(self._rival, scenario), *at_moments(scenario, MOMENTS)]

    def _all_of_a_short(self, session: Scenario) -> list[Misfortune]:
        silences = at_octets(self._rival, session, silent=True)
        return [*at_octets(self._rival, session), *silences[::SILENCE_STRIDE]]

    def _try_out(self, misfortune: Misfortune | FarMisfortune) -> Result:
        launcher = self._launchers.get()
        try:
            with TemporaryDirectory() as folder:
                return misfortune, misfortune.try_out(launcher, Path(folder))
        finally:
            self._launchers.put(launcher)


def _launcher(stack: ExitStack) -> Launcher:
    return stack.enter_context(Launcher(Path(stack.enter_context(TemporaryDirectory()))))


def is_chosen(misfortune: Misfortune | FarMisfortune, only: Collection[str]) -> bool:
    """Whether it has one of the names of each sort of which there are any."""
    wanted = [names & set(only) for names in NAMES]
    return all(misfortune.names & names for names in wanted if names)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make crash")
    names = sorted(set.union(*NAMES))
    parser.add_argument("--only", action="append", default=[], metavar="NAME", choices=names)
    parser.add_argument("--sample", type=int, metavar="N", help="so many runs, chosen at random")
    return parser.parse_args()


def main() -> int:
    """Run the campaign; return the exit status."""
    options = _options()
    if reason := missing():
        print(f"no call of the system is disturbed: {reason}", file=sys.stderr)
    start = time.monotonic()
    with ExitStack() as stack:
        campaign = Campaign(stack, os.cpu_count() or 1)
        misfortunes = campaign.chosen(options.only, options.sample)
        results: list[Result] = []
        with suppress(KeyboardInterrupt):  # the figures of what was done are worth having
            for misfortune, verdict in campaign.results(misfortunes):
                results.append((misfortune, verdict))
                if not verdict:
                    print(f"{misfortune}: {verdict}", flush=True)
                if len(results) % REPORTED == 0:
                    print(f"{len(results)} of {len(misfortunes)} runs done", file=sys.stderr, flush=True)
    summarize(results, time.monotonic() - start)
    return 0 if len(results) == len(misfortunes) and all(verdict for _, verdict in results) else 1


def summarize(results: list[Result], seconds: float) -> None:
    """Print the figures."""
    kinds = list(dict.fromkeys(misfortune.kind for misfortune, _ in results))
    runs = Counter((misfortune.scenario.name, misfortune.kind) for misfortune, _ in results)
    wrong: Counter[str] = Counter(misfortune.scenario.name for misfortune, verdict in results if not verdict)
    print(f"{'':28}", *(f"{kind:>8}" for kind in [*kinds, "wrong"]), sep="")
    for name in dict.fromkeys(name for name, _ in runs):
        print(f"{name:28}", *(f"{runs[name, kind]:8}" for kind in kinds), f"{wrong[name]:8}", sep="")
    lost, doubled, damaged = (
        sum(getattr(verdict, what) for _, verdict in results) for what in ("lost", "doubled", "damaged")
    )
    print(f"{len(results)} in {seconds:.0f} s: {lost} lost, {doubled} doubled, {damaged} damaged")


if __name__ == "__main__":
    sys.exit(main())
