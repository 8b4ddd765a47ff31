"""A real OAuth 2 server on loopback: Authlib's, behind the standard library's HTTP server.

It grants by authorization code with PKCE, by device code, and by refresh token, and introspects its
tokens (RFC 7662) for Dovecot. There is one resource owner, who decides what a test wants; nothing is
kept but in memory.

    with OAuthServer() as server:
        ...log in with a client of server.client_id at server.endpoint("token")...
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    OAuth2Error,
    OAuth2Request,
    TokenMixin,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import (
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    DeviceCredentialDict,
)

HOST = "127.0.0.1"
CLIENT_ID = "pop3fetch-tests"
OWNER = "alice"
SCOPES = ("mail", "offline_access")
CLIENT_AUTH_METHODS = ["client_secret_post", "none"]
POLL = 0.02  # seconds that a stop may take to be seen

Response = tuple[int, bytes, list[tuple[str, str]]]


@dataclass
class Token(TokenMixin):
    """An access token, and the refresh token that came with it."""

    access: str
    refresh: str | None
    scope: str
    user: str
    expires_in: int
    revoked: bool = False
    issued: float = field(default_factory=time.time)

    def check_client(self, client: ClientMixin) -> bool:
        return True

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return self.expires_in

    def is_expired(self) -> bool:
        return time.time() > self.issued + self.expires_in

    def is_revoked(self) -> bool:
        return self.revoked


@dataclass
class Code(AuthorizationCodeMixin):
    """An authorization code; Authlib reads ``code_challenge`` and its method by these names."""

    code: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Client(ClientMixin):
    """The one client; public without a secret."""

    secret: str | None

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return f"http://{HOST}/"

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(word for word in (scope or "").split() if word in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        # Any port of loopback (RFC 8252 section 7.3).
        parts = urlsplit(redirect_uri)
        return (parts.scheme, parts.hostname, parts.path) == ("http", HOST, "/")

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret, self.secret or "")

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method == "none") == (self.secret is None)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return True


class _Server(AuthorizationServer):
    """Authlib's server, and all that it remembers."""

    def __init__(self, owner: OAuthServer, client: Client) -> None:
        super().__init__(scopes_supported=SCOPES)
        self.owner = owner
        self.client = client
        self.tokens: list[Token] = []
        self.codes: dict[str, Code] = {}
        self.devices: dict[str, DeviceCredentialDict] = {}
        self.register_token_generator("default", BearerTokenGenerator(_random, _random, lambda *_: 3600))
        self.register_grant(_ByCode, [CodeChallenge(required=True)])
        self.register_grant(_ByDevice)
        self.register_grant(_ByRefreshToken)
        self.register_endpoint(_Devices(self))
        self.register_endpoint(_Introspection(self))

    def query_client(self, client_id: str) -> Client | None:
        return self.client if client_id == CLIENT_ID else None

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None:
        self.tokens.append(
            Token(
                access=token["access_token"],
                refresh=token.get("refresh_token"),
                scope=token.get("scope", ""),
                user=request.user,
                expires_in=token["expires_in"],
            )
        )

    def find(self, *, access: str | None = None, refresh: str | None = None) -> Token | None:
        matching = (
            token
            for token in self.tokens
            if (access and token.access == access) or (refresh and token.refresh == refresh)
        )
        return next(matching, None)

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Response:
        text = json.dumps(body) if isinstance(body, dict) else body or ""
        return status, text.encode(), headers

    def send_signal(self, name: str, *arguments: Any, **more: Any) -> None:
        pass


