"""What is written in which order, as the kernel sees it: nothing is deleted before it is safe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.strace import logged, missing
from tests.crash.trial import MESSAGES, SCENARIOS, Trial
from tests.support.launcher import Launcher
from tests.support.sessions import NEVER

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

KINDS = ("openat", "write", "pwrite64", "fsync", "link", "rename", "sendto")
DELETING = {
    scenario.destination: scenario for scenario in SCENARIOS if scenario.delete and not scenario.before
}

_BEGUN = re.compile(r"(\d+) +(\w+)\((.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")
_TARGET = re.compile(r"\d+<([^>]*)>")


@dataclass(slots=True)
class Call:
    """A call of the system; ``begun`` and ``ended`` are its places in the log."""

    name: str
    words: str
    begun: int
    ended: int

    @property
    def file(self) -> str:
        """The path of the open file that it is about."""
        target = _TARGET.match(self.words)
        return target[1] if target else ""


class Log:
    """The calls of one run, over all its threads."""

    def __init__(self, lines: list[str]) -> None:
        self.calls: list[Call] = []
        unfinished: dict[tuple[str, str], Call] = {}
        for place, line in enumerate(lines):
            if begun := _BEGUN.match(line):
                call = Call(begun[2], begun[3], place, place)
                self.calls.append(call)
                if line.endswith("<unfinished ...>"):
                    unfinished[begun[1], begun[2]] = call
            elif resumed := _RESUMED.match(line):
                unfinished.pop((resumed[1], resumed[2])).ended = place

    def syncs(self, path: Path | str) -> list[Call]:
        return [call for call in self.calls if "sync" in call.name and call.file == str(path)]

    def syncs_in(self, folder: Path) -> list[Call]:
        return [call for call in self.calls if "sync" in call.name and Path(call.file).parent == folder]

    def named(self, *names: str) -> list[Call]:
        return [call for call in self.calls if call.name in names]

    def says(self, command: str) -> list[Call]:
        return [call for call in self.named("sendto") if f'"{command}' in call.words.replace("\\n", '\\n"')]


def follow(*steps: list[Call]) -> bool:
    """Return whether all calls of each step have ended before one of the next begins."""
    assert all(steps), "a step is missing"
    ends = [max(call.ended for call in step) for step in steps]
    beginnings = [min(call.begun for call in step) for step in steps]
    return all(end < beginning for end, beginning in zip(ends, beginnings[1:], strict=False))


def between(calls: list[Call], before: list[Call], after: list[Call]) -> list[Call]:
    """Return those of ``calls`` that begin when ``before`` is over and end before ``after`` begins."""
    start, end = max(call.ended for call in before), min(call.begun for call in after)
    return [call for call in calls if start < call.begun and call.ended < end]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    # In one batch, however long strace holds up the messages.
    with Launcher(tmp_path_factory.mktemp("launcher"), patience=NEVER) as launcher:
        yield launcher


@pytest.fixture
def maildir_run(launcher: Launcher, tmp_path: Path) -> Iterator[tuple[Log, Trial]]:
    with Trial(launcher, tmp_path, DELETING["maildir"]) as trial:
        yield Log(logged(trial, tmp_path / "log", *KINDS)), trial


@pytest.fixture
def mbox_run(launcher: Launcher, tmp_path: Path) -> Iterator[tuple[Log, Trial]]:
    with Trial(launcher, tmp_path, DELETING["mbox"]) as trial:
        yield Log(logged(trial, tmp_path / "log", *KINDS)), trial


def commits(log: Log, trial: Trial) -> list[Call]:
    return log.syncs(f"{trial.record}-wal")


def test_in_a_maildir_messages_are_synced_before_the_intent_and_renamed_after_it(
    maildir_run: tuple[Log, Trial],
) -> None:
    log, trial = maildir_run
    tmp = trial.target / "tmp"
    writes = [call for call in log.named("write") if Path(call.file).parent == tmp]
    drafts, renames = log.syncs_in(tmp), log.named("renameat", "renameat2")
    assert {call.file for call in drafts} == {call.file for call in writes}
    assert len(drafts) == len(renames) == len(MESSAGES)
    for draft in drafts:
        assert follow([call for call in writes if call.file == draft.file], [draft])
    intent = between(commits(log, trial), log.syncs(tmp), renames)
    assert follow(drafts, log.syncs(tmp), intent, renames)


def test_in_a_maildir_messages_are_done_and_their_folder_synced_before_they_are_deleted(
    maildir_run: tuple[Log, Trial],
) -> None:
    log, trial = maildir_run
    renames, folder = log.named("renameat", "renameat2"), log.syncs(trial.target / "new")
    done = between(commits(log, trial), folder, log.says("DELE"))
    assert follow(log.says("RETR"), renames, folder, done, log.says("DELE"))


def test_in_an_mbox_spools_are_synced_before_the_intent_and_appended_after_it(
    mbox_run: tuple[Log, Trial],
) -> None:
    log, trial = mbox_run
    spools = [call for call in log.syncs_in(trial.state) if "/draft-" in call.file]
    appended = [call for call in log.named("pwrite64") if call.file == str(trial.target)]
    names = between(log.syncs(trial.state), spools, appended)
    intent = between(commits(log, trial), names[:1], appended)
    assert len(spools) == len(MESSAGES)
    assert follow(spools, names[:1], intent[-1:], appended)


def test_an_mbox_is_synced_and_its_messages_are_done_before_they_are_deleted(
    mbox_run: tuple[Log, Trial],
) -> None:
    log, trial = mbox_run
    appended = [call for call in log.named("pwrite64") if call.file == str(trial.target)]
    synced = between(log.syncs(trial.target), appended, log.says("DELE"))
    done = between(commits(log, trial), synced, log.says("DELE"))
    assert follow(appended, synced, done, log.says("DELE"))


@pytest.mark.parametrize("run", ["maildir_run", "mbox_run"])
def test_the_record_has_its_names_on_the_disk_before_anything_relies_on_it(
    run: str, request: pytest.FixtureRequest
) -> None:
    log, trial = request.getfixturevalue(run)
    links = log.named("link", "linkat")  # linkat: Python 3.14
    placed = [call for call in links if '.sqlite"' in call.words and call.words.endswith(" = 0")]
    made = [call for call in log.named("openat") if "O_CREAT" in call.words and '.sqlite-wal"' in call.words]
    aside = [call for call in log.syncs_in(trial.state) if call.file.endswith(".aside")]
    first_commit = commits(log, trial)[:1]
    assert follow(
        aside, placed, between(log.syncs(trial.state), placed, log.says("CAPA"))[:1], log.says("CAPA")
    )
    assert between(log.syncs(trial.state), first_commit, log.says("DELE")), (
        "so that the log has its name, too"
    )
    assert follow(made, first_commit)


@pytest.mark.parametrize("run", ["maildir_run", "mbox_run"])
def test_quit_is_the_last_word(run: str, request: pytest.FixtureRequest) -> None:
    log, _ = request.getfixturevalue(run)
    assert log.named("sendto")[-1].words.count("QUIT\\r\\n") == 1
    assert log.says("QUIT") == log.named("sendto")[-1:]
    assert len(re.findall(r"DELE \d+\\r", log.says("DELE")[0].words)) == len(MESSAGES)


@pytest.mark.parametrize("run", ["maildir_run", "mbox_run"])
def test_uids_are_in_doubt_before_their_deletion_can_be_confirmed(
    run: str, request: pytest.FixtureRequest
) -> None:
    log, trial = request.getfixturevalue(run)
    last_two = [call for call in commits(log, trial) if call.ended < log.says("DELE")[0].begun][-2:]
    assert len(last_two) == 2, "done, and then in doubt"
    assert between(commits(log, trial), log.says("QUIT"), [Call("end", "", 1 << 30, 1 << 30)]), (
        "and forgotten"
    )
