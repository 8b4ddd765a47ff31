"""The command line: one module a command, and ``output`` for all that is printed."""

from __future__ import annotations


def main() -> None:
    """Run the command line and end the process with its status."""
    import sys

    from pop3fetch.cli.main import run

    sys.exit(run(sys.argv[1:]))
