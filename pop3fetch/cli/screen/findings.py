"""How `check` shows what it finds: a line per step as it comes, or a JSON object."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from pop3fetch.cli.screen.advice import told
from pop3fetch.cli.screen.console import Console, with_notes
from pop3fetch.cli.screen.objects import finding_object
from pop3fetch.errors import POP3Error
from pop3fetch.findings import Finding, Verdict
from pop3fetch.printable import printable
from pop3fetch.status import Status

VERDICT, STEP = len("warning"), len("other programs")
INDENT = VERDICT + STEP + 4
NARROW = 2 * INDENT  # columns; on fewer, the text continues below its step
COLORS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.ERROR: "red"}


def failure(step: str, error: POP3Error) -> Finding:
    """Return the finding of a step that an error has ended."""
    return Finding(step, with_notes(told(error), error), Verdict.ERROR, error.exit_status)


class FindingsReport:
    """The findings of one account; those of several accounts appear account by account on a terminal."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Show what was held back."""
        if self._lines:
            self._console.print_lines(self._console.out, [printable(self._console.account), *self._lines])

    def show(self, findings: Iterable[Finding]) -> int:
        """Show findings as they come; return the exit status, the highest of all errors."""
        status = Status.OK
        for finding in findings:
            status = max(status, finding.status)
            if self._as_json:
                self._console.json(finding_object(finding))
            elif not self._console.shows_tables:
                self._console.row(finding.verdict.value, finding.step, finding.text)
            elif self._console.account:
                self._lines += self._lines_of(finding)
            else:
                self._console.print_lines(self._console.out, self._lines_of(finding))
        return status

    def _lines_of(self, finding: Finding) -> Iterator[str]:
        """Yield the lines of a finding on a terminal, wrapped at words."""
        from rich.color import ColorSystem
        from rich.style import Style

        width, rich = self._console.width(self._console.out), self._console.rich(self._console.out)
        verdict = finding.verdict.value
        lines = textwrap.wrap(
            f"{verdict:{VERDICT}}  {finding.step:{STEP}}  {printable(finding.text, None)}",
            max(width, VERDICT + 1),
            subsequent_indent=" " * (INDENT if width >= NARROW else VERDICT + 2),
            drop_whitespace=True,
            break_on_hyphens=False,
        )
        if rich.color_system and not rich.no_color:
            style = Style(color=COLORS[finding.verdict], bold=finding.verdict is not Verdict.OK)
            lines[0] = style.render(verdict, color_system=ColorSystem.STANDARD) + lines[0][len(verdict) :]
        yield from lines
