"""What `pop3fetch import` prints of its plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.registration import table_of
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.objects import import_finding, imported_account, table_without_secret
from pop3fetch.cli.screen.wrapping import wrapped
from pop3fetch.durable import short
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from pop3fetch.cli.actions.import_plan import Planned
    from pop3fetch.importing.foreign import Finding

INDENT = "  "


def report(
    console: Console,
    plans: Sequence[Planned],
    findings: Sequence[Finding],
    *,
    as_json: bool,
) -> None:
    """Print the accounts, and what was found on the way, each finding once."""
    names = {planned.foreign.name: planned.name for planned in plans}
    for planned in plans:
        if as_json:
            console.json(imported_account(planned))
        else:
            _print_wrapped(console, _title(planned))
            _print_wrapped(console, INDENT + "; ".join(_facts(planned)))
            for line in _new_table(planned):
                console.text(INDENT + line)
    unique = {(finding.origin, finding.text): finding for finding in findings}  # which accounts share
    for finding in sorted(unique.values(), key=lambda finding: not finding.affects):
        if as_json:
            console.json(import_finding(finding, names))
        else:
            line = f":{finding.origin.line}" if finding.origin.line else ""
            kind = "error" if finding.affects else "note"
            _print_wrapped(console, f"{short(Path(finding.origin.file))}{line}: {kind}: {finding.text}")


def _print_wrapped(console: Console, text: str) -> None:
    """Print a line for people; on a terminal it is wrapped at words, unlike a table that may be copied."""
    text = printable(text, None)
    shown = wrapped(text, console.width(console.out), 2 * INDENT) if console.shows_tables else text
    console.print_lines(console.out, shown.split("\n"))


def _title(planned: Planned) -> str:
    whose = planned.account.title if planned.account else "not valid"
    return f"{planned.name}: {whose}, from {short(Path(planned.foreign.origin.file))}"


def _new_table(planned: Planned) -> Sequence[str]:
    if planned.account is None or planned.is_known:
        return ()
    return table_of(planned.name, table_without_secret(planned.table)).strip().split("\n")


def _facts(planned: Planned) -> Iterable[str]:
    seen, count = planned.seen.messages if planned.seen else None, planned.counted
    if seen is None:
        yield "no list of fetched messages"
    else:
        last = max((at for _, at in seen if at is not None), default=None)
        when = f", the last at {datetime.fromtimestamp(last):%Y-%m-%d %H:%M}" if last is not None else ""
        left_out = "" if planned.adds or not seen else " (left out)"
        yield f"{len(seen)} fetched{when}{left_out}"
    if count is not None:
        yield f"{count.listed} on the server"
        yield f"{count.new} new"
        if count.due:
            yield f"{count.due} to be deleted by the next get"
        if planned.foreign.kept and count.matched:
            yield f"{count.matched} stay on the server"
    if planned.secret:
        yield "password into the keyring" if "password_file" not in planned.table else "password into a file"
