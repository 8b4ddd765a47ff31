"""`check`: every step of an account, each fault with its own line, and nothing changed."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from pop3fetch.cli.actions import check_cron
from tests.support import certificates
from tests.support.clock import Clock
from tests.support.command import PATIENCE, Ended, Run
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.served_mail import HOSTILE, Post, StartPost, harmless
from tests.support.terminal import Terminal

STEPS = [
    "configuration", "dns", "connection", "tls", "greeting", "login", "cron", "limits", "destination",
    "record", "other programs",
]  # fmt: skip
PRIVATE = 0o600
NO_OTHERS = "none of mpop, fetchmail, getmail, fdm is set up for this mailbox"
Found = tuple[str, str]  # its verdict and its text


def results(ended: Ended) -> dict[str, Found]:
    """Return what each step has found, without a terminal; no step may appear twice."""
    rows = [line.split("\t") for line in ended.out.decode().splitlines()]
    found = {step: (verdict, text) for verdict, step, text in rows}
    assert len(found) == len(rows)
    return found


def configured(home: Path, served: Post, *lines: str, tls: str = "auto", name: str = "work") -> None:
    """Write the account of a server into the configuration file, with its password in a private file."""
    folder = home / ".config/pop3fetch"
    folder.mkdir(parents=True, exist_ok=True)
    secret = home / "secret"
    secret.write_text("secret\n")
    secret.chmod(PRIVATE)
    table = [f"[accounts.{name}]", "host = '127.0.0.1'", f"port = {served.server.port}", f"tls = '{tls}'"]
    source = () if any(line.startswith("password") for line in lines) else ("password_file = '~/secret'",)
    with (folder / "config.toml").open("a") as file:
        file.write("\n".join([*table, "user = 'alice'", *source, *lines, ""]))
    (folder / "config.toml").chmod(PRIVATE)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, with what is in them."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    # SQLite leaves them beside a database that was only read.
    return {str(file): file.read_bytes() for file in files if not file.name.endswith(("-shm", "-wal"))}


@pytest.fixture(autouse=True)
def no_keyring(home: Path) -> None:
    """Keep the trial of a job, which inherits no variables, away from the tester's keyring."""
    keyring_of_home(home, "keyring.backends.null.Keyring")


def keyring_of_home(home: Path, backend: str, folder: Path | None = None) -> None:
    path = f"keyring-path = {folder}\n" if folder else ""
    file = home / ".config/python_keyring/keyringrc.cfg"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"[backend]\ndefault-keyring = {backend}\n{path}")


# -- an account that works -------------------------------------------------------------------------


def test_each_step_of_an_account_that_works_is_ok(
    here: Here, post: StartPost, home: Path, ca_file: Path
) -> None:
    served = post(tls="implicit", capabilities=(*CAPABILITIES, b"EXPIRE NEVER"))
    configured(home, served, f"ca_file = '{ca_file}'", tls="implicit")
    ended = here("check")
    found = results(ended)
    assert (ended.status, ended.err) == (0, b"")
    assert list(found) == STEPS
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    texts = {step: text for step, (_, text) in found.items()}
    port = served.server.port
    assert texts["configuration"] == "work in ~/.config/pop3fetch/config.toml"
    assert texts["dns"] == "127.0.0.1 is an address"
    assert texts["connection"] == f"connected to 127.0.0.1 port {port}"
    assert texts["tls"].startswith("TLSv1.3; the certificate is valid for ")
    assert texts["greeting"].startswith("ready <1896.697170952@localhost>; capabilities: TOP UIDL USER ")
    assert (
        texts["login"] == f"alice@127.0.0.1:{port} logged in by PLAIN; the secret is from the password file"
    )
    assert texts["cron"] == "a job without a login session has a secret, too: from the password file"
    assert texts["limits"] == "messages are kept forever (EXPIRE NEVER)"
    assert texts["destination"] == f"maildir:{home}/Maildir: `get` will create it"
    assert texts["record"].startswith("nothing was fetched yet; ~/.local/state/pop3fetch/alice@127.0.0.1%3A")
    assert texts["other programs"] == NO_OTHERS


