"""File < environment < options: which account a run means, and what it consists of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.account.config_file import (
    Configuration,
    Overrides,
    default_config_file,
    load,
)
from pop3fetch.account.settings_table import SETTINGS, Account
from pop3fetch.errors import ConfigurationError, UsageError
from pop3fetch.record.place import default_state_folder
from pop3fetch.status import Status

WORK = """
[accounts.work]
host = "mail.example.org"
user = "alice"
"""
HOME = """
[accounts.home]
host = "pop.example.net"
user = "zoe"
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, mode: int = 0o600) -> Path:
        file = tmp_path / "config.toml"
        file.write_text(text)
        file.chmod(mode)
        return file

    return write


def give_to_a_stranger(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(file, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)


# ---- an account of the file


def test_every_key_of_a_table_reaches_the_account(write: Write) -> None:
    file = write("""
        default = "work"

        [accounts.work]
        host = "mail.example.org"
        port = 1995
        user = "alice"
        tls = "starttls"
        auth = "cram-md5"
        allow_insecure_login = true
        ca_file = "/etc/ssl/own.pem"
        tls_fingerprint = "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
        client_cert = "/etc/ssl/alice.pem"
        client_key = "/etc/ssl/alice.key"
        password = "s3cret"
        password_command = "pass show mail/work"
        timeout = 20
        utf8 = true
        pipelining = false
        family = "ipv4"
        proxy = "socks5://localhost:1080"
        tunnel_command = ["ssh", "mail", "nc", "localhost", "110"]
        output = "maildir:~/Mail/work"
        exec_timeout = 30
        delete = true
        delete_after = 30
        limit = 100
        max_size = "10M"
        crlf = true
    """)
    assert load(file).account() == Account(
        name="work",
        host="mail.example.org",
        port=1995,
        user="alice",
        tls="starttls",
        auth="cram-md5",
        allow_insecure_login=True,
        ca_file="/etc/ssl/own.pem",
        tls_fingerprint="abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789",
        client_cert="/etc/ssl/alice.pem",
        client_key="/etc/ssl/alice.key",
        password="s3cret",
        password_command=("pass", "show", "mail/work"),
        timeout=20.0,
        utf8=True,
        pipelining=False,
        family="ipv4",
        proxy="socks5://localhost:1080",
        tunnel_command=("ssh", "mail", "nc", "localhost", "110"),
        output="maildir:~/Mail/work",
        exec_timeout=30.0,
        delete=True,
        delete_after=30,
        limit=100,
        max_size=10 << 20,
        crlf=True,
        source=file,
    )


@pytest.mark.parametrize("key", ["ca_file", "client_cert", "password_file"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mail/file", "/home/alice/mail/file"),
        ("~/file", "/home/alice/file"),
        ("$HOME/file", "/home/alice/file"),
        ("${HOME}/file", "/home/alice/file"),
        ("$HOMEPAGE", "/home/alice/$HOMEPAGE"),
        ("/etc/file", "/etc/file"),
    ],
)
def test_a_path_of_the_file_begins_at_the_home_folder(
    write: Write, monkeypatch: pytest.MonkeyPatch, key: str, path: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    configuration = load(write(WORK + f'{key} = "{path}"'))
    assert getattr(configuration.account(), key) == expected
    option = Overrides({key: "file"})
    assert getattr(configuration.account(option), key) == "file", "an option is where it is given"


def test_a_name_with_a_nul_is_an_error(write: Write) -> None:
    with pytest.raises(ConfigurationError, match=r"must not contain NULs"):
        load(write('[accounts."a\\u0000b"]\nhost = "h"'))


def test_a_relative_path_without_a_home_folder_is_an_error(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = load(write(WORK + 'ca_file = "own.pem"'))
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ConfigurationError, match=r"ca_file: the home folder is not known"):
        configuration.account()


def test_a_program_may_take_the_place_of_the_output(write: Write) -> None:
    assert load(write(WORK + 'exec = "procmail -d alice"')).account().exec == ("procmail", "-d", "alice")


def test_a_short_table_is_filled_with_the_defaults_of_the_contract(write: Write) -> None:
    account = load(write(WORK)).account()
    assert (account.port, account.tls, account.auth, account.timeout) == (995, "implicit", "auto", 60.0)
    assert account.pipelining and not account.allow_insecure_login and not account.utf8
    assert account.delete is None and account.output is None and not account.crlf


def test_no_secret_is_in_a_repr(write: Write) -> None:
    file = write(
        WORK
        + """
        password = "s3cret"
        password_command = "echo s3cret"
        tunnel_command = "relay s3cret"
        exec = "sort s3cret"
        proxy = "socks5://alice:s3cret@localhost:1080"
        """
    )
    configuration = load(file)
    overrides = Overrides(password_command="echo s3cret", proxy="http://alice:s3cret@localhost:3128")
    assert "s3cret" not in f"{configuration!r} {configuration.account()!r} {overrides!r}"


# ---- which account


NAMED = 'default = "home"\n' + WORK + HOME
CHOICES: list[tuple[Overrides, Overrides, str]] = [
    (Overrides(), Overrides(), "home"),
    (Overrides(account="work"), Overrides(), "work"),
    (Overrides(), Overrides(account="work"), "work"),
    (Overrides(account="work"), Overrides(account="home"), "work"),
    (Overrides(host="mx.example.com", user="bob"), Overrides(), "bob@mx.example.com"),
    (Overrides(), Overrides(host="mx.example.com", user="bob"), "bob@mx.example.com"),
    (Overrides(host="mx.example.com"), Overrides(user="bob"), "bob@mx.example.com"),
    (Overrides(host="mx.example.com", user="bob"), Overrides(account="work"), "bob@mx.example.com"),
    (Overrides(host="mx.example.com"), Overrides(), "mx.example.com"),
    (Overrides(host="mx.example.com", port=1110, user="bob"), Overrides(), "bob@mx.example.com:1110"),
    (Overrides(host="MX.example.com", port=110, user="bob"), Overrides(), "bob@mx.example.com"),
    (Overrides(host="::1", port=1110, user="bob"), Overrides(), "bob@[::1]:1110"),
    (Overrides(host="unix:/run/pop3", user="bob"), Overrides(), "bob@unix:/run/pop3"),
    (Overrides(account="pop3s://bob@mx.example.com"), Overrides(), "bob@mx.example.com"),
    (Overrides(account="pop3s://mx.example.com", user="bob"), Overrides(), "bob@mx.example.com"),
    (Overrides(account="pop3s://mx.example.com"), Overrides(user="bob"), "bob@mx.example.com"),
    (Overrides(account="pop3s://bob@mx.example.com"), Overrides(host="a", user="b"), "bob@mx.example.com"),
    (Overrides(), Overrides(account="pop3s://bob@mx.example.com"), "bob@mx.example.com"),
    (Overrides(account="work"), Overrides(account="pop3s://bob@mx.example.com"), "work"),
]


@pytest.mark.parametrize(("options", "environment", "name"), CHOICES)
def test_the_account_is_chosen_by_the_first_source_that_names_one(
    write: Write, options: Overrides, environment: Overrides, name: str
) -> None:
    assert load(write(NAMED)).account(options, environment).name == name


def test_the_only_account_needs_no_default(write: Write) -> None:
    assert load(write(WORK)).account().name == "work"


def test_a_host_alone_takes_nothing_from_the_file(write: Write) -> None:
    file = write(WORK + 'port = 1995\npassword_command = "pass"\noutput = "maildir:/tmp/m"\n')
    account = load(file).account(Overrides(host="mx.example.com"))
    assert account == Account(name="mx.example.com", host="mx.example.com", port=995, tls="implicit")


def test_a_url_takes_nothing_from_the_file(write: Write) -> None:
    account = load(write(WORK + "timeout = 5\n")).account(Overrides(account="pop3s://mx.example.com"))
    assert account == Account(name="mx.example.com", host="mx.example.com", port=995, tls="implicit")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Overrides(account="work", user="bob"), "bob@mail.example.org"),
        (Overrides(account="work", host="mx.example.com"), "alice@mx.example.com"),
        (Overrides(account="work", port=110), "work"),
        (Overrides(account="work", user="alice"), "work"),
    ],
)
def test_another_user_or_server_is_no_longer_the_account_of_that_name(
    write: Write, options: Overrides, name: str
) -> None:
    account = load(write(WORK)).account(options)
    assert (account.name, account.source) == (name, load(write(WORK)).path)


