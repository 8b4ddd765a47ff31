"""`pop3fetch import`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from pop3fetch.cli.options import (
    GENERAL_OPTIONS,
    JSON_OPTION,
    Command,
    FileName,
    Invocation,
    with_options,
)

PROGRAMS = ("mpop", "fetchmail", "getmail", "fdm")


class Pair(click.types.StringParamType):
    """Two names with ``=`` between them: the first one in it, or the last."""

    name = "pair"

    def __init__(self, part: Callable[[str, str], tuple[str, str, str]]) -> None:
        self._part = part

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return both names."""
        first, equals, second = self._part(str(value), "=")
        if not (first and equals and second):
            metavar = param.metavar if isinstance(param, click.Option) else "A=B"
            self.fail(f"{value!r} is not {metavar}", param, ctx)
        return first, second


EXAMPLES = """\
pop3fetch import fetchmail --dry-run        show what would be written
pop3fetch import getmail ~/.getmail/work    import one of several files"""


@click.command("import", cls=Command, epilog=EXAMPLES)
@click.argument("program", type=click.Choice(PROGRAMS))
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FileName())
@click.option("--only", multiple=True, metavar="NAME", help="Import this account only; may be repeated.")
@click.option(
    "--rename",
    type=Pair(str.rpartition),
    multiple=True,
    metavar="OLD=NEW",
    help="Give an account another name.",
)
@click.option(
    "--list", "lists", type=Pair(str.partition), multiple=True, metavar="ACCOUNT=FILE",
    help="Read the fetched messages of an account from FILE.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be written, without writing it.")
@click.option("--offline", is_flag=True, help="Do not ask the servers what is new.")
@click.option("--merge", is_flag=True, help="Add to the record of an account that has fetched already.")
@click.option("--force", is_flag=True, help="Write even if something cannot be carried over.")
@JSON_OPTION
@partial(with_options, options=GENERAL_OPTIONS)
def command(invocation: Invocation, program: str, files: tuple[str, ...], **options: Any) -> int:
    """Import accounts and lists of fetched messages from mpop, fetchmail, getmail6 or fdm.

    FILE is a configuration file of the program (default: its own). Nothing in it is run. Its accounts are
    written into the configuration file, and what it has fetched into the records, so that the next
    `pop3fetch get` fetches what it has not. What cannot be carried over is named.
    """
    from pop3fetch.cli.actions.import_ import Import, ImportOptions

    return Import(invocation, program, files, ImportOptions(**options)).run()
