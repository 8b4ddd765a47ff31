"""The examples of the manual and the README do what the documents promise.

The shell runs them in a home with the accounts `work` and `home`, whose mailboxes are on loopback.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
import trustme

from pop3fetch.account.config_file import load
from pop3fetch.delivery.servers.address import parse
from tests.support import exim, manual
from tests.support.certificates import server_context
from tests.support.command import Ended, Run
from tests.support.daemon import open_folder
from tests.support.dns_server import NameServer
from tests.support.dovecot import Dovecot, missing_sieve, sieve_settings
from tests.support.imap_server import ImapServer
from tests.support.keyrings import IN_THE_HOME
from tests.support.mail_server import Mailbox
from tests.support.other_fetchers import FETCHERS, Fetcher, Server
from tests.support.scripted_server import ScriptedServer, StartServer
from tests.test_documents import PLACES

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text("utf-8")
RECIPES = {**manual.MAIN.examples(), **manual.RECIPES.examples()}
SERVER = "mail.example.org"  # with whom the README's examples talk
CRON_LINE = "Fetch all accounts every ten minutes"
MOVING_IN = (
    "If another program has already fetched the messages that are on the server, record them as fetched"
)
CRON = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}

LONG_AGO = "Fri, 3 Jan 2020 10:00:00 +0100"
NOW = format_datetime(datetime.now(UTC))

WORK = [
    b"From: Bob <bob@example.com>\r\nDate: %b\r\nSubject: one\r\n\r\nfirst\r\n" % LONG_AGO.encode(),
    b"From: Carol <carol@example.com>\r\nDate: %b\r\nSubject: two\r\n\r\nsecond\r\n" % LONG_AGO.encode(),
    b"From: Bob <bob@example.com>\r\nDate: %b\r\nSubject: three\r\n\r\nthird\r\n" % NOW.encode(),
]
HOME = [b"From: Dave <dave@example.com>\r\nSubject: dinner\r\n\r\nat eight\r\n"]

CONFIGURATION = """\
default = "work"

[accounts.work]
host = "127.0.0.1"
port = {work.port}
tls = "implicit"
user = "alice"
password = "secret"
ca_file = "{ca_file}"
output = "maildir:~/Mail/work"

[accounts.home]
host = "127.0.0.1"
port = {home.port}
tls = "implicit"
user = "alice"
password = "secret"
ca_file = "{ca_file}"
output = "maildir:~/Mail/home"
"""

PROGRAM = """\
#!/bin/sh
exec '{python}' -m pop3fetch "$@"
"""

# The same, in a network that is the test's.
RESOLVING = f"""\
#!/bin/sh
exec '{{python}}' '{PROJECT}/tests/support/resolving.py' {{dns}} '{{hosts}}' "$@"
"""

SIEVE = """\
require ["fileinto", "mailbox"];
if header :contains "From" "carol" { fileinto :create "Carol"; }
"""


@dataclass(frozen=True)
class Place:
    """A home with two accounts, and their mailboxes."""

    run: Run
    work: Mailbox
    home: Mailbox
    server: ScriptedServer  # of work
    ca_file: Path

    def follow(self, text: str, **environment: str) -> Ended:
        """Run ``text`` by the shell, in the home; nothing may go wrong."""
        ended = self.shell(text, **environment)
        assert (ended.status, ended.err) == (0, b"")
        return ended

    def shell(self, text: str, **environment: str) -> Ended:
        path = {"PATH": f"{self.run.home}/.local/bin:{self.run.environment['PATH']}"}
        ended = subprocess.run(
            ["/bin/sh", "-eu", "-c", text],
            cwd=self.run.home,
            env={**self.run.environment, **path, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            start_new_session=True,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def install(self, name: str, script: str) -> None:
        """Put a program into the home's own folder for them."""
        program = self.run.home / ".local/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(script)
        program.chmod(0o700)

    def mail(self, folder: str) -> list[bytes]:
        """Return the new messages of a maildir in the home."""
        return sorted(path.read_bytes() for path in (self.run.home / folder / "new").glob("*"))


@pytest.fixture
def place(run: Run, server: StartServer, ca_file: Path) -> Place:
    work, home = Mailbox(WORK), Mailbox(HOME)
    servers = {"work": server(work, tls="implicit"), "home": server(home, tls="implicit")}
    configuration = run.home / ".config/pop3fetch/config.toml"
    configuration.parent.mkdir(parents=True)
    configuration.touch(0o600)
    configuration.write_text(CONFIGURATION.format(ca_file=ca_file, **servers))
    place = Place(run, work, home, servers["work"], ca_file)
    place.install("pop3fetch", PROGRAM.format(python=sys.executable))
    return place


def _lf(messages: list[bytes]) -> list[bytes]:
    return sorted(message.replace(b"\r\n", b"\n") for message in messages)


