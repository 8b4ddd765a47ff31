"""The requests of an OAuth 2 client, and how it reads any answer."""

from __future__ import annotations

import json
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.account.oauth.messages import (
    KNOWN,
    Answer,
    CodeGrant,
    DeviceGrant,
    Tokens,
    device_form,
    device_grant,
    device_token_form,
    refresh_form,
    tokens,
)
from pop3fetch.account.oauth.providers import OAuthSettings
from pop3fetch.errors import AuthorizationFailed, ConfigurationError, POP3Error, ProtocolViolation
from pop3fetch.status import Status

URL = "https://id.example.org/token"
REDIRECT = "http://127.0.0.1:4711/"
PUBLIC = OAuthSettings(
    client_id="me",
    authorization_endpoint="https://id.example.org/authorize?tenant=x",
    token_endpoint=URL,
    scopes=("mail", "https://example.org/.all"),
)
CONFIDENTIAL = OAuthSettings(client_id="me", client_secret="s3cret", token_endpoint=URL)
DEVICE = {
    "device_code": "d3vice",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://id.example.org/device",
    "expires_in": 900,
}


def answer(fields: object, status: int = 200) -> Answer:
    return Answer(URL, status, json.dumps(fields).encode())


def form(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def state_of(grant: CodeGrant) -> str:
    return parse_qs(urlsplit(grant.url()).query)["state"][0]


# ---- requests


def test_the_authorization_request_has_state_and_challenge() -> None:
    url = urlsplit(CodeGrant(PUBLIC, REDIRECT).url())
    assert (url.scheme, url.netloc, url.path) == ("https", "id.example.org", "/authorize")
    query = dict(parse_qsl(url.query))
    assert len(query.pop("state")) >= 30
    assert len(query.pop("code_challenge")) == 43
    assert query == {
        "tenant": "x",
        "response_type": "code",
        "client_id": "me",
        "redirect_uri": REDIRECT,
        "scope": "mail https://example.org/.all",
        "code_challenge_method": "S256",
    }


def test_the_token_request_has_the_verifier_of_the_challenge() -> None:
    grant = CodeGrant(PUBLIC, REDIRECT)
    sent = form(grant.form(f"/?code=c0de&state={state_of(grant)}"))
    challenge = parse_qs(urlsplit(grant.url()).query)["code_challenge"][0]
    digest = sha256(sent.pop("code_verifier").encode()).digest()
    assert urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
    assert sent == {
        "grant_type": "authorization_code",
        "client_id": "me",
        "code": "c0de",
        "redirect_uri": REDIRECT,
    }


def test_no_two_authorizations_have_anything_in_common() -> None:
    first, second = (dict(parse_qsl(urlsplit(CodeGrant(PUBLIC, REDIRECT).url()).query)) for _ in range(2))
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]


def test_an_endpoint_on_loopback_stays_plain_http() -> None:
    settings = OAuthSettings(
        client_id="me", token_endpoint=URL, authorization_endpoint="http://127.0.0.1:80/authorize"
    )
    assert CodeGrant(settings, REDIRECT).url().startswith("http://127.0.0.1:80/authorize?")


def test_a_device_is_announced_by_a_form() -> None:
    assert form(device_form(PUBLIC)) == {"client_id": "me", "scope": "mail https://example.org/.all"}
    assert form(device_form(CONFIDENTIAL)) == {"client_id": "me", "client_secret": "s3cret"}


def test_a_device_asks_with_its_code() -> None:
    assert form(device_token_form(PUBLIC, device_grant(answer(DEVICE), ""))) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "me",
        "device_code": "d3vice",
    }


def test_a_refresh_names_no_scope() -> None:
    assert form(refresh_form(PUBLIC, "r")) == {
        "grant_type": "refresh_token",
        "client_id": "me",
        "refresh_token": "r",
    }


@pytest.mark.parametrize(
    "request_form",
    [
        lambda: refresh_form(CONFIDENTIAL, "r"),
        lambda: device_token_form(CONFIDENTIAL, device_grant(answer(DEVICE), "")),
    ],
)
def test_a_confidential_client_sends_its_secret(request_form: Callable[[], str]) -> None:
    assert form(request_form())["client_secret"] == "s3cret"


def test_without_the_extra_the_error_shows_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "oauthlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "oauthlib", None)
    for call in (
        lambda: CodeGrant(PUBLIC, REDIRECT),
        lambda: refresh_form(PUBLIC, "r"),
        lambda: device_form(PUBLIC),
    ):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert str(caught.value) == "OAuth 2: its library is not installed; pip install 'pop3fetch[oauth]'"


