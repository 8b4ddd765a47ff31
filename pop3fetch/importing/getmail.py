"""The configuration of getmail6, and its lists of fetched messages. Pure."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Mapping
from configparser import Error, RawConfigParser
from string import Template

from pop3fetch.account.secret import text_of
from pop3fetch.defaults import PLAIN_PORT, TLS_PORT
from pop3fetch.importing.foreign import (
    CLEAR_TEXT,
    NEWER_TLS,
    NO_FILTERS,
    REMOTE,
    UNVERIFIED,
    AccountDraft,
    Broken,
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
)

MAIN_FILE = "getmailrc"
BACKUPS = ("~", "#", ".json", ".swp", ".bak")  # ends of names that are not configuration files
PROBLEMATIC = re.compile(r"[/:;<>|]+")  # in the name of a list
BOOLEANS = {
    **dict.fromkeys(("1", "yes", "true", "on"), True),
    **dict.fromkeys(("0", "no", "false", "off"), False),
}
LMTP_PORT = "2003"
LOST_TO_A_PROGRAM = "delivers as another user; run pop3fetch as that user"

# Of the retriever, by the name of our setting.
SAME = {
    "server": "host",
    "username": "user",
    "port": "port",
    "timeout": "timeout",
    "ca_certs": "ca_file",
    "certfile": "client_cert",
    "keyfile": "client_key",
    "ssl_ciphers": "tls_ciphers",
    "ssl_cert_hostname": "tls_name",
}
NUMBERS = {"port", "timeout", "delete_after", "max_message_size", "max_messages_per_session"}
FILES = {"ca_certs", "certfile", "keyfile"}
LIMITS = {
    "delete_after": "delete_after",
    "max_message_size": "max_size",
    "max_messages_per_session": "limit",
}
# Without a counterpart, and what is fetched or deleted depends on them if they are not 0.
NONE = {
    "delete_bigger_than": "pop3fetch does not delete by size; max_size skips large messages",
    "max_bytes_per_session": "pop3fetch limits messages (limit), not octets",
    "fingerprint": "pop3fetch pins a certificate by tls_fingerprint",
}

Section = Mapping[str, str]


def config_folders(where: Where) -> tuple[str, str]:
    """Return the possible folders of getmail6's files, of which the first that exists counts."""
    folder = where.variables.get("XDG_CONFIG_HOME") or where.expand("~/.config")
    return f"{folder}/getmail", where.expand("~/.getmail")


def config_names(names: list[str]) -> list[str]:
    """Return which of the names in its folder are those of configuration files."""
    if MAIN_FILE in names:
        return [MAIN_FILE]
    return [
        name for name in names if not name.startswith(("oldmail-", ".", "#")) and not name.endswith(BACKUPS)
    ]


def is_configuration(octets: bytes) -> bool:
    """Return whether a file in that folder is meant for getmail: it has a section for a server."""
    return re.search(rb"(?m)^[ \t]*\[retriever", octets) is not None


def read(file: str, octets: bytes, where: Where) -> Reading:
    """Return the account of a configuration file; raises Broken."""
    text = text_of(octets).replace("\r\n", "\n")
    parser = RawConfigParser()
    try:
        parser.read_string(text)
    except Error as error:
        errors = getattr(error, "errors", None)  # of the whole file
        line = errors[0][0] if errors else getattr(error, "lineno", None) or 0
        raise Broken(line, str(error).splitlines()[0]) from error
    source = _Source(file, parser, _lines(text), where)
    if not parser.has_option("retriever", "type"):
        raise Broken(0, "there is no type in a section [retriever]")
    kind = parser.get("retriever", "type")
    if "IMAP" in kind:
        text = f"type {kind}: pop3fetch does not fetch by IMAP; left out"
        return Reading((), (Finding(source.origin("retriever", "type"), text),))
    return Reading((_account(source, kind),), (Finding(Origin(file), _ADDS_NOTHING),))


