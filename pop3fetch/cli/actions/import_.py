"""`pop3fetch import`: read the files of another program, say what follows from them, and write it.

The records come first, then the passwords, and the configuration file last, in one step: so no `get` finds an
account without its list. An import that was interrupted can be repeated.
"""

from __future__ import annotations

import os
import pwd
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from pop3fetch.account.config_file import Configuration, default_config_file
from pop3fetch.account.credentials import without_password
from pop3fetch.account.registration import password_file_of, register_all, write_password
from pop3fetch.account.system_keyring import check, keep, password_of
from pop3fetch.cli.actions.import_count import ask, can_ask
from pop3fetch.cli.actions.import_plan import Planned, Planner
from pop3fetch.cli.options import NO_FOLDER, Invocation
from pop3fetch.cli.screen.advice import error_line
from pop3fetch.cli.screen.import_report import report
from pop3fetch.cli.screen.numbers import counted
from pop3fetch.defaults import KEYRING_TIMEOUT
from pop3fetch.durable import short
from pop3fetch.errors import (
    ConfigurationError,
    FetcherRunning,
    LoginRefused,
    NoPassword,
    POP3Error,
    UsageError,
)
from pop3fetch.importing import fdm, fetchmail, files, getmail, jobs, mpop
from pop3fetch.importing.foreign import Broken, Finding, ForeignAccount, Origin, Reading, Where
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.store import IMPORTED, MARKED_BY
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

READERS: Mapping[str, Callable[[str, bytes, Where], Reading]] = {
    "mpop": mpop.read,
    "fetchmail": fetchmail.read,
    "getmail": getmail.read,
    "fdm": fdm.read,
}
# The possible configuration files, of which the first that exists counts.
CANDIDATES: Mapping[str, Callable[[Where], list[str]]] = {
    "mpop": mpop.config_files,
    "fetchmail": fetchmail.config_files,
    "fdm": fdm.config_files,
}


def surroundings() -> Where:
    """Return what the paths of a program depend on."""
    return Where(_user(), os.environ, os.path.expanduser, lambda path: files.read(path).octets)


def default_files(program: str, where: Where) -> list[str]:
    """Return the configuration files that a program reads if none is given; the first may not exist."""
    if program == "getmail":
        *others, last = getmail.config_folders(where)
        folder = next(filter(os.path.exists, others), last)
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        found = [f"{folder}/{name}" for name in getmail.config_names(names)]
        found = [path for path in found if os.path.isfile(path)]
        if len(found) > 1:  # getmail may keep its log among them
            found = [path for path in found if _may_be_of_getmail(path, where)]
        return found or [f"{folder}/{getmail.MAIN_FILE}"]
    candidates = CANDIDATES[program](where)
    return [next(filter(os.path.exists, candidates), candidates[0])]


def _may_be_of_getmail(path: str, where: Where) -> bool:
    try:
        return getmail.is_configuration(where.load(path))
    except OSError:  # which is reported when it is read
        return True


class ImportOptions(NamedTuple):
    """The options of `import`."""

    only: tuple[str, ...]
    rename: tuple[tuple[str, str], ...]
    lists: tuple[tuple[str, str], ...]
    dry_run: bool
    offline: bool
    merge: bool
    force: bool
    as_json: bool


