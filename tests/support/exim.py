"""A private Exim 4 on loopback: a real relay that delivers into a maildir.

Owns one instance: its folder, port and certificate. It takes mail for everyone, with STARTTLS and a login
that it does not need. It runs as whoever starts it; started by root, it delivers as nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import trustme

from tests.support.daemon import PATIENCE, Daemon, open_folder, reserve

HOST = "127.0.0.1"
USER, PASSWORD = "alice", "secret pass-wörd"
FOLDERS = "/usr/sbin:/usr/local/sbin"

CONFIGURATION = """\
primary_hostname = localhost
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/pid
exim_user = {user}
exim_group = {group}
never_users =
daemon_smtp_ports = {port} : {smtps_port}
tls_on_connect_ports = {smtps_port}
local_interfaces = {host}
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
message_size_limit = 60M
received_headers_max = 200
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin acl
begin routers
everything:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  user = {user}
  group = {group}
  message_size_limit = 0
begin retry
begin rewrite
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{login}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
"""


class EximFailed(Exception):
    """Exim did not start; the message ends with its log."""


def missing() -> str | None:
    """Say why Exim cannot be run here, or None where it can."""
    return None if _program() else "Exim is not installed (Debian: exim4-daemon-light)"


def _program() -> str | None:
    return shutil.which("exim4") or shutil.which("exim4", path=FOLDERS)


@dataclass
class Exim:
    """A running instance; ``mail`` is the maildir in which everything arrives.

    TLS begins with STARTTLS on ``port``, and with the first octet on ``smtps_port``.
    """

    folder: Path
    port: int
    smtps_port: int
    host: str = HOST
    _daemon: Daemon | None = field(default=None, repr=False)

    @classmethod
    def start(cls, ca: trustme.CA) -> Exim:
        """Start an instance and return it once it greets."""
        with socket.socket() as first, socket.socket() as second:
            instance = cls(open_folder("exim-"), reserve(first, HOST), reserve(second, HOST))
            instance._set_up(ca)
            instance._run()
        return instance

    def __enter__(self) -> Exim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon:
            self._daemon.end()
            self._daemon = None
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def mail(self) -> Path:
        return self.folder / "mail"

    def arrived(self, count: int) -> list[bytes]:
        """Wait for so many messages, and return them; it delivers after it has answered."""
        deadline = time.monotonic() + PATIENCE
        while len(found := list(self.mail.glob("new/*"))) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return [path.read_bytes() for path in found]

    def clear(self) -> None:
        """Remove all that has arrived."""
        for path in self.mail.glob("new/*"):
            path.unlink()

    def _set_up(self, ca: trustme.CA) -> None:
        leaf = ca.issue_cert("localhost", HOST)
        leaf.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        chain = "".join(pem.bytes().decode() for pem in leaf.cert_chain_pems)
        (self.folder / "certificate.pem").write_text(chain)
        owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        for name in ("spool", "log", "mail"):
            (self.folder / name).mkdir()
        text = CONFIGURATION.format(
            folder=self.folder,
            port=self.port,
            smtps_port=self.smtps_port,
            host=self.host,
            user=owner.pw_uid,
            group=owner.pw_gid,
            login=USER,
            password=PASSWORD,
        )
        (self.folder / "exim.conf").write_text(text, "utf-8")
        for path in (self.folder, *self.folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        os.chown(self.folder / "exim.conf", os.geteuid(), os.getegid())

    def _run(self) -> None:
        program = _program()
        assert program, missing()
        self._daemon = Daemon([program, "-C", self.folder / "exim.conf", "-bdf"], self.folder / "output")
        if not self._daemon.serves(self._greets):
            logs = [path.read_text() for path in (self.folder / "output", *(self.folder / "log").iterdir())]
            raise EximFailed(f"Exim does not greet:\n{''.join(logs)}")

    def _greets(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as connection:
            return connection.recv(1024).startswith(b"220")
