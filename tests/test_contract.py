"""What a script may rely on: every row of the command line's tables is a parameter here.

Commands, options and variables, what wins over what, exit statuses, JSON keys, tab-separated forms.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from pop3fetch.account import settings_table
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.main import COMMANDS
from pop3fetch.cli.options import Invocation, server_options
from pop3fetch.cli.screen.console import Console
from pop3fetch.status import Status
from tests.support.command import PATIENCE, Ended, Run
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.running import begun
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk

GREETING = b"+OK ready <1896.697170952@localhost>\r\n"
MESSAGE = (
    b"From: Bob <bob@example.com>\r\nTo: Alice <alice@example.org>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Thu, 12 Feb 2026 11:11:00 +0100\r\nMessage-ID: <1@example.com>\r\n\r\nHello.\r\n"
)
SIZE = len(MESSAGE)
SECRET = {"POP3FETCH_PASSWORD": "secret"}


# -- commands and options --------------------------------------------------------------------

TALKING = ("list", "get", "rm", "caps", "stat", "login", "logout", "check")

# Every option of the commands that talk to a server, with its variable.
OPTIONS = {
    ("-a", "--account"): "POP3FETCH_ACCOUNT",
    ("-A", "--all-accounts"): None,
    ("--jobs",): None,
    ("--jobs-per-host",): None,
    ("--no-pipelining",): None,
    ("--utf8",): "POP3FETCH_UTF8",
    ("-H", "--host"): "POP3FETCH_HOST",
    ("-p", "--port"): "POP3FETCH_PORT",
    ("-u", "--user"): "POP3FETCH_USER",
    ("--tls",): "POP3FETCH_TLS",
    ("--auth",): "POP3FETCH_AUTH",
    ("--allow-insecure-login",): "POP3FETCH_ALLOW_INSECURE_LOGIN",
    ("--ca-file",): "POP3FETCH_CA_FILE",
    ("--tls-fingerprint",): "POP3FETCH_TLS_FINGERPRINT",
    ("--tls-name",): "POP3FETCH_TLS_NAME",
    ("--tls-ciphers",): "POP3FETCH_TLS_CIPHERS",
    ("--client-cert",): "POP3FETCH_CLIENT_CERT",
    ("--client-key",): "POP3FETCH_CLIENT_KEY",
    ("--password-file",): "POP3FETCH_PASSWORD_FILE",
    ("--password-command",): "POP3FETCH_PASSWORD_COMMAND",
    ("--timeout",): "POP3FETCH_TIMEOUT",
    ("-4",): None,
    ("-6",): None,
    ("--proxy",): "POP3FETCH_PROXY",
    ("-c", "--config"): "POP3FETCH_CONFIG",
    ("--state-dir",): "POP3FETCH_STATE_DIR",
    ("-q", "--quiet"): None,
    ("-v", "--verbose"): None,
    ("--help-all",): None,
    ("-h", "--help"): None,
}
FILTERS = {"--from", "--to", "--subject", "--since", "--before", "--larger", "--smaller"}
OWN_OPTIONS = {
    "list": FILTERS | {"-l", "--long", "--new", "--reverse", "--limit", "--no-pager", "--stdin", "--json"},
    "get": FILTERS | {
        "-o", "--output", "--recipient", "--exec", "--exec-timeout", "--crlf", "--lines", "--all", "--mark",
        "--delete", "--keep", "--delete-after", "--limit", "--max-size", "--create", "--dry-run", "--stdin",
        "--json", "--delete-marked", "--patience", "--every", "--on-new", "--log-file", "--log-json",
    },
    "rm": FILTERS | {"--all", "--yes", "--dry-run", "--stdin", "--json"},
    "caps": {"--json"},
    "stat": {"--new", "--json"},
    "login": {"--store"},
    "logout": set(),
    "check": {"--json"},
}  # fmt: skip
# Of the commands that take no server of the command line.
GENERAL = ("-c", "--config", "--state-dir", "-q", "--quiet", "-v", "--verbose", "--help-all", "-h", "--help")
OPTIONS_OF_IMPORT = {
    "--only", "--rename", "--list", "--dry-run", "--offline", "--merge", "--force", "--json",
}  # fmt: skip


def command_named(name: str) -> click.Command:
    command = import_module(f"pop3fetch.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    return command


def options_of(name: str) -> set[str]:
    options = [option for option in command_named(name).params if isinstance(option, click.Option)]
    return {spelling for option in options for spelling in (*option.opts, *option.secondary_opts)}


def test_the_commands_are_those_of_the_contract() -> None:
    assert set(COMMANDS) == {*TALKING, "accounts", "demo", "record", "import"}


@pytest.mark.parametrize("command", TALKING)
@pytest.mark.parametrize(("spellings", "variable"), OPTIONS.items())
def test_every_command_that_talks_has_every_option(
    command: str, spellings: tuple[str, ...], variable: str | None
) -> None:
    [option] = [param for param in command_named(command).params if spellings[0] in param.opts]
    assert tuple(option.opts) == spellings
    assert option.envvar == variable


@pytest.mark.parametrize("command", TALKING)
def test_there_are_no_other_options(command: str) -> None:
    shared = {spelling for spellings in OPTIONS for spelling in spellings}
    assert options_of(command) == shared | OWN_OPTIONS[command]


def test_import_has_the_options_and_programs_of_the_contract() -> None:
    assert options_of("import") == {*GENERAL, *OPTIONS_OF_IMPORT}
    [program, files] = [each for each in command_named("import").params if isinstance(each, click.Argument)]
    assert isinstance(program.type, click.Choice)
    assert program.type.choices == ("mpop", "fetchmail", "getmail", "fdm")
    assert (files.nargs, files.required) == (-1, False)


def test_no_option_takes_a_password() -> None:
    assert {name for name in options_of("get") if "pass" in name} == {"--password-file", "--password-command"}


# -- option > environment > file -------------------------------------------------------------


@dataclass(frozen=True)
class Layered:
    """A setting in three places; ``attribute`` of the account shows which one won."""

    option: str
    variable: str
    key: str
    attribute: str
    option_value: str
    variable_value: str
    file_value: str

    def expected(self, value: str) -> object:
        if self.attribute == "password_command":
            return (value,)
        if self.attribute in ("port", "timeout"):
            return int(value)
        return value


def layered(name: str, option: str, variable: str, file: str) -> Layered:
    dashed = name.replace("_", "-")
    return Layered(f"--{dashed}", f"POP3FETCH_{name.upper()}", name, name, option, variable, file)


LAYERED = [
    layered("host", "option.example.org", "variable.example.org", "file.example.org"),
    layered("port", "1001", "1002", "1003"),
    layered("user", "option", "variable", "file"),
    layered("tls", "off", "starttls", "auto"),
    layered("auth", "apop", "plain", "user"),
    layered("ca_file", "/option", "/variable", "/file"),
    layered("tls_fingerprint", "a" * 64, "b" * 64, "c" * 64),
    layered("tls_name", "option.example.org", "variable.example.org", "file.example.org"),
    layered("tls_ciphers", "DEFAULT", "HIGH", "AES128-SHA"),
    layered("client_cert", "/option", "/variable", "/file"),
    layered("client_key", "/option", "/variable", "/file"),
    layered("password_file", "/option", "/variable", "/file"),
    layered("password_command", "option", "variable", "file"),
    layered("timeout", "1", "2", "3"),
    layered("proxy", "socks5://option:1", "socks5://variable:2", "socks5://file:3"),
]
by_option = pytest.mark.parametrize("setting", LAYERED, ids=lambda setting: setting.option)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Account]:
    """Return what options, variables and a file come to."""
    seen: list[Account] = []

    @click.command
    @server_options
    def command(invocation: Invocation) -> None:
        seen.append(invocation.account())

    def account(*options: str, env: Mapping[str, str] | None = None, file: str = "") -> Account:
        config = tmp_path / "config.toml"
        config.write_text(f'[accounts.work]\nhost = "mail.example.org"\nuser = "alice"\n{file}\n')
        config.chmod(0o600)
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        with open(tmp_path / "out", "w") as out:
            arguments = ["--config", str(config), *options]
            with command.make_context("command", arguments, obj=Console(out, out, {})) as context:
                command.invoke(context)
        return seen.pop()

    return account


def in_file(setting: Layered) -> str:
    value = setting.file_value if setting.key in ("port", "timeout") else f'"{setting.file_value}"'
    # The table has a host and a user already, and a key may come once.
    before = 'client_cert = "/certificate"\n' if setting.key == "client_key" else ""  # which it needs
    return "" if setting.key in ("host", "user") else f"{before}{setting.key} = {value}"


@by_option
def test_the_file_counts(account: Callable[..., Account], setting: Layered) -> None:
    found = getattr(account(file=in_file(setting)), setting.attribute)
    given = {"host": "mail.example.org", "user": "alice"}.get(setting.key, setting.file_value)
    assert found == setting.expected(given)


@by_option
def test_a_variable_wins_over_the_file(account: Callable[..., Account], setting: Layered) -> None:
    environment = {"POP3FETCH_ACCOUNT": "work", setting.variable: setting.variable_value}
    found = account(env=environment, file=in_file(setting))
    assert getattr(found, setting.attribute) == setting.expected(setting.variable_value)


@by_option
def test_an_option_wins_over_the_variable(account: Callable[..., Account], setting: Layered) -> None:
    environment = {"POP3FETCH_ACCOUNT": "work", setting.variable: setting.variable_value}
    found = account(
        "-a", "work", setting.option, setting.option_value, env=environment, file=in_file(setting)
    )
    assert getattr(found, setting.attribute) == setting.expected(setting.option_value)


FLAGS = ["utf8", "allow_insecure_login"]


def test_each_setting_with_a_variable_is_tried_in_all_places() -> None:
    with_variable = {name for name, option in settings_table.OPTIONS if option.variable}
    assert with_variable == {*FLAGS, *(each.key for each in LAYERED)}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_counts_everywhere(account: Callable[..., Account], flag: str) -> None:
    variable = f"POP3FETCH_{flag.upper()}"
    assert not getattr(account(), flag)
    assert getattr(account(f"--{flag.replace('_', '-')}"), flag)
    assert getattr(account(file=f"{flag} = true"), flag)
    assert getattr(account(env={variable: "1"}), flag)
    assert not getattr(account(env={variable: "0"}, file=f"{flag} = true"), flag)


@pytest.mark.parametrize(
    ("options", "attribute", "value"),
    [(["-4"], "family", "ipv4"), (["-6"], "family", "ipv6"), (["--no-pipelining"], "pipelining", False)],
)
def test_options_without_a_variable_count(
    account: Callable[..., Account], options: list[str], attribute: str, value: object
) -> None:
    assert getattr(account(*options), attribute) == value


@pytest.mark.parametrize(
    ("options", "port", "tls"),
    [
        ([], 995, "implicit"),
        (["--tls", "auto"], 110, "auto"),
        (["--tls", "starttls"], 110, "starttls"),
        (["--tls", "off"], 110, "off"),
        (["-p", "110"], 110, "auto"),
        (["-p", "1995"], 1995, "implicit"),
        (["-p", "110", "--tls", "implicit"], 110, "implicit"),
    ],
)
def test_port_and_tls_have_the_defaults_of_the_contract(
    account: Callable[..., Account], options: list[str], port: int, tls: str
) -> None:
    found = account("-H", "mail.example.org", "-u", "alice", *options)
    assert (found.port, found.tls) == (port, tls)


@pytest.mark.parametrize(
    ("url", "user", "port", "tls"),
    [
        ("pop3s://alice@mail.example.org", "alice", 995, "implicit"),
        ("pop3s://alice@mail.example.org:1995", "alice", 1995, "implicit"),
        ("pop3://alice@mail.example.org", "alice", 110, "auto"),
        ("pop3://alice%40example.org@mail.example.org", "alice@example.org", 110, "auto"),
        ("pop://alice;AUTH=+APOP@mail.example.org", "alice", 110, "auto"),
    ],
)
def test_an_account_may_be_a_url(
    account: Callable[..., Account], url: str, user: str, port: int, tls: str
) -> None:
    found = account("-a", url)
    assert (found.host, found.user, found.port, found.tls) == ("mail.example.org", user, port, tls)


def test_the_time_out_is_a_minute(account: Callable[..., Account]) -> None:
    assert account().timeout == 60


# -- exit statuses ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A way to end with a status: the command, and the script of the server that it meets.

    ``{url}`` in the arguments is the server's, ``{folder}`` an empty folder.
    """

    status: Status
    arguments: str
    script: Script
    env: Mapping[str, str] | None = None


