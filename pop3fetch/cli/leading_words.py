"""A command line that does not begin with a command: options first, or a word that is not ours.

Options may come before the command: they are moved behind it. The verbs of other programs are recognised,
and the error says what to write instead. Only such command lines import this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import click

from pop3fetch.defaults import did_you_mean
from pop3fetch.errors import UsageError

# Verbs of mpop, fetchmail, getmail, mail(1), git and IMAP clients, by what does the same here.
INSTEAD = {
    "write `pop3fetch get`": ("collect", "download", "fetch", "pull", "receive", "recv", "retr", "retrieve"),
    "write `pop3fetch rm`": ("del", "dele", "delete", "erase", "expunge", "purge", "remove"),
    "write `pop3fetch list`": ("dir", "index", "ls", "messages", "uidl"),
    "write `pop3fetch stat`": ("count", "size", "status"),
    "write `pop3fetch caps`": ("capa", "capabilities", "info", "serverinfo"),
    "write `pop3fetch login`": ("auth", "authenticate", "passwd", "password", "signin"),
    "write `pop3fetch logout`": ("signout",),
    "write `pop3fetch import`": ("convert", "migrate"),
    "`pop3fetch get -o - 3` prints message 3, and `pop3fetch list -l` lists all messages": (
        "cat", "head", "open", "print", "read", "show", "top", "view",
    ),
    "`pop3fetch login alice@example.org` sets up an account, `pop3fetch accounts -v` shows all; the file is "
    "described in pop3fetch-config(5)": (
        "account", "add", "config", "configure", "edit", "init", "settings", "setup",
    ),
}  # fmt: skip


def in_order(words: Sequence[str], group: click.Group) -> list[str]:
    """Return the words with the command first; raises UsageError or click.UsageError."""
    word, *others = words
    commands = group.list_commands(click.Context(group))
    if word in commands:
        return list(words)
    if word == "help":
        named = [other for other in others if not other.startswith("-")]
        return [*in_order(named, group), "--help"] if named else ["--help"]
    if word == "version":
        return ["--version"]
    if not word.startswith("-"):
        raise UsageError(_unknown(word, commands))
    options = click.Command("pop3fetch", params=[*leading_options(group), *group.params])
    context = click.Context(options, info_name="pop3fetch", allow_interspersed_args=False)
    given, rest, _ = options.make_parser(context).parse_args(list(words))
    if rest:
        name, *others = in_order(rest, group)
        if name.startswith("-"):
            return [name]
        end = 1 if others and others[0] in _commands_of(name) else 0
        return [name, *others[:end], *words[: len(words) - len(rest)], *others[end:]]
    for wanted in ("version", "help_all", "help"):
        if wanted in given:
            return [f"--{wanted.replace('_', '-')}"]
    raise click.UsageError("the command is missing", context)


def leading_options(group: click.Group) -> Iterator[click.Option]:
    """Yield the options of all commands: a spelling takes a value in all of them, or in none."""
    seen = {spelling for option in group.params for spelling in option.opts}
    for name in group.list_commands(click.Context(group)):
        for command in (_command(name), *_commands_of(name).values()):
            for option in command.params:
                spellings = {*option.opts, *option.secondary_opts}
                if isinstance(option, click.Option) and not spellings & seen:
                    seen |= spellings
                    yield option


def _command(name: str) -> click.Command:
    command: click.Command = import_module(f"pop3fetch.cli.commands.{name}").command
    return command


def _commands_of(name: str) -> Mapping[str, click.Command]:
    """Return the commands that a command has, by name."""
    command = _command(name)
    return command.commands if isinstance(command, click.Group) else {}


def _unknown(word: str, commands: Sequence[str]) -> str:
    """Return what is wrong with a word that is not a command, and what to write instead."""
    if "://" in word:  # it may contain a password
        return "the command is missing; an account's URL goes with -a, as in `pop3fetch list -a URL`"
    advice = next((advice for advice, verbs in INSTEAD.items() if word.lower() in verbs), None)
    if advice is None and "@" in word and ":" not in word:
        advice = f"`pop3fetch login {word}` sets up this account"
    suggestion = f"; {advice}" if advice else did_you_mean(word, commands)
    return f"no such command: {word or repr(word)}{suggestion or '; `pop3fetch --help` lists the commands'}"
