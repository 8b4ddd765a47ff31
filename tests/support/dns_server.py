"""A name server on loopback: answers SRV questions as a test defines, and keeps the questions.

with NameServer({"_pop3s._tcp.example.org": ["0 1 995 pop.example.org."]}) as names:
    ...ask names.resolver()...
assert names.asked == ["_pop3s._tcp.example.org"]
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset


class NameServer:
    """Has ``records``, in their text form, by the names that own them; what it has not is NXDOMAIN.

    ``rcode``: answer only with this error. ``silent``: do not answer.
    """

    def __init__(
        self,
        records: Mapping[str, Sequence[str]] | None = None,
        *,
        rcode: dns.rcode.Rcode | None = None,
        silent: bool = False,
    ) -> None:
        self.records = dict(records or {})
        self.asked: list[str] = []
        self._rcode = rcode
        self._silent = silent
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def resolver(self) -> dns.resolver.Resolver:
        """Return who asks this server and no other."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        return resolver

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))  # an empty datagram is the end
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            octets, client = self._socket.recvfrom(65535)
            if not octets:
                return
            query = dns.message.from_wire(octets)
            self.asked.append(query.question[0].name.to_text(omit_final_dot=True))
            if not self._silent:
                self._socket.sendto(self._answer(query).to_wire(max_size=65535), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = query.question[0].name
        records = self.records.get(name.to_text(omit_final_dot=True))
        if self._rcode is not None:
            answer.set_rcode(self._rcode)
        elif records is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif records:
            answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", "SRV", records))
        return answer
