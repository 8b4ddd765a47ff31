"""Ways to the server, as the command line takes them: proxies, tunnels, sockets, addresses, names."""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.net.test_tunnel import RELAY
from tests.support import certificates, microsocks
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.served_mail import StartPost

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
STAT = b"1\t%d\n" % len(MESSAGE)
CAPABILITIES = (b"STLS", b"SASL PLAIN", b"UIDL", b"TOP")


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox([MESSAGE], capabilities=CAPABILITIES)


def error(ended: Ended) -> str:
    """Return the one line of an error."""
    (line,) = ended.err.decode().splitlines()
    return line.removeprefix("pop3fetch: ")


# -- proxies ---------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(microsocks.missing()), reason=str(microsocks.missing()))
@pytest.mark.parametrize("given", ["option", "environment", "file"])
def test_a_session_runs_through_socks(
    here: Here, server: StartServer, mailbox: Mailbox, ca_file: Path, tmp_path: Path, given: str
) -> None:
    running = server(mailbox, tls="implicit")
    with microsocks.running("alice", "s3cret") as port:
        proxy = f"socks5://alice:s3cret@127.0.0.1:{port}"
        config = tmp_path / "config.toml"
        config.write_text(
            f"[accounts.work]\nhost = 'localhost'\nport = {running.port}\nuser = 'alice'\n"
            + (f"proxy = '{proxy}'\n" if given == "file" else "")
        )
        config.chmod(0o600)
        arguments = ["--proxy", proxy] if given == "option" else []
        environment = {"POP3FETCH_PROXY": proxy} if given == "environment" else {}
        ended = here("stat", "-c", config, "--ca-file", ca_file, *arguments, env={**PASSWORD, **environment})
    assert (ended.status, ended.out, ended.err) == (0, STAT, b"")


def http_proxy(behind: Script, request: list[bytes]) -> Script:
    """Return the script of an HTTP proxy that plays the server behind it, too, inside TLS."""

    def script(talk: Talk) -> None:
        while (line := talk.line()) not in (b"\r\n", b""):
            request.append(line)
        talk.say(b"HTTP/1.1 200 OK\r\n\r\n")
        talk.start_tls()
        behind(talk)

    return script


def test_an_international_name_is_its_a_label_everywhere(
    here: Here, server: StartServer, mailbox: Mailbox, authority: trustme.CA, ca_file: Path
) -> None:
    context = certificates.server_context(authority, "xn--bcher-kva.example")
    named: list[str] = []
    context.sni_callback = lambda tls, name, context: named.append(name)
    request: list[bytes] = []
    proxy = server(http_proxy(mailbox, request), context=context)
    ended = here(
        "stat", "-H", "bücher.example", "-u", "alice", "--ca-file", ca_file,
        "--proxy", f"http://{proxy.host}:{proxy.port}", env=PASSWORD,
    )  # fmt: skip
    assert (ended.status, ended.out, ended.err) == (0, STAT, b"")
    assert request[0] == b"CONNECT xn--bcher-kva.example:995 HTTP/1.1\r\n"
    assert named == ["xn--bcher-kva.example"]


def test_a_certificate_for_what_an_international_name_merely_looks_like_is_refused(
    here: Here, server: StartServer, authority: trustme.CA, ca_file: Path
) -> None:
    context = certificates.server_context(authority, "strasse.example")
    proxy = server(http_proxy(lambda talk: None, []), context=context)
    ended = here(
        "stat", "-H", "straße.example", "-u", "alice", "--ca-file", ca_file,
        "--proxy", f"http://{proxy.host}:{proxy.port}", env=PASSWORD,
    )  # fmt: skip
    assert ended.status == 76
    assert error(ended).startswith("the certificate of straße.example does not verify: Hostname mismatch")
    assert "'xn--strae-oqa.example'" in error(ended) and "names strasse.example" in error(ended)


def test_an_invalid_name_is_an_unknown_host(here: Here) -> None:
    ended = here("stat", "-H", "bü..example", "-u", "alice", env=PASSWORD)
    assert ended.status == 68
    assert error(ended) == "cannot resolve the host name bü..example: it is not a host name"


