"""Long lists on a terminal go through the program of $PAGER."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pop3fetch.cli.screen.pager import pager_of
from pop3fetch.status import Status
from tests.cli.test_many_accounts import config_for
from tests.support.served_mail import Post, StartPost, letters
from tests.support.terminal import Seen, Terminal

# It keeps what it got, and shows which it is.
PAGER = """
import json, os, sys
text = sys.stdin.read()
with open(sys.argv[1], "w") as file:
    json.dump({"text": text, "environment": dict(os.environ), "words": sys.argv[2:]}, file)
print("the pager has ended")
"""


class Paged:
    """Runs `list` on a terminal of 24 rows, with a pager that keeps what it got."""

    def __init__(self, terminal: Terminal, folder: Path) -> None:
        self._terminal = terminal
        self._kept = folder / "kept"
        script = folder / "pager.py"
        script.write_text(PAGER)
        self.command = shlex.join([sys.executable, str(script), str(self._kept)])

    def __call__(
        self, served: Post, *arguments: str | Path, answers: Sequence[tuple[bytes, bytes]] = (), **env: str
    ) -> Seen:
        env = {**served.environment, "PAGER": self.command, "NO_COLOR": "1", **env}
        return self._terminal("list", *arguments, env=env, answers=answers)

    @property
    def is_used(self) -> bool:
        return self._kept.exists()

    @property
    def kept(self) -> Mapping[str, object]:
        found: Mapping[str, object] = json.loads(self._kept.read_text())
        return found

    @property
    def lines(self) -> list[str]:
        return str(self.kept["text"]).splitlines()


@pytest.fixture
def paged(terminal: Terminal, tmp_path: Path) -> Paged:
    return Paged(terminal, tmp_path)


def test_a_list_that_is_longer_than_the_screen_goes_through_the_pager(paged: Paged, post: StartPost) -> None:
    seen = paged(post(letters(23)), "-l")
    assert (seen.status, seen.screen) == (0, ["the pager has ended"])
    assert len(paged.lines) == 24
    assert paged.lines[-1].startswith("23  \x1b[1m*")
    assert "\x1b[1m" in str(paged.kept["text"]), "it is styled as on the terminal"


def test_a_list_that_fits_the_screen_does_not(paged: Paged, post: StartPost) -> None:
    seen = paged(post(letters(22)), "-l")
    assert len(seen.screen) == 23
    assert not paged.is_used


@pytest.mark.parametrize("words", [["--no-pager"], ["-v"]])
def test_a_pager_is_not_used_against_the_will_of_the_user_or_beside_notices(
    paged: Paged, post: StartPost, words: list[str]
) -> None:
    assert len(paged(post(letters(40)), *words).screen) >= 41
    assert not paged.is_used


def test_a_pager_is_not_used_without_a_terminal(paged: Paged, post: StartPost, terminal: Terminal) -> None:
    env = {**post(letters(40)).environment, "PAGER": paged.command}
    assert len(terminal("list", env=env, piped=True).out.splitlines()) == 40
    assert not paged.is_used


def test_objects_that_are_longer_than_a_line_fill_the_screen_sooner(paged: Paged, post: StartPost) -> None:
    paged(post(letters(9)), "--json")
    assert not paged.is_used
    paged(post(letters(9)), "-l", "--json")
    assert [json.loads(line)["number"] for line in paged.lines] == [*range(1, 10)]


def test_the_pager_gets_the_usual_options_and_no_password(paged: Paged, post: StartPost) -> None:
    paged(post(letters(40)))
    environment = paged.kept["environment"]
    assert isinstance(environment, dict)
    assert "POP3FETCH_PASSWORD" not in environment
    assert "POP3FETCH_ACCOUNT" in environment
    assert (environment["LESS"], environment["LV"]) == ("FRX", "-c")


def test_the_options_of_the_user_win(paged: Paged, post: StartPost) -> None:
    served = post(letters(40))
    paged(served, LESS="-i", PAGER=f"{paged.command} 'two words'")
    assert paged.kept["words"] == ["two words"]
    assert isinstance(paged.kept["environment"], dict)
    assert paged.kept["environment"]["LESS"] == "-i"


def test_a_shell_runs_a_pager_that_needs_one(paged: Paged, post: StartPost) -> None:
    served = post(letters(40))
    paged(served, PAGER=f"LESS=-z head -n 2 | {paged.command} $LESS", LESS="-i")
    assert len(paged.lines) == 2
    assert paged.kept["words"] == ["-i"]


@pytest.mark.parametrize("pager", ["", " ", "cat"])
def test_a_pager_can_be_switched_off(paged: Paged, post: StartPost, pager: str) -> None:
    assert len(paged(post(letters(40)), PAGER=pager).screen) == 41


@pytest.mark.parametrize(
    ("pager", "reason"),
    [
        ("no-such-pager -x", "No such file or directory"),
        ("less '", "No closing quotation"),
        ("/", "Permission denied"),
    ],
)
def test_a_pager_that_cannot_be_started_is_named_and_left_out(
    paged: Paged, post: StartPost, pager: str, reason: str
) -> None:
    seen = paged(post(letters(100)), PAGER=pager)
    assert seen.status == 0
    text = " ".join(line.strip() for line in seen.screen[:2])
    assert text.startswith(f"pop3fetch: PAGER={pager}: {reason}; set another one, or use --no-pager")
    assert len(seen.screen) in (102, 103)
    assert seen.screen[-1].startswith("100  *")


def test_a_pager_that_ends_early_is_not_an_error(paged: Paged, post: StartPost) -> None:
    served = post(letters(3000))
    seen = paged(served, "-l", PAGER="head -n 3")
    assert seen.status == 0
    assert [line.split()[0] for line in seen.screen] == ["#", "1", "2"]
    assert served.verbs.count(b"TOP") < 3000, "the session ends with it"


def python(script: str) -> str:
    return shlex.join([sys.executable, "-W", "error", "-c", script])


def test_the_session_does_not_wait_for_the_person_who_reads(
    paged: Paged, post: StartPost, tmp_path: Path
) -> None:
    fifo = tmp_path / "page"
    os.mkfifo(fifo)
    quits = {b"QUIT\r\n": lambda talk: fifo.write_text("turned")}
    served = post(letters(3000), after=quits)  # more than a pipe holds
    reader = (
        f"import pathlib, sys; pathlib.Path({str(fifo)!r}).read_bytes();"
        " print(len(sys.stdin.readlines()), 'lines')"
    )
    assert paged(served, PAGER=python(reader), COLUMNS="200").screen == ["3001 lines"]


SIGNALS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
first = sys.stdin.readline()
os.kill(os.getppid(), signal.{name})
print(len(sys.stdin.readlines()) + 1, "lines", flush=True)
"""


