"""What `pop3fetch check` does: it examines each step of a run, and changes nothing.

Like every command that logs in, it remembers a refused login and the server's LOGIN-DELAY.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from pop3fetch.account.config_file import load
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.actions.check_cron import examine_cron
from pop3fetch.cli.actions.check_files import examine_destination, examine_record, login_at_destination
from pop3fetch.cli.actions.check_others import examine_others
from pop3fetch.cli.actions.check_server import ServerExamination
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.check import CheckReport, failure
from pop3fetch.cli.screen.console import Console
from pop3fetch.durable import short
from pop3fetch.errors import ConfigurationError
from pop3fetch.step_results import StepResult, warning

CONFIGURATION = "configuration"


class Check:
    """`check`, account by account."""

    def __init__(self, invocation: Invocation, *, as_json: bool) -> None:
        self._invocation = invocation
        self._as_json = as_json

    def run(self) -> int:
        """Examine the account that is meant, or all of them; return the exit status."""
        try:
            return self._invocation.for_each_account(self._examine, as_json=self._as_json)
        except ConfigurationError as error:  # there is no account to examine
            with CheckReport(self._invocation.console, as_json=self._as_json) as report:
                return report.show([failure(CONFIGURATION, error)])

    def _examine(self, account: Account, console: Console) -> int:
        with CheckReport(console, as_json=self._as_json) as report:
            return report.show(self._results(account, console))

    def _results(self, account: Account, console: Console) -> Iterator[StepResult]:
        yield _examine_configuration(account)
        folder = self._invocation.state_folder_to_read()
        with closing(ServerExamination(account, console, folder)) as server:
            yield from server.steps()
            if account.user is not None:
                yield examine_cron(account, login_at_destination(account), console)
            yield from server.limits()
        is_configured = "output" not in self._invocation.options
        yield from examine_destination(account, console, folder, is_configured=is_configured)
        try:
            yield examine_record(account, self._invocation.state_folder())
        except ConfigurationError as error:
            yield failure("record", error)
        yield examine_others(account)


def _examine_configuration(account: Account) -> StepResult:
    if account.source is None:
        return StepResult(CONFIGURATION, f"{account.title} is from the command line or the environment")
    if warnings := load(account.source).warnings():
        return warning(CONFIGURATION, "; ".join(warnings))
    return StepResult(CONFIGURATION, f"{account.name} in {short(account.source)}")