def test_the_names_are_in_the_order_of_the_file(write: Write) -> None:
    assert load(write(WORK + HOME)).names() == ("work", "home")


# ---- what wins


LAYERED = [
    ("port", 1001, 1002, 1003),
    ("user", "file", "environment", "option"),
    ("tls", "implicit", "auto", "starttls"),
    ("auth", "plain", "login", "apop"),
    ("ca_file", "/file", "/environment", "/option"),
    ("tls_fingerprint", "a" * 64, "b" * 64, "c" * 64),
    ("client_cert", "/file", "/environment", "/option"),
    ("password_command", "file", "environment", "option"),
    ("timeout", 1.0, 2.0, 3.0),
    ("family", "any", "ipv4", "ipv6"),
    ("proxy", "http://file:1", "http://environment:2", "http://option:3"),
    ("host", "file", "environment", "option"),
]


@pytest.mark.parametrize(("key", "file", "environment", "option"), LAYERED)
def test_options_win_over_the_environment_and_that_over_the_file(
    write: Write, key: str, file: object, environment: object, option: object
) -> None:
    host = "" if key == "host" else 'host = "mail.example.org"\n'
    configuration = load(write(f"[accounts.work]\n{host}{key} = {file!r}\n"))
    checked = SETTINGS[key].check

    def value(options: dict[str, object], variables: dict[str, object]) -> object:
        name = {"account": "work"}
        account = configuration.account(Overrides(name, **options), Overrides(variables))
        return getattr(account, key)

    assert value({}, {}) == checked(file)
    assert value({}, {key: environment}) == checked(environment)
    assert value({key: option}, {}) == checked(option)
    assert value({key: option}, {key: environment}) == checked(option)


