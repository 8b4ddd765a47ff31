"""The configuration of fetchmail and its list, as fetchmail itself reads them."""

from __future__ import annotations

from functools import partial

import pytest

from pop3fetch.importing import fetchmail
from pop3fetch.importing.foreign import Broken, Fetched
from tests.support.foreign_files import HOME, read_by, settings, where

read = partial(read_by, fetchmail.read, file=".fetchmailrc")
BASE = {
    "host": "pop.example.org",
    "user": "bob",
    "tls": "starttls",
    "delete": True,
    "exec": ["sh", "-c", "mda"],
}


def rc(user: str = "", server: str = "") -> str:
    """Return a file with the options of a server on line 2, and those of a user on line 4."""
    return f'poll pop.example.org proto pop3\n{server}\nuser bob there mda "mda"\n{user}\n'


# Options of a user and of the server, what they add to the settings, and what is named, by line.
TRANSLATED: dict[tuple[str, str], tuple[dict[str, object], dict[int, str]]] = {
    ("", ""): ({}, {}),
    ("", "via mail.example.org port 1110 timeout 5"): (
        {"host": "mail.example.org", "port": 1110, "timeout": 5},
        {},
    ),
    ("", "service pop3s"): ({"port": 995}, {}),
    ("", "service mail-port"): ({}, {2: "service mail-port: "}),
    ("", "proto apop"): ({"auth": "apop"}, {}),
    ("", "auth cram-md5"): ({"auth": "cram-md5"}, {}),
    ("", "auth password uidl no dns"): ({}, {}),
    ("", "auth ntlm"): ({}, {2: "auth ntlm: "}),
    ("", "proto sdps"): ({}, {2: "protocol sdps: "}),
    ("", "interface eth0 monitor eth0 plugout x"): ({}, {2: "plugout: "}),
    ("", 'plugin "ssh -q %h nc localhost %p"'): (
        {"tunnel_command": ["ssh", "-q", "pop.example.org", "nc", "localhost", "110"]},
        {},
    ),
    ("ssl", 'plugin "connect %h %p"'): (
        {"tls": "implicit", "tunnel_command": ["connect", "pop.example.org", "995"]},
        {},
    ),
    ("ssl", ""): ({"tls": "implicit"}, {}),
    ("sslproto ''", ""): ({"tls": "off"}, {}),
    ("ssl sslproto TLS1.2+", ""): ({"tls": "implicit"}, {}),
    ("ssl sslcertfile ca.pem sslcert /c.pem sslkey ~/k.pem sslcommonname x", ""): (
        {
            "tls": "implicit",
            "ca_file": f"{HOME}/ca.pem",
            "client_cert": "/c.pem",
            "client_key": f"{HOME}/~/k.pem",
            "tls_name": "x",
        },
        {},
    ),
    ("sslcertpath /etc/ssl sslfingerprint 'AB:CD'", ""): ({}, {4: "sslcertpath: "}),
    ("keep", ""): ({"delete": None}, {}),
    ("no keep", ""): ({}, {}),
    ("keep fetchall", ""): ({"delete": None}, {4: "fetchall with keep: "}),
    ("keep flush", ""): ({"delete": None}, {4: "flush with keep: "}),
    ("keep flush forcecr", ""): ({"delete": None, "crlf": True}, {4: "flush with keep: "}),
    ("fetchall", ""): ({}, {}),
    ("limit 5000 fetchlimit 10 warnings 3", ""): ({"max_size": 5000, "limit": 10}, {}),
    ("limit 0 fetchlimit 0", ""): ({}, {}),
    ("limitflush", ""): ({}, {4: "limitflush: "}),
    ("forcecr", ""): ({"crlf": True}, {}),
    ('preconnect "ssh -f x"', ""): ({}, {4: "preconnect: "}),
    ("is a b here", ""): ({}, {4: "several local names: "}),
    ("is * here", "envelope Delivered-To"): ({}, {4: "several local names and envelope: "}),
    ("is a = b here", ""): ({}, {4: "several local names: "}),
    ('mda "procmail -d %T"', ""): ({"exec": ["sh", "-c", "procmail -d alice"]}, {}),
    ('is "o\'x" here mda "deliver %s"', ""): ({"exec": ["sh", "-c", "deliver 'o'\"'\"'x'"]}, {}),
    ('mda "sendmail -f %F"', ""): ({"exec": ["sh", "-c", "sendmail -f %F"]}, {4: "mda: "}),
}


@pytest.mark.parametrize("options", TRANSLATED, ids=" | ".join)
def test_an_option_becomes_a_setting_or_is_named(options: tuple[str, str]) -> None:
    added, problems = TRANSLATED[options]
    result = read(rc(*options))
    wanted = {key: value for key, value in {**BASE, **added}.items() if value is not None}
    assert result.only.settings == wanted
    assert result.problems.keys() == problems.keys()
    found = {found.text for found in result.findings if found.affects}
    for text in problems.values():
        assert any(each.startswith(text) for each in found)


