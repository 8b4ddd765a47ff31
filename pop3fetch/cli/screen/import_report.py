"""What `pop3fetch import` prints of its plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.registration import table_of
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.objects import import_finding, imported_account, table_without_secret
from pop3fetch.durable import short

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
            for line in _lines(planned):
                console.text(line)
    unique = {(finding.origin, finding.text): finding for finding in findings}  # which accounts share
    for finding in sorted(unique.values(), key=lambda finding: not finding.affects):
        if as_json:
            console.json(import_finding(finding, names))
        else:
            line = f":{finding.origin.line}" if finding.origin.line else ""
            kind = "error" if finding.affects else "note"
            console.text(f"{short(Path(finding.origin.file))}{line}: {kind}: {finding.text}", wraps=True)


def _lines(planned: Planned) -> Iterable[str]:
    account = planned.account
    whose = account.title if account else "not valid"
    yield f"{planned.name}: {whose}, from {short(Path(planned.foreign.origin.file))}"
    yield INDENT + "; ".join(_facts(planned))
    if account and not planned.is_known:
        for line in table_of(planned.name, table_without_secret(planned.table)).strip().split("\n"):
            yield INDENT + line


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
