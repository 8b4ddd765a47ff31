"""The real servers that the tests of several modules use; each starts once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support import cyrus as cyrus_server
from tests.support.cyrus import Cyrus
from tests.support.dovecot import Dovecot, missing_stores, oauth_settings
from tests.support.oauth_server import OAuthServer


@pytest.fixture(scope="session")
def cyrus(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cyrus]:
    """Run one Cyrus for all tests; each leaves its mailboxes empty."""
    if reason := cyrus_server.missing():
        pytest.skip(reason)
    with Cyrus.start(tmp_path_factory.mktemp("cyrus"), authority) as cyrus:
        yield cyrus


@pytest.fixture(scope="session")
def stores(
    needs_dovecot: None, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dovecot]:
    """Run a Dovecot that takes messages."""
    yield from _a_store(tmp_path_factory.mktemp("stores"), authority)


@pytest.fixture(scope="module")
def mortal(
    needs_dovecot: None, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dovecot]:
    """Run a Dovecot that takes messages, and that the tests of a module may kill."""
    yield from _a_store(tmp_path_factory.mktemp("mortal"), authority)


def _a_store(folder: Path, authority: trustme.CA) -> Iterator[Dovecot]:
    if reason := missing_stores():
        pytest.skip(reason)
    with Dovecot.start(folder, ca=authority, stores=True) as dovecot:
        yield dovecot


@pytest.fixture(scope="session")
def running_issuer() -> Iterator[OAuthServer]:
    """Run one OAuth 2 server for all tests."""
    with OAuthServer() as server:
        yield server


@pytest.fixture
def issuer(running_issuer: OAuthServer) -> OAuthServer:
    """Return the OAuth 2 server: no requests so far, and an owner who soon agrees."""
    running_issuer.requests.clear()
    running_issuer.decisions, running_issuer.consents = [True], True
    running_issuer.hurried, running_issuer.rotates, running_issuer.interval = False, False, 1
    return running_issuer


@pytest.fixture(scope="session")
def asking_dovecot(
    needs_dovecot: None,
    running_issuer: OAuthServer,
    authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dovecot]:
    """Run a Dovecot that takes the access tokens of ``running_issuer`` (RFC 7662)."""
    folder = tmp_path_factory.mktemp("dovecot-oauth")
    settings = oauth_settings(folder, running_issuer.endpoint("introspect"))
    with Dovecot.start(folder, settings=settings, ca=authority) as dovecot:
        yield dovecot