def mailbox(**options: Any) -> Mailbox:
    return Mailbox([MESSAGE], **{"greeting": GREETING, **options})


def refusing(command: bytes, reply: bytes) -> Mailbox:
    return mailbox(replies={command: reply})


def hanging_up(talk: Talk) -> None:
    talk.say(GREETING)
    talk.line()


def imap(talk: Talk) -> None:
    talk.say(b"* OK IMAP4rev1 Service Ready\r\n")
    talk.line()


WAYS = {
    "all done": Way(Status.OK, "list -a {url}", mailbox()),
    "nothing to do": Way(Status.OK, "get -a {url}", Mailbox([], greeting=GREETING)),
    "an unknown option": Way(Status.USAGE, "list --nonsense", mailbox()),
    "an unknown command": Way(Status.USAGE, "fetch", mailbox()),
    "messages that cannot be": Way(Status.USAGE, "list -a {url} 5-3", mailbox()),
    "rm --all without --yes": Way(Status.USAGE, "rm -a {url} --all", mailbox()),
    "a list that cannot be": Way(
        Status.BAD_DATA, "list -a {url}", refusing(b"LIST\r\n", b"+OK\r\n1 x\r\n.\r\n")
    ),
    "a message that came empty": Way(
        Status.BAD_DATA, "get -a {url}", refusing(b"RETR 1\r\n", b"+OK\r\n.\r\n")
    ),
    "a message that is not there": Way(Status.NO_MESSAGE, "get -a {url} 2", mailbox()),
    "a UID that is not there": Way(Status.NO_MESSAGE, "rm -a {url} uid:nobody", mailbox()),
    "a host that cannot be resolved": Way(Status.NO_HOST, "list -H no..host -u alice", mailbox()),
    "a refused command": Way(Status.REFUSED, "list -a {url}", refusing(b"LIST\r\n", b"-ERR no\r\n")),
    "a refused message": Way(Status.REFUSED, "get -a {url}", refusing(b"RETR 1\r\n", b"-ERR no\r\n")),
    "a QUIT that is refused": Way(
        Status.REFUSED, "rm -a {url} 1", refusing(b"QUIT\r\n", b"-ERR not deleted\r\n")
    ),
    "a maildir that cannot be": Way(
        Status.CANNOT_DELIVER, "get -a {url} -o maildir:/dev/null/Maildir", mailbox()
    ),
    "a program that fails": Way(Status.CANNOT_DELIVER, "get -a {url} --exec false", mailbox()),
    "no connection": Way(Status.TRY_LATER, "list -H 127.0.0.1 -p 1 -u alice", mailbox()),
    "a lost connection": Way(Status.TRY_LATER, "list -a {url}", hanging_up),
    "a maildrop in use": Way(Status.TRY_LATER, "list -a {url}", mailbox(greeting=b"-ERR [IN-USE] later\r\n")),
    "a login too soon": Way(
        Status.TRY_LATER, "list -a {url}", mailbox(greeting=b"-ERR [LOGIN-DELAY] later\r\n")
    ),
    "a passing failure": Way(
        Status.TRY_LATER, "list -a {url}", mailbox(greeting=b"-ERR [SYS/TEMP] later\r\n")
    ),
    "no POP3 server": Way(Status.PROTOCOL, "list -a {url}", imap),
    "no TLS where it should be": Way(Status.PROTOCOL, "list -a {url} --tls implicit --timeout 5", mailbox()),
    "a refused login": Way(Status.NO_LOGIN, "list -a {url}", mailbox(password="other")),
    "a login that is not safe": Way(Status.NO_LOGIN, "list -a {url}", mailbox(greeting=b"+OK\r\n")),
    "no password": Way(Status.NO_LOGIN, "list -a {url}", mailbox(), {"POP3FETCH_PASSWORD": ""}),
    "a wrong configuration": Way(Status.CONFIGURATION, "list -c {folder}/wrong.toml", mailbox()),
    "no configuration": Way(Status.CONFIGURATION, "list -c {folder}/none.toml", mailbox()),
    "an unknown account": Way(Status.CONFIGURATION, "list -a nobody", mailbox()),
}


