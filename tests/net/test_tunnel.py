"""The server on a command's standard input and output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.errors import ConnectionFailed, ConnectionLost, TimedOut
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.net.tunnel import Tunnel, TunnelSocket, connect_by
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.login import LoginPolicy
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer
from tests.support.sessions import NEVER, SOON

MESSAGE = b"Subject: hello\r\n\r\n" + b"a line of the body\r\n" * 5000

RELAY = """
import os, select, socket, sys
line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
ways = {0: line.sendall, line.fileno(): lambda octets: os.write(1, octets)}
while True:
    for source in select.select(list(ways), [], [])[0]:
        octets = os.read(source, 65536)
        if not octets:
            sys.exit()
        ways[source](octets)
"""
# Prints its process number, and then ignores the end of its input and SIGTERM.
DEAF = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"+OK %d\\r\\n" % os.getpid())
signal.pause()
"""


def python(program: str, *arguments: object, **environment: str) -> Tunnel:
    words = (sys.executable, "-W", "error", "-c", program, *map(str, arguments))
    return Tunnel(words, {"PATH": os.environ["PATH"], **environment})


def client(
    tunnel: Tunnel, mode: str = "off", ca_file: Path | None = None, timeout: float = NEVER
) -> POP3Client:
    endpoint = Endpoint("localhost", 110, tunnel=tunnel)
    policy = LoginPolicy(mode, allow_insecure=mode == "off")
    return POP3Client(Server(endpoint, policy, timeout, TLSOptions(str(ca_file) if ca_file else None)))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(autouse=True)
def no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test that leaves a process behind, running or as a zombie."""
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    yield
    assert [process.args for process in started if process.returncode is None] == []


@pytest.mark.parametrize("mode", ["off", "starttls", "implicit"])
def test_a_session_runs_through_a_command(server: StartServer, ca_file: Path, mode: str) -> None:
    mailbox = Mailbox([MESSAGE], capabilities=(b"STLS", b"SASL PLAIN"))
    running = server(mailbox, tls="implicit" if mode == "implicit" else None)
    with client(python(RELAY, running.host, running.port), mode, ca_file) as session:
        session.login("alice", "secret")
        assert session.stat() == (1, len(MESSAGE))
        assert b"".join(session.iter_message(0)) == MESSAGE
        session.quit()


def test_the_certificate_must_be_the_hosts_and_not_the_commands(server: StartServer, ca_file: Path) -> None:
    running = server(lambda talk: None, tls="implicit")
    endpoint = Endpoint("mail.example.org", 995, tunnel=python(RELAY, running.host, running.port))
    with pytest.raises(OSError, match=r"Hostname mismatch.*'mail\.example\.org'"):
        POP3Client(Server(endpoint, LoginPolicy("implicit"), NEVER, TLSOptions(str(ca_file))))


def test_the_command_gets_its_environment_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POP3FETCH_PASSWORD", "s3cret")
    program = 'import os; print("+OK", *sorted(os.environ), end="\\r\\n", flush=True); input()'
    tunnel = python(program, WHERE="here")
    with connect_by(tunnel, "localhost", 110) as line, line.makefile("rb") as stream:
        words = stream.readline().split()
    assert {b"WHERE", b"PATH"} <= set(words) and b"POP3FETCH_PASSWORD" not in words
    assert "here" not in repr(tunnel)


def test_no_shell_reads_the_words() -> None:
    program = 'import sys; print("+OK", sys.argv[1], end="\\r\\n", flush=True); input()'
    with connect_by(python(program, "$HOME; `id` > x"), "localhost", 110) as line:
        assert line.makefile("rb").readline() == b"+OK $HOME; `id` > x\r\n"


def test_a_command_that_cannot_be_run_is_named() -> None:
    tunnel = Tunnel(("/no/such/command", "--secret"), {})
    with pytest.raises(ConnectionFailed) as raised:
        client(tunnel)
    assert str(raised.value) == (
        "cannot connect to localhost port 110: the tunnel command /no/such/command: No such file or directory"
    )


@pytest.mark.parametrize("status", [1, 255])
def test_a_command_that_fails_is_reported_with_its_status(status: int) -> None:
    with pytest.raises(
        ConnectionLost, match=f"waiting for the greeting: the tunnel command ended with status {status}"
    ):
        client(python(f"raise SystemExit({status})"))


def test_a_command_that_a_signal_ends_is_reported_too() -> None:
    with pytest.raises(ConnectionLost, match="the tunnel command was ended by signal 9"):
        client(python("import os; os.kill(os.getpid(), 9)"))


def test_a_command_that_ends_well_is_a_server_that_hangs_up() -> None:
    with pytest.raises(ConnectionLost, match="the server closed the connection"):
        client(python("pass"))


def test_what_a_command_printed_before_it_failed_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    program = 'import sys; print("-ERR come back later", end="\\r\\n", flush=True); sys.exit("no more")'
    with pytest.raises(Exception, match="come back later"):
        client(python(program))
    assert capfd.readouterr().err == "no more\n"  # which its user expects


def test_a_command_that_prints_nothing_is_given_up() -> None:
    with pytest.raises(TimedOut):
        client(python("input()"), timeout=SOON)


def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fetch.net.tunnel.EXIT_TIMEOUT", SOON)
    line = connect_by(python(DEAF), "localhost", 110)
    process = int(line.makefile("rb").readline().split()[1])
    assert is_running(process)
    line.close()
    assert not is_running(process)


def test_a_line_that_is_closed_twice_is_closed() -> None:
    line = connect_by(python("input()"), "localhost", 110)
    line.close()
    line.close()
    assert line.fileno() == -1


def test_a_tunnel_is_a_socket_that_is_not_inherited() -> None:
    with connect_by(python("input()"), "localhost", 110) as line:
        assert isinstance(line, TunnelSocket)
        assert not line.get_inheritable()
