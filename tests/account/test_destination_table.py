"""The tables of destinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.account.config_file import load
from pop3fetch.account.destination_table import DestinationTable
from pop3fetch.errors import ConfigurationError


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.touch(0o600)
    file.write_text(text)
    return file


def table(folder: Path, text: str) -> DestinationTable:
    return load(written(folder, f"[destinations.box]\n{text}")).destination("box")


@pytest.mark.parametrize(
    ("provider", "url", "scopes"),
    [
        ("microsoft", "imaps://a@b", ("https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access")),
        ("microsoft", "smtp://a@b", ("https://outlook.office.com/SMTP.Send", "offline_access")),
        ("google", "imaps://a@b", ("https://mail.google.com/",)),
    ],
)
def test_tokens_are_requested_for_the_protocol(
    tmp_path: Path, provider: str, url: str, scopes: tuple[str, ...]
) -> None:
    oauth = f'[destinations.box.oauth]\nprovider = "{provider}"\nclient_id = "x"\n'
    assert table(tmp_path, f'url = "{url}"\n{oauth}').settings["oauth"].scopes == scopes


def test_scopes_of_the_file_come_first(tmp_path: Path) -> None:
    oauth = '[destinations.box.oauth]\nprovider = "microsoft"\nclient_id = "x"\nscopes = "mine"\n'
    assert table(tmp_path, f'url = "imaps://a@b"\n{oauth}').settings["oauth"].scopes == ("mine",)


def test_recipients_are_one_or_several_and_each_once(tmp_path: Path) -> None:
    one = table(tmp_path, 'url = "lmtp://localhost"\nrecipients = "a@b"\n')
    several = table(tmp_path, 'url = "lmtp://localhost"\nrecipients = ["a@b", "c", "a@b"]\n')
    assert (one.settings["recipients"], several.settings["recipients"]) == (("a@b",), ("a@b", "c"))


@pytest.mark.parametrize("address", ["", "a b", "<a@b>", "a@b,c@d", "a@b\\nRCPT TO:<c>", '\\"a\\"@b', "a@"])
def test_what_is_not_an_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"recipients: must"):
        table(tmp_path, f'url = "lmtp://localhost"\nrecipients = ["{address}"]\n')


@pytest.mark.parametrize("text", ["destinations = 1", "destinations.box = 1", "[[destinations.box]]"])
def test_what_is_not_a_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write \[destinations\.NAME\]"):
        load(written(tmp_path, text))


def test_its_repr_has_no_secret(tmp_path: Path) -> None:
    destination = table(tmp_path, 'url = "imaps://a@b"\npassword = "hunter2"\n')
    assert "hunter2" not in repr(destination)
    assert "hunter2" not in repr(load(tmp_path / "config.toml"))