@dataclass(frozen=True)
class Tried:
    """A form of login, and what its server receives."""

    way: Way
    url: str
    folder: Path

    @property
    def arguments(self) -> list[str]:
        return self.way.arguments.format(url=self.url, folder=self.folder).split()

    @property
    def env(self) -> dict[str, str]:
        return {**SECRET, **(self.way.env or {})}

    def check(self, ended: Ended) -> None:
        assert ended.status == self.way.status
        if self.way.status is Status.OK:
            assert ended.err == b""
        else:
            assert ended.err.startswith(b"pop3fetch: ")
            assert ended.err.count(b"\n") == 1, "an error is one line"


@pytest.fixture
def tried(server: StartServer, tmp_path: Path, request: pytest.FixtureRequest) -> Tried:
    (tmp_path / "wrong.toml").write_text('[accounts.work]\nhost = "h"\ncolour = "blue"\n')
    way: Way = request.param
    return Tried(way, server(way.script).url(), tmp_path)


# A process of its own takes its time: one is enough for each status.
ONE_OF_EACH = {way.status: (name, way) for name, way in reversed(WAYS.items())}.values()


@pytest.mark.parametrize("tried", WAYS.values(), ids=WAYS.keys(), indirect=True)
def test_a_run_ends_with_the_status_of_the_contract(here: Here, tried: Tried) -> None:
    tried.check(here(*tried.arguments, env=tried.env))