class _ByCode(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTH_METHODS
    server: _Server

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        asked = request.payload.data
        self.server.codes[code] = Code(
            code,
            asked["redirect_uri"],
            asked.get("scope", ""),
            asked["code_challenge"],
            asked["code_challenge_method"],
        )

    def query_authorization_code(self, code: str, client: ClientMixin) -> Code | None:
        return self.server.codes.get(code)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        del self.server.codes[authorization_code.code]

    def authenticate_user(self, authorization_code: Code) -> str:
        return OWNER


class _ByDevice(DeviceCodeGrant):
    server: _Server

    def query_device_credential(self, device_code: str) -> DeviceCredentialDict | None:
        return self.server.devices.get(device_code)

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        approved = self.server.owner.polled()
        return None if approved is None else (OWNER, approved)

    def should_slow_down(self, credential: DeviceCredentialDict) -> bool:
        return self.server.owner.hurried


class _ByRefreshToken(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTH_METHODS
    server: _Server

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:
        return self.server.owner.rotates

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        token = self.server.find(refresh=refresh_token)
        return None if token is None or token.revoked else token

    def authenticate_user(self, refresh_token: Token) -> str:
        return refresh_token.user

    def revoke_old_credential(self, refresh_token: Token) -> None:
        refresh_token.revoked = self.server.owner.rotates


class _Devices(DeviceAuthorizationEndpoint):
    EXPIRES_IN = 100
    server: _Server

    @property
    def INTERVAL(self) -> int:
        return self.server.owner.interval

    def get_verification_uri(self) -> str:
        return self.server.owner.endpoint("device")

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        self.server.devices[data["device_code"]] = DeviceCredentialDict(
            client_id=client_id, scope=scope, **data
        )


class _Introspection(IntrospectionEndpoint):
    server: _Server

    def authenticate_endpoint_client(self, request: OAuth2Request) -> Client:
        return self.server.client  # loopback only: any client may ask

    def check_permission(self, token: Token, client: ClientMixin, request: OAuth2Request) -> bool:
        return True

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return self.server.find(access=token_string)

    def introspect_token(self, token: Token) -> dict[str, Any]:
        return {"active": True, "username": token.user, "scope": token.scope, "token_type": "Bearer"}


class _Request(OAuth2Request):
    """A request that has come: query and form."""

    def __init__(self, handler: _Handler, form: dict[str, str]) -> None:
        # Authlib wants https; on loopback, http is as good.
        super().__init__(handler.command, f"https://{HOST}{handler.path}", headers=dict(handler.headers))
        self._form = form
        self._args = dict(parse_qsl(urlsplit(handler.path).query))
        self.payload = BasicOAuth2Payload(self._args | form)

    @property
    def form(self) -> dict[str, str]:
        return self._form

    @property
    def args(self) -> dict[str, str]:
        return self._args


class _Handler(BaseHTTPRequestHandler):
    wbufsize = -1  # head and body in one segment
    server: _HTTPServer

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer(dict(parse_qsl(body)))

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self, form: dict[str, str]) -> None:
        status, body, headers = self.server.owner.answer(_Request(self, form))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _HTTPServer(ThreadingHTTPServer):
    def __init__(self, owner: OAuthServer) -> None:
        self.owner = owner
        super().__init__((HOST, 0), _Handler)


class OAuthServer:
    """A running server; what its one resource owner does, and how strict it is, is in its attributes.

    ``consents``: to an authorization by code. ``decisions``: what a device's polls find, in turn:
    None for not yet; the last one stays. ``hurried``: polls are too fast. ``interval``: seconds
    between polls. ``rotates``: a refresh token serves once. ``requests``: path and form of all that came.
    """

    def __init__(self, *, secret: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self.consents = True
        self.decisions: list[bool | None] = [True]
        self.hurried = False
        self.interval = 5
        self.rotates = False
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._scheme = "https" if context else "http"
        self._authlib = _Server(self, Client(secret))
        self._http = _HTTPServer(self)
        if context:
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(POLL,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def endpoint(self, name: str) -> str:
        """Return the URL of ``authorize``, ``device_authorization``, ``token`` or ``introspect``."""
        return f"{self._scheme}://{HOST}:{self._http.server_address[1]}/{name}"

    def polled(self) -> bool | None:
        """Return what the owner has decided by now."""
        return self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]

    def forms(self, name: str) -> list[dict[str, str]]:
        """Return the forms that came to an endpoint."""
        return [form for path, form in self.requests if path == f"/{name}"]

    def is_active(self, access: str) -> bool:
        """Return whether ``access`` is an access token of ours that is valid."""
        token = self._authlib.find(access=access)
        return token is not None and not token.is_revoked() and not token.is_expired()

    def revoke_all(self) -> None:
        """Withdraw every token, as an owner can who has lost a machine."""
        for token in self._authlib.tokens:
            token.revoked = True

    def expire_devices(self) -> None:
        """Let the time of all device codes be over."""
        for device in self._authlib.devices.values():
            device["expires_at"] = 1

    def answer(self, request: OAuth2Request) -> Response:
        """Answer any request."""
        path = urlsplit(request.uri).path
        self.requests.append((path, request.form))
        respond = {
            "/authorize": self._authorize,
            "/token": self._authlib.create_token_response,
            "/device_authorization": partial(self._authlib.create_endpoint_response, "device_authorization"),
            "/introspect": partial(self._authlib.create_endpoint_response, "introspection"),
        }.get(path)
        return respond(request) if respond else (404, b"", [])

    def _authorize(self, request: OAuth2Request) -> Response:
        server = self._authlib
        try:
            grant = server.get_consent_grant(request, OWNER)
        except OAuth2Error as error:
            response: Response = server.handle_error_response(request, error)
        else:
            user = OWNER if self.consents else None
            response = server.create_authorization_response(request, grant_user=user, grant=grant)
        return response


def _random(**about: Any) -> str:
    return secrets.token_urlsafe(32)