def test_nothing_is_changed_on_the_server_or_here(
    here: Here, post: StartPost, home: Path, maildir: Path
) -> None:
    served = post()
    configured(home, served, f"output = 'maildir:{maildir}'")
    before = contents(home)
    here("check")
    assert served.verbs == [b"CAPA", b"APOP", b"CAPA", b"QUIT"]
    assert (contents(home), maildir.exists()) == (before, False)
    assert here("get").status == 0
    fetched = contents(home) | contents(maildir)
    ended = here("check")
    assert contents(home) | contents(maildir) == fetched
    assert results(ended)["record"][1].startswith("3 messages in ~/.local/state/pop3fetch/")


def test_json_has_one_object_per_step(here: Here, post: StartPost, home: Path) -> None:
    configured(home, post(capabilities=(b"TOP",)))
    objects = [json.loads(line) for line in here("check", "--json").out.splitlines()]
    assert sorted(each["step"] for each in objects) == sorted(STEPS)
    assert all(list(each) == ["step", "result", "text", "status"] for each in objects)
    limits = next(each for each in objects if each["step"] == "limits")
    assert (limits["result"], limits["status"]) == ("warning", 0)


def test_a_warning_leaves_the_status_0_and_an_error_sets_it(here: Here, post: StartPost, home: Path) -> None:
    configured(home, post(capabilities=(b"TOP",), password="other"))
    ended = here("check", "--json")
    objects = {each["step"]: each for each in map(json.loads, ended.out.splitlines())}
    assert (objects["login"]["result"], objects["login"]["status"]) == ("error", 77)
    assert (ended.status, ended.err) == (77, b"")


def test_the_status_is_the_highest_of_all_errors(here: Here, post: StartPost, home: Path) -> None:
    served = post(password="other")
    (home / "file").write_text("")
    configured(home, served, "output = 'maildir:~/file'")
    ended = here("check")
    assert [step for step, (verdict, _) in results(ended).items() if verdict == "error"] == [
        "login",
        "destination",
    ]
    assert ended.status == 77


def test_all_accounts_are_examined_and_named(here: Here, post: StartPost, home: Path) -> None:
    configured(home, post())
    configured(home, post(password="other"), name="home")
    ended = here("check", "-A")
    rows = [line.split("\t") for line in ended.out.decode().splitlines()]
    for name in ("work", "home"):
        assert sorted(row[2] for row in rows if row[0] == name) == sorted(STEPS)
        assert [row[1] for row in rows if row[0] == name and row[2] == "login"] == [
            "ok" if name == "work" else "error"
        ]
    assert ended.status == 77


def test_without_an_account_the_configuration_is_the_error(here: Here) -> None:
    ended = here("check")
    assert (ended.status, ended.err) == (78, b"")
    verdict, text = results(ended)["configuration"]
    assert verdict == "error"
    assert text.startswith("no account is given: ") and "`pop3fetch login ADDRESS`" in text


def test_a_key_that_is_wrong_is_the_error_of_the_configuration(
    here: Here, post: StartPost, home: Path
) -> None:
    configured(home, post(), "outptu = '~/Mail'")
    ended = here("check")
    assert ended.status == 78
    assert list(results(ended)) == ["configuration"]
    assert "accounts.work.outptu: unknown key; did you mean 'output'?" in ended.out.decode()


@pytest.mark.parametrize(("columns", "indent"), [(40, 9), (80, 25), (120, 25)])
def test_people_see_lines_that_are_wrapped_at_words(
    terminal: Terminal, post: StartPost, home: Path, columns: int, indent: int
) -> None:
    configured(home, post(password="other"))
    shown = terminal("check", columns=columns, env={"POP3FETCH_PASSWORD": "secret"})
    assert shown.status == 77
    first = next(place for place, line in enumerate(shown.screen) if line.startswith("error    login"))
    last = next(place for place, line in enumerate(shown.screen) if line.startswith("ok       cron"))
    refusal = shown.screen[first:last]
    assert all(line[:indent].isspace() and line[indent] != " " for line in refusal[1:])
    assert " ".join(" ".join(refusal).split()) == (
        "error login the server refused the login of alice (APOP): [AUTH] wrong user or password; check "
        "POP3FETCH_PASSWORD"
    )


def test_a_stream_needs_no_descriptor(here: Here, post: StartPost, home: Path) -> None:
    configured(home, post())
    shown = here.screen("check", columns=80).getvalue()
    assert "internal error" not in shown
    assert "ok       destination" in shown