@pytest.mark.parametrize(
    "tried", [way for _, way in ONE_OF_EACH], ids=[name for name, _ in ONE_OF_EACH], indirect=True
)
def test_a_process_ends_with_the_status_of_the_contract(run: Run, tried: Tried) -> None:
    tried.check(run(*tried.arguments, env=tried.env))


def test_every_status_is_tried() -> None:
    signals_and_bugs = {Status.INTERRUPTED, Status.TERMINATED, Status.BUG}
    assert {way.status for way in WAYS.values()} | signals_and_bugs == set(Status)


INTERRUPT = (signal.SIGINT, Status.INTERRUPTED, b"pop3fetch: interrupted\n")
TERMINATE = (signal.SIGTERM, Status.TERMINATED, b"pop3fetch: terminated\n")


@pytest.mark.parametrize(
    ("command", "number", "status", "said"),
    [("list", *INTERRUPT), ("get", *INTERRUPT), ("get", *TERMINATE), ("rm --yes 1", *TERMINATE)],
)
def test_a_signal_ends_a_run_with_its_status(
    server: StartServer, run: Run, command: str, number: signal.Signals, status: Status, said: bytes
) -> None:
    waiting = threading.Event()

    def stall(talk: Talk) -> None:
        waiting.set()
        talk.stall()

    deaf = mailbox(replies={b"LIST\r\n": b"+OK\r\n"}, after={b"LIST\r\n": stall})
    url = server(deaf).url()
    with begun(run, *command.split(), "-a", url, env=SECRET) as process:
        assert waiting.wait(PATIENCE)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (status, b"", said)
    assert deaf.messages == [MESSAGE]


