"""Each screen as a person sees it, at 80x24, 40x24, 120x40 and 200x50.

The tables of `list -l` and the first run of `login` have tests of their own.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.cli.test_many_accounts import config_for
from tests.support.served_mail import DEMO, LETTERS, Post, StartPost
from tests.support.terminal import Screen, Seen, Terminal, check_snapshot

SIZES = [(80, 24), (40, 24), (120, 40), (200, 50)]
FOLDER = "/tmp/pop3fetch-screen-XXXXXXXX"
QUESTION = b"from the server? [y/N] "

# What changes from run to run; as long as what it stands for, since lines are wrapped.
CHANGING = {
    r"/tmp/pop3fetch-screen-\w{8}": FOLDER,
    r"\b[0-9a-f]{64}\b": "0123456789abcdef" * 4,
    r"#[\w-]{16}": "#" + "x" * 16,
    r"trustme v[\d.]+\w*": "trustme vN",
    r"in \d+ days": "in N days",
    r"expires [\d-]{10}": "expires YYYY-MM-DD",
    r"TLSv\S+ \S+": "TLSv1.N CIPHER",
}


@dataclass(frozen=True, slots=True)
class Display:
    """A terminal of a size, and a folder whose name is as long everywhere."""

    terminal: Terminal
    folder: Path
    columns: int
    rows: int

    def __call__(
        self, *arguments: str | Path, served: Post | None = None, answers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Seen:
        env = {"XDG_CONFIG_HOME": str(self.folder), **(served.environment if served else {})}
        return self.terminal(*arguments, env=env, columns=self.columns, rows=self.rows, answers=answers)

    def check(self, name: str, *shown: Seen) -> None:
        """Compare what stands on the terminal with the snapshot ``name`` of its size."""
        screen = Screen(self.columns)
        screen.feed(_masked(b"".join(seen.raw for seen in shown).decode()))
        check_snapshot(f"screen-{name}-{self.columns}", screen.lines())


def _masked(text: str) -> str:
    for pattern, instead in CHANGING.items():
        text = re.sub(pattern, instead, text)
    return text


@pytest.fixture(params=SIZES, ids=lambda size: "{}x{}".format(*size))
def display(request: pytest.FixtureRequest, terminal: Terminal) -> Iterator[Display]:
    with tempfile.TemporaryDirectory(prefix="pop3fetch-screen-", dir="/tmp") as folder:
        yield Display(terminal, Path(folder), *request.param)


def test_list(display: Display, post: StartPost) -> None:
    display.check("list", display("list", served=post(LETTERS, uids=[b"uid-1", b"u" * 70, b"%E3" * 20])))


def test_get_and_nothing_new(display: Display, post: StartPost) -> None:
    served = post(DEMO)
    words = ["get", "-o", f"maildir:{display.folder}/Maildir"]
    display.check("get", display(*words, served=served), display(*words, served=served))


def test_get_dry_run(display: Display, post: StartPost) -> None:
    served = post(DEMO)
    words = ["get", "--dry-run", "-o", f"maildir:{display.folder}/Maildir"]
    shown = [display(*words, "--delete", "--limit", "2", served=served)]
    shown += [display("get", "-q", *words[2:], served=served), display(*words, served=served)]
    display.check("get-dry-run", *shown)


def test_get_where_a_message_is_refused(display: Display, post: StartPost) -> None:
    served = post(replies={b"RETR 2\r\n": b"-ERR it cannot be read, says the disk of this server\r\n"})
    seen = display("get", "-o", f"maildir:{display.folder}/Maildir", served=served)
    assert seen.status == Status.REFUSED
    display.check("get-refused", seen)


def test_many_accounts(display: Display, post: StartPost) -> None:
    refusal = {b"PASS secret\r\n": b"-ERR [AUTH] the account is locked\r\n"}
    posts = [post(), post(LETTERS[:1]), post(replies=refusal, greeting=b"+OK\r\n", capabilities=[b"USER"])]
    names = zip(("home", "work", "old"), (served.server for served in posts), strict=True)
    file = config_for(display.folder, list(names))
    seen = [display(command, "-A", "--jobs", "1", "-c", file) for command in ("list", "get")]
    display.check("many", *seen)


def test_rm(display: Display, post: StartPost) -> None:
    served = post(DEMO)
    display.check("rm", display("rm", "1-3", "last", served=served, answers=[(QUESTION, b"y\n")]))


def test_caps(display: Display, post: StartPost, ca_file: Path) -> None:
    served = post(tls="implicit", capabilities=[b"TOP", b"UIDL", b"SASL PLAIN", b"EXPIRE 30"])
    words = ["caps", "-v", "-H", "127.0.0.1", "-p", str(served.server.port), "--ca-file", str(ca_file)]
    display.check("caps", display(*words))


def test_errors(display: Display, post: StartPost) -> None:
    served, secured = post(), post(tls="implicit")
    stranger = ["list", "-H", "127.0.0.1", "-p", str(secured.server.port), "-u", "alice"]
    display.check(
        "errors",
        display("lst"),
        display("list", "--jsn"),
        display("get", "9", served=served),
        display("get", "-o", "inbox.mbox", served=served),
        display("list", "-H", "127.0.0.1", "-p", "1", "-u", "alice"),
        display("list"),
        display(*stranger, served=secured),
    )
