"""The session of a mail fetcher: :class:`POP3Client`, and what `get` needs to know besides.

It remembers what was retrieved, because QUIT may delete that (RFC 1939 section 8), and how a look ends
without loss. It knows what broke the session, so that the next one can avoid it. And it recognises a listing
that has not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from types import MappingProxyType

from pop3fetch.errors import POP3Error
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.machine import UPDATE
from pop3fetch.pop3.pipeline import IncomingMessage
from pop3fetch.pop3.replies import (
    UNFAMILIAR,
    Capabilities,
    Digests,
    ListReply,
    Overview,
    parse_scan_line,
    parse_unique_id_line,
)
from pop3fetch.pop3.wire import CRLF

NOTHING: Set[int] = frozenset()


class MailSession(POP3Client):
    """A session with what ``fetch`` and ``sessions`` need beyond the library's calls."""

    def __init__(self, server: Server) -> None:
        self.when_announced: Callable[[Capabilities], object] | None = None  # is called with what CAPA lists
        # The indexes that :meth:`retrieve_many` yielded: a server may delete those at QUIT.
        self.retrieved: set[int] = set()
        self.topped: set[int] = set()  # the indexes that :meth:`top_many` requested
        super().__init__(server)

    # -- what is known -----------------------------------------------------------------------

    @property
    def ends_lines_with_crlf(self) -> bool:
        """Whether the server ends its lines with CRLF; if not, a CR before LF is content."""
        return self.conversation.session.line_end == CRLF

    @property
    def broke_in_the_pipe(self) -> bool:
        """Whether the session ended on pipelined replies: the server may have mixed them up."""
        return len(self.conversation.session.awaited) > 1

    def broken_at(self) -> int | None:
        """Return the index of the message if the session ended during its RETR, and no other command."""
        awaited = self.conversation.session.awaited
        if len(awaited) != 1 or awaited[0].name != "RETR" or awaited[0].number is None:
            return None
        return awaited[0].number - 1

    def stop_pipelining(self) -> None:
        """Send one command at a time, whatever the server announces."""
        self._may_pipeline = False

    def _learn(self, capabilities: Capabilities) -> None:
        super()._learn(capabilities)
        if self.when_announced:
            self.when_announced(capabilities)

    # -- lists and messages ------------------------------------------------------------------

    def overview_unless(
        self, familiar: Digests, when_unlike: Callable[[], object]
    ) -> tuple[Overview, Digests] | None:
        """Return overview and digests; None, and nothing is parsed, if both lists are ``familiar``.

        ``when_unlike`` is called if LIST differs, while UIDL may still arrive. Lists with unusable lines are
        requested again, as by :meth:`overview`.
        """
        line_end = self.conversation.session.line_end
        sizes = ListReply(parse_scan_line, line_end)
        unique_ids = ListReply(parse_unique_id_line, line_end)
        is_unlike = familiar == UNFAMILIAR

        def take_sizes(blocks: Iterator[bytes]) -> None:
            nonlocal is_unlike
            sizes.read(blocks, keep=not is_unlike)
            if sizes.digest != familiar.sizes:
                if not is_unlike:
                    sizes.parse()
                is_unlike = True
                when_unlike()

        has_uidl = self._read_lists(take_sizes, lambda blocks: unique_ids.read(blocks, keep=not is_unlike))
        digests = Digests(sizes.digest, unique_ids.digest)
        if has_uidl and digests == familiar:
            return None
        if not is_unlike:
            sizes.parse()
            unique_ids.parse()
        if sizes.unusable or unique_ids.unusable:
            self.stop_pipelining()
            del sizes, unique_ids  # as overview() does
            return self.overview(), UNFAMILIAR
        return Overview(sizes.entries, unique_ids.entries if has_uidl else None), digests

    def retrieve_many(
        self, indexes: Iterable[int], sizes: Mapping[int, int] = MappingProxyType({})
    ) -> Iterator[IncomingMessage]:
        """As :meth:`POP3Client.retrieve_many`; messages that are not refused are added to ``retrieved``."""
        for message in super().retrieve_many(indexes, sizes):
            if message.refusal is None:
                self.retrieved.add(message.index)
            yield message

    def top_many(self, indexes: Iterable[int], lines: int = 0) -> Iterator[IncomingMessage]:
        """As :meth:`POP3Client.top_many`; all messages requested are added to ``topped``."""

        def noted() -> Iterator[int]:
            for index in indexes:
                self.topped.add(index)
                yield index

        return super().top_many(noted(), lines)

    # -- the end of a session in which nothing was marked as deleted --------------------------

    def say_quit(self, notice: Callable[[str], None]) -> None:
        """Send QUIT, unless it is answered already, and close the connection; await no reply.

        Nothing depends on the reply, because nothing was marked as deleted (RFC 1939 section 6). An error is
        a notice. That saves a round trip of four in the benchmark row ``known-nothing-new``, and of five in
        ``known-keep``.
        """
        try:
            if self.state is not UPDATE:
                self.conversation.leave()
        except POP3Error as error:
            notice(str(error))
        finally:
            self.close()

    def end_look(self, notice: Callable[[str], None]) -> None:
        """Send QUIT, unless the server would then delete what was only looked at."""
        if self.quit_may_cost():
            self.close()
        else:
            self.say_quit(notice)

    def quit_may_cost(self, dispensable: Set[int] = NOTHING) -> bool:
        """Whether QUIT might delete messages that were looked at, beside the ``dispensable`` ones, by index.

        QUIT may make a server drop what was retrieved (RFC 1939 section 8), and EXPIRE shows whether it does
        (RFC 2449 section 6.7). What is announced after the login is more exact, but some servers announce
        nothing then.
        """
        retrieved, topped = self.retrieved - dispensable, self.topped - dispensable
        if not (retrieved or topped):
            return False
        capabilities = {**self.capabilities_before_login, **self.capabilities()}
        expire = next(iter(capabilities.get("EXPIRE") or []), None)
        return not may_quit(expire, retrieved=bool(retrieved))


def may_quit(expire: str | None, *, retrieved: bool) -> bool:
    """Whether QUIT leaves what was looked at on the server; ``retrieved``: by RETR, and not by TOP alone.

    ``expire`` is ``NEVER``, days, or None if the server announces nothing.
    """
    keeps = expire is not None and (expire.upper() == "NEVER" or (expire.isdecimal() and int(expire) > 0))
    return keeps if retrieved else expire != "0"