# -- forms -----------------------------------------------------------------------------------


@pytest.fixture
def url(server: StartServer) -> str:
    served: ScriptedServer = server(mailbox())
    return served.url()


LISTED = {"number": 1, "size": SIZE, "uid": "uid-1", "new": True, "fetched_at": None}
PLANNED = {"number": 1, "uid": "uid-1", "size": SIZE, "subject": "Grüße"}
SUMMARY = {
    "date": "2026-02-12T11:11:00+01:00",
    "from": "Bob <bob@example.com>",
    "to": "Alice <alice@example.org>",
    "cc": None,
    "subject": "Grüße",
    "message_id": "<1@example.com>",
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("list", LISTED),
        ("list -l", LISTED | SUMMARY),
        ("stat", {"messages": 1, "octets": SIZE}),
        ("stat --new", {"messages": 1, "octets": SIZE, "new": 1}),
        (
            "caps",
            {
                "TOP": None, "UIDL": None, "USER": None, "RESP-CODES": None, "PIPELINING": None,
                "SASL": ["PLAIN"],
            },
        ),
        ("rm 1", {"number": 1, "uid": "uid-1", "size": SIZE}),
        ("rm --dry-run 1", PLANNED | {"would": "delete"}),
        ("get --dry-run --exec true", PLANNED | {"would": "fetch", "destination": "exec:true"}),
        ("get --dry-run --mark", PLANNED | {"would": "mark", "destination": None}),
        (
            "get -o mbox:{folder}/box",
            {
                "number": 1, "uid": "uid-1", "size": SIZE,
                "path": "{folder}/box", "destination": "mbox:{folder}/box",
            },
        ),
        (
            "get --exec true",
            {"number": 1, "uid": "uid-1", "size": SIZE, "path": None, "destination": "exec:true"},
        ),
    ],
)  # fmt: skip
def test_json_has_these_keys(
    here: Here, url: str, tmp_path: Path, arguments: str, expected: dict[str, object]
) -> None:
    ended = here(*arguments.format(folder=tmp_path).split(), "--json", "-a", url, env=SECRET)
    [line] = ended.out.splitlines()
    for key in ("path", "destination"):
        if isinstance(expected.get(key), str):
            expected = {**expected, key: str(expected[key]).format(folder=tmp_path)}
    assert json.loads(line) == expected
    assert (ended.status, ended.err) == (0, b"")


