"""`pop3fetch logout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import Command, Invocation, complete_name, server_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.screen.console import Console


EXAMPLES = """\
pop3fetch logout -a work    remove the password of one account
pop3fetch logout -A         remove those of all accounts"""


@click.command("logout", cls=Command, epilog=EXAMPLES)
@click.argument("destination", required=False, metavar="[@NAME]", shell_complete=complete_name)
@server_options
def command(invocation: Invocation, destination: str | None) -> int:
    """Remove the password that `login` has stored.

    With @NAME, remove that of a destination of the configuration file.
    """
    if destination is not None:
        from pop3fetch.cli.actions.login_destination import log_out_of_destination

        return log_out_of_destination(invocation, destination)

    from pop3fetch.account.oauth import flow as oauth
    from pop3fetch.cli.actions.login_store import PasswordStore
    from pop3fetch.cli.sessions import find_keyring

    find_keyring()

    def logout(account: Account, console: Console) -> int:
        if account.uses_oauth:
            result = f"{'is removed from' if oauth.forget(account) else 'was not in'} the keyring"
            console.remark(f"the refresh token of {account.title} {result}")
        else:
            console.remark(f"the password of {account.title} {PasswordStore(account, console).forget()}")
        return Status.OK

    return invocation.one_by_one().for_each_account(logout)
