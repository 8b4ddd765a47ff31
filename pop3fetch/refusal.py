"""Whether a command that the server refused (-ERR) may succeed later: by response code, else by text."""

from __future__ import annotations

# RFC 2449 section 8, RFC 3206: whether a command refused with this code may succeed later.
_CODES = {
    b"IN-USE": True,
    b"LOGIN-DELAY": True,
    b"SYS/TEMP": True,
    b"SYS/PERM": False,
    b"AUTH": False,
}


def code_means_later(code: bytes | None) -> bool | None:
    """Return whether the command may succeed later, None if the code does not decide that.

    Codes are hierarchical and case does not count: ``SYS/TEMP/x`` is read as ``SYS/TEMP``
    (RFC 3206 section 3).
    """
    levels = (code or b"").upper().split(b"/")
    prefixes = (b"/".join(levels[:depth]) for depth in range(len(levels), 0, -1))
    return next((_CODES[prefix] for prefix in prefixes if prefix in _CODES), None)


# The text of servers without response codes if the mailbox is in use, or the server is busy. "Locked"
# counts for a mailbox only: a locked account does not open by itself.
_MAILBOX = r"(?:mail ?boxe?s?|mail ?drops?|mail ?files?|mail ?spools?|spools?|inbox|folders?)"
_SESSION = r"(?:connections?|sessions?|clients?|logins?|users?|processes)"
_LATER_WORDS = (
    rf"\b{_MAILBOX}\b[^;]{{0,80}}\b(?:lock|locked|in use|busy|being used)\b",
    rf"\b(?:lock|locked|locking)\b[^.;]{{0,40}}\b{_MAILBOX}\b",
    r"\A(?:\[[^]]*\])?\W*(?:is )?(?:already )?(?:locked|busy|in use)\W*\Z",
    r"\block (?:is )?(?:busy|held|taken)\b",
    r"\b(?:in use|locked|open(?:ed)?) by (?:another|an other|some other)\b",
    r"\b(?:another|other) (?:pop3? )?(?:session|process|client|connection)\b[^.;]{0,30}"
    r"\b(?:active|running|open|using)\b",
    r"\b(?:re)?try(?: it)?(?: again)? (?:(?:a bit|a little|some ?what|much) )?later\b",
    r"\b(?:re)?try(?: it)?(?: again)? (?:in|after) (?:a|an|some|few|[0-9]+)\b",
    r"\b(?:come|call|connect|log ?in) (?:back |again )+later\b",
    r"\btemporar(?:il)?y (?:authentication |system |internal |server |local |lookup |dns )*"
    r"(?:failures?|errors?|problems?|trouble|unavailable|out of service|busy|overloaded)\b",
    rf"\btoo many (?:[a-z0-9/]+ ){{0,3}}{_SESSION}\b(?! (?:fail|attempt|error))",
    rf"\bmaximum (?:number of )?(?:[a-z0-9/]+ ){{0,3}}{_SESSION}\b",
    r"\b(?:server|system|service) (?:is )?(?:currently )?(?:too )?(?:busy|overloaded|unavailable)\b",
)
# Words about the user: with one of them a refusal may be final.
_BLAME = (
    r"passw|passphrase|credential|authenticat|authoriz|log(?:i|-i| i)n (?:failed|incorrect|invalid|denied)"
    r"|invalid|incorrect|wrong|denied|disabled|suspended|blocked|banned|expired|not allowed|no such|unknown"
    r"|fail(?:ed|ures?)|attempts?|(?:account|user|username|address) (?:is |has been |was )?(?:\w+ )?locked"
)


def means_later(text: bytes) -> bool:
    """Return whether the text of an -ERR means only: try again later."""
    import re

    words = " ".join(text.decode("ascii", "replace").lower().split())
    rest = words
    for pattern in _LATER_WORDS:
        rest = re.sub(pattern, " ", rest)
    return rest != words and not re.search(_BLAME, rest)
