"""A private Cyrus 3 on loopback: a real POP3 server that binds logins to their TLS channel.

Owns one instance: its folder, ports, certificate and user. It runs as the user who starts it, and knows
nothing of pytest. Debian's package conflicts with Dovecot's: ``.ci/unpack`` unpacks it into ``UNPACKED``; an
installed one works, too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType

import trustme

from tests.support.daemon import Daemon, open_folder, reserve

HOST = "127.0.0.1"
USER, PASSWORD = "alice", "secret pass-wörd"
NOBODY = pwd.getpwnam("nobody").pw_uid
ANOTHER_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
UNPACKED = Path(__file__).parents[2] / ".venv" / "cyrus"
BINARIES = "usr/lib/cyrus/bin"
SASLPASSWD = "usr/sbin/saslpasswd2"

MECHANISMS = "PLAIN SCRAM-SHA-1 SCRAM-SHA-256"
SETTINGS = """\
configdirectory: {folder}/state
partition-default: {folder}/mail
defaultpartition: default
proc_path: {folder}/proc
lmtpsocket: {folder}/lmtp
idlesocket: {folder}/idle
notifysocket: {folder}/notify
servername: localhost
cyrus_user: {user}
admins: cyrus
autocreate_post: yes
autocreate_quota: 0
duplicatesuppression: no
failedloginpause: 0

