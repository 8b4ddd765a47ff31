"""Whether a job of cron would have the secret of an account: it is looked up in a job's environment.

The trial is a process of its own with cron's few variables, without a terminal and a session bus. It answers
where the secret is from, and never with the secret.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pop3fetch.account.credentials import KEYRING, VARIABLE, Password, Sources
from pop3fetch.account.settings_table import PASSWORD_SOURCES, Account
from pop3fetch.account.system_keyring import BUS_VARIABLE
from pop3fetch.ahead import Ahead
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import find_keyring
from pop3fetch.defaults import CRON_PATH
from pop3fetch.errors import NoPassword, POP3Error
from pop3fetch.step_results import StepResult, warning

STEP = "cron"
NOWHERE = "no source has one"
LIMIT = 30.0  # seconds for the trial
COMMAND_LIMIT = 15.0  # seconds for a password command in it: no user is there to type a passphrase
# What the trial needs of an account to find its secret; the password of the file is only named.
FACTS = ("name", "host", "port", "tls", "user", "auth", *PASSWORD_SOURCES)
TRIAL = """import json, sys
sys.path[:], facts = json.load(sys.stdin)
from pop3fetch.cli.actions.check_cron import answer
answer(facts)"""


def examine_cron(account: Account, destination: Account | None, console: Console) -> StepResult:
    """Return whether a job without a login session would find the secrets, and the same settings.

    ``destination``: the login at the mail server that messages go to, if there is one.
    """
    found = _try(account, console)
    if "error" in found and VARIABLE in console.environment:
        others = f"; {found['error']}" if found["error"] != NOWHERE else ""
        found["error"] = f"{VARIABLE} is set only here{others}"
    troubles = [*_of_secret(account, found)]
    sources = [f"a secret, too: from {found['source']}"] if "source" in found else []
    if destination:
        found = _try(destination, console)
        troubles += _of_destination(destination, found)
        if "source" in found:
            sources.append(f"that of {destination.name} from {found['source']}")
    troubles += _of_variables(console)
    if troubles:
        return warning(STEP, "; ".join(troubles))
    if not sources:
        return StepResult(STEP, "a job needs no secret")
    return StepResult(STEP, f"a job without a login session has {', and '.join(sources)}")


def _try(account: Account, console: Console) -> dict[str, Any]:
    """Look up the secret, if there is one, as a job of cron would; return what `answer` has found."""
    if account.auth == "external":
        return {}
    return Ahead(lambda: _try_as_job(account), interrupts=console.interrupts).result()


def _try_as_job(account: Account) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(account, name) for name in FACTS}
    facts |= {"password": account.password and "-", "uses_oauth": account.uses_oauth}
    home = os.path.expanduser("~")
    environment = {"HOME": home, "PATH": CRON_PATH, "SHELL": "/bin/sh"}
    environment |= {name: os.environ[name] for name in ("LOGNAME", "USER", "LANG") if name in os.environ}
    try:
        ended = subprocess.run(  # noqa: S603  # ourselves
            [sys.executable, "-c", TRIAL],
            input=json.dumps([sys.path, facts]).encode(),
            capture_output=True,
            cwd=home if os.path.isdir(home) else "/",
            env=environment,
            timeout=LIMIT,
            start_new_session=True,  # without a terminal
        )
        found: dict[str, Any] = json.loads(ended.stdout)
        return found
    except subprocess.TimeoutExpired:
        return {"error": f"the trial did not end within {LIMIT:g} s"}
    except (OSError, ValueError) as error:
        return {"error": f"the trial cannot be run ({type(error).__name__})"}


def answer(facts: dict[str, Any]) -> None:
    """Print where the secret is from in this environment, or why there is none, as JSON; and exit."""
    uses_oauth = facts.pop("uses_oauth")
    words = facts["password_command"]
    account = Account(**{**facts, "password_command": words and tuple(words)})
    skipped: list[str] = []
    found: dict[str, Any] = {}
    try:
        if uses_oauth:
            found["source"] = _refresh_token(account)
        else:
            sources = Sources(
                Path(os.path.expanduser("~")),
                skipped.append,
                dict(os.environ),
                command_limit=COMMAND_LIMIT,
                find_keyring=find_keyring,
            )
            password = Password(account, sources)
            password()
            found["source"] = password.source
        found["over_bus"] = BUS_VARIABLE in os.environ
    except NoPassword as error:
        found["error"] = "; ".join(skipped) or NOWHERE if error.is_missing else str(error)
    except POP3Error as error:
        found["error"] = str(error)
    print(json.dumps(found), flush=True)
    os._exit(0)  # a keyring may hang in a thread


def _refresh_token(account: Account) -> str:
    from pop3fetch.account.oauth.flow import refresh_token

    find_keyring()
    if refresh_token(account) is None:
        raise NoPassword("the keyring has no refresh token")
    return KEYRING


def _of_secret(account: Account, found: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the source of the secret, if something is."""
    if account.uses_oauth:
        remedy = "let password_command print the access token"
    elif account.source is None:
        remedy = "give the job --password-file or --password-command"
    else:
        name = shlex.quote(account.name)
        remedy = (
            f"`pop3fetch login --store file -a {name}` keeps the password for it, or use password_command"
        )
    if "error" in found:
        yield f"a job without a login session would have no secret ({found['error']}); {remedy}"
    elif found.get("over_bus") and found["source"] == KEYRING:
        yield f"a job reaches the keyring only while you are logged in; {remedy}"


def _of_destination(login: Account, found: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the source of a destination's secret, if something is."""
    remedy = "give it password_file or password_command in a table [destinations.NAME]"
    if login.uses_oauth:
        remedy = "let its password_command print the access token"
    if "error" in found:
        yield f"a job would have no secret of {login.name} ({found['error']}); {remedy}"
    elif found.get("over_bus") and found["source"] == KEYRING:
        yield f"a job reaches that of {login.name} only while you are logged in; {remedy}"


def _of_variables(console: Console) -> Iterator[str]:
    """Yield a sentence on the variables that are set here, and not in a job."""
    home = os.path.expanduser("~")
    usual = {"XDG_CONFIG_HOME": f"{home}/.config", "XDG_STATE_HOME": f"{home}/.local/state"}
    ours = {name for name in console.environment if name.startswith("POP3FETCH_")}
    moved = {name for name, path in usual.items() if console.environment.get(name, path) != path}
    names = sorted((ours | moved) - {VARIABLE, "POP3FETCH_DEBUG"})
    if names:
        yield f"{', '.join(names)}: set here, but not in a job; set the same there"
