"""What became of messages whose answer was lost: they are looked for in the mailbox, and compared.

A server may still store what it has received after the connection is lost. So nothing is decided before a
pause is over and the mailbox, which is opened for each look, has stood still between two of them.

    UIDVALIDITY as before, UIDNEXT as before      nothing was stored
    a message from there on has the same digest   it is delivered; each serves one message
    just one has the same fields, of one message  it is delivered: the server has rebuilt it (Exchange)
    all of them are there, and none is it         it was not stored
    some are missing, or UIDVALIDITY is another   it may have been moved: other mailboxes are searched by
                                                  Message-ID; if it is not found, it is delivered again

A message that is not certain, because several have the same fields, is delivered again, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from pop3fetch.delivery.destination import Place, Settled
from pop3fetch.delivery.servers.imap_client import Client, State, quoted
from pop3fetch.delivery.servers.line import Hurry
from pop3fetch.delivery.servers.normal_form import digest_of
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.spool import SpooledDraft
from pop3fetch.errors import ServerFailed
from pop3fetch.headers.fields import IDENTITY_LIMIT, first_fields
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

PAUSE = 30.0  # seconds after a connection was lost in which its server may still store something
STILL = 5.0  # seconds in which the mailbox must not change
UIDS_TOGETHER = 1000  # that are asked for at once
MOST_UIDS = 50_000
MOST_MAILBOXES = 500  # that are searched
MOST_FOUND = 20  # messages of one Message-ID that are compared
UNLIKE = "-"  # in the place of a likeness
ADDED = 16 * 1024  # octets of the fields that a server may add

_TELLING = (b"message-id", b"date", b"from", b"subject")
_RECEIVED = re.compile(rb"(?im)^received[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")


class Appended(NamedTuple):
    """What the record keeps of a message that is about to be appended, in the ``name`` of its place.

    ``lost``: when its connection was lost, in seconds since the epoch, 0 if that is not known. ``likeness``
    is ``UNLIKE`` if its fields do not tell it from others.
    """

    digest: str
    lost: int
    likeness: str
    message_id: str

    @classmethod
    def of(cls, draft: SpooledDraft, lost: int = 0) -> Appended:
        """Return what is kept of a draft."""
        head = draft.head()
        return cls(digest_of(draft.blocks()), lost, next(likenesses(head), UNLIKE), _message_id(head))

    @classmethod
    def read(cls, place: Place) -> Appended:
        """Return what is kept in a place."""
        digest, lost, likeness, message_id = place.name.split(" ", 3)
        return cls(digest, int(lost), likeness, message_id)

    def place(self, destination: str, state: State, length: int) -> Place:
        """Return the place of a message that gets a UID from that of ``state`` on."""
        name = f"{self.digest} {self.lost} {self.likeness} {self.message_id}"
        return Place(destination, name, state.next_uid, length, str(state.validity))


class Settlement(NamedTuple):
    """How long to wait before messages are looked for, in seconds."""

    pause: float = PAUSE
    still: float = STILL

    def settle(
        self,
        client: Client,
        server: MailServer,
        appended: Sequence[Appended],
        places: Sequence[Place],
        hurry: Hurry,
    ) -> list[Settled]:
        """Decide what became of each message; raises ServerFailed if that is too early, and POP3Error."""
        state = client.state_after_opening(server.address.mailbox)
        if hurry.wait(self.still) or state != client.state_after_opening(server.address.mailbox):
            reason = "the mailbox changes: what a lost connection has stored is looked for later"
            raise ServerFailed(destination=str(server.address), reason=reason, status=Status.TRY_LATER)
        search = Search(client, appended, places)
        if isinstance(state, State):
            search.in_mailbox(quoted(server.address.mailbox), state)
        else:
            search.has_gaps = True
        if search.missing and search.has_gaps:
            search.elsewhere()
            if search.missing:
                count = len(search.missing)
                some = "1 message was" if count == 1 else f"{count} messages were"
                server.report(
                    f"{server.address}: the reply was lost: {some} not found again, and may be there twice"
                )
        return [
            Settled.UNDONE if index in search.missing else Settled.DELIVERED for index in range(len(places))
        ]


class Search:
    """The search for messages; ``missing`` are the indexes of those that are not found yet."""

    def __init__(self, client: Client, appended: Sequence[Appended], places: Sequence[Place]) -> None:
        self.missing = dict(enumerate(appended))
        self.has_gaps = False  # whether some may have been moved, or rebuilt beyond recognition
        self._appended = appended
        self._client = client
        self._places = places

    def in_mailbox(self, word: str, state: State) -> None:
        """Look at the messages that the mailbox has got since the first of them."""
        own = {i: place for i, place in enumerate(self._places) if place.folder == str(state.validity)}
        self.has_gaps = len(own) < len(self._places)
        first = min((place.offset for place in own.values()), default=state.next_uid)
        if first >= state.next_uid:
            return
        if not self._client.examine(word):
            self.has_gaps = True
            return
        if state.next_uid - first > MOST_UIDS:  # other mail than ours: Message-IDs find more
            self.has_gaps = True
            return
        sizes: dict[int, int] = {}
        for start in range(first, state.next_uid, UIDS_TOGETHER):
            sizes |= self._client.sizes(start, min(start + UIDS_TOGETHER, state.next_uid) - 1)
        self.has_gaps = self.has_gaps or len(sizes) < state.next_uid - first
        rebuilt: Counter[str] = Counter()  # by likeness, messages that have no digest of ours
        message_ids: set[str] = set()  # of these
        for uid, size in sorted(sizes.items()):
            fitting = {i for i in self.missing if i in own and own[i].offset <= uid and _may_be(size, own[i])}
            if fitting:
                other = self._compare(uid, fitting)
                rebuilt.update({self._appended[i].likeness for i in fitting} & {*likenesses(other)})
                message_ids.add(_message_id(other))
        alike = Counter(one.likeness for one in self._appended)
        for i in own.keys() & self.missing.keys():
            one = self._appended[i]
            if rebuilt[one.likeness] == alike[one.likeness] == 1:
                del self.missing[i]
            elif rebuilt[one.likeness] or (one.message_id and one.message_id in message_ids):
                self.has_gaps = True  # nothing tells whether it is there

    def elsewhere(self) -> None:
        """Look for messages that something has moved, by their Message-ID."""
        wanted = Counter(one.message_id for one in self.missing.values() if one.message_id)
        for word in self._client.mailboxes()[:MOST_MAILBOXES] if wanted else ():
            if not self._client.examine(word):
                continue
            for message_id in wanted:
                for uid in self._client.search(message_id)[:MOST_FOUND]:
                    fitting = {i for i, one in self.missing.items() if one.message_id == message_id}
                    if fitting:
                        self._compare(uid, fitting)

    def _compare(self, uid: int, fitting: set[int]) -> bytes:
        """Find the message with this UID among the missing ones; return its beginning if it is none."""
        limit = max(2 * self._places[i].length for i in fitting)
        heads: list[bytes] = []

        def parts() -> Iterator[bytes]:
            for part in self._client.parts_of(uid, limit):
                heads[:] = heads or [part]
                yield part

        digest = digest_of(parts())
        found = next((i for i in sorted(fitting) if self.missing[i].digest == digest), None)
        if found is not None:
            del self.missing[found]
            return b""
        return b"".join(heads)


def likenesses(head: bytes) -> Iterator[str]:
    """Yield a digest of the fields that tell a message from others with each of its Received fields.

    A server that rebuilds a message may add fields at its top, or order them anew. So the first digest of the
    message as it was is compared with each one of the message as it is now. Two copies of one message have
    different Received fields. Without one, only a Message-ID tells it from others.
    """
    header = head[:IDENTITY_LIMIT].replace(b"\r", b"").partition(b"\n\n")[0]
    fields = first_fields(header, _TELLING)
    told = [b" ".join(fields.get(name, b"").split()) for name in _TELLING]
    traces = _RECEIVED.findall(header) or [b""] * bool(told[0])
    for trace in traces if any(told) else ():
        yield blake2b(b"\n".join([*told, b" ".join(trace.split())]), digest_size=16).hexdigest()


def _message_id(head: bytes) -> str:
    """Return the Message-ID at the beginning of a message, if it can be searched for."""
    field = first_fields(head, (b"message-id",)).get(b"message-id", b"")
    message_id = " ".join(field.decode("ascii", "replace").split())
    is_usable = message_id.isascii() and message_id.isprintable() and len(message_id) <= 500
    return message_id if is_usable else ""


def _may_be(size: int, place: Place) -> bool:
    """Whether a message of this size may be the one at a place: servers change line ends, and add fields."""
    return size <= 2 * place.length + ADDED and place.length <= 2 * size + 16
