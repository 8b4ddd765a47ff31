"""The table [accounts.NAME.oauth]: from TOML to the settings of an account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pop3fetch.account.config_file import load
from pop3fetch.account.oauth.providers import OAUTH_KEYS, PROVIDERS, OAuthSettings, endpoint
from pop3fetch.errors import ConfigurationError
from pop3fetch.status import Status

WORK = '[accounts.work]\nhost = "mail.example.org"\nuser = "alice"\nauth = "xoauth2"\n'
OWN = """
[accounts.work.oauth]
client_id = "me"
token_endpoint = "https://id.example.org/token"
"""
BY_CODE = OWN + 'authorization_endpoint = "https://id.example.org/authorize"\n'


def settings(folder: Path, table: str, mode: int = 0o600) -> OAuthSettings | None:
    return load(written(folder, table, mode)).account().oauth


def written(folder: Path, table: str, mode: int = 0o600) -> Path:
    file = folder / "config.toml"
    file.write_text(WORK + table)
    file.chmod(mode)
    return file


def test_every_key_of_the_table_reaches_the_account(tmp_path: Path) -> None:
    table = BY_CODE + (
        'client_secret = "s3cret"\n'
        'device_endpoint = "https://id.example.org/device?for=pop3"\n'
        'scopes = "mail offline_access"\n'
    )
    assert settings(tmp_path, table) == OAuthSettings(
        client_id="me",
        client_secret="s3cret",
        authorization_endpoint="https://id.example.org/authorize",
        device_endpoint="https://id.example.org/device?for=pop3",
        token_endpoint="https://id.example.org/token",
        scopes=("mail", "offline_access"),
    )


def test_an_account_without_the_table_has_none(tmp_path: Path) -> None:
    assert settings(tmp_path, "") is None


def test_microsoft_is_a_short_hand_with_a_device_endpoint(tmp_path: Path) -> None:
    common = "https://login.microsoftonline.com/common/oauth2/v2.0"
    table = '[accounts.work.oauth]\nprovider = "microsoft"\nclient_id = "me"\n'
    assert settings(tmp_path, table) == OAuthSettings(
        client_id="me",
        authorization_endpoint=f"{common}/authorize",
        device_endpoint=f"{common}/devicecode",
        token_endpoint=f"{common}/token",
        scopes=("https://outlook.office.com/POP.AccessAsUser.All", "offline_access"),
    )


def test_google_is_a_short_hand_without_one(tmp_path: Path) -> None:
    table = '[accounts.work.oauth]\nprovider = "Google"\nclient_id = "me"\nclient_secret = "s3cret"\n'
    assert settings(tmp_path, table) == OAuthSettings(
        client_id="me",
        client_secret="s3cret",
        authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
        token_endpoint="https://oauth2.googleapis.com/token",
        scopes=("https://mail.google.com/",),
    )


def test_a_key_beside_a_provider_wins(tmp_path: Path) -> None:
    tenant = "https://login.microsoftonline.com/example.org/oauth2/v2.0/token"
    table = (
        f'[accounts.work.oauth]\nprovider = "microsoft"\nclient_id = "me"\ntoken_endpoint = "{tenant}"\n'
        'scopes = ["mail"]\n'
    )
    found = settings(tmp_path, table)
    assert found is not None
    assert (found.token_endpoint, found.scopes) == (tenant, ("mail",))


def test_every_provider_has_endpoints_and_scopes_that_a_table_could_have() -> None:
    for table in PROVIDERS.values():
        for key, value in table.items():
            assert OAUTH_KEYS[key](value) == value


WRONG: list[tuple[str, str, str]] = [
    ('oauth = "google"\n', "oauth", "must be a table, as in [accounts.NAME.oauth]"),
    (BY_CODE + "clientid = 'x'\n", "oauth.clientid", "did you mean 'client_id'?"),
    (BY_CODE + "zzz = 1\n", "oauth.zzz", "unknown key"),
    (BY_CODE + "scopes = 3\n", "oauth.scopes", "must be a string or an array of strings"),
    (BY_CODE + "scopes = ''\n", "oauth.scopes", "must be OAuth 2 scopes"),
    (BY_CODE + "scopes = ['a b']\n", "oauth.scopes", "must be OAuth 2 scopes"),
    (BY_CODE + "scopes = 'qu\"ote'\n", "oauth.scopes", "must be OAuth 2 scopes"),
    (BY_CODE + "client_secret = 3\n", "oauth.client_secret", "must be a string"),
    (BY_CODE + "provider = 'yahoo'\n", "oauth.provider", "must be one of microsoft, google"),
    (BY_CODE + "device_endpoint = 'http://id.example.org'\n", "oauth.device_endpoint", "https://"),
    ("[accounts.work.oauth]\nprovider = 'google'\n", "oauth.client_id", "is missing"),
    ("[accounts.work.oauth]\nclient_id = 'me'\n", "oauth.token_endpoint", "is missing"),
    (OWN, "oauth.authorization_endpoint", "and so is device_endpoint"),
]


@pytest.mark.parametrize(("table", "key", "reason"), WRONG)
def test_a_mistake_is_named_by_file_table_and_key(tmp_path: Path, table: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, table)
    assert caught.value.where == f"{tmp_path / 'config.toml'}: accounts.work.{key}"
    assert reason in caught.value.reason
    assert caught.value.exit_status == Status.CONFIGURATION


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example.org",
        "https://id.example.org:8443/a/b?c=d",
        "http://127.0.0.1:8080/token",
        "http://localhost/token",
        "http://[::1]:8080/token",
    ],
)
def test_an_endpoint_is_https_or_on_loopback(url: str) -> None:
    assert endpoint(url) == url


@pytest.mark.parametrize(
    "url",
    [
        3,
        "",
        "id.example.org/token",
        "ftp://id.example.org/token",
        "file:///etc/passwd",
        "https://",
        "https:///token",
        "https://id.example.org:port/",
        "https://id.example.org:70000/",
        "https://[::1/token",
        "http://127.0.0.1.example.org/token",
        "http://127.0.0.1@example.org/token",
        "http://example.org#@127.0.0.1/token",
        "https://alice:s3cret@id.example.org/token",
        "https://id.example.org/token#fragment",
        "https://id.example.org/to ken",
        "https://id.example.org/to\x7fken",
        "https://id.example.org/tok\N{LATIN SMALL LETTER E WITH ACUTE}n",
    ],
)
def test_anything_else_is_not_an_endpoint_and_is_not_repeated(url: Any) -> None:
    with pytest.raises(ValueError) as caught:
        endpoint(url)
    assert "s3cret" not in str(caught.value)


def test_a_client_secret_is_in_no_repr(tmp_path: Path) -> None:
    configuration = load(written(tmp_path, BY_CODE + 'client_secret = "s3cret"\n'))
    assert "s3cret" not in f"{configuration!r} {configuration.account()!r}"


def test_a_client_secret_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    file = written(tmp_path, BY_CODE + 'client_secret = "s3cret"\n', 0o644)
    assert load(file).warnings() == [f"{file}: others can read the client_secret in it; chmod go-r it"]


def test_a_client_without_a_secret_is_not_warned_of(tmp_path: Path) -> None:
    assert load(written(tmp_path, BY_CODE, 0o644)).warnings() == []
