"""Which of several servers exists: all are tried side by side, and none learns who the user is.

A server is there once it has greeted inside TLS, with a certificate that verifies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

from pop3fetch.account.discovery import Candidate, Candidates
from pop3fetch.ahead import Handover
from pop3fetch.errors import (
    CertificateError,
    ConnectionFailed,
    POP3Error,
    ResolverFailed,
    ServerNotFound,
    TimedOut,
    UnknownHost,
)
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server

PROBE_TIMEOUT = 5.0  # seconds for all together
ABSENT = (UnknownHost, ResolverFailed, ConnectionFailed, TimedOut)  # no server answers there


@dataclass(slots=True)
class Trial:
    """How the servers answered, by their places in the order of preference."""

    servers: Sequence[Candidate]
    there: set[int] = field(default_factory=set)
    failed: dict[int, POP3Error] = field(default_factory=dict)

    def note(self, place: int, error: BaseException | None) -> None:
        """Keep one answer; an error that is none of ours is a bug, and raised."""
        if error is None:
            self.there.add(place)
        elif isinstance(error, POP3Error):
            self.failed[place] = error
        else:
            raise error

    def is_decided(self) -> bool:
        """Whether no better server than the best one so far can follow."""
        best = min(self.there, default=len(self.servers))
        return all(place in self.failed for place in range(best))

    def best(self) -> Candidate | None:
        """Return the best server that is there."""
        return self.servers[min(self.there)] if self.there else None

    def errors(self) -> list[POP3Error]:
        """Return what went wrong, the most telling first: a certificate, then whatever was said."""
        errors = [self.failed[place] for place in sorted(self.failed)]
        return sorted(errors, key=lambda error: (not isinstance(error, CertificateError), _is_absent(error)))


def find(
    domain: str,
    found: Candidates,
    server_of: Callable[[Candidate], Server],
    report: Callable[[Candidate, POP3Error], None],
    limit: float = PROBE_TIMEOUT,
) -> Candidate:
    """Return the best server of ``domain`` that is there, within ``limit`` seconds.

    ``report`` takes each that is not, and why. Raises ServerNotFound, or what a server answered
    that cannot be used.
    """
    trial = _tried(found.servers, server_of, limit)
    for place, error in sorted(trial.failed.items()):
        report(found.servers[place], error)
    best = trial.best()
    if best is None:
        raise _not_found(domain, found, trial.errors())
    return best


def _tried(servers: Sequence[Candidate], server_of: Callable[[Candidate], Server], limit: float) -> Trial:
    deadline = time.monotonic() + limit
    trial = Trial(servers)
    answers: Handover[tuple[int, BaseException | None]] = Handover()

    def answer(place: int, server: Server) -> None:
        try:
            _greet(server)
            answers.put((place, None))
        except BaseException as error:  # raised again in the thread that awaits the answer
            answers.put((place, error))

    for place, candidate in enumerate(servers):
        work = (place, server_of(candidate))
        Thread(target=answer, args=work, name=f"greet {candidate.host}", daemon=True).start()
    with suppress(TimeoutError):
        while not trial.is_decided():
            trial.note(*answers.get(deadline - time.monotonic()))
        return trial
    for place in set(range(len(servers))) - trial.there - trial.failed.keys():
        trial.note(place, TimedOut(servers[place].host, "at the first contact with", limit))
    return trial


def _greet(server: Server) -> None:
    """Connect, begin TLS and leave; raises what prevents that."""
    with POP3Client(server) as client:
        if not client.started_tls:
            client.start_tls()
        with suppress(POP3Error):
            client.quit()


def _is_absent(error: POP3Error) -> bool:
    return isinstance(error, ABSENT)


def _not_found(domain: str, found: Candidates, errors: Sequence[POP3Error]) -> POP3Error:
    if not errors or _is_absent(errors[0]):
        unresolved = next((error for error in errors if isinstance(error, ResolverFailed)), None)
        if unresolved:
            return unresolved
        if found.unanswered:
            return ResolverFailed(domain, found.unanswered)
    # A server that the domain names is there at other times; one that was guessed need not be.
    if errors and (found.by_dns or not _is_absent(errors[0])):
        return errors[0]
    tried = ", ".join(dict.fromkeys(candidate.host for candidate in found.servers))
    return ServerNotFound(domain, f"no answer from {tried}")
