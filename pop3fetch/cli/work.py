"""Work on the account that is meant, or on all of them; the status is the worst one's."""

from __future__ import annotations

from collections.abc import Callable

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import Invocation
from pop3fetch.errors import ConfigurationError

Job = Callable[[Account, Console], int]


def for_each_account(invocation: Invocation, job: Job) -> int:
    """Do ``job`` for every account that is meant; return the exit status."""
    if invocation.many is None:
        return job(invocation.account(), invocation.console)
    from pop3fetch.cli.many import ManyAccounts

    configuration = invocation.configuration()
    if not configuration.names():
        raise ConfigurationError(str(configuration.path), "there are no accounts, [accounts.NAME]")
    invocation.refuse_to_share_secrets(configuration.servers())
    many = ManyAccounts(invocation.console, invocation.many, job)
    return many.run(invocation.accounts(configuration, many.fail))