class Import:
    """`import` from one program."""

    def __init__(
        self, invocation: Invocation, program: str, paths: Sequence[str], options: ImportOptions
    ) -> None:
        self._invocation = invocation
        self._console = invocation.console
        self._program = program
        self._paths = paths
        self._options = options
        self._where = surroundings()
        self._may_keep: bool | None = None  # whether the keyring works, once that is known

    def run(self) -> int:
        """Return the exit status; raises what keeps anything from being imported."""
        options = self._options
        readings = [self._read(path) for path in self._config_files()]
        running = self._running({reading.lock for reading in readings if reading.lock})
        accounts = self._chosen([account for reading in readings for account in reading.accounts])
        known = self._known()
        plans = self._plans(accounts, known)
        errors = len({each[:2] for each in self._findings(readings, plans) if each.affects})
        writes = not options.dry_run and (options.force or not errors)
        if not options.offline:
            # What sessions remember of a server is written as well.
            folder = self._invocation.state_folder_to_read() if writes else Path(NO_FOLDER)
            plans = [self._asked(planned, folder) for planned in plans]
        plans = [self._with_place_of_secret(planned, known.path) for planned in plans]
        config = self._where.variables.get("XDG_CONFIG_HOME") or self._where.expand("~/.config")
        still_there = jobs.jobs(self._program, Path(config) / "systemd/user", without_password(os.environ))
        found = [*self._findings(readings, plans), *running, *still_there]
        report(self._console, plans, found, as_json=options.as_json)
        self._console.flush()  # an error comes last even if both streams go to one file
        if not plans:
            self._console.remark("there is no account to import")
        if errors and not options.force:
            what = "1 setting" if errors == 1 else f"{errors} settings"
            would = "would be" if options.dry_run else "was"
            self._console.error(
                f"{what} cannot be carried over, so nothing {would} written: change the file, leave the "
                "account out with --only, or use --force"
            )
            return Status.CONFIGURATION
        plans = [self._recognised(planned) for planned in plans]
        if writes and plans:
            self._write(plans, known)
        return Status.OK

    # -- the files of the program ------------------------------------------------------------

    def _config_files(self) -> list[str]:
        if self._paths:
            return [os.path.abspath(os.path.expanduser(path)) for path in self._paths]
        return default_files(self._program, self._where)

    def _read(self, path: str) -> Reading:
        """Return what is in a configuration file; raises ConfigurationError."""
        try:
            return READERS[self._program](path, files.read(path).octets, self._where)
        except FileNotFoundError as error:
            reason = (
                f"no such file; give the path of the configuration: `pop3fetch import {self._program} FILE`"
            )
            raise ConfigurationError(path, reason) from error
        except OSError as error:
            raise ConfigurationError(path, f"cannot be read: {error.strerror}") from error
        except Broken as error:
            where = f"{error.file or path}:{error.line}" if error.line else error.file or path
            raise ConfigurationError(where, f"{error.reason}; nothing was written") from error

    def _running(self, locks: Iterable[str]) -> list[Finding]:
        """Return what shows that the program is running; raises FetcherRunning unless nothing is written."""
        found = []
        for lock in locks:
            try:
                files.require_ended(self._program, lock)
            except FetcherRunning as error:
                if not self._options.dry_run:
                    raise
                found.append(Finding(Origin(lock), error_line(error)))
        return found

    # -- the plan ----------------------------------------------------------------------------

    def _chosen(self, accounts: list[ForeignAccount]) -> list[ForeignAccount]:
        """Return the accounts of --only; raises UsageError, also if two have one name."""
        options = self._options
        names = Counter(account.name for account in accounts)
        known = f"the accounts are {', '.join(names) or '(none)'}"
        for option, given in (
            ("--only", options.only),
            ("--rename", [old for old, _ in options.rename]),
            ("--list", [name for name, _ in options.lists]),
        ):
            new = {new for _, new in options.rename} if option == "--list" else set()
            for name in given:
                if name not in names and name not in new:
                    raise UsageError(f"{option} {name}: no such account; {known}")
        chosen = [account for account in accounts if not options.only or account.name in options.only]
        renamed = Counter(dict(options.rename).get(account.name, account.name) for account in chosen)
        for name, count in renamed.items():
            if count > 1:
                raise UsageError(f"{count} accounts are named {name}: --rename one of them, or choose a FILE")
        return chosen

    def _known(self) -> Configuration:
        path = Path(os.path.abspath(self._invocation.config or default_config_file()))
        return self._invocation.configuration() if path.exists() else Configuration(path)

    def _plans(self, accounts: Sequence[ForeignAccount], known: Configuration) -> list[Planned]:
        options = self._options
        planner = Planner(
            self._program,
            known,
            self._invocation.state_folder(),
            merge=options.merge,
            dry_run=options.dry_run,
        )
        names, lists = dict(options.rename), dict(options.lists)
        plans: list[Planned] = []
        for account in accounts:
            planned = planner.plan(account, names.get(account.name, account.name), lists)
            address = planned.account.address if planned.account else None
            twin = next((each for each in plans if each.account and each.account.address == address), None)
            if twin is not None:
                text = (
                    f"{planned.name} is the mailbox of {twin.name}: whichever is fetched first gets a message"
                )
                planned = planned.with_finding(text)
            plans.append(planned)
        return plans

    def _asked(self, planned: Planned, folder: Path) -> Planned:
        """Return the plan with what its server has; an error becomes a finding."""
        if not can_ask(planned):
            return planned
        try:
            return planned._replace(counted=ask(planned, self._program, self._console, folder))
        except NoPassword:
            return planned
        except LoginRefused as error:
            if planned.secret:  # it is not kept: each run would be refused
                error.source, error.stored_for = "", planned.name
            return planned.with_finding(error_line(error))._replace(secret=None)
        except POP3Error as error:
            return planned.with_finding(f"the server could not be asked: {error_line(error)}")

    def _with_place_of_secret(self, planned: Planned, config: Path) -> Planned:
        """Return the plan with the file for the password, unless that was tried and goes into the keyring."""
        if planned.secret is None or planned.account is None:
            return planned
        is_text = not any("\ud800" <= character <= "\udfff" for character in planned.secret.text)
        if planned.counted is not None and is_text:
            if self._may_keep is None:
                try:
                    check(password_of(planned.account), KEYRING_TIMEOUT)
                    self._may_keep = True
                except ConfigurationError:
                    self._may_keep = False
            if self._may_keep:
                return planned
        file = password_file_of(config, planned.name)
        return planned._replace(table={**planned.table, "password_file": short(file)})

    def _findings(self, readings: Sequence[Reading], plans: Sequence[Planned]) -> list[Finding]:
        names = {planned.foreign.name for planned in plans}
        general = [finding for reading in readings for finding in reading.findings]
        found = [finding for finding in general if finding.account is None or finding.account in names]
        found += (finding for planned in plans for finding in planned.findings)
        return found

    def _recognised(self, planned: Planned) -> Planned:
        """Return the plan without its list if the server has nothing of it, and the user agrees.

        Raises ConfigurationError if not.
        """
        if planned.counted is None or not planned.adds or not planned.counted.recognises_nothing:
            return planned
        assert planned.seen is not None
        text = (
            f"the server of {planned.name} lists none of the {len(planned.seen.messages or ())} messages "
            f"in {planned.seen.path}"
        )
        can_ask = self._console.can_ask and not self._options.dry_run
        if not (can_ask and self._console.confirm(f"{text}. Are all {planned.counted.new} new?")):
            raise ConfigurationError(text, "is it the right account, and the right list (--list)?")
        return planned._replace(adds=False)

    # -- writing -----------------------------------------------------------------------------

    def _write(self, plans: Sequence[Planned], known: Configuration) -> None:
        valid = [planned for planned in plans if planned.account is not None]
        changed = {planned.name for planned in valid if planned.adds and self._record(planned)}
        for planned in valid:
            if planned.secret is not None and planned.account is not None:
                if "password_file" not in planned.table:
                    keep(password_of(planned.account), planned.secret.text)
                    continue
                file = password_file_of(known.path, planned.name)
                try:
                    write_password(file, planned.secret.text)
                except OSError as error:
                    raise ConfigurationError(str(file), f"cannot be written: {error.strerror}") from error
        fresh = {planned.name: planned.table for planned in valid if not planned.is_known}
        default = next((planned.name for planned in valid if planned.foreign.is_default), None)
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        register_all(known.path, fresh, default if len(fresh) > 1 else None, f".bak-{stamp}")
        names = ", ".join(planned.name for planned in valid if planned.name in fresh.keys() | changed)
        done = f"imported: {names}" if names else "nothing was imported that was not here already"
        self._console.remark(f"{done}; next: pop3fetch get --dry-run --all-accounts")

    def _record(self, planned: Planned) -> int:
        """Add the list to the record; return how many messages it did not have."""
        assert planned.place is not None
        assert planned.seen is not None
        foreign, seen = planned.foreign, planned.seen
        unknown = seen.changed_at if foreign.fetched and foreign.fetched.has_time_of_file else None
        destination = f"{MARKED_BY if foreign.kept else IMPORTED}{self._program}"
        additions = [
            Addition(
                message.uid,
                message.at if message.at is not None else unknown,
                destination,
                may_be_reused=foreign.reuses,
            )
            for message in seen.messages or ()
        ]
        with closing(EditedStore(planned.place)) as store:
            added = store.add(additions, time.time())
        self._console.notice(f"{planned.name}: {counted(added)} recorded as fetched")
        return added


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # the system does not know the user, as in containers
        return os.environ.get("LOGNAME", "")
