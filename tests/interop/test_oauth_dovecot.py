"""A real Dovecot that asks a real OAuth 2 server about our access tokens (RFC 7662)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pop3fetch.account.credentials import Password, Sources
from pop3fetch.account.oauth import flow as oauth
from pop3fetch.account.oauth.flow import Authorization
from pop3fetch.account.oauth.messages import Tokens
from pop3fetch.account.oauth.providers import OAuthSettings
from pop3fetch.account.settings_table import Account
from pop3fetch.errors import LoginRefused
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.status import Status
from tests.support.dovecot import Dovecot, version
from tests.support.keyrings import Backend, in_use
from tests.support.oauth_server import CLIENT_ID, SCOPES, OAuthServer

METHODS = ("xoauth2", "oauthbearer")
NEVER = 10.0  # seconds: a time-out that no test reaches

# Dovecot's error challenge (RFC 7628 section 3.2.2), as our message shows it. Its
# versions differ in order and fields.
JSON_SHOWN = {
    "xoauth2": {"status: 401", "schemes: bearer", "scope: mail"},
    "oauthbearer": {"status: invalid_token"},
}
ALSO_BY_2_4 = {"scope: mail"}


@pytest.fixture(scope="module")
def running_dovecot(asking_dovecot: Dovecot) -> Dovecot:
    return asking_dovecot


@pytest.fixture
def client(issuer: OAuthServer) -> OAuthSettings:
    return OAuthSettings(
        client_id=CLIENT_ID,
        device_endpoint=issuer.endpoint("device_authorization"),
        token_endpoint=issuer.endpoint("token"),
        scopes=SCOPES,
    )


@pytest.fixture
def backend() -> Iterator[Backend]:
    with in_use(Backend()) as backend:
        yield backend


@pytest.fixture
def token(client: OAuthSettings) -> str:
    """Return an access token of alice's."""
    return log_in(client).access


def log_in(client: OAuthSettings) -> Tokens:
    return Authorization(
        client, show=lambda line: None, open_browser=False, limit=NEVER, wait=lambda seconds: None
    ).run()


def pop3(dovecot: Dovecot, method: str, trace: Callable[[str, bytes], None] | None = None) -> POP3Client:
    return POP3Client(
        Server(
            endpoint=Endpoint(dovecot.host, dovecot.pop3s_port),
            policy=LoginPolicy(mode="implicit", method=method),
            timeout=NEVER,
            tls=TLSOptions(str(dovecot.ca_file)),
            trace=trace,
        )
    )


def in_base64(token: str) -> list[bytes]:
    """Return what ``token`` becomes inside a longer text in base64, wherever it begins there."""
    return [b64encode(b"x" * before + token.encode())[4:-4] for before in range(3)]


@pytest.mark.parametrize("method", METHODS)
def test_a_token_opens_the_maildrop_and_is_in_no_trace(dovecot: Dovecot, token: str, method: str) -> None:
    dovecot.deliver("alice", [b"Subject: hello\n\nworld\n"])
    lines: list[bytes] = []
    with pop3(dovecot, method, lambda mark, octets: lines.append(octets)) as client:
        client.login("alice", lambda: token)
        assert client.stat()[0] == 1
    trace = b"\n".join(lines)
    assert f"AUTH {method.upper()}".encode() in trace
    assert not any(form in trace for form in (token.encode(), *in_base64(token)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", ["wrong", "w" * 400])
def test_a_wrong_token_is_refused_with_the_servers_json_in_the_message(
    dovecot: Dovecot, method: str, wrong: str
) -> None:
    with pop3(dovecot, method) as client, pytest.raises(LoginRefused) as caught:
        client.login("alice", lambda: wrong)
    assert caught.value.exit_status == Status.NO_LOGIN
    words, _, shown = str(caught.value).removesuffix(")").rpartition(" (")
    assert words == (
        f"the server refused the login of alice ({method.upper()}): [AUTH] Authentication failed."
    )
    expected = JSON_SHOWN[method] | (set() if version() < (2, 4) else ALSO_BY_2_4)
    assert set(shown.split(", ")) == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_token_opens_no_other_maildrop(dovecot: Dovecot, token: str, method: str) -> None:
    with pop3(dovecot, method) as client, pytest.raises(LoginRefused):
        client.login("bob", lambda: token)


@pytest.mark.parametrize("method", METHODS)
def test_a_later_run_logs_in_by_the_refresh_token_alone(
    dovecot: Dovecot, client: OAuthSettings, backend: Backend, tmp_path: Path, method: str
) -> None:
    account = Account(
        name="work",
        host=dovecot.host,
        port=dovecot.pop3s_port,
        tls="implicit",
        user="alice",
        auth=method,
        oauth=client,
    )
    oauth.store_refresh_token(account, log_in(client))
    reported: list[str] = []
    password = Password(account, Sources(home=tmp_path, report=reported.append, child_environment={}))
    for _ in range(2):
        with pop3(dovecot, method) as session:
            session.login("alice", password)
            assert session.stat()[0] == 0
    assert reported == []
