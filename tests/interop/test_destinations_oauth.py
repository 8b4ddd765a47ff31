"""A mailbox whose server takes only OAuth 2 tokens: a real Dovecot that asks a real OAuth 2 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support import keyrings
from tests.support.command import Run
from tests.support.dovecot import Dovecot, missing_stores, oauth_settings
from tests.support.leaks import leaks
from tests.support.mail_server import Mailbox
from tests.support.oauth_server import CLIENT_ID, OAuthServer
from tests.support.scripted_server import StartServer

MAIL = [b"Subject: one\r\n\r\n1\r\n", b"Subject: two\r\n\r\n2\r\n"]

TABLE = """\
[destinations.box]
url = "imaps://alice@localhost:{port}/INBOX"
ca_file = "{ca_file}"

[destinations.box.oauth]
client_id = "{client}"
device_endpoint = "{device}"
token_endpoint = "{token}"
scopes = "mail offline_access"
"""


@pytest.fixture(scope="module")
def store(
    needs_dovecot: None,
    running_issuer: OAuthServer,
    authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dovecot]:
    """Run a Dovecot that takes messages, and the access tokens of ``running_issuer``."""
    if reason := missing_stores():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("store")
    settings = oauth_settings(folder, running_issuer.endpoint("introspect"))
    with Dovecot.start(folder, settings=settings, ca=authority, stores=True) as dovecot:
        yield dovecot


def test_one_login_is_enough_for_all_later_runs(
    run: Run, store: Dovecot, issuer: OAuthServer, server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.touch(0o600)
    file.write_text(
        TABLE.format(
            port=store.imaps_port,
            ca_file=store.ca_file,
            client=CLIENT_ID,
            device=issuer.endpoint("device_authorization"),
            token=issuer.endpoint("token"),
        )
    )
    keyring = keyrings.in_a_file(tmp_path)
    pop = server(Mailbox(MAIL))
    words = ("get", "-a", pop.url(), "--allow-insecure-login", "-c", file, "-o", "@box", "-vv")
    environment = {**keyring, "POP3FETCH_PASSWORD": "secret"}

    refused = run(*words, env=environment)
    assert refused.status == 77
    assert b"log in with `pop3fetch login @box`" in refused.err

    ended = run("login", "@box", "-c", file, env=keyring)
    assert ended.status == 0, ended.err

    ended = run(*words, env=environment)
    assert ended.status == 0, ended.err
    assert b"AUTHENTICATE OAUTHBEARER (secret)" in ended.err or b"AUTHENTICATE XOAUTH2" in ended.err
    forms = [form for _, form in issuer.requests]
    tokens = {form[name] for form in forms for name in ("token", "refresh_token") if name in form}
    assert tokens
    assert not any(leaks(ended.out + ended.err, token) for token in tokens)
    assert store.count("alice") == len(MAIL)