def test_json_of_a_fetched_message_names_its_file(here: Here, url: str, maildir: Path) -> None:
    ended = here("get", "--json", "-a", url, "-o", f"maildir:{maildir}", env=SECRET)
    [file] = (maildir / "new").iterdir()
    expected = {"number": 1, "uid": "uid-1", "size": SIZE, "path": str(file)}
    expected["destination"] = f"maildir:{maildir}"
    assert [json.loads(line) for line in ended.out.splitlines()] == [expected]


def test_json_of_a_header_without_fields_has_nulls(here: Here, server: StartServer) -> None:
    bare = server(mailbox(replies={b"TOP 1 0\r\n": b"+OK\r\n\r\n.\r\n"}))
    ended = here("list", "-l", "--json", "-a", bare.url(), env=SECRET)
    assert json.loads(ended.out) == LISTED | dict.fromkeys(SUMMARY)


def test_check_prints_result_step_and_text(here: Here, url: str) -> None:
    rows = [line.split("\t") for line in here("check", "-a", url, env=SECRET).out.decode().splitlines()]
    objects = [json.loads(line) for line in here("check", "--json", "-a", url, env=SECRET).out.splitlines()]
    assert [(each["result"], each["step"], each["text"]) for each in objects] == list(map(tuple, rows))
    assert {each["status"] for each in objects} == {0}
    assert {step for _, step, _ in rows} == {
        "configuration", "dns", "connection", "tls", "greeting", "login", "cron", "limits", "destination",
        "record", "other programs",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("list", f"1\t{SIZE}\tuid-1\n"),
        (
            "list -l",
            f"1\t{SIZE}\tuid-1\t2026-02-12T11:11:00+01:00\tBob <bob@example.com>\tGrüße\n",
        ),
        ("stat", f"1\t{SIZE}\n"),
        ("stat --new", f"1\t{SIZE}\t1\n"),
        ("caps", "TOP\nUIDL\nUSER\nRESP-CODES\nPIPELINING\nSASL PLAIN\n"),
        ("rm --dry-run 1", f"delete\t1\t{SIZE}\tuid-1\tGrüße\n"),
        ("get --dry-run", f"fetch\t1\t{SIZE}\tuid-1\tGrüße\n"),
        ("get -o - --crlf 1", MESSAGE.decode()),
        ("get", ""),
        ("rm 1", ""),
        ("get --mark", ""),
    ],
)
def test_elsewhere_than_on_a_terminal_output_has_this_form(
    here: Here, url: str, arguments: str, expected: str
) -> None:
    ended = here(*arguments.split(), "-a", url, env=SECRET)
    assert ended.out.decode() == expected
    assert (ended.status, ended.err) == (0, b"")
