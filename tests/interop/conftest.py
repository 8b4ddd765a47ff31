"""A real OAuth 2 server, and a real Dovecot that asks it about access tokens (RFC 7662)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme

from tests.support.dovecot import Dovecot, oauth_settings
from tests.support.oauth_server import OAuthServer


@pytest.fixture(scope="module")
def issuer() -> Iterator[OAuthServer]:
    """Run an OAuth 2 server for the tests of a module."""
    with OAuthServer() as server:
        yield server


@pytest.fixture(scope="module")
def asking_dovecot(
    needs_dovecot: None, issuer: OAuthServer, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dovecot]:
    """Run a Dovecot that takes the access tokens of ``issuer``."""
    folder = tmp_path_factory.mktemp("dovecot-oauth")
    settings = oauth_settings(folder, issuer.endpoint("introspect"))
    with Dovecot.start(folder, settings=settings, ca=authority) as dovecot:
        yield dovecot
