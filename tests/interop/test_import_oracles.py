"""The configurations of mpop and fetchmail mean to us what the programs themselves say they mean."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.importing import fetchmail, mpop
from tests.support.command import homely
from tests.support.foreign_files import read_by

FETCHMAILRCS = (
    """\
defaults proto pop3 timeout 11 user "nobody" keep mda "a b"
poll one.example.org via 127.0.0.1 port 1110 user alice there password "s e'cret#" is joe here
poll two.example.org user 'jo bob' there with pass keep, nokeep limit 500 fetchlimit 7
    user carol password 12345 and ssl options sslcommonname x no keep flush
""",
    r"""
set postmaster "x" set no bouncemail
poll \x61.example.org protocol POP3 auth password uidl no dns : # a comment
  username "a\101\065\x42\\\"" password "\t\"q" is "me" here to 'you' here wants fetchall forcecr
""",
    """\
poll x proto apop
user a"b#c password 'it is "x"' smtphost a.example.org b.example.org/2525, smtpaddress y
  user =  # nothing
""".replace("user =  # nothing\n", ""),
    "poll x\n proto\n pop3\n\n user\n'two\nlines' password set\n",
)
# Keys of --configdump, of which ours are made.
OF_SERVER = ("pollname", "via", "timeout", "service")
OF_USER = ("remote", "password", "keep", "flush", "fetchall", "ssl", "limit", "fetchlimit", "mda", "forcecr")


def dumped(text: str, home: Path) -> list[dict[str, Any]]:
    """Return what fetchmail reads of a file: the options of each user, with those of the server."""
    file = home / "rc"
    file.touch(0o600)
    file.write_text(text)
    ended = subprocess.run(
        ["fetchmail", "-f", file, "--configdump"],
        env={"PATH": os.environ["PATH"], "LOGNAME": "alice", **homely(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    values = {"TRUE": True, "FALSE": False}
    for statement in ast.parse(ended.stdout).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "fetchmailrc":
            tree = ast.parse(ast.unparse(statement.value), mode="eval").body
    for node in ast.walk(tree):
        for key, child in ast.iter_fields(node):
            items = child if isinstance(child, list) else [child]
            fresh = [
                ast.Constant(values[item.id]) if isinstance(item, ast.Name) and item.id in values else item
                for item in items
            ]
            setattr(node, key, fresh if isinstance(child, list) else fresh[0])
    servers = ast.literal_eval(tree)["servers"]
    return [
        {**{key: server[key] for key in OF_SERVER}, **{key: user[key] for key in OF_USER}}
        for server in servers
        for user in server["users"]
    ]


@pytest.mark.parametrize("text", FETCHMAILRCS)
def test_fetchmail_reads_its_file_as_we_do(text: str, home: Path) -> None:
    if shutil.which("fetchmail") is None:
        pytest.skip("fetchmail is not installed")
    accounts = list(read_by(fetchmail.read, text).accounts.values())
    users = dumped(text, home)
    assert len(users) == len(accounts)
    for user, account in zip(users, accounts, strict=True):
        ours = account.settings
        assert ours["host"] == (user["via"] or user["pollname"])
        assert ours["user"] == user["remote"]
        assert ours.get("port") == (int(user["service"]) if user["service"] else None)
        assert ours.get("timeout", 300) == user["timeout"]
        assert (account.secret.text if account.secret else None) == user["password"]
        assert ours.get("delete", False) == (not user["keep"])
        assert account.kept == (not user["keep"] and not user["flush"])
        assert (ours["tls"] == "implicit") == user["ssl"]
        assert ours.get("max_size", 0) == (user["limit"] or 0)
        assert ours.get("limit", 0) == (user["fetchlimit"] or 0)
        assert ours.get("crlf", False) == user["forcecr"]
        assert (["sh", "-c", user["mda"]] if user["mda"] else None) == ours.get("exec")


MPOPRCS = (
    "defaults\r\nport 110\r\n\r\n# c\r\naccount a\r\n\thost h.example.org  \r\n user "
    '"us er"  \r\npassword x\r\ndelivery maildir "/My Mail"\r\n',
    'account a\nhost "a" b"\nuser "x\ndelivery mda "/x -f" "y"\ntimeout off\n',
    "account b\nhost h\nuser u\ndelivery mbox /m\nkeep\naccount a : b\nport 9\ntimeout 5\n",
    "defaults\nhost one\nuser u\ndelivery mbox /m\naccount c\ndefaults\nhost two\naccount a:c\n",
)


@pytest.mark.parametrize("text", MPOPRCS)
def test_mpop_reads_its_file_as_we_do(text: str, home: Path) -> None:
    if shutil.which("mpop") is None:
        pytest.skip("mpop is not installed")
    file = home / "rc"
    file.touch(0o600)
    file.write_bytes(text.encode())
    shown = subprocess.run(["mpop", "-C", file, "-P", "a"], capture_output=True, text=True, env=homely(home))
    lines = (line.split(" = ", 1) for line in shown.stdout.splitlines() if " = " in line)
    theirs = dict(lines)
    account = read_by(mpop.read, text.encode()).accounts["a"]
    ours = account.settings
    assert (ours["host"], ours["user"]) == (theirs["host"], theirs["user"])
    assert str(ours.get("port", 110)) == theirs["port"]
    assert {0: "off", None: "180 seconds", 5: "5 seconds"}[ours.get("timeout")] == theirs["timeout"]  # type: ignore[index]
    assert ours.get("delete", False) == (theirs["keep"] == "off")
    method, target = theirs["delivery"].split(" ", 1)
    if method == "mda":
        assert ours["exec"] == ["sh", "-c", target]
    else:
        assert ours["output"] == f"{method}:{target}"