# ---- what the browser comes back with


@pytest.mark.parametrize("target", ["/", "/?code=c0de", "/?code=c0de&state=", "/?code=c0de&state=another"])
def test_a_redirect_with_another_state_is_of_another_login(target: str) -> None:
    with pytest.raises(AuthorizationFailed) as caught:
        CodeGrant(PUBLIC, REDIRECT).form(target)
    assert str(caught.value) == "the browser came back from another login (its state differs)"


def test_a_redirect_with_an_error_shows_the_servers_words() -> None:
    grant = CodeGrant(PUBLIC, REDIRECT)
    words = quote("No, \N{RIGHT-TO-LEFT OVERRIDE}thanks")
    with pytest.raises(AuthorizationFailed) as caught:
        grant.form(f"/?error=access_denied&error_description={words}&state={state_of(grant)}")
    assert str(caught.value) == "the OAuth 2 server refused: access_denied: No, \\u202ethanks"
    assert caught.value.error == "access_denied"


def test_a_redirect_without_a_code_is_refused() -> None:
    grant = CodeGrant(PUBLIC, REDIRECT)
    with pytest.raises(AuthorizationFailed, match="Missing code"):
        grant.form(f"/?state={state_of(grant)}")


# ---- tokens


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"access_token": "a"}, Tokens("a")),
        ({"access_token": "a", "token_type": "bEARER"}, Tokens("a")),
        ({"access_token": "a", "refresh_token": "r", "expires_in": 3599}, Tokens("a", "r", 3599)),
        ({"access_token": "a", "refresh_token": None, "expires_in": "60"}, Tokens("a", None, 60)),
        ({"access_token": "a", "scope": 3, "id_token": [], "expires_at": "never"}, Tokens("a")),
        ({"access_token": "a", "scope": "less than asked for"}, Tokens("a")),
    ],
)
def test_tokens_are_taken_out_of_an_answer(fields: dict[str, Any], expected: Tokens) -> None:
    assert tokens(answer(fields), "") == expected


@pytest.mark.parametrize(
    "given_answer",
    [
        Answer(URL, 200, b""),
        Answer(URL, 200, b"access_token=a&token_type=bearer"),
        Answer(URL, 200, b"<html>"),
        Answer(URL, 200, b'{"access_token": "\xff"}'),
        Answer(URL, 200, b"[" * 60_000),
        Answer(URL, 200, b'{"access_token": "a", "expires_in": 1e999}'),
        Answer(URL, 200, b'{"access_token": "a", "expires_in": NaN}'),
        Answer(URL, 200, b'{"access_token": "a", "expires_in": ' + b"9" * 5000 + b"}"),
        Answer(URL, 201, b'{"access_token": "a"}'),
        Answer(URL, 404, b"not found"),
        Answer(URL, 499, b""),
        answer({}),
        answer({"error": None}),
        answer([]),
        answer("access_token"),
        answer({"access_token": 5}),
        answer({"access_token": ""}),
        answer({"access_token": "a\n"}),
        answer({"access_token": "\N{SNOWMAN}"}),
        answer({"access_token": "a", "refresh_token": []}),
        answer({"access_token": "a", "expires_in": []}),
        answer({"access_token": "a", "token_type": "mac"}),
        answer({"access_token": "a"}, status=400),
    ],
)
def test_what_is_neither_tokens_nor_an_error_is_a_broken_protocol(given_answer: Answer) -> None:
    with pytest.raises(
        ProtocolViolation, match=r"https://id\.example\.org/token does not answer like OAuth 2"
    ):
        tokens(given_answer, "")


def test_a_redirect_is_reported_as_one() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        tokens(Answer(URL, 302, b""), "")
    assert f"{URL} redirects (HTTP 302 Found), which is not followed" in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 401])
def test_an_error_shows_the_servers_words(status: int) -> None:
    fields = {"error": "invalid_grant", "error_description": "AADSTS70000: \x1b[2Jrevoked"}
    with pytest.raises(AuthorizationFailed) as caught:
        tokens(answer(fields, status), "")
    assert str(caught.value) == ("the OAuth 2 server refused: invalid_grant: AADSTS70000: \\x1b[2Jrevoked")
    assert (caught.value.error, caught.value.exit_status) == ("invalid_grant", Status.NO_LOGIN)