sasl_mech_list: {mechanisms}
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/passwords
allowstarttls: yes
tls_server_cert: {folder}/certificate.pem
tls_server_key: {folder}/key.pem
tls_versions: {versions}
"""

SERVICES = """\
START {{
  recover cmd="{binaries}/ctl_cyrusdb -C {folder}/tls-1.3.conf -r"
}}
SERVICES {{
  current cmd="{binaries}/pop3d -s -C {folder}/tls-1.3.conf" listen="{host}:{port}" prefork=0
  older cmd="{binaries}/pop3d -s -C {folder}/tls-1.2.conf" listen="{host}:{older_port}" prefork=0
  imaps cmd="{binaries}/imapd -s -C {folder}/tls-1.3.conf" listen="{host}:{imaps_port}" prefork=0
  imap cmd="{binaries}/imapd -C {folder}/tls-1.3.conf" listen="{host}:{imap_port}" prefork=0
  lmtp cmd="{binaries}/lmtpd -C {folder}/tls-1.3.conf" listen="{folder}/lmtp" prefork=0
  network cmd="{binaries}/lmtpd -a -C {folder}/tls-1.3.conf" listen="{host}:{lmtp_port}" prefork=0
}}
EVENTS {{
}}
"""


class CyrusFailed(Exception):
    """Cyrus did not start; the message ends with its output."""


def missing() -> str | None:
    """Return why Cyrus cannot be run here, or None if it can."""
    programs = (f"{BINARIES}/{name}" for name in ("pop3d", "imapd", "lmtpd"))
    if not all((_root() / needed).exists() for needed in (*programs, SASLPASSWD)):
        return "Cyrus is neither unpacked nor installed (Debian: cyrus-pop3d, cyrus-imapd, sasl2-bin)"
    if not any(any(folder.glob("libscram.so*")) for folder in _plugin_folders()):
        return "Cyrus has no SCRAM (Debian: libsasl2-modules)"
    if _as_nobody() is None:
        return "Cyrus does not serve as root, which here cannot be somebody else"
    return None


def _root() -> Path:
    return UNPACKED if (UNPACKED / BINARIES).exists() else Path("/")


@dataclass
class Cyrus:
    """A running instance: TLS from the first octet, 1.3 on ``port`` and 1.2 on ``older_port``.

    It takes messages by IMAP, on ``imap_port`` with STARTTLS, and by LMTP: on a socket, and on ``lmtp_port``.
    """

    folder: Path
    port: int
    older_port: int
    imaps_port: int
    imap_port: int
    lmtp_port: int
    host: str = HOST
    mechanisms: str = MECHANISMS
    _daemon: Daemon | None = field(default=None, repr=False)

    @classmethod
    def start(cls, folder: Path, ca: trustme.CA, mechanisms: str = MECHANISMS) -> Cyrus:
        """Start an instance in ``folder`` that offers ``mechanisms``, and return it once it greets."""
        if _is_another_user():
            folder = open_folder("cyrus-")
        with ExitStack() as holders:
            # Kept until Cyrus listens: with SO_REUSEADDR both may bind, and no other process gets the port.
            port, older_port, imaps_port, imap_port, lmtp_port = (
                reserve(holders.enter_context(socket.socket()), HOST) for _ in range(5)
            )
            ports = (port, older_port, imaps_port, imap_port, lmtp_port)
            instance = cls(folder.absolute(), *ports, mechanisms=mechanisms)
            instance._set_up(ca)
            instance._run()
        return instance

    def __enter__(self) -> Cyrus:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the instance at once, and with it every session."""
        if self._daemon:
            self._daemon.end()
            self._daemon = None
        if _is_another_user():
            shutil.rmtree(self.folder)

    def _set_up(self, ca: trustme.CA) -> None:
        for name in ("state", "mail", "proc"):
            (self.folder / name).mkdir()
        leaf = ca.issue_cert("localhost", HOST)
        leaf.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        chain = "".join(pem.bytes().decode() for pem in leaf.cert_chain_pems)
        (self.folder / "certificate.pem").write_text(chain)
        user = pwd.getpwuid(os.geteuid() or NOBODY).pw_name
        for name, versions in (("tls-1.3.conf", "tls1_3"), ("tls-1.2.conf", "tls1_2")):
            settings = SETTINGS.format(
                folder=self.folder, user=user, versions=versions, mechanisms=self.mechanisms
            )
            (self.folder / name).write_text(settings)
        services = SERVICES.format(
            binaries=_root() / BINARIES,
            folder=self.folder,
            host=self.host,
            port=self.port,
            older_port=self.older_port,
            imaps_port=self.imaps_port,
            imap_port=self.imap_port,
            lmtp_port=self.lmtp_port,
        )
        (self.folder / "cyrus.conf").write_text(services)
        self._set_password()
        if _is_another_user():
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)

    def _set_password(self) -> None:
        passwords = self.folder / "passwords"
        subprocess.run(
            [_root() / SASLPASSWD, "-p", "-c", "-f", passwords, "-u", "localhost", USER],
            input=PASSWORD.encode(),
            env=_environment(),
            check=True,
        )

    def _run(self) -> None:
        master = _root() / BINARIES / "master"
        files = {"-C": "tls-1.3.conf", "-M": "cyrus.conf", "-p": "pid"}
        options = [word for option, name in files.items() for word in (option, self.folder / name)]
        self._daemon = Daemon([*(_as_nobody() or []), master, *options], self.folder / "log", _environment())
        if not self._daemon.serves(self._answers):
            raise CyrusFailed(f"Cyrus does not listen:\n{(self.folder / 'log').read_text()}")

    def _answers(self) -> bool:
        with socket.create_connection((self.host, self.older_port)):
            return True


@cache
def _as_nobody() -> list[str] | None:
    """Return what makes root another user, because Cyrus refuses to serve as root; None if nothing does here.

    In a namespace of its own it still owns root's files; a chroot has none.
    """
    if os.geteuid() != 0:
        return []
    namespace = ["unshare", "--user", f"--map-user={NOBODY}"]
    for way in (namespace, ANOTHER_USER):
        with suppress(FileNotFoundError):
            if subprocess.run([*way, "true"], capture_output=True).returncode == 0:
                return way
    return None


def _is_another_user() -> bool:
    return _as_nobody() == ANOTHER_USER


def _environment() -> dict[str, str]:
    libraries = map(str, (_root() / "usr/lib").glob("*-linux-gnu*"))
    plugins = map(str, _plugin_folders())
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "SASL_PATH": ":".join(plugins)}


def _plugin_folders() -> list[Path]:
    """Return the folders of mechanisms: unpacked, and the system's own, which has the one for passwords."""
    return [folder for root in (_root(), Path("/")) for folder in root.glob("usr/lib/*-linux-gnu*/sasl2")]