def test_ctrl_c_ends_a_list_that_is_still_coming_once_the_pager_has_ended(
    paged: Paged, post: StartPost
) -> None:
    served = post(letters(50), replies={b"TOP 40 0\r\n": b""})  # one reply never comes
    seen = paged(served, "-l", PAGER=python(SIGNALS.format(name="SIGINT")))
    assert seen.status == Status.INTERRUPTED
    assert seen.screen[-1] == "pop3fetch: interrupted"
    assert "lines" in seen.screen[0]


def test_ctrl_c_does_not_end_a_list_that_the_pager_has_whole(paged: Paged, post: StartPost) -> None:
    reader = "import sys; sys.stdin.read()\n" + SIGNALS.format(name="SIGINT")
    seen = paged(post(letters(50)), PAGER=python(reader))
    assert (seen.status, seen.screen) == (0, ["1 lines"])


def test_sigterm_ends_a_list_that_is_still_coming_and_its_pager(paged: Paged, post: StartPost) -> None:
    served = post(letters(50), replies={b"TOP 40 0\r\n": b""})
    seen = paged(served, "-l", PAGER=python(SIGNALS.format(name="SIGTERM") + "signal.pause()"))
    assert (seen.status, seen.screen) == (Status.TERMINATED, ["pop3fetch: terminated"])


def test_sigterm_ends_a_pager_that_has_the_whole_list(paged: Paged, post: StartPost) -> None:
    reader = "import sys; sys.stdin.read()\n" + SIGNALS.format(name="SIGTERM") + "signal.pause()"
    seen = paged(post(letters(50)), PAGER=python(reader))
    assert seen.status == Status.TERMINATED
    assert seen.screen[-1] == "pop3fetch: terminated"


def test_an_error_is_reported_after_the_pager_has_shown_what_came(paged: Paged, post: StartPost) -> None:
    served = post(letters(50), after={b"TOP 30 0\r\n": lambda talk: talk.close()})
    seen = paged(served, "-l", "--no-pipelining")
    assert seen.status == Status.TRY_LATER
    assert seen.screen[0] == "the pager has ended"
    assert seen.screen[1].startswith("pop3fetch: ")
    assert 25 <= len(paged.lines) <= 31


def test_several_accounts_share_one_pager(paged: Paged, post: StartPost, tmp_path: Path) -> None:
    posts = [post(letters(12)), post(letters(12))]
    file = config_for(tmp_path, list(zip(("home", "work"), (each.server for each in posts), strict=True)))
    seen = paged(posts[0], "-A", "-c", file, POP3FETCH_PASSWORD="")
    assert (seen.status, seen.screen) == (0, ["the pager has ended"])
    assert {"\x1b[1mhome\x1b[0m", "\x1b[1mwork\x1b[0m"} == {paged.lines[0], paged.lines[14]}
    assert len(paged.lines) == 28


def test_ctrl_c_under_many_accounts_starts_no_pager(paged: Paged, post: StartPost, tmp_path: Path) -> None:
    posts = {
        "first": post(letters(40)),
        "second": post(greeting=b"+OK\r\n", capabilities=[b"USER"]),  # it could only log in in clear text
        "third": post(replies={b"LIST\r\n": b"", b"UIDL\r\n": b""}),  # neither ever comes
    }
    file = config_for(tmp_path, [(name, each.server) for name, each in posts.items()])
    answers = [(b"second: not logging in", b"\x03")]
    seen = paged(posts["first"], "-A", "--jobs", "1", "-c", file, answers=answers, POP3FETCH_PASSWORD="")
    assert seen.status == Status.INTERRUPTED
    assert sum(line.endswith(" B") for line in seen.screen) == 40
    assert not paged.is_used


def test_less_shows_the_first_page_in_colours(terminal: Terminal, post: StartPost) -> None:
    if shutil.which("less") is None:
        pytest.skip("less is not installed")
    env = {**post(letters(100)).environment, "PAGER": "less"}
    seen = terminal("list", "-l", env=env, answers=[(b"22  \x1b[1;32m*", b"q")])
    assert seen.status == 0
    assert b"24  \x1b" not in seen.raw


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({"PAGER": "more"}, "more"),
        ({"PAGER": "more", "TERM": "dumb"}, "more"),
        ({"PAGER": "", "TERM": "xterm"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
    ],
)
def test_the_pager_is_chosen_by_the_environment(environment: Mapping[str, str], command: str | None) -> None:
    assert pager_of(environment) == command


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_choice_it_is_less_if_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if installed:
        (tmp_path / "less").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pager_of({"TERM": "xterm"}) == ("less" if installed else None)
