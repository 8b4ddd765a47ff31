"""The messages of an OAuth 2 client: requests as forms, answers as tokens or errors.

Pure except for random numbers. oauthlib, which the extra ``pop3fetch[oauth]`` installs, writes the requests
and reads the answers; its errors become ours. No token is in a ``repr`` or an error.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote, quote_plus, urlencode, urlsplit

from pop3fetch.account.oauth.providers import OAuthSettings, endpoint
from pop3fetch.errors import AuthorizationFailed, ConfigurationError, ProtocolViolation
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from oauthlib.oauth2 import WebApplicationClient

VERIFIER_LENGTH = 64  # characters; RFC 7636 section 4.1 allows 43 to 128
DEFAULT_INTERVAL = 5.0  # seconds; RFC 8628 section 3.2
SHORTEST_INTERVAL = 1.0  # seconds, whatever the server allows
SECRETS = ("client_secret", "code", "code_verifier", "device_code", "refresh_token")
KNOWN = ("access_token", "expires_in", "refresh_token", "token_type")
VISIBLE = re.compile(r"[\x20-\x7e]+")  # the grammar of codes and tokens (RFC 6749 appendix A)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the endpoint ``url``; the body may contain tokens."""

    url: str
    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The result of an authorization; ``expires``: the access token's life in seconds, None if unknown."""

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """The grant of a device endpoint (RFC 8628 section 3.2); ``expires`` and ``interval`` in seconds."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    expires: float
    interval: float


class CodeGrant:
    """One authorization by code, with PKCE (RFC 7636) and a state of its own."""

    def __init__(self, settings: OAuthSettings, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._client = _client(settings)
        self._state = self._client.state_generator()
        self._verifier = self._client.create_code_verifier(VERIFIER_LENGTH)

    def url(self) -> str:
        """Return the address that the user's browser must visit."""
        scheme, _, rest = (self._settings.authorization_endpoint or "").partition(":")
        # oauthlib accepts only https; ``settings.endpoint`` has decided whether http is allowed.
        url = self._client.prepare_request_uri(
            f"https:{rest}",
            redirect_uri=self._redirect_uri,
            scope=list(self._settings.scopes),
            state=self._state,
            code_challenge=self._client.create_code_challenge(self._verifier, "S256"),
            code_challenge_method="S256",
        )
        return url.replace("https", scheme, 1)

    def has_state(self, target: str) -> bool:
        """Return whether ``target``, path and query of a request, has the state of this login."""
        states = parse_qs(urlsplit(target).query).get("state", [])
        return len(states) == 1 and compare_digest(states[0].encode(), self._state.encode())

    def form(self, target: str) -> str:
        """Return the token request for the redirect's ``target``; raises AuthorizationFailed."""
        from oauthlib.oauth2 import MismatchingStateError, OAuth2Error

        try:
            # Here, too: on loopback, http is right (RFC 8252 section 8.3).
            self._client.parse_request_uri_response(f"https://loopback{target}", state=self._state)
        except MismatchingStateError:
            raise AuthorizationFailed(
                "the browser came back from another login (its state differs)"
            ) from None
        except OAuth2Error as error:
            raise _refused(error.error, error.description, target.partition("?")[2]) from None
        return self._client.prepare_request_body(
            redirect_uri=self._redirect_uri,
            code_verifier=self._verifier,
            client_secret=self._settings.client_secret,
        )


def device_form(settings: OAuthSettings) -> str:
    """Return the device authorization request (RFC 8628 section 3.1)."""
    _require_oauthlib()  # before the user visits a page in vain
    scope = " ".join(settings.scopes)
    fields = {"client_id": settings.client_id, "client_secret": settings.client_secret, "scope": scope}
    return urlencode({name: value for name, value in fields.items() if value})


def device_token_form(settings: OAuthSettings, grant: DeviceGrant) -> str:
    """Return the request for the tokens of a device grant (RFC 8628 section 3.4)."""
    _require_oauthlib()
    from oauthlib.oauth2 import DeviceClient

    client = DeviceClient(settings.client_id)
    return client.prepare_request_body(
        grant.device_code, include_client_id=True, client_secret=settings.client_secret
    )


