"""The completion scripts, loaded and driven in the real shells.

Each shell runs on a terminal of its own, like a user's. Keys go in, and a `pop3fetch` that only repeats its
arguments shows what the shell makes of them on Enter.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch.cli.main import COMMANDS
from tests.support.command import Ended, Run

COMPLETIONS = Path(__file__).parent.parent / "completions"
SCRIPTS = {"bash": "pop3fetch.bash", "zsh": "_pop3fetch", "fish": "pop3fetch.fish"}
PATIENCE = 30.0  # seconds until a shell must have answered
PROMPT = b"READY> "

CONFIGURATION = """\
[accounts.work]
host = "mail.example.org"
user = "alice"

[accounts.home]
host = "mail.example.net"
user = "alice"

[destinations.dovecot]
url = "lmtp://localhost"
"""

# Completes for the real program; anything else is repeated, so that the test can see it.
PROGRAM = """\
#!/bin/sh
if [ -n "$_POP3FETCH_COMPLETE" ]; then exec '{python}' -m pop3fetch; fi
printf 'CALLED'
printf '[%s]' "$@"
printf '.\\n'
"""

STARTS = {
    "bash": ["bash", "--noprofile", "--rcfile", ".bashrc", "-i"],
    "zsh": ["zsh", "-d", "-i"],
    "fish": ["fish", "-i"],
}
SETTINGS = {
    "bash": (
        ".bashrc",
        "PS1='READY> '\nbind 'set enable-bracketed-paste off'\n. '{completions}/pop3fetch.bash'\n",
    ),
    "zsh": (
        ".zshrc",
        "PS1='READY> '\nfpath=('{completions}' $fpath)\nautoload -Uz compinit\ncompinit -u -D\n",
    ),
    "fish": (
        ".config/fish/config.fish",
        "set -g fish_greeting\nset -p fish_complete_path '{completions}'\n"
        "function fish_prompt; echo -n 'READY> '; end\n",
    ),
}

# Keys, and the arguments that they come to.
COMPLETED = {
    b"pop3fetch acc\t": ["accounts"],
    b"pop3fetch get --dry\t": ["get", "--dry-run"],
    b"pop3fetch list --tls start\t": ["list", "--tls", "starttls"],
    b"pop3fetch list --auth scram-sha-2\t": ["list", "--auth", "scram-sha-256"],
    b"pop3fetch list -a wo\t": ["list", "-a", "work"],
    b"pop3fetch rm --account ho\t 3": ["rm", "--account", "home", "3"],
    b"pop3fetch stat -c other.toml -a else\t": ["stat", "-c", "other.toml", "-a", "elsewhere"],
    b"pop3fetch stat --ca-file auth\t": ["stat", "--ca-file", "authority.pem"],
    b"pop3fetch get -o Po\twork": ["get", "-o", "Post/work"],
    b"pop3fetch import fetch\t auth\t": ["import", "fetchmail", "authority.pem"],
    b"pop3fetch get -o mai\tPo\twork": ["get", "-o", "maildir:Post/work"],
    b"pop3fetch get -o maildir:Post/w\tnew": ["get", "-o", "maildir:Post/work/new"],
    b"pop3fetch get --output=maildir:Po\twork": ["get", "--output=maildir:Post/work"],
    b"pop3fetch get -o maildir:~/Po\twork": ["get", "-o", "maildir:~/Post/work"],
    b"pop3fetch get -o maildir:My\tx": ["get", "-o", "maildir:My Mail/x"],
    b"pop3fetch get -o mbox:Post/in\t -v": ["get", "-o", "mbox:Post/inbox", "-v"],
    b"pop3fetch get -v -o mb\tauth\t": ["get", "-v", "-o", "mbox:authority.pem"],
    b"pop3fetch get --exec take-ma\t": ["get", "--exec", "take-mail"],
    b"pop3fetch stat --password-command take-ma\t -v": ["stat", "--password-command", "take-mail", "-v"],
    b"pop3fetch get --exec bin/take-ma\t": ["get", "--exec", "bin/take-mail"],
    b"pop3fetch list --tls=start\t": ["list", "--tls=starttls"],
    b"pop3fetch get -o @dov\t -v": ["get", "-o", "@dovecot", "-v"],
    b"pop3fetch get --output=@dov\t": ["get", "--output=@dovecot"],
    b"pop3fetch login @do\t": ["login", "@dovecot"],
    b"pop3fetch logout @\t": ["logout", "@dovecot"],
    b"pop3fetch login --store fi\t": ["login", "--store", "file"],
}

# A launcher makes the terminal the controlling one, which subprocess does not.
LAUNCHER = (
    "import fcntl, os, sys, termios; "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass
class Shell:
    """An interactive shell; what it writes is kept in ``screen``."""

    terminal: int
    screen: bytes = b""

    def wait_for(self, octets: bytes) -> bytes:
        """Read until ``octets`` came; return what came before, and forget it."""
        deadline = time.monotonic() + PATIENCE
        while octets not in self.screen:
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{octets!r} did not come; the screen: {self.screen!r}"
            self.screen += os.read(self.terminal, 65536)
        before, _, self.screen = self.screen.partition(octets)
        return before

    def called(self, keys: bytes) -> list[str]:
        """Type ``keys`` and Enter; return the arguments that the program was called with."""
        self.wait_for(PROMPT)
        os.write(self.terminal, keys + b"\r")
        self.wait_for(b"CALLED[")
        return self.wait_for(b"].").decode().split("][")


@pytest.fixture(params=STARTS)
def shell(request: pytest.FixtureRequest, run: Run) -> Iterator[Shell]:
    """Start the shell with the completions loaded, in a home with two accounts and two files."""
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    _furnish(run, name)
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-I", "-c", LAUNCHER, *STARTS[name]],
        cwd=run.home,
        env={**run.environment, "PATH": f"{run.home}/bin:{os.environ['PATH']}", "TERM": "dumb"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    try:
        yield Shell(ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _furnish(run: Run, name: str) -> None:
    path, settings = SETTINGS[name]
    files = {
        path: settings.format(completions=COMPLETIONS),
        "bin/pop3fetch": PROGRAM.format(python=sys.executable),
        ".config/pop3fetch/config.toml": CONFIGURATION,
        "authority.pem": "",
        "other.toml": "[accounts.elsewhere]\n",
        "Post/work/new/1": "",
        "Post/inbox": "",
        "My Mail/new/1": "",
        "bin/take-mail": "",
    }
    for place, text in files.items():
        file = run.home / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for program in ("pop3fetch", "take-mail"):
        (run.home / "bin" / program).chmod(0o700)


def test_tab_completes(shell: Shell) -> None:
    assert {keys: shell.called(keys) for keys in COMPLETED} == COMPLETED


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_what_the_program_prints(run: Run, name: str) -> None:
    fresh = run(env={"_POP3FETCH_COMPLETE": f"{name}_source"}).out
    assert fresh == (COMPLETIONS / SCRIPTS[name]).read_bytes()


def test_fish_shows_descriptions_that_have_commas(run: Run) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    _furnish(run, "fish")
    shown = subprocess.run(
        ["fish", "--no-config", "-c", f"source '{COMPLETIONS}/pop3fetch.fish'; complete -C 'pop3fetch lo'"],
        capture_output=True,
        text=True,
        cwd=run.home,
        env={**run.environment, "PATH": f"{run.home}/bin:{os.environ['PATH']}"},
    )
    assert shown.stdout.splitlines() == [f"{name}\t{COMMANDS[name]}" for name in ("login", "logout")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described_as_in_the_help(run: Run, name: str) -> None:
    asked = {"_POP3FETCH_COMPLETE": "zsh_complete", "COMP_WORDS": f"pop3fetch {name}", "COMP_CWORD": "1"}
    assert f"described\n{name}\n{COMMANDS[name]}\n" in run(env=asked).out.decode()


def _complete(run: Run, words: str, **environment: str) -> Ended:
    """Ask for completions of the last of ``words`` as bash does."""
    position = str(words.count(" "))
    asked = {"_POP3FETCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
    return run(env={**asked, **environment})


def test_a_broken_configuration_completes_to_nothing_without_noise(run: Run) -> None:
    (run.home / ".config/pop3fetch").mkdir(parents=True)
    (run.home / ".config/pop3fetch/config.toml").write_text("[accounts.work\n")
    ended = _complete(run, "pop3fetch list -a ")
    assert (ended.out, ended.err) == (b"typed,,\n\n", b"")


@pytest.mark.parametrize("words", ["pop3fetch ge", "pop3fetch get --dry", "pop3fetch get -a wo"])
def test_completion_waits_for_nothing_heavy(run: Run, words: str) -> None:
    ended = _complete(run, words, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in ended.err.decode().splitlines()}
    assert "click" in imported
    assert imported & {"ssl", "socket", "sqlite3", "rich", "keyring", "cryptography", "subprocess"} == set()