@pytest.mark.parametrize(
    "fields",
    [{"error": ""}, {"error": []}, {"error": {"a": 1}}, {"error": "x", "error_description": [1]}],
)
def test_an_error_of_any_kind_is_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(AuthorizationFailed):
        tokens(answer(fields), "")


@pytest.mark.parametrize(
    "given_answer",
    [
        Answer(URL, 503, b"<html>"),
        Answer(URL, 500, b"[" * 60_000),
        Answer(URL, 429, b""),
        answer({"error": "temporarily_unavailable"}, 400),
        answer({"error": "server_error"}, 500),
    ],
)
def test_a_server_in_trouble_is_to_be_tried_later(given_answer: Answer) -> None:
    with pytest.raises(AuthorizationFailed) as caught:
        tokens(given_answer, "")
    assert caught.value.exit_status == Status.TRY_LATER


def test_a_status_is_named_if_there_is_nothing_else() -> None:
    with pytest.raises(AuthorizationFailed) as caught:
        tokens(Answer(URL, 503, b""), "")
    assert str(caught.value) == f"{URL} answers HTTP 503 Service Unavailable"


@pytest.mark.parametrize("name", ["client_secret", "code", "code_verifier", "device_code", "refresh_token"])
def test_a_server_that_repeats_a_secret_does_not_get_it_shown(name: str) -> None:
    fields = {"error": "invalid_grant", "error_description": "what is s3cret+ or s3cret%2B?"}
    with pytest.raises(AuthorizationFailed) as caught:
        tokens(answer(fields, 400), f"grant_type=x&{name}=s3cret%2B")
    assert str(caught.value).endswith("invalid_grant: what is (secret) or (secret)?")


words = st.text("a \n\x1b\u202e\N{SNOWMAN}", max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(
    st.sampled_from((*KNOWN, *DEVICE, "error", "error_description", "interval")), json_values
)


@given(st.one_of(st.binary(), objects.map(lambda value: json.dumps(value).encode())), st.integers(100, 999))
def test_any_answer_is_tokens_or_an_error_of_ours(body: bytes, status: int) -> None:
    for read in (tokens, device_grant):
        try:
            read(Answer(URL, status, body), "")
        except POP3Error as error:
            assert str(error).isprintable()


# ---- device grants


def test_a_device_grant_is_taken_out_of_an_answer() -> None:
    fields = {**DEVICE, "interval": 7, "verification_uri_complete": "https://elsewhere.example.org/"}
    assert device_grant(answer(fields), "") == DeviceGrant(
        "d3vice", "ABCD-EFGH", "https://id.example.org/device", 900.0, 7.0
    )


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        (7, 7.0),
        ("7", 7.0),
        (0, 5.0),
        (-1, 5.0),
        (0.001, 1.0),
        ("soon", 5.0),
        (None, 5.0),
        (float("nan"), 5.0),
    ],
)
def test_an_invalid_interval_is_five_seconds(interval: object, seconds: float) -> None:
    assert device_grant(answer({**DEVICE, "interval": interval}), "").interval == seconds


@pytest.mark.parametrize("key", ["device_code", "user_code", "verification_uri"])
@pytest.mark.parametrize("value", [None, 3, "", "\x1b[2J", "http://id.example.org/\n"])
def test_a_device_grant_that_cannot_be_used_is_a_broken_protocol(key: str, value: object) -> None:
    with pytest.raises(ProtocolViolation, match="does not answer like OAuth 2"):
        device_grant(answer({**DEVICE, key: value}), "")


@pytest.mark.parametrize("url", ["http://id.example.org/device", "file:///etc/passwd", "--help"])
def test_no_browser_is_sent_to_an_address_that_is_not_https(url: str) -> None:
    with pytest.raises(ProtocolViolation):
        device_grant(answer({**DEVICE, "verification_uri": url}), "")


def test_a_device_that_is_refused_shows_the_servers_words() -> None:
    fields = {"error": "unauthorized_client", "error_description": "not s3cret"}
    with pytest.raises(AuthorizationFailed) as caught:
        device_grant(answer(fields, 400), device_form(CONFIDENTIAL))
    assert str(caught.value) == "the OAuth 2 server refused: unauthorized_client: not (secret)"


# ---- secrets


def test_no_secret_is_in_a_repr() -> None:
    shown = f"{Tokens('s3cret', 's3cret', 60)!r} {Answer(URL, 200, b's3cret')!r} {CONFIDENTIAL!r}"
    assert "s3cret" not in shown
    assert "d3vice" not in repr(device_grant(answer(DEVICE), ""))
