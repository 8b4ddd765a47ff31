"""Passwords in ~/.netrc."""

from __future__ import annotations

import netrc as stdlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.account.netrc import Entry, entries, password
from pop3fetch.errors import ConfigurationError

ALICE = "machine mail.example.org login alice password s3cret\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / ".netrc"
    file.write_text(ALICE)
    file.chmod(0o600)
    return file


FOUND = [
    (ALICE, "s3cret"),
    ("machine mail.example.org\n  login alice\n\tpassword s3cret", "s3cret"),
    ("machine Mail.Example.ORG login alice password s3cret", "s3cret"),
    ("machine mail.example.org user alice account x password s3cret", "s3cret"),
    ("machine mail.example.org password s3cret login alice", "s3cret"),
    ("machine mail.example.org password s3cret", "s3cret"),
    ("machine other.example.org login alice password no\n" + ALICE, "s3cret"),
    ("machine mail.example.org login bob password no\n" + ALICE, "s3cret"),
    (ALICE + "machine mail.example.org login bob password no\n", "s3cret"),
    (ALICE + "machine mail.example.org login alice password no\n", "s3cret"),
    ("machine mail.example.org login alice\n" + ALICE, "s3cret"),
    ("default login alice password no\n" + ALICE, "s3cret"),
    ("default login alice password s3cret", "s3cret"),
    ('machine mail.example.org login alice password "two words"', "two words"),
    (r'machine mail.example.org login alice password "a\"b\\c"', 'a"b\\c'),
    (r'machine mail.example.org login alice password "a\n\r\tb"', "a\n\r\tb"),
    (r'machine mail.example.org login alice password "a\xb"', "axb"),
    (r"machine mail.example.org login alice password a\b\n\\", r"a\b\n\\"),
    ('machine mail.example.org login alice password a"b', 'a"b'),
    ("machine mail.example.org login alice password a\N{NO-BREAK SPACE}b\x85c", "a\N{NO-BREAK SPACE}b\x85c"),
    ("MACHINE mail.example.org Login alice PassWord s3cret", "s3cret"),
    ("machine mail.example.org login alice password macdef", "macdef"),
    ("machine mail.example.org login alice password #s3cret", "#s3cret"),
    ("machine mail.example.org login alice password machine", "machine"),
    ("# password of alice\n" + ALICE + "# the end", "s3cret"),
    ("machine mail.example.org # password no\nlogin alice password s3cret # so", "s3cret"),
    ("macdef init\nmachine mail.example.org\npassword no\n\n" + ALICE, "s3cret"),
    ("macdef init\r\nmachine mail.example.org\r\npassword no\r\n\r\n" + ALICE, "s3cret"),
    ("machine x login y password z macdef init\nmachine mail.example.org\npassword no\n\n" + ALICE, "s3cret"),
    (ALICE + "macdef init\npassword no", "s3cret"),
    (ALICE.replace("\n", "\r\n"), "s3cret"),
    ("machine mail.example.org login alice password zoë", "zoë"),
    ("", None),
    ("machine mail.example.org login bob password no", None),
    ("machine mail.example.org login alice", None),
    ('machine mail.example.org login alice password ""', None),
    ("machine mail.example.org login alice password", None),
    ("default password no", None),
    ("default login anonymous password no", None),
]


@pytest.mark.parametrize(("text", "secret"), FOUND)
def test_the_entry_of_machine_and_login_counts(file: Path, text: str, secret: str | None) -> None:
    file.write_text(text, encoding="utf-8")
    assert password(file, "mail.example.org", "alice") == secret


def test_a_missing_file_has_no_password(tmp_path: Path) -> None:
    assert password(tmp_path / ".netrc", "mail.example.org", "alice") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_password_that_others_can_reach_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        password(file, "mail.example.org", "alice")
    assert caught.value.where == str(file)
    assert "chmod 600" in caught.value.reason and "s3cret" not in str(caught.value)


def test_a_strangers_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="chown"):
        password(file, "mail.example.org", "alice")


def test_a_readable_file_without_our_password_is_not_reported(file: Path) -> None:
    file.chmod(0o644)
    assert password(file, "mail.example.org", "bob") is None


@pytest.mark.parametrize("text", ["s3cret", "machine mail.example.org login alice s3cret", "login s3cret"])
def test_an_invalid_netrc_file_is_refused_and_not_quoted(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        password(file, "mail.example.org", "alice")
    assert "keyword" in caught.value.reason and "s3cret" not in str(caught.value)


def test_octets_that_are_not_utf8_stay_as_they_are(file: Path) -> None:
    file.write_bytes(b"# caf\xe9\nmachine mail.example.org login alice password p\xa7ss\n")
    secret = password(file, "mail.example.org", "alice")
    assert secret is not None and secret.encode("utf-8", "surrogateescape") == b"p\xa7ss"


def test_a_quoted_word_without_its_end_is_refused_and_not_quoted(file: Path) -> None:
    file.write_text('machine mail.example.org login alice password "s3cret\n')
    with pytest.raises(ConfigurationError) as caught:
        password(file, "mail.example.org", "alice")
    assert caught.value.reason == "has a quoted word without its end"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        password(tmp_path, "mail.example.org", "alice")


def test_no_password_is_in_a_repr() -> None:
    assert "s3cret" not in repr(list(entries(ALICE)))


word = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)


@given(machine=word, login=word, secret=word)
def test_it_reads_what_the_standard_library_reads(
    tmp_path_factory: pytest.TempPathFactory, machine: str, login: str, secret: str
) -> None:
    text = f"machine {machine} login {login} password {secret}\n"
    file = tmp_path_factory.mktemp("netrc") / "netrc"
    file.write_text(text)
    ((name, (user, _, password)),) = stdlib.netrc(file).hosts.items()
    assert list(entries(text)) == [Entry(name, user, password)]
