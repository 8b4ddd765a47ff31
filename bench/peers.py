"""How each program is called for the same work: one row per program, one function per command line.

All verify the server's certificate, add no header if that can be switched off, and deliver into an
empty maildir that exists.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command

Commands = Callable[["Errand"], list[Command]]

# As people have it: installed from a wheel, alone in an environment (see Makefile).
PYTHON = str(Path(sys.prefix) / "bench/bin/python")
POP3FETCH = str(Path(sys.prefix) / "bench/bin/pop3fetch")
POPLIB = str(Path(__file__).with_name("poplib_fetch.py"))


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The account that has the mail."""

    port: int
    user: str
    password: str
    ca_file: Path
    host: str = "localhost"


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be done in one run: with these mailboxes, in this fresh folder.

    ``count`` is the number of messages in each mailbox.
    """

    mailboxes: Sequence[Mailbox]
    folder: Path
    count: int = 0
    delete: bool = False

    @property
    def mailbox(self) -> Mailbox:
        """The only mailbox."""
        (mailbox,) = self.mailboxes
        return mailbox

    def maildir(self, mailbox: Mailbox) -> Path:
        """Return the folder for the mail of ``mailbox``."""
        return self.folder / f"mail-{mailbox.user}"

    def output(self, stream: str) -> str:
        """Return what the first program wrote to ``stdout`` or ``stderr``."""
        return (self.folder / f"{stream}-0").read_text("utf-8", "replace")

    def file(self, name: str, text: str) -> str:
        """Write a file that only its owner may read, as all programs require, and return its path."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text, "utf-8")
        return str(path)


@dataclass(frozen=True, slots=True)
class Program:
    """A program and what it can be asked for; ``remember`` gives it a record of UIDs as fetched before.

    ``meet`` lets it find out about the server what it will remember.

    ``syncs`` says whether a file is on the disk when the program goes on to delete the message.
    """

    name: str
    executable: str
    version: Callable[[], str]
    syncs: bool = True
    get: Commands | None = None
    remember: Callable[[Errand, Sequence[str]], list[Command]] | None = None
    meet: Commands | None = None
    stat: Commands | None = None
    list_long: Commands | None = None
    remove_old: Commands | None = None
    note: str = ""

    def missing(self) -> str | None:
        """Return why the program cannot take part, or None if it can."""
        return None if shutil.which(self.executable) else "not installed"


def _first_line(*argv: str) -> Callable[[], str]:
    def version() -> str:
        output = subprocess.run(argv, capture_output=True, text=True)
        lines = [line for line in (output.stdout + output.stderr).splitlines() if "WARN" not in line]
        return "".join(lines[:1]).removeprefix("This is ").split("+")[0].split(" (")[0]

    return version


# pop3fetch


def pop3fetch_at(executable: str, name: str) -> Program:
    """Return the pop3fetch of an environment, under ``name``: today's, or one of an earlier revision."""

    def run(errand: Errand, *words: str) -> list[Command]:
        mailbox = errand.mailbox
        server = ("-H", mailbox.host, "-p", str(mailbox.port), "-u", mailbox.user)
        places = ("--ca-file", str(mailbox.ca_file), "--state-dir", f"{errand.folder}/state")
        return [Command((executable, *words, *server, *places), {"POP3FETCH_PASSWORD": mailbox.password})]

    def get(errand: Errand) -> list[Command]:
        destination = ("-o", f"maildir:{errand.maildir(errand.mailbox)}")
        return run(errand, "get", *destination, *(["--delete"] if errand.delete else []))

    return Program(
        name=name,
        executable=executable,
        version=_first_line(executable, "--version"),
        get=get,
        remember=lambda errand, uids: run(errand, "get", "--mark"),
        meet=lambda errand: run(errand, "stat"),
        stat=lambda errand: run(errand, "stat"),
        list_long=lambda errand: run(errand, "list", "-l"),
        remove_old=lambda errand: run(errand, "rm", "--before", "30d"),
    )


def pop3fetch_all(*words: str, command: str = "get") -> Commands:
    """Return what fetches every mailbox of an errand in one process, with ``words`` as options."""

    def commands(errand: Errand) -> list[Command]:
        accounts = "\n".join(_pop3fetch_account(errand, mailbox) for mailbox in errand.mailboxes)
        config = ("-c", errand.file("config.toml", accounts), "--state-dir", f"{errand.folder}/state")
        secret = {"POP3FETCH_PASSWORD": errand.mailboxes[0].password}
        return [Command((POP3FETCH, command, "-A", *words, *config), secret)]

    return commands


