"""The configuration of getmail6 and its lists, as getmail6 itself reads them."""

from __future__ import annotations

from functools import partial

import pytest

from pop3fetch.importing import getmail
from pop3fetch.importing.foreign import Broken, Fetched
from tests.support.foreign_files import HOME, read_by, where

read = partial(read_by, getmail.read, file="getmailrc")
FOLDER = f"{HOME}/.config/getmail"
BASE = {
    "host": "pop.example.org",
    "user": "alice",
    "tls": "implicit",
    "output": "maildir:~/Mail",
}
VARIABLES = where(HOME=HOME, MAILBOX="Mail/work")


def rc(
    *,
    retriever: tuple[str, ...] = (),
    destination: tuple[str, ...] = ("type = Maildir", "path = ~/Mail/"),
    options: tuple[str, ...] = ("read_all = no",),
    kind: str = "SimplePOP3SSLRetriever",
    more: tuple[str, ...] = (),
) -> str:
    """Return a file whose retriever has its own lines from line 5 on."""
    return "\n".join(
        [
            *("[retriever]", f"type = {kind}", "server = pop.example.org", "username = alice", *retriever),
            *("[destination]", *destination),
            *("[options]", *options, *more, ""),
        ]
    )


TRANSLATED: dict[str, tuple[str, dict[str, object], list[str]]] = {
    "nothing more": (rc(), {}, []),
    "port and time": (rc(retriever=("port: 1995", "TimeOut = 5")), {"port": 1995, "timeout": 5}, []),
    "TLS": (
        rc(
            retriever=(
                "ca_certs = $HOME/ca.pem",
                "certfile = ~/c.pem",
                "keyfile = ${HOME}/k.pem",
                "ssl_ciphers = DEFAULT",
                "ssl_cert_hostname = mail.example.org",
                "ssl_version = tlsv1_2",
            )
        ),
        {
            "ca_file": f"{HOME}/ca.pem",
            "client_cert": "~/c.pem",
            "client_key": f"{HOME}/k.pem",
            "tls_ciphers": "DEFAULT",
            "tls_name": "mail.example.org",
        },
        [],
    ),
    "a fingerprint": (rc(retriever=('ssl_fingerprints = ("ab12",)',)), {"tls_fingerprint": "ab12"}, []),
    "two fingerprints": (rc(retriever=('ssl_fingerprints = ("ab", "cd")',)), {}, ["ssl_fingerprints: "]),
    "clear text": (rc(kind="SimplePOP3Retriever"), {"tls": "auto"}, []),
    "methods": (rc(retriever=("use_apop = yes",)), {"auth": "apop"}, []),
    "tokens": (rc(retriever=("use_xoauth2 = True",)), {"auth": "xoauth2"}, []),
    "a command": (
        rc(retriever=('password_command = ("pass", "show",', '  "mail work")')),
        {"password_command": ["pass", "show", "mail work"]},
        [],
    ),
    "same identifiers": (rc(retriever=("delete_dup_msgids = 1",)), {}, ["delete_dup_msgids: "]),
    "no interpolation and no comment in a value": (
        rc(retriever=("port = 1", "ssl_cert_hostname = a%%b ; c")),
        {"port": 1, "tls_name": "a%%b ; c"},
        [],
    ),
    "delete": (rc(options=("delete = yes", "delete_after = 7")), {"delete": True}, []),
    "delete later": (rc(options=("read_all=0", "delete_after = 7")), {"delete_after": 7}, []),
    "limits": (
        rc(options=("read_all = no", "max_message_size = 5000", "max_messages_per_session = 10")),
        {"max_size": 5000, "limit": 10},
        [],
    ),
    "no limits": (rc(options=("read_all = no", "max_message_size = 0", "delete_bigger_than = 0")), {}, []),
    "octets": (
        rc(options=("read_all = off", "delete_bigger_than = 5", "max_bytes_per_session = 7")),
        {},
        ["delete_bigger_than: ", "max_bytes_per_session: "],
    ),
    "defaults are for options": (
        rc(more=("[DEFAULT]", "delete_after = 9", "port = 1")),
        {"delete_after": 9},
        [],
    ),
    "an mbox": (
        rc(destination=("type = Mboxrd", "path = ~/$MAILBOX")),
        {"output": "mbox:~/Mail/work"},
        [],
    ),
    "another lock": (
        rc(destination=("type = Mboxrd", "path = ~/mbox", "locktype = flock")),
        {"output": "mbox:~/mbox"},
        ["locktype: "],
    ),
    "another user": (
        rc(destination=("type = Maildir", "path = /var/mail/x/", "user = x", "filemode = 0640")),
        {"output": "maildir:/var/mail/x"},
        ["filemode: ", "user: "],
    ),
    "a program": (
        rc(destination=("type = MDA_external", "path = ~/bin/mda", 'arguments = ("-d", "$MAILBOX")')),
        {"output": None, "exec": [f"{HOME}/bin/mda", "-d", "Mail/work"]},
        [],
    ),
    "what a program is told": (
        rc(destination=("type = MDA_external", "path = /m", 'arguments = ("%(sender)",)', "unixfrom = 1")),
        {"output": None, "exec": ["/m", "%(sender)"]},
        ["arguments: ", "unixfrom: "],
    ),
    "LMTP": (
        rc(destination=("type = MDA_lmtp", "host = localhost", "port = 24", "override = a@b")),
        {"output": "lmtp://localhost:24"},
        ["override: "],
    ),
    "LMTP to another machine": (
        rc(destination=("type = MDA_lmtp", "host = mail.example.org")),
        {"output": "lmtp://mail.example.org:2003"},
        ["host mail.example.org: "],
    ),
    "a list of one": (
        rc(destination=("type = MultiDestination", 'destinations = ("~/Mail/",)')),
        {},
        [],
    ),
    "a list of one by name": (
        rc(
            destination=("type = MultiDestination", 'destinations = ("[box]",)'),
            more=("[box]", "type = Mboxrd", "path = /b"),
        ),
        {"output": "mbox:/b"},
        [],
    ),
    "a list of two": (
        rc(destination=("type = MultiDestination", 'destinations = ("~/a/", "~/b")')),
        {"output": None},
        ["destinations: "],
    ),
    "sorting": (
        rc(destination=("type = MultiSorter", 'default = "x"')),
        {"output": None},
        ["type MultiSorter: "],
    ),
    "filters": (
        rc(more=("[filter-1]", "type = Filter_external")),
        {},
        ["filter-1 (Filter_external): "],
    ),
    "many recipients": (rc(kind="MultidropPOP3SSLRetriever"), {}, ["type MultidropPOP3SSLRetriever: "]),
}


