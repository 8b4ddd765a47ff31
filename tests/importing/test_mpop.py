"""The configuration of mpop and its lists, as mpop itself reads them."""

from __future__ import annotations

from functools import partial

import pytest

from pop3fetch.importing import mpop
from pop3fetch.importing.foreign import Broken, Fetched
from tests.support.foreign_files import HOME, read_by, where

BASE = {"host": "pop.example.org", "user": "alice", "output": "maildir:~/Mail", "tls": "off", "delete": True}

read = partial(read_by, mpop.read)
fetched = partial(mpop.fetched, host=b"pop.example.org", user=b"alice")


def rc(*lines: str) -> str:
    """Return a file with an account on line 1 to 4, and more of its lines from 5 on."""
    return "\n".join(
        ["account work", "host pop.example.org", "user alice", "delivery maildir ~/Mail", *lines, ""]
    )


# Lines of an account, what they add to its settings, and the beginnings of what is named, by line.
TRANSLATED: dict[tuple[str, ...], tuple[dict[str, object], dict[int, str]]] = {
    (): ({}, {}),
    ("port 1110", "timeout 30"): ({"port": 1110, "timeout": 30}, {}),
    ("timeout off",): ({"timeout": 0}, {}),
    ("tls on",): ({"tls": "starttls"}, {}),
    ("tls", "tls_starttls off"): ({"tls": "implicit"}, {}),
    ("tls on", "tls_trust_file system"): ({"tls": "starttls"}, {}),
    ("tls on", "tls_trust_file /etc/ca.pem"): ({"tls": "starttls", "ca_file": "/etc/ca.pem"}, {}),
    ("tls_fingerprint " + "AB:" * 31 + "AB",): ({"tls_fingerprint": "AB:" * 31 + "AB"}, {}),
    ("tls_fingerprint " + "AB:" * 19 + "AB",): ({}, {5: "tls_fingerprint: "}),
    ("tls_cert_file ~/c.pem", "tls_key_file ~/k.pem"): (
        {"client_cert": "~/c.pem", "client_key": "~/k.pem"},
        {},
    ),
    ("tls on", "tls_cert_file pkcs11:x"): (
        {"tls": "starttls", "client_cert": "pkcs11:x"},
        {6: "tls_cert_file: "},
    ),
    ("tls_host_override mail.example.org",): ({"tls_name": "mail.example.org"}, {}),
    ("tls_crl_file /etc/crl.pem", "tls_priorities NORMAL", "tls_min_dh_prime_bits 512"): (
        {},
        {5: "tls_crl_file: ", 6: "tls_priorities: ", 7: "tls_min_dh_prime_bits: "},
    ),
    ("keep on",): ({"delete": None}, {}),
    ("keep",): ({"delete": None}, {}),
    ("keep off",): ({}, {}),
    ("keep 30d",): ({"delete": None, "delete_after": 30}, {}),
    ("keep 36h",): ({"delete": None, "delete_after": 2}, {}),
    ("auth", "pipelining auto", "only_new on", "received_header off"): ({}, {}),
    ("auth scram-sha-256-plus",): ({"auth": "scram-sha-256"}, {}),
    ("auth gssapi",): ({}, {5: "auth gssapi: "}),
    ("pipelining off",): ({"pipelining": False}, {}),
    ("skipsize 2k",): ({"max_size": 2047}, {}),
    ("skipsize off",): ({}, {}),
    ("skipsize 1",): ({}, {5: "skipsize: "}),
    ("killsize 5m",): ({}, {5: "killsize: "}),
    ("filter /usr/bin/f",): ({}, {5: "filter: "}),
    ("only_new off",): ({}, {5: "only_new off: "}),
    ("eval echo host x",): ({}, {5: "eval: "}),
    ("source_ip 192.0.2.1",): ({}, {5: "source_ip: "}),
    ("proxy_host localhost",): ({"proxy": "socks5://localhost:1080"}, {}),
    ("proxy_host localhost", "proxy_port 9050"): ({"proxy": "socks5://localhost:9050"}, {}),
    ("socket /run/pop3.sock",): ({"host": "unix:/run/pop3.sock"}, {}),
    ("delivery mbox ~/mbox",): ({"output": "mbox:~/mbox"}, {}),
    ("delivery maildir   ~/My Mail",): ({"output": "maildir:~/My Mail"}, {}),
    ('delivery maildir "~/My Mail"',): ({"output": "maildir:~/My Mail"}, {}),
    ('delivery mda "a" "b"',): ({"output": None, "exec": ["sh", "-c", 'a" "b']}, {}),
    ('delivery mda "/usr/bin/procmail -d alice"',): (
        {"output": None, "exec": ["sh", "-c", "/usr/bin/procmail -d alice"]},
        {},
    ),
    ("delivery mda /usr/sbin/sendmail -f %F x",): (
        {"output": None, "exec": ["sh", "-c", "/usr/sbin/sendmail -f %F x"]},
        {5: "delivery mda: "},
    ),
    ("delivery exchange x",): ({"output": None}, {5: "delivery exchange: "}),
    ("passwordeval pass show work | head -1",): (
        {"password_command": ["sh", "-c", "pass show work | head -1"]},
        {},
    ),
    ("no_such_command x",): ({}, {5: "mpop has no command no_such_command"}),
    ("passwordS3CRET",): ({}, {5: "mpop has no command pass…"}),
}