@pytest.mark.parametrize(
    ("file", "option", "shown"),
    [
        ("output = '/mail'", {"exec": "cat"}, (None, ("cat",), None, None)),
        ("exec = 'cat'", {"output": "/mail"}, ("/mail", None, None, None)),
        ("delete = true", {"delete_after": 3}, (None, None, None, 3)),
        ("delete_after = 3", {"delete": False}, (None, None, False, None)),
        ("delete = true\ndelete_after = 3", {"output": "/mail"}, ("/mail", None, True, 3)),
    ],
)
def test_one_of_a_group_hides_what_lower_layers_give_of_it(
    write: Write, file: str, option: dict[str, object], shown: tuple[object, ...]
) -> None:
    account = load(write(f"{WORK}{file}\n")).account(Overrides(option))
    assert (account.output, account.exec, account.delete, account.delete_after) == shown


@pytest.mark.parametrize("key", ["allow_insecure_login", "utf8", "pipelining"])
@pytest.mark.parametrize("file", [True, False])
def test_a_flag_that_is_not_given_leaves_the_file_alone(write: Write, key: str, file: bool) -> None:
    configuration = load(write(f"{WORK}{key} = {str(file).lower()}\n"))
    other = Overrides(**{key: not file})
    assert getattr(configuration.account(), key) is file
    assert getattr(configuration.account(other), key) is not file


