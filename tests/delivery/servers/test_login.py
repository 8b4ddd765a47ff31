"""Which login is chosen at a mail server."""

from __future__ import annotations

from typing import cast

import pytest

from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.line import Line
from pop3fetch.delivery.servers.login import chosen
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import InsecureAuthenticationDisallowed, MechanismNotOffered
from pop3fetch.net.dial import Endpoint
from pop3fetch.pop3.trace import Secrets

ADDRESS = ServerAddress("imaps", "mail.example.org", 993, "alice", "INBOX")


class Transport:
    """What a login asks of a connection."""

    server_name = "mail.example.org"

    def __init__(self, *, tls: bool) -> None:
        self.tls = tls

    def channel_binding(self) -> tuple[str, bytes] | None:
        return ("tls-unique", b"channel")


class Connected:
    """A line whose transport says that it is inside TLS, or not."""

    def __init__(self, *, tls: bool = True) -> None:
        self.transport = Transport(tls=tls)


def choose(offered: list[str], *, tokens: bool = False, tls: bool = True) -> tuple[str, bytes | None]:
    server = MailServer(
        ADDRESS,
        Endpoint("mail.example.org", 993),
        "implicit",
        secret=lambda: "secret",
        takes_tokens=tokens,
        secrets=Secrets(),
    )
    exchange = chosen(server, cast(Line, Connected(tls=tls)), offered)
    return exchange.name, exchange.initial()


@pytest.mark.parametrize(
    ("offered", "name"),
    [
        (["LOGIN", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"], "SCRAM-SHA-256"),
        (["plain", "scram-sha-256", "scram-sha-256-plus"], "SCRAM-SHA-256-PLUS"),
        (["CRAM-MD5", "LOGIN", "PLAIN"], "PLAIN"),
        (["LOGIN", "XOAUTH2"], "LOGIN"),
    ],
)
def test_the_strongest_mechanism_is_chosen(offered: list[str], name: str) -> None:
    assert choose(offered)[0] == name


def test_a_token_goes_by_a_mechanism_for_tokens() -> None:
    assert choose(["PLAIN", "XOAUTH2"], tokens=True) == (
        "XOAUTH2", b"user=alice\x01auth=Bearer secret\x01\x01"
    )  # fmt: skip
    assert choose(["PLAIN", "XOAUTH2", "OAUTHBEARER"], tokens=True)[0] == "OAUTHBEARER"


@pytest.mark.parametrize(
    ("offered", "tokens"), [([], False), (["XOAUTH2", "GSSAPI"], False), (["PLAIN", "LOGIN"], True)]
)
def test_without_a_usable_mechanism_no_secret_is_asked_for(offered: list[str], tokens: bool) -> None:
    with pytest.raises(MechanismNotOffered):
        choose(offered, tokens=tokens)


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN"])
def test_no_secret_crosses_the_network_in_clear_text(name: str) -> None:
    with pytest.raises(InsecureAuthenticationDisallowed):
        choose([name], tls=False)
