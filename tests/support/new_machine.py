"""A machine without configuration, in a network of the test's own: what `login ADDRESS` meets."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.support.certificates import server_context
from tests.support.command import Ended, Run
from tests.support.dns_server import NameServer
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer
from tests.support.terminal import Seen, Terminal

ADDRESS = "alice@example.org"
POP3S, POP3 = "_pop3s._tcp.example.org", "_pop3._tcp.example.org"
BY_DNS = {POP3S: ["0 1 995 pop.example.org."]}
WITH_STLS = (b"STLS", b"USER", b"SASL PLAIN")
PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
ASKED = [(b"Password of alice", b"secret\n")]
COMMAND = Path(__file__).parent / "resolving.py"


def plain(user: str, password: str = "secret") -> bytes:
    """Return the line that logs in by PLAIN."""
    return b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()) + b"\r\n"


@dataclass(frozen=True, slots=True)
class ResolvingRun(Run):
    """Runs the command where DNS and the hosts, ``HOST:PORT`` each by its port here, are the test's own."""

    dns_port: int
    hosts: Mapping[str, int]

    def command(self, *arguments: str | Path) -> list[str]:
        python, _, _, *words = Run.command(self, *arguments)
        return [python, str(COMMAND), str(self.dns_port), json.dumps(self.hosts), *words]


@dataclass(slots=True)
class World:
    """A machine without configuration, in a network with few servers in it."""

    run: Run
    keyring: dict[str, str]
    ca_file: Path
    start: StartServer
    authority: trustme.CA
    names: NameServer
    hosts: dict[str, int] = field(default_factory=dict)
    address: str = ADDRESS

    def serve(
        self, place: str, *, user: str = ADDRESS, certificate: str | None = None, stls: bool = False
    ) -> ScriptedServer:
        """Serve the mail of ``user`` at ``HOST:PORT``, by a certificate for that host."""
        host = place.partition(":")[0]
        mailbox = Mailbox([], user=user, capabilities=WITH_STLS)
        context = server_context(self.authority, certificate or host)
        server = self.start(mailbox, tls=None if stls else "implicit", context=context)
        self.hosts[place] = server.port
        return server

    @property
    def config(self) -> Path:
        return self.run.home / ".config/pop3fetch/config.toml"

    @property
    def written(self) -> str:
        """The account in the configuration file, without the authority."""
        lines = self.config.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("ca_file"))

    @property
    def environment(self) -> dict[str, str]:
        return {"POP3FETCH_CA_FILE": str(self.ca_file), **self.keyring}

    def resolving(self) -> ResolvingRun:
        run = self.run
        return ResolvingRun(run.home, run.folder, self.names.port, self.hosts, python=run.python)

    def login(self, *arguments: str | Path, env: Mapping[str, str] = PASSWORD) -> Ended:
        """Log in without a terminal."""
        return self.resolving()("login", self.address, *arguments, env={**self.environment, **env})

    def screen(
        self,
        *arguments: str | Path,
        answers: Sequence[tuple[bytes, bytes]] = ASKED,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
    ) -> Seen:
        """Log in on a terminal."""
        terminal = Terminal(self.resolving())
        env = {**self.environment, **(env or {})}
        return terminal("login", self.address, *arguments, env=env, answers=answers, columns=columns)