def _need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


# The manual's recipes

FOLLOWED: set[str] = set()  # filled as this module is read, so that none is forgotten


def recipe(sentence: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test the example that the manual introduces by ``sentence``, as ``text``."""
    FOLLOWED.add(sentence)
    return pytest.mark.parametrize("text", [RECIPES.get(sentence, "")], ids=["as-written"])


@recipe("Fetch all new messages of the default account")
def test_get_fetches_all_new_messages(place: Place, text: str) -> None:
    assert place.follow(text).out == b""
    assert place.mail("Mail/work") == _lf(WORK)


@recipe("Show date, sender and subject of the new messages")
def test_list_shows_the_new_messages(place: Place, text: str) -> None:
    place.follow("pop3fetch get 2")
    shown = [line.split(b"\t") for line in place.follow(text).out.splitlines()]
    assert [line[4:] for line in shown] == [
        [b"Bob <bob@example.com>", b"one"],
        [b"Bob <bob@example.com>", b"three"],
    ]


@recipe("Fetch to an mbox, and delete the fetched messages from the server")
def test_fetched_messages_are_deleted_from_the_server(place: Place, text: str) -> None:
    place.follow(text)
    assert (place.run.home / "mbox").read_bytes().count(b"\nSubject: ") == 3
    assert place.work.messages == []


@recipe("Delete the first two messages from the server")
def test_rm_deletes_the_given_messages(place: Place, text: str) -> None:
    place.follow(text)
    assert place.work.messages == WORK[2:]


@recipe("Read the newest message")
def test_the_newest_message_goes_to_a_pipe(place: Place, text: str) -> None:
    _need("less")
    assert place.follow(text).out == WORK[-1].replace(b"\r\n", b"\n")
    assert place.follow("pop3fetch list --new").out.count(b"\n") == 3


@recipe("List the ten newest messages, the newest one first")
def test_the_newest_messages_are_listed_first(place: Place, text: str) -> None:
    for number in range(4, 12):
        place.work.add(b"Subject: later\r\n\r\n", b"uid-%d" % number)
    numbers = [int(line.split()[0]) for line in place.follow(text).out.splitlines()]
    assert numbers == [*range(11, 1, -1)]


@recipe("Print the subjects of the new messages")
def test_subjects_are_a_column(place: Place, text: str) -> None:
    assert place.follow(text).out == b"one\ntwo\nthree\n"


@recipe("Count all messages, and the new ones, for a status bar")
def test_messages_are_counted(place: Place, text: str) -> None:
    place.follow("pop3fetch get 2")
    assert place.follow(text).out.split() == [b"3", b"2"]


@recipe("Show the ten newest messages")
def test_the_newest_messages_are_shown(place: Place, text: str) -> None:
    for number in range(10):
        place.work.add(b"Subject: later\r\n\r\n", b"uid-later-%d" % number)
    assert [line.split(b"\t")[0] for line in place.follow(text).out.splitlines()] == [
        b"%d" % number for number in range(4, 14)
    ]


@recipe("Show what has arrived from one sender in the last seven days")
def test_what_a_sender_wrote_lately_is_shown(place: Place, text: str) -> None:
    assert [line.split(b"\t")[5] for line in place.follow(text).out.splitlines()] == [b"three"]


@recipe("Fetch the new messages of one sender to a folder of their own")
def test_the_mail_of_one_sender_goes_to_a_folder(place: Place, text: str) -> None:
    place.follow(text)
    assert place.mail("Mail/bob") == _lf([WORK[0], WORK[2]])


@recipe("Fetch the messages of two senders, which filters cannot express")
@pytest.mark.parametrize(
    ("senders", "numbers"), [("bob@|carol@", [0, 1, 2]), ("nobody@|carol@", [1]), ("x@", [])]
)
def test_the_mail_of_two_senders_goes_to_a_folder(
    place: Place, text: str, senders: str, numbers: list[int]
) -> None:
    _need("jq")
    place.follow(text.replace("bob@|carol@", senders))
    assert place.mail("Mail/friends") == _lf([WORK[number] for number in numbers])


@recipe("Delete messages with a date more than 30 days ago, fetched or not")
def test_old_mail_is_deleted(place: Place, text: str) -> None:
    place.follow(text)
    assert place.work.messages == [WORK[2]]
    place.follow(text)
    assert place.work.messages == [WORK[2]]


@recipe("Show what would be deleted of the large messages of one sender")
def test_large_mail_of_a_sender_is_shown(place: Place, text: str) -> None:
    assert place.follow(text).out == b""
    shown = place.follow(text.replace("10M", "50")).out
    assert [line.split(b"\t")[1] for line in shown.splitlines()] == [b"1", b"3"]
    assert place.work.messages == WORK


@recipe("Fetch new messages, and delete those that were fetched at least 30 days ago")
def test_what_was_fetched_now_stays_for_a_month(place: Place, text: str) -> None:
    place.follow(text)
    place.follow(text)
    assert place.mail("Mail/work") == _lf(WORK)
    assert place.work.messages == WORK


@recipe(MOVING_IN)
def test_marked_mail_is_not_new(place: Place, text: str) -> None:
    place.follow(text)
    place.work.add(b"Subject: later\r\n\r\n", b"uid-later")
    place.follow("pop3fetch get")
    assert place.mail("Mail/work") == [b"Subject: later\n\n"]


@recipe("Record only the messages whose unique-ids are in a file, one per line, as fetched a week ago")
def test_what_is_in_a_list_is_not_new(place: Place, text: str) -> None:
    (place.run.home / "uids").write_text("uid-1\nuid-3\ngone\n")
    place.follow(text)
    place.follow("pop3fetch get --delete-after 7")
    assert place.mail("Mail/work") == _lf(WORK[1:]), "the third came later: its unique-id was reused"
    assert place.work.messages == WORK[1:]


@recipe("Move a record to another machine")
def test_a_record_goes_to_another_machine(place: Place, text: str) -> None:
    place.install("ssh", '#!/bin/sh\nshift\nPOP3FETCH_STATE_DIR=other exec "$@"\n')
    place.follow("pop3fetch get 1-2")
    place.follow(text)
    place.follow("pop3fetch get", POP3FETCH_STATE_DIR="other")
    assert place.mail("Mail/work") == _lf(WORK)
    exported = [place.follow("pop3fetch record export", POP3FETCH_STATE_DIR=name) for name in ("", "other")]
    assert exported[0].out.splitlines()[:2] == exported[1].out.splitlines()[:2]


@recipe("Show what would hinder a job, or soon will, such as a certificate that expires")
def test_what_hinders_a_job_is_shown(place: Place, text: str) -> None:
    _need("jq")
    assert place.follow(text).out == b""
    place.work.password = b"changed"
    assert place.shell(text).out.startswith(b"work: the server refused the login of alice (PLAIN): ")


@recipe("Pass each new message to a program that sorts mail")
def test_a_program_takes_each_message(place: Place, text: str) -> None:
    place.install("maildrop", "#!/bin/sh\ncat >>taken\n")
    place.follow(text)
    assert (place.run.home / "taken").read_bytes() == b"".join(WORK).replace(b"\r\n", b"\n")


def _assert_all_mail_is_here(place: Place) -> None:
    assert place.mail("Mail/work") == _lf(WORK)
    assert place.mail("Mail/home") == _lf(HOME)


@recipe(CRON_LINE)
def test_the_line_for_cron_fetches_all_in_silence(place: Place, text: str) -> None:
    *times, command = text.split(maxsplit=5)
    assert times == ["*/10", "*", "*", "*", "*"]
    assert place.follow(command, **CRON).out == b""
    _assert_all_mail_is_here(place)


@recipe("Fetch all accounts every ten minutes, with the units that are installed")
def test_the_systemd_service_fetches_all(place: Place, text: str) -> None:
    timer = text.split()[-1]
    assert (PROJECT / "share/systemd/user" / timer).exists()
    service = configparser.ConfigParser(interpolation=None, strict=False)
    service.optionxform = str  # type: ignore[assignment,method-assign]
    service.read(PROJECT / "share/systemd/user" / timer.replace(".timer", ".service"))
    name, path = service["Service"]["Environment"].split("=")
    place.follow(service["Service"]["ExecStart"], **{name: path.replace("%h", str(place.run.home))})
    _assert_all_mail_is_here(place)


@pytest.mark.parametrize("unit", ["pop3fetch.service", "pop3fetch.timer", "pop3fetch-every.service"])
def test_systemd_finds_no_fault_in_the_units(unit: str, tmp_path: Path) -> None:
    _need("systemd-analyze")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", PROJECT / "share/systemd/user" / unit],
        env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
    )
    assert (verified.returncode, verified.stderr) == (0, b"")


@pytest.mark.parametrize("unit", ["pop3fetch.service", "pop3fetch-every.service"])
def test_systemd_rates_the_services_as_hardly_exposed(unit: str) -> None:
    _need("systemd-analyze")
    path = PROJECT / "share/systemd/user" / unit
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=29", "--no-pager", str(path)]
    rated = subprocess.run(words, capture_output=True, text=True)
    if "unrecognized option" in rated.stderr:
        pytest.skip("this systemd-analyze reads only services that are loaded")
    assert rated.returncode == 0, rated.stdout  # 2.9 of 10 at most


def _verified(unit: str, text: str, folder: Path) -> None:
    """Require that systemd finds no fault in a unit with ``text`` as a drop-in."""
    _need("systemd-analyze")
    shutil.copy(PROJECT / "share/systemd/user" / unit, folder)
    (folder / f"{unit}.d").mkdir()
    (folder / f"{unit}.d/override.conf").write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", folder / unit],
        env={"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
        capture_output=True,
    )
    assert (verified.returncode, verified.stderr) == (0, b"")


@recipe(
    "If mail is delivered elsewhere, run .Ql systemctl \\-\\-user edit pop3fetch.service and add the folder"
)
def test_the_services_may_write_elsewhere(text: str, tmp_path: Path) -> None:
    _verified("pop3fetch.service", text, tmp_path)


@recipe("Give the password of the default account to the service as a credential")
def test_a_credential_is_the_password(place: Place, text: str, tmp_path: Path) -> None:
    _verified("pop3fetch.service", text, tmp_path)
    file = place.run.home / ".config/pop3fetch/config.toml"
    file.write_text(file.read_text().replace('password = "secret"\n', "", 1))
    credential = tmp_path / "mail"
    credential.touch(0o400)
    credential.chmod(0o600)
    credential.write_text("secret\n")
    place.follow(text.rsplit("ExecStart=", 1)[1].replace("%d", str(tmp_path)))
    assert place.mail("Mail/work") == _lf(WORK)


def _in_a_container(place: Place, command: str, folders: dict[str, str]) -> Ended:
    """Run a command of the manual as a container does: without a home folder."""
    secret = place.run.home / "secret"
    secret.touch(0o600)
    secret.write_text("secret\n")
    command = command.replace("pop3s://alice@mail.example.org", place.server.url())
    for inside, outside in folders.items():
        command = command.replace(inside, str(place.run.home / outside))
    return place.follow(command, HOME="", POP3FETCH_CA_FILE=str(place.ca_file))


@recipe(
    "Fetch in a container without a home folder, whose root is read-only; the secret is mounted with mode "
    "0400"
)
def test_a_container_needs_no_home(place: Place, text: str) -> None:
    command = text[text.index("pop3fetch get") :]
    _in_a_container(place, command, {"/mail": "mail", "/state": "state", "/run/secret": "secret"})
    assert place.mail("mail") == _lf(WORK)
    assert [*(place.run.home / "state").glob("*.sqlite")]
    assert not (place.run.home / ".local/state").exists()


@recipe("Fetch every ten minutes in Kubernetes; status 75 does not fail the job")
def test_a_job_in_kubernetes_fails_only_when_patience_is_over(place: Place, text: str) -> None:
    folded = re.search(r"- >-\n((?: {14}.*\n)+)", text)
    assert folded
    command = " ".join(folded[1].split())
    folders = {"/data/mail": "mail", "/data/state": "state", "/secret/password": "secret"}
    _in_a_container(place, command, folders)
    assert place.mail("mail") == _lf(WORK)
    place.work.greeting = b"-ERR [IN-USE] later\r\n"
    _in_a_container(place, command, folders)


@recipe("Show a notification on the desktop when there is new mail")
def test_new_mail_is_notified_once(place: Place, text: str) -> None:
    place.install("notify-send", '#!/bin/sh\necho "$1" >>notified\n')
    place.follow(text)
    place.follow(text)
    assert (place.run.home / "notified").read_text() == "3 new in work\n"


@recipe(
    "Write a text file for the node exporter of Prometheus; make this script the .Cm on_new of the accounts"
)
def test_metrics_are_written_after_new_mail(place: Place, text: str) -> None:
    folder = place.run.home / "metrics"
    folder.mkdir()
    place.install("metrics", text.replace("/var/lib/prometheus/node-exporter", str(folder)))
    place.follow("pop3fetch get --limit 2 --on-new metrics")
    [file] = folder.iterdir()
    lines = file.read_text().splitlines()
    assert file.name == "mail-work.prom"
    assert lines[0] == 'pop3fetch_recorded{account="work"} 2'
    assert re.fullmatch(r'pop3fetch_last_new\{account="work"\} [0-9]{10}', lines[1])


@recipe("Rotate the log of .Fl -log-file once a week with .Xr logrotate 8 ; the new file is opened by itself")
def test_a_log_is_rotated(place: Place, text: str) -> None:
    rotate = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if rotate is None:
        pytest.skip("logrotate is not installed")
    log = place.run.home / "pop3fetch.log"
    place.follow("pop3fetch get --limit 1 --log-file pop3fetch.log")
    before = log.read_bytes()
    configuration = place.run.home / "logrotate.conf"
    configuration.write_text(text.replace("/home/alice", str(place.run.home)))
    configuration.chmod(0o600)
    rotated = subprocess.run([rotate, "-f", "-s", place.run.home / "status", configuration])
    assert rotated.returncode == 0
    place.follow("pop3fetch get --log-file pop3fetch.log")
    assert (place.run.home / "pop3fetch.log.1").read_bytes() == before
    assert b"2 messages fetched" in log.read_bytes()


@recipe("Fetch all accounts, and more of them in parallel")
def test_many_accounts_are_fetched_at_once(place: Place, text: str) -> None:
    place.follow(text)
    _assert_all_mail_is_here(place)


@recipe("Fetch each account in a process of its own, with GNU parallel")
def test_gnu_parallel_takes_the_names_of_the_accounts(place: Place, text: str) -> None:
    _need("parallel")
    place.follow(text)
    _assert_all_mail_is_here(place)


@recipe("Do the same with xargs")
def test_xargs_takes_the_names_of_the_accounts(place: Place, text: str) -> None:
    place.follow(text)
    _assert_all_mail_is_here(place)


@recipe("End a script with status 0 if a later run may succeed")
@pytest.mark.parametrize(("greeting", "status"), [(b"-ERR [IN-USE] busy\r\n", 0), (b"* OK IMAP\r\n", 1)])
def test_a_script_can_distinguish_later_from_never(
    place: Place, text: str, greeting: bytes, status: int
) -> None:
    place.work.greeting = greeting
    assert place.shell(text).status == status


# Moving in from another program

CRONTAB = """\
#!/bin/sh
case $1 in
-l) cat crontab ;;
-) cat >crontab.new && mv crontab.new crontab ;;
esac
"""


def _move_in(place: Place, fetcher: Fetcher) -> None:
    """Give the home, which has no accounts yet, the files of a program that has fetched two messages."""
    (place.run.home / ".config/pop3fetch/config.toml").unlink()
    server = Server("127.0.0.1", place.server.port, "alice", "secret", place.ca_file)
    fetcher.set_up(server, place.run.home)
    fetched = fetcher.list_in(place.run.home, server)
    fetched.parent.mkdir(parents=True, exist_ok=True)
    fetched.write_text(fetcher.listed("alice", "127.0.0.1", ["uid-1", "uid-2"]))
    place.install("crontab", CRONTAB)
    place.install("fetchmail", "#!/bin/sh\nexit 1\n")
    (place.run.home / "crontab").write_text(f"*/5 * * * * {fetcher.name} --quiet\n@daily backup\n")


@recipe("Hand new mail to Dovecot on this machine, where Sieve sorts it")
def test_sieve_sorts_what_dovecot_is_handed(
    place: Place, authority: trustme.CA, tmp_path: Path, request: pytest.FixtureRequest, text: str
) -> None:
    if reason := missing_sieve():
        pytest.skip(reason)
    folder = open_folder("sieve-")  # Dovecot reads it as another user
    request.addfinalizer(lambda: shutil.rmtree(folder))
    (folder / "sort.sieve").write_text(SIEVE)
    settings = sieve_settings(folder / "sort.sieve")
    with Dovecot.start(tmp_path / "dovecot", settings=settings, ca=authority, stores=True) as dovecot:
        place.follow(text.replace("/run/dovecot/lmtp", f"{dovecot.folder}/lmtp"))
        assert len([*dovecot.maildir("alice").glob("new/*")]) == 2
        assert len([*dovecot.maildir("alice").glob(".Carol/new/*")]) == 1


@recipe("Hand it to Postfix or Exim on this machine, as if it had come by SMTP")
def test_exim_gets_mail_as_by_smtp(place: Place, authority: trustme.CA, text: str) -> None:
    if reason := exim.missing():
        pytest.skip(reason)
    with exim.Exim.start(authority) as relay:
        place.follow(text.replace("//localhost", f"//localhost:{relay.port}"))
        arrived = relay.arrived(len(WORK))
    assert sorted(octets[octets.index(b"From: ") :] for octets in arrived) == _lf(WORK)


ARCHIVE = "Move it into a mailbox of another provider, exactly once, with this in the configuration file"


@recipe("Store its password, and fetch")
def test_mail_is_moved_into_another_mailbox(place: Place, server: StartServer, text: str) -> None:
    imap = ImapServer()
    url = f"localhost:{server(imap, tls='implicit').port}"
    with open(place.run.home / ".config/pop3fetch/config.toml", "a") as file:
        file.write(RECIPES[ARCHIVE].replace("imap.example.net", url) + f'ca_file = "{place.ca_file}"\n')
    (place.run.home / "paper.py").write_text(IN_THE_HOME)
    netrc = place.run.home / ".netrc"
    netrc.touch(0o600)
    netrc.write_text("machine localhost login alice password secret\n")
    place.follow(text, PYTHONPATH=str(place.run.home), PYTHON_KEYRING_BACKEND="paper.Keyring")
    assert [*imap.inbox.messages.values()] == WORK
    assert place.work.messages == []
    assert "@localhost:" in (place.run.home / "keyring.json").read_text()


FOLLOWED.add(ARCHIVE)


@recipe("This does what it did, every few minutes instead of every hour")
def test_the_table_for_gmail_is_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.touch(0o600)
    file.write_text(text)
    table = load(file).destination("gmail")
    address = parse(table.url)
    assert (address.host, address.port, address.user) == ("imap.gmail.com", 993, "alice@gmail.com")
    assert table.settings["oauth"].scopes == ("https://mail.google.com/",)


def _steps(program: str) -> list[str]:
    """Return the sentences that introduce the steps of moving in from a program."""
    name = "getmail6" if program == "getmail" else program
    return [
        f"Show what would be imported from {name}, and what would not",
        f"Stop {name}, so that only one of the two fetches",
        f"Import from {name}, and fetch what it has not",
        f"Remove the old cron line of {name}",
    ]


FOLLOWED.update(sentence for fetcher in FETCHERS for sentence in _steps(fetcher.name))


@pytest.mark.parametrize(
    "fetcher",
    [FETCHERS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in FETCHERS[1:])],
    ids=lambda fetcher: fetcher.name,
)
def test_the_way_from_another_program_ends_without_its_cron_line(place: Place, fetcher: Fetcher) -> None:
    show, stop, take_over, remove = (RECIPES[sentence] for sentence in _steps(fetcher.name))
    _move_in(place, fetcher)
    authorities = {"SSL_CERT_FILE": str(place.ca_file)}  # fdm names none that could be imported

    assert b"; 3 on the server; 1 new; " in place.follow(show, **authorities).out
    assert not (place.run.home / ".config/pop3fetch/config.toml").exists()
    place.follow(stop)
    assert (
        place.run.home / "crontab"
    ).read_text() == f"# */5 * * * * {fetcher.name} --quiet\n@daily backup\n"
    place.follow(take_over, **authorities)
    assert place.mail("Mail") == _lf(WORK[2:])
    place.follow(remove)
    assert (place.run.home / "crontab").read_text() == "@daily backup\n"


def test_every_recipe_is_followed() -> None:
    assert set(RECIPES) == FOLLOWED


# Other facts of the manual


def _keys(ended: Ended) -> set[str]:
    """Return the keys of a JSON object a line, which must be the same in all."""
    objects = [json.loads(line) for line in ended.out.splitlines()]
    assert {frozenset(each) for each in objects} == {frozenset(objects[0])}
    return set(objects[0])


def _documented_keys(command: str) -> set[str]:
    lines = manual.MAIN.under("JSON")
    start = lines.index(f".It Cm {command}") + 1
    ends = [place for place, line in enumerate(lines) if place > start and line.startswith((".It", ".El"))]
    return manual.words(lines[start : ends[0]], "Va")


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("list", ["list --json -l"]),
        ("get", ["get --json 1", "get --json --dry-run"]),
        ("rm", ["rm --json --dry-run 1", "rm --json 1"]),
        ("stat", ["stat --new --json"]),
        ("accounts", ["accounts --json"]),
        ("check", ["check --json"]),
        ("record", ["record --json"]),
    ],
)
def test_the_manual_has_the_keys_of(place: Place, command: str, lines: list[str]) -> None:
    keys = [_keys(place.follow(f"pop3fetch {line}")) for line in lines]
    assert set.union(*keys) == _documented_keys(command)


def test_the_manual_has_the_keys_of_recorded_messages(place: Place) -> None:
    place.follow("pop3fetch get")
    listed, exported = (_keys(place.follow(f"pop3fetch record {verb}")) for verb in ("list --json", "export"))
    assert listed == _documented_keys("record list")
    assert exported == _documented_keys("record list") | _documented_keys("record export")


def test_the_manual_has_the_keys_of_import(place: Place) -> None:
    _move_in(place, FETCHERS[0])
    shown = place.follow("pop3fetch import mpop --dry-run --json").out.splitlines()
    kinds = {frozenset(json.loads(line)) for line in shown}
    assert len(kinds) == 2  # accounts and findings
    assert frozenset.union(*kinds) == _documented_keys("import")


def test_under_many_accounts_each_object_has_its_account(place: Place) -> None:
    assert _keys(place.follow("pop3fetch stat --json -A")) == {"account", "messages", "octets"}


def _round_trips(place: Place, command: str) -> int:
    """Count how often a command waits for the server, by its trace."""
    trace = place.shell(f"pop3fetch {command} -vv").err.decode().splitlines()
    marks = "".join(line[0] for line in trace if line[:2] in ("> ", "< "))
    return 2 + len(re.findall("<+", marks))  # TCP and TLS, then every time that something is awaited


def test_the_manual_counts_the_round_trips(place: Place) -> None:
    said = re.search(
        r"get takes (\d+) round trips if nothing is new and (\d+) otherwise, and stat takes (\d+)\..*"
        r"one round trip: (\d+), (\d+) and (\d+) in all\.",
        manual.MAIN.prose("IMPLEMENTATION NOTES"),
    )
    assert said

    def counted(line: str, *, is_known: bool) -> int:
        for file in () if is_known else place.run.home.rglob("*.server"):
            file.unlink()
        return _round_trips(place, line)

    with_messages = counted("get", is_known=False)
    counts = [counted("get", is_known=False), with_messages, counted("stat", is_known=False)]
    counts += [counted(line, is_known=True) for line in ("get", "get 1", "stat")]
    assert [int(number) for number in said.groups()] == counts


def test_the_example_of_a_configuration_is_one(place: Place) -> None:
    text = manual.CONFIG.examples()["Two accounts"]
    (place.run.home / "example.toml").write_text(text)
    listed = place.follow("pop3fetch accounts -v -c example.toml").out
    assert listed.decode().splitlines() == [
        f"work\tmail.example.org\t995\talice\tmaildir:{place.run.home}/Mail/work",
        f"home\tpop.example.net\t110\talice@example.net\tmbox:{place.run.home}/Mail/home",
    ]


def test_the_example_of_an_account_with_oauth_is_one(tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(manual.CONFIG.examples()["An account that logs in with OAuth 2"])
    assert load(file).account().uses_oauth


# README


def _blocks(heading: str, language: str) -> list[str]:
    """Return the code of a section of the README."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert section, f"README.md has no section {heading}"
    return re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)