@pytest.mark.parametrize("name", TRANSLATED)
def test_an_option_becomes_a_setting_or_is_named(name: str) -> None:
    text, added, problems = TRANSLATED[name]
    result = read(text, VARIABLES)
    wanted = {key: value for key, value in {**BASE, **added}.items() if value is not None}
    assert result.only.settings == wanted
    found = sorted(result.problems.values())
    assert [text.startswith(begin) for text, begin in zip(found, problems, strict=True)] == [True] * len(
        problems
    )
    lines = text.split("\n")
    for line, problem in result.problems.items():
        assert problem.split(":")[0].split(" ")[0].strip() in lines[line - 1].replace("type =", "type")
    assert all(origin.line for origin in result.only.origins.values())


def test_what_was_not_safe_is_noted() -> None:
    assert "was not verified" in read(rc()).notes[2]
    assert "allow_insecure_login" in read(rc(kind="BrokenUIDLPOP3Retriever")).notes[2]
    assert "getmail6 fetched all messages each time" in read(rc(options=("verbose = 1",))).notes[0]


def test_a_password_in_clear_is_found_with_its_line() -> None:
    secret = read(rc(retriever=("password = s3 cret;#",))).only.secret
    assert secret
    assert (secret.text, secret.origin.line) == ("s3 cret;#", 5)


def test_code_is_not_run() -> None:
    with pytest.raises(Broken) as broken:
        read(rc(retriever=("# the command", 'password_command = (open("/tmp/x", "w"), "a")')))
    assert (broken.value.line, "is not evaluated" in broken.value.reason) == (6, True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("type = x\n", 1),
        (rc(retriever=("port = x",)), 5),
        (rc(options=("delete = perhaps",)), 9),
        (rc(retriever=("server = a",)), 5),
        (rc(retriever=('ssl_fingerprints = "a"',)), 5),
        ("[retriever]\nserver = x\n", 0),
    ],
)
def test_a_broken_line_is_named(text: str, line: int) -> None:
    with pytest.raises(Broken) as broken:
        read(text)
    assert broken.value.line == line


def test_imap_is_left_out() -> None:
    result = read(rc(kind="SimpleIMAPSSLRetriever"))
    assert (result.accounts, "does not fetch by IMAP" in result.notes[2]) == ({}, True)


@pytest.mark.parametrize(
    ("user", "file", "name", "end"),
    [
        ("alice", "getmailrc", "alice@pop.example.org", "alice"),
        ("alice@example.org", "getmailrc", "alice@example.org", "alice@example.org"),
        ("alice", "work", "work", "alice"),
        ("Al:i/ce@ex<a>|b;c d", "work", "work", "Al-i-ce@ex-a-b-c d"),
    ],
)
def test_the_list_has_the_name_that_getmail_gives_it(user: str, file: str, name: str, end: str) -> None:
    text = rc(retriever=("port = 110",)).replace("alice", user)
    account = read_by(getmail.read, text, file=f".config/getmail/{file}").only
    assert account.fetched
    assert (account.name, account.fetched.path) == (name, f"{FOLDER}/oldmail-pop.example.org-110-{end}")
    assert account.reuses


def test_a_server_with_broken_uids_has_no_list() -> None:
    assert read(rc(kind="BrokenUIDLPOP3SSLRetriever")).only.fetched is None


def test_the_files_of_a_folder_are_distinguished() -> None:
    names = ["work", "home", "oldmail-x-1-y", ".hidden", "work~", "#work#", "a.swp", "b.bak", "c.json"]
    assert getmail.config_names(names) == ["work", "home"]
    assert getmail.config_names([*names, "getmailrc"]) == ["getmailrc"]


def test_the_folder_is_one_of_two() -> None:
    assert getmail.config_folders(where()) == (FOLDER, f"{HOME}/.getmail")
    assert getmail.config_folders(where(XDG_CONFIG_HOME="/x")) == ("/x/getmail", f"{HOME}/.getmail")


def test_the_list_may_be_in_another_folder_than_the_file() -> None:
    fetched = read_by(getmail.read, rc(), file="mail/rc").only.fetched
    assert fetched
    folders = [path.removesuffix("/oldmail-pop.example.org-995-alice") for path in fetched.elsewhere]
    assert (fetched.path, folders) == (
        f"{HOME}/mail/oldmail-pop.example.org-995-alice",
        [FOLDER, f"{HOME}/.getmail"],
    )


def test_a_list_is_read() -> None:
    octets = b"u1\x001795900374\n a-b \x001795900375\r\nno nul\n\nu2\0x\nu3\x001\nlast\x005"
    assert getmail.fetched(octets) == [
        Fetched(b"u1", 1795900374),
        Fetched(b"a-b ", 1795900375),
        Fetched(b"u3", 1),
        Fetched(b"last", 5),
    ]
    assert getmail.fetched(b"") == []
