"""Logging in by OAuth 2 at a real server, and what later runs make of it."""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import keyring
import pytest

from pop3fetch.account.credentials import Password, Sources
from pop3fetch.account.oauth import flow as oauth
from pop3fetch.account.oauth.flow import Authorization
from pop3fetch.account.oauth.messages import Tokens
from pop3fetch.account.oauth.providers import OAuthSettings
from pop3fetch.account.settings_table import Account
from pop3fetch.errors import AuthorizationFailed, ConfigurationError, ConnectionFailed, NoPassword
from pop3fetch.status import Status
from tests.support.keyrings import Backend, Hanging, Raising, in_use
from tests.support.oauth_server import CLIENT_ID, SCOPES, OAuthServer

PATIENCE = 10.0  # seconds for what does come
SOON = 0.05  # seconds for what does not
ENTRY = ("pop3fetch-oauth", "alice@mail.example.org")


class Clock:
    """A clock that only our waiting moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Browser:
    """A user at a browser, who opens the page that the terminal shows, or does what ``go`` does."""

    def __init__(self, go: Callable[[str], object] | None = None) -> None:
        self.lines: list[str] = []
        self._go = go or self.follow
        self._people = ThreadPoolExecutor()
        self._visits: list[Future[object]] = []

    def show(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("http"):
            self._visits.append(self._people.submit(self._go, line))

    @staticmethod
    def follow(url: str) -> bytes:
        try:
            with urlopen(url, timeout=PATIENCE) as page:
                return bytes(page.read())
        except HTTPError as refusal:
            refusal.close()  # it is a page, too, which Python 3.14 reports as left open
            raise

    def pages(self) -> list[object]:
        return [visit.result(PATIENCE) for visit in self._visits]


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as server:
        yield server


@pytest.fixture
def by_device(server: OAuthServer) -> OAuthSettings:
    return OAuthSettings(
        client_id=CLIENT_ID,
        device_endpoint=server.endpoint("device_authorization"),
        authorization_endpoint=server.endpoint("authorize"),
        token_endpoint=server.endpoint("token"),
        scopes=SCOPES,
    )


@pytest.fixture
def by_code(by_device: OAuthSettings) -> OAuthSettings:
    return replace(by_device, device_endpoint=None)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with in_use(Backend()) as backend:
        yield backend


@pytest.fixture
def account(by_device: OAuthSettings) -> Account:
    return Account(
        name="work",
        host="mail.example.org",
        port=995,
        tls="implicit",
        user="alice",
        auth="xoauth2",
        oauth=by_device,
    )


@pytest.fixture
def reported() -> list[str]:
    return []


@pytest.fixture
def held(backend: Backend, by_device: OAuthSettings) -> Tokens:
    """Return the tokens of a login whose refresh token is in the keyring."""
    tokens = log_in(by_device, Clock())
    assert tokens.refresh is not None
    backend.kept[ENTRY] = tokens.refresh
    return tokens


def log_in(settings: OAuthSettings, clock: Clock, limit: float = 600.0) -> Tokens:
    """Log in by device code; who has the code is another's affair."""
    return Authorization(
        settings, show=lambda line: None, open_browser=False, limit=limit, clock=clock, wait=clock.wait
    ).run()


def browse(settings: OAuthSettings, browser: Browser, limit: float = PATIENCE) -> Tokens:
    return Authorization(settings, show=browser.show, open_browser=False, limit=limit).run()


def redirect_of(url: str) -> tuple[str, str]:
    """Return the redirection URI and the state of an authorization request."""
    query = parse_qs(urlsplit(url).query)
    return query["redirect_uri"][0], query["state"][0]


# ---- the device flow


def test_a_device_gets_tokens_when_its_owner_has_decided(
    server: OAuthServer, by_device: OAuthSettings
) -> None:
    server.decisions = [None, None, True]
    clock = Clock()
    tokens = log_in(by_device, clock)
    assert server.is_active(tokens.access)
    assert (tokens.refresh is not None, tokens.expires) == (True, 3600)
    assert clock.waits == [5.0, 5.0, 5.0]
    assert server.forms("device_authorization") == [{"client_id": CLIENT_ID, "scope": "mail offline_access"}]


def test_the_page_and_the_code_are_shown(server: OAuthServer, by_device: OAuthSettings) -> None:
    lines: list[str] = []
    clock = Clock()
    Authorization(
        by_device, show=lines.append, open_browser=False, limit=60, clock=clock, wait=clock.wait
    ).run()
    text, url = lines
    assert text.startswith("Open this page in any browser, and enter the code ")
    assert len(text.removesuffix(" there:").rpartition(" ")[2]) == len("ABCD-EFGH")
    assert url == server.endpoint("device")


