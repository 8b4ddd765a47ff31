"""The documents and the program agree.

What the program has is read from the program itself: its commands, errors and keys. Examples are run in
:mod:`tests.test_recipes`.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest

from pop3fetch import __version__
from pop3fetch.account.config_file import LOG_FILE, TOP_LEVEL
from pop3fetch.account.destination_table import DESTINATION_KEYS
from pop3fetch.account.oauth.providers import OAUTH_KEYS, PROVIDERS
from pop3fetch.account.settings_table import OPTIONS, SETTINGS
from pop3fetch.cli.main import COMMANDS, commands
from pop3fetch.cli.screen import objects
from pop3fetch.defaults import AUTH_METHODS, FAMILIES, TLS_MODES
from pop3fetch.delivery.kinds import PATHS, SCHEMES
from pop3fetch.pop3.sasl import MECHANISMS
from pop3fetch.status import Status
from tests.support import manual

PROJECT = Path(__file__).parent.parent
WITHOUT_SERVER = {"accounts", "demo", "import"}
OPTIONS_OF_SYSTEMCTL = {"--user", "--now"}
OPTIONS_OF_FETCHMAIL = {"--quit"}
OPTIONS_OF_DOCKER = {"--rm", "--read-only", "--env", "--volume"}
STATUSES = {str(status.value) for status in Status}

VARIABLE = re.compile(r"(?<![A-Z])_?POP3FETCH_[A-Z][A-Z_]*")
OPTION_IN_MARKDOWN = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def _read(name: str) -> str:
    return (PROJECT / name).read_text("utf-8")


# The manual


each_page = pytest.mark.parametrize("page", manual.PAGES, ids=[page.path.name for page in manual.PAGES])


def _shown(page: manual.Page) -> str:
    """Return the text of a page as a terminal shows it, in one line."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    shown = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=200", page.path], capture_output=True)
    text = re.sub(".\b", "", shown.stdout.decode())  # bold and underlined characters are typed twice
    return " ".join(text.split())


@each_page
def test_mandoc_finds_no_fault_in(page: manual.Page) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    lint = subprocess.run(["mandoc", "-T", "lint", page.path], capture_output=True, text=True)
    # Which other manuals are installed on this machine does not matter.
    flaws = [line for line in lint.stdout.splitlines() if "referenced manual not found" not in line]
    assert flaws == []


@each_page
def test_every_quote_is_closed_in(page: manual.Page) -> None:
    assert re.findall("‘[^’]*‘.*|’’.*", _shown(page)) == []


def test_the_manual_shows_the_escapes_of_netrc() -> None:
    assert r"(‘\n’, ‘\r’, ‘\t’, ‘\"’, ‘\\’)" in _shown(manual.MAIN)


@each_page
def test_its_name_and_the_version_are_in(page: manual.Page) -> None:
    text = page.path.read_text("utf-8")
    name, section = page.path.name.split(".")
    assert re.search(r"^\.Dd [A-Z][a-z]+ [0-9]{1,2}, 20[0-9]{2}$", text, re.MULTILINE)
    assert f".Dt {name.upper()} {section}" in text.splitlines()
    assert page.sections()["NAME"][0] == f".Nm {name}"
    assert re.fullmatch(
        rf"This page describes (pop3fetch )?{re.escape(__version__)}\.", page.prose("HISTORY")
    )


@each_page
def test_each_page_refers_to_the_others(page: manual.Page) -> None:
    others = {other.path.name.replace(".", " ") for other in manual.PAGES if other != page}
    references = re.findall(r"^\.Xr (pop3fetch\S* \d)", "\n".join(page.under("SEE ALSO")), re.MULTILINE)
    assert set(references) == others


@each_page
def test_options_exist_that_are_named_in(page: manual.Page) -> None:
    known = {name for command in COMMANDS for name in _options_of(_command(command))}
    text = page.path.read_text("utf-8").replace("\\-", "-")
    named = {f"-{name}" for name in re.findall(r"\bFl (-[a-z]\S+)", text)}
    named |= set(OPTION_IN_MARKDOWN.findall("\n".join(page.examples().values())))
    others = {*OPTIONS_OF_SYSTEMCTL, *OPTIONS_OF_FETCHMAIL, *OPTIONS_OF_DOCKER}
    assert named <= {*known, *_options_of(commands), *others}


