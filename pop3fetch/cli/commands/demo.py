"""`pop3fetch demo`: the ordinary commands, against a built-in server."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from pop3fetch.cli.main import HELP, HELP_ALL
from pop3fetch.cli.options import Command
from pop3fetch.cli.screen.console import Console
from pop3fetch.status import Status

STEPS = (
    ("list", "-l"),
    ("get",),
    ("list", "--new"),
    ("rm", "--yes", "1", "3-5", "last"),
    ("list", "-l"),
)


EXAMPLES = """\
pop3fetch demo          see what a terminal shows
pop3fetch demo | cat    see what a script gets"""


@click.command("demo", cls=Command, epilog=EXAMPLES)
@HELP_ALL
@HELP
@click.pass_obj
def command(console: Console) -> int:
    """List, fetch and delete the mail of a small server inside this process.

    Nothing leaves the machine. The maildir is temporary.
    """
    from tempfile import TemporaryDirectory

    from pop3fetch.demo import DemoServer

    try:
        temporary = TemporaryDirectory(prefix="pop3fetch-demo-", ignore_cleanup_errors=True)
    except OSError:
        console.error("no temporary folder is writable; set TMPDIR to one that is")
        return Status.CANNOT_DELIVER
    with temporary as folder, DemoServer() as server:
        variables = {
            "POP3FETCH_ACCOUNT": f"pop3://{server.user}@{server.host}:{server.port}",
            "POP3FETCH_PASSWORD": server.password,
            "POP3FETCH_STATE_DIR": str(Path(folder) / "state"),
        }
        for name, value in variables.items():
            console.text(f"$ export {name}={shlex.quote(value)}")
        with _environment(variables):
            return _run_steps(console, Path(folder) / "Maildir")


def _run_steps(console: Console, maildir: Path) -> int:
    from pop3fetch.cli.main import run_command

    for step in STEPS:
        arguments = list(step)
        if step[0] == "get":
            arguments += ["-o", f"maildir:{maildir}"]
        console.text("")
        console.text("$ " + shlex.join(["pop3fetch", *arguments]))
        console.flush()
        status = run_command(arguments, console)
        console.flush()
        if status != Status.OK:
            return status
    return Status.OK


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while, without those of the user."""
    before = {name: value for name, value in os.environ.items() if name.startswith("POP3FETCH_")}
    for name in before:
        del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)
