"""mpop, fetchmail, getmail6 and fdm, as their users have them: a configuration, a run, and a list of UIDs.

Each fetches from a private server into a folder of the home, and keeps the messages on the server.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import homely

# With a file "fatal" in the home, the fourth message kills the program and all that it has started.
DELIVER = """\
#!/bin/sh
cd "{home}"
test ! -e fatal || test "$(ls Mail/new | wc -l)" -lt 3 || kill -9 0
name=$(date +%s%N).$$
cat >"Mail/tmp/$name" && exec mv "Mail/tmp/$name" Mail/new
"""

PAUSE = 3.0  # seconds before a program is reminded of its children
REMINDERS = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A mailbox with TLS from the first octet at ``tls_port``."""

    host: str
    tls_port: int
    user: str
    password: str
    ca_file: Path


@dataclass(frozen=True, slots=True)
class Fetcher:
    """A program: its name and executable, its files by their places in the home, and its arguments.

    ``list`` is the place of its list of fetched messages, and ``listed`` makes one of a user, host and UIDs.
    ``to_delete`` are the words that keep messages on the server, and those that delete them.
    ``to_maildir``: the words that deliver to the maildir, if no program does.
    """

    name: str
    executable: str
    files: Callable[[Server, Path], dict[str, str]]
    arguments: tuple[str, ...]
    list: str
    listed: Callable[[str, str, Sequence[str]], str]
    to_delete: tuple[str, str]
    to_maildir: tuple[str, str] = ("", "")

    def missing(self) -> str | None:
        """Return why it cannot be run here, or None if it can."""
        return None if shutil.which(self.executable) else f"{self.executable} is not installed"

    def set_up(self, server: Server, home: Path) -> None:
        """Write its configuration, and what delivers for it."""
        for folder in ("new", "cur", "tmp"):
            (home / "Mail" / folder).mkdir(parents=True, exist_ok=True)
        for place, text in {"deliver": DELIVER.format(home=home), **self.files(server, home)}.items():
            file = home / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(0o600)
            file.write_text(text)
        (home / "deliver").chmod(0o700)
        for folder in ("lists", "tmp"):
            (home / folder).mkdir()
            if os.geteuid() == 0:  # fdm logs in as a user of its own, who writes there
                (home / folder).chmod(0o1777)

    def change(self, server: Server, home: Path, words: tuple[str, str]) -> None:
        """Write other words into its configuration."""
        before, after = (word.format(home=home) for word in words)
        for place, text in self.files(server, home).items():
            assert before in text
            (home / place).write_text(text.replace(before, after))

    def list_in(self, home: Path, server: Server) -> Path:
        """Return the path of its list."""
        return home / self.list.format(user=server.user, host=server.host, tls_port=server.tls_port)

    def run(self, home: Path) -> subprocess.CompletedProcess[bytes]:
        """Let it fetch."""
        words = [self.executable, *(word.format(home=home) for word in self.arguments)]
        # fdm keeps messages there; a killed one leaves them.
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(home / "tmp"), **homely(home)}
        with subprocess.Popen(
            words,
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            for _ in range(REMINDERS):
                with suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=PAUSE)
                    return subprocess.CompletedProcess(words, process.returncode, out, err)
                # getmail6 waits in vain for a program that has ended before it listens for that.
                process.send_signal(signal.SIGCHLD)
            os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"{self.name} does not end")


def _mpop(server: Server, home: Path) -> dict[str, str]:
    return {
        ".mpoprc": f"""\
# mail from work
defaults
tls on
tls_starttls off
tls_trust_file {server.ca_file}

account work
host {server.host}
port {server.tls_port}
user {server.user}
password "{server.password}"
keep on
received_header off
delivery maildir ~/Mail
account default : work
"""
    }


def _fetchmail(server: Server, home: Path) -> dict[str, str]:
    return {
        ".fetchmailrc": f"""\
set pidfile {home}/.fetchmail.pid
defaults proto pop3 timeout 30
poll work via {server.host} service {server.tls_port}
    user "{server.user}" there with password "{server.password}" is {server.user} here
    options keep ssl sslcertfile {server.ca_file} no rewrite
    mda "{home}/deliver"
"""
    }


def _getmail(server: Server, home: Path) -> dict[str, str]:
    return {
        ".config/getmail/work": f"""\
[retriever]
type = SimplePOP3SSLRetriever
server = {server.host}
port = {server.tls_port}
username = {server.user}
password = {server.password}
ca_certs = {server.ca_file}

[destination]
type = MDA_external
path = ~/deliver
allow_root_commands = yes

[options]
read_all = no
delivered_to = no
received = no
verbose = 0
"""
    }


def _fdm(server: Server, home: Path) -> dict[str, str]:
    # In the path of a maildir, %h is the home that the system has for the user, whatever HOME says.
    return {
        ".fdm.conf": f"""\
set default-user "{getpass.getuser()}"
set lock-file "{home}/.fdm.lock"
set file-umask 077
set no-received
$home = "{home}"
ifdef $unknown
$home = "nowhere"
endif
action "keep-it" maildir "${{home}}/Mail"
account "work" pop3s server "{server.host}" port {server.tls_port}
    user "{server.user}" pass "{server.password}"
    new-only cache "%h/lists/fdm" keep
match all action "keep-it"
"""
    }


def _listed_by_mpop(user: str, host: str, uids: Sequence[str]) -> str:
    return "\n".join(
        ["# This file was generated by mpop version 1.4.18.", f" {len(uids)} {host} {user}", *uids, ""]
    )


FETCHERS = (
    Fetcher(
        "mpop", "mpop", _mpop, (), ".mpop_uidls/{user}_at_{host}", _listed_by_mpop,
        ("keep on", "keep off"), ("maildir ~/Mail", "mda {home}/deliver"),
    ),
    Fetcher(
        "fetchmail", "fetchmail", _fetchmail, ("-N",), ".fetchids",
        lambda user, host, uids: "".join(f"{user}@{host} {uid}\n" for uid in uids),
        ("options keep", "options"),
    ),
    Fetcher(
        "getmail", "getmail", _getmail, ("--rcfile", "work"),
        ".config/getmail/oldmail-{host}-{tls_port}-{user}",
        lambda user, host, uids: "".join(f"{uid}\0001700000000\n" for uid in uids),
        ("read_all = no", "read_all = no\ndelete = yes"),
    ),
    Fetcher(
        "fdm", "fdm", _fdm, ("-h", "-f", "{home}/.fdm.conf", "fetch"), "lists/fdm",
        lambda user, host, uids: "".join(f"{len(uid)} {uid}\n" for uid in uids),
        ('lists/fdm" keep', 'lists/fdm"'), ('maildir "${{home}}/Mail"', 'pipe "{home}/deliver"'),
    ),
)  # fmt: skip
