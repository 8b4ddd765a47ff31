"""What to write instead of a mistake in the configuration file; ``configuration.txt`` shows the errors."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.account import checks
from pop3fetch.account.config_file import KEYS
from pop3fetch.account.corrections import HIDDEN, SYNONYMS, of_syntax, of_unknown_key, of_value
from pop3fetch.account.settings_table import SECRETS

SECRET = "s3cret-7f3a"


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("port", "995", "995"),
        ("port", "99500", ""),
        ("port", "no", ""),
        ("delete", "true", "true"),
        ("delete", "off", "false"),
        ("delete_after", "30 days", "30"),
        ("timeout", "60s", "60"),
        ("timeout", "a while", ""),
        ("user", 7, '"7"'),
        ("output", ["maildir:Mail"], '"maildir:Mail"'),
        ("output", ["a", "b"], ""),
        ("password", 12345, f'"{HIDDEN}"'),
        ("tls", True, ""),
    ],
)
def test_a_value_of_another_type_is_corrected_if_that_is_clear(key: str, value: object, meant: str) -> None:
    assert of_value(key, value, KEYS[key]) == meant


def test_who_writes_that_messages_are_kept_learns_that_they_are() -> None:
    assert of_unknown_key("keep", True, KEYS).startswith("; messages stay on the server unless delete")


def test_a_number_that_python_does_not_show_is_not_text() -> None:
    assert of_value("user", 10**5000, KEYS["user"]) == ""


def syntax_error(text: str) -> str:
    with pytest.raises(tomllib.TOMLDecodeError) as raised:
        tomllib.loads(text)
    return of_syntax(text, str(raised.value), KEYS)


@pytest.mark.parametrize("key", [key for key in KEYS if key != "oauth"])
@pytest.mark.parametrize("line", ["{} = {}", "{}: {}", "{} {}", '{} = "{}'])
def test_a_correction_is_toml_and_passes_the_check(key: str, line: str) -> None:
    usual = {"port": "995x", "delete": "yes", "tls": "auto", "auth": "apop", "family": "ipv4"}
    value = usual.get(key, "30x" if KEYS[key] not in (checks.text, checks.path) else "mail")
    answer = syntax_error("[accounts.work]\n" + line.format(key, value))
    assert answer.startswith("line 2: ")
    written = answer.rpartition("; write ")[2]
    if key not in SECRETS and value not in ("30x",):
        KEYS[key](tomllib.loads(written)[key])


@pytest.mark.parametrize("key", [*SECRETS, "pasword", "passwort", "unknown"])
@pytest.mark.parametrize("line", ["{} = {}", "{}: {}", "{} {}", '{} = "{}', "{} = '{}\"", "{} = “{}”"])
def test_what_may_be_a_secret_is_not_shown(key: str, line: str) -> None:
    assert SECRET not in syntax_error("[accounts.work]\n" + line.format(key, SECRET))


@given(st.text())
def test_any_error_has_an_answer(text: str) -> None:
    try:
        tomllib.loads(text)
    except ValueError as error:
        assert of_syntax(text, str(error), KEYS)


@pytest.mark.parametrize(("key", "meant"), SYNONYMS.items())
def test_a_word_of_another_program_is_answered_with_ours(key: str, meant: str) -> None:
    assert meant in KEYS and key not in KEYS
    assert of_unknown_key(key, "x", KEYS) == f"; did you mean {meant!r}?"
