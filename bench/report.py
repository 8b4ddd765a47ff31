"""The report: a table per scenario, the goals, and the machine."""

from __future__ import annotations

import os
import platform
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import disk, markdown
from bench.contenders import Role
from bench.peers import PROGRAMS
from bench.rounds import Row
from bench.scenarios import RIVAL, Bound, Scenario

MIB = 1 << 20

LEGEND = """\
Wall and CPU seconds are medians; the peak of memory is the largest, of all processes of a run together, and
below 10 MiB it cannot be measured. P is the fastest peer that syncs the files it writes; peers that do not
are shown and not counted. A program that takes more than five seconds, and ten times as long as the fastest,
runs once. After each run, what was delivered is compared, octet for octet, with what the server got. All use
TLS and verify the certificate; the server keeps its mail in memory."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one scenario."""

    name: str
    scenario: Scenario
    rows: Sequence[Row]

    @property
    def rival(self) -> Row | None:
        """The fastest of the rivals."""
        rivals = [row for row in self.rows if row.contender.role is Role.RIVAL and row.complete]
        return min(rivals, key=lambda row: row.wall, default=None)

    @property
    def ours(self) -> Row | None:
        """Our own row, if we could run."""
        return next((row for row in self.rows if row.contender.role is Role.OURS and row.complete), None)

    @property
    def earlier(self) -> Row | None:
        """Our own row of another revision, if it took part."""
        return next((row for row in self.rows if row.contender.role is Role.EARLIER and row.complete), None)

    def row(self, name: str) -> Row | None:
        """Return the row of a contender, or of the fastest rival."""
        if name == RIVAL:
            return self.rival
        return next((row for row in self.rows if row.contender.name == name and row.complete), None)


def section(result: Result) -> str:
    """Return heading, table and verdicts of one scenario."""
    columns = ("program", "wall s:", "CPU s:", "peak MiB:", "wall / P:", "")
    table = markdown.table(columns, [_cells(row, result.rival) for row in result.rows])
    verdicts = markdown.bullets([*_progress(result), *(_verdict(b, result) for b in result.scenario.bounds)])
    return f"### {result.name}: {result.scenario.title}\n\n{table}\n\n{verdicts}\n"


def surroundings(folder: Path, rounds: int) -> str:
    """Describe machine, disk and versions."""
    memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    system = f"{platform.system()} {platform.release()}"
    present = [program for program in PROGRAMS if not program.missing()]
    return markdown.bullets(
        [
            f"{_processor()}, {os.cpu_count()} cores, {memory}; {system}",
            f"deliveries to {disk.filesystem(folder)}; rounds: {rounds}; load now: {os.getloadavg()[0]:.1f}",
            f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}",
            *(f"{program.name}: {program.version()}" for program in present),
        ]
    )


def document(results: Sequence[Result], facts: str) -> str:
    """Put the whole together."""
    columns = ("scenario", "pop3fetch s:", "P s:", "P is", "demanded", "ours:", "")
    summary = markdown.table(columns, [row for result in results for row in _summary(result)])
    return "\n".join(["# Benchmark\n", f"{facts}\n\n{LEGEND}\n\n{summary}\n", *map(section, results)])


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cells(row: Row, rival: Row | None) -> list[str]:
    if not row.complete:
        return [row.contender.name, "", "", "", "", row.failure or ""]
    ratio = f"{row.wall / rival.wall:.2f}" if rival else ""
    remarks = filter(None, ["P" if row is rival else "", row.contender.note])
    figures = [f"{row.wall:.3f}", f"{row.cpu:.3f}", f"{row.peak / MIB:.0f}", ratio]
    return [row.contender.name, *figures, "; ".join(remarks)]


def _summary(result: Result) -> list[list[str]]:
    ours, rival = result.ours, result.rival
    first = [
        result.name,
        f"{ours.wall:.3f}" if ours else "",
        f"{rival.wall:.3f}" if rival else "",
        rival.contender.name if rival else "",
    ]
    lines = [[*first, _demand(bound), *_outcome(bound, result)] for bound in result.scenario.bounds]
    return [lines[0], *(["", "", "", "", *line[4:]] for line in lines[1:])]


def _verdict(bound: Bound, result: Result) -> str:
    figure, judgement = _outcome(bound, result)
    return f"{_demand(bound)}: {', '.join(filter(None, [figure, judgement]))}"


def _progress(result: Result) -> list[str]:
    ours, earlier = result.ours, result.earlier
    if ours is None or earlier is None:
        return []
    cpu = f", CPU {ours.cpu / earlier.cpu:.2f} x" if earlier.cpu else ""
    return [f"against {earlier.contender.name}: wall {ours.wall / earlier.wall:.2f} x{cpu}"]


def _demand(bound: Bound) -> str:
    if bound.against is None:
        return f"at most {bound.at_most / MIB:.0f} MiB"
    return f"{'CPU ' if bound.cpu else ''}at most {bound.at_most} x {bound.against}"


def _outcome(bound: Bound, result: Result) -> tuple[str, str]:
    other = result.row(bound.against) if bound.against else result.ours
    if result.ours is None or other is None:
        return "", "not measured"
    if bound.against is None:
        value: float = result.ours.peak
    elif bound.cpu:
        value = result.ours.cpu / other.cpu
    else:
        value = result.ours.wall / other.wall
    shown = f"{value:.2f}" if bound.against else f"{value / MIB:.0f} MiB"
    return shown, "met" if value <= bound.at_most else "MISSED"
