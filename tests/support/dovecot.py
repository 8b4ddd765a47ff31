"""A private Dovecot 2.3 or 2.4 on loopback: a real server for tests and measurements.

Owns one instance: its folder, ports, certificate and users. It runs as the user who starts it, root or not,
touches nothing of the system's own Dovecot, and knows nothing of pytest.

    with Dovecot.start(folder) as dovecot:
        dovecot.deliver("bob", [b"Subject: hello\\n\\nworld\\n"])
        ...connect to dovecot.host, dovecot.pop3s_port...
"""

from __future__ import annotations

import base64
import grp
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from urllib.parse import quote

import trustme

from tests.support.daemon import PATIENCE, Daemon, open_folder, reserve

HOST = "127.0.0.1"
USERS = {"alice": "secret pass-wörd", "bob": "builder", "carol": "pass-\U0001f511"}
SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"  # which has Dovecot, and is often not in a user's PATH

# As an ordinary user, all of Dovecot runs as that user, with no chroot.
ONE_USER = """\
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
service pop3-login {{
  chroot =
}}
service anvil {{
  chroot =
}}
{mail}
"""

# Dovecot lets no root process face the network or open mail. The mail processes change their root
# to the folder, so that even under a parent which is open to root alone (pytest's) they get there.
AS_ROOT = """\
default_internal_user = root
default_internal_group = root
default_login_user = nobody
valid_chroot_dirs = {folder}
mail_chroot = {folder}/mail
{mail}
"""

# LMTP changes no root, so the folder is one that the mail processes get to.
AS_ROOT_WITH_STORES = """\
default_internal_user = root
default_internal_group = root
default_login_user = nobody
{mail}
"""

# A wrong password is answered after half a second, whatever the delay is set to; anvil's penalty
# would slow every login after it.
CONFIGURATION = """\
{version}
{accounts}
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1

base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
auth_verbose = yes

protocols = pop3
listen = {host}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = {pop3s_port}
    ssl = yes
  }}
}}
mail_max_userip_connections = 1000

ssl = yes
auth_failure_delay = 0
mail_fsync = never
{own}
{settings}
"""

# What the two versions have other names for.
OWN_2_3 = """\
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 apop
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
}}
"""
OWN_2_4 = """\
ssl_server_cert_file = {folder}/certificate.pem
ssl_server_key_file = {folder}/key.pem
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 scram-sha-1-plus scram-sha-256-plus
auth_allow_cleartext = yes
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb static {{
}}
"""

# What takes messages, besides: by IMAP and by LMTP.
STORES = """
protocols = pop3 imap lmtp
postmaster_address = postmaster@localhost
hostname = localhost
service imap-login {{
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
  {no_chroot}
}}
service lmtp {{
  inet_listener lmtp {{
    {address}
    port = {lmtp_port}
  }}
  unix_listener {folder}/lmtp {{
    mode = 0600
  }}
}}
"""
SIEVE_2_3 = """
protocol lmtp {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:{script}
}}
"""
SIEVE_2_4 = """
protocol lmtp {{
  mail_plugins {{
    sieve = yes
  }}
}}
sieve_script personal {{
  path = {script}
}}
"""

OAUTH_2_3 = """
auth_mechanisms = $auth_mechanisms xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {file}
}}
"""
INTROSPECTION = """
introspection_url = {url}
introspection_mode = post
username_attribute = username
active_attribute = active
active_value = true
"""
OAUTH_2_4 = """
auth_mechanisms {{
  xoauth2 = yes
  oauthbearer = yes
}}
passdb oauth2 {{
  mechanisms_filter = xoauth2 oauthbearer
}}
oauth2 {{
{introspection}
}}
"""

BY_CERTIFICATE_2_3 = """
auth_mechanisms = plain external
ssl_ca = <{ca}
ssl_verify_client_cert = yes
ssl_require_crl = no
auth_ssl_require_client_cert = yes
auth_ssl_username_from_cert = yes
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
"""
BY_CERTIFICATE_2_4 = """
auth_mechanisms = plain external
ssl_server_ca_file = {ca}
ssl_server_request_client_cert = yes
ssl_server_require_crl = no
auth_ssl_require_client_cert = yes
auth_ssl_username_from_cert = yes
passdb static {{
  mechanisms_filter = external
  fields {{
    nopassword = yes
  }}
}}
"""


class DovecotFailed(Exception):
    """Dovecot did not start; the message ends with its log."""


def missing() -> str | None:
    """Return why Dovecot cannot be run here, or None if it can."""
    if not (_program("dovecot") and _program("doveconf")):
        return "Dovecot is not installed (Debian: dovecot-pop3d)"
    if version() not in ((2, 3), (2, 4)):
        return f"Dovecot {_full_version()} is neither 2.3 nor 2.4, whose configurations the tests know"
    if not (_libexec() / "pop3-login").exists():
        return "Dovecot is installed without POP3 (Debian: dovecot-pop3d)"
    return None


def missing_stores() -> str | None:
    """Return why no Dovecot takes messages here, or None if one does."""
    if reason := missing():
        return reason
    lacking = [name for name in ("imap", "lmtp") if not (_libexec() / name).exists()]
    packages = " ".join(f"dovecot-{name}d" for name in lacking)
    return f"Dovecot takes no messages here (Debian: {packages})" if lacking else None


