"""`make crash`: let everything happen that may, and say in figures what it came to."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.crash.contradictions import contradicted
from tests.crash.misfortunes import Misfortune, at_calls, at_moments, at_octets, at_steps, with_rivals
from tests.crash.strace import missing
from tests.crash.trial import SCENARIOS, SHORT_SESSIONS, Scenario, Verdict
from tests.support.launcher import Launcher

MOMENTS = 100  # interrupts of each scenario
RIVALS = 50  # second runs of each scenario
DOUBT_STRIDE = 3  # steps from one death to the next before something contradicts the record
SILENCE_STRIDE = 10  # octets from one silence to the next: each takes as long as its time-out
SHOWN = 20  # verdicts that are not as they should be

Result = tuple[Misfortune, Verdict]


class Campaign:
    """Misfortunes, tried out side by side."""

    def __init__(self, stack: ExitStack, width: int) -> None:
        self._threads = stack.enter_context(ThreadPoolExecutor(width))
        self._launchers: SimpleQueue[Launcher] = SimpleQueue()
        for _ in range(width):
            self._launchers.put(_launcher(stack))
        self._rival = _launcher(stack)

    def results(self) -> Iterator[Result]:
        """Try everything out, and yield what came of it."""
        everything: list[Misfortune] = []
        for scenario in SCENARIOS:
            everything += self._all_of_a(scenario)
        for session in SHORT_SESSIONS:
            everything += self._all_of_a_short(session)
        yield from self._threads.map(self._try_out, everything)
        for scenario in SCENARIOS:  # one by one, for there is one rival
            yield from map(self._try_out, with_rivals(self._rival, scenario, RIVALS))

    def _all_of_a(self, scenario: Scenario) -> list[Misfortune]:
        calls = [] if missing() else at_calls(self._rival, scenario)
        doubts = contradicted(self._rival, scenario, DOUBT_STRIDE)
        return [*calls, *at_steps(self._rival, scenario), *at_moments(scenario, MOMENTS), *doubts]

    def _all_of_a_short(self, session: Scenario) -> list[Misfortune]:
        silences = at_octets(self._rival, session, silent=True)
        return [*at_octets(self._rival, session), *silences[::SILENCE_STRIDE]]

    def _try_out(self, misfortune: Misfortune) -> Result:
        launcher = self._launchers.get()
        try:
            with TemporaryDirectory() as folder:
                return misfortune, misfortune.try_out(launcher, Path(folder))
        finally:
            self._launchers.put(launcher)


def _launcher(stack: ExitStack) -> Launcher:
    return stack.enter_context(Launcher(Path(stack.enter_context(TemporaryDirectory()))))


def main() -> int:
    """Run the whole campaign; return the exit status."""
    if reason := missing():
        print(f"no call of the system is disturbed: {reason}", file=sys.stderr)
    start = time.monotonic()
    with ExitStack() as stack:
        results = list(Campaign(stack, os.cpu_count() or 1).results())
    summarize(results, time.monotonic() - start)
    wrong = [result for result in results if not result[1]]
    for misfortune, verdict in wrong[:SHOWN]:
        print(f"{misfortune}: {verdict}")
    return 1 if wrong else 0


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
