"""The configuration of fetchmail, and its list of fetched messages. Pure.

``defaults`` and ``poll`` entries are read into tables of options; then each user of each entry becomes an
account.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from pop3fetch.account.secret import text_of
from pop3fetch.importing.fetchmail_entries import Entries, Entry, Option, Options, User
from pop3fetch.importing.foreign import (
    CLEAR_TEXT,
    NEWER_TLS,
    REMOTE,
    UNVERIFIED,
    AccountDraft,
    Fetched,
    FetchedList,
    Finding,
    ForeignAccount,
    Origin,
    Reading,
    Secret,
    Where,
    is_local,
    lines_of,
    shell,
)

SMTP_PORT, LMTP_PORT = 25, 24
# Of the service of the whole system, as Debian sets it up; the older list is the last.
SERVICE_FILE = "/etc/fetchmailrc"
SERVICE_LISTS = ("/var/lib/fetchmail/.fetchids", "/var/lib/fetchmail/.fetchmail-UIDL-cache")
SERVICE_LOCK = "/run/fetchmail/fetchmail.pid"
DELIVERY_SERVICES = {"smtp": 25, "submission": 587, "lmtp": 24}
SERVICES = {"pop3": 110, "pop-3": 110, "pop3s": 995, "spop3": 995}  # as /etc/services has them
OLD_TLS = {"ssl2", "ssl3", "ssl23", "tls1", "tls1.1"}
LONGEST_UID = 128  # octets of it that are listed

# Without a counterpart, and what is fetched or delivered, or how safely, depends on them.
NONE = {
    "preconnect": "pop3fetch runs no command before it connects; a tunnel is a tunnel_command",
    "postconnect": "pop3fetch runs no command after the last message; see on_new",
    "interface": "pop3fetch does not look at network interfaces",
    "monitor": "pop3fetch does not look at network interfaces",
    "plugout": "pop3fetch delivers to a host without a program between them",
    "sslcertpath": "pop3fetch reads authorities from one file, ca_file",
    "bsmtp": "pop3fetch does not write BSMTP files",
    "limitflush": "pop3fetch deletes no message that is too large",
    "antispam": "pop3fetch keeps a message that the server for SMTP refuses, and names it",
    "fetchdomains": "pop3fetch has no ETRN",
    "folder": "POP3 has no folders",
    "principal": "pop3fetch has no Kerberos",
}
MULTIDROP = ("envelope", "qvirtual", "aka", "localdomains")
CHANGES = ("rewrite", "mimedecode", "dropstatus", "dropdelivered", "stripcr", "tracepolls")


def config_files(where: Where) -> list[str]:
    """Return the possible files, of which the first that exists counts."""
    variables = where.variables
    files = [f"{variables['FETCHMAILHOME']}/fetchmailrc"] if variables.get("FETCHMAILHOME") else []
    home = variables.get("HOME_ETC") or where.expand("~")
    return [*files, f"{home}/.fetchmailrc", SERVICE_FILE]


def read(file: str, octets: bytes, where: Where) -> Reading:
    """Return the accounts of a configuration file; raises Broken."""
    settings, entries = Entries(text_of(octets)).read()
    source = _Source(file, settings, where)
    findings = list(_global_findings(source))
    defaults = next((entry for entry in entries if entry.kind == "defaults"), None)
    accounts: list[ForeignAccount] = []
    polled = Counter(entry.name for entry in entries if entry.kind == "poll")
    for entry in entries:
        if entry.kind == "defaults":
            continue
        merged = _merged(defaults, entry) if defaults else entry
        if left_out := _left_out(merged):
            findings.append(Finding(Origin(file, entry.line), f"{entry.name}: {left_out}; left out"))
            continue
        is_only_one = polled[entry.name] == 1 and len(merged.users) == 1
        accounts += (_account(source, merged, user, is_only_one=is_only_one) for user in merged.users)
    findings += _changes(source, accounts, entries)
    return Reading(tuple(accounts), tuple(findings), source.lock())


def _merged(defaults: Entry, entry: Entry) -> Entry:
    """Return an entry with the defaults that it does not set itself."""
    usual = defaults.users[0]
    users = tuple(
        replace(user, name=user.name or usual.name, options={**usual.options, **user.options})
        for user in entry.users
    )
    return replace(entry, options={**defaults.options, **entry.options}, users=users)


def _left_out(entry: Entry) -> str | None:
    """Return why no account is made of an entry, or None."""
    if entry.kind == "skip":
        return "skip: it is polled only if it is named"
    protocol = entry.options.get("protocol", Option(("auto",), entry.line)).value
    if protocol in ("imap", "etrn", "odmr", "pop2", "rpop"):
        return f"protocol {protocol}: pop3fetch does not have it"
    return None


# -- the whole file --------------------------------------------------------------------------


class _Source:
    """A configuration file with its global settings."""

    def __init__(self, file: str, settings: Options, where: Where) -> None:
        self.file = file
        self.settings = settings
        self.where = where

    def origin(self, option: Option) -> Origin:
        return Origin(self.file, option.line)

    def beside(self, path: str) -> str:
        """Return a path, which begins at the file's folder if it is relative; ~ is an ordinary character."""
        return posixpath.join(posixpath.dirname(self.file), path)

    def login(self) -> str:
        """Return the name of the user who runs fetchmail."""
        names = (self.where.variables.get(name) for name in ("FETCHMAILUSER", "LOGNAME", "USER"))
        return next(filter(None, names), self.where.user)

    def lists(self) -> tuple[str, ...]:
        """Return the possible paths of the list, of which the first that exists counts."""
        if "idfile" in self.settings:
            return (self.beside(self.settings["idfile"].value),)
        variables = self.where.variables
        if variables.get("FETCHMAILHOME"):
            return (f"{variables['FETCHMAILHOME']}/.fetchids",)
        own = f"{variables.get('HOME_ETC') or self.where.expand('~')}/.fetchids"
        return (*SERVICE_LISTS, own) if self.file == SERVICE_FILE else (own,)

    def lock(self) -> str:
        """Return the path of the file with the number of the process."""
        if "pidfile" in self.settings:
            return self.beside(self.settings["pidfile"].value)
        if self.file == SERVICE_FILE:
            return SERVICE_LOCK
        home = self.where.variables.get("FETCHMAILHOME")
        if home is None and self.where.user == "root":
            return "/run/fetchmail.pid"
        return f"{home or self.where.expand('~')}/.fetchmail.pid"