@cache
def version() -> tuple[int, ...]:
    """Return the first two numbers of Dovecot's version."""
    return tuple(map(int, _full_version().split(".")[:2]))


def _full_version() -> str:
    return _output("dovecot", "--version").split("-")[0].split()[0]


def _libexec() -> Path:
    with NamedTemporaryFile("w", suffix=".conf") as configuration:
        configuration.write(_version_settings())
        configuration.flush()
        line = _output("doveconf", "-c", configuration.name, "libexec_dir")
    return Path(line.partition("=")[2].strip())


def _version_settings() -> str:
    """Return how a configuration of 2.4 begins."""
    if version() < (2, 4):
        return ""
    number = _full_version()
    return f"dovecot_config_version = {number}\ndovecot_storage_version = {number}\n"


def has_apop() -> bool:
    """Return whether it knows APOP, which 2.4 has dropped."""
    return version() < (2, 4)


def oauth_settings(folder: Path, url: str) -> str:
    """Return the settings of a Dovecot that asks the OAuth 2 server at ``url`` about access tokens."""
    introspection = INTROSPECTION.format(url=url)
    if version() >= (2, 4):
        return OAUTH_2_4.format(introspection=introspection)
    file = folder / "oauth2.conf"
    file.write_text(introspection)
    return OAUTH_2_3.format(file=file)


def sieve_settings(script: Path) -> str:
    """Return the settings of a Dovecot that sorts by a script what comes by LMTP."""
    return (SIEVE_2_4 if version() >= (2, 4) else SIEVE_2_3).format(script=script)


def missing_sieve() -> str | None:
    """Return why no Sieve script runs here, or None if one does."""
    if reason := missing_stores():
        return reason
    modules = _libexec().parents[0] / "dovecot" / "modules"
    has_sieve = any(modules.glob("lib*_sieve_plugin.so"))
    return None if has_sieve else "Dovecot has no Sieve here (Debian: dovecot-sieve)"


def certificate_settings(ca: Path) -> str:
    """Return the settings of a Dovecot that knows its users by certificates of ``ca``."""
    return (BY_CERTIFICATE_2_4 if version() >= (2, 4) else BY_CERTIFICATE_2_3).format(ca=ca)


