"""The configuration of mpop, and its lists of fetched messages. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pop3fetch.account.secret import text_of
from pop3fetch.defaults import AUTH_METHODS
from pop3fetch.importing.foreign import (
    CLEAR_TEXT,
    NO_FILTERS,
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
    lines_of,
    shell,
)
from pop3fetch.values import NamedTuple

BLANKS = " \t\r\f\v"
LIST = "~/.mpop_uidls/%U_at_%H"
DEFAULT = "default"
DAY_HOURS = 24
SOCKS_PORT = "1080"
KILO = 1024
TIMES_SINCE = (1, 4, 23)  # the first version that lists when a message was fetched

# Commands whose values pop3fetch takes as they are, by the name of its setting.
SAME = {
    "host": "host",
    "user": "user",
    "tls_cert_file": "client_cert",
    "tls_key_file": "client_key",
    "tls_host_override": "tls_name",
}
NUMBERS = ("port", "timeout")
SWITCHES = ("only_new", "pipelining", "received_header", "tls", "tls_certcheck", "tls_starttls")
# Commands that pop3fetch has no counterpart for. All of them change what is fetched, or how safely.
NONE = {
    "filter": NO_FILTERS,
    "killsize": "pop3fetch does not delete messages unread; max_size skips large ones",
    "ntlmdomain": "pop3fetch has no NTLM",
    "source_ip": "pop3fetch leaves the choice of the local address to the system",
    "tls_crl_file": "pop3fetch reads no lists of revoked certificates",
    "tls_min_dh_prime_bits": "pop3fetch leaves that to OpenSSL",
    "tls_priorities": "pop3fetch has no such list; tls_ciphers takes one of OpenSSL",
}
KNOWN = {
    *SAME, *NUMBERS, *SWITCHES, *NONE, "auth", "delivery", "eval", "keep", "password", "passwordeval",
    "proxy_host", "proxy_port", "skipsize", "socket", "tls_fingerprint", "tls_trust_file", "uidls_file",
}  # fmt: skip


class Given(NamedTuple):
    """The argument of a command, and its line."""

    argument: str
    line: int

    @property
    def is_on(self) -> bool:
        """Whether a switch is on; without an argument it is."""
        return self.argument in ("", "on")

    @property
    def is_off(self) -> bool:
        """Whether a switch, or a limit, is off."""
        return self.argument == "off"


Commands = dict[str, Given]


class Section(NamedTuple):
    """An account as it is written: its commands, copies included, over the defaults of its place."""

    name: str
    line: int
    defaults: Mapping[str, Given]
    commands: Commands
    copied: tuple[str, ...]
    own: set[str]  # the commands that are written below its line


def config_files(where: Where) -> list[str]:
    """Return the possible files, of which the first that exists counts."""
    folder = where.variables.get("XDG_CONFIG_HOME") or where.expand("~/.config")
    return [where.expand("~/.mpoprc"), f"{folder}/mpop/config"]


def read(file: str, octets: bytes, where: Where) -> Reading:
    """Return the accounts of a configuration file; raises Broken."""
    findings: list[Finding] = []
    sections = list(_sections(text_of(octets), file, findings))
    default = next((section for section in sections if section.name == DEFAULT), None)
    # Without commands of its own it is another name of the account that it copies.
    alias = default.copied[-1] if default and default.copied and not default.own else None
    accounts = tuple(
        _account(section, file, where, is_default=section.name == (alias or DEFAULT))
        for section in sections
        if not (alias and section.name == DEFAULT)
    )
    received = [{**section.defaults, **section.commands}.get("received_header") for section in sections]
    if any(given is None or not given.is_off for given in received):
        findings.append(Finding(Origin(file), "pop3fetch adds no Received field to the messages"))
    return Reading(accounts, tuple(findings))


# -- the file --------------------------------------------------------------------------------


def _sections(text: str, file: str, findings: list[Finding]) -> Iterator[Section]:
    sections: dict[str, Section] = {}
    defaults: Commands = {}
    current: Section | None = None
    is_begun = False
    for line, command, argument in _commands(text):
        if command == "defaults":
            current, is_begun = None, True
        elif command == "account":
            name, copied = _head(argument, line, sections)
            commands = {key: given for each in copied for key, given in sections[each].commands.items()}
            current = sections[name] = Section(name, line, dict(defaults), commands, copied, set())
            is_begun = True
        elif not is_begun:
            raise Broken(line, "the first command must be account or defaults")
        elif command not in KNOWN:
            account = current.name if current else None
            shown = "pass…" if command.lower().startswith("pass") else command  # the blank may be missing
            findings.append(Finding(Origin(file, line), f"mpop has no command {shown}", True, account))
        elif current is None:
            defaults[command] = Given(argument, line)
        else:
            current.commands[command] = Given(argument, line)
            current.own.add(command)
    yield from sections.values()


def _commands(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, command and argument."""
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip(BLANKS)
        if not words or words.startswith("#"):
            continue
        command, *rest = re.split(f"[{BLANKS}]+", words, maxsplit=1)
        yield number, command, _unquoted("".join(rest))