def to_server(errand: Errand, *words: str) -> list[Command]:
    """Return a `get` with ``words`` as options, for a destination that is not a maildir."""
    mailbox = errand.mailbox
    server = ("-H", mailbox.host, "-p", str(mailbox.port), "-u", mailbox.user)
    places = ("--ca-file", str(mailbox.ca_file), "--state-dir", f"{errand.folder}/state")
    argv = (POP3FETCH, "get", *server, *places, *words)
    return [Command(argv, {"POP3FETCH_PASSWORD": mailbox.password})]


def _pop3fetch_account(errand: Errand, mailbox: Mailbox) -> str:
    return f"""\
[accounts.{mailbox.user}]
host = "{mailbox.host}"
port = {mailbox.port}
user = "{mailbox.user}"
ca_file = "{mailbox.ca_file}"
output = "maildir:{errand.maildir(mailbox)}"
"""


# mpop


def _mpop(errand: Errand, mailbox: Mailbox, *words: str) -> Command:
    settings = f"""\
account default
host {mailbox.host}
port {mailbox.port}
user {mailbox.user}
password {mailbox.password}
tls on
tls_starttls off
tls_trust_file {mailbox.ca_file}
delivery maildir {errand.maildir(mailbox)}
uidls_file {errand.folder}/uidls-{mailbox.user}
keep {"off" if errand.delete else "on"}
received_header off
"""
    return Command(("mpop", "-C", errand.file(f"mpoprc-{mailbox.user}", settings), *words))


def mpop_get(errand: Errand) -> list[Command]:
    """Return one process a mailbox: mpop fetches one account after the other."""
    return [_mpop(errand, mailbox, "-q") for mailbox in errand.mailboxes]


def _mpop_remember(errand: Errand, uids: Sequence[str]) -> list[Command]:
    return [_mpop(errand, errand.mailbox, "-q", "--killsize=0", "--keep=on")]


def _mpop_stat(errand: Errand) -> list[Command]:
    return [_mpop(errand, errand.mailbox, "--status-only")]


# fetchmail

FETCHMAIL_STATUSES = frozenset({0, 1})  # 1: there was no new mail


def _fetchmail(errand: Errand, *words: str) -> Command:
    maildir = errand.maildir(errand.mailbox)
    return fetchmail_with(errand, f'mda "exec cat >{maildir}/new/$$"', *words)


def fetchmail_with(errand: Errand, destination: str, *words: str) -> Command:
    """Return a run of fetchmail; ``destination`` is a line of its configuration."""
    mailbox = errand.mailbox
    settings = f"""\
set idfile "{errand.folder}/fetchids"
set pidfile "{errand.folder}/fetchmail.pid"
set invisible
poll {mailbox.host} protocol pop3 service {mailbox.port} uidl auth password
  user "{mailbox.user}" password "{mailbox.password}"
  ssl sslcertck sslcertfile "{mailbox.ca_file}"
  {"nokeep" if errand.delete else "keep"}
  {destination}
"""
    argv = ("fetchmail", "-f", errand.file("fetchmailrc", settings), *words)
    return Command(argv, {"FETCHMAILHOME": str(errand.folder)}, FETCHMAIL_STATUSES)


def _fetchmail_get(errand: Errand) -> list[Command]:
    return [_fetchmail(errand, "--silent")]


def _fetchmail_remember(errand: Errand, uids: Sequence[str]) -> list[Command]:
    owner = f"{errand.mailbox.user}@{errand.mailbox.host}"
    errand.file("fetchids", "".join(f"{owner} {uid}\n" for uid in uids))
    return []


def _fetchmail_stat(errand: Errand) -> list[Command]:
    return [_fetchmail(errand, "--check")]


# getmail6


# It also waits this long for the end of its own delivering child, which it sometimes misses: about once
# in ten thousand messages it then fails.
GETMAIL_TIMEOUT = 20
GETMAIL_USER = "nobody"  # delivers where root starts it, because it refuses to deliver as root


