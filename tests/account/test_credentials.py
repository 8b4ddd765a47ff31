"""The sources of the password and their order; the system's keyring."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest
from keyring.core import load_keyring

from pop3fetch.account.credentials import Password, Sources, without_password
from pop3fetch.account.settings_table import Account
from pop3fetch.account.system_keyring import keep, password_of, remove
from pop3fetch.errors import ConfigurationError, NoPassword
from pop3fetch.status import Status
from tests.support.keyrings import Backend, Hanging, Raising

ACCOUNT = Account(name="work", host="mail.example.org", port=995, tls="implicit", user="alice")
SOON = 0.05  # seconds that a keyring which never answers is given


class Impatient(Backend):
    """A keyring that has a time-out of its own."""

    def get_password(self, service: str, username: str) -> str | None:
        raise TimeoutError("no bus\n")


@pytest.fixture
def use() -> Iterator[Callable[[keyring.backend.KeyringBackend], None]]:
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


@pytest.fixture
def backend(use: Callable[[keyring.backend.KeyringBackend], None]) -> Backend:
    backend = Backend()
    use(backend)
    return backend


@pytest.fixture
def hanging(use: Callable[[keyring.backend.KeyringBackend], None]) -> Iterator[Hanging]:
    backend = Hanging()
    use(backend)
    yield backend
    backend.over.set()
    for thread in threading.enumerate():
        if thread.name == "keyring":
            thread.join()


@pytest.fixture
def reported() -> list[str]:
    return []


@pytest.fixture
def sources(tmp_path: Path, reported: list[str], backend: Backend) -> Sources:
    return Sources(home=tmp_path, report=reported.append, child_environment={"PATH": "/usr/bin:/bin"})


def write_netrc(home: Path, secret: str, mode: int = 0o600) -> None:
    (home / ".netrc").write_text(f"machine mail.example.org login alice password {secret}\n")
    (home / ".netrc").chmod(mode)


# ---- the order

IN_ORDER = ["environment", "command", "file", "keyring", "netrc", "terminal"]


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_the_first_source_that_has_a_password_gives_it(
    sources: Sources, backend: Backend, reported: list[str], first: int
) -> None:
    there = IN_ORDER[first:]
    account = ACCOUNT
    if "environment" in there:
        sources = sources._replace(environment="from environment")
    if "command" in there:
        account = account._replace(password_command=("echo", "from command"))
    if "file" in there:
        account = account._replace(password="from file")
    if "keyring" in there:
        backend.kept["pop3fetch", "alice@mail.example.org"] = "from keyring"
    if "netrc" in there:
        write_netrc(sources.home, '"from netrc"')
    sources = sources._replace(ask=lambda prompt: "from terminal")
    assert Password(account, sources)() == f"from {there[0]}"
    assert reported == []


def test_an_empty_variable_counts_as_missing(sources: Sources) -> None:
    account = ACCOUNT._replace(password_command=("echo", "s3cret"))
    assert Password(account, sources._replace(environment=""))() == "s3cret"


def test_a_later_source_is_not_asked(sources: Sources, backend: Backend) -> None:
    def ask(prompt: str) -> str:
        raise AssertionError(prompt)

    Password(ACCOUNT, sources._replace(environment="s3cret", ask=ask))()
    assert backend.asked == 0


def test_nothing_is_asked_before_the_password_is_needed(sources: Sources, backend: Backend) -> None:
    Password(ACCOUNT, sources)
    assert backend.asked == 0


def test_the_sources_are_asked_once(sources: Sources) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "s3cret"

    password = Password(ACCOUNT, sources._replace(ask=ask))
    assert (password(), password()) == ("s3cret", "s3cret")
    assert prompts == ["Password of alice@mail.example.org: "]


def test_the_prompt_is_harmless_on_a_terminal(sources: Sources) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return ""

    with pytest.raises(NoPassword):
        Password(ACCOUNT._replace(user="al\x1b[2Jice"), sources._replace(ask=ask))()
    assert prompts == ["Password of al\\x1b[2Jice@mail.example.org: "]


def test_without_any_source_the_error_names_the_ways(sources: Sources) -> None:
    with pytest.raises(NoPassword) as caught:
        Password(ACCOUNT, sources)()
    for way in (
        "POP3FETCH_PASSWORD",
        "--password-command",
        "password_command",
        "`pop3fetch login`",
        "~/.netrc",
        "terminal",
    ):
        assert way in str(caught.value)
    assert "alice@mail.example.org" in str(caught.value)
    assert caught.value.exit_status == Status.NO_LOGIN


def test_no_secret_is_in_a_repr(sources: Sources) -> None:
    sources = sources._replace(environment="s3cret", child_environment={"TOKEN": "s3cret"})
    password = Password(ACCOUNT._replace(password="s3cret"), sources)
    password()
    assert "s3cret" not in f"{sources!r} {password!r}"
    assert repr(password) == "<Password of alice@mail.example.org>"


# ---- the password command


def test_a_command_that_fails_ends_the_search(sources: Sources, backend: Backend) -> None:
    account = ACCOUNT._replace(password_command=("sh", "-c", "echo locked >&2; exit 1"))
    with pytest.raises(NoPassword, match="failed with status 1: locked"):
        Password(account, sources._replace(ask=lambda prompt: "s3cret"))()
    assert backend.asked == 0


def test_a_command_has_its_time(sources: Sources) -> None:
    account = ACCOUNT._replace(password_command=("sleep", "600"))
    with pytest.raises(NoPassword, match=r"did not end within 0\.05 s"):
        Password(account, sources._replace(command_limit=0.05))()


def test_the_variable_is_taken_out_of_the_environment_of_programs(sources: Sources) -> None:
    environment = {"PATH": "/usr/bin:/bin", "POP3FETCH_PASSWORD": "s3cret", "POP3FETCH_USER": "alice"}
    assert without_password(environment) == {"PATH": "/usr/bin:/bin", "POP3FETCH_USER": "alice"}
    script = 'echo "${POP3FETCH_PASSWORD-none}"'
    account = ACCOUNT._replace(password_command=("sh", "-c", script))
    sources = sources._replace(child_environment=without_password(environment))
    assert Password(account, sources)() == "none"


@pytest.mark.parametrize("login", ["", "alice:s3cret@", "alice:s3cret@x@", "alice:s3://cret@"])
def test_so_is_the_login_of_a_proxy(login: str) -> None:
    """Not the proxy: a program that fetches mail must not connect without it."""
    seen = without_password({"POP3FETCH_PROXY": f"socks5://{login}localhost:1080"})
    assert seen == {"POP3FETCH_PROXY": "socks5://localhost:1080"}


# ---- the keyring


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        ({}, "alice@mail.example.org"),
        ({"port": 110}, "alice@mail.example.org"),
        ({"port": 1995}, "alice@mail.example.org:1995"),
        ({"host": "::1", "port": 1995}, "alice@[::1]:1995"),
        ({"user": "alice@gmail.com"}, "alice@gmail.com@mail.example.org"),
    ],
)
def test_the_keyring_knows_a_password_by_user_and_server(
    backend: Backend, sources: Sources, changes: dict[str, object], user: str
) -> None:
    account = ACCOUNT._replace(**changes)  # type: ignore[arg-type]
    keep(password_of(account), "s3cret")
    assert backend.kept == {("pop3fetch", user): "s3cret"}
    assert Password(account, sources)() == "s3cret"
    assert remove(password_of(account)) is True
    assert backend.kept == {}
    assert remove(password_of(account)) is False


def test_a_login_does_not_look_into_the_keyring(backend: Backend, sources: Sources) -> None:
    keep(password_of(ACCOUNT), "the old one")
    sources = sources._replace(keyring=False, ask=lambda prompt: "the new one")
    assert Password(ACCOUNT, sources)() == "the new one"


BROKEN: list[tuple[keyring.backend.KeyringBackend, str]] = [
    (Impatient(), "the keyring was skipped: no bus\\n"),
    (Raising(), "the keyring was skipped: KeyringLocked: no key for\\nalice@mail.example.org"),
    (
        load_keyring("keyring.backends.fail.Keyring"),
        "the keyring was skipped: no keyring is installed, or it cannot be reached outside a login session",
    ),
]


@pytest.mark.parametrize(("broken", "line"), BROKEN)
def test_a_keyring_that_is_broken_is_skipped_and_reported(
    use: Callable[[keyring.backend.KeyringBackend], None],
    sources: Sources,
    reported: list[str],
    broken: keyring.backend.KeyringBackend,
    line: str,
) -> None:
    use(broken)
    write_netrc(sources.home, "s3cret")
    assert Password(ACCOUNT, sources)() == "s3cret"
    (said,) = reported
    assert said.startswith(line)


def test_a_keyring_that_cannot_be_imported_is_skipped(
    sources: Sources, reported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    write_netrc(sources.home, "s3cret")
    assert Password(ACCOUNT, sources)() == "s3cret"
    assert reported[0].startswith("the keyring was skipped: ModuleNotFoundError: ")


def test_a_null_keyring_has_nothing_and_is_nothing_to_report(
    use: Callable[[keyring.backend.KeyringBackend], None], sources: Sources, reported: list[str]
) -> None:
    use(load_keyring("keyring.backends.null.Keyring"))
    assert Password(ACCOUNT, sources._replace(ask=lambda prompt: "s3cret"))() == "s3cret"
    assert reported == []


def test_a_keyring_that_hangs_is_skipped_in_time(
    sources: Sources, reported: list[str], hanging: Hanging
) -> None:
    write_netrc(sources.home, "s3cret")
    assert Password(ACCOUNT, sources._replace(keyring_limit=SOON))() == "s3cret"
    assert reported == ["the keyring was skipped: it did not answer within 0.05 s"]


def test_skipped_sources_are_in_the_last_error(sources: Sources, hanging: Hanging) -> None:
    write_netrc(sources.home, "s3cret", mode=0o644)
    with pytest.raises(NoPassword) as caught:
        Password(ACCOUNT, sources._replace(keyring_limit=SOON))()
    assert "the keyring was skipped: it did not answer within 0.05 s; ~/.netrc was skipped: others" in str(
        caught.value
    )
    assert "s3cret" not in str(caught.value)


HANGING_PROGRAM = """
import pathlib, threading
import keyring, keyring.backend
from pop3fetch.account.settings_table import Account
from pop3fetch.account.credentials import Password, Sources

