"""What every test gets: a home of its own and no network but loopback; and the servers it may ask for."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from pop3fetch.cli.signals import heed
from pop3fetch.sessions import refused_logins
from tests.support import certificates
from tests.support.clock import Clock
from tests.support.command import Run, homely
from tests.support.dovecot import Dovecot, missing
from tests.support.in_process import Here
from tests.support.prepared_python import PreparedPython
from tests.support.scripted_server import ScriptedServer, StartServer

DOVECOT_IS_REQUIRED = bool(os.environ.get("CI") or os.environ.get("POP3FETCH_REQUIRE_ALL"))
OF_THE_TERMINAL = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")


def pytest_configure() -> None:
    """Heed Ctrl-C: a shell makes what it starts in the background ignore it, and so would our commands."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # nothing that is collected here becomes garbage, and each search for it would see all


def pytest_collection_finish() -> None:
    """Let searches for garbage pass over the tests themselves."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests that use a real Dovecot, so that ``-m 'not dovecot'`` leaves them out."""
    for item in items:
        if " at 0x" in item.name:  # the workers of xdist must name all tests alike
            raise pytest.UsageError(f"the name of a test holds an address: {item.nodeid}")
        if "needs_dovecot" in getattr(item, "fixturenames", ()):
            item.add_marker("dovecot")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fresh home that nothing of the tester's own configuration reaches."""
    home = tmp_path_factory.mktemp("home")
    for name in os.environ:
        if name.startswith("POP3FETCH_") or name in OF_THE_TERMINAL:
            monkeypatch.delenv(name)
    for name, value in {**homely(home), "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture(autouse=True)
def quick_digests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the work that a guess of a refused secret takes, unless another process shares the digests."""
    if "run" not in request.fixturenames:
        monkeypatch.setitem(refused_logins.WORK, "n", 2)


@pytest.fixture
def heeding() -> Iterator[None]:
    """Heed the signals that end a run as a run does."""
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    }
    hook = sys.unraisablehook
    heed()
    yield
    sys.unraisablehook = hook
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test that connects to anything but this machine."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_elsewhere(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_elsewhere(self, address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)


def _refuse_elsewhere(endpoint: socket.socket, address: Any) -> None:
    is_network = endpoint.family in (socket.AF_INET, socket.AF_INET6)
    if is_network and not _is_loopback(address[0]):
        pytest.fail(f"a test would connect to {address}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def prepared_python() -> Iterator[PreparedPython]:
    """Keep a Python for all tests, so that commands need no start."""
    with PreparedPython() as python:
        yield python


@pytest.fixture
def run(home: Path, tmp_path: Path, prepared_python: PreparedPython) -> Run:
    """Run the real command in a process of its own, in ``tmp_path``."""
    return Run(home, tmp_path, python=prepared_python)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Run the command line in this process: no start to wait for."""
    return Here(tmp_path, monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the time of day of this process, which stands still."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make its time that of this process, by its rules alone: the names of zones may not be installed."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """Return the path for a new maildir."""
    return tmp_path / "Maildir"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return the authority that tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def unknown_authority() -> trustme.CA:
    """Return an authority that is not trusted."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file (PEM) for ``--ca-file``."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS context of an honest server, for all names of loopback."""
    return certificates.server_context(authority)


@pytest.fixture(scope="session")
def tls_1_2(authority: trustme.CA) -> ssl.SSLContext:
    """Return the same for TLS 1.2, the last whose channel the ssl module can bind a login to."""
    context = certificates.server_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.fixture
def server(server_context: ssl.SSLContext) -> Iterator[StartServer]:
    """Start scripted servers; they stop, and raise what their scripts found, when the test ends."""
    with ExitStack() as servers:

        def start(*scripts: Any, **options: Any) -> ScriptedServer:
            options.setdefault("context", server_context)
            return servers.enter_context(ScriptedServer(*scripts, **options))

        yield start


@pytest.fixture(scope="session")
def needs_dovecot() -> None:
    """Skip the test if there is no Dovecot; if one is required, its absence is a failure."""
    reason = missing()
    if reason and DOVECOT_IS_REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def running_dovecot(
    needs_dovecot: None, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dovecot]:
    """Run one Dovecot for all tests."""
    with Dovecot.start(tmp_path_factory.mktemp("dovecot"), ca=authority) as dovecot:
        yield dovecot


@pytest.fixture
def dovecot(running_dovecot: Dovecot) -> Dovecot:
    """Return the real server, its maildrops empty; its certificate is by ``authority``."""
    for user in running_dovecot.users:
        running_dovecot.clear(user)
    return running_dovecot