@dataclass
class Dovecot:
    """A running instance.

    ``pop3_port`` speaks in clear and offers STLS, ``pop3s_port`` is TLS from the first octet;
    ``ca_file`` (PEM) verifies ``certificate`` (PEM), which is valid for localhost and 127.0.0.1.
    """

    folder: Path
    users: Mapping[str, str]
    pop3_port: int
    pop3s_port: int
    imap_port: int = 0
    imaps_port: int = 0
    lmtp_port: int = 0
    host: str = HOST
    is_open: bool = False  # whether its folder is one of its own, that other users get to
    _daemon: Daemon | None = field(default=None, repr=False)
    _seconds: Iterator[int] = field(default_factory=lambda: count(1_000_000_000), repr=False)

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        settings: str = "",
        users: Mapping[str, str] | None = None,
        ca: trustme.CA | None = None,
        stores: bool = False,
    ) -> Dovecot:
        """Start an instance in ``folder`` and return it once it greets.

        ``stores``: it takes messages by IMAP and LMTP, too. ``users`` maps names to passwords
        (default: :data:`USERS`); ``settings`` is appended to the configuration, and overrides what
        precedes it.
        """
        with ExitStack() as holders:
            # Kept until Dovecot listens: with SO_REUSEADDR both may bind, and no other process gets the port.
            ports = [reserve(holders.enter_context(socket.socket()), HOST) for _ in range(5 if stores else 2)]
            is_open = stores and os.geteuid() == 0
            folder = open_folder("dovecot-") if is_open else folder.absolute()
            instance = cls(folder, users or USERS, ports[0], ports[1], is_open=is_open)
            if stores:
                instance.imap_port, instance.imaps_port, instance.lmtp_port = ports[2:]
                settings = instance._stores() + settings
            instance._set_up(settings, ca or trustme.CA())
            instance._run()
        return instance

    def __enter__(self) -> Dovecot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ca_file(self) -> Path:
        """The authority to trust, as PEM."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The server's own certificate, as PEM."""
        return self.folder / "certificate.pem"

    def url(self, user: str, *, tls: str = "implicit") -> str:
        """Return the account URL of ``user``: ``pop3s:`` with implicit TLS, else ``pop3:``."""
        if tls == "implicit":
            return f"pop3s://{quote(user, safe='')}@{self.host}:{self.pop3s_port}"
        return f"pop3://{quote(user, safe='')}@{self.host}:{self.pop3_port}"

    def maildir(self, user: str) -> Path:
        """Return the maildir that is ``user``'s maildrop."""
        return self.folder / "mail" / user

    def deliver(self, user: str, messages: Iterable[bytes]) -> None:
        """Put ``messages`` into the maildrop, octet for octet, to be listed in this order.

        Dovecot sends LF as CRLF. The sizes in the names (Maildir++) spare it reading every file for LIST.
        """
        maildir, owner = self.maildir(user), _mail_owner()
        for message in messages:
            on_the_wire = len(message) + message.count(b"\n") - message.count(b"\r\n")
            name = f"{next(self._seconds)}.M0P1.test,S={len(message)},W={on_the_wire}"
            with open(f"{maildir}/tmp/{name}", "wb") as file:
                file.write(message)
                os.fchown(file.fileno(), *owner)
            os.rename(f"{maildir}/tmp/{name}", f"{maildir}/new/{name}")

    def count(self, user: str) -> int:
        """Return how many messages are in the maildrop."""
        return len(self._files(user))

    def clear(self, user: str) -> None:
        """Empty the maildrop; UIDs are never used again."""
        for file in self._files(user):
            file.unlink()

    def log(self) -> str:
        """Return what Dovecot has logged so far."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def kill(self) -> None:
        """Kill it, and with it every session; :meth:`go_on` starts it again."""
        if self._daemon:
            self._daemon.end()
            self._daemon = None

    def go_on(self) -> None:
        """Start it again after :meth:`kill`, with the same mail at the same ports."""
        # Until a killed process is waited for, it seems to live, and its locks last for two minutes.
        for lock in self.folder.glob("mail/*/*.lock"):
            os.utime(lock, (0, 0))
        for _ in range(5):
            with suppress(DovecotFailed):  # what was killed may listen for a moment
                self._run()
                return
        self._run()

    def stop(self) -> None:
        """End the instance at once, and with it every session."""
        self.kill()
        if self.is_open:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self, user: str) -> list[Path]:
        return [file for part in ("new", "cur") for file in (self.maildir(user) / part).iterdir()]

    def _stores(self) -> str:
        return STORES.format(
            imap_port=self.imap_port,
            imaps_port=self.imaps_port,
            lmtp_port=self.lmtp_port,
            folder=self.folder,
            no_chroot="" if os.geteuid() == 0 else "chroot =",
            address=f"{'listen' if version() >= (2, 4) else 'address'} = {self.host}",
        )

    def _set_up(self, settings: str, ca: trustme.CA) -> None:
        for user in self.users:
            for part in ("", "tmp", "new", "cur"):
                folder = self.maildir(user) / part
                folder.mkdir(parents=True)
                os.chown(folder, *_mail_owner())
        self._write_certificates(ca)
        self._write("users", "".join(map(_passwd_line, self.users.items())))
        self._write("dovecot.conf", self._configuration(settings))

    def _write_certificates(self, ca: trustme.CA) -> None:
        leaf = ca.issue_cert("localhost", HOST, common_name="localhost")  # without which fetchmail refuses it
        ca.cert_pem.write_to_path(str(self.ca_file))
        self._write("certificate.pem", "".join(pem.bytes().decode() for pem in leaf.cert_chain_pems))
        self._write("key.pem", leaf.private_key_pem.bytes().decode())

    def _configuration(self, settings: str) -> str:
        uid, gid = _mail_owner()
        user, group = pwd.getpwuid(uid).pw_name, grp.getgrgid(gid).gr_name
        is_root, is_new = os.geteuid() == 0, version() >= (2, 4)
        mails = "" if is_root and not self.is_open else f"{self.folder}/mail"
        mail = (
            f"mail_driver = maildir\nmail_path = {mails}/%{{user}}"
            if is_new
            else f"mail_location = maildir:{mails}/%u"
        )
        accounts = ONE_USER
        if is_root:
            accounts = AS_ROOT_WITH_STORES if self.is_open else AS_ROOT
        return CONFIGURATION.format(
            version=_version_settings(),
            own=(OWN_2_4 if is_new else OWN_2_3).format(folder=self.folder),
            accounts=accounts.format(folder=self.folder, user=user, group=group, mail=mail),
            uid=uid,
            gid=gid,
            folder=self.folder,
            host=self.host,
            pop3_port=self.pop3_port,
            pop3s_port=self.pop3s_port,
            settings=settings,
        )

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text, "utf-8")

    def _run(self) -> None:
        program = _program("dovecot")
        if program is None:
            raise DovecotFailed(missing())
        self._daemon = Daemon([program, "-F", "-c", self.folder / "dovecot.conf"], self.folder / "log")
        if not self._daemon.serves(self._greets):
            raise DovecotFailed(f"Dovecot does not greet:\n{self.log()}")

    def _greets(self) -> bool:
        with socket.create_connection((self.host, self.pop3_port), timeout=PATIENCE) as connection:
            return connection.recv(1024).startswith(b"+OK")


def _mail_owner() -> tuple[int, int]:
    """Return user and group id of the mail processes."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _passwd_line(user_and_password: tuple[str, str]) -> str:
    user, password = user_and_password
    # In base64 a password may contain the colon that ends a field.
    return f"{user}:{{PLAIN.b64}}{base64.b64encode(password.encode()).decode()}\n"


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS)


def _output(name: str, *arguments: str) -> str:
    return subprocess.run([_program(name) or name, *arguments], capture_output=True, text=True).stdout
