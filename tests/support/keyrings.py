"""Keyrings for tests: one that works, and ways in which one does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors

IN_A_FILE = """\
import json, os
from pathlib import Path
from keyring.backend import KeyringBackend

FILE = Path(os.environ["KEYRING_FILE"])


class Keyring(KeyringBackend):
    priority = 1

    def entries(self):
        return json.loads(FILE.read_text()) if FILE.exists() else {}

    def get_password(self, service, user):
        return self.entries().get(f"{service} {user}")

    def set_password(self, service, user, password):
        FILE.write_text(json.dumps({**self.entries(), f"{service} {user}": password}))

    def delete_password(self, service, user):
        FILE.write_text(json.dumps({k: v for k, v in self.entries().items() if k != f"{service} {user}"}))
"""
# The same, for a home without that variable.
IN_THE_HOME = IN_A_FILE.replace('Path(os.environ["KEYRING_FILE"])', 'Path.home() / "keyring.json"')


class Backend(keyring.backend.KeyringBackend):
    """A keyring that is a dictionary, and counts how often it was asked."""

    priority = 0.0  # never chosen by itself

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.asked = 0

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Raising(Backend):
    """A keyring that is locked, and shows what it was given."""

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked(f"no key for\n{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.PasswordSetError(f"cannot keep {password}")


class Hanging(Backend):
    """A keyring that does not answer before the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def get_password(self, service: str, username: str) -> str | None:
        self.over.wait()
        return "too late"

    def set_password(self, service: str, username: str, password: str) -> None:
        self.over.wait()


@contextmanager
def in_use(backend: Backend) -> Iterator[Backend]:
    """Make ``backend`` the system's keyring for a while."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield backend
    finally:
        keyring.set_keyring(before)


def in_a_file(folder: Path) -> dict[str, str]:
    """Return the environment that gives a command a keyring which is a file in ``folder``."""
    (folder / "file_keyring.py").write_text(IN_A_FILE)
    return {
        "PYTHONPATH": str(folder),
        "PYTHON_KEYRING_BACKEND": "file_keyring.Keyring",
        "KEYRING_FILE": str(folder / "keyring.json"),
    }


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets in the keyring that is a file, each by its service and user."""
    file = Path(environment["KEYRING_FILE"])
    entries: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    return entries
