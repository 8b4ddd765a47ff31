"""Each advice is met by a command, and helps: the command that follows it works, or gets further.

Others are met in the tests of their subject, such as ``test_tls``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support import keyrings
from tests.support.command import Ended
from tests.support.imap_server import ImapServer
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.new_machine import World
from tests.support.scripted_server import ScriptedServer, StartServer, Talk
from tests.support.served_mail import LETTERS, Post, StartPost

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
REFUSAL = "the server refused the login of alice (APOP): [AUTH] wrong user or password"


def error(ended: Ended) -> str:
    return ended.err.decode().removeprefix("pop3fetch: ").rstrip("\n")


def at(server: ScriptedServer, *options: str | Path) -> list[str]:
    return ["stat", "-H", "localhost", "-p", str(server.port), "-u", "alice", *map(str, options)]


# -- a refused login ---------------------------------------------------------------------------


@pytest.fixture
def refusing(post: StartPost) -> Post:
    return post(password="other")


def configured(folder: Path, served: Post, *lines: str) -> Path:
    file = folder / "config.toml"
    file.touch(0o600)
    host = ['host = "127.0.0.1"', f"port = {served.server.port}", 'tls = "auto"', 'user = "alice"']
    file.write_text("\n".join(["[accounts.work]", *host, *lines, ""]))
    return file


def test_a_refused_password_of_the_keyring_is_replaced_by_login(
    here: Here, refusing: Post, tmp_path: Path
) -> None:
    backend = keyrings.Backend()
    backend.kept["pop3fetch", f"alice@127.0.0.1:{refusing.server.port}"] = "secret"
    file = configured(tmp_path, refusing)
    with keyrings.in_use(backend):
        named = here("stat", "-c", file)
        assert error(named) == (
            f"{REFUSAL}; store another password in the keyring with `pop3fetch login -a work`"
        )
        ended = here("login", "-a", "work", "-c", file, env={"POP3FETCH_PASSWORD": "other"})
        assert (ended.status, ended.err) == (0, b"")
        assert here("stat", "-c", file).status == 0


def test_a_refused_password_of_the_keyring_without_an_account_needs_the_same_options(
    here: Here, refusing: Post
) -> None:
    backend = keyrings.Backend()
    backend.kept["pop3fetch", f"alice@127.0.0.1:{refusing.server.port}"] = "secret"
    with keyrings.in_use(backend):
        ended = here("stat", "-a", refusing.server.url())
        advice = "store another password in the keyring with `pop3fetch login` and the same options"
        assert error(ended) == f"{REFUSAL}; {advice}"
        login = here("login", "-a", refusing.server.url(), env={"POP3FETCH_PASSWORD": "other"})
        assert login.status == 0
        assert here("stat", "-a", refusing.server.url()).status == 0


def test_a_refused_password_that_login_has_stored_in_a_file_is_replaced_by_login(
    here: Here, refusing: Post, tmp_path: Path
) -> None:
    stored = tmp_path / "work.password"
    stored.touch(0o600)
    stored.write_text("secret\n")
    file = configured(tmp_path, refusing, f'password_file = "{stored}"')
    assert error(here("stat", "-c", file)) == (
        f"{REFUSAL}; store another password with `pop3fetch login -a work`"
    )
    assert here("login", "-a", "work", "-c", file, env={"POP3FETCH_PASSWORD": "other"}).status == 0
    assert here("stat", "-c", file).status == 0


SOURCES = {
    'password = "secret"': "the configuration file {folder}/config.toml",
    'password_file = "{folder}/secret"': "the password file {folder}/secret",
    'password_command = "echo secret"': "the password command (echo)",
}


@pytest.mark.parametrize("line", SOURCES)
@pytest.mark.parametrize("command", ["stat", "login"])
def test_a_refused_password_from_elsewhere_names_its_source(
    here: Here, refusing: Post, tmp_path: Path, command: str, line: str
) -> None:
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("secret\n")
    file = configured(tmp_path, refusing, line.format(folder=tmp_path))
    ended = here(command, "-c", file)
    assert ended.status == Status.NO_LOGIN
    assert error(ended) == f"{REFUSAL}; check {SOURCES[line].format(folder=tmp_path)}"


def test_a_refusal_that_no_password_cures_has_no_advice(here: Here, post: StartPost) -> None:
    refusal = {b"PASS secret\r\n": b"-ERR [SYS/PERM] POP3 is not enabled\r\n"}
    served = post(replies=refusal, greeting=b"+OK\r\n", capabilities=[b"USER"])
    ended = here("stat", "--allow-insecure-login", env=served.environment)
    assert error(ended) == "the server refused the login of alice (USER): [SYS/PERM] POP3 is not enabled"


# -- the way to the server ---------------------------------------------------------------------


def test_apop_after_stls_is_possible_inside_tls(here: Here, server: StartServer, ca_file: Path) -> None:
    mailbox = Mailbox([], greeting=b"+OK <1896.697170952@localhost>\r\n", capabilities=[b"STLS", b"USER"])
    options = ("--auth", "apop", "--ca-file", ca_file)
    ended = here(*at(server(mailbox), "--tls", "starttls", *options), env=PASSWORD)
    assert error(ended).endswith("; use --tls implicit")
    inside = server(mailbox, tls="implicit")
    assert here(*at(inside, "--tls", "implicit", *options), env=PASSWORD).status == 0


def test_a_port_that_speaks_tls_at_once_needs_tls_implicit(
    here: Here, server: StartServer, ca_file: Path
) -> None:
    def alert(talk: Talk) -> None:
        talk.say(b"\x15\x03\x01\x00\x02\x02\x46")

    ended = here(*at(server(alert), "--tls", "auto"), env=PASSWORD)
    assert error(ended).endswith("; use --tls implicit")


@pytest.mark.parametrize(("port", "tls", "right"), [(993, "implicit", 995), (143, "auto", 110)])
def test_the_port_of_imap_leads_to_that_of_pop3(world: World, port: int, tls: str, right: int) -> None:
    greeting = b"* OK IMAP4rev1 ready\r\n"
    server = world.start(lambda talk: talk.say(greeting), tls="implicit" if tls == "implicit" else None)
    world.hosts[f"localhost:{port}"] = server.port
    words = ["stat", "-H", "localhost", "-p", port, "-u", "alice", "--tls", tls, "--ca-file", world.ca_file]
    ended = world.resolving()(*map(str, words), env=PASSWORD)
    assert ended.status == Status.PROTOCOL
    assert error(ended).endswith(f"; its POP3 port is probably {right}")


# -- the server of a destination ---------------------------------------------------------------


def test_the_certificate_of_a_destination_is_trusted_by_the_keys_of_its_table(
    here: Here, post: StartPost, server: StartServer, tmp_path: Path
) -> None:
    port = server(ImapServer(), tls="implicit").port
    table = [
        "[destinations.box]",
        f'url = "imaps://alice@localhost:{port}/INBOX"',
        'password = "secret"',
    ]
    file = configured(tmp_path, post(LETTERS[:1]), 'output = "@box"', 'password = "secret"', *table)
    ended = here("get", "-c", file)
    assert ended.status == Status.PROTOCOL
    line = error(ended)
    assert "its authority with ca_file FILE (keys of [destinations.NAME])" in line
    fingerprint = line.partition("tls_fingerprint ")[2].partition(",")[0]
    file.write_text(f'{file.read_text()}tls_fingerprint = "{fingerprint}"\n')
    assert here("get", "-c", file).status == 0
