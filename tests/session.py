"""Sessions for tests: our client on a scripted server, and the server's lines that all of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pop3fetch.pop3.authentication import Wish
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.dial import Endpoint
from pop3fetch.pop3.opening import Server
from pop3fetch.pop3.tls import TLSOptions
from tests.server import Script, ScriptedServer, StartServer, Talk

WAYS = ("off", "starttls", "implicit")  # in clear text, TLS by STLS, TLS from the first octet
SOON = 0.25  # seconds: a time-out that a test waits for
NEVER = 10.0  # seconds: a time-out that no test reaches


def serve(server: StartServer, script: Script | list[Script], mode: str) -> ScriptedServer:
    """Start a server whose TLS begins as the client's ``mode`` wants it."""
    return server(script, tls="implicit" if mode == "implicit" else None)


def connect(server: ScriptedServer, wish: Wish, ca_file: Path | None = None, **options: Any) -> POP3Client:
    """Return a client; ``options`` are more of ``opening.Server``'s."""
    options.setdefault("tls", TLSOptions(str(ca_file) if ca_file else None))
    options.setdefault("timeout", NEVER)
    return POP3Client(Server(Endpoint(server.host, server.port), wish, **options))


def everything_sent(server: ScriptedServer) -> list[bytes]:
    """Return all that came on each connection, when all have ended."""
    server.stop()
    return server.received


# The server's lines


def play(talk: Talk, *exchanges: tuple[bytes, bytes]) -> None:
    """Expect each command and say its reply."""
    for command, reply in exchanges:
        talk.expect(command)
        talk.say(reply)


def capa(*capabilities: bytes) -> bytes:
    """Return a reply to CAPA."""
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in (*capabilities, b"."))


def greet(talk: Talk, mode: str, *capabilities: bytes) -> None:
    """Say the greeting, start TLS where ``mode`` is starttls, and answer CAPA."""
    talk.say(b"+OK ready\r\n")
    if mode == "starttls":
        play(talk, (b"STLS\r\n", b"+OK begin\r\n"))
        talk.start_tls()
    play(talk, (b"CAPA\r\n", capa(*capabilities)))
