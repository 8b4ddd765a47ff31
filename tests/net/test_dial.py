"""From a name to a connected socket: all its addresses, and the ways in which none answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.errors import ConnectionFailed, ResolverFailed, TimedOut, UnknownHost
from pop3fetch.net.dial import ATTEMPT_DELAY, Endpoint, dial
from pop3fetch.status import Status
from tests.support.sessions import NEVER, SOON

NAME = "mail.example.org"
UNSUPPORTED = 9  # AF_X25: no kernel of today has it


class Network:
    """Listeners on loopback, and what the name resolves to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sockets: ExitStack) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._monkeypatch = monkeypatch
        self._sockets = sockets

    def listener(self, host: str = "127.0.0.1", backlog: int = 8) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return self._sockets.enter_context(socket.create_server((host, 0), family=family, backlog=backlog))

    def answering(self, host: str = "127.0.0.1") -> tuple[int, Any]:
        """Return an address that takes connections."""
        listener = self.listener(host)
        return listener.family, listener.getsockname()

    def refusing(self, host: str = "127.0.0.1") -> tuple[int, Any]:
        """Return an address at which no process listens."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Bound and never listening: no other process gets the port.
        bound = self._sockets.enter_context(socket.socket(family))
        bound.bind((host, 0))
        return family, bound.getsockname()

    def dead(self, host: str = "127.0.0.1") -> tuple[int, Any]:
        """Return an address that does not answer: its queue of connections is full."""
        listener = self.listener(host, backlog=0)
        filler = self._sockets.enter_context(socket.socket(listener.family))
        filler.connect(listener.getsockname())
        return listener.family, listener.getsockname()

    def resolve(self, *addresses: tuple[int, Any]) -> None:
        """Make :data:`NAME` resolve to ``addresses``, in this order."""

        def getaddrinfo(*arguments: Any) -> list[tuple[Any, ...]]:
            self.asked.append(arguments)
            return [(family, socket.SOCK_STREAM, 6, "", target) for family, target in addresses]

        self._monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    with ExitStack() as sockets:
        yield Network(monkeypatch, sockets)


def reached(endpoint: Endpoint, timeout: float | None = NEVER) -> Any:
    """Dial, hang up, and return the address that answered."""
    with dial(endpoint, timeout) as connected:
        return connected.getpeername()


@pytest.mark.parametrize("timeout", [NEVER, None])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_of_each_family_is_reached(host: str, timeout: float | None, network: Network) -> None:
    _, target = network.answering(host)
    assert reached(Endpoint(host, target[1]), timeout) == target


def test_the_socket_waits_and_sends_at_once(network: Network) -> None:
    _, target = network.answering()
    with dial(Endpoint("127.0.0.1", target[1]), NEVER) as connected:
        assert connected.getblocking()
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("family", "asked"), [("any", socket.AF_UNSPEC), ("ipv4", socket.AF_INET), ("ipv6", socket.AF_INET6)]
)
def test_only_addresses_of_the_wanted_family_are_asked_for(family: str, asked: int, network: Network) -> None:
    network.resolve(network.answering())
    reached(Endpoint("bücher.example", 995, family))
    assert network.asked == [(b"xn--bcher-kva.example", 995, asked, socket.SOCK_STREAM)]


def test_the_first_address_is_taken_if_all_answer(network: Network) -> None:
    first, second = network.answering("::1"), network.answering()
    network.resolve(first, second)
    assert reached(Endpoint(NAME, 110)) == first[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_next_address_is_tried_if_one_refuses(host: str, network: Network) -> None:
    good = network.answering()
    network.resolve(network.refusing(host), network.refusing(host), good)
    assert reached(Endpoint(NAME, 110)) == good[1]


def test_the_next_address_is_tried_if_a_family_is_not_supported(network: Network) -> None:
    good = network.answering()
    network.resolve((UNSUPPORTED, ("x", 1)), good)
    assert reached(Endpoint(NAME, 110)) == good[1]


def test_the_families_take_turns(network: Network) -> None:
    fourth, third = network.answering("::1"), network.answering()
    network.resolve(network.refusing("::1"), fourth, third)
    assert reached(Endpoint(NAME, 110)) == third[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_dead_address_causes_no_delay(host: str, network: Network) -> None:
    good = network.answering()
    network.resolve(network.dead(host), good)
    begun = time.monotonic()
    assert reached(Endpoint(NAME, 110)) == good[1]
    assert ATTEMPT_DELAY * 0.9 < time.monotonic() - begun < NEVER / 2


def test_a_dead_address_beside_one_that_refuses_is_a_time_out(network: Network) -> None:
    network.resolve(network.dead(), network.refusing())
    with pytest.raises(TimedOut) as raised:
        dial(Endpoint(NAME, 110), 2 * ATTEMPT_DELAY)
    assert raised.value.exit_status is Status.TRY_LATER
    assert "connecting" in str(raised.value)


def test_the_timeout_covers_all_addresses_together(network: Network) -> None:
    network.resolve(*(network.dead() for _ in range(12)))
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=NAME):
        dial(Endpoint(NAME, 110), SOON)
    assert SOON * 0.9 < time.monotonic() - begun < 4 * SOON


def test_if_all_addresses_refuse_the_error_names_address_and_reason(network: Network) -> None:
    network.resolve(network.refusing("::1"), network.refusing())
    with pytest.raises(ConnectionError) as raised:
        dial(Endpoint(NAME, 110), NEVER)
    assert isinstance(raised.value, ConnectionFailed)
    assert raised.value.exit_status is Status.TRY_LATER
    assert str(raised.value) == f"cannot connect to {NAME} port 110: Connection refused"


def refuse_to_resolve(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def getaddrinfo(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_an_unknown_host_has_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_resolve(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with pytest.raises(UnknownHost) as raised:
        dial(Endpoint(NAME, 110), NEVER)
    assert raised.value.exit_status is Status.NO_HOST
    assert isinstance(raised.value, OSError)
    assert str(raised.value) == f"cannot resolve the host name {NAME}: Name or service not known"


@pytest.mark.parametrize("name", ["EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"])
def test_a_name_without_an_address_is_an_unknown_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_resolve(monkeypatch, socket.gaierror(getattr(socket, name), "nothing there"))
    with pytest.raises(UnknownHost):
        dial(Endpoint(NAME, 110), NEVER)


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
        socket.gaierror(socket.EAI_SYSTEM, "System error"),
        socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"),
        OSError(24, "Too many open files"),
    ],
)
def test_a_resolver_that_cannot_answer_is_tried_again_later(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_resolve(monkeypatch, error)
    with pytest.raises(ResolverFailed) as raised:
        dial(Endpoint(NAME, 110), NEVER)
    assert raised.value.exit_status is Status.TRY_LATER
    assert str(raised.value) == f"cannot resolve the host name {NAME} now: {error.strerror}"


@pytest.mark.parametrize("host", ["mail..example.org", "x" * 64 + ".example.org", "\udcff", ""])
def test_what_cannot_be_a_host_name_is_an_unknown_host(host: str) -> None:
    with pytest.raises(UnknownHost):
        dial(Endpoint(host, 110), NEVER)


# unix:/path


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a socket whose queue has room for one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pop3"))
        listener.listen(0)
        yield tmp_path / "pop3"


def test_a_unix_socket_is_reached(listening: Path) -> None:
    assert reached(Endpoint(f"unix:{listening}", 0)) == str(listening)


def test_a_unix_socket_whose_queue_is_full_is_not_taken_for_connected(listening: Path) -> None:
    with dial(Endpoint(f"unix:{listening}", 0), NEVER):
        with pytest.raises(ConnectionFailed) as raised:
            dial(Endpoint(f"unix:{listening}", 0), NEVER)
        assert raised.value.exit_status is Status.TRY_LATER


@pytest.mark.parametrize(("path", "reason"), [("nothing", "No such file"), ("x" * 200, "Invalid argument")])
def test_a_unix_socket_that_is_not_there_is_a_connection_error(
    path: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConnectionFailed, match=reason):
        dial(Endpoint(f"unix:{tmp_path}/{path}", 0), NEVER)