def _global_findings(source: _Source) -> Iterator[Finding]:
    if daemon := source.settings.get("daemon"):
        text = f"daemon {daemon.value}: use pop3fetch get --every, the timer of systemd, or cron"
        yield Finding(source.origin(daemon), text)
    if logfile := source.settings.get("logfile"):
        yield Finding(source.origin(logfile), "logfile: see log_file in pop3fetch-config(5)")
    if postmaster := source.settings.get("postmaster"):
        yield Finding(source.origin(postmaster), "postmaster: pop3fetch sends no mail of its own")


def _changes(source: _Source, accounts: list[ForeignAccount], entries: list[Entry]) -> Iterator[Finding]:
    """Say once that messages stay as they are."""
    if not accounts:
        return
    named = {
        name
        for entry in entries
        for options in (entry.options, *(user.options for user in entry.users))
        for name in CHANGES
        if name in options and options[name].is_on
    }
    what = f" ({', '.join(sorted(named))})" if named else ""
    yield Finding(Origin(source.file), f"pop3fetch changes no message and adds no field{what}")


# -- an account ------------------------------------------------------------------------------


def _account(source: _Source, entry: Entry, user: User, *, is_only_one: bool) -> ForeignAccount:
    """Return an account; ``is_only_one``: the name of the server is enough to name it."""
    name = entry.name if is_only_one else f"{user.name or source.login()}@{entry.name}"
    draft = AccountDraft(name, Origin(source.file, user.line))
    options = {**entry.options, **user.options}
    host = options["via"] if "via" in options else Option((entry.name,), entry.line)
    draft.put("host", host.value, source.origin(host))
    draft.put("user", user.name or source.login(), draft.origin)
    for put in (_way, _login, _tls, _selection, _delivery):
        put(draft, source, options)
    for key, reason in NONE.items():
        if key in options and options[key].is_on:
            draft.problem(source.origin(options[key]), f"{key}: {reason}")
    if "interval" in options:
        text = "interval: use pop3fetch get --every, or a timer of its own"
        draft.note(source.origin(options["interval"]), text)
    prefix = f"{draft.settings.get('user', '')}@{host.value} ".encode("utf-8", "surrogateescape")
    flush = "flush" in options and options["flush"].is_on
    path, *elsewhere = source.lists()
    return draft.finished(
        fetched=FetchedList(path, partial(fetched, prefix=prefix), elsewhere=tuple(elsewhere)),
        kept=bool(draft.settings.get("delete")) and not flush,
    )


