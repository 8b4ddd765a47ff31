"""The table of settings, and what each of them may be."""

from __future__ import annotations

import ast
import datetime
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.account import settings_table
from pop3fetch.account.checks import octets
from pop3fetch.account.settings_table import (
    DELIVERY,
    DETAILS,
    OPTIONS,
    SECURITY,
    SELECTION,
    SERVER,
    SETTINGS,
    UNATTENDED,
    Account,
)
from pop3fetch.cli.main import COMMANDS
from pop3fetch.defaults import AUTH_METHODS, TLS_MODES

DIGITS = "0123456789abcdef" * 4

ACCEPTED = [
    ("host", "mail.example.org", "mail.example.org"),
    ("host", "Mail.Example.ORG", "mail.example.org"),
    ("host", "bücher.example", "bücher.example"),
    ("host", "192.0.2.1", "192.0.2.1"),
    ("host", "::1", "::1"),
    ("host", "[2001:DB8::1]", "2001:db8::1"),
    ("host", "fe80::1%eth0", "fe80::1%eth0"),
    ("host", "unix:/run/Pop3.sock", "unix:/run/Pop3.sock"),
    ("port", 1, 1),
    ("port", 65535, 65535),
    ("user", "recent:alice@gmail.com", "recent:alice@gmail.com"),
    ("user", "zoë", "zoë"),
    *[("tls", mode, mode) for mode in TLS_MODES],
    ("tls", "STARTTLS", "starttls"),
    *[("auth", method, method) for method in AUTH_METHODS],
    ("auth", "SCRAM-SHA-256", "scram-sha-256"),
    ("allow_insecure_login", True, True),
    ("tls_fingerprint", DIGITS, DIGITS),
    ("tls_name", "Mail.Example.ORG", "mail.example.org"),
    ("tls_name", "[::1]", "::1"),
    ("tls_ciphers", "DEFAULT:@SECLEVEL=1", "DEFAULT:@SECLEVEL=1"),
    ("tls_fingerprint", ":".join(DIGITS[i : i + 2].upper() for i in range(0, 64, 2)), DIGITS),
    ("password", "s3cret", "s3cret"),
    ("password_command", "pass show 'mail/my work'", ("pass", "show", "mail/my work")),
    ("password_command", ["pass", "show", "mail work", ""], ("pass", "show", "mail work", "")),
    ("timeout", 0, 0.0),
    ("timeout", 2.5, 2.5),
    ("timeout", 1_000_000, 1_000_000.0),
    ("family", "ipv6", "ipv6"),
    ("proxy", "socks5://user:word@proxy.example.org:1080", "socks5://user:word@proxy.example.org:1080"),
    ("proxy", "http://[::1]:3128", "http://[::1]:3128"),
    ("output", "maildir:~/Mail/work", "maildir:~/Mail/work"),
    ("exec", "procmail -d alice", ("procmail", "-d", "alice")),
    ("delete", False, False),
    ("delete_after", 0, 0),
    ("limit", 1, 1),
    ("max_size", 500_000, 500_000),
    ("max_size", "10M", 10 << 20),
    ("patience", "6h", datetime.timedelta(hours=6)),
]


@pytest.mark.parametrize(("key", "given", "value"), ACCEPTED)
def test_a_good_value_is_taken_in_its_own_form(key: str, given: object, value: object) -> None:
    checked = SETTINGS[key].check(given)
    assert (type(checked), checked) == (type(value), value)


@pytest.mark.parametrize(("key", "given", "value"), ACCEPTED)
def test_a_checked_value_passes_the_check_again(key: str, given: object, value: object) -> None:
    assert SETTINGS[key].check(value) == value


