"""A new account in the configuration file: all else stays, octet for octet."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.account.config_file import Overrides, load
from pop3fetch.account.registration import (
    Settings,
    forget_password,
    keep_password,
    register,
    register_all,
)
from pop3fetch.errors import ConfigurationError
from tests.support.file_modes import mode, umask

NAME = "alice@example.org"
SETTINGS = {"host": "pop.example.org", "user": NAME}
TABLE = b"""\
[accounts."alice@example.org"]
host = "pop.example.org"
user = "alice@example.org"
"""
DEFAULT = b'default = "work"\n\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def written(file: Path, before: bytes) -> bytes:
    file.write_bytes(before)
    register(file, NAME, SETTINGS)
    return file.read_bytes()


@pytest.mark.parametrize("mask", [0, 0o777])
def test_a_file_that_is_not_there_is_made_private_with_its_folders(tmp_path: Path, mask: int) -> None:
    file = tmp_path / "config" / "pop3fetch" / "config.toml"
    with umask(mask):
        register(file, NAME, SETTINGS)
    assert file.read_bytes() == TABLE
    assert [mode(path) for path in (file, file.parent, file.parent.parent)] == [0o600, 0o700, 0o700]
    assert load(file).account(Overrides(account=NAME)).host == "pop.example.org"


@pytest.mark.parametrize(
    "before",
    [
        b"# mine\n\n\n[accounts.work] # at work\nhost  =  'x'   # why\n\n# the end\n\n",
        b"[accounts]\n[accounts.work]\nhost = 'x'\n[accounts.work.oauth]\nclient_id = 'y'\n\n",
        b"[accounts]\nwork.host = 'x'\nwork.user = 'y'\n\n",
        b"accounts.work.host = 'x'\naccounts.work.user = 'y'\n\n",
    ],
    ids=["comments", "tables", "dots-in-a-table", "dots"],
)
def test_existing_content_stays_as_it_is(file: Path, before: bytes) -> None:
    assert written(file, before) == DEFAULT + before + TABLE


def test_an_inline_table_gets_an_inline_table(file: Path) -> None:
    after = written(file, b"# mine\naccounts = { work = { host = 'x' } } # short\n")
    assert after == DEFAULT + (
        b"# mine\naccounts = { work = { host = 'x' }, "
        b'"alice@example.org" = {host = "pop.example.org", user = "alice@example.org"}} # short\n'
    )


@pytest.mark.parametrize(
    ("before", "between"), [(b"", b""), (b"# mine", b"\n\n"), (b"# mine\n", b"\n"), (b"# mine\n\n", b"")]
)
def test_an_empty_line_comes_before_the_table(file: Path, before: bytes, between: bytes) -> None:
    assert written(file, before) == before + between + TABLE


def test_lines_that_end_in_crlf_go_on_so(file: Path) -> None:
    before = b"# mine\r\n[accounts.work]\r\nhost = 'x'\r\n"
    default, table = (part.replace(b"\n", b"\r\n") for part in (DEFAULT, TABLE))
    assert written(file, before) == default + before + b"\r\n" + table


def test_the_only_account_so_far_becomes_the_default(file: Path) -> None:
    assert written(file, b"[accounts.work]\nhost = 'x'\n").startswith(DEFAULT)
    assert load(file).account().name == "work"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"default = 'b'\n[accounts.a]\nhost = 'x'\n[accounts.b]\nhost = 'x'\n",
        b"[accounts.a]\nhost = 'x'\n[accounts.b]\nhost = 'x'\n",
    ],
    ids=["none", "given", "two"],
)
def test_no_other_default_is_set(file: Path, before: bytes) -> None:
    file.write_bytes(before)
    default = load(file).default
    assert register(file, NAME, SETTINGS).default == load(file).default == default


def test_the_mode_of_the_file_stays(file: Path) -> None:
    file.touch()
    file.chmod(0o640)
    register(file, NAME, SETTINGS)
    assert mode(file) == 0o640


def test_a_symbolic_link_stays_one(tmp_path: Path, file: Path) -> None:
    target = tmp_path / "dotfiles" / "pop3fetch.toml"
    target.parent.mkdir()
    target.write_bytes(b"# mine\n")
    file.symlink_to(target)
    register(file, NAME, SETTINGS)
    assert file.is_symlink()
    assert target.read_bytes() == b"# mine\n\n" + TABLE
    assert [path.name for path in target.parent.iterdir()] == ["pop3fetch.toml"]


def test_a_link_to_nothing_gets_its_file(tmp_path: Path, file: Path) -> None:
    file.symlink_to(tmp_path / "dotfiles" / "pop3fetch.toml")
    register(file, NAME, SETTINGS)
    assert (tmp_path / "dotfiles" / "pop3fetch.toml").read_bytes() == TABLE


def refused(file: Path, before: bytes, name: str = NAME) -> str:
    """Return the error; nothing may have changed."""
    file.write_bytes(before)
    with pytest.raises(ConfigurationError) as caught:
        register(file, name, SETTINGS)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
    return str(caught.value)


def test_another_account_of_the_name_is_not_touched(file: Path) -> None:
    assert refused(file, b"[accounts.work]\nhost = 'x'\nuser = 'y'\n", "work") == (
        f"{file}: accounts.work: another account has this name; choose another with -a NAME, or edit the file"
    )


def test_the_same_account_is_not_written_again(file: Path) -> None:
    before = TABLE + b"output = 'mbox:x'\n"
    assert written(file, before) == before


def test_a_file_that_is_read_only_stays_so(file: Path) -> None:
    file.touch()
    file.chmod(0o400)
    assert refused_to_write(file) == f"{file}: cannot be written: it is read-only"


def refused_to_write(file: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        register(file, NAME, SETTINGS)
    assert list(file.parent.iterdir()) == [file]
    return str(caught.value)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    file = tmp_path / "config" / "config.toml"
    with pytest.raises(ConfigurationError, match="cannot be written: Not a directory") as caught:
        register(file, NAME, SETTINGS)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("before", [b"[accounts.work\n", b"\xff\n", b"[accounts.work]\npassword = 'x'\n"])
def test_a_file_that_is_wrong_is_not_extended(file: Path, before: bytes) -> None:
    file.touch()
    file.chmod(0o644)
    refused(file, before)


def test_what_a_dead_run_left_is_removed(file: Path) -> None:
    file.with_name(f".config.toml.{os.getpid()}").write_bytes(b"half")
    register(file, NAME, SETTINGS)
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_two_at_once_both_write(file: Path) -> None:
    threads = [threading.Thread(target=register, args=(file, f"a{n}", SETTINGS)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(load(file).tables) == [f"a{n}" for n in range(8)]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(name=NAMES, user=st.text(min_size=1), end=st.sampled_from(["\n", "\r\n"]))
def test_any_name_is_written_so_that_it_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, user: str, end: str
) -> None:
    file = tmp_path_factory.mktemp("config") / "config.toml"
    file.write_bytes(f"# mine{end}".encode())
    settings: Settings = {"host": "pop.example.org", "user": user, "port": 1995, "utf8": True, "timeout": 2.5}
    register(file, name, settings)
    assert load(file).tables == {name: settings}


# -- a password in a file --------------------------------------------------------------------------

LAYOUTS = {
    "table": b"# mine\n[accounts.work] # at work\nhost  =  'x'   # why\n",
    "tables": b"[accounts.work]\nhost = 'x'\n\n[accounts.work.oauth]\nclient_id = 'y'\n\n"
    b"[accounts.a]\nhost = 'z'\n",
    "dots-in-a-table": b"[accounts]\nwork.host = 'x'\nwork.user = 'y'\n",
    "dots": b"accounts.work.host = 'x'\naccounts.work.user = 'y'\n",
    "inline": b"accounts = { work = { host = 'x' } } # short\n",
    "crlf": b"[accounts.work]\r\nhost = 'x'\r\n",
}


@pytest.mark.parametrize("before", LAYOUTS.values(), ids=LAYOUTS)
def test_a_password_is_kept_in_a_file_that_the_table_names(file: Path, before: bytes) -> None:
    file.write_bytes(before)
    tables = load(file).tables
    with umask(0):
        kept = keep_password(file, "work", "s3cret")
    assert kept == file.with_name("work.password")
    assert (kept.read_bytes(), mode(kept)) == (b"s3cret\n", 0o600)
    assert load(file).tables == {**tables, "work": {**tables["work"], "password_file": str(kept)}}
    assert set(before.split()) <= set(file.read_bytes().replace(b",", b" ").split()), (
        "nothing else was changed"
    )
    assert (b"\r\n" in before) == (file.read_bytes().count(b"\r\n") == 3)
    keep_password(file, "work", "p\udca7ss")
    assert kept.read_bytes() == b"p\xa7ss\n"
    forget_password(file, "work")
    assert load(file).tables == tables
    assert list(file.parent.iterdir()) == [file]


def test_a_password_file_at_home_is_named_from_there(tmp_path: Path, home: Path) -> None:
    file = home / "config.toml"
    file.write_bytes(TABLE)
    keep_password(file, NAME, "s3cret")
    assert file.read_bytes() == TABLE + b'password_file = "~/alice@example.org.password"\n'
    assert load(file).account().password_file == str(home / "alice@example.org.password")


def test_a_password_does_not_follow_the_link_of_the_configuration(tmp_path: Path, file: Path) -> None:
    target = tmp_path / "dotfiles" / "pop3fetch.toml"
    target.parent.mkdir()
    target.write_bytes(TABLE)
    file.symlink_to(target)
    kept = keep_password(file, NAME, "s3cret")
    assert kept.parent == file.parent
    assert [path.name for path in target.parent.iterdir()] == ["pop3fetch.toml"]
    assert load(file).account().password_file == str(kept)


@pytest.mark.parametrize("name", ["a/../b", "..", ".", "ä b", "%"])
def test_any_name_is_that_of_a_file_in_the_folder(file: Path, name: str) -> None:
    register(file, name, SETTINGS)
    kept = keep_password(file, name, "s3cret")
    assert sorted(file.parent.iterdir()) == sorted([file, kept])
    assert load(file).account().password_file == str(kept)


def test_a_file_that_cannot_be_changed_leaves_no_password_behind(file: Path) -> None:
    file.write_bytes(TABLE)
    file.chmod(0o400)
    with pytest.raises(ConfigurationError, match="cannot be written: it is read-only"):
        keep_password(file, NAME, "s3cret")
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == TABLE


# -- several accounts ------------------------------------------------------------------------

TWO: dict[str, Settings] = {
    "one": {"host": "h", "password_command": ["sh", "-c", 'a "b"']},
    "t.o": {"host": "i"},
}
TWO_TABLES = b"""\
[accounts.one]
host = "h"
password_command = ["sh", "-c", "a \\"b\\""]

