"""`pop3fetch login`."""

from __future__ import annotations

import click

from pop3fetch.cli.options import Command, Invocation, complete_name, server_options

EXAMPLES = """\
pop3fetch login alice@example.org    set up an account
pop3fetch login -a work              store the password of an account"""


@click.command("login", cls=Command, epilog=EXAMPLES)
@click.argument("address", required=False, metavar="[ADDRESS|@NAME]", shell_complete=complete_name)
@click.option(
    "--store",
    type=click.Choice(("keyring", "file", "none")),
    metavar="WHERE",
    help="Where to store the password: keyring, file (mode 0600) or none (default: the keyring; without "
    "one, it asks).",
)
@server_options
def command(invocation: Invocation, address: str | None, store: str | None) -> int:
    """Try the account's password on the server, and store it if it works.

    With ADDRESS, such as alice@example.org, find its server. If the login works, write the account
    into the configuration file. With @NAME, log in to that destination of the file.

    The password is asked for on the terminal, unless the environment, a password command or
    ~/.netrc has it. For an account with OAuth 2, the page of the login is shown instead.
    """
    from pop3fetch.cli.actions.login import log_in

    if address is not None and address.startswith("@"):
        from pop3fetch.cli.actions.login_destination import log_in_to_destination

        return log_in_to_destination(invocation, address[1:], store)
    if address is not None:
        from pop3fetch.cli.actions.login_setup import log_in_first

        return log_in_first(invocation, address, store)
    return invocation.one_by_one().for_each_account(
        lambda account, console: log_in(invocation, account, console, store)
    )