def test_a_url_on_the_command_line_wins_over_the_environment_and_options_over_the_url() -> None:
    options = Overrides(account="pop3s://alice;AUTH=PLAIN@a.example.org:1995", port=2995)
    environment = Overrides(host="b.example.org", port=3995, user="bob", tls="off", auth="login", timeout=5)
    account = Configuration(Path("none")).account(options, environment)
    assert (account.host, account.port, account.user) == ("a.example.org", 2995, "alice")
    assert (account.tls, account.auth, account.timeout) == ("implicit", "plain", 5.0)


# ---- ports and TLS modes


PORTS = [
    (Overrides(host="h"), 995, "implicit"),
    (Overrides(host="h", tls="implicit"), 995, "implicit"),
    (Overrides(host="h", tls="auto"), 110, "auto"),
    (Overrides(host="h", tls="starttls"), 110, "starttls"),
    (Overrides(host="h", tls="off"), 110, "off"),
    (Overrides(host="h", port=110), 110, "auto"),
    (Overrides(host="h", port=110, tls="implicit"), 110, "implicit"),
    (Overrides(host="h", port=995), 995, "implicit"),
    (Overrides(host="h", port=1110), 1110, "implicit"),
    (Overrides(account="pop3s://h"), 995, "implicit"),
    (Overrides(account="pop3s://h:110"), 110, "implicit"),
    (Overrides(account="pop3s://h", tls="starttls"), 110, "starttls"),
    (Overrides(account="pop3://h"), 110, "auto"),
    (Overrides(account="pop3://h:1110"), 1110, "auto"),
    (Overrides(account="pop://h"), 110, "auto"),
    (Overrides(account="pop3://h", tls="starttls"), 110, "starttls"),
    (Overrides(account="pop3://h", tls="implicit"), 995, "implicit"),
    (Overrides(host="unix:/run/pop3"), 0, "auto"),
    (Overrides(host="unix:/run/pop3", port=110, tls="off"), 0, "off"),
]


@pytest.mark.parametrize(("options", "port", "tls"), PORTS)
def test_port_and_tls_mode_go_with_each_other(options: Overrides, port: int, tls: str) -> None:
    account = Configuration(Path("none")).account(options)
    assert (account.port, account.tls) == (port, tls)


def test_the_environment_may_tighten_what_pop3_leaves_open() -> None:
    environment = Overrides(tls="starttls")
    account = Configuration(Path("none")).account(Overrides(account="pop3://h"), environment)
    assert account.tls == "starttls"


# ---- what is wrong with a file