def test_a_proxys_password_is_not_shown(here: Here, server: StartServer) -> None:
    def refuse(talk: Talk) -> None:
        while talk.line() not in (b"\r\n", b""):
            pass
        talk.say(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    proxy = server(refuse)
    url = f"http://proxy%20user:s3cret@127.0.0.1:{proxy.port}"
    ended = here("stat", "-vv", "-H", "mail.example.org", "-u", "alice", "--proxy", url, env=PASSWORD)
    assert ended.status == 75
    assert f"the proxy http://127.0.0.1:{proxy.port}: 407 Proxy Authentication Required" in ended.err.decode()
    assert b"s3cret" not in ended.err and b"proxy%20user" not in ended.err


def test_a_proxy_without_a_port_is_a_wrong_command_line(here: Here) -> None:
    ended = here("stat", "-H", "localhost", "--proxy", "socks5://user:s3cret@localhost")
    assert ended.status == 2
    assert error(ended) == "--proxy must end with the host and the port, as in socks5://localhost:1080"


# -- tunnels ---------------------------------------------------------------------------------------


def with_tunnel(folder: Path, command: object, *more: str) -> Path:
    config = folder / "config.toml"
    lines = [
        "[accounts.work]",
        "host = 'localhost'",
        "user = 'alice'",
        f"tunnel_command = {json.dumps(command)}",
        *more,
    ]
    config.write_text("\n".join(lines))
    return config


def test_a_session_runs_through_a_command(
    here: Here, server: StartServer, mailbox: Mailbox, ca_file: Path, tmp_path: Path
) -> None:
    running = server(mailbox, tls="implicit")
    words = [sys.executable, "-W", "error", "-c", RELAY, running.host, str(running.port)]
    ended = here("stat", "-c", with_tunnel(tmp_path, words), "--ca-file", ca_file, env=PASSWORD)
    assert (ended.status, ended.out, ended.err) == (0, STAT, b"")


def test_a_tunnel_does_not_get_the_password(here: Here, tmp_path: Path) -> None:
    program = "import os; raise SystemExit(7 if 'POP3FETCH_PASSWORD' in os.environ else 3)"
    ended = here(
        "stat", "-c", with_tunnel(tmp_path, [sys.executable, "-W", "error", "-c", program]), env=PASSWORD
    )
    assert ended.status == 75
    assert "the tunnel command ended with status 3" in error(ended)


def test_a_tunnel_that_cannot_be_made_is_named(here: Here, tmp_path: Path) -> None:
    ended = here("stat", "-c", with_tunnel(tmp_path, "/no/such/ssh mail nc localhost 110"), env=PASSWORD)
    assert ended.status == 75
    assert error(ended) == (
        "cannot connect to localhost port 995: the tunnel command /no/such/ssh: No such file or directory"
    )


# -- UNIX sockets ----------------------------------------------------------------------------------


class Pump(socketserver.BaseRequestHandler):
    """Carries the octets of a connection there and back again."""

    def handle(self) -> None:
        target: tuple[str, int] = self.server.target  # type: ignore[attr-defined]
        with socket.create_connection(target) as there:
            back = threading.Thread(target=self._carry, args=(there, self.request))
            back.start()
            self._carry(self.request, there)
            back.join()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # one side is gone: close the other
            while octets := source.recv(65536):
                sink.sendall(octets)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def unix_socket(path: Path, server: ScriptedServer) -> Iterator[str]:
    """Serve on a UNIX socket what a scripted server serves; give the host."""
    with socketserver.ThreadingUnixStreamServer(str(path), Pump) as relay:
        relay.target = (server.host, server.port)  # type: ignore[attr-defined]
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"unix:{path}"
        finally:
            relay.shutdown()
            thread.join()


@pytest.fixture
def socket_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose name is short: that of a UNIX socket has 107 octets at most."""
    return tmp_path_factory.mktemp("s")


def test_a_session_runs_over_a_unix_socket(
    here: Here, server: StartServer, mailbox: Mailbox, socket_folder: Path
) -> None:
    with unix_socket(socket_folder / "pop3", server(mailbox)) as host:
        ended = here(
            "stat", "-H", host, "-u", "alice", "--tls", "off", "--allow-insecure-login", env=PASSWORD
        )
    assert (ended.status, ended.out, ended.err) == (0, STAT, b"")


@pytest.mark.parametrize("mode", ["implicit", "starttls", "auto"])
def test_tls_on_a_unix_socket_needs_a_fingerprint(
    here: Here, server: StartServer, mailbox: Mailbox, socket_folder: Path, ca_file: Path, mode: str
) -> None:
    running = server(mailbox, tls="implicit" if mode == "implicit" else None)
    with unix_socket(socket_folder / "pop3", running) as host:
        ended = here("stat", "-H", host, "-u", "alice", "--tls", mode, "--ca-file", ca_file, env=PASSWORD)
    assert ended.status == 78
    assert error(ended) == (
        f"{host}: a UNIX socket has no host name to check a certificate against; "
        "pin the certificate with --tls-fingerprint, or use --tls off with --allow-insecure-login"
    )
    assert {line.split()[0] for line in running.commands} <= {b"CAPA"}


@pytest.mark.parametrize("mode", ["implicit", "starttls", "auto"])
def test_tls_on_a_unix_socket_is_verified_by_the_fingerprint(
    here: Here,
    server: StartServer,
    mailbox: Mailbox,
    socket_folder: Path,
    unknown_authority: trustme.CA,
    mode: str,
) -> None:
    us = certificates.identity(unknown_authority)
    running = server(mailbox, tls="implicit" if mode == "implicit" else None, context=us.context)
    with unix_socket(socket_folder / "pop3", running) as host:
        arguments = ["-H", host, "-u", "alice", "--tls", mode, "--tls-fingerprint"]
        good = here("stat", *arguments, us.fingerprint, env=PASSWORD)
        bad = here("stat", *arguments, "0" * 64, env=PASSWORD)
    assert (good.status, good.out, good.err) == (0, STAT, b"")
    assert bad.status == 76
    assert {line.split()[0] for line in running.talks[-1].commands} <= {b"CAPA", b"STLS"}


def test_a_socket_that_is_not_there_is_tried_later(here: Here, socket_folder: Path) -> None:
    ended = here("stat", "-H", f"unix:{socket_folder}/none", "-u", "alice", env=PASSWORD)
    assert ended.status == 75
    assert error(ended) == f"cannot connect to unix:{socket_folder}/none: No such file or directory"


def test_a_socket_whose_queue_is_full_is_tried_later(here: Here, socket_folder: Path) -> None:
    path = str(socket_folder / "pop3")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        ended = here("stat", "-H", f"unix:{path}", "-u", "alice", env=PASSWORD)
    assert ended.status == 75
    assert "temporarily unavailable" in error(ended)


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["[::1]", "[::1%251]"])
def test_an_ipv6_address_is_in_brackets_and_may_have_a_zone(
    here: Here, server: StartServer, mailbox: Mailbox, ca_file: Path, host: str
) -> None:
    running = server(mailbox, tls="implicit", host="::1")
    url = f"pop3s://alice@{host}:{running.port}"
    ended = here("stat", "-a", url, "--ca-file", ca_file, env=PASSWORD)
    assert (ended.status, ended.out, ended.err) == (0, STAT, b"")


@pytest.mark.parametrize("host", ["::1", "[::1]", "::1%1"])
def test_an_ipv6_address_needs_no_brackets_as_an_option(
    here: Here, server: StartServer, mailbox: Mailbox, ca_file: Path, host: str
) -> None:
    running = server(mailbox, tls="implicit", host="::1")
    ended = here(
        "stat", "-H", host, "-p", str(running.port), "-u", "alice", "--ca-file", ca_file, env=PASSWORD
    )
    assert (ended.status, ended.out, ended.err) == (0, STAT, b"")


@pytest.mark.parametrize(("option", "family"), [([], 0), (["-4"], socket.AF_INET), (["-6"], socket.AF_INET6)])
def test_the_family_that_is_asked_for_is_looked_up(
    here: Here, post: StartPost, monkeypatch: pytest.MonkeyPatch, option: list[str], family: int
) -> None:
    started, asked = post(), []
    getaddrinfo = socket.getaddrinfo

    def listening(host: Any, port: int, wanted: int, *rest: int) -> Any:
        asked.append((host, wanted))
        return getaddrinfo(started.server.host, port, socket.AF_INET, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", listening)
    url = f"pop3://alice@mail.example.org:{started.server.port}"
    assert here("stat", "-a", url, *option, env=PASSWORD).status == 0
    assert asked == [(b"mail.example.org", family)]


def test_both_families_are_tried(here: Here, post: StartPost, monkeypatch: pytest.MonkeyPatch) -> None:
    started = post()
    port = started.server.port
    found = [
        (socket.AF_INET6, 0, 0, "", ("::1", port, 0, 0)),
        (socket.AF_INET, 0, 0, "", ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    assert here("stat", "-a", f"pop3://alice@mail.example.org:{port}", env=PASSWORD).status == 0


@pytest.mark.parametrize("option", ["-6", "-4"])
def test_an_address_of_the_other_family_is_not_a_host(here: Here, option: str) -> None:
    host = "127.0.0.1" if option == "-6" else "::1"
    assert here("stat", option, "-H", host, "-u", "alice", env=PASSWORD).status == 68
