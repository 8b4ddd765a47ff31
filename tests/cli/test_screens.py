"""Every screen and every error as a person sees it, at three widths, and tables at a fourth.

One table of situations, by kind; ``snapshots/KIND.txt`` shows what each of them looks like.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.cli.commands.record import command as record
from pop3fetch.cli.main import COMMANDS
from pop3fetch.cli.screen.console import Console
from tests.cli.conftest import AFTERNOON
from tests.cli.test_many_accounts import config_for
from tests.support import errors, keyrings, snapshots
from tests.support.certificates import LOOPBACK
from tests.support.command import RunAt, homely
from tests.support.imap_server import ImapServer
from tests.support.in_process import Here, Paper
from tests.support.new_machine import ASKED, BY_DNS, POP3S, World
from tests.support.served_mail import DEMO, LETTERS, Post, StartPost, letters
from tests.support.terminal import Screen, Seen, Terminal

WIDTHS = (120, 80, 40)
TABLES = ("list", "rm")  # take the whole width: these are shown at 200 columns, too
FOLDER = "/tmp/pop3fetch-screen-XXXXXXXX"
DELETE = b"[y/N] "
NOON = 1_700_000_000

# What changes from run to run. Each replacement is as long as what it replaces, because lines are wrapped.
CHANGING = {
    r"/tmp/pop3fetch-(screen|demo)-\w{8}": FOLDER,
    r"\b[0-9a-f]{64}\b": errors.FINGERPRINT,
    r"#[\w-]{16}": "#" + "x" * 16,
    r"trustme v[\d.]+\w*": "trustme vN",
    r"\d{6} days": "NNNNNN days",
    r"PASSWORD=\w{16}": "PASSWORD=0123456789abcdef",
    r"(expires:? +)[\d-]{10}": r"\1YYYY-MM-DD",
    r"TLSv1.\d,(\s+)TLS_\w+": r"TLSv1.N,\1CIPHER",
    r"(127\.0\.0\.1(:|%3A| port )|localhost:)\d{5}": r"\g<1>NNNNN",
    r"\d{10}\.M\d+P\d+Q": "TIME.Q",
    r"pop3fetch-[0-9a-f]{16}\.[\w.-]+": "pop3fetch-TAG.HOST",
    r"NNNNN-[0-9a-f]{12}": "NNNNN-HASH",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A terminal of some width, with an empty home and folder, and what a situation needs of the world."""

    columns: int
    folder: Path
    here: Here
    terminal: Terminal
    post: StartPost
    ca_file: Path
    world: World

    def show(self, *arguments: str | Path, served: Post | None = None) -> Sequence[str]:
        """Return what a command prints that asks nothing."""
        paper = self.here.screen(*arguments, columns=self.columns, env=served.environment if served else None)
        return self.lines(paper.getvalue())

    def play(
        self,
        *arguments: str | Path,
        served: Post | None = None,
        answers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Seen:
        """Run the real command on a terminal."""
        env = served.environment if served else {}
        return self.terminal(*arguments, env=env, columns=self.columns, answers=answers)

    def lines(self, *written: str | Seen) -> list[str]:
        """Return what was written, as the terminal shows it, without what changes from run to run."""
        text = "".join(each.raw.decode() if isinstance(each, Seen) else each for each in written)
        for pattern, instead in CHANGING.items():
            text = re.sub(pattern, instead, text)
        screen = Screen(self.columns)
        screen.feed(text)
        return screen.lines()


Situation = Callable[[Stage], Iterable[str]]


# -- without a server ------------------------------------------------------------------------------


def typed(line: str) -> Situation:
    return lambda stage: stage.show(*shlex.split(line))


MISTAKES = (
    "lst", "zzz", "''", "fetch", "delete 3", "ls", "show 3", "config", "status", "help fetch",
    "alice@example.org", "pop3s://alice@pop.example.org", "-v", "-a", "-x list", "-a work lst",
    "list --acount work", "list --jsn", "list -json", "rm --new", "rm --dryrun", "list --zzz",
    "list --password secret", "list -a", "get --ca-file", "list --json=1", "stat 3", "accounts a b",
    "list --tls on", "list --auth digest", "list -p x", "list -H h -p 70000", "list --timeout soon",
    "get --delete-after 7d", "get --delete-after x", "get --max-size 10X", "get --limit 0",
    "get --lines -1", "list -4 -6", "list -A -a work", "list -A --jobs 0", "list 0", "list 1.5", "get work",
    "list 3-2", "list uid:", "list alice@example.org", "list -a pop3s://alice:secret@h",
    "list -a http://alice@h", "list -H 'a b'", "list -H h:995", "get -o a --exec b", "get --all 3",
    "get --mark -o a", "get --delete --delete-after 3", "get -o - --delete 3",
    "get -a pop3://a@h -o imap:x", "get -a pop3://a@h -o inbox.mbox", "get -a pop3://a@h -o mbox:",
    "get -a pop3://a@h --exec 'gzip | cat'", 'get -a pop3://a@h --exec "cat \'"', "rm", "rm --all 3",
    "login --store file -H h",
    "rm --all", "list -H h --password-command 'pass | head'", "list -H h --proxy h:1080",
    "list -H h --tls-fingerprint 0f", "login alice", "login alice@example.org -p 995",
    "login alice@example.org --tls off", "list --client-key k -H h -u u",
    "record lst", "record zzz", "record add", "record rename a a", "record forget", "record forget 3",
    "record forget -A uid:x", "get --every soon", "get --every 5m 3", "get --log-json -a pop3://a@h",
    "get --delete-marked --keep -a pop3://a@h", "get --on-new 'x |' -a pop3://a@h", "list --limit 0",
    "list --tls-name '' -H h", "list --tls-ciphers zzz -H h", "list --since soon",
    "rm --before 6m", "list --larger 10X", "get --from ''", "get --patience long",
)  # fmt: skip

WRONG_FILES = {
    "a table that is not below accounts": '[work]\nhost = "h"',
    "account instead of accounts": '[account.work]\nhost = "h"',
    "a table without a name": '[accounts]\nhost = "h"',
    "a list of tables": '[[accounts]]\nhost = "h"',
    "a key outside a table": 'host = "h"',
    "default without quotes": 'default = work\n[accounts.work]\nhost = "h"',
    "default of another type": "default = 5",
    "default with a slip": 'default = "wrok"\n[accounts.work]\nhost = "h"',
    "default below a table": '[accounts.work]\nhost = "h"\ndefault = "work"',
    "several accounts without default": '[accounts.work]\nhost = "h"\n[accounts.home]\nhost = "h"',
    "text without quotes": "[accounts.work]\nhost = mail.example.org",
    "text with one quote": '[accounts.work]\nhost = "mail.example.org',
    "curly quotes": "[accounts.work]\nhost = “mail.example.org”",
    "a colon instead of =": "[accounts.work]\nhost: mail.example.org",
    "no =": "[accounts.work]\nhost mail.example.org",
    "no value": "[accounts.work]\nhost =",
    "an address as the name of a table": '[accounts.alice@example.org]\nhost = "h"',
    "a dot in the name of a table": '[accounts.example.org]\nhost = "h"',
    "a bracket that is not closed": '[accounts.work\nhost = "h"',
    "yes instead of true": '[accounts.work]\nhost = "h"\ndelete = yes',
    "true in quotes": '[accounts.work]\nhost = "h"\ndelete = "true"',
    "a number in quotes": '[accounts.work]\nhost = "h"\nport = "995"',
    "a number with a unit": '[accounts.work]\nhost = "h"\ndelete_after = 30d',
    "a size without quotes": '[accounts.work]\nhost = "h"\nmax_size = 10M',
    "words instead of a number": '[accounts.work]\nhost = "h"\ntimeout = "a while"',
    "a number instead of text": '[accounts.work]\nhost = "h"\nuser = 7',
    "a list instead of text": '[accounts.work]\nhost = "h"\noutput = ["maildir:Mail"]',
    "a word that is not a choice": '[accounts.work]\nhost = "h"\ntls = "yes"',
    "a password without quotes": '[accounts.work]\nhost = "h"\npassword = s3cret',
    "an unknown key near another": '[accounts.work]\nhots = "h"',
    "an unknown key of another program": '[accounts.work]\nserver = "h"',
    "an unknown key": '[accounts.work]\nhost = "h"\ncolour = "red"',
    "a key of oauth": '[accounts.work]\nhost = "h"\nclient_id = "x"',
    "a key of the account in oauth": '[accounts.work]\nhost = "h"\n[accounts.work.oauth]\nuser = "x"',
    "a key twice": '[accounts.work]\nhost = "h"\nhost = "j"',
    "a table twice": '[accounts.work]\nhost = "h"\n[accounts.work]\nuser = "x"',
    "a comment of another language": "; my accounts",
    "a backslash": '[accounts.work]\nhost = "h"\npassword_command = "pass \\d"',
    "a shell's syntax": '[accounts.work]\nhost = "h"\npassword_command = "pass | head"',
    "keys in a table default": "[default]\ntimeout = 30",
    "a slip of defaults": "[Default]\ntimeout = 30",
    "defaults without a table": "defaults = 30",
    "an unknown key in defaults": '[defaults]\ntimeuot = 30\n[accounts.work]\nhost = "h"',
    "no host": '[accounts.work]\nuser = "alice"',
    "no user": '[accounts.work]\nhost = "h"\nauth = "apop"',
    "two destinations": '[accounts.work]\nhost = "h"\nexec = "cat"\noutput = "Mail"',
    "an unknown destination": '[accounts.work]\nhost = "h"\nuser = "alice"\noutput = "imap:x"',
    "a key without its certificate": '[accounts.work]\nhost = "h"\nclient_key = "/k.pem"',
    "no accounts": "",
}


def configured(text: str) -> Situation:
    def situation(stage: Stage) -> Iterable[str]:
        Path("config.toml").write_text(text + "\n")
        Path("config.toml").chmod(0o600)
        return stage.show("get", "-c", "config.toml")

    return situation


def unreadable_file(stage: Stage) -> Iterable[str]:
    yield from stage.show("get", "-c", "nosuch.toml")
    yield from stage.show("get", "-a", "work")
    yield from stage.show("get", "-a", "alice@example.org")
    Path("config.toml").write_text('[accounts.work]\nhost = "h"\npassword = "x"\n')
    Path("config.toml").chmod(0o644)
    yield from stage.show("get", "-c", "config.toml")


def raised(name: str) -> Situation:
    def situation(stage: Stage) -> Iterable[str]:
        paper = Paper()
        Console(paper, paper, {"COLUMNS": str(stage.columns)}).fail(errors.EXAMPLES[name])
        return paper.lines(stage.columns)

    return situation


# -- with a server ---------------------------------------------------------------------------------


def table(stage: Stage) -> Iterable[str]:
    return stage.show("list", served=stage.post(LETTERS, uids=[b"uid-1", b"u" * 70, b"%E3" * 20]))


def long_table(stage: Stage) -> Iterable[str]:
    return stage.lines(stage.play("list", "-l", served=stage.post(DEMO)))


SCRIPTS = (
    ("山田太郎", "日本語の件名はとても長いので切り詰められるはずですよね、そうでしょう"),
    ("김철수", "한국어 제목 ひらがな ｶﾀｶﾅ"),
    ("محمد", "مرحبا بالعالم هذا موضوع طويل جدا"),
    ("שרה", "עברית עם English בתוך שורה"),
    ("सीता", "हिन्दी में विषय क्षत्रिय हिन्दी में विषय क्षत्रिय"),
    ("สมชาย", "ไทยภาษาน้ำ"),
    ("José García-Fernández de la Vega y Pérez", "e\u0301 and Z\u0351\u036b\u0343\u036a\u0302"),
    (
        "Dev \U0001f468\u200d\U0001f4bb",
        "\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \u2764\ufe0f \U0001f1e9\U0001f1ea",
    ),
    ("\u202eeve", "zero\u200bwidth\u00a0blank\tand\x1b[31m red"),
)


def many_scripts(stage: Stage) -> Iterable[str]:
    messages = [f"From: {name} <a@x>\r\nSubject: {text}\r\n\r\n".encode() for name, text in SCRIPTS]
    return stage.show("list", "-l", served=stage.post(messages))


def nothing_to_list(stage: Stage) -> Iterable[str]:
    served = stage.post([])
    return [*stage.show("list", served=served), *stage.show("list", "--new", served=served)]


def counted(stage: Stage) -> Iterable[str]:
    served = stage.post(DEMO)
    return [*stage.show("stat", served=served), *stage.show("stat", "--new", served=served)]


def fetched_twice(stage: Stage) -> Iterable[str]:
    served = stage.post(DEMO)
    words = ["get", "-o", f"maildir:{stage.folder}/Maildir"]
    return stage.lines(stage.play(*words, served=served), stage.play(*words, served=served))


def planned(stage: Stage) -> Iterable[str]:
    served = stage.post(DEMO)
    words = ["get", "--dry-run", "-o", f"maildir:{stage.folder}/Maildir"]
    shown = [stage.play(*words, "--delete", "--limit", "2", served=served)]
    shown += [stage.play("get", "-q", *words[2:], served=served), stage.play(*words, served=served)]
    return stage.lines(*shown)


def fetched_again(stage: Stage) -> Iterable[str]:
    served = stage.post()
    words = ["get", "-o", f"maildir:{stage.folder}/Maildir", "2"]
    return stage.lines(stage.play(*words, served=served), stage.play(*words, served=served))


def fetched_verbosely(stage: Stage) -> Iterable[str]:
    words = ["get", "-v", "-o", f"maildir:{stage.folder}/Maildir", "--max-size", "1K", "--delete"]
    return stage.lines(stage.play(*words, "--state-dir", stage.folder, served=stage.post()))


def refused_message(stage: Stage) -> Iterable[str]:
    served = stage.post(replies={b"RETR 2\r\n": b"-ERR it cannot be read, says the disk of this server\r\n"})
    return stage.lines(stage.play("get", "-o", f"maildir:{stage.folder}/Maildir", served=served))


def empty_message(stage: Stage) -> Iterable[str]:
    served = stage.post(replies={b"RETR 2\r\n": b"+OK\r\n.\r\n"})
    return stage.lines(stage.play("get", "-o", f"maildir:{stage.folder}/Maildir", served=served))


def failing_program(stage: Stage) -> Iterable[str]:
    return stage.lines(stage.play("get", "--exec", "false", served=stage.post(LETTERS[:1])))


def missing_message(stage: Stage) -> Iterable[str]:
    return stage.lines(stage.play("get", "9", served=stage.post()))


def recorded(stage: Stage) -> Iterable[str]:
    served = stage.post(LETTERS)
    Path("uids").write_text("uid-2\nuid-7\n")
    screens: list[Seen] = []
    for words in (
        "add uids --fetched-at 2026-04-09",
        "",
        "list",
        "export",
        "forget uid:uid-7",
        "forget uid:uid-7",
        "add nosuch",
    ):
        screens.append(stage.play("record", *words.split(), served=served))
    return stage.lines(*screens)


def removed(
    stage: Stage, words: str, answer: bytes = b"n\n", messages: Sequence[bytes] = DEMO
) -> Iterable[str]:
    served = stage.post(messages)
    return stage.lines(stage.play("rm", *words.split(), served=served, answers=[(DELETE, answer)]))


def many_accounts(stage: Stage) -> Iterable[str]:
    refusal = {b"PASS secret\r\n": b"-ERR [AUTH] the account is locked\r\n"}
    plain = stage.post(replies=refusal, greeting=b"+OK\r\n", capabilities=[b"USER"])
    posts = [stage.post(), stage.post(LETTERS[:1]), plain]
    names = zip(("home", "work", "old"), (served.server for served in posts), strict=True)
    file = config_for(stage.folder, list(names))
    return stage.lines(*(stage.play(command, "-A", "--jobs", "1", "-c", file) for command in ("list", "get")))


def configured_accounts(stage: Stage) -> Iterable[str]:
    Path("config.toml").write_text(
        '[accounts.work]\nhost = "pop.example.org"\nuser = "alice"\noutput = "maildir:Mail/work"\n'
        '[accounts.home]\nhost = "pop.example.net"\nexec = "procmail -f-"\n'
    )
    lines = [stage.show("accounts", *words, "-c", "config.toml") for words in ([], ["-v"])]
    return [line for each in lines for line in each]


def examined(stage: Stage, password: str = "secret") -> Iterable[str]:
    served = stage.post(password=password, capabilities=[b"TOP", b"UIDL", b"USER", b"EXPIRE 30"])
    secret = Path("secret")
    secret.write_text("secret\n")
    secret.chmod(0o600)
    Path("config.toml").write_text(
        f'[accounts.work]\nhost = "127.0.0.1"\nport = {served.server.port}\ntls = "auto"\nuser = "alice"\n'
        f'password_file = "{stage.folder}/secret"\noutput = "maildir:{stage.folder}/Maildir"\n'
    )
    return stage.lines(stage.play("check", "-c", "config.toml"))


def nothing_to_examine(stage: Stage) -> Iterable[str]:
    return stage.show("check")


def imported(stage: Stage) -> Iterable[str]:
    home = stage.folder / "HOME"
    (home / ".mpop_uidls").mkdir(parents=True)
    (home / ".mpoprc").touch(0o600)
    (home / ".mpoprc").write_text(
        "account work\nhost pop.example.org\nport 995\ntls on\ntls_starttls off\nuser alice\n"
        "password secret\ndelivery maildir ~/Mail\nkeep on\nkillsize 50k\n"
        "account old\nhost pop.example.net\nuser bob\nauth user\ndelivery mda procmail\n"
    )
    (home / ".mpop_uidls/alice_at_pop.example.org").write_text(
        "# This file was generated by mpop version 1.4.23.\n#\n 2 pop.example.org alice\n"
        f"uid-1 {NOON}\nuid-2 {NOON}\n"
    )
    return stage.lines(stage.play("import", "mpop", "--dry-run", "--offline"))


def nothing_to_import(stage: Stage) -> Iterable[str]:
    return stage.show("import", "fetchmail", "--dry-run")


def destination_login(password: str) -> Situation:
    def situation(stage: Stage) -> Iterable[str]:
        port = stage.world.start(ImapServer(), tls="implicit").port
        file = Path("config.toml")
        file.touch(0o600)
        file.write_text(
            f'[destinations.box]\nurl = "imaps://alice@localhost:{port}/INBOX"\n'
            f'ca_file = "{stage.ca_file}"\npassword = "{password}"\n'
        )
        return [
            *stage.show("login", "@box", "-c", file),
            *stage.show("login", "@bok", "-c", file),
        ]

    return situation


def capabilities(stage: Stage) -> Iterable[str]:
    served = stage.post(
        tls="implicit", capabilities=[b"TOP", b"UIDL", b"SASL PLAIN", b"EXPIRE 30", b"LOGIN-DELAY 60"]
    )
    port = str(served.server.port)
    return stage.show("caps", "-v", "-H", "127.0.0.1", "-p", port, "--ca-file", stage.ca_file)


def no_tls(stage: Stage) -> Iterable[str]:
    served = stage.post(capabilities=[b"TOP"])
    return stage.show("caps", "-v", "-H", "127.0.0.1", "-p", str(served.server.port), "--tls", "off")


def unknown_authority(stage: Stage) -> Iterable[str]:
    served = stage.post(tls="implicit")
    words = ["list", "-H", LOOPBACK[1], "-p", str(served.server.port), "-u", "alice"]
    return stage.show(*words, served=served)


def missing_files(stage: Stage) -> Iterable[str]:
    Path("not.pem").write_text("nothing")
    for words in (
        "--ca-file nosuch.pem",
        "--ca-file not.pem",
        "--client-cert nosuch.pem",
        "--client-cert not.pem",
    ):
        yield from stage.show("stat", "-H", "127.0.0.1", "-u", "alice", *words.split())


def passwords(stage: Stage) -> Iterable[str]:
    account = ["stat", "-a", stage.post().server.url()]
    Path("open").write_text("secret\n")
    Path("open").chmod(0o644)
    for words in ("--password-file nosuch", "--password-file open", "--password-command /no/such"):
        yield from stage.show(*account, *words.split())
    yield from stage.show(*account, "--password-command", "sh -c 'echo no key for alice >&2; exit 2'")


def refused_login(stage: Stage) -> Iterable[str]:
    return stage.show("stat", served=stage.post(password="another"))


def demo(stage: Stage) -> Iterable[str]:
    return stage.lines(stage.play("demo"))


# -- the first login -------------------------------------------------------------------------------


def first_login(stage: Stage) -> Iterable[str]:
    stage.world.names.records.update(BY_DNS)
    stage.world.serve("pop.example.org:995")
    return stage.lines(stage.world.screen(columns=stage.columns))


def outside(answer: bytes) -> Situation:
    def situation(stage: Stage) -> Iterable[str]:
        stage.world.names.records[POP3S] = ["0 1 995 pop.hoster.example."]
        stage.world.serve("pop.hoster.example:995")
        asked = ASKED if answer == b"y\n" else []
        answers = [(b"[y/N] ", answer), *asked]
        return stage.lines(stage.world.screen(columns=stage.columns, answers=answers))

    return situation


def wrong_password(stage: Stage) -> Iterable[str]:
    stage.world.serve("pop.example.org:995", user="alice")
    return stage.lines(stage.world.screen(columns=stage.columns, answers=ASKED * 3))


def no_keyring(answer: bytes) -> Situation:
    def situation(stage: Stage) -> Iterable[str]:
        stage.world.serve("pop.example.org:995")
        failing = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
        answers = [*ASKED, (b"[y/N] ", answer)]
        return stage.lines(stage.world.screen(columns=stage.columns, env=failing, answers=answers))

    return situation


def no_server(stage: Stage) -> Iterable[str]:
    return stage.lines(stage.world.screen(columns=stage.columns, answers=[]))


COMMAND_LINES = ("", *(f"{name} " for name in COMMANDS), *(f"record {name} " for name in record.commands))
SITUATIONS: dict[str, dict[str, Situation]] = {
    "help": {f"{words}--help": typed(f"{words}--help") for words in COMMAND_LINES},
    # That of the other commands is made of these.
    "help-all": {f"{words}--help-all": typed(f"{words}--help-all") for words in ("", "get ", "accounts ")},
    "mistakes": {words: typed(words) for words in MISTAKES},
    "configuration": {
        **{name: configured(text) for name, text in WRONG_FILES.items()},
        "no file, no account, readable by others": unreadable_file,
    },
    "errors": {name: raised(name) for name in errors.EXAMPLES},
    "list": {
        "a table": table,
        "a long table": long_table,
        "scripts and emoji": many_scripts,
        "no messages": nothing_to_list,
        "stat": counted,
    },
    "get": {
        "twice": fetched_twice,
        "a dry run": planned,
        "a message again": fetched_again,
        "verbosely": fetched_verbosely,
        "a refused message": refused_message,
        "an empty message": empty_message,
        "a failing program": failing_program,
        "a missing message": missing_message,
    },
    "rm": {
        "yes": partial(removed, words="1-3 last", answer=b"y\n"),
        "no": partial(removed, words="2-5"),
        "many": partial(removed, words="--all", messages=letters(30)),
        "Ctrl-C": partial(removed, words="1", answer=b"\x03"),
    },
    "record": {"messages that were added": recorded},
    "accounts": {"accounts": configured_accounts, "list and get -A": many_accounts},
    "check": {
        "an account that works": examined,
        "a refused login": partial(examined, password="another"),
        "no account": nothing_to_examine,
    },
    "import": {"a dry run": imported, "nothing to import": nothing_to_import},
    "connections": {
        "caps -v": capabilities,
        "caps -v without TLS": no_tls,
        "an unknown authority": unknown_authority,
        "files that cannot be used": missing_files,
        "passwords that cannot be used": passwords,
        "a refused login": refused_login,
    },
    "login": {
        "the first minute": first_login,
        "a server outside the domain": outside(b"y\n"),
        "a server outside the domain, refused": outside(b"n\n"),
        "a wrong password": wrong_password,
        "no keyring, a file": no_keyring(b"y\n"),
        "no keyring and no file": no_keyring(b"n\n"),
        "no server": no_server,
        "a destination": destination_login("secret"),
        "a destination, a wrong password": destination_login("hunter2"),
    },
    "demo": {"demo": demo},
}
IN_THIS_PROCESS = {"help", "help-all", "mistakes", "configuration", "errors", "connections"}


@pytest.fixture
def stage(
    here: Here,
    post: StartPost,
    ca_file: Path,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[int], Stage]]:
    """Yield what sets a stage of some width: each has a home and a folder of its own."""
    with ExitStack() as folders:

        def of_width(columns: int) -> Stage:
            folder = Path(
                folders.enter_context(tempfile.TemporaryDirectory(prefix="pop3fetch-screen-", dir="/tmp"))
            )
            monkeypatch.chdir(folder)
            for name, value in homely(folder / "HOME").items():
                monkeypatch.setenv(name, value)
            world.names.records.clear()
            run = RunAt(folder / "HOME", folder, AFTERNOON, python=world.run.python)
            machine = replace(world, run=run, keyring=keyrings.in_a_file(folder), hosts={})
            return Stage(columns, folder, here, Terminal(run), post, ca_file, machine)

        yield of_width