REFUSED = [
    ("host", "", "empty"),
    ("host", "mail.example.org:995", "a port is given separately"),
    ("host", "[mail.example.org]", "a host name or an address"),
    ("host", "::1::", "a host name or an address"),
    ("host", "alice@mail.example.org", "a host name or an address"),
    ("host", "mail example org", "a host name or an address"),
    ("host", "mail.example.org/inbox", "a host name or an address"),
    ("host", "mail\x1b[2J", "a host name or an address"),
    ("host", "mail.example.org\r\nDELE 1", "line breaks"),
    ("host", "unix:run/pop3.sock", "whole path"),
    ("host", 110, "must be a string, not an integer"),
    ("port", 0, "between 1 and 65535, not 0"),
    ("port", 65536, "between 1 and 65535, not 65536"),
    ("port", "995", "whole number, not a string"),
    ("port", 995.0, "whole number, not a float"),
    ("port", True, "whole number, not a boolean"),
    ("user", "alice\r\nDELE 1", "line breaks or NULs"),
    ("user", "alice\n", "line breaks or NULs"),
    ("user", "alice\0", "line breaks or NULs"),
    ("tls", "ssl", "one of implicit, auto, starttls, off, not 'ssl'"),
    ("auth", "digest-md5", "one of auto, user, apop,"),
    ("allow_insecure_login", 1, "true or false, not an integer"),
    ("utf8", "yes", "true or false, not a string"),
    ("tls_fingerprint", DIGITS[1:], "64 hexadecimal digits"),
    ("tls_name", "unix:/run/pop3.sock", "must be a host name or an address"),
    ("tls_name", "a b", "must be a host name or an address"),
    ("tls_ciphers", "nosuch", "must be a list of OpenSSL's ciphers"),
    ("tls_ciphers", "", "must not be empty"),
    ("tls_ciphers", "aNULL", "must be a list of OpenSSL's ciphers"),
    ("tls_fingerprint", "g" + DIGITS[1:], "64 hexadecimal digits"),
    ("password_command", "", "must name a program"),
    ("password_command", [], "must name a program"),
    ("password_command", ["", "show"], "must name a program"),
    ("password_command", ["pass", 3], "array of strings, not an array"),
    ("password_command", {"run": "pass"}, "array of strings, not a table"),
    ("password_command", "pass 'show", "cannot be split into words: No closing quotation"),
    ("password_command", ["pass", "a\0b"], "NULs"),
    ("timeout", -1, "between 0"),
    ("timeout", float("nan"), "between 0"),
    ("timeout", float("inf"), "between 0"),
    ("timeout", 10**400, "between 0"),
    ("timeout", True, "number of seconds, not a boolean"),
    ("timeout", "60", "number of seconds, not a string"),
    ("timeout", datetime.time(0, 1), "number of seconds, not a date or time"),
    ("family", "4", "one of any, ipv4, ipv6"),
    ("proxy", "ftp://proxy.example.org:1080", "begin with one of socks5://, http://"),
    ("proxy", "socks5://proxy.example.org", "end with the host and the port"),
    ("proxy", "http://:3128", "end with the host and the port"),
    ("proxy", "http://[::1:3128", "end with the host and the port"),
    ("exec_timeout", -0.5, "between 0"),
    ("delete_after", -1, "between 0"),
    ("delete_after", 40_000, "between 0"),
    ("limit", 0, "at least 1"),
    ("max_size", "ten", "10M, not 'ten'"),
    ("max_size", "-5", "10M, not '-5'"),
    ("max_size", "0M", "at least 1"),
    ("max_size", 1.5, "whole number"),
    ("patience", "6", "90s, 5m, 12h, 7d or 4w, not '6'"),
    ("patience", 6, "a string"),
]


@pytest.mark.parametrize(("key", "given", "reason"), REFUSED)
def test_a_bad_value_is_refused_with_its_reason(key: str, given: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        SETTINGS[key].check(given)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("password", "s3cret\nword"),
        ("password", ["s3cret"]),
        ("proxy", "user:s3cret@proxy.example.org"),
        ("proxy", "socks5://user:s3cret@proxy.example.org"),
        ("proxy", "socks5://user:s3cret#@proxy.example.org:1080"),
        ("password_command", "echo 's3cret"),
    ],
)
def test_a_refusal_shows_no_secret(key: str, given: object) -> None:
    with pytest.raises(ValueError) as caught:
        SETTINGS[key].check(given)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", ["ca_file", "client_cert", "client_key"])
def test_a_tilde_in_a_path_is_the_home_folder(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    assert SETTINGS[key].check("~/tls/own.pem") == "/home/alice/tls/own.pem"


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("64k", 65_536), ("10M", 10_485_760), ("2G", 2_147_483_648), ("2g", 2_147_483_648)],
)
def test_sizes_have_units_of_1024(text: str, number: int) -> None:
    assert octets(text) == number


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(SETTINGS)), value=values)
def test_whatever_is_given_is_taken_or_refused(key: str, value: object) -> None:
    try:
        checked = SETTINGS[key].check(value)
    except ValueError:
        return
    assert SETTINGS[key].check(checked) == checked


# ---- commands, which no shell runs


