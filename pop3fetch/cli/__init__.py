"""The command line: ``commands`` has arguments and help, ``actions`` the work, ``screen`` what is shown."""

from __future__ import annotations

from typing import NoReturn

GARBAGE = 50_000  # objects; a search for cycles after every 700 costs a twentieth of a start
# Of Status, which a signal may precede.
INTERRUPTED = 130
TERMINATED = 143


def main() -> NoReturn:
    """Run the command line and end the process with its status."""
    import gc
    import os
    import sys

    if sys.getfilesystemencoding() != "utf-8":
        _begin_in_utf8()
    gc.set_threshold(GARBAGE)
    try:
        from pop3fetch.cli.main import run

        # Everything is closed and written. A regular end of the interpreter would cost a tenth of a short
        # run, and would wait for a keyring that hangs in a thread.
        os._exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # before our first line, or again at the last one
        os._exit(INTERRUPTED)
    except BaseException as end:
        if type(end).__name__ == "Terminated":  # whose module may not be loaded
            os._exit(TERMINATED)
        raise


def _begin_in_utf8() -> None:
    """Restart in Python's UTF-8 mode: names are UTF-8, whatever the locale.

    A terminal still gets only characters of its locale, see ``console``.
    """
    import os
    import sys

    if not sys.executable or sys.flags.utf8_mode:
        return
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    options = ["-X", "utf8", "-X", f"pop3fetch_terminal={encoding}"]
    os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606  # ourselves
