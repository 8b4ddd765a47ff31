"""OAuth 2 for an account: a login in the browser once, a fresh access token at each run.

``Authorization`` is the login: by device code (RFC 8628) if the server has an endpoint for it, else by a
loopback redirect with PKCE (RFC 8252). Its refresh token is stored in the system's keyring; an access token
is stored nowhere.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable

from pop3fetch.account import system_keyring
from pop3fetch.account.oauth.http import post
from pop3fetch.account.oauth.messages import (
    CodeGrant,
    Tokens,
    device_form,
    device_grant,
    device_token_form,
    refresh_form,
    tokens,
)
from pop3fetch.account.oauth.providers import OAuthSettings
from pop3fetch.account.settings_table import Account
from pop3fetch.account.system_keyring import STORE_LIMIT, Entry
from pop3fetch.ahead import Interrupts
from pop3fetch.defaults import KEYRING_TIMEOUT
from pop3fetch.errors import AuthorizationFailed, ConfigurationError, NoPassword, POP3Error
from pop3fetch.printable import printable

SERVICE = "pop3fetch-oauth"
SLOW_DOWN = 5.0  # seconds; RFC 8628 section 3.5


class Authorization:
    """One login of a user at an OAuth 2 server, in a browser on this machine or another.

    ``show`` takes lines for the user; ``open_browser``: open the page, too; ``limit``: seconds that
    the user has. ``clock`` and ``wait`` count seconds.
    """

    def __init__(
        self,
        settings: OAuthSettings,
        *,
        show: Callable[[str], None],
        open_browser: bool,
        limit: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._show = show
        self._open_browser = open_browser
        self._limit = limit
        self._clock = clock
        self._wait = wait

    def run(self) -> Tokens:
        """Let the user log in, and return the tokens.

        Raises AuthorizationFailed, ConnectionFailed, TLSError, ProtocolViolation, and
        ConfigurationError if the extra ``oauth`` is not installed.
        """
        if self._settings.device_endpoint is None:
            return self._by_redirect()
        return self._by_device(self._settings.device_endpoint)

    def _by_redirect(self) -> Tokens:
        from pop3fetch.account.oauth.redirect import Redirect

        with Redirect() as redirect:
            grant = CodeGrant(self._settings, redirect.uri)
            redirect.expect(grant.has_state)
            self._show("Open this page in a browser on this machine, and log in there:")
            self._visit(grant.url())
            target = redirect.target(self._limit)
        if target is None:
            raise self._too_late()
        return _token_request(self._settings, grant.form(target))

    def _by_device(self, endpoint: str) -> Tokens:
        form = device_form(self._settings)
        grant = device_grant(post(endpoint, form), form)
        self._show(f"Open this page in any browser, and enter the code {printable(grant.user_code)} there:")
        self._visit(grant.verification_uri)
        # Ask for the tokens until the user has decided (RFC 8628 section 3.5).
        form = device_token_form(self._settings, grant)
        deadline = self._clock() + min(self._limit, grant.expires)
        interval = grant.interval
        while self._clock() + interval <= deadline:
            self._wait(interval)
            try:
                return _token_request(self._settings, form)
            except POP3Error as error:
                interval = _next_interval(interval, error)
        raise self._too_late()

    def _visit(self, url: str) -> None:
        self._show(printable(url, limit=None))
        if self._open_browser:
            import webbrowser

            webbrowser.open(url)

    def _too_late(self) -> AuthorizationFailed:
        return AuthorizationFailed("the login at the OAuth 2 server was not completed in time")


def refresh(settings: OAuthSettings, refresh_token: str, interrupts: Interrupts | None = None) -> Tokens:
    """Return fresh tokens, with a new refresh token only if the server rotates it; raises as `run`."""
    return _token_request(settings, refresh_form(settings, refresh_token), interrupts)


def check_keyring(account: Account, limit: float = STORE_LIMIT) -> None:
    """Raise ConfigurationError if the system's keyring cannot keep a refresh token."""
    system_keyring.check(_entry(account), limit)


def store_refresh_token(account: Account, tokens: Tokens, limit: float = STORE_LIMIT) -> None:
    """Store the refresh token in the system's keyring; raises ConfigurationError if there is none."""
    if tokens.refresh is None:
        raise ConfigurationError(
            "OAuth 2",
            "the server gave no refresh token; add a scope such as offline_access",
        )
    system_keyring.keep(_entry(account), tokens.refresh, limit)


def refresh_token(
    account: Account, limit: float = KEYRING_TIMEOUT, interrupts: Interrupts | None = None
) -> str | None:
    """Return the refresh token in the keyring, or None; raises ConfigurationError."""
    return system_keyring.look(_entry(account), limit, interrupts)


def forget(account: Account, limit: float = STORE_LIMIT) -> bool:
    """Remove the refresh token from the keyring; return whether there was one."""
    return system_keyring.remove(_entry(account), limit)


def access_token(
    account: Account,
    report: Callable[[str], None],
    limit: float = KEYRING_TIMEOUT,
    interrupts: Interrupts | None = None,
) -> str:
    """Return a fresh access token, by the refresh token in the keyring, which has ``limit`` seconds.

    ``report`` takes a line about a keyring that does not work. Raises NoPassword, which explains how to
    log in, AuthorizationFailed or ConnectionFailed for temporary failures, and otherwise as `run`.
    """
    if account.oauth is None:
        raise ConfigurationError(f"accounts.{account.name}.oauth", "is missing")
    held = _held(account, report, limit, interrupts)
    try:
        fresh = refresh(account.oauth, held, interrupts)
    except AuthorizationFailed as refusal:
        if refusal.is_temporary:
            raise
        raise _log_in_again(account, refusal.reason) from refusal
    if fresh.refresh not in (None, held):
        try:
            store_refresh_token(account, fresh)
        except ConfigurationError as error:
            # This run can go on; the next one will have to log in.
            report(f"the new refresh token of {printable(account.address)} is lost: {error}")
    return fresh.access


def _held(
    account: Account, report: Callable[[str], None], limit: float, interrupts: Interrupts | None
) -> str:
    reason = f"there is no refresh token for {account.address}"
    try:
        held = refresh_token(account, limit, interrupts)
    except ConfigurationError as error:
        report(f"the keyring was skipped: {error.reason}")
        reason += f" (the keyring was skipped: {error.reason})"
        held = None
    if not held:
        raise _log_in_again(account, reason)
    return held


def _log_in_again(account: Account, reason: str) -> NoPassword:
    words = ["pop3fetch", "login", *([] if account.name.startswith("@") else ["-a"]), account.name]
    return NoPassword(f"{reason}; log in with `{shlex.join(words)}`")


def _entry(account: Account) -> Entry:
    return Entry(SERVICE, account.address, "refresh token")


def _token_request(settings: OAuthSettings, form: str, interrupts: Interrupts | None = None) -> Tokens:
    return tokens(post(settings.token_endpoint, form, interrupts=interrupts), form)


def _next_interval(interval: float, error: POP3Error) -> float:
    """Return how long to wait until the next poll; raises the error if it ends the polling."""
    code = error.error if isinstance(error, AuthorizationFailed) else ""
    if code == "authorization_pending":
        return interval
    if code == "slow_down":
        return interval + SLOW_DOWN
    if error.is_temporary:
        return interval * 2
    raise error
