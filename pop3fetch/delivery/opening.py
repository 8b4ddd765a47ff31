"""From the name of a destination to the destination: it is read, and then opened.

Names are ``maildir:DIR``, a bare directory, ``mbox:FILE``, ``-``, ``mbox:-``, and the URL of a mail server; a
program has none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.delivery.kinds import PATHS, SCHEMES, STREAM_NAMES, Kind
from pop3fetch.durable import from_home
from pop3fetch.errors import UsageError
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.delivery.destination import Destination
    from pop3fetch.delivery.servers.address import ServerAddress
    from pop3fetch.delivery.servers.server import MailServer

_KIND = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)


class Choice(NamedTuple):
    """A kind of destination.

    ``path``, absolute, of a maildir or an mbox; ``command``: the words of a program, at least one;
    ``address`` of a mail server.
    """

    kind: Kind
    path: Path = Path()
    command: tuple[str, ...] = ()
    address: ServerAddress | None = None

    def __str__(self) -> str:
        """The destination as one text; ``exec:`` begins that of a program."""
        if self.kind is Kind.PROGRAM:
            import shlex

            return f"exec:{shlex.join(self.command)}"
        return self.name

    @property
    def name(self) -> str:
        """The destination as --output names it; ``exec:`` begins that of a program."""
        if self.kind is Kind.PROGRAM:
            return f"exec:{self.command[0]}"
        if self.address is not None:
            return str(self.address)
        return STREAM_NAMES.get(self.kind) or f"{self.kind.value}:{self.path}"

    @property
    def is_stream(self) -> bool:
        """Whether it is standard output, which keeps nothing."""
        return self.kind in STREAM_NAMES


class DeliveryContext(NamedTuple):
    """What a destination needs besides its name.

    Drafts are made with ``tag``, the mark of one record, and those of an mbox in ``spool_folder``.
    ``output`` is the descriptor of standard output; if it ``is_terminal``, control characters are made
    harmless; if it ``awaits_reader``, what the reader of a pipe has not read is not delivered.
    ``environment``, ``account``, ``report`` and ``limit`` are a program's: see
    :class:`~pop3fetch.delivery.program.Program`. ``mail_server`` returns how to use a mail server.
    """

    tag: str
    spool_folder: Path
    output: int
    is_terminal: bool
    awaits_reader: bool
    environment: Mapping[str, str]
    account: str
    report: Callable[[str], None]
    limit: float
    mail_server: Callable[[ServerAddress], MailServer] | None = None


def parse(destination: str, *, is_configured: bool = False) -> Choice:
    """Read the name of a destination; raises UsageError.

    ``is_configured``: it is from the configuration file, where a relative path begins at the home folder.
    """
    for stream, name in STREAM_NAMES.items():
        if destination == name:
            return Choice(stream)
    match = _KIND.fullmatch(destination)
    kind, path = match.groups() if match else ("maildir", destination)
    if path.startswith("//") and kind in SCHEMES:
        from pop3fetch.delivery.servers import address

        return Choice(Kind.SERVER, address=address.parse(destination))
    named = ", ".join(f"{each.value}:{path_of}" for each, path_of in PATHS.items())
    if kind not in {each.value for each in PATHS}:
        # A slip must not become a folder of that name; to mean one, write ./ before it.
        wanted = f"{named}, - or the URL of a mail server"
        raise UsageError(f"unknown destination type '{kind}:'; write {wanted}")
    if not match and path.endswith(".mbox"):
        raise UsageError(f"'{path}' could be a file or a folder; write mbox:{path} or maildir:{path}")
    if not match and path.startswith("|"):  # as in .forward and .fetchmailrc
        raise UsageError(
            f"'{path}' could be a program or a folder; a program is given as exec, not as output"
        )
    if not path or "\0" in path:
        raise UsageError(f"'{destination}' is not a destination; write {named} or -")
    try:
        absolute = os.path.abspath(Path(from_home(path) if is_configured else path).expanduser())
    except RuntimeError as error:  # from Path, if a home folder is not known
        raise UsageError(f"the home folder in '{destination}' is not known") from error
    return Choice(Kind(kind), Path(absolute))


def open_destination(choice: Choice, context: DeliveryContext) -> Destination:
    """Return the destination that was chosen; only its own modules are loaded."""
    # Without a default: a kind that is missing here has no value to return, and mypy tells.
    match choice.kind:
        case Kind.MAILDIR:
            from pop3fetch.delivery.maildir import Maildir

            return Maildir(choice.path, context.tag)
        case Kind.MBOX:
            from pop3fetch.delivery.mbox import Mbox

            return Mbox(choice.path, context.tag, context.spool_folder)
        case Kind.PROGRAM:
            from pop3fetch.delivery.program import Program

            return Program(
                choice.command,
                environment=context.environment,
                account=context.account,
                report=context.report,
                limit=context.limit,
            )
        case Kind.SERVER:
            assert choice.address and context.mail_server
            return open_server(context.mail_server(choice.address), context.tag, context.spool_folder)
        case Kind.OUTPUT | Kind.MBOX_OUTPUT:
            from pop3fetch.delivery.stream import Stream

            return Stream(
                context.output,
                mboxrd=choice.kind is Kind.MBOX_OUTPUT,
                harmless=context.is_terminal,
                awaits_reader=context.awaits_reader,
            )


def open_server(server: MailServer, tag: str, spool_folder: Path) -> Destination:
    """Return the destination at a mail server."""
    match server.address.protocol:
        case "IMAP":
            from pop3fetch.delivery.servers.mailbox import Mailbox

            return Mailbox(server, spool_folder)
        case "LMTP" | "SMTP":
            from pop3fetch.delivery.servers.transfer import Transfer

            return Transfer(server, tag, spool_folder)


class Openings:
    """The destinations that some runs have open, so that the owner of the runs can interrupt them."""

    def __init__(self) -> None:
        self._open: set[Destination] = set()

    @contextmanager
    def of_a_run(self) -> Iterator[Callable[[Destination], Destination]]:
        """Yield a function that notes and returns a destination; the end of the run forgets all."""
        opened: list[Destination] = []

        def keep(destination: Destination) -> Destination:
            opened.append(destination)
            self._open.add(destination)
            return destination

        try:
            yield keep
        finally:
            self._open.difference_update(opened)

    def some_are_left(self) -> bool:
        """Return whether there are runs that may have something to tidy up."""
        return bool(self._open)

    def interrupt(self) -> None:
        """Interrupt all of them; from any thread."""
        for destination in list(self._open):
            destination.interrupt()