WRONG_FILES = [
    ("[accounts.work]\nhots = 'h'\n", "accounts.work.hots", "did you mean 'host'?"),
    ("[accounts.work]\nhost = 'h'\nzzz = 1\n", "accounts.work.zzz", "unknown key"),
    ("[accounts.work]\nhost = 'h'\nname = 'h'\n", "accounts.work.name", "unknown key"),
    ("[accounts.work]\nhost = 'h'\nport = '995'\n", "accounts.work.port", "must be a whole number"),
    ("[accounts.work]\nhost = 'h'\nport = 0\n", "accounts.work.port", "between 1 and 65535"),
    ("[accounts.work]\nhost = 'h'\ntls = 'ssl'\n", "accounts.work.tls", "one of implicit, auto"),
    ("[accounts.work]\nhost = 'h'\nauth = 'ntlm'\n", "accounts.work.auth", "one of auto, user"),
    ("[accounts.work]\nhost = 'h'\ntimeout = -1\n", "accounts.work.timeout", "between 0"),
    ("[accounts.work]\nhost = 'h'\ndelete_after = -1\n", "accounts.work.delete_after", "between 0"),
    ("[accounts.work]\nhost = ''\n", "accounts.work.host", "must not be empty"),
    ("[accounts.work]\nuser = 'alice'\n", "accounts.work", 'write host = "pop.example.org"'),
    (
        "[accounts.work]\nhost = 'h'\noutput = '-'\nexec = 'x'\n",
        "accounts.work.exec",
        "cannot be combined with output",
    ),
    ("[accounts]\nwork = 'h'\n", "accounts.work", "must be a table"),
    ("[accounts]\nhost = 'h'\n", "accounts.host", "write [accounts.NAME]"),
    ("accounts = 'work'\n", "accounts", "must be tables; write [accounts.NAME]"),
    ("[[accounts]]\nhost = 'h'\n", "accounts", "must be tables; write [accounts.NAME]"),
    ("[work]\nhost = 'h'\n", "work", "unknown table; write [accounts.work]"),
    ("default = 3\n", "default", 'must be a string, the name of an account; write default = "3"'),
    ("[default]\ntimeout = 3\n", "default", "keys of all accounts are in [defaults]"),
    ("defaults = 3\n", "defaults", "must be a table"),
    ("[defaults]\ntimeoot = 3\n[accounts.work]\nhost = 'h'\n", "defaults.timeoot", "did you mean 'timeout'?"),
    ("[defaults]\ntimeout = -3\n[accounts.work]\nhost = 'h'\n", "defaults.timeout", "between 0"),
    (
        "[defaults]\noutput = '-'\nexec = 'x'\n[accounts.work]\nhost = 'h'\n",
        "defaults.exec",
        "cannot be combined with output",
    ),
    ("[defaults.oauth]\nscoop = 'x'\n[accounts.work]\nhost = 'h'\n", "defaults.oauth.scoop", "unknown key"),
    ("default = 'wrok'\n[accounts.work]\nhost = 'h'\n", "default", "did you mean 'work'?"),
    ("defualt = 'work'\n", "defualt", "did you mean 'default'?"),
    ("host = 'h'\n", "host", "it belongs below a line [accounts.NAME] or [defaults]"),
]


@pytest.mark.parametrize(("text", "key", "reason"), WRONG_FILES)
def test_a_mistake_is_named_by_file_table_and_key(write: Write, text: str, key: str, reason: str) -> None:
    file = write(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file).account()
    assert caught.value.where == f"{file}: {key}"
    assert reason in caught.value.reason
    assert caught.value.exit_status == Status.CONFIGURATION


DEFAULTS = """
[defaults]
host = "pop.example.org"
timeout = 20
output = "maildir:Mail/all"
ca_file = "own.pem"
delete = true

[accounts.work]
user = "alice"

[accounts.home]
host = "pop.example.net"
user = "zoe"
timeout = 5
exec = "maildrop"
delete_after = 30
"""


def test_the_defaults_are_keys_of_all_accounts(write: Write, home: Path) -> None:
    configuration = load(write(DEFAULTS))
    work, zoe = (configuration.account(Overrides(account=name)) for name in ("work", "home"))
    assert (work.name, work.host, work.timeout, work.output) == (
        "work",
        "pop.example.org",
        20,
        "maildir:Mail/all",
    )
    assert (work.ca_file, work.delete, work.delete_after) == (str(home / "own.pem"), True, None)
    assert (zoe.host, zoe.timeout, zoe.ca_file) == ("pop.example.net", 5, str(home / "own.pem"))
    assert (zoe.output, zoe.exec) == (None, ("maildrop",)), "one destination hides the other"
    assert (zoe.delete, zoe.delete_after) == (None, 30), "one rule of deletion hides the other"
    assert configuration.servers() == {"pop.example.org", "pop.example.net"}


def test_options_and_variables_override_the_defaults(write: Write) -> None:
    configuration = load(write(DEFAULTS))
    account = configuration.account(Overrides(account="work", timeout=7), Overrides(ca_file="/variable"))
    assert (account.timeout, account.ca_file) == (7, "/variable")


def test_a_url_takes_nothing_from_the_defaults(write: Write) -> None:
    account = load(write(DEFAULTS)).account(Overrides(account="pop3s://alice@pop.example.org"))
    assert (account.timeout, account.ca_file, account.delete) == (60, None, None)


