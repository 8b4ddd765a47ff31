"""Sessions for tests: our client on a scripted server, and the server's lines that all of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.mail_session import MailSession
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk

Client = TypeVar("Client", bound=POP3Client)

WAYS = ("off", "starttls", "implicit")  # in clear text, TLS by STLS, TLS from the first octet
SOON = 0.25  # seconds: a time-out that a test waits for
NEVER = 10.0  # seconds: a time-out that no test reaches


def serve(server: StartServer, script: Script | list[Script], mode: str, **options: Any) -> ScriptedServer:
    """Start a server whose TLS begins as the client's ``mode`` wants it."""
    return server(script, tls="implicit" if mode == "implicit" else None, **options)


def connect(
    server: ScriptedServer, policy: LoginPolicy, ca_file: Path | None = None, **options: Any
) -> POP3Client:
    """Return a client; ``options`` are more of ``opening.Server``'s."""
    return POP3Client(server_for(server, policy, ca_file, **options))


def server_for(
    server: ScriptedServer, policy: LoginPolicy, ca_file: Path | None = None, **options: Any
) -> Server:
    """Return the address of ``server``, and how a client talks to it."""
    options.setdefault("tls", TLSOptions(str(ca_file) if ca_file else None))
    options.setdefault("timeout", NEVER)
    return Server(Endpoint(server.host, server.port), policy, **options)


def everything_sent(server: ScriptedServer) -> list[bytes]:
    """Return all that came on each connection, when all have ended."""
    server.stop()
    return server.received


# The server's lines


def play(talk: Talk, *exchanges: tuple[bytes, bytes]) -> None:
    """Expect each command and send its reply."""
    for command, reply in exchanges:
        talk.expect(command)
        talk.say(reply)


def capa(*capabilities: bytes) -> bytes:
    """Return a reply to CAPA."""
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in (*capabilities, b"."))


def greet(talk: Talk, mode: str, *capabilities: bytes) -> None:
    """Send the greeting, start TLS if ``mode`` is starttls, and answer CAPA."""
    talk.say(b"+OK ready\r\n")
    if mode == "starttls":
        play(talk, (b"STLS\r\n", b"+OK begin\r\n"))
        talk.start_tls()
    play(talk, (b"CAPA\r\n", capa(*capabilities)))


def after_login(script: Script, mode: str = "off", *capabilities: bytes) -> Script:
    """Return a script that lets alice in, and goes on with ``script``."""

    def whole(talk: Talk) -> None:
        greet(talk, mode, *capabilities)
        play(talk, (b"USER alice\r\n", b"+OK\r\n"), (b"PASS secret\r\n", b"+OK\r\n"))
        script(talk)

    return whole


# What a client has to do for it


def log_in(
    server: ScriptedServer, mode: str = "off", ca_file: Path | None = None, **options: Any
) -> POP3Client:
    """Return a client that has passed :func:`after_login`."""
    return _logged_in(connect(server, LoginPolicy(mode, allow_insecure=True), ca_file, **options))


def begin_mail_session(
    server: ScriptedServer, mode: str = "off", ca_file: Path | None = None, **options: Any
) -> MailSession:
    """Return a session that has passed :func:`after_login`."""
    place = server_for(server, LoginPolicy(mode, allow_insecure=True), ca_file, **options)
    return _logged_in(MailSession(place))


def _logged_in(client: Client) -> Client:
    try:
        client.login("alice", "secret")
    except BaseException:
        client.close()
        raise
    return client


def sent_after_login(server: ScriptedServer) -> bytes:
    """Return what came behind PASS, when all has ended."""
    (sent,) = everything_sent(server)
    return sent.partition(b"PASS secret\r\n")[2]