@pytest.mark.parametrize("key", ["exec", "password_command", "tunnel_command"])
@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("tee log | maildrop", "|"),
        ("true && maildrop", "&&"),
        ("maildrop || true", "||"),
        ("true ; maildrop", ";"),
        ("true; maildrop", ";"),
        ("maildrop &", "&"),
        ("cat > file", ">"),
        ("cat >> file", ">>"),
        ("cat >>file", ">>"),
        ("maildrop < file", "<"),
        ("maildrop 2>log", "2>"),
        ("maildrop 2>&1", "2>&"),
        ("maildrop &>log", "&>"),
        ("tee $(hostname)", "$("),
        ('tee "$(hostname)"', "$("),
        ("tee x`hostname`", "`"),
        ("sh -c 'true' | maildrop", "|"),
        ("sh -c 'true' x$(hostname)", "$("),
        (["tee", "log", "|", "maildrop"], "|"),
        (["sh", "script", "$(hostname)"], "$("),
    ],
)
def test_what_only_a_shell_understands_is_refused_with_what_works(
    key: str, command: object, found: str
) -> None:
    with pytest.raises(ValueError, match="which only a shell understands") as caught:
        SETTINGS[key].check(command)
    assert str(caught.value).startswith(f"contains {found}, ")
    assert "\"sh -c '…'\"" in str(caught.value)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh -c 'tee log | maildrop > x; echo $(date) `date`'", 3),
        ("/bin/bash -ec 'a && b'", 3),
        ("env LANG=C sh -e -c 'echo $(date)'", 6),
        ("awk -F '|' x", 4),
        ("sendmail -f '<>' alice", 4),
        ("find . -exec x {} \\;", 6),
        ("curl https://mail.example.org/?a=1&b=2", 2),
        ("grep a|b", 2),
        ("maildrop -d $HOME", 3),
        (["sh", "-c", "a | b; c"], 3),
    ],
)
def test_words_that_a_program_may_be_given_are_not_refused(command: object, words: int) -> None:
    given = SETTINGS["exec"].check(command)
    assert isinstance(given, tuple) and len(given) == words


def test_a_leading_tilde_in_a_word_of_a_password_command_is_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    words = SETTINGS["password_command"].check("~/bin/show ~/secret x~/y '~'")
    assert words == ("/home/alice/bin/show", "/home/alice/secret", "x~/y", "~")


# ---- the table


def test_all_fields_of_an_account_but_four_are_settings() -> None:
    others = {"name", "source", "password_by_option", "destination"}
    assert set(Account._fields) - SETTINGS.keys() == others


def test_every_setting_has_an_effect() -> None:
    package = Path(settings_table.__file__).parent.parent
    nodes = [node for path in package.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_account(node.value)}
    assert SETTINGS.keys() - read == set()


def is_account(node: ast.expr) -> bool:
    """Whether an expression is an account by its name, as ``planned.account`` and ``self._account`` are."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_") == "account"


def test_a_default_is_a_value_that_may_be_given() -> None:
    defaults = {name: default for name, default in Account._field_defaults.items() if default is not None}
    assert {name: SETTINGS[name].check(defaults[name]) for name in defaults.keys() & SETTINGS.keys()} == {
        name: defaults[name] for name in defaults.keys() & SETTINGS.keys()
    }


def test_what_can_hide_lower_layers_is_a_group() -> None:
    groups = Counter(setting.group for setting in SETTINGS.values() if setting.group)
    assert [name for name, members in groups.items() if members < 2] == []


def test_a_command_may_have_a_secret_among_its_words() -> None:
    assert [name for name, setting in SETTINGS.items() if setting.runs and not setting.secret] == []


def test_what_the_options_of_a_server_give_is_kept_by_a_login_or_names_the_account() -> None:
    given = {name for name, option in OPTIONS if option.section in (SERVER, SECURITY)}
    kept = {name for name, setting in SETTINGS.items() if setting.lasting}
    assert given - kept == {"host", "port", "user", "tls"}
    assert kept <= given


def test_every_option_is_one_of_a_command() -> None:
    commands = [import_module(f"pop3fetch.cli.commands.{name}").command for name in COMMANDS]
    found = {name for command in commands for parameter in command.params for name in parameter.opts}
    assert {option.usage.split()[0].partition("/")[0] for _, option in OPTIONS} <= found


OF_GET = (DELIVERY, DETAILS, SELECTION, UNATTENDED)


def test_what_the_options_of_get_give_is_not_kept_by_a_login() -> None:
    of_get = {name for name, option in OPTIONS if option.section in OF_GET}
    assert [name for name in of_get if SETTINGS[name].lasting] == []
    assert {option.section for _, option in OPTIONS} == {SERVER, SECURITY, *OF_GET}