def test_after_slow_down_each_wait_is_five_seconds_longer(
    server: OAuthServer, by_device: OAuthSettings
) -> None:
    server.decisions = [None, None, True]
    server.hurried = True
    clock = Clock()
    log_in(by_device, clock)
    assert clock.waits == [5.0, 10.0, 15.0]


def test_a_denied_authorization_ends_the_login(server: OAuthServer, by_device: OAuthSettings) -> None:
    server.decisions = [None, False]
    with pytest.raises(AuthorizationFailed) as caught:
        log_in(by_device, Clock())
    assert caught.value.error == "access_denied"
    assert caught.value.exit_status == Status.NO_LOGIN
    assert len(server.forms("token")) == 2


def test_a_device_code_that_has_expired_ends_the_login(server: OAuthServer, by_device: OAuthSettings) -> None:
    server.decisions = [None]
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.wait(seconds)
        if len(clock.waits) == 2:
            server.expire_devices()

    with pytest.raises(AuthorizationFailed) as caught:
        Authorization(
            by_device, show=lambda line: None, open_browser=False, limit=600, clock=clock, wait=wait
        ).run()
    assert caught.value.error == "expired_token"
    assert len(clock.waits) == 2


@pytest.mark.parametrize(("limit", "polls"), [(12.0, 2), (4.9, 0), (10_000.0, 20)])
def test_the_wait_ends_with_the_limit_or_the_life_of_the_code(
    server: OAuthServer, by_device: OAuthSettings, limit: float, polls: int
) -> None:
    server.decisions = [None]
    with pytest.raises(
        AuthorizationFailed, match="the login at the OAuth 2 server was not completed in time"
    ):
        log_in(by_device, Clock(), limit)
    assert len(server.forms("token")) == polls


def test_a_broken_network_makes_the_device_wait_longer_and_try_on(
    by_device: OAuthSettings,
) -> None:
    with OAuthServer() as gone:
        nowhere = gone.endpoint("token")
    clock = Clock()
    with pytest.raises(AuthorizationFailed, match="in time"):
        log_in(replace(by_device, token_endpoint=nowhere), clock, limit=100.0)
    assert clock.waits == [5.0, 10.0, 20.0, 40.0]


def test_an_unknown_client_is_reported(
    by_device: OAuthSettings,
) -> None:
    with pytest.raises(AuthorizationFailed, match=r"invalid_client: The client does not exist"):
        log_in(replace(by_device, client_id="nobody"), Clock())


def test_a_confidential_client_proves_itself() -> None:
    with OAuthServer(secret="s3cret") as server:
        settings = OAuthSettings(
            client_id=CLIENT_ID,
            client_secret="s3cret",
            device_endpoint=server.endpoint("device_authorization"),
            token_endpoint=server.endpoint("token"),
        )
        tokens = log_in(settings, Clock())
        assert server.is_active(oauth.refresh(settings, tokens.refresh or "").access)
        with pytest.raises(AuthorizationFailed, match="invalid_client") as caught:
            log_in(replace(settings, client_secret="wr0ng"), Clock())
        assert "wr0ng" not in str(caught.value)


# ---- the redirect


def test_a_browser_comes_back_with_a_code_for_tokens(server: OAuthServer, by_code: OAuthSettings) -> None:
    browser = Browser()
    tokens = browse(by_code, browser)
    assert server.is_active(tokens.access) and tokens.refresh is not None
    assert b"You may close this page" in browser.pages()[0]  # type: ignore[operator]
    text, url = browser.lines
    assert text == "Open this page in a browser on this machine, and log in there:"
    assert "code_challenge_method=S256" in url
    (form,) = server.forms("token")
    assert len(form["code_verifier"]) == 64 and form["code_verifier"] not in url


def test_a_users_no_is_shown(server: OAuthServer, by_code: OAuthSettings) -> None:
    server.consents = False
    with pytest.raises(AuthorizationFailed) as caught:
        browse(by_code, Browser())
    assert caught.value.error == "access_denied"
    assert server.forms("token") == []


@pytest.mark.parametrize(
    "query", ["", "?x", "?code=c0de", "?code=c0de&state=", "?code=c0de&state=forged", "?error=access_denied"]
)
def test_a_request_without_our_state_is_ignored_and_its_code_not_used(
    server: OAuthServer, by_code: OAuthSettings, query: str
) -> None:
    def knock_first(url: str) -> None:
        for _ in range(3):
            with pytest.raises(HTTPError, match="404"):
                Browser.follow(f"{redirect_of(url)[0]}{query}")
        Browser.follow(url)

    assert server.is_active(browse(by_code, Browser(knock_first)).access)
    (form,) = server.forms("token")
    assert form["code"] != "c0de"


