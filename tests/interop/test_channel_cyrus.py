"""SCRAM bound to the TLS channel, at a real Cyrus: Debian's Dovecot does not offer it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.errors import LoginRefused
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.net.transport import Transport
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.login import LoginPolicy
from tests.support.command import Ended
from tests.support.cyrus import PASSWORD, USER, Cyrus
from tests.support.in_process import Here
from tests.support.leaks import leaks

METHODS = ["scram-sha-1", "scram-sha-256"]


def stat(
    here: Here, cyrus: Cyrus, ca_file: Path, port: int, *options: str, password: str = PASSWORD
) -> Ended:
    """Count the messages under -vv; whatever comes of it, the password is not shown."""
    account = ["-H", cyrus.host, "-p", str(port), "-u", USER, "--tls", "implicit", "--ca-file", str(ca_file)]
    ended = here("stat", "-vv", *account, *options, env={"POP3FETCH_PASSWORD": password})
    assert not leaks(ended.out + ended.err, password)
    return ended


def authentications(ended: Ended) -> list[str]:
    """Return the mechanisms that were tried, in order."""
    lines = ended.err.decode().splitlines()
    return [line.split()[2] for line in lines if line.startswith("> AUTH ")]


@pytest.mark.parametrize("method", METHODS)
def test_a_login_is_bound_to_tls_1_2(here: Here, cyrus: Cyrus, ca_file: Path, method: str) -> None:
    ended = stat(here, cyrus, ca_file, cyrus.older_port, "--auth", method)
    assert (ended.status, ended.out) == (0, b"0\t0\n"), ended.err
    assert authentications(ended) == [f"{method.upper()}-PLUS"]
    assert b"TLSv1.2" in ended.err


def test_binding_is_what_is_chosen_in_tls_1_2(here: Here, cyrus: Cyrus, ca_file: Path) -> None:
    ended = stat(here, cyrus, ca_file, cyrus.older_port)
    assert ended.status == 0
    assert authentications(ended) == ["SCRAM-SHA-256-PLUS"]


@pytest.mark.parametrize("options", [[], ["--auth", "scram-sha-1"], ["--auth", "plain"]])
def test_tls_1_3_logs_in_all_the_same(here: Here, cyrus: Cyrus, ca_file: Path, options: list[str]) -> None:
    """Cyrus 3.6 binds TLS 1.3 by tls-unique, which no longer exists there: RFC 9266 requires tls-exporter."""
    ended = stat(here, cyrus, ca_file, cyrus.port, *options)
    assert (ended.status, ended.out) == (0, b"0\t0\n"), ended.err
    assert authentications(ended) == [(options or ["scram-sha-256"])[-1].upper()]
    assert b"TLSv1.3" in ended.err


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_password_is_refused_and_tried_once(
    here: Here, cyrus: Cyrus, ca_file: Path, method: str
) -> None:
    ended = stat(here, cyrus, ca_file, cyrus.older_port, "--auth", method, password="another pass-wörd")
    assert (ended.status, ended.out) == (77, b"")
    assert authentications(ended) == [f"{method.upper()}-PLUS"]


def connect(cyrus: Cyrus, ca_file: Path) -> POP3Client:
    endpoint = Endpoint(cyrus.host, cyrus.older_port)
    return POP3Client(Server(endpoint, LoginPolicy("implicit"), tls=TLSOptions(str(ca_file))))


def test_a_login_that_is_relayed_from_another_channel_is_refused(
    cyrus: Cyrus, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "channel_binding", lambda self: ("tls-unique", b"another's"))
    with connect(cyrus, ca_file) as client, pytest.raises(LoginRefused, match="SCRAM-SHA-256-PLUS"):
        client.login(USER, PASSWORD)


def test_an_offer_that_was_taken_out_on_the_way_ends_the_login(
    cyrus: Cyrus, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(cyrus, ca_file) as client:
        offered = client.capabilities()
        weaker = [name for name in offered["SASL"] or [] if not name.endswith("-PLUS")]
        monkeypatch.setattr(client, "capabilities", lambda use_cache=True: {**offered, "SASL": weaker})
        with pytest.raises(LoginRefused, match=r"\(SCRAM-SHA-256\)"):
            client.login(USER, PASSWORD)
