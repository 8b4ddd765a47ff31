"""The configuration of fdm and its lists, as fdm itself reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pop3fetch.importing import fdm
from pop3fetch.importing.foreign import Broken, Fetched
from tests.support.foreign_files import HOME, read_by, settings, where

read = partial(read_by, fdm.read, file=".fdm.conf")
BASE = {
    "host": "pop.example.org",
    "user": "bob",
    "tls": "implicit",
    "delete": True,
    "output": f"maildir:{HOME}/Mail",
}


def rc(account: str = "", before: str = "", match: str = 'match all action maildir "%h/Mail"') -> str:
    """Return a file with an account on line 2, and rules from line 3 on."""
    work = f'account "work" pop3s server "pop.example.org" user "bob" pass "secret" {account}'
    return f"{before}\n{work}\n{match}\n"


def of_kind(kind: str) -> str:
    return rc().replace("pop3s server", kind)


# A file, what it changes in the settings, and what is named, by line.
TRANSLATED: dict[str, tuple[str, dict[str, object], dict[int, str]]] = {
    "nothing more": (rc(), {}, {}),
    "keep": (rc("keep"), {"delete": None}, {}),
    "a port": (
        rc().replace('example.org"', 'example.org" port 1995'),
        {"port": 1995},
        {},
    ),
    "a service": (rc().replace('example.org"', 'example.org" port "pop3s"'), {"port": 995}, {}),
    "an unknown service": (rc().replace('example.org"', 'example.org" port "x"'), {}, {2: "port 'x': "}),
    "clear text": (of_kind("pop3 server"), {"tls": "auto"}, {}),
    "STARTTLS": (rc("starttls").replace("pop3s", "pop3"), {"tls": "starttls"}, {}),
    "no APOP": (rc("no-apop no-verify insecure"), {"auth": "user"}, {}),
    "old messages": (rc('old-only cache "/x"'), {}, {2: "old-only: "}),
    "a pipe": (
        'account "h" pop3 pipe "ssh h pop3d" user "bob" pass "x"\nmatch all action maildir "%h/Mail"\n',
        {"host": "h", "tls": "off", "tunnel_command": ["sh", "-c", "ssh h pop3d"]},
        {},
    ),
    "users": (rc().replace('"work"', '"work" users { "a" "b" }'), {}, {2: "users: "}),
    "a command for the password": (
        rc().replace('"secret"', "$(pass show 'work')"),
        {"password_command": ["sh", "-c", "pass show 'work'"]},
        {},
    ),
    "a command for the user": (rc().replace('"bob"', "$(id -un)"), {"user": "id -un"}, {2: "user: "}),
    "sizes and times": (
        rc(before="set maximum-size 10M set timeout 5 minutes"),
        {"max_size": 10 << 20, "timeout": 300},
        {},
    ),
    "a proxy": (rc(before='set proxy "socks://u:p@h"'), {"proxy": "socks5://u:p@h:1080"}, {}),
    "a web proxy": (rc(before='set proxy "http://h:3128/"'), {"proxy": "http://h:3128"}, {}),
    "what deletes": (
        rc(before="set delete-oversized"),
        {},
        {1: "delete-oversized: "},
    ),
    "what drops": (rc(before="set unmatched-mail drop"), {}, {1: "unmatched-mail drop: "}),
    "what is kept": (rc(before="set unmatched-mail keep"), {}, {}),
    "another user": (rc(before='set default-user "bob"'), {}, {1: "default-user: "}),
    "ourselves": (rc(before='set default-user "alice"'), {}, {}),
    "settings without a meaning here": (
        rc(before="set lock-types fcntl dotlock set file-umask 077 set queue-high 5 set no-received"),
        {},
        {},
    ),
    "macros": (
        rc(before='$m = "%h/My" $n = "x" %p = 5', match='match all action mbox "${m}/${n}/%{p}"'),
        {"output": f"mbox:{HOME}/My/x/5"},
        {},
    ),
    "an action by name": (
        rc(before='action "a" maildir "~/x" action "b" drop', match='match account "w*" action "a"'),
        {"output": f"maildir:{HOME}/x"},
        {},
    ),
    "rules of others": (
        rc(match='match account "other" action drop\nmatch accounts { "x" "work" } action maildir "/m"'),
        {"output": "maildir:/m"},
        {},
    ),
    "a program": (
        rc(match='match all action pipe "procmail -a %a -u %u 100%%"'),
        {"output": None, "exec": ["sh", "-c", "procmail -a work -u alice 100%"]},
        {},
    ),
    "dates": (rc(match='match all action maildir "/m/%[year]"'), {"output": None}, {3: "maildir: "}),
    "the first letter of a tag": (
        rc(match='match all action maildir "/m/%y"'),
        {"output": None},
        {3: "maildir: "},
    ),
    "compression": (
        rc(match='match all action mbox "/m" compress'),
        {"output": "mbox:/m"},
        {3: "compress: "},
    ),
    "dropping": (rc(match="match all action drop"), {"output": None}, {3: "action drop: "}),
    "two at once": (
        rc(match='match all action { maildir "/a" maildir "/b" }'),
        {"output": None},
        {3: "pop3fetch does one thing"},
    ),
    "a rule before": (
        rc(match='match "^From: x" in headers action drop\nmatch all action maildir "/m"'),
        {"output": "maildir:/m"},
        {3: "match: "},
    ),
    "going on": (
        rc(match='match all action tag "x" continue\nmatch all action maildir "/m"'),
        {"output": None},
        {3: "continue: "},
    ),
    "nested rules": (
        rc(match='match account "work" {\n match "x" action drop\n match all action maildir "/n"\n}\n'),
        {"output": None},
        {3: "match: ", 2: "no rule "},
    ),
    "a command in a rule": (
        rc(match='match pipe "spam" user "x" returns (1, "y") action drop\nmatch all action maildir "/m"'),
        {"output": "maildir:/m"},
        {3: "match: "},
    ),
    "users in a rule": (
        rc(match='match all user "bob" action maildir "/m"'),
        {"output": "maildir:/m"},
        {3: "users: "},
    ),
    "no rule": (rc(match=""), {"output": None}, {2: "no rule "}),
    "SMTP": (
        rc(match='match all action smtp server "h" port 25 to "x"'),
        {"output": None},
        {3: "action smtp: "},
    ),
}


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_statement_becomes_a_setting_or_is_named(name: str) -> None:
    text, added, problems = TRANSLATED[name]
    result = read(text)
    wanted = {key: value for key, value in {**BASE, **added}.items() if value is not None}
    assert result.only.settings == wanted
    assert result.problems.keys() == problems.keys()
    for line, begin in problems.items():
        found = [each.text for each in result.findings if each.affects and each.origin.line == line]
        assert any(text.startswith(begin) for text in found)


def test_what_was_not_safe_is_noted() -> None:
    assert "was not verified" in read(rc()).notes[2]
    assert "was not verified" not in str(read(rc(before="set verify-certificates")).notes)
    assert "allow_insecure_login" in read(of_kind("pop3 server")).notes[2]


def test_a_password_in_clear_is_found_with_its_line() -> None:
    secret = read(rc().replace('"secret"', '\n"s\\"e"')).only.secret
    assert secret
    assert (secret.text, secret.origin.line) == ('s"e', 3)


def test_the_user_may_be_in_netrc() -> None:
    text = rc().replace('user "bob" pass "secret"', "")
    netrc = {f"{HOME}/.netrc": b"machine pop.example.org login carol password x"}
    assert read(text, where(netrc)).only.settings["user"] == "carol"
    assert 2 in read(text, where()).problems


def test_commands_are_not_run(tmp_path: Path) -> None:
    result = read(rc(before=f'$x = $(touch "{tmp_path}/trace") %y = %(touch "{tmp_path}/trace")'))
    assert not (tmp_path / "trace").exists()
    assert settings(result.only) == BASE
    unknown = read(rc(before="$x = $(echo work)", match='match all action maildir "/${x}"'))
    assert "output" not in unknown.only.settings


def test_files_are_included() -> None:
    files = {
        f"{HOME}/more": b'\naccount "home" pop3s server "h" user "u" pass "p" keep\n',
        f"{HOME}/rules": b'match all action maildir "/m"\n',
    }
    text = '$f = "more"\ninclude "${f}"\ninclude "rules"\n'
    account = read(text, where(files)).only
    assert account.origin == (f"{HOME}/more", 2)
    assert account.settings["output"] == "maildir:/m"


def test_other_accounts_are_left_out() -> None:
    result = read("""\
        account "a" imap server "h" port 143 user "u" pass "p" folders { "x" "y" } keep
        account "b" maildirs { "%h/a" "%h/b" }
        account "c" nntp server "h" group "g" cache "%h/c"
        account "d" disabled pop3 server "h" user "u" pass "p"
        account "e" stdin
        account "f" imap pipe "x"
        cache "%h/x" expire 5 weeks
    """)
    assert result.accounts == {}
    assert [found.text.split(":")[0] for found in result.findings] == ["a", "b", "c", "d", "e", "f"]
    assert result.problems == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x", 1),
        ("match all\n", 2),
        ('account "a" pop3 server\n', 2),
        (rc() + rc(), 5),
        (rc(match='match all action "none"'), 3),
        (rc(match='match "x" {'), 4),
        (rc(before="set maximum-size"), 1),
        ("}", 1),
        ("action x", 1),
        ("match all action 'a'\naction 'b' {", 2),
    ],
)
def test_a_broken_line_is_named(text: str, line: int) -> None:
    with pytest.raises(Broken) as broken:
        read(text)
    assert broken.value.line == line


@pytest.mark.parametrize("password", ['{ "secret" }\n"secret"', "secret", "secret-word"])
def test_no_password_is_in_an_error(password: str) -> None:
    with pytest.raises(Broken) as broken:
        read(f'account "a" pop3 server "h" user "u" pass {password}')
    assert "secret" not in broken.value.reason


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ('new-only cache "%h/.cache/%a" keep', f"{HOME}/.cache/work"),
        ('new-only cache "~/%[account]"', f"{HOME}/work"),
        ('new-only cache "/x/%u"', "/x/alice"),
        ('new-only cache "/x" no-uidl keep', None),
        ("keep", None),
    ],
)
def test_the_list_is_at_the_path_of_the_account(options: str, path: str | None) -> None:
    account = read(rc(options)).only
    assert (account.fetched.path if account.fetched else None) == path
    assert (account.kept, account.reuses) == ("keep" not in options, True)


def test_a_list_whose_place_changes_is_named() -> None:
    assert read(rc('new-only cache "/x/%d"')).problems[2].startswith("cache: ")


def test_the_configuration_is_at_one_of_two_places() -> None:
    assert fdm.config_files(where()) == [f"{HOME}/.fdm.conf", "/etc/fdm.conf"]


@pytest.mark.parametrize(
    ("before", "user", "path"),
    [
        ("", "alice", f"{HOME}/.fdm.lock"),
        ("", "root", "/var/db/fdm.lock"),
        ('set lock-file "%h/lock"', "root", f"{HOME}/lock"),
        ("set allow-multiple", "alice", None),
    ],
)
def test_the_lock_is_where_fdm_has_it(before: str, user: str, path: str | None) -> None:
    octets = rc(before=before).encode()
    assert fdm.read(f"{HOME}/.fdm.conf", octets, where()._replace(user=user)).lock == path


def test_a_list_is_read() -> None:
    octets = b'2 u1\n3 a b\n5 a\nb c\r\n4 16"\\\n1 x'
    uids = [b"u1", b"a b", b"a\nb c", b'16"\\', b"x"]
    assert fdm.fetched(octets) == [Fetched(uid) for uid in uids]
    assert fdm.fetched(b"") == []


@pytest.mark.parametrize(
    ("octets", "line"),
    [(b"2 u1\n5 u2\n", 2), (b"2 u12\n", 1), (b"u1\n", 1), (b"2 u1\nx\n", 2), (b"9", 1)],
)
def test_a_broken_list_is_named(octets: bytes, line: int) -> None:
    with pytest.raises(Broken) as broken:
        fdm.fetched(octets)
    assert broken.value.line == line