def test_accounts_appear_one_after_the_other_on_a_terminal(
    terminal: Terminal, post: StartPost, home: Path
) -> None:
    configured(home, post())
    configured(home, post(), name="home")
    screen = terminal("check", "-A", columns=200).screen
    for name in ("work", "home"):
        below = screen[screen.index(name) + 1 :][: len(STEPS)]
        assert [line[9:25].strip() for line in below if line[:2] == "ok"] == [
            "configuration", "dns", "connection", "greeting", "tls", "login", "cron", "limits", "destination",
            "record", "other programs",
        ]  # fmt: skip


# -- faults, each with its line ----------------------------------------------------------------------


def expired(authority: trustme.CA) -> ssl.SSLContext:
    then = datetime(2020, 1, 1, tzinfo=UTC)
    return certificates.server_context(authority, not_before=then, not_after=then + timedelta(90))


def for_another(authority: trustme.CA) -> ssl.SSLContext:
    return certificates.server_context(authority, "mail.example.org")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (expired, "certificate has expired"),
        (for_another, "certificate is not valid for '127.0.0.1'"),
    ],
)
@pytest.mark.parametrize("tls", ["implicit", "starttls", "auto"])
def test_a_wrong_certificate_is_the_error_of_tls_and_nothing_is_sent(
    here: Here, server: StartServer, authority: trustme.CA, home: Path, ca_file: Path, make: Any, says: str,
    tls: str,
) -> None:  # fmt: skip
    mailbox = Mailbox([], capabilities=(*CAPABILITIES, b"STLS"))
    implicit = "implicit" if tls == "implicit" else None
    served = Post(mailbox, server(mailbox, tls=implicit, context=make(authority)))
    configured(home, served, f"ca_file = '{ca_file}'", tls=tls)
    ended = here("check")
    found = results(ended)
    verdict, text = found["tls"]
    assert (ended.status, verdict) == (76, "error")
    assert says in text and "--tls-fingerprint" in text
    assert {"dns", "connection"} < found.keys() and found.keys().isdisjoint({"greeting", "login", "limits"})
    assert set(served.verbs) <= {b"CAPA", b"STLS"}


@pytest.mark.parametrize(
    ("days", "verdict"), [(20, "ok"), (14, "ok"), (13, "warning"), (1, "warning"), (0, "warning")]
)
def test_a_certificate_that_expires_soon_is_a_warning(
    here: Here, server: StartServer, authority: trustme.CA, home: Path, ca_file: Path, days: int,
    verdict: str,
) -> None:  # fmt: skip
    end = datetime.now(UTC) + timedelta(days, hours=1)
    mailbox = Mailbox([])
    context = certificates.server_context(authority, not_after=end)
    configured(
        home, Post(mailbox, server(mailbox, tls="implicit", context=context)), f"ca_file = '{ca_file}'",
        tls="implicit",
    )  # fmt: skip
    found = results(here("check"))["tls"]
    assert found[0] == verdict
    assert f"is valid for {days} more days, until {end:%Y-%m-%d}" in found[1]
    assert ("tell the server's operator" in found[1]) == (verdict == "warning")


def test_a_wrong_password_is_tried_once_and_remembered(here: Here, post: StartPost, home: Path) -> None:
    served = post(password="other")
    configured(home, served)
    ended = here("check")
    assert ended.status == 77
    assert results(ended)["login"] == (
        "error",
        "the server refused the login of alice (APOP): [AUTH] wrong user or password; check the password "
        f"file {home}/secret",
    )
    again = here("check")
    assert again.status == 75
    assert "no login before" in results(again)["login"][1]
    assert served.verbs.count(b"APOP") == 1
    assert here("stat").status == 75


def test_on_a_terminal_the_login_is_tried_during_the_pause_and_once(
    here: Here, terminal: Terminal, post: StartPost, home: Path
) -> None:
    served = post(password="other")
    configured(home, served)
    here("check")
    assert terminal("check").status == 77
    assert served.verbs.count(b"APOP") == 2
    typed = post(password="other")
    url = {"POP3FETCH_ACCOUNT": typed.server.url()}
    shown = terminal("check", env=url, answers=[(b"Password of", b"wrong\n")])
    assert shown.status == 77
    assert typed.verbs.count(b"APOP") == 1


