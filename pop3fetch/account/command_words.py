"""A command as a user writes it: its words, and no syntax that only a shell understands."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Sequence

OPERATORS = ("|", "||", "|&", "&&", ";", ";;", "&")
SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "fish")
SHELL_LINE = "sh -c '…'"
RAW_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)
REDIRECTION = re.compile(r"(?:[0-9]*|&)(?:<|>)[<>&|]*")
RUNS_SCRIPT = re.compile(r"-[A-Za-z]*c[A-Za-z]*")


def words_of(command: str | tuple[str, ...], key: str) -> tuple[str, ...]:
    """Return the words of a command, which may already be split; raises ValueError.

    ``key`` is its name in the file, and ``--key`` is the option.
    """
    try:
        words = tuple(shlex.split(command)) if isinstance(command, str) else command
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {error}") from None
    if not words or not words[0]:
        raise ValueError("must name a program")
    if any("\0" in word for word in words):
        raise ValueError("must not contain NULs")
    found = _shell_syntax(RAW_WORD.findall(command) if isinstance(command, str) else words, words)
    if found is not None:
        option = f"--{key.replace('_', '-')}"
        raise ValueError(f'contains {found}, which only a shell understands; use {option} "{SHELL_LINE}"')
    return words


def _shell_syntax(raw: Sequence[str], words: Sequence[str]) -> str | None:
    """Return the first part of a command that only a shell understands, or None.

    ``raw``: the words with their quotes, which make an operator an ordinary word; an array has no quotes. The
    script after -c of a shell may contain anything.
    """
    scripts = _scripts(words)
    for place, word in enumerate(words):
        unquoted = raw[place] if len(raw) == len(words) else word
        if place in scripts:
            continue
        if unquoted in OPERATORS:
            return unquoted
        if redirection := REDIRECTION.match(unquoted):
            return redirection[0]
        if unquoted.endswith(";") and not unquoted.endswith("\\;"):
            return ";"
        if "$(" in word or "`" in word:
            return "$(" if "$(" in word else "`"
    return None


def _scripts(words: Sequence[str]) -> set[int]:
    """Return the places of the scripts in ``sh -c SCRIPT``, also after ``env`` and the like."""
    found = set()
    for place, word in enumerate(words):
        if os.path.basename(word) not in SHELLS:
            continue
        option = place + 1
        while option < len(words) and words[option].startswith("-"):
            if RUNS_SCRIPT.fullmatch(words[option]):
                found.add(option + 1)
                break
            option += 1
    return found