def _getmail_get(errand: Errand) -> list[Command]:
    mailbox = errand.mailbox
    as_root = os.geteuid() == 0
    if as_root:
        for part in (".", "tmp", "new", "cur"):
            shutil.chown(errand.maildir(mailbox) / part, GETMAIL_USER)
    settings = f"""\
[retriever]
type = SimplePOP3SSLRetriever
server = {mailbox.host}
port = {mailbox.port}
username = {mailbox.user}
password = {mailbox.password}
timeout = {GETMAIL_TIMEOUT}
ca_certs = {mailbox.ca_file}
[destination]
type = Maildir
path = {errand.maildir(mailbox)}/
{f"user = {GETMAIL_USER}" if as_root else ""}
[options]
read_all = false
delete = {"true" if errand.delete else "false"}
verbose = 0
delivered_to = false
received = false
"""
    rc = errand.file("getmailrc", settings)
    return [Command(("getmail", "--getmaildir", str(errand.folder), "--rcfile", rc))]


def _getmail_remember(errand: Errand, uids: Sequence[str]) -> list[Command]:
    mailbox = errand.mailbox
    name = f"oldmail-{mailbox.host}-{mailbox.port}-{mailbox.user}"
    errand.file(name, "".join(f"{uid}\0001\n" for uid in uids))
    return []


# a poplib script


def _poplib(errand: Errand, command: str, *words: str) -> Command:
    mailbox = errand.mailbox
    server = (mailbox.host, str(mailbox.port), mailbox.user, str(mailbox.ca_file))
    argv = (sys.executable, "-I", POPLIB, command, *server, *words)
    return Command(argv, {"POPLIB_PASSWORD": mailbox.password})


def _poplib_get(errand: Errand) -> list[Command]:
    places = ("--maildir", str(errand.maildir(errand.mailbox)), "--record", f"{errand.folder}/record")
    return [_poplib(errand, "get", *places, *(["--delete"] if errand.delete else []))]


def _poplib_remember(errand: Errand, uids: Sequence[str]) -> list[Command]:
    errand.file("record", "\n".join(uids))
    return []


def _poplib_stat(errand: Errand) -> list[Command]:
    return [_poplib(errand, "stat")]


def _poplib_list(errand: Errand) -> list[Command]:
    return [_poplib(errand, "list")]


# curl


def _curl(errand: Errand, requests: Sequence[str]) -> list[Command]:
    mailbox = errand.mailbox
    transfer = f"""\
url = "pop3s://{mailbox.host}:{mailbox.port}/"
user = "{mailbox.user}:{mailbox.password}"
cacert = "{mailbox.ca_file}"
sasl-ir
silent
show-error
"""
    transfers = "next\n".join(f"{transfer}{request}\n" for request in requests)
    return [Command(("curl", "-q", "-K", errand.file("curlrc", transfers)))]


def _curl_stat(errand: Errand) -> list[Command]:
    return _curl(errand, ['request = "STAT"\nhead\nverbose'])


def _curl_list(errand: Errand) -> list[Command]:
    tops = [f'request = "TOP {number} 0"' for number in range(1, errand.count + 1)]
    return _curl(errand, ['request = "LIST"', 'request = "UIDL"', *tops])


OURS = pop3fetch_at(POP3FETCH, "pop3fetch")

PEERS = (
    Program(
        name="mpop",
        executable="mpop",
        version=_first_line("mpop", "--version"),
        get=mpop_get,
        remember=_mpop_remember,
        stat=_mpop_stat,
    ),
    Program(
        name="fetchmail",
        executable="fetchmail",
        version=_first_line("fetchmail", "--version"),
        syncs=False,
        get=_fetchmail_get,
        remember=_fetchmail_remember,
        stat=_fetchmail_stat,
        note="delivers through `cat`, which does not sync",
    ),
    Program(
        name="getmail6",
        executable="getmail",
        version=_first_line("getmail", "--version"),
        get=_getmail_get,
        remember=_getmail_remember,
    ),
    Program(
        name="poplib",
        executable=sys.executable,
        version=lambda: f"Python {sys.version.split()[0]}",
        get=_poplib_get,
        remember=_poplib_remember,
        stat=_poplib_stat,
        list_long=_poplib_list,
    ),
    Program(
        name="curl",
        executable="curl",
        version=_first_line("curl", "--version"),
        syncs=False,
        stat=_curl_stat,
        list_long=_curl_list,
    ),
)
PROGRAMS = [OURS, *PEERS]