def test_a_name_that_does_not_exist_is_the_error_of_dns(
    here: Here, home: Path, post: StartPost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    ended = here("check", "-H", "pop.example.org", "-u", "alice", env={"POP3FETCH_PASSWORD": "secret"})
    assert ended.status == 68
    assert results(ended)["dns"] == (
        "error",
        "cannot resolve the host name pop.example.org: Name or service not known",
    )
    assert "connection" not in results(ended)


def test_a_port_at_which_nothing_listens_is_the_error_of_the_connection(
    here: Here, post: StartPost, home: Path
) -> None:
    served = post()
    configured(home, served)
    served.server.stop()
    ended = here("check")
    assert (ended.status, results(ended)["connection"][0]) == (75, "error")
    assert "Connection refused" in results(ended)["connection"][1]


def test_a_disk_that_is_full_is_the_error_of_destination_and_record(
    here: Here, post: StartPost, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(home, post())
    room = os.statvfs(home)
    full = os.statvfs_result((*room[:3], 0, 0, *room[5:]))
    monkeypatch.setattr("os.statvfs", lambda folder: full)
    ended = here("check")
    found = results(ended)
    assert ended.status == 73
    assert found["destination"] == ("error", f"cannot deliver to maildir:{home}/Maildir: the disk is full")
    assert found["record"] == (
        "error",
        "cannot deliver to the record in ~/.local/state/pop3fetch: the disk is full",
    )


def test_a_maildir_that_took_mail_and_is_missing_is_not_mounted(
    here: Here, post: StartPost, home: Path, maildir: Path
) -> None:
    configured(home, post(), f"output = 'maildir:{maildir}'")
    assert here("get").status == 0
    maildir.rename(f"{maildir}-elsewhere")
    ended = here("check")
    assert ended.status == 73
    verdict, text = results(ended)["destination"]
    assert verdict == "error"
    assert "not mounted?" in text and "--create" in text
    assert not maildir.exists()


def test_a_damaged_record_is_an_error_and_stays_as_it_is(here: Here, post: StartPost, home: Path) -> None:
    configured(home, post())
    assert here("get").status == 0
    [record] = (home / ".local/state/pop3fetch").glob("*.sqlite")
    record.write_bytes(b"rubbish" * 1000)
    ended = here("check")
    assert ended.status == 78
    verdict, text = results(ended)["record"]
    assert verdict == "error"
    assert f"cannot use the record {record}: " in text
    assert "restore it from a backup" in text
    assert record.read_bytes() == b"rubbish" * 1000


def test_messages_in_doubt_and_failed_runs_are_shown(
    here: Here, post: StartPost, home: Path, clock: Clock
) -> None:
    served = post()
    configured(home, served, "patience = '6h'")
    assert here("get").status == 0
    [record] = (home / ".local/state/pop3fetch").glob("*.sqlite")
    with sqlite3.connect(record) as database:
        database.execute("UPDATE message SET state = 2 WHERE uid = ?", (b"uid-1",))
        # Gone as expected: the server has confirmed its deletion.
        database.execute("UPDATE message SET state = 4 WHERE uid = ?", (b"uid-2",))
    database.close()
    assert "; 1 in doubt, see `pop3fetch record -v`" in results(here("check"))["record"][1]
    served.mailbox.replies[b"CAPA\r\n"] = b""
    record.with_suffix(".failing").write_text(f"{int(time.time())} 7 0\n")
    verdict, text = results(here("check", "--timeout", "1"))["record"]
    assert verdict == "warning"
    assert text.endswith(", 7 times")


def test_a_login_delay_that_is_not_over_is_the_error_of_the_login(
    here: Here, post: StartPost, home: Path
) -> None:
    served = post(capabilities=(*CAPABILITIES, b"LOGIN-DELAY 600"))
    configured(home, served)
    first = results(here("check"))
    assert first["limits"][1] == "600 seconds must pass between two logins (LOGIN-DELAY)"
    ended = here("check")
    found = results(ended)
    assert ended.status == 75
    assert found["login"][1].endswith("s (LOGIN-DELAY)")
    assert found["greeting"][0] == "ok"  # all but the login is examined
    assert served.verbs.count(b"APOP") == 1


# The configuration file of each program, and its list of fetched messages, if it has one.
OTHERS = {
    "mpop": (
        ".mpoprc", "account a\nhost 127.0.0.1\nuser alice\n",
        ".mpop_uidls/alice_at_127.0.0.1", " 1 127.0.0.1 alice\nu1\n",
    ),
    "fetchmail": (
        ".fetchmailrc", 'poll "127.0.0.1" proto pop3 user "alice"\n',
        ".fetchids", "alice@127.0.0.1 u1\n",
    ),
    "getmail": (
        ".config/getmail/getmailrc",
        "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = 127.0.0.1\nusername = alice\n"
        "[destination]\ntype = Maildir\npath = ~/Mail/\n",
        ".config/getmail/oldmail-127.0.0.1-995-alice", "u1\0001795900374\n",
    ),
    "fdm": (".fdm.conf", 'account "a" pop3 server "127.0.0.1" user "alice" pass "x"\n', "", ""),
}  # fmt: skip


def set_up(home: Path, program: str) -> None:
    file, text, listed, entries = OTHERS[program]
    for name, content in ((file, text), (listed, entries)):
        if name:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(content)


def let_rest(home: Path, program: str) -> None:
    """Let the last run of a program be a month ago."""
    long_ago = time.time() - 30 * 24 * 60 * 60
    os.utime(home / OTHERS[program][2], (long_ago, long_ago))


@pytest.mark.parametrize("program", OTHERS)
def test_another_program_that_still_fetches_is_a_warning(
    here: Here, post: StartPost, home: Path, program: str
) -> None:
    configured(home, post())
    set_up(home, program)
    before = contents(home)
    verdict, told = results(here("check"))["other programs"]
    assert verdict == "warning"
    file, text, listed, _ = OTHERS[program]
    assert told.startswith(f"{program} is set up for this mailbox in ~/{file}")
    assert contents(home) == before
    if listed:
        assert f", last run {datetime.now():%Y-%m-%d}" in told
        let_rest(home, program)
        assert results(here("check"))["other programs"][0] == "ok"
    (home / file).write_text(text.replace("alice", "bob"))
    assert results(here("check"))["other programs"] == ("ok", NO_OTHERS)


def test_a_program_that_has_a_job_or_runs_still_fetches(
    here: Here, post: StartPost, home: Path, tmp_path: Path
) -> None:
    configured(home, post())
    set_up(home, "fetchmail")
    let_rest(home, "fetchmail")
    crontab = tmp_path / "bin/crontab"
    crontab.parent.mkdir()
    crontab.write_text("#!/bin/sh\necho '# fetchmail'; echo '* * * * * fetchmail -s'\n")
    crontab.chmod(0o700)
    path = {"PATH": f"{crontab.parent}:{os.environ['PATH']}"}
    verdict, told = results(here("check", env=path))["other programs"]
    assert verdict == "warning"
    assert "crontab:2 still runs it; two programs that delete take mail from each other" in told
    crontab.unlink()
    (home / ".fetchmail.pid").write_text("1\n")
    assert results(here("check", env=path))["other programs"][0] == "ok"  # the number is another program's


# -- where the secret is from, and for a job -----------------------------------------------------------


def test_a_secret_of_the_environment_is_not_there_for_a_job(here: Here, post: StartPost) -> None:
    found = results(here("check", env=post().environment))
    assert found["login"][1].endswith("; the secret is from POP3FETCH_PASSWORD")
    verdict, text = found["cron"]
    assert verdict == "warning"
    assert text == (
        "a job without a login session would have no secret (POP3FETCH_PASSWORD is set only here); give the "
        "job --password-file or --password-command; POP3FETCH_ACCOUNT: set here, but not in a job; set the "
        "same there"
    )


def test_a_password_command_is_tried_in_the_environment_of_a_job(
    here: Here, post: StartPost, home: Path
) -> None:
    script = home / "secret.sh"
    script.write_text('#!/bin/sh\ntest -n "$AGENT" || { echo no agent >&2; exit 3; }\necho secret\n')
    script.chmod(0o700)
    configured(home, post(), f"password_command = '{script}'")
    found = results(here("check", env={"AGENT": "here"}))
    assert found["login"][0] == "ok"
    verdict, text = found["cron"]
    assert verdict == "warning"
    assert f"the password command ({script}) failed with status 3: no agent" in text
    assert "`pop3fetch login --store file -a work` keeps the password for it" in text
    script.write_text("#!/bin/sh\nenv > ~/env\necho secret\n")
    assert results(here("check", env={"AGENT": "here"}))["cron"][0] == "ok"
    variables = dict(line.split("=", 1) for line in (home / "env").read_text().splitlines())
    assert variables["PATH"] == "/usr/bin:/bin"
    assert variables.keys() <= {
        "HOME",
        "PATH",
        "SHELL",
        "LOGNAME",
        "USER",
        "LANG",
        "PWD",
        "SHLVL",
        "_",
        "LC_CTYPE",
        "OLDPWD",
    }


KEYRING = """
from keyring.backend import KeyringBackend
class Keyring(KeyringBackend):
    priority = 1
    def get_password(self, service, user):
        {body}
    def set_password(self, *_): pass
    def delete_password(self, *_): pass
"""


@pytest.mark.parametrize(
    ("body", "verdict", "says"),
    [
        ("return 'secret'", "ok", "a job without a login session has a secret, too: from the keyring"),
        ("raise RuntimeError('locked')", "warning", "the keyring was skipped: RuntimeError: locked"),
        ("import os; os.environ['DBUS_SESSION_BUS_ADDRESS'] = 'x'; return 'secret'", "warning",
         "a job reaches the keyring only while you are logged in"),
    ],
)  # fmt: skip
def test_the_keyring_is_tried_as_a_job_would(
    run: Run, post: StartPost, home: Path, tmp_path: Path, body: str, verdict: str, says: str
) -> None:
    configured(home, post(), "password_file = '~/secret'")
    config = home / ".config/pop3fetch/config.toml"
    config.write_text(config.read_text().replace("password_file = '~/secret'\n", ""))
    folder = tmp_path / "keyrings"
    folder.mkdir()
    (folder / "of_test.py").write_text(KEYRING.format(body=body))
    keyring_of_home(home, "of_test.Keyring", folder)
    found = results(run("check", env={"POP3FETCH_PASSWORD": "secret"}))
    assert found["cron"][0] == verdict
    assert says in found["cron"][1]


def test_check_is_silent_on_standard_error_in_a_job_itself(run: Run, post: StartPost, home: Path) -> None:
    served = post()
    configured(home, served)
    job = {"HOME": str(home), "PATH": "/usr/bin:/bin"}  # no terminal, no session bus
    ended = subprocess.run(
        run.command("check"), env=job, cwd=home, capture_output=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    found = results(Ended(ended.returncode, ended.stdout, ended.stderr))
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert {verdict for verdict, _ in found.values()} == {"ok"}


def test_variables_that_a_job_lacks_are_named(here: Here, post: StartPost, home: Path) -> None:
    configured(home, post())
    here("get")
    verdict, text = results(here("check", env={"XDG_STATE_HOME": str(home / "elsewhere")}))["cron"]
    assert verdict == "warning"
    assert text == "XDG_STATE_HOME: set here, but not in a job; set the same there"


def test_a_trial_that_does_not_end_is_given_up(
    here: Here, post: StartPost, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_cron, "LIMIT", 0.01)
    configured(home, post())
    assert "the trial did not end within 0.01 s" in results(here("check"))["cron"][1]


def test_no_secret_is_shown(here: Here, post: StartPost, home: Path) -> None:
    for capabilities in (CAPABILITIES, (b"TOP",)):
        configured(home, post(capabilities=capabilities, password="pA55-w0rd"), name=f"a{len(capabilities)}")
    (home / "secret").write_text("pA55-w0rd\n")
    for arguments in (["-A"], ["-A", "--json"], ["-A", "-vv"]):
        ended = here("check", *arguments)
        assert b"pA55-w0rd" not in ended.out + ended.err


# -- servers ---------------------------------------------------------------------------------------


def test_text_of_a_server_is_made_harmless_and_bounded(here: Here, post: StartPost, home: Path) -> None:
    hostile = HOSTILE.encode()
    served = post(
        greeting=b"+OK " + hostile + b" " + b"g" * 400 + b"\r\n",
        capabilities=(b"USER", b"SASL PLAIN", b"X" * 300, hostile, b"EXPIRE " + hostile),
        password="other",
    )
    configured(home, served, "allow_insecure_login = true")
    ended = here("check")
    assert harmless(ended.out) and harmless(ended.err)
    assert max(map(len, ended.out.splitlines())) < 1500
    objects = [json.loads(line) for line in here("check", "--json").out.splitlines()]
    assert all(each["text"].isprintable() for each in objects)


@pytest.mark.parametrize(
    ("flood", "says"),
    [
        ({"greeting": b"+OK " + b"g" * 100_000}, "is longer than 8192 octets"),
        ({"replies": {b"CAPA\r\n": b"+OK\r\n" + b"X\r\n" * 100_000 + b".\r\n"}}, "CAPA"),
        (
            {"replies": {b"CAPA\r\n": b"+OK\r\n" + b"X" * 100_000 + b"\r\n.\r\n"}},
            "is longer than 8192 octets",
        ),
    ],
)
def test_what_has_no_end_is_the_error_of_its_step(
    here: Here, post: StartPost, home: Path, flood: dict[str, Any], says: str
) -> None:
    configured(home, post(**flood))
    ended = here("check")
    assert ended.status == 65
    verdict, text = results(ended)["greeting"]
    assert verdict == "error"
    assert says in text
    assert "login" not in results(ended)


def test_a_server_that_is_silent_ends_the_step_in_time(here: Here, server: StartServer, home: Path) -> None:
    configured(home, Post(Mailbox([]), server(Talk.stall)), "timeout = 0.2")
    ended = here("check")
    assert ended.status == 75
    assert results(ended)["greeting"][1].startswith("timed out after 0.2 s waiting for the greeting of")


@pytest.mark.parametrize(
    ("greeting", "status", "says"),
    [
        (b"-ERR [SYS/TEMP] later\r\n", 75, "the server refused the connection: [SYS/TEMP] later"),
        (b"* OK IMAP4rev1\r\n", 76, "this is not a POP3 server"),
    ],
)
def test_a_greeting_that_is_none_is_its_error(
    here: Here, server: StartServer, home: Path, greeting: bytes, status: int, says: str
) -> None:
    configured(home, Post(Mailbox([]), server(lambda talk: talk.say(greeting))))
    ended = here("check")
    assert ended.status == status
    assert says in results(ended)["greeting"][1]


def test_a_login_in_clear_text_is_a_warning_of_tls_off_this_machine(here: Here, post: StartPost) -> None:
    found = results(here("check", env=post().environment))
    assert found["tls"] == ("ok", "none; the connection stays on this machine")


@pytest.mark.parametrize(
    ("capabilities", "lines", "says"),
    [
        ((b"TOP", b"UIDL", b"EXPIRE 0"), (), "fetch everything with `get`"),
        ((b"TOP", b"UIDL", b"EXPIRE 7"), ("delete_after = 30",), "deletes messages before delete_after = 30"),
        ((b"TOP",), (), "without UIDL"),
        ((b"UIDL",), (), "without TOP"),
    ],
)
def test_what_a_server_lacks_or_deletes_is_a_warning(
    here: Here, post: StartPost, home: Path, capabilities: Sequence[bytes], lines: Sequence[str], says: str
) -> None:
    configured(home, post(capabilities=capabilities), *lines)
    verdict, text = results(here("check"))["limits"]
    assert verdict == "warning"
    assert says in text


def test_a_server_that_breaks_at_the_login_leaves_the_other_steps(
    here: Here, post: StartPost, home: Path
) -> None:
    def cut(talk: Talk) -> None:
        if any(line.startswith(b"APOP") for line in talk.commands):
            talk.cut()

    served = post(after={b"CAPA\r\n": lambda talk: talk.cut()})
    configured(home, served)
    ended = here("check")
    assert results(ended)["login"][0] == "error"
    assert list(results(ended))[-3:] == ["destination", "record", "other programs"]


# -- destinations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "verdict", "says"),
    [
        ("output = 'mbox:~/mbox'", "ok", "`get` will create it"),
        ("output = 'maildir:~/file'", "error", "Not a directory"),
        ("output = 'mbox:~/.config'", "error", "it is not a regular file"),
        ("output = '-'", "ok", "keeps nothing"),
        ("exec = ['cat']", "ok", "exec:cat exists"),
        ("exec = ['no-such-program']", "error", "there is no such program, or it is not executable"),
        ("output = 'foo:bar'", "error", "unknown destination type 'foo:'"),
    ],
)
def test_each_destination_is_examined(
    here: Here, post: StartPost, home: Path, line: str, verdict: str, says: str
) -> None:
    (home / "file").write_text("")
    configured(home, post(), line)
    found = results(here("check"))["destination"]
    assert found[0] == verdict
    assert says in found[1]
    assert not (home / "mbox").exists()


def test_a_program_that_cron_does_not_find_is_a_warning(
    here: Here, post: StartPost, home: Path, tmp_path: Path
) -> None:
    program = tmp_path / "bin/deliver"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    configured(home, post(), "exec = ['deliver']")
    path = f"{program.parent}:{os.environ['PATH']}"
    assert results(here("check", env={"PATH": path}))["destination"] == (
        "warning",
        "exec:deliver: cron does not find the program in /usr/bin:/bin: write its whole path",
    )
