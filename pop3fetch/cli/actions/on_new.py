"""`pop3fetch get --on-new`: a program that runs after new messages were delivered."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.objects import Object
from pop3fetch.printable import printable

LIMIT = 600.0  # seconds that the program may take
COMPLAINT = 500  # octets of standard error that are shown


def get_and_run(
    command: Sequence[str],
    get: Callable[[list[Object]], int],
    account: str,
    environment: Mapping[str, str],
    console: Console,
) -> int:
    """Do ``get``, then run ``command`` if it has delivered something; returns and raises what ``get`` does.

    After an error, too: the next run will not name these messages. Not after an interrupt.
    """
    messages: list[Object] = []
    try:
        status = get(messages)
    except Exception:
        if messages:
            run_on_new(command, messages, account, environment, console)
        raise
    if messages:
        run_on_new(command, messages, account, environment, console)
    return status


def run_on_new(
    command: Sequence[str],
    messages: Sequence[Mapping[str, object]],
    account: str,
    environment: Mapping[str, str],
    console: Console,
) -> None:
    """Run ``command`` with the JSON lines of ``messages`` as its input; a failure is only reported."""
    variables = {"POP3FETCH_ACCOUNT": account, "POP3FETCH_MESSAGES": str(len(messages))}
    try:
        # Files, not pipes: what the program leaves in the background may keep them open for days.
        with tempfile.TemporaryFile() as lines, tempfile.TemporaryFile() as complaint:
            lines.writelines(json.dumps(message).encode() + b"\n" for message in messages)
            lines.seek(0)
            ended = subprocess.run(  # noqa: S603  # the command is the user's own
                command,
                stdin=lines,
                env={**environment, **variables},
                stdout=subprocess.DEVNULL,
                stderr=complaint,
                timeout=LIMIT,
                check=False,
            )
            complaint.seek(0)
            said = complaint.read(COMPLAINT)
    except OSError as error:
        console.error(f"--on-new {command[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        console.error(f"--on-new {command[0]}: it did not end within {LIMIT:g} s")
    else:
        if ended.returncode:
            words = printable(said.strip().replace(b"\n", b" "))
            console.error(
                f"--on-new {command[0]}: exit status {ended.returncode}{': ' if words else ''}{words}"
            )
