"""The configuration of fdm, and its lists of fetched messages. Pure.

Rules that look at a message have no counterpart: an account is delivered to one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pop3fetch.account import netrc
from pop3fetch.account.secret import text_of
from pop3fetch.importing.fdm_statements import Account, Part, Statements
from pop3fetch.importing.fdm_words import Word, Words, loader
from pop3fetch.importing.foreign import (
    CLEAR_TEXT,
    NEWER_TLS,
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
    shell,
)

SERVICES = {"pop3": 110, "pop3s": 995}
_UNITS = {
    **dict.fromkeys(("B", "b", "byte", "bytes"), 1),
    **dict.fromkeys(("K", "KB", "k", "kb", "kilobyte", "kilobytes"), 1 << 10),
    **dict.fromkeys(("M", "MB", "m", "mb", "megabyte", "megabytes"), 1 << 20),
    **dict.fromkeys(("G", "GB", "g", "gb", "gigabyte", "gigabytes"), 1 << 30),
}
_TIMES = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_PORTS = {"socks": 1080, "http": 80}
_TAGS = {"h": "home", "u": "user", "a": "account"}

# Settings that pop3fetch has no counterpart for, and that change what is fetched, deleted or delivered.
NONE = {
    "delete-oversized": "pop3fetch does not delete messages unread; max_size skips large ones",
    "default-user": "fdm delivers as another user; run pop3fetch as that user",
    "command-user": "fdm runs programs as another user; run pop3fetch as that user",
    "file-group": "pop3fetch leaves the group of new files to the system",
}


def config_files(where: Where) -> list[str]:
    """Return the possible files, of which the first that exists counts."""
    return [where.expand("~/.fdm.conf"), "/etc/fdm.conf"]


def read(file: str, octets: bytes, where: Where) -> Reading:
    """Return the accounts of a configuration file; raises Broken."""
    statements = Statements(Words(file, octets, loader(file, where.load)), where)
    statements.parse()
    findings = list(_global_findings(statements))
    accounts: list[ForeignAccount] = []
    for account in statements.accounts:
        if account.kind not in ("pop3", "pop3s"):
            text = f"{account.name}: pop3fetch does not fetch from {account.kind}; left out"
            findings.append(Finding(account.origin, text))
        elif "disabled" in account.flags:
            text = f"{account.name}: disabled: it is fetched only if it is named; left out"
            findings.append(Finding(account.flags["disabled"], text))
        else:
            accounts.append(_account(account, statements))
    if accounts:
        text = "pop3fetch adds no Received field to the messages"
        findings.append(Finding(Origin(file), text))
    lock = "/var/db/fdm.lock" if where.user == "root" else where.expand("~/.fdm.lock")
    if lock_file := statements.settings.get("lock-file"):
        lock = (_path(lock_file.values[0], where, None) if lock_file.values else None) or lock
    is_shared = "allow-multiple" in statements.settings
    return Reading(tuple(accounts), tuple(findings), None if is_shared else lock)


def _global_findings(statements: Statements) -> Iterator[Finding]:
    for key, reason in NONE.items():
        setting = statements.settings.get(key)
        is_us = setting is not None and [word.text for word in setting.values] == [statements.where.user]
        if setting is not None and not is_us:
            yield Finding(setting.origin, f"{key}: {reason}", affects=True)
    unmatched = statements.settings.get("unmatched-mail")
    if unmatched and "drop" in unmatched.words:
        text = "unmatched-mail drop: pop3fetch delivers every message"
        yield Finding(unmatched.origin, text, affects=True)
    uses_tls = [each for each in statements.accounts if each.kind == "pop3s" or "starttls" in each.flags]
    if "verify-certificates" not in statements.settings and uses_tls:
        yield Finding(uses_tls[0].origin, UNVERIFIED)


# -- an account ------------------------------------------------------------------------------


def _account(account: Account, statements: Statements) -> ForeignAccount:
    draft = AccountDraft(account.name, account.origin)
    for key, word in account.values.items():
        if word.kind in ("command", "unknown") and (key, word.kind) != ("pass", "command"):
            draft.problem(word.origin, f"{key}: its command is not run; write what it prints into the file")
    _way(draft, account)
    _login(draft, account, statements.where)
    _settings(draft, statements)
    for flag, text in (
        ("users", "users: fdm delivers as another user; run pop3fetch as that user"),
        ("old-only", "old-only: pop3fetch fetches new messages"),
    ):
        if flag in account.flags:
            draft.problem(account.flags[flag], text)
    if "keep" not in account.flags:
        draft.put("delete", True, account.origin)
    _delivery(draft, account, statements)
    fetched_list = None
    if "new-only" in account.flags and "cache" in account.values and "no-uidl" not in account.flags:
        path = _path(account.values["cache"], statements.where, account.name)
        if path is None:
            draft.problem(account.values["cache"].origin, "cache: its path changes; give it with --list")
        else:
            fetched_list = FetchedList(path, fetched, has_time_of_file=True)
    elif "keep" in account.flags and "old-only" not in account.flags:
        text = "without new-only, all messages were fetched each time; pop3fetch fetches new ones only"
        draft.note(account.origin, text)
    return draft.finished(fetched=fetched_list, kept="delete" in draft.settings, reuses=True)


def _way(draft: AccountDraft, account: Account) -> None:
    if pipe := account.values.get("pipe"):
        draft.put("host", account.name, account.origin)
        draft.put("tunnel_command", shell(pipe.text), pipe.origin)
        draft.put("tls", "off", account.origin)
        return
    if server := account.values.get("server"):
        draft.put("host", server.text, server.origin)
    if port := account.values.get("port"):
        number = int(port.text) if port.text.isdigit() else SERVICES.get(port.text)
        if number is None:
            draft.problem(port.origin, f"port {port.text!r}: write its number")
        else:
            draft.put("port", number, port.origin)
    if account.kind == "pop3s":
        draft.put("tls", "implicit", account.origin)
    elif "starttls" in account.flags:
        draft.put("tls", "starttls", account.origin)
    else:
        draft.put("tls", "auto", account.origin)
        draft.note(account.origin, f"pop3 without starttls: {CLEAR_TEXT}")
    if "insecure" in account.flags:
        draft.note(account.flags["insecure"], f"insecure: {NEWER_TLS}")


def _login(draft: AccountDraft, account: Account, where: Where) -> None:
    user, password = account.values.get("user"), account.values.get("pass")
    if user:
        draft.put("user", user.text, user.origin)
    elif login := _login_in_netrc(str(draft.settings.get("host", "")), where):
        draft.put("user", login, account.origin)
    else:
        draft.problem(account.origin, "the user is missing, and ~/.netrc has none for the host")
    if password and password.kind == "command":
        draft.put("password_command", shell(password.text), password.origin)
    elif password and password.kind == "text":
        draft.secret = Secret(password.text, password.origin)
    if "no-apop" in account.flags:
        draft.put("auth", "user", account.flags["no-apop"])


def _login_in_netrc(host: str, where: Where) -> str | None:
    try:
        entries = list(netrc.entries(text_of(where.load(where.expand("~/.netrc")))))
    except (OSError, ValueError):
        return None
    return next((entry.login for entry in entries if entry.login and entry.machine in (host, None)), None)


def _settings(draft: AccountDraft, statements: Statements) -> None:
    if size := statements.settings.get("maximum-size"):
        draft.put("max_size", _quantity(size, _UNITS), size.origin)
    if timeout := statements.settings.get("timeout"):
        units = {**_TIMES, **{f"{unit}s": seconds for unit, seconds in _TIMES.items()}}
        draft.put("timeout", _quantity(timeout, units), timeout.origin)
    if (proxy := statements.settings.get("proxy")) and proxy.values:
        scheme, _, rest = proxy.values[0].text.partition("://")
        host = rest.rstrip("/")
        port = "" if re.search(r":[0-9]+\Z", host) else f":{_PORTS.get(scheme, 1080)}"
        draft.put("proxy", f"{scheme.replace('socks', 'socks5')}://{host}{port}", proxy.origin)


def _quantity(setting: Part, units: dict[str, int]) -> int:
    unit = next((units[word] for word in setting.words if word in units), 1)
    if not setting.values or not setting.values[0].text.isdigit():
        raise Broken(setting.origin.line, f"{setting.kind} needs a number", setting.origin.file)
    return int(setting.values[0].text) * unit


# -- where the messages go -------------------------------------------------------------------


def _delivery(draft: AccountDraft, account: Account, statements: Statements) -> None:
    """Put the destination of the first rule that applies whatever the message is."""
    for rule in statements.rules:
        if not rule.applies_to(account.name):
            continue
        if rule.looks:
            text = "this rule depends on the message; pop3fetch delivers all of an account to one place"
            draft.problem(rule.origin, f"match: {text}")
            continue
        if rule.continues:
            draft.problem(rule.origin, "continue: pop3fetch delivers a message once")
        action = statements.action_of(rule)
        if action.acts_as_users:
            draft.problem(rule.origin, "users: fdm delivers as another user; run pop3fetch as that user")
        parts = action.parts
        if len(parts) == 1:
            _target(draft, parts[0], account, statements.where)
            return
        draft.problem(rule.origin, f"pop3fetch does one thing with a message, and not {len(parts)}")
        if not rule.continues:
            return
    if not draft.settings.keys() & {"output", "exec"}:
        draft.problem(account.origin, "no rule delivers all messages to one maildir, mbox or program")


def _target(draft: AccountDraft, part: Part, account: Account, where: Where) -> None:
    value = part.values[0] if part.values else None
    if part.kind not in ("maildir", "mbox", "pipe") or value is None:
        text = f"action {part.kind}: pop3fetch delivers to a maildir, an mbox or a program"
        draft.problem(part.origin, text)
        return
    if "compress" in part.words:
        draft.problem(part.origin, "compress: pop3fetch writes plain mboxes")
    if part.kind == "mbox":
        draft.note(part.origin, "mbox: pop3fetch locks it with fcntl and a dot file, not with flock")
    target = _path(value, where, account.name, is_command=part.kind == "pipe")
    if target is None:
        text = f"{part.kind}: pop3fetch has no tags that depend on the message or the time"
        draft.problem(value.origin, text)
    elif part.kind == "pipe":
        draft.put("exec", shell(target), value.origin)
    else:
        draft.put("output", f"{part.kind}:{target}", value.origin)


_TAG = re.compile(r"%(?:\[([^\]]*)\]|(.))", re.DOTALL)


def _path(value: Word, where: Where, account: str | None, *, is_command: bool = False) -> str | None:
    """Return a path or a command without its tags, or None if they depend on the message."""
    known = {
        "home": where.expand("~"),
        "user": where.user,
        "account": account or "",
    }
    if value.kind != "text":
        return None
    pieces: list[str] = []
    end = 0
    for tag in _TAG.finditer(value.text):
        replacement = "%" if tag[2] == "%" else known.get(tag[1] or _TAGS.get(tag[2], ""))
        if not replacement:
            return None
        pieces += [value.text[end : tag.start()], replacement]
        end = tag.end()
    text = "".join([*pieces, value.text[end:]])
    return text if is_command else where.expand(text)


# -- its list --------------------------------------------------------------------------------


def fetched(octets: bytes) -> list[Fetched]:
    """Return what is listed: the length of a UID, a blank, the UID, and white space; raises Broken."""
    found: list[Fetched] = []
    at = 0
    for number in range(1, octets.count(b" ") + 2):
        entry = _ENTRY.match(octets, at)
        if entry is None:
            break
        end = entry.end() + int(entry[1])
        if end > len(octets) or (octets[end : end + 1] or b"\n") not in b" \t\r\n":
            raise Broken(number, "a unique-id is not as long as the number before it")
        found.append(Fetched(octets[entry.end() : end]))
        at = end
    if octets[at:].strip():
        raise Broken(len(found) + 1, "not a length and a unique-id")
    return found


_ENTRY = re.compile(rb"\s*([0-9]{1,4}) ")