def _command(name: str) -> click.Command:
    command = import_module(f"pop3fetch.cli.commands.{name}").command
    assert isinstance(command, click.Command)
    return command


def _parameters() -> list[click.Parameter]:
    return [parameter for name in COMMANDS for parameter in _command(name).params]


def _options_of(command: click.Command) -> set[str]:
    own = command.commands.values() if isinstance(command, click.Group) and command.commands else ()
    options = (option for option in command.params if isinstance(option, click.Option))
    names = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    return names.union(*map(_options_of, own))


def test_the_manual_has_a_section_for_each_command() -> None:
    titles = manual.MAIN.sections()
    assert {title for title in titles if title.startswith("COMMANDS/")} == {
        f"COMMANDS/{name}" for name in COMMANDS
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_has_the_options_of(name: str) -> None:
    has = _options_of(_command(name))
    own = manual.options(manual.MAIN.sections()[f"COMMANDS/{name}"])
    lacking = (
        "the manual lacks options: if several commands share them, write them in man/pop3fetch.1, OPTIONS"
    )
    shared = manual.options(manual.MAIN.under("OPTIONS")) - {"-V", "--version"}
    assert own <= has, "the manual has options that the command has not"
    if name in WITHOUT_SERVER:
        assert has <= own | shared, lacking
    else:
        assert has == own | shared, lacking


def test_the_manual_has_the_options_before_a_command() -> None:
    assert _options_of(commands) <= manual.options(manual.MAIN.under("OPTIONS"))


def test_the_manual_has_every_variable() -> None:
    in_options = {parameter.envvar for parameter in _parameters() if isinstance(parameter.envvar, str)}
    sources = (path.read_text("utf-8") for path in (PROJECT / "pop3fetch").rglob("*.py"))
    in_sources = {name for source in sources for name in VARIABLE.findall(source)}
    documented = manual.entries(manual.MAIN.under("ENVIRONMENT"), "Ev")
    assert {name for name in documented if "POP3FETCH_" in name} == in_options | in_sources


def test_the_manual_has_every_key_of_json() -> None:  # test_recipes compares those of each command
    tree = ast.parse(inspect.getsource(objects))
    dictionaries = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    printed = {key.value for each in dictionaries for key in each.keys if isinstance(key, ast.Constant)}
    assert printed - manual.words(manual.MAIN.under("JSON"), "Va") == set()


def test_the_manual_and_the_help_have_every_destination() -> None:
    named = [*(f"{kind.value}:{path_of}" for kind, path_of in PATHS.items()), "-"]
    (usage,) = [option.help for name, option in OPTIONS if name == "output"]
    assert [name for name in named if name not in usage] == []
    documented = re.findall(r"^\.It Cm ([a-z]+)(?: :|:)", _read("man/pop3fetch.1"), re.MULTILINE)
    assert {*(kind.value for kind in PATHS), *SCHEMES} - set(documented) == set()


def test_the_manual_has_every_exit_status() -> None:
    assert manual.entries(manual.MAIN.under("EXIT STATUS"), "") == STATUSES


def test_the_manual_has_every_configuration_key() -> None:
    sections = manual.CONFIG.sections()
    assert manual.entries(sections.pop("OAUTH 2"), "Cm") == OAUTH_KEYS.keys()
    assert manual.entries(sections.pop("DESTINATIONS"), "Cm") == DESTINATION_KEYS.keys()
    documented = manual.entries((line for lines in sections.values() for line in lines), "Cm")
    assert documented == {*SETTINGS, *TOP_LEVEL, LOG_FILE} - {"accounts"}


def test_the_manual_has_the_choices_of_a_configuration_key() -> None:
    shown = _shown(manual.CONFIG)
    for values in (TLS_MODES, FAMILIES, tuple(PROVIDERS)):
        assert f"{', '.join(values[:-1])} or {values[-1]}" in shown


def test_the_manual_has_every_login_method() -> None:
    methods = [method for method in AUTH_METHODS if method != "auto"]
    assert f"{', '.join(methods[:-1])} or {methods[-1]}" in _shown(manual.MAIN)


def test_the_manual_has_the_mechanisms_for_a_password_in_their_order() -> None:
    chosen = [name for name, (_, _, use) in MECHANISMS.items() if use == "password" and "-PLUS" not in name]
    assert f"{', '.join(chosen)}, then USER and PASS." in _shown(manual.MAIN)


# README and the others


def test_the_readme_has_every_exit_status() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", _read("README.md"), re.MULTILINE)
    assert {status for row in rows for status in row.split(", ")} == STATUSES


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md"])
def test_options_that_are_named_exist(name: str) -> None:
    known = {option for command in COMMANDS for option in _options_of(_command(command))}
    named = set(OPTION_IN_MARKDOWN.findall(_read(name)))
    assert named <= {*known, *_options_of(commands), *OPTIONS_OF_SYSTEMCTL}


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_make_has_the_targets_that_are_named(name: str) -> None:
    targets = re.findall(r"^([a-z]+):", _read("Makefile"), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)\b[^a-z]*(?:`|#|ARGS)", _read(name))) <= set(targets)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(name: str) -> None:
    named = re.findall(r"`([A-Z]+\.md|Makefile|LICENSE|(?:pop3fetch|tests|man|share)/[\w/.]*)`", _read(name))
    assert [path for path in named if not (PROJECT / path).exists()] == []


def test_the_benchmark_has_the_rows_that_are_named() -> None:
    rows = re.findall(r'^    "([a-z-]+)": _', _read("bench/scenarios.py"), re.MULTILINE)
    sources = [path.read_text("utf-8") for path in (PROJECT / "pop3fetch").rglob("*.py")]
    sentences = [found for source in sources for found in re.findall(r"benchmark\s+rows?[^.]*", source)]
    named = {row for sentence in sentences for row in re.findall(r"``([a-z-]+)``", sentence)}
    assert len(named) > 3
    assert named - set(rows) == set()


def test_the_places_where_to_change_something_exist() -> None:
    table = _read("CONTRIBUTING.md").partition("### Where do I change")[2].partition("\n## ")[0]
    places = re.findall(r"`([\w/]+(?:\.py|/))`", table)
    folders = (PROJECT / "pop3fetch", PROJECT)
    assert [place for place in places if not any((folder / place).exists() for folder in folders)] == []


def test_the_changelog_keeps_its_form() -> None:
    # https://keepachangelog.com/en/1.1.0/
    lines = _read("CHANGELOG.md").splitlines()
    assert lines[0] == "# Changelog"
    unreleased, *releases = [line for line in lines if line.startswith("## ")]
    assert unreleased == "## [Unreleased]"
    matches = [
        re.fullmatch(r"## \[([0-9]+\.[0-9]+\.[0-9]+)\] - (20[0-9]{2}-[0-9]{2}-[0-9]{2})", line)
        for line in releases
    ]
    dates = [match[2] for match in matches if match]
    assert len(dates) == len(releases)
    assert dates == sorted(dates, reverse=True)
    kinds = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert kinds <= {"Security", "Added", "Changed", "Deprecated", "Removed", "Fixed"}


def test_the_changelog_begins_with_this_version() -> None:
    newest = re.search(r"^## \[([0-9.]+)\]", _read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == __version__


# What the wheel brings

PLACES = {
    "man/pop3fetch.1": "share/man/man1/pop3fetch.1",
    "man/pop3fetch-config.5": "share/man/man5/pop3fetch-config.5",
    "man/pop3fetch-recipes.7": "share/man/man7/pop3fetch-recipes.7",
    "completions/pop3fetch.bash": "share/bash-completion/completions/pop3fetch",
    "completions/_pop3fetch": "share/zsh/site-functions/_pop3fetch",
    "completions/pop3fetch.fish": "share/fish/vendor_completions.d/pop3fetch.fish",
    "share/systemd/user/pop3fetch.service": "share/systemd/user/pop3fetch.service",
    "share/systemd/user/pop3fetch.timer": "share/systemd/user/pop3fetch.timer",
    "share/systemd/user/pop3fetch-every.service": "share/systemd/user/pop3fetch-every.service",
}


def test_the_wheel_installs_every_file_in_its_usual_folder() -> None:
    wheel = tomllib.loads(_read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["shared-data"] == PLACES


def test_no_file_for_the_wheel_is_forgotten() -> None:
    files = (path for folder in ("man", "completions", "share") for path in (PROJECT / folder).rglob("*"))
    assert {str(path.relative_to(PROJECT)) for path in files if path.is_file()} == PLACES.keys()
