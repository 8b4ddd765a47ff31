"""MESSAGES: the words that choose among the messages that the server lists. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pop3fetch.errors import InvalidSelector, MessageNotFound, UidShared
from pop3fetch.messages import Listing, unescaped_uid

NAMED = 20  # messages that an error names
_RANGE = re.compile("[0-9]+-[0-9]+")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The message numbers from ``first`` to ``last``, both included; to the end if ``last`` is None."""

    first: int
    last: int | None

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        return f"{self.first}-{self.last or ''}"

    def indexes(self, listing: Listing) -> list[int]:
        """Return the indexes in the range, without gaps; none if it ends after the last message."""
        if self.last is None:
            return list(listing.indexes(self.first - 1))
        if self.last > listing.last_number:
            return []
        return list(listing.indexes(self.first - 1, self.last - 1))

    def missing(self, listing: Listing) -> str:
        """Return the numbers that no message has, of a range without a match."""
        if self.last is None:
            return f"{self.first} or higher" if self.first > 1 else ""
        first = self.first if self.last <= listing.last_number else max(self.first, listing.last_number + 1)
        return str(Numbers(first, self.last))


@dataclass(frozen=True, slots=True)
class Last:
    """The ``many`` messages with the highest numbers."""

    many: int = 1

    def __str__(self) -> str:
        return "last" if self.many == 1 else f"last:{self.many}"

    def indexes(self, listing: Listing) -> list[int]:
        """Return their indexes in order, fewer if there are fewer messages."""
        return list(listing.indexes())[-self.many :]

    def missing(self, listing: Listing) -> str:
        """Return no name: there is no message at all."""
        return ""


@dataclass(frozen=True, slots=True)
class Uid:
    """The messages with this UID."""

    octets: bytes

    def __str__(self) -> str:
        return "uid:" + self.octets.decode("utf-8", "backslashreplace")

    def indexes(self, listing: Listing) -> list[int]:
        """Return the indexes of all copies that share the UID, as it is shown, or as the server sent it."""
        return listing.with_uid(unescaped_uid(self.octets)) or listing.with_uid(self.octets)

    def missing(self, listing: Listing) -> str:
        """Return the UID as it was given."""
        return str(self)


Selector = Numbers | Last | Uid

# ASCII alone, and no more digits than a listing may have: int() would take `1_0`, `+2` and Arabic digits.
_LAST = re.compile(r"last(?::([1-9][0-9]{0,18}))?")
_NUMBERS = re.compile(r"([0-9]{1,19})(?:(-)([0-9]{1,19})?)?")


def parse(words: Iterable[str]) -> tuple[Selector, ...]:
    """Read ``3``, ``1,3,8``, ``2-5``, ``7-``, ``last``, ``last:10`` and ``uid:XYZ``.

    Raises InvalidSelector.
    """
    # A UID may contain commas itself.
    lists = ([word] if word.startswith("uid:") else word.split(",") for word in words)
    return tuple(_selector(part) for parts in lists for part in parts)


def _selector(word: str) -> Selector:
    last_ones = _LAST.fullmatch(word)
    if last_ones:
        return Last(int(last_ones[1] or 1))
    if word.startswith("uid:"):
        return _parse_uid(word)
    match = _NUMBERS.fullmatch(word)
    if match is None:
        what = f"'{word}' is not a message"
        if "@" in word:
            raise InvalidSelector(what, word, is_address=True)
        account = "; an account is given with -a" if word[:1].isalpha() else ""
        raise InvalidSelector(f"{what}; use 3, 2-5, 7-, last or uid:XYZ{account}", word)
    first = int(match[1])
    last = int(match[3]) if match[3] else None if match[2] else first
    if first == 0:
        raise InvalidSelector(f"'{word}' is not a message; numbers begin with 1", word)
    if last is not None and last < first:
        raise InvalidSelector(f"the range {word} runs backwards; use {last}-{first}", word)
    return Numbers(first, last)


def _parse_uid(word: str) -> Uid:
    try:
        # How Python hands on the octets of a command line that are not UTF-8.
        octets = word.removeprefix("uid:").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        octets = b""
    if not octets:
        raise InvalidSelector(f"'{word}' has no unique-id; use uid:XYZ", word)
    return Uid(octets)


def needs_uids(selectors: Iterable[Selector]) -> bool:
    """Return whether some of ``selectors`` are UIDs, and not numbers alone."""
    return any(isinstance(selector, Uid) for selector in selectors)


def select(
    listing: Listing, selectors: Iterable[Selector], *, one_each: bool = False, all_uids: bool = True
) -> list[int]:
    """Return the indexes that ``selectors`` name, in the order given, each once.

    ``one_each``: a UID must name one message; ``all_uids``: each must name some. Raises
    :exc:`MessageNotFound` for what is missing, and UidShared for a UID that names several.
    """
    selected: dict[int, None] = {}
    missing: list[str] = []
    for selector in selectors:
        indexes = selector.indexes(listing)
        if not indexes and (all_uids or not isinstance(selector, Uid)):
            missing.append(selector.missing(listing))
        if one_each and isinstance(selector, Uid) and len(indexes) > 1:
            raise UidShared(str(selector), ", ".join(str(index + 1) for index in indexes[:NAMED]))
        selected.update(dict.fromkeys(indexes))
    if missing:
        named = ", ".join(filter(None, [*missing[:NAMED], *["…"] * (len(missing) > NAMED)]))
        raise MessageNotFound(named, are_several="," in named or _RANGE.fullmatch(named) is not None)
    return list(selected)
