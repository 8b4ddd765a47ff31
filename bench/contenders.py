"""The rows of a scenario's table: programs asked for one thing, and the limits beside them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.mail import Post
from bench.measure import Command
from bench.peers import (
    OURS,
    PEERS,
    PROGRAMS,
    PYTHON,
    Commands,
    Errand,
    Program,
    fetchmail_with,
    mpop_get,
    pop3fetch_all,
    to_server,
)

LIMITS = str(Path(__file__).with_name("limits.py"))
# named by bounds
DRAIN, LIST, VERSION = "limit: drain", "list -l", "--version"
CLICK, IMPORTS, ONE_BY_ONE = "import click", "import click, ssl, sqlite3", "imaplib, one by one"
APPEND = str(Path(__file__).with_name("imaplib_append.py"))


class Role(Enum):
    """What a contender is to the comparison."""

    OURS = "ours"
    RIVAL = "rival"  # the fastest of these is P
    EARLIER = "earlier"  # ourselves, of another revision
    SHOWN = "shown"  # no measure: a peer that does not sync what it writes, or ourselves in another way
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Contender:
    """One row; ``absent`` says why it cannot take part."""

    name: str
    commands: Commands
    role: Role
    remember: Callable[[Errand, Sequence[str]], list[Command]] | None = None
    meet: Commands | None = None
    absent: str | None = None
    note: str = ""


def able_to(what: Callable[[Program], Commands | None], *, writes: bool = False) -> tuple[Contender, ...]:
    """Return the programs that can do ``what``; if it ``writes``, one that does not sync is not a rival."""
    return tuple(
        Contender(
            name=program.name,
            commands=commands,
            role=_role(program, writes=writes),
            remember=program.remember,
            meet=program.meet,
            absent=program.missing(),
            note=program.note if writes else "",
        )
        for program in PROGRAMS
        if (commands := what(program)) is not None
    )


def fetchers() -> tuple[Contender, ...]:
    """Return the programs that fetch mail."""
    return able_to(lambda program: program.get, writes=True)


def fetchers_of_accounts(number: int) -> tuple[Contender, ...]:
    """Return what fetches many accounts at once."""
    wide = ("--jobs", str(number), "--jobs-per-host", str(number))
    gone, meet = OURS.missing(), pop3fetch_all(command="stat")
    return (
        Contender(
            OURS.name,
            pop3fetch_all(*wide),
            Role.OURS,
            meet=meet,
            absent=gone,
            note=f"`get -A {' '.join(wide)}`",
        ),
        Contender("mpop, all at once", mpop_get, Role.RIVAL, absent=_named("mpop").missing()),
        Contender(
            "pop3fetch, politely",
            pop3fetch_all(),
            Role.SHOWN,
            meet=meet,
            absent=gone,
            note="`get -A`: four at once",
        ),
    )


def starters(option: str) -> tuple[Contender, ...]:
    """Return the programs that only start and print, and Python with click as the limit."""
    peers = tuple(
        Contender(
            program.name,
            _plainly(program.executable, option),
            _role(program, writes=False),
            absent=program.missing(),
        )
        for program in PROGRAMS
        if program.executable != sys.executable
    )
    return (*peers, Contender(CLICK, _plainly(PYTHON, "-c", "import click"), Role.LIMIT))


def completer() -> tuple[Contender, ...]:
    """Return the completion of one word, and the start alone as the limit."""
    gone = OURS.missing()
    words = {"_POP3FETCH_COMPLETE": "bash_complete", "COMP_WORDS": "pop3fetch get --de"}
    return (
        Contender(OURS.name, lambda errand: [Command((OURS.executable,), words)], Role.OURS, absent=gone),
        Contender(VERSION, _plainly(OURS.executable, "--version"), Role.LIMIT, absent=gone),
    )


def counters() -> tuple[Contender, ...]:
    """Return ourselves counting messages, and what that must import as the limit."""
    assert OURS.stat
    return (
        Contender(OURS.name, OURS.stat, Role.OURS, meet=OURS.meet, absent=OURS.missing()),
        Contender(IMPORTS, _plainly(PYTHON, "-c", IMPORTS), Role.LIMIT),
    )


def removers() -> tuple[Contender, ...]:
    """Return what deletes old messages, and a listing of the same headers as the limit."""
    assert OURS.list_long
    listing = Contender(LIST, OURS.list_long, Role.LIMIT, absent=OURS.missing())
    return (*able_to(lambda program: program.remove_old), listing)


def drain() -> Contender:
    """Return the limit of fetching: retrieving alone."""

    def commands(errand: Errand) -> list[Command]:
        mailbox = errand.mailbox
        where = (mailbox.host, str(mailbox.port), mailbox.user, str(mailbox.ca_file), str(errand.count))
        argv = (sys.executable, "-I", LIMITS, "drain", *where, *(["--delete"] if errand.delete else []))
        return [Command(argv, {"LIMITS_PASSWORD": mailbox.password})]

    return Contender(DRAIN, commands, Role.LIMIT, note="the same octets over TLS, neither parsed nor written")


def to_lmtp(port: int, user: str) -> tuple[Contender, ...]:
    """Return what gives messages to an LMTP server."""

    def ours(errand: Errand) -> list[Command]:
        return to_server(errand, "-o", f"lmtp://localhost:{port}", "--recipient", user)

    def fetchmail(errand: Errand) -> list[Command]:
        return [fetchmail_with(errand, f'lmtp smtphost "localhost/{port}" smtpname "{user}"')]

    peer = _named("fetchmail")
    return (
        Contender(OURS.name, ours, Role.OURS, absent=OURS.missing()),
        Contender(peer.name, fetchmail, Role.RIVAL, absent=peer.missing()),
    )


def to_imap(port: int, user: str, password: str, ca_file: Path) -> tuple[Contender, ...]:
    """Return what appends messages to a mailbox, and what does so one at a time."""

    def ours(errand: Errand) -> list[Command]:
        url = f"imaps://{user}@localhost:{port}/INBOX"
        table = f'[destinations.target]\nurl = "{url}"\npassword = "{password}"\nca_file = "{ca_file}"\n'
        return to_server(errand, "-c", errand.file("config.toml", table), "-o", "@target")

    def one_by_one(errand: Errand) -> list[Command]:
        mailbox = errand.mailbox
        words = (mailbox.host, mailbox.port, mailbox.user, port, user, mailbox.ca_file, ca_file)
        argv = (sys.executable, "-I", APPEND, *map(str, words))
        return [Command(argv, {"POPLIB_PASSWORD": mailbox.password})]

    return (
        Contender(OURS.name, ours, Role.OURS, absent=OURS.missing()),
        Contender(ONE_BY_ONE, one_by_one, Role.SHOWN, note="poplib and imaplib, a message after the other"),
    )


def write(post: Post) -> Contender:
    """Return the limit of delivering: writing alone."""

    def commands(errand: Errand) -> list[Command]:
        sizes = errand.file("sizes", "\n".join(map(str, post.sizes)))
        maildir = str(errand.maildir(errand.mailbox))
        return [Command((sys.executable, "-I", LIMITS, "write", maildir, sizes))]

    return Contender("limit: write", commands, Role.LIMIT, note="the same files, synced side by side")


def _named(name: str) -> Program:
    return next(program for program in PROGRAMS if program.name == name)


def _role(program: Program, *, writes: bool) -> Role:
    if program is OURS:
        return Role.OURS
    if program not in (OURS, *PEERS):
        return Role.EARLIER
    return Role.RIVAL if program.syncs or not writes else Role.SHOWN


def _plainly(*argv: str) -> Commands:
    return lambda errand: [Command(argv)]
