"""`login ADDRESS`: the first run on a machine without configuration.

DNS is a server of the test, the hosts are on loopback, and each has a certificate for its name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from pop3fetch.status import Status
from tests.support.certificates import identity
from tests.support.command import Ended, Run
from tests.support.keyrings import kept
from tests.support.mail_server import Mailbox
from tests.support.new_machine import ADDRESS, ASKED, BY_DNS, PASSWORD, POP3, POP3S, World, plain


def test_the_first_minute_on_a_terminal(world: World) -> None:
    world.names.records.update(BY_DNS)
    server = world.serve("pop.example.org:995")
    assert world.screen().status == 0
    assert world.written == (f'[accounts."{ADDRESS}"]\nhost = "pop.example.org"\nuser = "{ADDRESS}"\n')
    assert world.config.stat().st_mode & 0o777 == 0o600
    assert kept(world.keyring) == {f"pop3fetch {ADDRESS}@pop.example.org": "secret"}
    server.wait()
    assert server.received[0] == b"CAPA\r\nQUIT\r\n"
    assert server.received[1] == b"CAPA\r\n" + plain(ADDRESS) + b"QUIT\r\n"


def test_the_command_that_comes_next_works(world: World) -> None:
    world.names.records.update(BY_DNS)
    world.serve("pop.example.org:995")
    assert world.login() == Ended(0, b"", b"")
    ended = world.resolving()("stat", env=world.environment)
    assert ended == Ended(0, b"0\t0\n", b"")


def test_at_the_usual_names_tls_comes_before_stls_and_names_in_their_order(world: World) -> None:
    stls = world.serve("pop.example.org:110", stls=True)
    mail = world.serve("mail.example.org:995")
    domain = world.serve("example.org:995")
    assert world.login() == Ended(0, b"", b"")
    assert 'host = "mail.example.org"' in world.written
    for server in (stls, mail, domain):
        server.wait()
    assert [plain(ADDRESS) in server.commands for server in (stls, mail, domain)] == [False, True, False]


def test_with_stls_nothing_of_the_user_is_sent_outside_tls(world: World) -> None:
    server = world.serve("pop.example.org:110", stls=True)
    assert world.login() == Ended(0, b"", b"")
    assert world.written == (
        f'[accounts."{ADDRESS}"]\nhost = "pop.example.org"\ntls = "starttls"\nuser = "{ADDRESS}"\n'
    )
    server.wait()
    assert server.commands[-4:] == [b"STLS\r\n", b"CAPA\r\n", plain(ADDRESS), b"QUIT\r\n"]


def test_a_challenge_in_the_greeting_does_not_replace_tls(world: World) -> None:
    challenge = b"+OK <1896.697170952@localhost>\r\n"
    server = world.start(Mailbox([], user=ADDRESS, greeting=challenge))
    world.hosts["pop.example.org:110"] = server.port
    ended = world.login()
    assert ended.status == Status.PROTOCOL
    assert b"cannot start TLS" in ended.err
    assert b"APOP" not in b"".join(server.received)
    assert not world.config.exists()


def test_a_port_that_dns_names_is_kept(world: World) -> None:
    world.names.records[POP3S] = ["0 1 1995 mx.example.org."]
    world.serve("mx.example.org:1995")
    assert world.login() == Ended(0, b"", b"")
    assert 'host = "mx.example.org"\nport = 1995\n' in world.written


def test_a_server_outside_the_domain_is_confirmed_before_it_is_connected_to(world: World) -> None:
    world.names.records[POP3S] = ["0 1 995 pop.hoster.example."]
    server = world.serve("pop.hoster.example:995")
    assert world.screen(answers=[(b"[y/N] ", b"n\n")]).status == Status.USAGE
    assert server.talks == []
    assert world.screen(answers=[(b"[y/N] ", b"y\n"), *ASKED]).status == 0
    assert 'host = "pop.hoster.example"' in world.written


@pytest.mark.parametrize(
    ("service", "record", "options"),
    [
        (POP3S, "0 1 995 pop.hoster.example.", "--host pop.hoster.example"),
        (POP3S, "0 1 1995 pop.hoster.example.", "--host pop.hoster.example --port 1995"),
        (POP3, "0 1 110 pop.hoster.example.", "--host pop.hoster.example --tls starttls"),
        (POP3S, "0 1 995 example.org.evil.example.", "--host example.org.evil.example"),
    ],
)
def test_without_a_terminal_a_server_outside_the_domain_is_refused(
    world: World, service: str, record: str, options: str
) -> None:
    world.names.records[service] = [record]
    ended = world.login()
    assert (ended.status, ended.out) == (Status.USAGE, b"")
    assert ended.err.decode() == (
        "pop3fetch: DNS, which may be forged, says that mail for example.org is at "
        f"{options.split()[1]}; if that is right, use {options}\n"
    )


def test_with_quiet_consent_is_not_asked_for(world: World) -> None:
    world.names.records[POP3S] = ["0 1 995 pop.hoster.example."]
    seen = world.screen("-q", answers=[])
    assert seen.status == Status.USAGE
    assert "--host pop.hoster.example" in " ".join(seen.screen)


def test_a_server_inside_the_domain_is_taken_before_one_that_needs_consent(world: World) -> None:
    world.names.records[POP3S] = ["0 1 995 pop.hoster.example.", "9 1 995 pop.example.org."]
    world.serve("pop.example.org:995")
    outside = world.serve("pop.hoster.example:995")
    assert world.login() == Ended(0, b"", b"")
    assert outside.talks == []


def test_a_host_that_is_given_is_not_searched_for(world: World) -> None:
    world.names.records.update(BY_DNS)
    world.serve("other.example:1995")
    ended = world.login("-H", "other.example", "-p", "1995", "--tls", "implicit")
    assert ended == Ended(0, b"", b"")
    assert world.names.asked == []
    assert 'host = "other.example"\nport = 1995\n' in world.written


def test_only_the_proxy_gets_the_domain(world: World) -> None:
    world.names.records.update(BY_DNS)
    ended = world.login("--proxy", "socks5://127.0.0.1:1")
    assert ended.status == Status.NO_HOST
    assert world.names.asked == []


def test_a_wrong_password_is_tried_once_and_at_one_server(world: World) -> None:
    servers = [world.serve(f"{name}.example.org:995", user="alice") for name in ("pop", "mail")]
    assert world.login().status == Status.NO_LOGIN
    for server in servers:
        server.wait()
    commands = [line for server in servers for line in server.commands]
    assert [line for line in commands if line.startswith((b"AUTH", b"USER", b"PASS"))] == [plain(ADDRESS)]
    assert not world.config.exists()
    assert kept(world.keyring) == {}


def test_a_wrong_password_is_asked_for_again(world: World) -> None:
    world.serve("pop.example.org:995", user="alice")
    seen = world.screen(answers=ASKED * 3)
    assert seen.status == Status.NO_LOGIN
    assert seen.raw.count(b"Password of alice") == 3


def test_the_user_may_have_another_name_on_the_server(world: World) -> None:
    world.serve("pop.example.org:995", user="alice")
    assert world.login("-u", "alice") == Ended(0, b"", b"")
    assert world.written == f'[accounts."{ADDRESS}"]\nhost = "pop.example.org"\nuser = "alice"\n'


def test_what_was_typed_is_kept_with_the_account(world: World) -> None:
    world.serve("pop.example.org:995")
    relative = world.run.folder / "ca.pem"
    relative.write_bytes(world.ca_file.read_bytes())
    ended = world.login(
        "--ca-file", "ca.pem", "--auth", "plain", "--timeout", "9", "-4", "--password-command", "echo secret",
        env={},
    )  # fmt: skip
    assert ended == Ended(0, b"", b"")
    assert world.config.read_text() == (
        f'[accounts."{ADDRESS}"]\nhost = "pop.example.org"\nuser = "{ADDRESS}"\nauth = "plain"\n'
        f'ca_file = "{relative}"\npassword_command = "echo secret"\ntimeout = 9.0\nfamily = "ipv4"\n'
    )
    assert kept(world.keyring) == {}  # it would not be looked for there
    assert world.resolving()("stat").status == 0


def test_an_account_may_be_given_a_name_beside_others(world: World) -> None:
    world.config.parent.mkdir(parents=True)
    world.config.write_text("# mine\n[accounts.work]\nhost = 'x.example'\n")
    world.serve("pop.example.org:995")
    seen = world.screen("-a", "home")
    assert seen.status == 0
    assert world.config.read_text() == (
        "default = \"work\"\n\n# mine\n[accounts.work]\nhost = 'x.example'\n\n"
        f'[accounts.home]\nhost = "pop.example.org"\nuser = "{ADDRESS}"\n'
    )
    assert seen.screen[-1] == "next: pop3fetch list -a home"


def test_the_next_command_names_the_account_if_a_variable_means_another(world: World) -> None:
    world.serve("pop.example.org:995")
    seen = world.screen(env={"POP3FETCH_ACCOUNT": "pop3s://bob@elsewhere.example"})
    assert (seen.status, seen.screen[-1]) == (0, f"next: pop3fetch list -a {ADDRESS}")


def test_an_account_that_is_known_is_not_searched_for(world: World) -> None:
    world.serve("pop.example.org:995")
    assert world.login().status == 0
    before, asked = world.config.read_bytes(), len(world.names.asked)
    Path(world.keyring["KEYRING_FILE"]).unlink()
    assert world.login() == Ended(0, b"", b"")
    assert world.config.read_bytes() == before
    assert len(world.names.asked) == asked
    assert kept(world.keyring) == {f"pop3fetch {ADDRESS}@pop.example.org": "secret"}


@pytest.mark.parametrize(
    "arguments", [["-a", "work"], ["-a", "home", "-u", "bob"], ["-a", "home", "-H", "other.example"]]
)
def test_another_account_of_the_name_is_neither_tried_nor_changed(world: World, arguments: list[str]) -> None:
    world.config.parent.mkdir(parents=True)
    text = "[accounts.{0}]\nhost = 'pop.example.org'\nuser = '{1}'\n"
    world.config.write_text(text.format("work", "bob") + text.format("home", "alice"))
    before = world.config.read_bytes()
    server = world.serve("pop.example.org:995")
    ended = world.login(*arguments)
    assert ended.status == Status.CONFIGURATION
    assert f"accounts.{arguments[1]}: another account has this name" in ended.err.decode()
    assert world.config.read_bytes() == before
    assert server.talks == []


FAILING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def test_without_a_keyring_the_account_is_written_and_the_error_helps(world: World) -> None:
    world.serve("pop.example.org:995")
    ended = world.login(env={**PASSWORD, **FAILING})
    assert ended.status == Status.CONFIGURATION
    assert ended.err == (
        b"pop3fetch: the password is not stored: the system's keyring: no keyring is installed, or it cannot "
        b"be reached outside a login session; use --store file, or password_command\n"
    )
    assert 'host = "pop.example.org"' in world.written


def test_without_a_keyring_a_terminal_offers_a_file(world: World) -> None:
    world.serve("pop.example.org:995")
    assert world.screen(env=FAILING, answers=[*ASKED, (b"[y/N] ", b"y\n")]).status == Status.OK
    assert world.written.endswith('password_file = "~/.config/pop3fetch/alice@example.org.password"\n')
    assert world.resolving()("stat", env={**world.environment, **FAILING}).status == 0


@pytest.mark.parametrize("store", ["file", "none"])
def test_a_new_account_is_stored_as_wanted(world: World, store: str) -> None:
    world.serve("pop.example.org:995")
    assert world.login("--store", store) == Ended(0, b"", b"")
    assert kept(world.keyring) == {}
    assert ("password_file" in world.written) == (store == "file")


def test_without_a_terminal_and_a_password_nothing_is_tried(world: World) -> None:
    server = world.serve("pop.example.org:995")
    ended = world.login(env={})
    assert ended.status == Status.NO_LOGIN
    assert b"there is no password" in ended.err
    server.wait()
    assert server.commands == [b"CAPA\r\n", b"QUIT\r\n", b"CAPA\r\n"]
    assert not world.config.exists()


def test_a_file_that_cannot_be_written_is_named_after_the_login(world: World) -> None:
    world.config.parent.mkdir(parents=True)
    world.config.touch(0o400)
    world.serve("pop.example.org:995")
    ended = world.login()
    assert ended.status == Status.CONFIGURATION
    assert ended.err.decode() == f"pop3fetch: {world.config}: cannot be written: it is read-only\n"


def test_no_server_is_found(world: World) -> None:
    assert world.screen(answers=[]).status == Status.NO_HOST


def test_a_certificate_for_another_host_ends_the_search(world: World) -> None:
    server = world.serve("pop.example.org:995", certificate="pop.hoster.example")
    ended = world.login()
    assert ended.status == Status.PROTOCOL
    assert b"the certificate of pop.example.org does not verify" in ended.err
    assert b"names pop.hoster.example" in ended.err
    assert b"".join(server.received) == b""


def test_a_pinned_certificate_finds_its_server(world: World, unknown_authority: trustme.CA) -> None:
    other = world.serve("pop.example.org:995")
    pinned = identity(unknown_authority, "whatever.example")
    server = world.start(Mailbox([], user=ADDRESS), tls="implicit", context=pinned.context)
    world.hosts["mail.example.org:995"] = server.port
    assert world.login("--tls-fingerprint", pinned.fingerprint) == Ended(0, b"", b"")
    assert other.commands == []
    assert f'tls_fingerprint = "{pinned.fingerprint}"' in world.written


def test_names_out_of_dns_reach_no_terminal_as_they_are(world: World) -> None:
    world.names.records[POP3S] = [r"0 1 995 \027]0\;owned\007.example.org."]
    ended = world.login("-v")
    assert ended.status == Status.NO_HOST
    assert b"\x1b" not in ended.err
    assert rb"\027]0\;owned\007.example.org port 995" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["alice"],
            "'alice' is not an address such as alice@example.org; an account is given with -a",
        ),
        (["alice@"], "'alice@' is not an address"),
        (["alice@exam ple.org"], "'alice@exam ple.org' is not an address"),
        (["alice@[192.0.2.1]"], "'alice@[192.0.2.1]' is not an address"),
        (["alice@192.0.2.1"], "'alice@192.0.2.1' is not an address"),
        (["alice\x1b@example.org"], "'alice\\x1b@example.org' is not an address"),
        (["pop3s://alice:hush@example.org"], "that is not an address"),
        ([ADDRESS, "-A"], "--all-accounts and ADDRESS are mutually exclusive"),
        ([ADDRESS, "-p", "995"], "--port needs --host"),
        ([ADDRESS, "--tls", "off"], "--tls off needs --host"),
        ([ADDRESS, "--tls", "auto"], "--tls auto needs --host"),
        (
            [ADDRESS, "-a", "pop3s://alice@example.org"],
            "with ADDRESS, --account is the name of the new account",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(world: World, arguments: list[str], said: str) -> None:
    ended = world.resolving()("login", *arguments, env=PASSWORD)
    assert (ended.status, ended.out) == (Status.USAGE, b"")
    assert ended.err.decode().startswith(f"pop3fetch: {said}")
    assert world.names.asked == []


def test_a_file_that_is_wrong_shows_before_anything_is_asked(world: World) -> None:
    ended = world.login("--ca-file", "nowhere.pem")
    assert ended.status == Status.CONFIGURATION
    assert world.names.asked == []


def test_an_international_domain_is_asked_for_by_its_a_labels(world: World) -> None:
    world = replace(world, address="alice@bücher.example")
    world.serve("pop.xn--bcher-kva.example:995", user="alice@bücher.example")
    assert world.login() == Ended(0, b"", b"")
    assert world.names.asked[0] == "_pop3s._tcp.xn--bcher-kva.example"
    assert 'host = "pop.xn--bcher-kva.example"\nuser = "alice@bücher.example"\n' in world.written


@pytest.mark.parametrize("command", ["list", "get", "rm"])
def test_an_address_among_messages_is_answered_with_login(run: Run, command: str) -> None:
    ended = run(command, ADDRESS)
    assert ended.status == Status.USAGE
    assert ended.err.decode() == (
        f"pop3fetch: '{ADDRESS}' is not a message; an account is given with -a, "
        f"and `pop3fetch login {ADDRESS}` sets up a new one\n"
    )


def test_an_address_that_is_not_an_account_is_answered_with_login(run: Run) -> None:
    ended = run("list", "-a", ADDRESS)
    assert ended.status == Status.CONFIGURATION
    assert f"no account is named '{ADDRESS}'; `pop3fetch login {ADDRESS}` sets it up" in ended.err.decode()
    assert b"set one up with `pop3fetch login ADDRESS`" in run("list").err