def test_the_readme_has_a_first_result_within_ten_lines(place: Place) -> None:
    opening, *_ = README.split("## ")
    assert len(opening.partition("\n```\n")[0].splitlines()) < 10
    [text] = re.findall(r"^```sh\n(.*?)^```$", opening, re.DOTALL | re.MULTILINE)
    place.install("pipx", "#!/bin/sh\ntest \"$*\" = 'install .'\n")
    shown = place.follow(text).out
    assert [command in shown for command in (b"$ pop3fetch list", b"$ pop3fetch get", b"$ pop3fetch rm")] == [
        True,
        True,
        True,
    ]


def test_the_readme_shows_how_to_install_what_exists() -> None:
    ways, *_ = _blocks("Install", "sh")
    assert [way.split()[-2:] for way in ways.splitlines()] == [["install", "."]] * 3


# A shell, the place of its completions in ~/.local/share, and what it prints of them.
LOOKED_UP = {
    "bash": (
        ". /usr/share/bash-completion/bash_completion; _completion_loader pop3fetch; complete -p pop3fetch",
        b"-F _pop3fetch_completion pop3fetch",
    ),
    "fish": ("complete -C 'pop3fetch accou'", b"accounts"),
    "zsh": ("{fpath}; autoload -Uz compinit; compinit -u -D; print $_comps[pop3fetch]", b"_pop3fetch"),
    "sh": ("man -w 7 pop3fetch-recipes", b"/.local/share/man/man7/pop3fetch-recipes.7"),
}