def test_a_password_in_the_defaults_is_as_secret_as_elsewhere(write: Write) -> None:
    text = "[defaults]\npassword = 'x'\nproxy = 'socks5://h:1'\n"
    assert "'x'" not in repr(load(write(text)))
    with pytest.raises(ConfigurationError) as caught:
        load(write(text, 0o644))
    assert caught.value.where.endswith("config.toml: defaults.password")
    file = write("[defaults]\nproxy = 'socks5://h:1'\nexec = 'x'\n[accounts.work]\nhost = 'h'\n", 0o666)
    assert len(load(file).warnings()) == 2


def test_a_mistake_in_one_account_leaves_the_others_alone(write: Write) -> None:
    configuration = load(write(WORK + "[accounts.home]\nhots = 'h'\n"))
    assert configuration.account(Overrides(account="work")).host == "mail.example.org"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"[accounts.work]\nhost = mail\n", ": line 2: text needs quotes"),
        (b"[accounts.work\n", ": line 1: not the line of a table"),
        (b"[accounts.work]\nhost = 'a'\nhost = 'b'\n", ": line 3: host is already in the file"),
        (b"host = '\xff'\n", ": not TOML: 'utf-8' codec can't decode"),
        (b"port = " + b"9" * 5000, "not TOML: Exceeds the limit"),
    ],
)
def test_invalid_toml_is_reported_with_file_and_line(tmp_path: Path, octets: bytes, reason: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(octets)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert reason in str(caught.value)


def test_several_accounts_need_a_default_or_a_choice(write: Write) -> None:
    file = write("[accounts.a]\nhost = 'h'\n[accounts.b]\nhost = 'h'\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file).account()
    assert str(caught.value) == (
        f"no account is given: {file} has no default; choose one of a, b with -a, use all with -A, or "
        'write default = "a" at its top'
    )


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: no such file"


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_the_default_file_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    configuration = load()
    assert configuration == Configuration(default_config_file())
    assert configuration.names() == ()
    with pytest.raises(ConfigurationError) as caught:
        configuration.account()
    for way in (
        "-a pop3s://USER@HOST",
        "`pop3fetch login ADDRESS`",
        str(tmp_path / "pop3fetch" / "config.toml"),
        "`pop3fetch demo`",
    ):
        assert way in str(caught.value)


def test_the_default_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    default_config_file().parent.mkdir()
    default_config_file().write_text(WORK)
    assert load().account().source == tmp_path / "pop3fetch" / "config.toml"


def test_the_records_have_the_platforms_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_folder() == tmp_path / "pop3fetch"


# ---- what is wrong with a choice


@pytest.mark.parametrize(
    ("tables", "name", "hint"),
    [
        (WORK + HOME, "wrok", "did you mean 'work'?"),
        (WORK + HOME, "zzz", "the accounts are work, home"),
        (WORK, "zzz", "the only account is work"),
    ],
)
def test_an_unknown_account_is_answered_with_the_known_ones(
    write: Write, tables: str, name: str, hint: str
) -> None:
    file = write(tables)
    with pytest.raises(ConfigurationError) as caught:
        load(file).account(Overrides(account=name))
    assert str(caught.value) == f"{file}: no account is named {name!r}; {hint}"


def test_an_empty_name_is_not_an_account(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Configuration(tmp_path).account(Overrides(account=""))
    assert str(caught.value) == f"{tmp_path}: no account is named ''; `pop3fetch login ADDRESS` adds one"


def test_a_url_without_its_scheme_is_not_repeated(write: Write) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write(WORK)).account(Overrides(account="alice:s3cret@mail.example.org"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Overrides(host="h", port=0), "--port must be between 1 and 65535, not 0"),
        (Overrides(host="h", tls_fingerprint="abc"), "--tls-fingerprint must be a SHA-256 fingerprint"),
        (Overrides(host="h:995"), "--host must be a host name or an address"),
        (Overrides(host="h", password_command="pass '"), "--password-command cannot be split into words"),
        (Overrides(account="pop3s://h:70000"), "--account: the URL's port must be between 1 and 65535"),
        (Overrides(account="pop3s://@h"), "--account: the URL's user must not be empty"),
        (Overrides(account="pop3s://"), "--account: the URL's host must not be empty"),
        (Overrides(account="pop3s://a%0D%0ADELE%201@h"), "--account: the URL's user must not contain line"),
        (
            Overrides(account="pop3s://a%00@h"),
            "--account: the URL's user must not contain line breaks or NUL",
        ),
        (Overrides(account="pop3s://a@h%0D%0A"), "--account: the URL's host must not contain line breaks"),
        (Overrides(account="pop://a;AUTH=NTLM@h"), "--account: the URL's auth must be one of auto, user"),
    ],
)
def test_a_bad_option_is_a_mistake_of_the_command_line(options: Overrides, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Configuration(Path("none")).account(options)
    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_status == Status.USAGE


def test_a_method_of_the_url_is_the_accounts() -> None:
    options = Overrides(account="pop://alice;AUTH=+APOP@h")
    assert Configuration(Path("none")).account(options).auth == "apop"


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Configuration(Path("none")).account(Overrides(host="h", client_key="/own.key"))
    assert str(caught.value) == "client_key: the certificate is missing; also set client_cert (--client-cert)"


def test_an_account_without_a_user_is_reported_with_its_table(write: Write) -> None:
    file = write("[accounts.work]\nhost = 'h'\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file).account().login_name()
    write_it = 'write user = "alice", or give one with --user'
    assert str(caught.value) == f"{file}: accounts.work: the user is missing; {write_it}"
    with pytest.raises(ConfigurationError) as caught:
        load(file).account(Overrides(host="mx")).login_name()
    assert str(caught.value) == "mx: the user is missing; give one with --user"


def test_an_account_with_a_user_has_a_login_name() -> None:
    assert Configuration(Path("none")).account(Overrides(host="h", user="alice")).login_name() == "alice"


# ---- who may read and change the file


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_password_that_others_can_read_is_refused(write: Write, mode: int) -> None:
    file = write(WORK + 'password = "s3cret"\n', mode)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert caught.value.where == f"{file}: accounts.work.password"
    assert "chmod 600" in caught.value.reason
    assert "s3cret" not in str(caught.value)


def test_a_password_in_a_strangers_file_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(WORK + 'password = "s3cret"\n')
    give_to_a_stranger(file, monkeypatch)
    with pytest.raises(ConfigurationError, match="others can read this file"):
        load(file)


def test_a_password_in_a_file_of_our_own_is_taken(write: Write) -> None:
    assert load(write(WORK + 'password = "s3cret"\n')).account().password == "s3cret"


def test_a_file_without_a_password_may_be_read_by_others(write: Write) -> None:
    configuration = load(write(WORK + 'password_command = "pass"\n', 0o644))
    assert configuration.account().host == "mail.example.org"
    assert configuration.warnings() == []


@pytest.mark.parametrize("key", ["password_command", "tunnel_command", "exec"])
@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_commands_that_others_can_change_are_warned_of(write: Write, key: str, mode: int) -> None:
    file = write(f"{WORK}{key} = 'run'\n", mode)
    assert load(file).warnings() == [f"{file}: others can change which commands it runs; chmod go-w it"]


def test_a_file_of_no_consequence_is_not_warned_of(write: Write) -> None:
    assert load(write(WORK, 0o666)).warnings() == []


def test_a_proxys_password_that_others_can_read_is_warned_of(write: Write) -> None:
    file = write(WORK + "proxy = 'socks5://alice:s3cret@localhost:1080'\n", 0o644)
    (warning,) = load(file).warnings()
    assert warning.startswith(f"{file}: others can read it") and "s3cret" not in warning
