"""A sample of what `make crash` does in full."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.crash.contradictions import CONTRADICTIONS, contradicted
from tests.crash.disks import during, during_settling
from tests.crash.far_ends import FAR_ENDS, FarEnd, FarMisfortune, far_octets, far_replies, far_steps
from tests.crash.misfortunes import Misfortune, at_calls, at_moments, at_octets, at_steps, with_rivals
from tests.crash.strace import missing
from tests.crash.trial import SCENARIOS, SHORT_SESSIONS, TWO_NAMES, Scenario
from tests.support.launcher import Launcher

# So many of each scenario, at random:
CALLS = 1  # what can happen at calls of the system
STEPS = 1
OCTETS = 3
SILENCES = 1
MOMENTS = 1
WHOLE = 1  # contradictions after a whole run
DOUBTS = 1  # contradictions after any run
DISKS = 1
SETTLINGS = 1
RIVALS = 1
FAR = 1  # of each kind, while messages go to a mail server
MANY = 12  # times as much, if all tests run

# Of scenarios that are alike, make test has these:
FEW = {
    "mbox, keep", "maildir, delete after half", "mbox, delete after half", "maildir, delete after days",
    "maildir, known server", "mbox and a symbolic link", "mbox and a hard link", "three messages, delete",
    "three messages, known server", "lmtp, pipelined", "lmtp, large messages", "imap, LITERAL+",
    "imap, no UIDPLUS",
}  # fmt: skip


def each(name: str, values: Sequence[Scenario | FarEnd]) -> pytest.MarkDecorator:
    """Take each of the scenarios or far ends in turn, and only some of them in make test."""
    few = [value if str(value) in FEW else pytest.param(value, marks=pytest.mark.slow) for value in values]
    return pytest.mark.parametrize(name, few, ids=str)


needs_strace = pytest.mark.skipif(missing() is not None, reason=missing() or "")
each_scenario = each("scenario", SCENARIOS)
each_of_all = each("scenario", [*SCENARIOS, *TWO_NAMES])
each_short_session = each("scenario", SHORT_SESSIONS)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("launcher")) as launcher:
        yield launcher


@pytest.fixture
def rival(tmp_path: Path) -> Iterator[Launcher]:
    with Launcher(tmp_path) as launcher:
        yield launcher


@pytest.fixture(params=[1, pytest.param(MANY, marks=pytest.mark.slow)], ids=["a few", "many"])
def times(request: pytest.FixtureRequest) -> int:
    """Return how many times the sample is taken."""
    count: int = request.param
    return count


def try_out(launcher: Launcher, sample: Sequence[Misfortune | FarMisfortune]) -> None:
    for misfortune in sample:
        with TemporaryDirectory() as folder:
            verdict = misfortune.try_out(launcher, Path(folder))
        assert verdict, f"{misfortune}: {verdict}"


@needs_strace
@each_of_all
def test_whatever_call_of_the_system_fails_or_is_the_last_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, random.sample(at_calls(launcher, scenario), CALLS * times))


@each_of_all
def test_whatever_step_is_the_last_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, random.sample(at_steps(launcher, scenario), STEPS * times))


@each_scenario
def test_whatever_contradicts_the_record_after_a_crash_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    everything = contradicted(launcher, scenario)
    after_whole_runs = everything[-len(CONTRADICTIONS) :]
    sample = random.sample(after_whole_runs, min(WHOLE * times, len(after_whole_runs)))
    try_out(launcher, [*sample, *random.sample(everything, DOUBTS * times)])


@each_scenario
def test_whatever_happens_to_the_disk_during_a_run_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, random.sample(during(launcher, scenario), DISKS * times))
    try_out(launcher, during_settling(launcher, scenario, SETTLINGS * times))


@each_short_session
def test_after_whatever_octet_the_line_is_cut_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, random.sample(at_octets(launcher, scenario), OCTETS * times))


@each_short_session
def test_after_whatever_octet_the_server_is_silent_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, random.sample(at_octets(launcher, scenario, silent=True), SILENCES * times))


@each_of_all
def test_an_interrupt_ends_a_run_promptly_and_each_message_comes_once(
    launcher: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, at_moments(scenario, MOMENTS * times))


@pytest.mark.parametrize("scenario", [SCENARIOS[0], SCENARIOS[5]], ids=str)
def test_of_two_runs_at_once_on_a_new_record_one_does_the_work(
    launcher: Launcher, rival: Launcher, scenario: Scenario, times: int
) -> None:
    try_out(launcher, with_rivals(rival, scenario, RIVALS * times))


@each("far_end", FAR_ENDS)
def test_whatever_happens_on_the_way_to_a_mail_server_each_message_arrives(
    launcher: Launcher, far_end: FarEnd, times: int
) -> None:
    for everything in (far_steps(launcher, far_end), far_octets(launcher, far_end), far_replies(far_end)):
        try_out(launcher, random.sample(everything, FAR * times))
    try_out(launcher, random.sample(far_octets(launcher, far_end, silent=True), times))