@pytest.mark.parametrize("lines", TRANSLATED, ids=" / ".join)
def test_a_command_becomes_a_setting_or_is_named(lines: tuple[str, ...]) -> None:
    added, problems = TRANSLATED[lines]
    result = read(rc(*lines))
    wanted = {key: value for key, value in {**BASE, **added}.items() if value is not None}
    account = result.only
    assert account.settings == wanted
    assert {line: result.problems[line].startswith(text) for line, text in problems.items()} == dict.fromkeys(
        problems, True
    )
    assert result.problems.keys() == problems.keys()
    assert all(origin.line for key, origin in account.origins.items() if key != "delete")


def test_the_security_that_was_missing_is_noted() -> None:
    weak = read(rc("tls on", "tls_certcheck off"))
    assert "was not verified" in weak.notes[6]
    weaker = read(rc("tls off"))
    assert "allow_insecure_login" in weaker.notes[5]
    assert "allow_insecure_login" not in weaker.only.settings


def test_words_are_read_as_mpop_reads_them() -> None:
    result = read(
        b"""# mail\r
\taccount   work \r
host "a" b"\r
 user "us er"   \r
# password hidden\r
password a#b"c \r
delivery maildir ~/M\r
"""
    )
    account = result.only
    assert (account.settings["host"], account.settings["user"]) == ('a" b', "us er")
    assert account.secret
    assert (account.secret.text, account.secret.origin.line) == ('a#b"c', 6)
    assert "a#b" not in repr(account)


def test_accounts_copy_each_other_over_the_defaults() -> None:
    accounts = read("""\
        defaults
        port 1
        account a
        host h
        user us
        delivery maildir ~/M
        account b : a
        user bob
        defaults
        port 2
        account c : b
        account d:b , a
        timeout 5
    """).accounts
    found = {
        name: tuple(account.settings.get(key) for key in ("host", "port", "user", "timeout"))
        for name, account in accounts.items()
    }
    assert found == {
        "a": ("h", 1, "us", None),
        "b": ("h", 1, "bob", None),
        "c": ("h", 2, "bob", None),
        "d": ("h", 2, "us", 5),
    }
    assert accounts["d"].origins["host"].line == 4


@pytest.mark.parametrize(
    ("end", "names", "default"),
    [
        ("account default : work", ["work"], "work"),
        ("account default : work\nport 1", ["work", "default"], "default"),
        ("", ["work"], None),
    ],
)
def test_the_default_account_is_mostly_another_name(end: str, names: list[str], default: str | None) -> None:
    accounts = read(rc() + end).accounts
    assert list(accounts) == names
    assert [name for name, account in accounts.items() if account.is_default] == [default] * bool(default)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("host h\n", 1),
        ("account x : y\n", 1),
        ("account : x\n", 1),
        ("account\n", 1),
        ("account x\naccount x\n", 2),
        (rc("port x"), 5),
        (rc("keep maybe"), 5),
        (rc("tls maybe"), 5),
        (rc("skipsize 5g"), 5),
    ],
)
def test_a_broken_line_is_named(text: str, line: int) -> None:
    with pytest.raises(Broken) as broken:
        read(text)
    assert broken.value.line == line