def _port(given: str, services: Mapping[str, int]) -> int | None:
    """Return the port that is given by its number, or by the name of a service; None if it is not known."""
    return int(given) if re.fullmatch("[0-9]{1,9}", given) else services.get(given)


def _way(draft: AccountDraft, source: _Source, options: Options) -> None:
    if service := options.get("service"):
        port = _port(service.value, SERVICES)
        if port is None:
            text = f"service {service.value}: write the number of the port"
            draft.problem(source.origin(service), text)
        else:
            draft.put("port", port, source.origin(service))
    if timeout := options.get("timeout"):
        draft.put("timeout", timeout.number, source.origin(timeout))
    if plugin := options.get("plugin"):
        host = draft.settings["host"]
        uses_ssl = "ssl" in options and options["ssl"].is_on
        places = {"%h": str(host), "%p": str(draft.settings.get("port", 995 if uses_ssl else 110))}
        command = [places.get(word, word) for word in plugin.value.split()]
        draft.put("tunnel_command", command, source.origin(plugin))


def _login(draft: AccountDraft, source: _Source, options: Options) -> None:
    protocol = options.get("protocol", Option(("auto",), draft.origin.line))
    if protocol.value == "apop":
        draft.put("auth", "apop", source.origin(protocol))
    elif protocol.value == "auto":
        draft.note(source.origin(protocol), "protocol auto: pop3fetch fetches by POP3")
    elif protocol.value != "pop3":
        draft.problem(source.origin(protocol), f"protocol {protocol.value}: pop3fetch does not have it")
    method = options.get("auth")
    if method and method.value == "cram-md5":
        draft.put("auth", "cram-md5", source.origin(method))
    elif method and method.value not in ("any", "password"):
        draft.problem(source.origin(method), f"auth {method.value}: pop3fetch does not have it")
    if "password" in options:
        draft.secret = Secret(options["password"].value, source.origin(options["password"]))


def _tls(draft: AccountDraft, source: _Source, options: Options) -> None:
    ssl, version = options.get("ssl"), options.get("sslproto")
    if ssl and ssl.is_on:
        draft.put("tls", "implicit", source.origin(ssl))
    elif version and not version.value:
        draft.put("tls", "off", source.origin(version))
        draft.note(source.origin(version), f"sslproto '': {CLEAR_TEXT}")
    else:
        draft.put("tls", "starttls", draft.origin)
    if version and version.value.lower() in OLD_TLS:
        draft.note(source.origin(version), f"sslproto {version.value}: {NEWER_TLS}")
    for key, ours in (("sslcertfile", "ca_file"), ("sslcert", "client_cert"), ("sslkey", "client_key")):
        if key in options:
            draft.put(ours, source.beside(options[key].value), source.origin(options[key]))
    if name := options.get("sslcommonname"):
        draft.put("tls_name", name.value, source.origin(name))
    if (check := options.get("sslcertck")) and not check.is_on:
        draft.note(source.origin(check), UNVERIFIED)
    if pin := options.get("sslfingerprint"):
        text = "sslfingerprint: it is of MD5; set tls_fingerprint, which is of SHA-256"
        draft.problem(source.origin(pin), text)