def test_a_wrong_path_does_not_count(server: OAuthServer, by_code: OAuthSettings) -> None:
    def stray_first(url: str) -> None:
        redirect, state = redirect_of(url)
        with pytest.raises(HTTPError, match="404"):
            Browser.follow(f"{redirect}callback?code=c0de&state={state}")
        Browser.follow(url)

    browser = Browser(stray_first)
    assert server.is_active(browse(by_code, browser).access)
    browser.pages()


def test_a_code_that_the_server_did_not_give_is_refused(server: OAuthServer, by_code: OAuthSettings) -> None:
    def invent(url: str) -> None:
        redirect, state = redirect_of(url)
        Browser.follow(f"{redirect}?code=c0de&state={state}")

    with pytest.raises(AuthorizationFailed) as caught:
        browse(by_code, Browser(invent))
    assert caught.value.error == "invalid_grant"
    assert "c0de" not in str(caught.value)


def test_a_browser_that_does_not_come_back_is_not_waited_for(by_code: OAuthSettings) -> None:
    with pytest.raises(AuthorizationFailed, match="was not completed in time"):
        browse(by_code, Browser(lambda url: None), limit=SOON)


@pytest.mark.parametrize("by", ["by_code", "by_device"])
def test_the_browser_is_opened_on_request(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, by: str
) -> None:
    settings: OAuthSettings = request.getfixturevalue(by)
    browser, clock, opened = Browser(), Clock(), list[str]()
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def show(line: str) -> None:
        if by == "by_code":
            browser.show(line)
        else:
            browser.lines.append(line)

    Authorization(settings, show=show, open_browser=True, limit=PATIENCE, clock=clock, wait=clock.wait).run()
    assert opened == [browser.lines[1]]


# ---- refreshing


def test_a_refresh_token_gives_a_fresh_access_token(server: OAuthServer, by_device: OAuthSettings) -> None:
    first = log_in(by_device, Clock())
    second = oauth.refresh(by_device, first.refresh or "")
    assert second.access != first.access and server.is_active(second.access)
    assert second.refresh is None


def test_a_refresh_token_may_be_rotated(server: OAuthServer, by_device: OAuthSettings) -> None:
    first = log_in(by_device, Clock())
    server.rotates = True
    second = oauth.refresh(by_device, first.refresh or "")
    assert second.refresh not in (None, first.refresh)
    with pytest.raises(AuthorizationFailed, match="invalid_grant"):
        oauth.refresh(by_device, first.refresh or "")


# ---- what a run gets


def test_a_run_gets_an_access_token_and_the_keyring_stays_as_it_is(
    server: OAuthServer, account: Account, backend: Backend, held: Tokens, reported: list[str]
) -> None:
    assert server.is_active(oauth.access_token(account, reported.append))
    assert backend.kept == {ENTRY: held.refresh}
    assert reported == []


def test_a_rotated_refresh_token_takes_the_place_of_the_old_one(
    server: OAuthServer, account: Account, backend: Backend, held: Tokens, reported: list[str]
) -> None:
    server.rotates = True
    for _ in range(2):
        assert server.is_active(oauth.access_token(account, reported.append))
    assert backend.kept[ENTRY] not in (None, held.refresh)
    assert reported == []


def test_a_rotated_refresh_token_that_cannot_be_kept_is_reported(
    server: OAuthServer, account: Account, backend: Backend, held: Tokens, reported: list[str]
) -> None:
    class Full(Backend):
        def set_password(self, service: str, username: str, password: str) -> None:
            raise keyring.errors.PasswordSetError(f"no room for {password}")

    full = Full()
    full.kept = backend.kept
    keyring.set_keyring(full)
    server.rotates = True
    assert server.is_active(oauth.access_token(account, reported.append))
    (line,) = reported
    assert line.startswith("the new refresh token of alice@mail.example.org is lost: the system's keyring: ")
    assert "could not store the refresh token (PasswordSetError)" in line
    assert str(server.forms("token")[-1]) not in line and "room" not in line


def test_a_revoked_refresh_token_asks_for_another_login(
    server: OAuthServer, account: Account, held: Tokens, reported: list[str]
) -> None:
    server.revoke_all()
    with pytest.raises(NoPassword) as caught:
        oauth.access_token(account, reported.append)
    assert str(caught.value) == (
        "the OAuth 2 server refused: invalid_grant; log in with `pop3fetch login -a work`"
    )
    assert caught.value.exit_status == Status.NO_LOGIN
    assert held.refresh is not None and held.refresh not in str(caught.value)


def test_without_a_refresh_token_the_error_shows_how_to_log_in(
    account: Account, backend: Backend, reported: list[str], server: OAuthServer
) -> None:
    with pytest.raises(NoPassword) as caught:
        oauth.access_token(account._replace(name="my work"), reported.append)
    assert str(caught.value) == (
        "there is no refresh token for alice@mail.example.org; log in with `pop3fetch login -a 'my work'`"
    )
    assert server.requests == []