[accounts."t.o"]
host = "i"
"""


def test_several_accounts_are_written_in_one_step(file: Path) -> None:
    register_all(file, TWO, default="t.o", backup=".old")
    assert file.read_bytes() == b'default = "t.o"\n\n' + TWO_TABLES
    assert not file.with_name("config.toml.old").exists()
    assert load(file).tables == TWO


@pytest.mark.parametrize(
    ("before", "default"),
    [
        (b"[accounts.x]\nhost = 'x'\n\n", b'default = "x"\n\n'),
        (b"default = 'x'\n[accounts.x]\nhost = 'x'\n\n", b""),
        (b"[accounts.x]\nhost = 'x'\n[accounts.y]\nhost = 'y'\n\n", b""),
        (b"default = 'one'\n\n", b""),
    ],
)
def test_a_default_is_for_a_file_without_accounts(file: Path, before: bytes, default: bytes) -> None:
    file.write_bytes(before)
    file.chmod(0o640)
    register_all(file, TWO, default="t.o", backup=".old")
    assert file.read_bytes() == default + before + TWO_TABLES
    copy = file.with_name("config.toml.old")
    assert (copy.read_bytes(), mode(copy)) == (before, 0o640)


def test_an_older_copy_stays(file: Path) -> None:
    file.write_bytes(b"# mine\n")
    for number in range(3):
        register_all(file, {f"a{number}": {"host": "h"}}, backup=".old")
    copies = [file.with_name(f"config.toml.old{end}") for end in ("", "-2", "-3")]
    assert copies[0].read_bytes() == b"# mine\n"
    assert [len(load(copy).tables) for copy in copies] == [0, 1, 2]


def test_accounts_that_are_there_are_not_written_again(file: Path) -> None:
    register_all(file, TWO)
    before = file.read_bytes()
    register_all(file, TWO, backup=".old")
    assert file.read_bytes() == before
    assert not file.with_name("config.toml.old").exists()
    with pytest.raises(ConfigurationError, match="another account has this name"):
        register_all(file, {"three": {"host": "j"}, "one": {"host": "k"}})
    assert file.read_bytes() == before


def test_the_defaults_of_all_accounts_stay(file: Path) -> None:
    file.write_bytes(b"[defaults]\ndelete = true\n")
    assert register_all(file, TWO).defaults == {"delete": True}