class Hanging(keyring.backend.KeyringBackend):
    priority = 0
    def get_password(self, service, username):
        threading.Event().wait()
    set_password = get_password

keyring.set_keyring(Hanging())
account = Account(name="work", host="h", port=995, tls="implicit", user="alice")
sources = Sources(home=pathlib.Path("/nowhere"), report=print, child_environment={}, keyring_limit=0.05)
Password(account, sources)()
"""


def test_a_keyring_that_hangs_does_not_keep_the_process_from_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HANGING_PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "the keyring was skipped: it did not answer within 0.05 s\n"
    assert "NoPassword: there is no password for alice@h (the keyring was skipped" in done.stderr
    assert done.returncode == 1


def test_the_keyring_is_found_before_it_is_asked(backend: Backend, sources: Sources) -> None:
    keep(password_of(ACCOUNT), "s3cret")
    asked: list[int] = []
    sources = sources._replace(find_keyring=lambda: asked.append(backend.asked))
    before = backend.asked
    assert Password(ACCOUNT, sources)() == "s3cret"
    assert asked == [before]


def test_a_password_that_is_given_finds_no_keyring(sources: Sources) -> None:
    sources = sources._replace(environment="s3cret", find_keyring=lambda: pytest.fail("it was looked for"))
    assert Password(ACCOUNT, sources)() == "s3cret"


def test_importing_the_credentials_imports_no_keyring() -> None:
    program = "import sys, pop3fetch.account.credentials; print('keyring' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False\n"


# ---- storing and forgetting


def test_a_keyring_that_stores_nothing_is_reported(
    use: Callable[[keyring.backend.KeyringBackend], None],
) -> None:
    use(load_keyring("keyring.backends.null.Keyring"))
    with pytest.raises(ConfigurationError) as caught:
        keep(password_of(ACCOUNT), "s3cret")
    assert "the system's keyring: it stores nothing" in str(caught.value)


def test_a_keyring_that_refuses_a_password_does_not_show_it(
    use: Callable[[keyring.backend.KeyringBackend], None],
) -> None:
    use(Raising())
    with pytest.raises(ConfigurationError) as caught:
        keep(password_of(ACCOUNT), "s3cret")
    assert "it could not store the password (PasswordSetError)" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert caught.value.exit_status == Status.CONFIGURATION


def test_a_keyring_that_hangs_stores_nothing(hanging: Hanging) -> None:
    with pytest.raises(ConfigurationError, match=r"could not store the password \(TimeoutError\)"):
        keep(password_of(ACCOUNT), "s3cret", limit=SOON)


def test_without_a_keyring_there_is_nothing_to_forget_it_from(
    use: Callable[[keyring.backend.KeyringBackend], None],
) -> None:
    use(load_keyring("keyring.backends.fail.Keyring"))
    with pytest.raises(
        ConfigurationError, match="the system's keyring: no keyring is installed, or it cannot be reached"
    ):
        remove(password_of(ACCOUNT))


def test_a_null_keyring_has_nothing_to_forget(
    use: Callable[[keyring.backend.KeyringBackend], None],
) -> None:
    use(load_keyring("keyring.backends.null.Keyring"))
    assert remove(password_of(ACCOUNT)) is False


# ---- ~/.netrc


def test_a_netrc_that_others_can_read_is_skipped_and_reported(sources: Sources, reported: list[str]) -> None:
    write_netrc(sources.home, "s3cret", mode=0o644)
    assert Password(ACCOUNT, sources._replace(ask=lambda prompt: "typed"))() == "typed"
    assert reported == ["~/.netrc was skipped: others can read or own it; chown and chmod 600 it"]


def test_without_a_user_netrc_is_not_read(sources: Sources) -> None:
    write_netrc(sources.home, "s3cret")
    with pytest.raises(NoPassword):
        Password(ACCOUNT._replace(user=None), sources)()


def test_no_answer_at_the_terminal_means_no_password(sources: Sources) -> None:
    def ask(question: str) -> str:
        raise EOFError

    with pytest.raises(NoPassword, match="there is no password"):
        Password(ACCOUNT, sources._replace(ask=ask))()


def test_octets_at_the_terminal_that_are_not_text_are_an_error_without_them(sources: Sources) -> None:
    def ask(question: str) -> str:
        return b"s3cret\xe9".decode()

    with pytest.raises(NoPassword, match="from the terminal") as caught:
        Password(ACCOUNT, sources._replace(ask=ask))()
    assert caught.value.__cause__ is None


# ---- what is in it


@pytest.mark.parametrize(
    ("text", "password"),
    [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("p\udca7 ß\x85", "p\udca7 ß\x85")],
)
def test_one_trailing_line_end_of_the_variable_is_dropped(sources: Sources, text: str, password: str) -> None:
    assert Password(ACCOUNT, sources._replace(environment=text))() == password


@pytest.mark.parametrize("end", ["\n\n", "\r", "\n\r", "\r\r\n"])
def test_a_second_line_end_of_the_variable_is_a_control_character(sources: Sources, end: str) -> None:
    with pytest.raises(NoPassword, match="from POP3FETCH_PASSWORD contains a control character"):
        Password(ACCOUNT, sources._replace(environment=f"s3cret{end}"))()


@pytest.mark.parametrize("control", ["\t", "\n", "\r", "\0", "\x1b", "\x7f"])
def test_a_control_character_is_an_error_that_names_the_source(
    sources: Sources, backend: Backend, control: str
) -> None:
    backend.kept["pop3fetch", "alice@mail.example.org"] = f"s3cret{control}"
    with pytest.raises(NoPassword) as caught:
        Password(ACCOUNT, sources)()
    assert caught.value.exit_status == Status.NO_LOGIN
    assert str(caught.value).startswith("the password from the keyring contains a control character")
    assert "s3cret" not in str(caught.value)


def test_half_a_surrogate_pair_is_an_error_without_it(sources: Sources, backend: Backend) -> None:
    backend.kept["pop3fetch", "alice@mail.example.org"] = "s3cret\ud83d"
    with pytest.raises(NoPassword, match="from the keyring contains half a surrogate pair") as caught:
        Password(ACCOUNT, sources)()
    assert caught.value.__cause__ is None