INSTALLERS = {"pipx": "environment -V PIPX_LOCAL_VENVS", "uv": "tool dir"}


@pytest.mark.parametrize("shell", LOOKED_UP)
@pytest.mark.parametrize("installer", INSTALLERS)
def test_what_an_installer_keeps_to_itself_is_found_once_copied(
    place: Place, installer: str, shell: str
) -> None:
    for program in (shell, "man"):
        _need(program)
    if shell == "bash" and not Path("/usr/share/bash-completion/bash_completion").exists():
        pytest.skip("bash-completion is not installed")
    [text] = [block for block in _blocks("Install", "sh") if f"$({installer} " in block]
    [fpath] = re.findall(r"`(fpath.*?)`", README)
    _have_installed(place, installer)
    place.follow(text)
    assert (place.run.home / ".local/share/systemd/user/pop3fetch.timer").exists()
    command, expected = LOOKED_UP[shell]
    found = place.follow(f"exec {shell} -c '{command.format(fpath=fpath).replace(chr(39), chr(34))}'")
    assert expected in found.out


def _have_installed(place: Place, installer: str) -> None:
    """Put the files of the wheel into the folder in which an installer leaves them."""
    tools = place.run.home / f".local/share/{installer}/tools"
    place.install(installer, f"#!/bin/sh\ntest \"$*\" = '{INSTALLERS[installer]}' && echo '{tools}'\n")
    for source, target in PLACES.items():
        file = tools / "pop3fetch" / target
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / source, file)


