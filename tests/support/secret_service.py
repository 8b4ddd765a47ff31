"""A real keyring for tests: GNOME's, as the Secret Service of a private D-Bus session.

Owns a bus, a daemon and a folder; touches nothing of the user's own session, and knows nothing of
pytest. No display is anywhere, on which a locked keyring could ask for its password.

    with SecretService(folder) as secrets:
        ...run something with secrets.environment...
        secrets.lock()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = {"dbus-daemon": "dbus", "gnome-keyring-daemon": "gnome-keyring"}
NAME = "org.freedesktop.secrets"
PATIENCE = 10.0  # seconds for a start, which takes a hundredth of one


def missing() -> str | None:
    """Return why there is no keyring here, or None if there is one."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: {package})"
    try:
        import jeepney  # noqa: F401 (keyring needs it for this backend)
    except ImportError:
        return "jeepney is not installed: keyring has no Secret Service here"
    return None


class SecretService:
    """A keyring that is unlocked; ``folder`` must be empty, and have a short name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bus = self._start(
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            "--print-address",
            f"--address=unix:dir={folder}",
        )
        self._address = self._first_line(self._bus).partition(",")[0]  # without the bus's own number
        self._daemon = self._start_daemon("--unlock")

    def __enter__(self) -> SecretService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self._daemon)
        self._end(self._bus)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program to the keyring."""
        return {"DBUS_SESSION_BUS_ADDRESS": self._address}

    def lock(self) -> None:
        """Start the keyring anew, without its password."""
        self._end(self._daemon)
        self._daemon = self._start_daemon()

    def unlock(self) -> None:
        """Start the keyring anew, with its password."""
        self._end(self._daemon)
        self._daemon = self._start_daemon("--unlock")

    def freeze(self) -> None:
        """Let it answer nothing from now on."""
        self._daemon.send_signal(signal.SIGSTOP)

    def _start_daemon(self, *options: str) -> subprocess.Popen[bytes]:
        daemon = self._start(
            "gnome-keyring-daemon",
            "--foreground",
            "--components=secrets",
            f"--control-directory={self._folder}",
            *options,
        )
        assert daemon.stdin
        daemon.stdin.write(b"opens the keyring")
        daemon.stdin.close()
        self._first_line(daemon)
        self._await_name()
        return daemon

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        home = {name: str(self._folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")}
        bus = {"DBUS_SESSION_BUS_ADDRESS": self._address} if words[0] != "dbus-daemon" else {}
        return subprocess.Popen(
            words,
            env={"PATH": os.environ["PATH"], **home, **bus},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # with all that a bus starts of itself
        )

    @staticmethod
    def _first_line(process: subprocess.Popen[bytes]) -> str:
        assert process.stdout
        line = process.stdout.readline().decode().strip()
        assert line, f"{process.args!r} ended with {process.wait(PATIENCE)}"
        return line

    def _await_name(self) -> None:
        """Wait until the bus knows the keyring: it would start another one otherwise."""
        from jeepney import MatchRule, message_bus
        from jeepney.io.blocking import Proxy, open_dbus_connection

        rule = MatchRule(type="signal", interface="org.freedesktop.DBus", member="NameOwnerChanged")
        rule.add_arg_condition(0, NAME)
        with open_dbus_connection(self._address) as connection, connection.filter(rule) as changes:
            bus: Any = Proxy(message_bus, connection, timeout=PATIENCE)
            bus.AddMatch(rule)
            if not bus.NameHasOwner(NAME)[0]:
                connection.recv_until_filtered(changes, timeout=PATIENCE)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()