def test_a_keyring_that_is_locked_is_reported_and_is_the_reason(
    account: Account, backend: Backend, reported: list[str]
) -> None:
    keyring.set_keyring(Raising())
    with pytest.raises(NoPassword) as caught:
        oauth.access_token(account, reported.append)
    (line,) = reported
    assert line.startswith("the keyring was skipped: KeyringLocked: ")
    assert line in str(caught.value) and str(caught.value).endswith("; log in with `pop3fetch login -a work`")


def test_a_keyring_that_hangs_is_not_waited_for(
    account: Account, backend: Backend, reported: list[str]
) -> None:
    hanging = Hanging()
    keyring.set_keyring(hanging)
    with pytest.raises(NoPassword, match=r"it did not answer within 0\.05 s"):
        oauth.access_token(account, reported.append, SOON)
    hanging.over.set()


def test_a_server_that_is_not_there_is_to_be_tried_later(
    account: Account, held: Tokens, reported: list[str]
) -> None:
    assert account.oauth is not None
    with OAuthServer() as gone:
        nowhere = gone.endpoint("token")
    with pytest.raises(ConnectionFailed) as caught:
        oauth.access_token(
            account._replace(oauth=replace(account.oauth, token_endpoint=nowhere)), reported.append
        )
    assert caught.value.exit_status == Status.TRY_LATER


def test_an_account_without_a_client_cannot_have_a_token(account: Account, reported: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"accounts\.work\.oauth: is missing"):
        oauth.access_token(account._replace(oauth=None), reported.append)


# ---- the keyring


def test_a_refresh_token_is_kept_and_forgotten(account: Account, backend: Backend) -> None:
    assert oauth.refresh_token(account) is None
    oauth.store_refresh_token(account, Tokens("access", "refresh"))
    assert backend.kept == {ENTRY: "refresh"}
    assert oauth.refresh_token(account) == "refresh"
    assert oauth.forget(account) is True
    assert backend.kept == {}
    assert oauth.forget(account) is False


def test_a_login_that_gives_no_refresh_token_is_a_matter_of_scopes(
    account: Account, backend: Backend
) -> None:
    with pytest.raises(ConfigurationError, match=r"no refresh token; .*offline_access"):
        oauth.store_refresh_token(account, Tokens("access"))
    assert backend.kept == {}


# ---- among the other sources of a password


@pytest.fixture
def sources(tmp_path: Path, reported: list[str], backend: Backend) -> Sources:
    return Sources(home=tmp_path, report=reported.append, child_environment={"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize("auth", ["xoauth2", "oauthbearer"])
def test_the_password_of_an_account_with_oauth_is_an_access_token(
    server: OAuthServer, account: Account, sources: Sources, held: Tokens, backend: Backend, auth: str
) -> None:
    backend.kept["pop3fetch", "alice@mail.example.org"] = "a password"
    assert server.is_active(Password(account._replace(auth=auth), sources)())


def test_each_login_gets_an_access_token_of_its_own(account: Account, sources: Sources, held: Tokens) -> None:
    password = Password(account, sources)
    assert password() != password()


@pytest.mark.parametrize("auth", ["auto", "plain", "user"])
def test_another_method_does_not_want_a_token(
    server: OAuthServer, account: Account, sources: Sources, backend: Backend, auth: str
) -> None:
    backend.kept["pop3fetch", "alice@mail.example.org"] = "a password"
    assert Password(account._replace(auth=auth), sources)() == "a password"
    assert server.requests == []


def test_a_token_from_the_environment_or_a_command_goes_first(
    server: OAuthServer, account: Account, sources: Sources
) -> None:
    assert Password(account, sources._replace(environment="token"))() == "token"
    assert Password(account._replace(password_command=("echo", "token")), sources)() == "token"
    assert server.requests == []


def test_no_other_source_is_asked_without_a_refresh_token(
    account: Account, sources: Sources, backend: Backend
) -> None:
    backend.kept["pop3fetch", "alice@mail.example.org"] = "a password"
    with pytest.raises(NoPassword, match="log in with `pop3fetch login -a work`"):
        Password(account, sources._replace(ask=lambda question: "typed"))()


def test_a_login_does_not_look_for_a_refresh_token(
    account: Account, sources: Sources, held: Tokens, server: OAuthServer
) -> None:
    before = len(server.requests)
    sources = sources._replace(keyring=False, ask=lambda question: "typed")
    assert Password(account, sources)() == "typed"
    assert len(server.requests) == before


# ---- what is imported


def test_nothing_of_oauth_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, pop3fetch.account.credentials, pop3fetch.cli.main;"
        "print([name for name in sys.modules if 'oauthlib' in name or name.startswith('http')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n"