def test_what_an_account_needs_is_missed() -> None:
    assert read("account x\nuser alice\n").problems == {1: "delivery is missing"}


@pytest.mark.parametrize(
    ("lines", "path"),
    [
        ((), f"{HOME}/.mpop_uidls/alice_at_pop.example.org"),
        (("uidls_file ~/%H/%U.%H",), f"{HOME}/pop.example.org/alice.pop.example.org"),
        (("socket /run/s",), f"{HOME}/.mpop_uidls/alice_at_/run/s"),
    ],
)
def test_the_list_is_found_by_host_and_user(lines: tuple[str, ...], path: str) -> None:
    account = read(rc(*lines)).only
    assert account.fetched
    assert (account.fetched.path, account.fetched.is_locked) == (path, True)


def test_the_configuration_is_at_one_of_two_places() -> None:
    assert mpop.config_files(where()) == [f"{HOME}/.mpoprc", f"{HOME}/.config/mpop/config"]
    assert mpop.config_files(where(XDG_CONFIG_HOME="/x"))[1] == "/x/mpop/config"


# -- its list --------------------------------------------------------------------------------

NEW = b"# This file was generated by mpop version 1.4.23.\n#\n"
OLD = b"# This file was generated by mpop version 1.4.18.\n# Lines starting with a space\n#\n"

LISTS: dict[str, tuple[bytes, list[Fetched]]] = {
    "empty": (b"", []),
    "comments alone": (NEW, []),
    "times": (
        NEW + b" 3 pop.example.org alice\n#u2 1795900374\nfoo 123 1795900375\nu1 1795900376\n",
        [Fetched(b"#u2", 1795900374), Fetched(b"foo 123", 1795900375), Fetched(b"u1", 1795900376)],
    ),
    "no times in older versions": (
        OLD + b" 2 pop.example.org alice\n#u2\nfoo 123\n",
        [Fetched(b"#u2"), Fetched(b"foo 123")],
    ),
    "no version, all with times": (
        b" 2 pop.example.org alice\na 1\nb c 2\n",
        [Fetched(b"a", 1), Fetched(b"b c", 2)],
    ),
    "no version, not all with times": (
        b" 2 pop.example.org alice\na 1\nb\n",
        [Fetched(b"a 1"), Fetched(b"b")],
    ),
    "no version, another section without times": (
        b" 1 pop.example.org alice\na 1\n 1 other x\nb\n",
        [Fetched(b"a 1")],
    ),
    "the last line has no end": (b" 1 pop.example.org alice\na", [Fetched(b"a")]),
    "copies": (OLD + b" 2 pop.example.org alice\na\na\n", [Fetched(b"a"), Fetched(b"a")]),
    "CRLF": (OLD.replace(b"\n", b"\r\n") + b" 1 pop.example.org alice\r\na\r\n", [Fetched(b"a")]),
    "octets": (OLD + b" 1 pop.example.org alice\n\xff\xfe\n", [Fetched(b"\xff\xfe")]),
    "other sections": (
        OLD + b" 1 pop.example.org bob\nb\n 1 pop.example.org alice\na\n 1 POP.example.org alice\nc\n"
        b" 1 pop.example.org alice smith\nd\n",
        [Fetched(b"a")],
    ),
    "none of ours": (OLD + b" 1 pop.example.org bob\nb\n", []),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read(name: str) -> None:
    octets, messages = LISTS[name]
    assert fetched(octets) == messages


def test_a_user_may_have_blanks() -> None:
    octets = OLD + b" 1 pop.example.org alice smith\na\n"
    assert mpop.fetched(octets, host=b"pop.example.org", user=b"alice smith") == [Fetched(b"a")]


@pytest.mark.parametrize(
    ("octets", "line"),
    [
        (b" 2 pop.example.org alice\na\n", 2),
        (b" 1 pop.example.org alice\na\nb\n", 3),
        (b" 2 pop.example.org alice\na\n 1 pop.example.org bob\nb\n", 3),
        (b"a\n", 1),
        (b" x pop.example.org alice\n", 1),
        (b" 1 pop.example.org\n", 1),
    ],
)
def test_a_broken_list_is_named(octets: bytes, line: int) -> None:
    with pytest.raises(Broken) as broken:
        fetched(octets)
    assert broken.value.line == line