def refresh_form(settings: OAuthSettings, refresh_token: str) -> str:
    """Return the request for new tokens (RFC 6749 section 6); the scopes stay as they were."""
    return _client(settings).prepare_refresh_body(
        refresh_token=refresh_token, client_id=settings.client_id, client_secret=settings.client_secret
    )


def device_grant(answer: Answer, form: str) -> DeviceGrant:
    """Return the grant in a device endpoint's answer to ``form``; raises as :func:`tokens` does."""
    fields = _object(answer, form)
    try:
        return DeviceGrant(
            device_code=_visible(fields.get("device_code")),
            user_code=_visible(fields.get("user_code")),
            verification_uri=endpoint(fields.get("verification_uri")),
            expires=_seconds(fields.get("expires_in"), math.inf),
            interval=max(_seconds(fields.get("interval"), DEFAULT_INTERVAL), SHORTEST_INTERVAL),
        )
    except ValueError:
        raise _unusable(answer) from None


def tokens(answer: Answer, form: str) -> Tokens:
    """Return the tokens in a token endpoint's answer to ``form``.

    Raises AuthorizationFailed for an error of RFC 6749 section 5.2 or a failure of the server, and
    ProtocolViolation for any other answer without tokens.
    """
    fields = _object(answer, form)
    _require_oauthlib()
    from oauthlib.oauth2 import Client, OAuth2Error

    try:
        # Only what counts: oauthlib fails on a scope that is not text, or not the requested one.
        known = json.dumps({name: value for name, value in fields.items() if name in KNOWN})
        parsed = Client("").parse_request_body_response(known)
        # A token of another type must not be used as a bearer token (RFC 6749 section 7.1).
        if str(parsed.get("token_type", "bearer")).lower() != "bearer":
            raise ValueError("token_type")
        refresh = parsed.get("refresh_token")
        return Tokens(
            access=_visible(parsed["access_token"]),
            refresh=None if refresh is None else _visible(refresh),
            expires=parsed.get("expires_in"),
        )
    except (OAuth2Error, ValueError, OverflowError):
        raise _unusable(answer) from None


def _object(answer: Answer, form: str) -> dict[str, Any]:
    """Return the JSON object in an answer; raises the error that it contains."""
    if 300 <= answer.status < 400:
        raise ProtocolViolation(
            f"{answer.url} redirects ({_described(answer.status)}), which is not followed"
        )
    try:
        fields = json.loads(answer.body.decode())
    except (ValueError, RecursionError):  # the deepest nesting comes first
        fields = None
    if isinstance(fields, dict) and fields.get("error") is not None:
        raise _refused(fields["error"], fields.get("error_description"), form)
    if isinstance(fields, dict) and answer.status == HTTPStatus.OK:
        return fields
    if answer.status >= 500 or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        reason = f"{answer.url} answers {_described(answer.status)}"
        raise AuthorizationFailed(reason, "temporarily_unavailable")
    raise _unusable(answer)


def _unusable(answer: Answer) -> ProtocolViolation:
    return ProtocolViolation(f"{answer.url} does not answer like OAuth 2 ({_described(answer.status)})")


def _refused(error: object, description: object, form: str) -> AuthorizationFailed:
    text = f"{error}: {description}" if description else str(error)
    # Some servers repeat the request.
    for name, value in parse_qsl(form):
        for shown in (value, quote(value, ""), quote_plus(value)) if name in SECRETS else ():
            text = text.replace(shown, "(secret)")
    return AuthorizationFailed(f"the OAuth 2 server refused: {printable(text)}", str(error))


def _described(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _visible(value: object) -> str:
    if not isinstance(value, str) or VISIBLE.fullmatch(value) is None:
        raise ValueError("no text of printable ASCII")
    return value


def _seconds(value: object, default: float) -> float:
    """Return a number of seconds, else ``default``; some servers send it as text."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else default
    except (ValueError, OverflowError):
        return default
    return seconds if seconds > 0 else default


def _client(settings: OAuthSettings) -> WebApplicationClient:
    _require_oauthlib()
    from oauthlib.oauth2 import WebApplicationClient

    return WebApplicationClient(settings.client_id)


def _require_oauthlib() -> None:
    try:
        import oauthlib.oauth2  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "OAuth 2", "its library is not installed; pip install 'pop3fetch[oauth]'"
        ) from None
