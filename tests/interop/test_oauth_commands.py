"""OAuth 2 at the command line, against a real OAuth 2 server and a real Dovecot that asks it.

A user logs in once, by a code or by a browser; all later runs are unattended, as under cron.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from urllib.request import urlopen

import pytest

from pop3fetch.status import Status
from tests.support import keyrings
from tests.support.command import PATIENCE, Ended, Run
from tests.support.dovecot import Dovecot
from tests.support.keyrings import kept
from tests.support.leaks import leaks
from tests.support.mail_server import Mailbox
from tests.support.oauth_server import CLIENT_ID, OAuthServer
from tests.support.scripted_server import StartServer, Talk
from tests.support.terminal import Terminal

METHODS = ("xoauth2", "oauthbearer")
FLOWS = ("device_endpoint", "authorization_endpoint")
SECRETS = ("code", "code_verifier", "device_code", "refresh_token", "token")  # in the forms that came
TRACE = "-vv"
MESSAGE = b"Subject: hello\n\nworld\n"

CONFIGURATION = """\
[accounts.work]
host = "{host}"
port = {port}
tls = "implicit"
ca_file = "{ca_file}"
user = "{user}"
auth = "{method}"

[accounts.work.oauth]
client_id = "{client}"
{flow} = "{page}"
token_endpoint = "{token_endpoint}"
scopes = "mail offline_access"
"""


@pytest.fixture(scope="module")
def running_dovecot(asking_dovecot: Dovecot) -> Dovecot:
    return asking_dovecot


@pytest.fixture
def keyring(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a keyring that is a file."""
    return keyrings.in_a_file(tmp_path)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A `login` that has shown a page, and waits for a login there."""

    process: subprocess.Popen[bytes]
    said: str
    url: str

    def visit(self) -> None:
        """Open the page as a browser does, and follow its redirects."""
        with urlopen(self.url, timeout=PATIENCE) as page:
            page.read()

    def ended(self) -> Ended:
        """Wait for the end; what was read before it is not in it."""
        out, err = self.process.communicate()
        return Ended(self.process.returncode, out, err)


@dataclass(frozen=True, slots=True)
class Work:
    """The account ``work``, its mail server and its OAuth 2 server."""

    run: Run
    issuer: OAuthServer
    address: tuple[str, int]
    ca_file: Path
    keyring: Mapping[str, str]

    def configure(
        self, *, method: str = "xoauth2", flow: str = "authorization_endpoint", user: str = "alice"
    ) -> None:
        """Write the configuration file."""
        file = self.run.home / ".config/pop3fetch/config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        host, port = self.address
        page = "authorize" if flow == "authorization_endpoint" else "device_authorization"
        text = CONFIGURATION.format(
            host=host,
            port=port,
            ca_file=self.ca_file,
            user=user,
            method=method,
            client=CLIENT_ID,
            flow=flow,
            page=self.issuer.endpoint(page),
            token_endpoint=self.issuer.endpoint("token"),
        )
        file.write_text(text)

    def __call__(self, *arguments: str | Path) -> Ended:
        """Run a command on the account, without a terminal."""
        return self.run(*arguments, "-a", "work", env=self.keyring)

    @contextmanager
    def logging_in(self, *options: str) -> Iterator[Waiting]:
        """Run `login` until it has shown its page."""
        process = subprocess.Popen(
            self.run.command("login", "-a", "work", *options),
            cwd=self.run.folder,
            env={**self.run.environment, **self.keyring},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # what is not read yet is left to ``communicate``
            start_new_session=True,
        )
        limit = Timer(PATIENCE, process.kill)
        limit.start()
        with process:
            try:
                assert process.stderr is not None
                said, url = process.stderr.readline(), process.stderr.readline()
                yield Waiting(process, said.decode(), url.decode().strip())
            finally:
                limit.cancel()
                process.kill()

    def log_in(self, *options: str) -> Ended:
        """Log in as a person does whose browser is on this machine."""
        with self.logging_in(*options) as waiting:
            waiting.visit()
            return waiting.ended()

    @property
    def refresh_token(self) -> str | None:
        """What the keyring holds; nothing but a refresh token may be there."""
        entries = kept(self.keyring)
        host, port = self.address
        assert entries.keys() <= {f"pop3fetch-oauth alice@{host}:{port}"}
        return next(iter(entries.values()), None)

    def secrets(self) -> set[str]:
        """Return all secrets that only the two servers may see."""
        forms = [form for _, form in self.issuer.requests]
        seen = {form[name] for form in forms for name in SECRETS if name in form}
        return seen | {self.refresh_token or ""} - {""}


@pytest.fixture
def work(run: Run, issuer: OAuthServer, dovecot: Dovecot, keyring: dict[str, str]) -> Work:
    """Configure alice's account, with the browser's flow."""
    work = Work(run, issuer, (dovecot.host, dovecot.pop3s_port), dovecot.ca_file, keyring)
    work.configure()
    return work


def silent(ended: Ended) -> bool:
    return (ended.status, ended.out, ended.err) == (0, b"", b"")


def only_line(ended: Ended) -> str:
    """Return the only line of standard error."""
    (line,) = ended.err.decode().splitlines()
    assert ended.out == b""
    return line


# ---- the login


@pytest.mark.parametrize("method", METHODS)
def test_a_code_is_shown_and_the_refresh_token_kept_once_its_owner_approves(
    work: Work, issuer: OAuthServer, method: str
) -> None:
    work.configure(method=method, flow="device_endpoint")
    issuer.decisions = [None]
    with work.logging_in() as waiting:
        assert waiting.url == issuer.endpoint("device")
        said = waiting.said.removeprefix("Open this page in any browser, and enter the code ")
        assert len(said.removesuffix(" there:\n")) == len("ABCD-EFGH")
        assert work.refresh_token is None
        issuer.decisions = [True]
        assert silent(waiting.ended())
    assert work.refresh_token
    assert work("stat").out == b"0\t0\n"


@pytest.mark.parametrize("method", METHODS)
def test_a_browser_comes_back_and_the_refresh_token_is_kept(work: Work, method: str) -> None:
    work.configure(method=method)
    with work.logging_in() as waiting:
        assert waiting.said == "Open this page in a browser on this machine, and log in there:\n"
        assert waiting.url.startswith(work.issuer.endpoint("authorize") + "?")
        assert work.refresh_token is None
        waiting.visit()
        assert silent(waiting.ended())
    assert work.refresh_token
    assert work("stat").out == b"0\t0\n"


def test_on_a_terminal_the_browser_is_opened_too(
    work: Work, run: Run, tmp_path: Path, keyring: dict[str, str]
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[1])\n"
    )
    browser.chmod(0o700)
    env = {**keyring, "BROWSER": str(browser)}
    seen = Terminal(run)("login", "-a", "work", env=env, columns=1000)
    host, port = work.address
    assert seen.status == 0
    assert seen.screen[2:] == [
        f"the refresh token of work (alice@{host}:{port}) works, and is kept in the keyring",
        "next: pop3fetch list",
    ]
    assert work.refresh_token


def test_even_a_quiet_login_shows_the_page(work: Work) -> None:
    assert silent(work.log_in("-q"))
    assert work.refresh_token


@pytest.mark.parametrize("method", METHODS)
def test_what_the_mail_server_refuses_is_not_kept(work: Work, method: str) -> None:
    work.configure(method=method, user="bob")
    ended = work.log_in()
    assert ended.status == Status.NO_LOGIN
    assert only_line(ended).startswith(f"pop3fetch: the server refused the login of bob ({method.upper()}): ")
    assert work.refresh_token is None
    assert len(work.issuer.forms("token")) == 1


def test_nothing_is_kept_before_the_mail_server_has_taken_it(
    run: Run, issuer: OAuthServer, server: StartServer, ca_file: Path, keyring: dict[str, str]
) -> None:
    def refusing_late(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSASL XOAUTH2\r\n.\r\n")
        assert talk.line().startswith(b"AUTH XOAUTH2")
        assert kept(keyring) == {}
        talk.say(b"-ERR [SYS/TEMP] later\r\n")

    running = server(refusing_late, tls="implicit")
    work = Work(run, issuer, (running.host, running.port), ca_file, keyring)
    work.configure()
    ended = work.log_in()
    assert ended.status == Status.TRY_LATER
    assert "[SYS/TEMP] later" in only_line(ended)
    assert kept(keyring) == {}


@pytest.mark.parametrize("flow", FLOWS)
def test_a_denied_authorization_leaves_nothing(work: Work, flow: str) -> None:
    work.configure(flow=flow)
    work.issuer.decisions, work.issuer.consents = [False], False
    with work.logging_in() as waiting:
        if flow == "authorization_endpoint":
            waiting.visit()
        ended = waiting.ended()
    assert ended.status == Status.NO_LOGIN
    assert only_line(ended).startswith("pop3fetch: the OAuth 2 server refused: access_denied")
    assert work.refresh_token is None


@pytest.mark.parametrize("flow", FLOWS)
def test_a_login_that_waits_can_be_interrupted(work: Work, flow: str) -> None:
    work.configure(flow=flow)
    work.issuer.decisions = [None]
    with work.logging_in() as waiting:
        waiting.process.send_signal(signal.SIGINT)
        ended = waiting.ended()
    assert ended.status == Status.INTERRUPTED
    assert b"Traceback" not in ended.err
    assert work.refresh_token is None


def test_the_browser_is_not_opened_during_a_login_delay(
    run: Run, issuer: OAuthServer, server: StartServer, ca_file: Path, keyring: dict[str, str]
) -> None:
    delaying = Mailbox([], capabilities=(b"USER", b"LOGIN-DELAY 600"))
    running = server(delaying, tls="implicit")
    work = Work(run, issuer, (running.host, running.port), ca_file, keyring)
    work.configure()
    password = {"POP3FETCH_AUTH": "user", "POP3FETCH_PASSWORD": "secret"}
    assert run("stat", "-a", "work", env=password).status == 0
    ended = work("login")
    assert ended.status == Status.TRY_LATER
    assert only_line(ended).endswith(" s (LOGIN-DELAY)")
    assert issuer.requests == []


# ---- the runs after it


def test_later_runs_need_no_user_and_print_nothing(work: Work, dovecot: Dovecot, maildir: Path) -> None:
    dovecot.deliver("alice", [MESSAGE])
    work.log_in()
    held = work.refresh_token
    counted = work("stat")
    assert (counted.status, counted.err) == (0, b"")
    assert counted.out.startswith(b"1\t")
    assert silent(work("get", "-o", maildir))
    assert [file.read_bytes() for file in (maildir / "new").iterdir()] == [MESSAGE]
    assert work.refresh_token == held
    grants = [form["grant_type"] for form in work.issuer.forms("token")]
    assert grants == ["authorization_code", "refresh_token", "refresh_token"]


def test_a_rotated_refresh_token_takes_the_place_of_the_old_one(work: Work) -> None:
    work.log_in()
    work.issuer.rotates = True
    held = [work.refresh_token]
    for _ in range(2):
        assert work("stat").out == b"0\t0\n"
        held.append(work.refresh_token)
    assert len(set(held)) == 3 and None not in held


def test_without_a_refresh_token_the_way_to_one_is_named(work: Work) -> None:
    host, port = work.address
    ended = work("stat")
    assert ended.status == Status.NO_LOGIN
    assert only_line(ended) == (
        f"pop3fetch: there is no refresh token for alice@{host}:{port}; log in with `pop3fetch login -a work`"
    )
    assert work.issuer.requests == []


def test_a_refresh_token_that_was_withdrawn_asks_for_a_new_login(work: Work) -> None:
    work.log_in()
    work.issuer.revoke_all()
    ended = work("stat")
    assert ended.status == Status.NO_LOGIN
    assert "invalid_grant" in only_line(ended)
    assert only_line(ended).endswith("; log in with `pop3fetch login -a work`")
    work.log_in()
    assert work("stat").out == b"0\t0\n"


def test_logout_forgets(work: Work) -> None:
    work.log_in()
    host, port = work.address
    said = only_line(work("logout", "-v"))
    assert said == f"pop3fetch: the refresh token of alice@{host}:{port} is removed from the keyring"
    assert work.refresh_token is None
    assert only_line(work("logout", "-v")).endswith(" was not in the keyring")
    assert work("stat").status == Status.NO_LOGIN


# ---- what is shown


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("flow", FLOWS)
def test_no_token_and_no_code_is_shown(work: Work, method: str, flow: str) -> None:
    work.configure(method=method, flow=flow)
    with work.logging_in(TRACE) as waiting:
        if flow == "authorization_endpoint":
            waiting.visit()
        login = waiting.ended()
    work.issuer.rotates = True
    stat = work("stat", TRACE)
    assert (login.status, stat.status) == (0, 0)
    assert b"> AUTH %s" % method.upper().encode() in login.err
    assert b"> AUTH %s" % method.upper().encode() in stat.err
    shown = waiting.said.encode() + waiting.url.encode() + login.err + stat.err + stat.out
    secrets = work.secrets()
    assert len(secrets) >= 5  # a code; two access tokens; two refresh tokens
    assert [secret for secret in secrets if leaks(shown, secret)] == []


def test_a_refusal_shows_no_token_either(work: Work) -> None:
    work.configure(user="bob")
    refused = work.log_in(TRACE)
    work.configure()
    work.log_in()
    work.issuer.revoke_all()
    withdrawn = work("stat", TRACE)
    assert (refused.status, withdrawn.status) == (Status.NO_LOGIN, Status.NO_LOGIN)
    assert [each for each in work.secrets() if leaks(refused.err + withdrawn.err, each)] == []


def test_an_access_token_is_on_no_disk(work: Work, maildir: Path) -> None:
    work.log_in()
    assert silent(work("get", "-o", maildir))
    access = {form["token"] for form in work.issuer.forms("introspect")}
    assert len(access) == 2
    files = [file for root in (work.run.home, work.run.folder) for file in root.rglob("*") if file.is_file()]
    assert Path(work.keyring["KEYRING_FILE"]) in files
    octets = b"".join(file.read_bytes() for file in files)
    assert json.dumps(work.refresh_token).encode() in octets
    assert [token for token in access if token.encode() in octets] == []