_ADDS_NOTHING = "pop3fetch adds no Delivered-To and no Received field to the messages"


class _Source:
    """A configuration file with the lines of its options."""

    def __init__(
        self, file: str, parser: RawConfigParser, lines: Mapping[tuple[str, str], int], where: Where
    ) -> None:
        self.file = file
        self.where = where
        self._parser = parser
        self._lines = lines

    def section(self, name: str) -> Section:
        """Return the options of a section; DEFAULT has options for [options] only, as getmail6 reads it."""
        everything = dict(self._parser.items(name)) if self._parser.has_section(name) else {}
        own = {key: value for key, value in everything.items() if (name, key) in self._lines}
        return everything if name == "options" else own

    def names(self) -> list[str]:
        return self._parser.sections()

    def origin(self, section: str, key: str = "") -> Origin:
        line = self._lines.get((section, key)) or self._lines.get(("DEFAULT", key), 0)
        return Origin(self.file, line)

    def expanded(self, path: str) -> str:
        """Return a path without its variables, and with the home folder for ``~user``; ``~/`` stays."""
        variables = Template(path).safe_substitute(self.where.variables)
        return variables if variables.startswith("~/") else self.where.expand(variables)


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each section, and of each option in it: RawConfigParser does not keep them."""
    lines: dict[tuple[str, str], int] = {}
    section, indent = "", -1  # of the last option; a line that is indented further goes on with its value
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip()
        depth = len(line) - len(line.lstrip())
        if not words or words.startswith(("#", ";")) or depth > indent >= 0:
            continue
        if header := re.match(r"\[(.+)\]", words):
            section, indent = header[1], -1
            lines[section, ""] = number
        elif option := re.match(r"(.+?)\s*[=:]", words):
            indent = depth
            lines[section, option[1].lower()] = number
    return lines


def _account(source: _Source, kind: str) -> ForeignAccount:
    retriever, options = source.section("retriever"), source.section("options")
    draft = AccountDraft(_name(source.file, retriever), Origin(source.file))
    if not re.fullmatch("(Simple|BrokenUIDL)POP3(SSL)?Retriever", kind):
        text = f"type {kind}: pop3fetch delivers all messages of a mailbox to one place"
        draft.problem(source.origin("retriever", "type"), text)
    _way(draft, source, retriever, uses_tls="SSL" in kind)
    _passwords(draft, source, retriever)
    _options(draft, source, options)
    _destination(draft, source, "destination")
    for name in source.names():
        if name.startswith("filter"):
            what = source.section(name).get("type", "")
            draft.problem(source.origin(name), f"{name} ({what}): {NO_FILTERS}")
    fetched_list = None
    if not kind.startswith("Broken"):
        port = draft.settings.get("port", TLS_PORT if "SSL" in kind else PLAIN_PORT)
        parts = f"oldmail-{retriever.get('server', '')}-{port}-{retriever.get('username', '')}"
        # It is in the folder of getmail6, in which the file need not be.
        folders = (posixpath.dirname(source.file), *config_folders(source.where))
        path, *elsewhere = (posixpath.join(folder, PROBLEMATIC.sub("-", parts)) for folder in folders)
        fetched_list = FetchedList(path, fetched, elsewhere=tuple(elsewhere))
    return draft.finished(fetched=fetched_list, reuses=True)


def _name(file: str, retriever: Section) -> str:
    """Return a name for the account: that of its file, or of its mailbox if the file has the usual name."""
    name = posixpath.basename(file)
    if name != MAIN_FILE:
        return name
    user = retriever.get("username", "")
    return user if "@" in user else f"{user}@{retriever.get('server', '')}"


def _way(draft: AccountDraft, source: _Source, retriever: Section, *, uses_tls: bool) -> None:
    for key, value in retriever.items():
        origin = source.origin("retriever", key)
        if key in SAME:
            given: object = _number(value, origin) if key in NUMBERS else value
            draft.put(SAME[key], source.expanded(value) if key in FILES else given, origin)
        elif key == "ssl_fingerprints":
            pins = _strings(value, origin)
            if len(pins) == 1:
                draft.put("tls_fingerprint", pins[0], origin)
            else:
                draft.problem(origin, "ssl_fingerprints: pop3fetch trusts one fingerprint, tls_fingerprint")
        elif key == "ssl_version":
            draft.note(origin, f"ssl_version: {NEWER_TLS}")
        elif key == "delete_dup_msgids" and _flag(value, origin):
            draft.problem(origin, "delete_dup_msgids: pop3fetch does not delete what it has not fetched")
    kind = source.origin("retriever", "type")
    draft.put("tls", "implicit" if uses_tls else "auto", kind)
    if not uses_tls:
        draft.note(kind, f"type {retriever['type']}: {CLEAR_TEXT}")
    elif not retriever.keys() & {"ca_certs", "ssl_fingerprints"}:
        draft.note(kind, UNVERIFIED)


def _passwords(draft: AccountDraft, source: _Source, retriever: Section) -> None:
    for key, method in (("use_apop", "apop"), ("use_xoauth2", "xoauth2")):
        if key in retriever and _flag(retriever[key], source.origin("retriever", key)):
            draft.put("auth", method, source.origin("retriever", key))
    if retriever.get("password"):
        draft.secret = Secret(retriever["password"], source.origin("retriever", "password"))
    elif "password_command" in retriever:
        origin = source.origin("retriever", "password_command")
        command = _strings(retriever["password_command"], origin)
        draft.put("password_command", [source.expanded(word) for word in command], origin)


def _options(draft: AccountDraft, source: _Source, options: Section) -> None:
    for key, value in options.items():
        origin = source.origin("options", key)
        if key in LIMITS:
            if number := _number(value, origin):
                draft.put(LIMITS[key], number, origin)
        elif key == "delete" and _flag(value, origin):
            draft.put("delete", True, origin)
        elif key in NONE and value.lower() not in ("0", "false", "no", "off"):
            draft.problem(origin, f"{key}: {NONE[key]}")
        elif key in ("use_netrc", "netrc_file") and value.lower() not in ("false", "no", "off", "0"):
            draft.note(origin, f"{key}: pop3fetch looks into ~/.netrc if there is no other password")
        elif key == "message_log" and value:
            draft.note(origin, "message_log: see log_file in pop3fetch-config(5)")
    read_all = source.origin("options", "read_all")
    if draft.settings.get("delete"):
        draft.settings.pop("delete_after", None)
    elif _flag(options.get("read_all", "yes"), read_all):
        text = "getmail6 fetched all messages each time (read_all); pop3fetch fetches new ones only"
        draft.note(read_all, text)


# -- where the messages go -------------------------------------------------------------------


def _destination(draft: AccountDraft, source: _Source, name: str, *, is_inside: bool = False) -> None:
    section = source.section(name)
    kind, path = section.get("type", ""), section.get("path", "")
    origin = source.origin(name, "type" if "type" in section else "")
    if kind == "Maildir":
        draft.put("output", f"maildir:{_folder(source.expanded(path))}", source.origin(name, "path"))
    elif kind == "Mboxrd":
        draft.put("output", f"mbox:{source.expanded(path)}", source.origin(name, "path"))
        if section.get("locktype", "lockf") != "lockf":
            text = "locktype: pop3fetch locks an mbox with fcntl and a dot file"
            draft.problem(source.origin(name, "locktype"), text)
    elif kind == "MDA_external":
        _program(draft, source, name)
    elif kind == "MDA_lmtp":
        _lmtp(draft, source, name)
    elif kind == "MultiDestination" and not is_inside:
        _only_one(draft, source, name)
    else:
        draft.problem(origin, f"type {kind or '(none)'}: pop3fetch does not have this kind of destination")
    for key in section.keys() & {"user", "group"}:
        draft.problem(source.origin(name, key), f"{key}: getmail6 {LOST_TO_A_PROGRAM}")
    if section.get("filemode", "0600") not in ("0600", "600"):
        draft.problem(source.origin(name, "filemode"), "filemode: pop3fetch makes files with mode 0600")


def _folder(path: str) -> str:
    return path if path == "/" else path.rstrip("/")


def _lmtp(draft: AccountDraft, source: _Source, name: str) -> None:
    section = source.section(name)
    host = section.get("host", "")
    draft.put("output", f"lmtp://{host}:{section.get('port', LMTP_PORT)}", source.origin(name, "type"))
    if not is_local(host):
        draft.problem(source.origin(name, "host"), REMOTE.format(f"host {host}"))
    for key in section.keys() & {"override", "fallback"}:
        draft.problem(source.origin(name, key), f"{key}: see the destinations in pop3fetch-config(5)")


def _program(draft: AccountDraft, source: _Source, name: str) -> None:
    section = source.section(name)
    origin = source.origin(name, "path")
    arguments = _strings(section.get("arguments", "()"), source.origin(name, "arguments"))
    for word in arguments:
        if found := re.search(r"%\((sender|recipient|domain|local|mailbox)\)", word):
            text = f"arguments: pop3fetch has no counterpart of {found[0]}"
            draft.problem(source.origin(name, "arguments"), text)
    if _flag(section.get("unixfrom", "no"), source.origin(name, "unixfrom")):
        draft.problem(source.origin(name, "unixfrom"), "unixfrom: pop3fetch adds no From line")
    words = (section.get("path", ""), *arguments)
    # Unlike a path, a word of a command is taken as it is.
    draft.put("exec", [source.where.expand(source.expanded(word)) for word in words], origin)


def _only_one(draft: AccountDraft, source: _Source, name: str) -> None:
    """Put the destination that a list of destinations has, if there is one only."""
    origin = source.origin(name, "destinations")
    names = _strings(source.section(name).get("destinations", "()"), origin)
    if len(names) != 1:
        draft.problem(origin, f"destinations: pop3fetch delivers to one place, not to {len(names)}")
    elif re.fullmatch(r"\[.+\]", names[0]):
        _destination(draft, source, names[0][1:-1], is_inside=True)
    elif names[0].endswith("/"):
        draft.put("output", f"maildir:{_folder(source.expanded(names[0]))}", origin)
    else:
        draft.put("output", f"mbox:{source.expanded(names[0])}", origin)


# -- values ----------------------------------------------------------------------------------


def _number(value: str, origin: Origin) -> int:
    try:
        return int(value)
    except ValueError:
        raise Broken(origin.line, f"{value!r} is not a number") from None


def _flag(value: str, origin: Origin) -> bool:
    try:
        return BOOLEANS[value.lower()]
    except KeyError:
        raise Broken(origin.line, f"{value!r} is neither yes nor no") from None


def _strings(value: str, origin: Origin) -> list[str]:
    """Return the strings of a tuple, which is not evaluated; raises Broken."""
    try:
        items = ast.literal_eval(value or "()")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        items = None
    if not isinstance(items, tuple):  # the value may be, or contain, a secret
        text = 'the value must be a list of texts in quotes, such as ("a", "b"); it is not evaluated'
        raise Broken(origin.line, text)
    return list(map(str, items))


# -- its list --------------------------------------------------------------------------------


def fetched(octets: bytes) -> list[Fetched]:
    """Return what is listed: a UID, NUL and the time of the fetch on each line; others are ignored."""
    parts = (line.strip().partition(b"\0") for _, line in lines_of(octets))
    return [Fetched(uid, int(at[:12])) for uid, nul, at in parts if nul and at.isdigit()]
