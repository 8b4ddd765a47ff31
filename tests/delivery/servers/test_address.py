"""The URLs of mail servers."""

from __future__ import annotations

import pytest

from pop3fetch.delivery.servers.address import ServerAddress, parse
from pop3fetch.errors import UsageError

ADDRESSES = {
    "lmtp://mx.example.org": ServerAddress("lmtp", "mx.example.org", 24),
    "lmtp://localhost:2400": ServerAddress("lmtp", "localhost", 2400),
    "lmtp://[::1]:2400": ServerAddress("lmtp", "::1", 2400),
    "lmtp:///run/dovecot/lmtp": ServerAddress("lmtp", "unix:/run/dovecot/lmtp", 0),
    "lmtp:///run/a%20b": ServerAddress("lmtp", "unix:/run/a b", 0),
    "smtp://localhost": ServerAddress("smtp", "localhost", 25),
    "smtp://alice@mail.example.org": ServerAddress("smtp", "mail.example.org", 587, "alice"),
    "smtps://alice@example.org@mail.example.org": ServerAddress(
        "smtps", "mail.example.org", 465, "alice@example.org"
    ),
    "imaps://alice@mail.example.org/INBOX": ServerAddress("imaps", "mail.example.org", 993, "alice", "INBOX"),
    "imap://alice@mail.example.org/Lists/a%20b": ServerAddress(
        "imap", "mail.example.org", 143, "alice", "Lists/a b"
    ),
}


def test_a_url_names_a_server_and_is_its_name() -> None:
    assert {url: parse(url) for url in ADDRESSES} == ADDRESSES
    assert {str(address): address for address in ADDRESSES.values()} == ADDRESSES


def test_one_destination_has_one_name() -> None:
    names = {
        "LMTP://MX.Example.org:24/": "lmtp://mx.example.org",
        "imaps://alice@mail.example.org": "imaps://alice@mail.example.org/INBOX",
        "imaps://alice@mail.example.org:993/inbox": "imaps://alice@mail.example.org/INBOX",
        "imaps://alice%40example.org@mail.example.org/": "imaps://alice@example.org@mail.example.org/INBOX",
        "smtp://alice@localhost:587": "smtp://alice@localhost",
        "smtp://localhost:587": "smtp://localhost:587",
    }
    assert {name: str(parse(name)) for name in names} == names


@pytest.mark.parametrize(
    "url",
    [
        "http://mx.example.org",
        "lmtp:mx.example.org",
        "lmtp://",
        "lmtp://alice@mx.example.org",
        "lmtp://mx.example.org/INBOX",
        "lmtp://mx.example.org:0",
        "lmtp://mx.example.org:65536",
        "lmtp://mx example.org",
        "smtp://mx.example.org/x",
        "imaps://mail.example.org/INBOX",
        "imaps://@mail.example.org/INBOX",
        "imaps://alice@mail.example.org/a%0d%0ab",
        "imaps://alice@mail.example.org/a%",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="the URL of the destination cannot be used"):
        parse(url)


def test_a_password_is_refused_and_never_shown() -> None:
    with pytest.raises(UsageError, match="must not contain a password") as caught:
        parse("imaps://alice:hunter2@mail.example.org/INBOX")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("lmtp:///run/lmtp", True),
        ("lmtp://localhost", True),
        ("lmtp://127.0.0.2", True),
        ("lmtp://[::1]", True),
        ("lmtp://192.0.2.1", False),
        ("lmtp://localhost.example.org", False),
    ],
)
def test_a_server_is_on_this_machine_or_not(url: str, is_local: bool) -> None:
    assert parse(url).is_local is is_local
