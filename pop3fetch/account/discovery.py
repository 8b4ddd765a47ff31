"""Where the mail of a domain may be: the servers that its DNS names (RFC 6186), or the usual names.

Connects to none of them: ``sessions.probe`` finds out which exist. DNS can be forged, so the user must accept
a server outside the domain (RFC 6186 section 6).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pop3fetch.defaults import PLAIN_PORT, TLS_PORT
from pop3fetch.errors import ServerNotFound

if TYPE_CHECKING:
    from dns.rdtypes.IN.SRV import SRV
    from dns.resolver import Resolver

LIMIT = 5.0  # seconds for all questions to DNS together
MOST_TARGETS = 6  # servers that are used of a DNS answer, which may have thousands
USUAL_NAMES = ("pop.", "pop3.", "mail.", "")  # before the domain
# A name that can be nothing else; one that ends in digits may be an address.
HOST = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]*[a-z_-][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Service:
    """A service by its name in SRV records (RFC 6186 section 3.3), with its TLS mode and port."""

    label: str
    tls: str
    port: int


# RFC 8314 section 5.1: TLS from the first octet is preferred.
SERVICES = (Service("_pop3s._tcp", "implicit", TLS_PORT), Service("_pop3._tcp", "starttls", PLAIN_PORT))
SERVICE_MODES = tuple(service.tls for service in SERVICES)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that may have the mail of a domain; ``host`` in lower-case ASCII."""

    host: str
    port: int
    tls: str

    def is_inside(self, domain: str) -> bool:
        """Whether the owner of ``domain`` owns this name, too."""
        return self.host == domain or self.host.endswith(f".{domain}")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The possible servers, the best first; ``by_dns``: the domain itself names them.

    ``unanswered``: why DNS gave no answer; empty if it gave one.
    """

    servers: tuple[Candidate, ...]
    by_dns: bool
    unanswered: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """How a search is made.

    ``tls_modes`` of SERVICE_MODES; ``asks_dns``: for SRV records; ``limit``: seconds that DNS has;
    ``resolver``: by default dnspython's own; ``report`` takes a line about each server that was skipped.
    """

    tls_modes: Collection[str] = SERVICE_MODES
    asks_dns: bool = True
    limit: float = LIMIT
    resolver: Resolver | None = None
    report: Callable[[str], None] = lambda line: None


class NotOffered(Exception):
    """The domain has no such service: the target is the root (RFC 2782)."""


class Unanswered(Exception):
    """DNS cannot answer now; the argument is the reason."""


def candidates(domain: str, search: Search) -> Candidates:
    """Return the servers that may have the mail of ``domain``, which is lower-case ASCII.

    Raises ServerNotFound if its DNS says that it has none.
    """
    deadline = time.monotonic() + search.limit
    named: list[Candidate] = []
    open_services = []
    unanswered = ""
    for service in SERVICES:
        if service.tls not in search.tls_modes:
            continue
        try:
            named += _named(domain, service, search, deadline)
        except NotOffered:
            continue
        except Unanswered as error:
            unanswered = str(error)
        open_services.append(service)
    if named:
        return Candidates(tuple(named[:MOST_TARGETS]), by_dns=True)
    if not open_services:
        raise ServerNotFound(domain, "its DNS says that it offers no POP3")
    usual = tuple(
        Candidate(name + domain, service.port, service.tls)
        for service in open_services
        for name in USUAL_NAMES
    )
    return Candidates(usual, by_dns=False, unanswered=unanswered)


def _named(domain: str, service: Service, search: Search, deadline: float) -> list[Candidate]:
    """Return the usable targets of the service's SRV records, by priority and weight."""
    remaining = deadline - time.monotonic()
    if not search.asks_dns or remaining <= 0:
        return []
    found = []
    for record in _records(f"{service.label}.{domain}.", search, remaining):
        host = record.target.to_text(omit_final_dot=True).lower()
        if HOST.fullmatch(host) and record.port:
            found.append(Candidate(host, record.port, service.tls))
        else:
            search.report(f"{service.label}.{domain} names an invalid server: {host} port {record.port}")
    return found


def _records(name: str, search: Search, seconds: float) -> list[SRV]:
    """Return the SRV records of ``name`` in the order of RFC 2782; raises NotOffered, Unanswered."""
    from dns.exception import DNSException, Timeout
    from dns.name import root
    from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers, get_default_resolver

    try:
        resolver = search.resolver or get_default_resolver()
        answer = resolver.resolve(name, "SRV", lifetime=seconds, search=False)
    except (NXDOMAIN, NoAnswer):
        return []
    except (DNSException, OSError) as error:
        search.report(f"DNS did not answer for {name}: {error}")
        if isinstance(error, Timeout | NoNameservers | OSError):
            raise Unanswered(str(error)) from error
        return []
    assert answer.rrset is not None
    records = cast("list[SRV]", answer.rrset.processing_order())
    if [record.target for record in records] == [root]:
        raise NotOffered
    return records
