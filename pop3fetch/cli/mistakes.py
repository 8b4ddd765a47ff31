"""A mistake in the command line: click's error in our words, with what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import click
from click.core import ParameterSource

from pop3fetch.cli.leading_words import leading_options
from pop3fetch.defaults import did_you_mean

PASSWORDS = ("--pass", "--passwd", "--password", "--pw")
# Options of fetchmail, getmail, mpop and curl, by what does the same here.
INSTEAD = {
    "--delete": ("--nokeep", "-K"),
    "--all": ("--fetchall",),
    "--every": ("--daemon", "-d", "--idle"),
    "--exec": ("--mda", "-m"),
    "--output": ("--delivery", "--bsmtp", "--folder", "--maildir", "--mbox", "--smtphost", "--smtpaddress"),
    "--limit": ("--fetchlimit", "-B"),
    "--tls implicit": ("--ssl", "--sslproto"),
    "--ca-file": ("--sslcertfile", "--sslcertpath", "--tls-trust-file", "--cacert", "--capath"),
    "--tls-fingerprint": ("--sslfingerprint",),
    "--tls-name": ("--sslcommonname",),
    "--client-cert": ("--sslcert", "--tls-cert-file", "--cert"),
    "--client-key": ("--sslkey", "--tls-key-file"),
    "--port": ("--service", "-P"),
    "--state-dir": ("--idfile", "-i", "--uidls-file"),
    "--config": ("--fetchmailrc", "-f", "--rcfile", "-r", "--file"),
    "--quiet": ("--silent", "-s"),
    "--password-command": ("--passwordeval",),
    "--log-file": ("--logfile", "-L", "--syslog", "--log"),
    "--dry-run": ("--pretend", "--no-act"),
}
# The last words of click's error about a value: what the value must be.
TYPES = {
    "integer": "a whole number",
    "float": "a number",
    "boolean": "1 or 0",
    "day count": "a number of days",
}


def one_line(wrong: click.ClickException, arguments: Sequence[str], group: click.Group) -> str:
    """Return the line for an error of click; ``arguments`` are the whole command line of ``group``."""
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    if isinstance(wrong, click.NoSuchOption):
        options = context.command.get_params(context) if context else []
        spellings = (spelling for option in options for spelling in (*option.opts, *option.secondary_opts))
        message = _no_such_option(wrong.option_name, arguments, spellings)
    elif isinstance(wrong, click.BadOptionUsage):
        name = wrong.option_name
        option = next((option for option in leading_options(group) if name in option.opts), None)
        if option is None or option.is_flag or option.count:
            message = f"{name} takes no value"
        else:
            message = f"{name} needs a value: {name} {option.metavar or option.type.name.upper()}"
    elif isinstance(wrong, click.BadParameter) and isinstance(wrong.param, click.Option):
        return _wrong_value(wrong, wrong.param)
    else:
        message = wrong.format_message().strip().rstrip(".")
        message = re.sub("(?s)^Missing argument '(.*?)'.*", r"\1 is missing", message)
        message = re.sub(r"^Invalid value for .*: ('.*') is not one of (.*)", r"\1 is not one of \2", message)
        message = re.sub(r"^Got unexpected extra arguments? \((.*)\)$", r"unexpected argument: \1", message)
        takes_account = context and any("--account" in each.opts for each in context.command.params)
        if takes_account and re.match(r"unexpected argument: [^0-9 ]+$", message):
            message += "; an account is given with -a"
    return f"{message} (see `{context.command_path} --help`)" if context else message


def _no_such_option(name: str, arguments: Sequence[str], spellings: Iterable[str]) -> str:
    if name in PASSWORDS:
        return (
            "no option takes a password, because other users could read it; use --password-command, "
            "--password-file or POP3FETCH_PASSWORD"
        )
    known = {spelling for spelling in spellings if spelling.startswith("--")}
    for word in arguments:  # click reads -json as -j and more
        if len(name) == 2 and word.startswith(name) and f"-{word}" in known:
            return f"no such option: {word}; did you mean -{word}?"
    same = next((ours for ours, theirs in INSTEAD.items() if name in theirs and ours.split()[0] in known), "")
    return f"no such option: {name}{f'; write {same}' if same else did_you_mean(name, known)}"


def _wrong_value(wrong: click.BadParameter, option: click.Option) -> str:
    """Return the line for a value that an option, or its variable, cannot have."""
    source = wrong.ctx.get_parameter_source(str(option.name)) if wrong.ctx else None
    name = str(option.envvar) if source is ParameterSource.ENVIRONMENT else max(option.opts, key=len)
    value, _, rest = wrong.message.rstrip(".").partition(" is not ")
    if isinstance(option.type, click.Choice):
        return f"{name} must be one of {', '.join(map(str, option.type.choices))}, not {value}"
    kind = re.match(r"a valid ([a-z ]+)", rest)
    if kind and kind[1] in TYPES:
        advice = rest[rest.find(";") :] if ";" in rest else ""
        return f"{name} must be {TYPES[kind[1]]}, not {value}{advice}"
    return f"{name}: {wrong.message}"
