"""Messages at which a delivery broke: the next runs fetch them last, so that they hold up no other.

Pure: the record keeps the value, a word for each message, and the one that broke it latest at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

from pop3fetch.messages import Listing

MOST_KEPT = 100  # messages; more only at a server that breaks at everything


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