def test_the_first_steps_go_well(place: Place, server: StartServer, authority: trustme.CA) -> None:
    [text] = _blocks("First steps", "sh")
    (place.run.home / ".config/pop3fetch/config.toml").unlink()
    (place.run.home / "paper.py").write_text(IN_THE_HOME)
    context = server_context(authority, "pop.example.org")
    served = server(Mailbox(WORK, user="alice@example.org"), tls="implicit", context=context)
    with NameServer({"_pop3s._tcp.example.org": ["0 1 995 pop.example.org."]}) as names:
        hosts = json.dumps({"pop.example.org:995": served.port})
        place.install("pop3fetch", RESOLVING.format(python=sys.executable, dns=names.port, hosts=hosts))
        ended = place.follow(
            # What a user types when asked.
            text.replace("pop3fetch login", "POP3FETCH_PASSWORD=secret pop3fetch login"),
            POP3FETCH_CA_FILE=str(place.ca_file),
            PYTHONPATH=str(place.run.home),
            PYTHON_KEYRING_BACKEND="paper.Keyring",
        )
    assert ended.out.endswith(WORK[-1].replace(b"\r\n", b"\n"))
    assert place.mail("Maildir") == _lf(WORK)


def test_the_daily_jobs_do_what_their_comments_describe(place: Place) -> None:
    _need("jq")
    [text] = _blocks("Daily jobs", "sh")
    place.install("maildrop", "#!/bin/sh\ncat >>taken\n")
    get, would_get, get_and_delete, to_program, to_dovecot, *others = text.splitlines(keepends=True)
    handed = RECIPES["Hand new mail to Dovecot on this machine, where Sieve sorts it"]
    assert to_dovecot.partition("#")[0].strip() == handed.strip()
    list_newest, list_new, get_some, record, would_delete, delete = others
    assert len(place.follow(would_get).out.splitlines()) == len(WORK)
    assert place.follow(get).out == b""
    assert place.follow(list_newest).out.startswith(b"3\t")
    assert place.mail("Mail/work") == _lf(WORK)
    place.work.add(b"Subject: later\r\n\r\n", b"uid-4")
    assert place.follow(list_new).out == b"uid-4\n"
    assert place.follow(to_program).out == b""
    assert (place.run.home / "taken").read_bytes() == b"Subject: later\n\n"
    place.work.add(b"From: Bob\r\n\r\n", b"uid-5")
    assert place.follow(get_some).out == b""
    assert place.mail("bob") == [b"From: Bob\n\n"]
    assert place.follow(record).out.splitlines()[1] == b"messages\t5"
    assert [line.split(b"\t")[1] for line in place.follow(would_delete).out.splitlines()] == [b"1", b"2"]
    assert place.follow(get_and_delete).out == b""
    assert len(place.work.messages) == 5
    assert place.follow(delete).out == b""
    assert len(place.work.messages) == 3


