"""Start the real command with a DNS server and hosts of the test's own.

    python tests/support/resolving.py PORT '{"pop.example.org:995": 34567}' login alice@example.org

PORT is that of a name server (see dns_server). Only the named hosts exist, on loopback; other ports refuse
connections. A file of its own, as it must not import the tests.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from typing import Any

import dns.resolver

NOBODY = 1  # a port at which no process listens


def ask_only(port: int) -> None:
    """Make the name server at ``port`` the one that dnspython asks."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = port
    dns.resolver.default_resolver = resolver


def place(hosts: Mapping[str, int]) -> None:
    """Let the system's resolver know ``HOST:PORT``, each by its port on loopback, and nothing else."""
    names = {place.rpartition(":")[0] for place in hosts}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in names:
            return real("127.0.0.1", hosts.get(f"{name}:{port}", NOBODY), *arguments, **options)
        if name == "127.0.0.1":
            return real(host, port, *arguments, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    ask_only(int(sys.argv[1]))
    place(json.loads(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]

    from pop3fetch.cli import main

    main()
