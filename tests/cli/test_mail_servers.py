"""Mail servers as destinations: what the user may write, and what is refused before anything is sent."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest
import trustme

from pop3fetch.account.destination_table import DestinationTable
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.mail_servers import login_of
from pop3fetch.delivery.servers.address import parse
from pop3fetch.errors import ConfigurationError
from tests.support import keyrings
from tests.support.certificates import identity
from tests.support.command import Ended, Run
from tests.support.imap_server import ImapServer
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.running import begun, last_words
from tests.support.scripted_server import ScriptedServer, StartServer, Talk
from tests.support.terminal import Terminal
from tests.support.transfer_server import Accepted, TransferServer

MAIL = [b"Subject: one\r\n\r\n1\r\n", b"Subject: two\r\n\r\n2\r\n"]
SECRET = {"POP3FETCH_PASSWORD": "secret"}


@pytest.fixture
def pop(server: StartServer) -> ScriptedServer:
    return server(Mailbox(MAIL, user="alice@example.org"))


def get(here: Here, pop: ScriptedServer, *options: str | Path) -> Ended:
    account = ["-H", pop.host, "-p", str(pop.port), "-u", "alice@example.org", "--tls", "off"]
    return here("get", *account, "--allow-insecure-login", *options, env=SECRET)


def file_with(folder: Path, *lines: str, name: str = "box") -> Path:
    file = folder / "config.toml"
    file.touch(0o600)
    file.write_text("\n".join([f"[destinations.{name}]", *lines, ""]))
    return file


def test_the_user_is_the_recipient_if_it_is_an_address(
    here: Here, pop: ScriptedServer, server: StartServer
) -> None:
    lmtp = TransferServer()
    url = f"lmtp://localhost:{server(lmtp).port}"
    assert get(here, pop, "-o", url) == Ended(0, b"", b"")
    assert lmtp.accepted == [Accepted(b"", b"alice@example.org", octets) for octets in MAIL]


def test_recipients_on_the_command_line_come_first(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path
) -> None:
    lmtp = TransferServer()
    file = file_with(tmp_path, f'url = "lmtp://localhost:{server(lmtp).port}"', 'recipients = ["a", "b"]')
    assert get(here, pop, "-c", file, "-o", "@box", "--limit", "1").status == 0
    assert get(here, pop, "-c", file, "-o", "@box", "--recipient", "c", "--recipient", "d").status == 0
    assert [each.recipient for each in lmtp.accepted] == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize(
    ("is_fetched", "words", "sent"),
    [
        (False, [], [b"b"]),
        (False, ["1"], [b"b"]),
        (False, ["--all"], [b"b", b"a", b"b"]),
        (True, ["1"], [b"a", b"b"]),
        (True, ["--all"], [b"a", b"b", b"a", b"b"]),
        (True, ["forget"], [b"a", b"b"]),
    ],
)
def test_who_has_accepted_a_message_is_sent_it_again_only_if_it_was_fetched(
    here: Here,
    pop: ScriptedServer,
    server: StartServer,
    tmp_path: Path,
    is_fetched: bool,
    words: list[str],
    sent: list[bytes],
) -> None:
    lmtp = TransferServer(replies={b"end": [b"", b"550 5.0.0 not for b\r\n"]})
    file = file_with(tmp_path, f'url = "lmtp://localhost:{server(lmtp).port}"', 'recipients = ["a", "b"]')
    assert get(here, pop, "-c", file, "-o", "@box", "--limit", "1", "1").status == 73
    assert [each.recipient for each in lmtp.accepted] == [b"a"]
    lmtp.accepted.clear()
    if is_fetched:
        assert get(here, pop, "-o", f"maildir:{tmp_path}/Mail").status == 0
    if words == ["forget"]:
        account = ["-H", pop.host, "-p", str(pop.port), "-u", "alice@example.org"]
        assert here("record", "forget", "uid:uid-1", *account).status == 0
        words = []
    assert get(here, pop, "-c", file, "-o", "@box", *(words or ["--limit", "1"])).status == 0
    assert [each.recipient for each in lmtp.accepted] == sent


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (["-o", "imaps://alice:hunter2@localhost/x"], 2, "must not contain a password"),
        (["-o", "lmtp:localhost"], 2, "unknown destination type 'lmtp:'"),
        (["-o", "lmtp://mx.example.org"], 78, "set starttls = true, or insecure = true"),
        (["-o", "smtps://bob@mail.example.org"], 78, "set from in [destinations.NAME]"),
        (["-o", "lmtp://localhost", "--recipient", "a b"], 2, "--recipient must be an address"),
        (["-o", "lmtp://localhost", "--recipient", "a>\r\nDATA"], 2, "--recipient must be an address"),
        (["-o", "lmtp://127.0.0.1"], 78, "it is the mailbox that is fetched"),
        (["-o", "imaps://alice@example.org@127.0.0.1"], 78, "it is the mailbox that is fetched"),
    ],
)
def test_what_cannot_be_right_is_refused(
    here: Here, pop: ScriptedServer, options: list[str], status: int, text: str
) -> None:
    ended = get(here, pop, *options)
    assert ended.status == status
    assert text in ended.err.decode()
    assert b"hunter2" not in ended.err
    assert not any(b"RETR" in line for line in pop.commands)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (['recipients = "a"'], "destinations.box: url is missing; write url = "),
        (['url = "http://localhost"'], "destinations.box.url: the URL of the destination cannot be used"),
        (['url = "lmtp://localhost"', "x = 1"], "destinations.box.x: unknown key"),
        (['url = "lmtp://localhost"', 'flags = ["\\\\Recent"]'], "destinations.box.flags: must be flags"),
        (['url = "lmtp://localhost"', 'from = "a b"'], "destinations.box.from: must be an address"),
        (['url = "lmtp://localhost"', "starttls = 1"], "destinations.box.starttls: must be true or false"),
        (['url = "lmtp://localhost"', 'client_key = "x"'], "client_key: needs client_cert"),
    ],
)
def test_a_wrong_table_is_named_with_its_key(
    here: Here, pop: ScriptedServer, tmp_path: Path, lines: list[str], text: str
) -> None:
    ended = get(here, pop, "-c", file_with(tmp_path, *lines), "-o", "@box", "--recipient", "bob")
    assert (ended.status, ended.out) == (78, b"")
    assert text in ended.err.decode()


@pytest.mark.parametrize(
    ("url", "keys", "tls"),
    [
        ("lmtp://localhost", {}, "off"),
        ("lmtp:///run/lmtp", {}, "off"),
        ("lmtp://localhost", {"starttls": True}, "starttls"),
        ("lmtp://mx.example.org", {"starttls": True}, "starttls"),
        ("lmtp://mx.example.org", {"insecure": True}, "off"),
        ("lmtp://mx.example.org", {}, None),
        ("smtp://localhost", {}, "off"),
        ("smtp://localhost", {"starttls": True}, "starttls"),
        ("smtp://bob@localhost", {"insecure": True}, "starttls"),
        ("smtp://relay.example.org", {"insecure": True}, "starttls"),
        ("smtps://localhost", {}, "implicit"),
        ("imaps://bob@imap.example.org", {}, "implicit"),
        ("imap://bob@localhost", {"insecure": True}, "starttls"),
        ("imap://bob@imap.example.org", {}, "starttls"),
    ],
)
def test_tls_is_required_unless_a_table_or_this_machine_allows_clear_text(
    url: str, keys: dict[str, bool], tls: str | None
) -> None:
    table = DestinationTable("box", "file: destinations.box", {"url": url, **keys})
    fetched = Account("a", "pop.example.com", 995, "implicit")
    if tls is None:
        with pytest.raises(ConfigurationError, match="in clear text"):
            login_of(parse(url), table, fetched)
    else:
        assert login_of(parse(url), table, fetched).tls == tls


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("imaps://alice@example.com@pop.example.com/INBOX", True),
        ("imaps://alice@example.com@POP.example.com/inbox", True),
        ("imaps://alice@example.com@imap.example.com", True),
        ("imap://alice@example.com@mail.example.com", True),
        ("lmtp://lmtp.example.com", True),
        ("smtps://alice@example.com@smtp.example.com", True),
        ("imaps://alice@example.com@imap.example.com/Archive", False),
        ("imaps://bob@example.com@imap.example.com", False),
        ("imaps://alice@example.com@imap.example.org", False),
        ("imaps://alice@example.com@com", False),
        ("lmtp://mx2.example.com", False),
    ],
)
def test_the_mailbox_that_is_fetched_is_not_a_destination(
    here: Here, tmp_path: Path, url: str, is_own: bool
) -> None:
    file = file_with(tmp_path, f'url = "{url}"', 'from = ""', "starttls = true", 'password = "secret"')
    account = [
        "-H",
        "pop.example.com",
        "-u",
        "alice@example.com",
        "--timeout",
        "1",
        "--proxy",
        "http://[::1]:9",
    ]
    ended = here("get", *account, "-c", file, "-o", "@box", env=SECRET)
    assert (ended.status, b"it is the mailbox that is fetched" in ended.err) == (78 if is_own else 75, is_own)


def test_a_user_that_is_not_an_address_is_not_a_recipient(
    here: Here, server: StartServer, tmp_path: Path
) -> None:
    lmtp, mailbox = TransferServer(), server(Mailbox([b"To: bob@example.org\r\n\r\n1\r\n"], user="alice"))
    url = f"lmtp://localhost:{server(lmtp).port}"
    account = ["-H", mailbox.host, "-p", str(mailbox.port), "-u", "alice", "--tls", "off"]
    words = ["get", *account, "--allow-insecure-login", "-o", url]
    ended = here(*words, env=SECRET)
    assert ended.status == 78
    assert b"the user is not an address: give one with --recipient, or the key recipients" in ended.err
    assert lmtp.mails == []
    assert here(*words, "--recipient", "alice", env=SECRET).status == 0
    assert [each.recipient for each in lmtp.accepted] == [b"alice"]


def test_a_dry_run_and_the_list_of_accounts_name_the_destination(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path
) -> None:
    lmtp = TransferServer()
    url = f"lmtp://localhost:{server(lmtp).port}"
    file = file_with(tmp_path, f'url = "{url}"', *account_at(pop, 'password = "secret"'))
    ended = here("get", "-c", file, "--dry-run", "--json")
    assert [json.loads(line)["destination"] for line in ended.out.splitlines()] == [url, url]
    assert (
        f"would fetch 2 messages (38 B) to {url}" in here("get", "-v", "-c", file, "--dry-run").err.decode()
    )
    assert here("accounts", "-v", "-c", file).out.decode().endswith(f"\talice@example.org\t{url}\n")
    assert json.loads(here("accounts", "--json", "-c", file).out)["output"] == url
    assert here("get", "-c", file, "--json").out.count(f'"destination": "{url}"'.encode()) == len(MAIL)
    assert len(lmtp.accepted) == len(MAIL)


def test_a_destination_that_does_not_exist_is_named(here: Here, pop: ScriptedServer, tmp_path: Path) -> None:
    ended = get(here, pop, "-c", file_with(tmp_path, 'url = "lmtp://localhost"'), "-o", "@bok")
    assert ended.status == 78
    assert b"no destination is named 'bok'" in ended.err


def test_others_must_not_read_the_password_of_a_destination(
    here: Here, pop: ScriptedServer, tmp_path: Path
) -> None:
    file = file_with(tmp_path, 'url = "imaps://bob@localhost"', 'password = "x"')
    file.chmod(0o644)
    ended = get(here, pop, "-c", file, "-o", "@box")
    assert ended.status == 78
    assert b"destinations.box.password: others can read this file" in ended.err


def imap_destination(
    folder: Path, imap: ScriptedServer, ca_file: Path, *lines: str, path: str = "INBOX"
) -> Path:
    url = f'url = "imaps://alice@localhost:{imap.port}/{path}"'
    return file_with(folder, url, f'ca_file = "{ca_file}"', *lines)


def account_at(pop: ScriptedServer, *lines: str) -> list[str]:
    """Return the table of an account whose messages go to @box."""
    return [
        "[accounts.a]",
        f'host = "{pop.host}"',
        f"port = {pop.port}",
        'user = "alice@example.org"',
        'tls = "off"',
        "allow_insecure_login = true",
        'output = "@box"',
        *lines,
    ]


def test_a_mailbox_gets_each_message_once(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    imap = ImapServer()
    running = server(imap, tls="implicit")
    file = imap_destination(tmp_path, running, ca_file, 'password = "secret"')
    assert get(here, pop, "-c", file, "-o", "@box") == Ended(0, b"", b"")
    assert get(here, pop, "-c", file, "-o", "@box") == Ended(0, b"", b"")
    assert [*imap.inbox.messages.values()] == MAIL
    assert imap.commands.count(b"LOGOUT") == 1, "a run without new mail does not log in"


def test_a_message_to_which_no_reply_ever_comes_is_named_with_what_to_do(
    here: Here, server: StartServer
) -> None:
    lmtp, pop = (
        TransferServer(replies={b"end": [None] * 9}),
        server(Mailbox(MAIL[:1], user="alice@example.org")),
    )
    url = f"lmtp://localhost:{server(lmtp).port}"
    ended = [get(here, pop, "-o", url) for _ in range(8)]
    assert [each.status for each in ended] == [75] * 3 + [73] * 5
    assert len(lmtp.accepted) == 3
    assert {each.err.decode() for each in ended[3:]} == {
        f"pop3fetch: message 1 stays on the server: cannot deliver to {url}: the reply to it was lost in 3 "
        "runs, so it may be there 3 times; to send it again, name it: `pop3fetch get 1`\n"
    }
    assert get(here, pop, "-o", url, "1").status == 75
    assert b"lost in 4 runs" in get(here, pop, "-o", url).err
    assert len(lmtp.accepted) == 4


def test_a_mailbox_that_is_gone_is_created_again_only_with_create(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    imap = ImapServer()
    running = server(imap, tls="implicit")
    file = imap_destination(tmp_path, running, ca_file, 'password = "secret"', path="Lists")
    assert get(here, pop, "-c", file, "-o", "@box", "--limit", "1").status == 0
    del imap.boxes[b"Lists"]
    ended = get(here, pop, "-c", file, "-o", "@box", "--delete")
    assert (ended.status, b"not mounted?" in ended.err, [*imap.boxes]) == (73, True, [b"INBOX"])
    assert b"DELE" not in b"".join(pop.commands)
    assert get(here, pop, "-c", file, "-o", "@box", "--create") == Ended(0, b"", b"")
    assert [*imap.boxes[b"Lists"].messages.values()] == MAIL[1:]


def test_the_dead_destination_of_an_account_does_not_hold_up_another(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path
) -> None:
    lmtp, other = TransferServer(), server(Mailbox(MAIL, user="alice@example.org"))
    alive, silent = server(lmtp), server(Talk.stall)
    tables = [f'url = "lmtp://localhost:{alive.port}"', *account_at(pop, 'password = "secret"')]
    dead = [
        f'url = "lmtp://localhost:{silent.port}"',
        "timeout = 1",
        *account_at(other, 'password = "secret"'),
    ]
    text = "\n".join(dead).replace("@box", "@silent").replace("[accounts.a]", "[accounts.before]")
    tables.append(f"[destinations.silent]\n{text}")
    ended = here("get", "-A", "-c", file_with(tmp_path, *tables))
    assert ended.status == 75
    assert [line.partition(b": ")[2][:7] for line in ended.err.splitlines()] == [b"before:"], ended.err
    assert [each.octets for each in lmtp.accepted] == MAIL


@pytest.mark.parametrize(
    "source",
    [
        'password = "secret"',
        'password_file = "{folder}/secret"',
        'password_command = "cat {folder}/secret"',
        "",  # ~/.netrc
    ],
)
def test_the_secret_of_a_destination_is_found_where_that_of_an_account_is(
    here: Here,
    pop: ScriptedServer,
    server: StartServer,
    home: Path,
    tmp_path: Path,
    ca_file: Path,
    source: str,
) -> None:
    imap = ImapServer()
    secret, netrc = tmp_path / "secret", home / ".netrc"
    texts = {secret: "secret\n", netrc: "" if source else "machine localhost login alice password secret\n"}
    for path, text in texts.items():
        path.touch(0o600)
        path.write_text(text)
    file = imap_destination(tmp_path, server(imap, tls="implicit"), ca_file, source.format(folder=tmp_path))
    assert get(here, pop, "-c", file, "-o", "@box") == Ended(0, b"", b"")
    assert [*imap.inbox.messages.values()] == MAIL


def test_the_keys_of_a_table_reach_the_server(
    here: Here, pop: ScriptedServer, tmp_path: Path, authority: trustme.CA, ca_file: Path
) -> None:
    certificate = identity(authority, "mail.example.org")
    imap, lmtp = ImapServer(), TransferServer(extensions=(b"STARTTLS",))
    flags = 'flags = ["\\\\Seen", "$Work"]'
    with (
        ScriptedServer(imap, tls="implicit", context=certificate.context) as far_imap,
        ScriptedServer(lmtp, context=certificate.context) as far_lmtp,
    ):
        for key in (f'ca_file = "{ca_file}"\ntls_name = "mail.example.org"',
                    f'tls_fingerprint = "{certificate.fingerprint}"'):  # fmt: skip
            url = f'url = "imaps://alice@localhost:{far_imap.port}"'
            file = file_with(tmp_path, url, 'password = "secret"', flags, key)
            assert get(here, pop, "-c", file, "-o", "@box", "--all") == Ended(0, b"", b"")
        url = f'url = "lmtp://localhost:{far_lmtp.port}"'
        keys = ["starttls = true", 'from = "carol@example.org"', 'recipients = ["bob"]', key]
        assert get(here, pop, "-c", file_with(tmp_path, url, *keys), "-o", "@box", "--all").status == 0
        wrong = file_with(tmp_path, url, *keys[:-1], f'tls_fingerprint = "{"0" * 64}"')
        ended = get(here, pop, "-c", wrong, "-o", "@box", "--all")
        assert (ended.status, b"fingerprint does not match" in ended.err) == (76, True)
    assert imap.inbox.flags == [b"\\Seen $Work"] * 4
    assert lmtp.accepted == [Accepted(b"carol@example.org", b"bob", octets) for octets in MAIL]


def test_a_destination_has_a_time_out_and_a_certificate_of_its_own(tmp_path: Path) -> None:
    fetched = Account("a", "pop.example.com", 995, "implicit", timeout=7, client_cert="/account.pem")
    url = "imaps://bob@imap.example.org"
    keys = {"client_cert": "/own.pem", "client_key": "/own.key", "timeout": 9.0}
    login = login_of(parse(url), DestinationTable("box", "destinations.box", {"url": url, **keys}), fetched)
    assert (login.timeout, login.client_cert, login.client_key) == (9, "/own.pem", "/own.key")
    login = login_of(parse(url), None, fetched)
    assert (login.timeout, login.client_cert) == (7, None), "the account's certificate is for its own server"


def test_the_password_of_the_account_is_not_sent_to_the_destination(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    imap = ImapServer()
    file = imap_destination(tmp_path, server(imap, tls="implicit"), ca_file)
    ended = get(here, pop, "-c", file, "-o", "@box")
    assert ended.status == 77
    assert b"store it with `pop3fetch login @box`" in ended.err
    assert not any(line.startswith(b"AUTHENTICATE") for line in imap.commands)


def test_the_protocol_is_shown_without_secrets(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    imap = ImapServer()
    file = imap_destination(tmp_path, server(imap, tls="implicit"), ca_file, 'password = "secret"')
    ended = get(here, pop, "-c", file, "-o", "@box", "-vv")
    assert b"> P2 AUTHENTICATE PLAIN\n< + (challenge)\n> (secret)\n< P2 OK done\n" in ended.err
    assert b'> P5 APPEND "INBOX" () {19+}\n' in ended.err


def test_login_tries_the_secret_of_a_destination(
    here: Here, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    imap = ImapServer()
    running = server(imap, tls="implicit")
    file = imap_destination(tmp_path, running, ca_file, 'password = "secret"')
    assert here("login", "@box", "-c", file).status == 0
    file = imap_destination(tmp_path, running, ca_file, 'password = "hunter2"')
    ended = here("login", "@box", "-c", file)
    assert ended.status == 77
    assert b"wrong password" in ended.err


def test_the_secret_of_a_destination_is_kept_used_and_forgotten(
    run: Run, terminal: Terminal, pop: ScriptedServer, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    imap = ImapServer()
    running = server(imap, tls="implicit")
    file = imap_destination(tmp_path, running, ca_file)
    keyring = keyrings.in_a_file(tmp_path)
    answers = [(b"Password of alice@", b"secret\n")]
    seen = terminal("login", "@box", "-c", file, env=keyring, answers=answers, columns=200)
    title = f"alice@localhost:{running.port}"
    assert seen.screen[-1] == f"the password of {title} works, and is kept in the keyring"
    assert keyrings.kept(keyring) == {f"pop3fetch {title}": "secret"}
    account = ["-H", pop.host, "-p", str(pop.port), "-u", "alice@example.org", "--tls", "off"]
    words: list[str | Path] = ["get", *account, "--allow-insecure-login", "-c", file, "-o", "@box"]
    assert run(*words, env={**SECRET, **keyring}) == Ended(0, b"", b"")
    assert [*imap.inbox.messages.values()] == MAIL
    for result in ("is removed from", "was not in"):
        seen = terminal("logout", "@box", "-c", file, env=keyring, columns=200)
        assert seen.screen == [f"the password of {title} {result} the keyring"]
    assert keyrings.kept(keyring) == {}
    assert run(*words, "--all", env={**SECRET, **keyring}).status == 77


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["login", "@box", "-A"], b"mutually exclusive"),
        (["login", "@box", "--store", "file"], b"password_file"),
        (["login", "@box"], b"its URL names no user"),
        (["logout", "@box", "-A"], b"mutually exclusive"),
        (["logout", "@box"], b"its URL names no user"),
        (["logout", "box"], b"'box' is not the name of a destination, @NAME; an account is given with -a"),
    ],
)
def test_a_login_that_cannot_be_is_refused(
    here: Here, tmp_path: Path, arguments: list[str], text: bytes
) -> None:
    file = file_with(tmp_path, 'url = "lmtp://localhost"')
    ended = here(*arguments, "-c", file)
    assert ended.status == 2
    assert text in ended.err


def test_check_tries_the_login_of_a_destination(
    here: Here, pop: ScriptedServer, server: StartServer, tmp_path: Path, ca_file: Path
) -> None:
    running = server(ImapServer(), tls="implicit")
    for path, text in (("INBOX", "exists"), ("Lists", "is missing: `get` will create it")):
        lines = ['password = "secret"', *account_at(pop)]
        file = imap_destination(tmp_path, running, ca_file, *lines, path=path)
        ended = here("check", "-c", file, env=SECRET)
        assert f"destination\timaps://alice@localhost:{running.port}/{path} {text}" in ended.out.decode()


@pytest.mark.parametrize(
    ("line", "verdict", "text"),
    [
        ('password = "secret"', "ok", "too: from the configuration file, and that of @box from the same"),
        ('password_command = "echo secret"', "ok", "and that of @box from the password command"),
        ("", "warning", "a job would have no secret of @box (no source has one); give it password_file or"),
        ('password_file = "/nowhere"', "warning", "a job would have no secret of @box (the password file"),
    ],
)
def test_check_looks_up_the_secret_of_a_destination_as_a_job_would(
    here: Here,
    pop: ScriptedServer,
    server: StartServer,
    home: Path,
    tmp_path: Path,
    ca_file: Path,
    line: str,
    verdict: str,
    text: str,
) -> None:
    keyring = home / ".config/python_keyring/keyringrc.cfg"
    keyring.parent.mkdir(parents=True, exist_ok=True)
    keyring.write_text("[backend]\ndefault-keyring = keyring.backends.null.Keyring\n")
    account = account_at(pop, 'password = "secret"')
    file = imap_destination(tmp_path, server(ImapServer(), tls="implicit"), ca_file, line, *account)
    ended = here("check", "--json", "-c", file)
    found = {step["step"]: step for step in map(json.loads, ended.out.splitlines())}
    assert found["cron"]["result"] == verdict, found["cron"]
    assert text.replace("the same", "the configuration file") in found["cron"]["text"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("scheme", ["imaps", "lmtp"])
def test_an_interrupt_ends_a_delivery_that_waits_for_its_reply(
    run: Run,
    pop: ScriptedServer,
    server: StartServer,
    tmp_path: Path,
    ca_file: Path,
    number: signal.Signals,
    scheme: str,
) -> None:
    waits = threading.Event()

    def wait(talk: Talk) -> None:
        waits.set()
        talk.stall()

    imap, lmtp = ImapServer(replies={"APPEND": [wait]}), TransferServer(replies={b"end": [wait]})
    far = server(imap, tls="implicit") if scheme == "imaps" else server(lmtp)
    user = "alice@" if scheme == "imaps" else ""
    url = f'url = "{scheme}://{user}localhost:{far.port}"'
    file = file_with(tmp_path, url, f'ca_file = "{ca_file}"', 'password = "secret"')
    words = ["get", "-H", pop.host, "-p", str(pop.port), "-u", "alice@example.org", "--tls", "off"]
    with begun(run, *words, "--allow-insecure-login", "-c", file, "-o", "@box", env=SECRET) as process:
        assert waits.wait(20)
        process.send_signal(number)
        sent = time.monotonic()
        assert process.wait(20) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert time.monotonic() - sent < 6
        said = last_words(process)
    doubt = b"pop3fetch: lmtp://localhost:%d: the reply was lost: 1 message may arrive twice\n" % far.port
    assert (doubt in said) == (scheme == "lmtp")