def _selection(draft: AccountDraft, source: _Source, options: Options) -> None:
    for key, ours in (("limit", "max_size"), ("fetchlimit", "limit")):
        if (limit := options.get(key)) and limit.number > 0:
            draft.put(ours, limit.number, source.origin(limit))
    if (forcecr := options.get("forcecr")) and forcecr.is_on:
        draft.put("crlf", True, source.origin(forcecr))
    keep = options.get("keep")
    if keep is None or not keep.is_on:
        draft.put("delete", True, source.origin(keep) if keep else draft.origin)
        return
    if (flush := options.get("flush")) and flush.is_on:
        text = "flush with keep: messages were deleted once a later run had seen them; see delete_after"
        draft.problem(source.origin(flush), text)
    if (everything := options.get("fetchall")) and everything.is_on:
        text = "fetchall with keep: all messages were fetched each time; pop3fetch fetches new ones only"
        draft.problem(source.origin(everything), text)


def _delivery(draft: AccountDraft, source: _Source, options: Options) -> None:
    names = options.get("is", Option((), draft.origin.line))
    if len(names.values) > 1 or any(name == "*" or "=" in name for name in names.values):
        used = [name for name in MULTIDROP if name in options]
        text = f"several local names{' and ' + ', '.join(used) if used else ''}: pop3fetch delivers all "
        draft.problem(source.origin(names), text + "messages of a mailbox to one place")
    local = names.values[0] if names.values else source.login()
    if mda := options.get("mda"):
        line = re.sub("%[Ts]", shlex.quote(local), mda.value)
        if "%F" in line:
            draft.problem(source.origin(mda), "mda: pop3fetch has no counterpart of %F, the sender's address")
        draft.put("exec", shell(line), source.origin(mda))
        return
    if "bsmtp" not in options:  # which is named
        _transfer(draft, source, options, local)


def _transfer(draft: AccountDraft, source: _Source, options: Options, local: str) -> None:
    """Let messages go to a server for LMTP or SMTP, for the user ``local``."""
    hosts = options.get("smtphost", Option(("localhost",), draft.origin.line))
    host, slash, given = hosts.value.partition("/")
    # A path is a socket, at which fetchmail always speaks LMTP.
    is_lmtp = "lmtp" in options or not host
    scheme, usual = ("lmtp", LMTP_PORT) if is_lmtp else ("smtp", SMTP_PORT)
    port = _port(given, DELIVERY_SERVICES) if slash and host else usual
    if len(hosts.values) > 1:
        text = f"smtphost: pop3fetch delivers to one host, {host or hosts.value}"
        draft.problem(source.origin(hosts), text)
    if port is None:
        draft.problem(source.origin(hosts), f"smtphost {hosts.value}: write the number of the port")
        return
    if not is_local(host):
        draft.problem(source.origin(hosts), REMOTE.format(f"smtphost {host}"))
    where = f"//{hosts.value}" if not host else f"//{host}:{port}"
    draft.put("output", f"{scheme}:{where}", source.origin(hosts))
    address = options.get("smtpaddress")
    if recipient := options.get("smtpname"):
        draft.put("recipients", [recipient.value], source.origin(recipient))
    elif local:
        domain = address.value if address else host or "localhost"
        origin = source.origin(options["is"]) if "is" in options else draft.origin
        draft.put("recipients", [local if "@" in local else f"{local}@{domain}"], origin)


# -- its list --------------------------------------------------------------------------------


def fetched(octets: bytes, *, prefix: bytes) -> list[Fetched]:
    """Return what is listed of the account whose lines begin with ``prefix``, in any case."""
    length, wanted = len(prefix), prefix.lower()
    return [
        Fetched(line[length:])
        for _, line in lines_of(octets)
        if len(line) > length and line[:length].lower() == wanted
    ]