def _unquoted(text: str) -> str:
    """Return a text without one pair of outer quotes; others belong to it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _head(argument: str, line: int, known: Mapping[str, Section]) -> tuple[str, tuple[str, ...]]:
    """Return the name of an account, and those that it copies; raises Broken."""
    name, copies, others = argument.partition(":")
    name = name.strip(BLANKS)
    copied = tuple(each.strip(BLANKS) for each in others.split(",")) if copies else ()
    if not name or "," in name:
        raise Broken(line, "account needs a name")
    if name in known:
        raise Broken(line, f"account {name} is defined twice")
    for each in copied:
        if each not in known:
            raise Broken(line, f"no account is named {each!r}")
    return name, copied


# -- an account ------------------------------------------------------------------------------


def _account(section: Section, file: str, where: Where, *, is_default: bool) -> ForeignAccount:
    draft = AccountDraft(section.name, Origin(file, section.line))
    commands = {**section.defaults, **section.commands}
    for command, given in commands.items():
        _put(draft, command, given)
    for group in (_login, _tls, _way, _keep):
        group(draft, commands)
    for needed in ("host", "delivery"):
        if needed not in commands and not (needed == "host" and "socket" in commands):
            draft.problem(draft.origin, f"{needed} is missing")
    fetched = _list(commands, where)
    return draft.finished(fetched=fetched, is_default=is_default)


def _put(draft: AccountDraft, command: str, given: Given) -> None:
    """Put what a command means alone; raises Broken."""
    origin = Origin(draft.origin.file, given.line)
    if command == "only_new" and given.is_off:
        text = "only_new off: mpop fetched all messages each time; pop3fetch fetches new ones only"
        draft.problem(origin, text)
    elif command in SWITCHES:
        if not (given.is_on or given.is_off or (command, given.argument) == ("pipelining", "auto")):
            raise Broken(given.line, f"{command} must be on or off, not {given.argument!r}")
    elif command == "eval":
        draft.problem(origin, "eval: its command is not run; write what it prints into the file")
    elif not given.argument:
        return
    elif command in _SPECIAL:
        _SPECIAL[command](draft, given, origin)
    elif command in SAME:
        draft.put(SAME[command], given.argument, origin)
    elif command in NUMBERS:
        draft.put(command, 0 if given.is_off else _number(given), origin)
    elif command in NONE and not given.is_off:
        draft.problem(origin, f"{command}: {NONE[command]}")


def _number(given: Given) -> int:
    if not re.fullmatch("[0-9]{1,9}", given.argument):
        raise Broken(given.line, f"{given.argument!r} is not a number")
    return int(given.argument)


def _delivery(draft: AccountDraft, given: Given, origin: Origin) -> None:
    method, _, target = re.sub(f"[{BLANKS}]+", " ", given.argument, count=1).partition(" ")
    target = _unquoted(target)
    if method in ("maildir", "mbox") and target:
        draft.put("output", f"{method}:{target}", origin)
    elif method == "mda" and target:
        if "%F" in target:
            draft.problem(origin, "delivery mda: pop3fetch has no counterpart of %F, the sender's address")
        draft.put("exec", shell(target), origin)
    else:
        draft.problem(origin, f"delivery {method}: pop3fetch does not have this kind of delivery")


def _skipsize(draft: AccountDraft, given: Given, origin: Origin) -> None:
    if given.is_off:
        return
    size = re.fullmatch("([0-9]{1,12})([km]?)", given.argument)
    if size is None:
        raise Broken(given.line, f"{given.argument!r} is not a size")
    octets = int(size[1]) * {"": 1, "k": KILO, "m": KILO * KILO}[size[2]]
    if octets > 1:
        draft.put("max_size", octets - 1, origin)  # mpop skips a message of exactly this size
    else:
        draft.problem(origin, "skipsize: this would skip every message")


def _fingerprint(draft: AccountDraft, given: Given, origin: Origin) -> None:
    if len(given.argument.replace(":", "")) == 64:
        draft.put("tls_fingerprint", given.argument, origin)
    else:
        text = "tls_fingerprint: only a SHA-256 fingerprint can be trusted; take that of the certificate"
        draft.problem(origin, text)


_SPECIAL: Mapping[str, Callable[[AccountDraft, Given, Origin], None]] = {
    "delivery": _delivery,
    "skipsize": _skipsize,
    "tls_fingerprint": _fingerprint,
}


def _login(draft: AccountDraft, commands: Commands) -> None:
    file = draft.origin.file
    auth = commands.get("auth", Given("on", 0))
    method = auth.argument.removesuffix("-plus")
    if method in AUTH_METHODS:
        draft.put("auth", method, Origin(file, auth.line))
    elif not auth.is_on:
        text = f"auth {auth.argument}: pop3fetch does not have this method"
        draft.problem(Origin(file, auth.line), text)
    if (password := commands.get("password")) and password.argument:
        draft.secret = Secret(password.argument, Origin(file, password.line))
    elif (command := commands.get("passwordeval")) and command.argument:
        draft.put("password_command", shell(command.argument), Origin(file, command.line))


def _tls(draft: AccountDraft, commands: Commands) -> None:
    file = draft.origin.file
    tls = commands.get("tls", Given("off", draft.origin.line))
    starttls = commands.get("tls_starttls", Given("on", tls.line))
    origin = Origin(file, tls.line)
    if tls.is_off:
        draft.put("tls", "off", origin)
        if "socket" not in commands:
            draft.note(origin, f"tls off: {CLEAR_TEXT}")
        return
    draft.put("tls", "starttls" if starttls.is_on else "implicit", origin)
    trust, check = commands.get("tls_trust_file"), commands.get("tls_certcheck")
    if trust and trust.argument not in ("", "system"):
        draft.put("ca_file", trust.argument, Origin(file, trust.line))
    if "tls_fingerprint" not in commands:
        unverified = check if check and check.is_off else trust if trust and not trust.argument else None
        if unverified:
            draft.note(Origin(file, unverified.line), UNVERIFIED)
    for key in ("tls_cert_file", "tls_key_file"):
        given = commands.get(key)
        if given and given.argument.startswith("pkcs11:"):
            draft.problem(Origin(file, given.line), f"{key}: pop3fetch reads certificates from files only")


def _way(draft: AccountDraft, commands: Commands) -> None:
    """Put the way to the server."""
    file = draft.origin.file
    if (socket := commands.get("socket")) and socket.argument:
        draft.put("host", f"unix:{socket.argument}", Origin(file, socket.line))
    if (proxy := commands.get("proxy_host")) and proxy.argument:
        port = commands.get("proxy_port", Given(SOCKS_PORT, 0)).argument or SOCKS_PORT
        draft.put("proxy", f"socks5://{proxy.argument}:{port}", Origin(file, proxy.line))
    if (pipelining := commands.get("pipelining")) and pipelining.is_off:
        draft.put("pipelining", False, Origin(file, pipelining.line))


def _keep(draft: AccountDraft, commands: Commands) -> None:
    keep = commands.get("keep", Given("off", draft.origin.line))
    origin = Origin(draft.origin.file, keep.line)
    days = re.fullmatch("([0-9]{1,6})([dh])", keep.argument)
    if keep.is_off:
        draft.put("delete", True, origin)  # without keep
    elif days:
        hours = int(days[1]) * (DAY_HOURS if days[2] == "d" else 1)
        draft.put("delete_after", -(-hours // DAY_HOURS), origin)
    elif not keep.is_on:
        raise Broken(keep.line, f"keep must be on, off or a time such as 30d, not {keep.argument!r}")


# -- its list --------------------------------------------------------------------------------


def _list(commands: Commands, where: Where) -> FetchedList | None:
    host = commands.get("socket") or commands.get("host")
    user = commands.get("user")
    if host is None or user is None:
        return None
    path = commands.get("uidls_file", Given(LIST, 0)).argument or LIST
    path = path.replace("%U", user.argument).replace("%H", host.argument)
    reader = partial(
        fetched,
        host=host.argument.encode("utf-8", "surrogateescape"),
        user=user.argument.encode("utf-8", "surrogateescape"),
    )
    return FetchedList(where.expand(path), reader, is_locked=True)


def fetched(octets: bytes, *, host: bytes, user: bytes) -> list[Fetched]:
    """Return what a list has of an account; raises Broken.

    A line that begins with a blank begins a section: count, host and user. Lines with # are comments before
    the first section only: after it they are UIDs.
    """
    lines = list(lines_of(octets))
    first = next((number for number, line in lines if not line.startswith(b"#")), len(lines) + 1)
    uids: list[bytes] = []
    left, is_ours = 0, False
    everything: list[bytes] = []
    for number, line in lines[first - 1 :]:
        if line.startswith(b" "):
            if left:
                raise Broken(number, f"the list before this line lacks {left} unique-ids")
            left, is_ours = _section(line, number, host, user)
        elif not left:
            raise Broken(number, "a unique-id without a list")
        else:
            left -= 1
            everything.append(line)
            if is_ours:
                uids.append(line)
    if left:
        raise Broken(len(lines), f"the list ends too early: it lacks {left} unique-ids")
    version = re.search(rb"mpop version ([0-9]+)\.([0-9]+)\.([0-9]+)", lines[0][1] if lines else b"")
    if version:
        has_times = tuple(map(int, version.groups())) >= TIMES_SINCE
    else:
        has_times = all(map(_TIMED.fullmatch, everything))
    timed = [_TIMED.fullmatch(uid) if has_times else None for uid in uids]
    return [
        Fetched(match[1], int(match[2])) if match else Fetched(uid)
        for uid, match in zip(uids, timed, strict=True)
    ]


_TIMED = re.compile(rb"(.+) ([0-9]{1,12})", re.DOTALL)


def _section(line: bytes, number: int, host: bytes, user: bytes) -> tuple[int, bool]:
    """Return how many UIDs follow, and whether they are of ``user`` at ``host``."""
    words = line[1:].split(b" ", 2)
    if len(words) < 3 or not words[0].isdigit() or len(words[0]) > 9:
        raise Broken(number, "not a count, a host and a user")
    # The user may have blanks in it.
    return int(words[0]), words[1:] == [host, user]