def choices() -> Iterator[Any]:
    """Yield each situation with its widths: with one of them in turn, if it takes processes, or with all."""
    turns = count()
    for kind, situations in SITUATIONS.items():
        widths = (200, *WIDTHS) if kind in TABLES else WIDTHS
        for name in situations:
            if kind in IN_THIS_PROCESS:
                yield pytest.param(kind, name, widths, id=f"{kind}-{name}")
            else:
                yield pytest.param(
                    kind, name, [widths[next(turns) % len(widths)]], id=f"{kind}-{name}-one width"
                )
                yield pytest.param(kind, name, widths, id=f"{kind}-{name}-all", marks=pytest.mark.slow)


@pytest.mark.parametrize(("kind", "name", "widths"), [*choices()])
def test_screen(kind: str, name: str, widths: Sequence[int], stage: Callable[[int], Stage]) -> None:
    shown = {columns: list(SITUATIONS[kind][name](stage(columns))) for columns in widths}
    snapshots.check(kind, name, shown, order=list(SITUATIONS[kind]))


@pytest.mark.parametrize("kind", SITUATIONS)
def test_no_section_is_left_over(kind: str) -> None:
    assert {name for name, _ in snapshots.read(kind)} == SITUATIONS[kind].keys()


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in snapshots.FOLDER.iterdir()} == SITUATIONS.keys()
