"""Accounts that are given as URLs."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.account import url
from pop3fetch.errors import UsageError
from pop3fetch.status import Status


def settings(
    secured: bool, host: str, port: int | None = None, user: str | None = None, auth: str | None = None
) -> dict[str, object]:
    """Return the settings that a URL gives; ``secured`` if it begins with pop3s:."""
    given = {"tls": "implicit" if secured else None, "host": host, "port": port, "user": user, "auth": auth}
    return {name: value for name, value in given.items() if value is not None}


PARSED = [
    ("pop3s://alice@mail.example.org", settings(True, "mail.example.org", None, "alice")),
    ("pop3s://alice@mail.example.org/", settings(True, "mail.example.org", None, "alice")),
    ("POP3S://alice@mail.example.org:1995", settings(True, "mail.example.org", 1995, "alice")),
    ("pop3://alice@mail.example.org", settings(False, "mail.example.org", None, "alice")),
    ("pop://mail.example.org", settings(False, "mail.example.org")),
    (
        "pop3s://recent%3Aalice%40gmail.com@pop.gmail.com",
        settings(True, "pop.gmail.com", None, "recent:alice@gmail.com"),
    ),
    ("pop3s://alice@gmail.com@pop.gmail.com", settings(True, "pop.gmail.com", None, "alice@gmail.com")),
    ("pop3s://zo%C3%AB@example.org", settings(True, "example.org", None, "zoë")),
    ("pop3s://alice@[2001:db8::1]:995", settings(True, "[2001:db8::1]", 995, "alice")),
    ("pop3://[fe80::1%25eth0]", settings(False, "[fe80::1%eth0]")),
    ("pop3s://[::1]:995", settings(True, "[::1]", 995)),
    ("pop://alice;AUTH=+APOP@example.org:110", settings(False, "example.org", 110, "alice", "APOP")),
    (
        "pop://alice;auth=SCRAM-SHA-256@example.org",
        settings(False, "example.org", None, "alice", "SCRAM-SHA-256"),
    ),
    ("pop://alice;AUTH=*@example.org", settings(False, "example.org", None, "alice", "auto")),
    ("pop://;AUTH=*@example.org", settings(False, "example.org", None, None, "auto")),
    ("pop3s://al%3Bice@example.org", settings(True, "example.org", None, "al;ice")),
]


@pytest.mark.parametrize(("text", "parsed"), PARSED)
def test_a_url_is_taken_apart(text: str, parsed: dict[str, object]) -> None:
    assert url.is_url(text)
    assert url.parse(text) == parsed


REFUSED = [
    ("imap://alice@example.org", "pop3s:, pop3: or pop:"),
    ("pops://alice@example.org", "pop3s:, pop3: or pop:"),
    ("pop3s:alice@example.org", "pop3s:, pop3: or pop:"),
    ("pop3s://example.org/inbox", "nothing may follow"),
    ("pop3s://alice@example.org//", "nothing may follow"),
    ("pop3s://alice@example.org?x=1", "nothing may follow"),
    ("pop3s://alice@example.org#1", "nothing may follow"),
    ("pop3s://example.org/inbox@other.example.org", "nothing may follow"),
    ("pop3s://alice@example.org:", "its end must be a host"),
    ("pop3s://alice@example.org:pop3s", "its end must be a host"),
    ("pop3s://alice@example.org:-1", "its end must be a host"),
    ("pop3s://alice@example.org:١", "its end must be a host"),
    ("pop3s://alice@::1", "its end must be a host"),
    ("pop3s://alice@[::1", "its end must be a host"),
    ("pop3s://al%zzice@example.org", "two hexadecimal digits"),
    ("pop3s://alice%@example.org", "two hexadecimal digits"),
    ("pop3s://zo%EB@example.org", "not UTF-8"),
    ("pop://alice;TLS=no@example.org", "only ;AUTH=METHOD"),
    ("pop://al;ice;AUTH=+APOP@example.org", "only ;AUTH=METHOD"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_url_that_is_not_an_account_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        url.parse(text)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("--account: ")
    assert caught.value.exit_status == Status.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "pop3s://alice:s3cret@example.org",
        "pop3s://alice:s3cret@example.org:995",
        "pop3s://alice:s3/cret@example.org",
        "pop3s://alice:s3@cret@example.org",
        "pop3s://alice:s3%cret@example.org",
        "pop3s://:s3cret@example.org",
        "pop://alice:s3cret;AUTH=+APOP@example.org",
        "pop3s://alice:@example.org",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        url.parse(text)
    assert "other users could read it" in str(caught.value)
    assert "s3" not in str(caught.value)
    assert "cret" not in repr(caught.value)


def test_a_name_is_not_a_url() -> None:
    assert not url.is_url("work")
    assert not url.is_url("alice@example.org")


def test_pop3_leaves_the_tls_mode_open_and_pop3s_does_not() -> None:
    assert url.parse("pop3s://example.org") == {"host": "example.org", "tls": "implicit"}
    assert url.parse("pop3://alice@example.org:110") == {
        "host": "example.org",
        "port": 110,
        "user": "alice",
    }


users = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
hosts = st.sampled_from(["mail.example.org", "192.0.2.1", "[2001:db8::1]", "bücher.example"])
ports = st.none() | st.integers(1, 65535)


@given(scheme=st.sampled_from(["pop3s", "pop3", "pop"]), user=st.none() | users, host=hosts, port=ports)
def test_what_is_put_into_a_url_comes_out_of_it(
    scheme: str, user: str | None, host: str, port: int | None
) -> None:
    login = "" if user is None else quote(user, safe="") + "@"
    text = f"{scheme}://{login}{quote(host, safe='[:]')}{'' if port is None else f':{port}'}"
    assert url.parse(text) == settings(scheme == "pop3s", host, port, user)


@given(rest=st.text())
def test_any_text_is_parsed_or_refused(rest: str) -> None:
    try:
        parsed = url.parse(f"pop3s://{rest}")
    except UsageError:
        return
    assert set(parsed) <= {"host", "port", "user", "auth", "tls"}


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        url.parse(text)
    return str(caught.value)


@given(password=st.text())
def test_a_password_of_any_shape_is_refused_in_the_same_words(password: str) -> None:
    assert refusal(f"pop3s://alice:{password}@example.org") == refusal("pop3s://alice:x@example.org")