@pytest.mark.parametrize(
    ("options", "output", "recipients"),
    [
        ("", "smtp://localhost:25", ["alice@localhost"]),
        ("is joe here", "smtp://localhost:25", ["joe@localhost"]),
        ("smtphost mail.example.org/2525", "smtp://mail.example.org:2525", ["alice@mail.example.org"]),
        ("smtpaddress example.net is joe", "smtp://localhost:25", ["joe@example.net"]),
        ("lmtp smtphost /run/lmtp is joe@here", "lmtp:///run/lmtp", ["joe@here"]),
        ("lmtp smtphost /run/lmtp is joe", "lmtp:///run/lmtp", ["joe@localhost"]),
        ("lmtp smtphost h/24", "lmtp://h:24", ["alice@h"]),
        ("smtphost /run/lmtp is joe", "lmtp:///run/lmtp", ["joe@localhost"]),
        ("smtphost localhost/submission", "smtp://localhost:587", ["alice@localhost"]),
        ("smtphost localhost/lmtp lmtp", "lmtp://localhost:24", ["alice@localhost"]),
        ("smtphost /run/lmtp b", "lmtp:///run/lmtp", ["alice@localhost"]),
        ("smtpname joe@example.net", "smtp://localhost:25", ["joe@example.net"]),
        ("smtphost a b", "smtp://a:25", ["alice@a"]),
    ],
)
def test_mail_goes_to_the_host_that_fetchmail_gives_it_to(
    options: str, output: str, recipients: list[str]
) -> None:
    result = read(f"poll x proto pop3 user bob there {options}")
    assert settings(result.only, "output", "recipients") == {"output": output, "recipients": recipients}
    is_local = "localhost" in output or "///" in output
    assert ("needs a table of its own" in str(result.findings)) is not is_local


def test_what_cannot_be_seen_by_its_setting_is_named() -> None:
    problems = read("poll x proto pop3 user bob there\nbsmtp f\n").problems
    assert problems[2].startswith("bsmtp: ")
    assert read("poll x proto pop3 user bob smtphost localhost b").problems[1].startswith("smtphost: ")


def test_a_port_of_delivery_that_is_not_known_is_named() -> None:
    found = read("poll x proto pop3 user bob smtphost localhost/unknown")
    assert found.problems == {1: "smtphost localhost/unknown: write the number of the port"}
    assert "write the number" in str(read("poll x proto pop3 service ² user bob").problems)
    assert "output" not in found.only.settings


def test_two_entries_for_one_server_are_named_by_their_users() -> None:
    found = read("poll x proto pop3 user bob keep\npoll x proto pop3 user carol keep\nskip x user dave")
    assert list(found.accounts) == ["bob@x", "carol@x"]


@pytest.mark.parametrize(("options", "kept"), [("", True), ("keep", False), ("flush", False)])
def test_what_fetchmail_leaves_on_the_server_stays_there(options: str, kept: bool) -> None:
    assert read(rc(options)).only.kept is kept


def test_defaults_users_and_names() -> None:
    accounts = read("""\
        set daemon 300   # seconds
        set logfile /tmp/log
        defaults proto pop3, timeout 60, user "nobody" is joe here keep ssl mda "a"
        poll pop.example.org
            user alice there password "one"
            user bob there with pass two, nokeep, limit 5
        poll other via mail.example.net timeout 5
        skip third proto pop3 user x
        poll fourth proto imap user x
    """)
    found = {
        name: (settings(account, "host", "user", "timeout", "delete", "max_size", "tls"), account.secret)
        for name, account in accounts.accounts.items()
    }
    assert list(found) == ["alice@pop.example.org", "bob@pop.example.org", "other"]
    one, two, three = found.values()
    assert one[0] == {"host": "pop.example.org", "user": "alice", "timeout": 60, "tls": "implicit"}
    assert two[0] == {**one[0], "user": "bob", "delete": True, "max_size": 5}
    assert three[0] == {**one[0], "host": "mail.example.net", "user": "nobody", "timeout": 5}
    assert [secret.text for _, secret in found.values() if secret] == ["one", "two"]
    assert {"daemon 300", "logfile", "third", "fourth"} <= {
        text.split(":")[0] for text in accounts.notes.values()
    }
    assert accounts.problems == {}


@pytest.mark.parametrize(
    "text",
    [
        "poll x proto pop3 is bob there password p mda m",
        "poll x proto pop3 user bob there with password p and mda m",
        "poll x proto pop3 user bob, password 'p', mda 'm';",
        "poll x proto pop3 username bob pass p mda m",
    ],
)
def test_a_user_is_named_in_several_ways(text: str) -> None:
    account = read(text).only
    assert account.secret
    assert (account.settings["user"], account.secret.text) == ("bob", "p")