def test_the_readme_moves_in_from_fetchmail(place: Place) -> None:
    [text] = _blocks("Moving in", "sh")
    _move_in(place, next(fetcher for fetcher in FETCHERS if fetcher.name == "fetchmail"))
    assert b"; 1 new; " in place.follow(text).out
    assert place.mail("Mail") == _lf(WORK[2:])


def test_the_configuration_of_the_readme_is_one(place: Place) -> None:
    [text] = _blocks("First steps", "toml")
    (place.run.home / "readme.toml").write_text(text)
    assert place.follow("pop3fetch accounts -c readme.toml").out == b"work\n"


def test_the_readme_has_the_schedules_of_the_manual() -> None:
    line = RECIPES[CRON_LINE]
    assert _blocks("Daily jobs", "crontab") == [line]
    timer = RECIPES["Fetch all accounts every ten minutes, with the units that are installed"].strip()
    assert f"`{timer}`" in README


def test_a_message_that_is_refused_stops_no_other(place: Place) -> None:
    place.work.replies[b"RETR 2\r\n"] = b"-ERR not this one\r\n"
    ended = place.shell("pop3fetch get")
    assert "4, status 69" in README  # of five messages
    assert ended.status == 69
    assert place.mail("Mail/work") == _lf([WORK[0], WORK[2]])
    assert place.follow("pop3fetch list --new").out.startswith(b"2\t")


def test_the_python_example_works(place: Place) -> None:
    [text] = _blocks("Python", "python")
    here = f'"127.0.0.1", {place.server.port}, ca_file="{place.ca_file}"'
    assert f'"{SERVER}"' in text
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", text.replace(f'"{SERVER}"', here)],
        capture_output=True,
        text=True,
    )
    first_lines = (message.partition(b"\r\n")[0] for message in WORK)
    shown = [f"{index} {len(WORK[index])} {line!r}" for index, line in enumerate(first_lines)]
    assert (ended.returncode, ended.stderr, ended.stdout.splitlines()) == (0, "", shown)


def test_every_block_of_the_readme_has_its_test() -> None:
    languages = re.findall(r"^```(\w+)$", README, re.MULTILINE)
    assert sorted(languages) == ["crontab", "python", *["sh"] * 7, "toml"]
