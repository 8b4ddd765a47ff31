"""Messages at which a delivery broke: the next runs fetch them last, so that they hold up no other.

If the reply to a message is lost, an LMTP or SMTP server may have it. One that always hangs up before that
would get a copy in each run. So after some runs the message is left alone.

Pure: the record keeps the values, words of messages, and the one that broke a delivery latest at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pop3fetch.messages import Key, Listing

MOST_LOST = 3  # replies to a message, before it is left alone
# Of either value. A lost reply counts only if the other value has words: so that one must not be shorter.
MOST_KEPT = 3000


def word_of(key: tuple[bytes, int]) -> str:
    """Return a message's key as a word."""
    uid, occurrence = key
    return f"{uid.hex()}:{occurrence}"


def and_last(kept: str | None, key: tuple[bytes, int]) -> str:
    """Return the value with one more message, at its end."""
    words = [word for word in (kept or "").split() if word != word_of(key)]
    return " ".join([*words, word_of(key)][-MOST_KEPT:])


def in_turn(kept: str, listing: Listing, chosen: Iterable[int]) -> list[int]:
    """Return the chosen indexes in order, but those of the kept messages at the end."""
    turns = {word: turn for turn, word in enumerate(kept.split(), 1)}
    return sorted(chosen, key=lambda index: turns.get(word_of(listing.message(index).key), 0))


def and_lost(lost: str | None, key: tuple[bytes, int]) -> str:
    """Return the lost replies with one more: a message has as many words as replies to it were lost."""
    return " ".join([*(lost or "").split(), word_of(key)][-MOST_KEPT:])


def left_alone(lost: str | None, listing: Listing, chosen: Iterable[int]) -> dict[int, int]:
    """Return the chosen indexes of messages to which too many replies were lost, and how many."""
    counts = Counter((lost or "").split())
    runs = ((index, counts[word_of(listing.message(index).key)]) for index in chosen)
    return {index: lost for index, lost in runs if lost >= MOST_LOST}


def without(kept: str | None, keys: Iterable[Key]) -> str | None:
    """Return either value without these messages, as they are delivered; None if nothing is left."""
    delivered = set(map(word_of, keys))
    return " ".join(word for word in (kept or "").split() if word not in delivered) or None