def test_a_user_who_is_not_named_is_who_runs_it() -> None:
    assert read("poll x proto pop3 password p mda m").only.settings["user"] == "alice"
    named = read("poll x proto pop3 mda m", where(FETCHMAILUSER="carol"))
    assert named.only.settings["user"] == "carol"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("poll x\nuser y\nproto pop3\n", 3),
        ("poll x proto\n", 2),
        ("poll x\nport pop3 user\n", 2),
        ("set\n", 2),
        ("x\n", 1),
        ("poll x proto pop3\nuser y limit many", 2),
        ("poll x user y keep\ndefaults proto pop3", 2),
        ("poll x user a b\npassword p", 2),
        ("poll 123", 1),
        ("poll x ssl keep\nuser y password z", 2),
        ("poll x user y no limit", 1),
        ("poll x user y\nno smtphost", 2),
        (f"poll x user y limit {'9' * 5000}", 1),
    ],
)
def test_a_broken_line_is_named(text: str, line: int) -> None:
    with pytest.raises(Broken) as broken:
        read(text)
    assert broken.value.line == line


def test_no_password_is_in_an_error() -> None:
    with pytest.raises(Broken) as broken:
        read('poll x user y password "secret" "more secret"')
    assert "secret" not in broken.value.reason


@pytest.mark.parametrize(
    ("text", "variables", "path"),
    [
        ("", {}, f"{HOME}/.fetchids"),
        ("", {"HOME_ETC": "/etc/alice"}, "/etc/alice/.fetchids"),
        ("", {"HOME_ETC": "/etc/alice", "FETCHMAILHOME": "/f"}, "/f/.fetchids"),
        ("set idfile ids\n", {"FETCHMAILHOME": "/f"}, f"{HOME}/ids"),
        ("set idfile = '/ids'\n", {}, "/ids"),
    ],
)
def test_the_list_is_where_fetchmail_has_it(text: str, variables: dict[str, str], path: str) -> None:
    account = read(text + rc(), where(None, **variables)).only
    assert account.fetched
    assert (account.fetched.path, account.fetched.elsewhere) == (path, ())


def test_the_service_of_the_whole_system_has_places_of_its_own() -> None:
    reading = fetchmail.read("/etc/fetchmailrc", rc().encode(), where())
    [account] = reading.accounts
    assert account.fetched
    assert (account.fetched.path, *account.fetched.elsewhere) == (
        "/var/lib/fetchmail/.fetchids",
        "/var/lib/fetchmail/.fetchmail-UIDL-cache",
        f"{HOME}/.fetchids",
    )
    assert reading.lock == "/run/fetchmail/fetchmail.pid"


def test_the_configuration_is_at_one_of_these_places() -> None:
    files = fetchmail.config_files(where(FETCHMAILHOME="/f", HOME_ETC="/h"))
    assert files == ["/f/fetchmailrc", "/h/.fetchmailrc", "/etc/fetchmailrc"]
    assert fetchmail.config_files(where())[0] == f"{HOME}/.fetchmailrc"


def test_the_lock_is_where_fetchmail_has_it() -> None:
    def lock(text: str, user: str, **variables: str) -> str | None:
        surroundings = where(None, **variables)._replace(user=user)
        return fetchmail.read(f"{HOME}/.fetchmailrc", (text + rc()).encode(), surroundings).lock

    assert lock("", "alice") == f"{HOME}/.fetchmail.pid"
    assert lock("", "alice", FETCHMAILHOME="/f") == "/f/.fetchmail.pid"
    assert lock("", "root") == "/run/fetchmail.pid"
    assert lock("set pidfile pid\n", "alice") == f"{HOME}/pid"


# -- its list --------------------------------------------------------------------------------

LIST = b"""\
bob@pop.example.org u1
BOB@Pop.example.org U1
bob@pop.example.org x y
bob@pop.example.org b@d u2
bob@pop.example.org\x20
bob@example.org u3
jo bob@pop.example.org u4
bob@pop.example.org \xe9\r
"""


def test_a_list_has_the_uids_of_all_accounts() -> None:
    account = read(rc()).only
    assert account.fetched
    uids = [b"u1", b"U1", b"x y", b"b@d u2", b"\xe9"]
    assert account.fetched.read(LIST) == [Fetched(uid) for uid in uids]
    assert account.fetched.read(b"") == []


def test_a_user_may_have_blanks_and_the_host_is_that_of_via() -> None:
    account = read('poll x via pop.example.org proto pop3 user "jo bob" there mda m').only
    assert account.fetched
    assert account.fetched.read(LIST) == [Fetched(b"u4")]
