"""How `check` shows what it finds: a line per step as it comes, or a JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from pop3fetch.cli.screen.advice import error_line
from pop3fetch.cli.screen.console import Console, with_notes
from pop3fetch.cli.screen.objects import step_object
from pop3fetch.cli.screen.wrapping import wrapped
from pop3fetch.errors import POP3Error
from pop3fetch.printable import printable
from pop3fetch.status import Status
from pop3fetch.step_results import StepResult, Verdict

VERDICT, STEP = len("warning"), len("other programs")
INDENT = VERDICT + STEP + 4
NARROW = 2 * INDENT  # columns; on fewer, the text continues below its step
COLORS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.ERROR: "red"}


def failure(step: str, error: POP3Error) -> StepResult:
    """Return the result of a step that an error has ended."""
    return StepResult(step, with_notes(error_line(error), error), Verdict.ERROR, error.exit_status)


class CheckReport:
    """The results of one account; those of several accounts appear account by account on a terminal."""

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

    def show(self, results: Iterable[StepResult]) -> int:
        """Show results as they come; return the exit status, the highest of all errors."""
        status = Status.OK
        for result in results:
            status = max(status, result.status)
            if self._as_json:
                self._console.json(step_object(result))
            elif not self._console.shows_tables:
                self._console.row(result.verdict.value, result.step, result.text)
            elif self._console.account:
                self._lines += self._lines_of(result)
            else:
                self._console.print_lines(self._console.out, self._lines_of(result))
        return status

    def _lines_of(self, result: StepResult) -> Iterator[str]:
        """Yield the lines of a result on a terminal, wrapped at words."""
        from rich.color import ColorSystem
        from rich.style import Style

        width, rich = self._console.width(self._console.out), self._console.rich(self._console.out)
        verdict = result.verdict.value
        line = f"{verdict:{VERDICT}}  {result.step:{STEP}}  {printable(result.text, None)}"
        lines = wrapped(line, width, " " * (INDENT if width >= NARROW else VERDICT + 2)).split("\n")
        if rich.color_system and not rich.no_color:
            style = Style(color=COLORS[result.verdict], bold=result.verdict is not Verdict.OK)
            lines[0] = style.render(verdict, color_system=ColorSystem.STANDARD) + lines[0][len(verdict) :]
        yield from lines
