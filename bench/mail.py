"""The messages, and whether a program delivered exactly those that the server got."""

from __future__ import annotations

import base64
import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from bench.measure import RunFailed

MARK = b"X-Bench: "  # begins every message: what stands before it was added by the program
HEAD = 1 << 16  # octets in which the mark is looked for
LINE = 76
FILLER_LINES = 1 << 14
SEED = 1939

MEDIAN_SIZE, SPREAD, LARGEST = 16_384, 1.7, 10 << 20  # of mixed sizes: log-normal, 70 KB on average


@dataclass(frozen=True, slots=True)
class Post:
    """What was put into a maildrop: the messages' digests, and their sizes with LF as line end."""

    digests: Counter[bytes]
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def of(cls, messages: Iterable[bytes]) -> Post:
        """Describe ``messages``."""
        described = [(hashlib.sha256(message).digest(), len(message)) for message in messages]
        return cls(Counter(digest for digest, _ in described), tuple(size for _, size in described))


def of_size(count: int, size: int) -> Iterator[bytes]:
    """Make ``count`` messages of about ``size`` octets, each different."""
    return _messages(size for _ in range(count))


def of_mixed_sizes(count: int) -> Iterator[bytes]:
    """Make ``count`` messages whose sizes are spread as in a mailbox: many small, a few very large."""
    chance = random.Random(SEED)
    return _messages(
        min(LARGEST, int(MEDIAN_SIZE * chance.lognormvariate(0.0, SPREAD))) for _ in range(count)
    )


def verify(maildir: Path, post: Post) -> None:
    """Raise RunFailed unless the maildir holds exactly the messages of ``post``."""
    delivered = Counter(map(_digest, (maildir / "new").iterdir()))
    if delivered != post.digests:
        right = (delivered & post.digests).total()
        raise RunFailed(f"delivered {delivered.total()} messages, {right} of {len(post)} as they were sent")


def _messages(sizes: Iterable[int]) -> Iterator[bytes]:
    filler = _filler()
    for number, size in enumerate(sizes, 1):
        headers = _headers(number)
        start = number * 7 % FILLER_LINES * (LINE + 1)
        lines = max(1, (size - len(headers)) // (LINE + 1))
        yield headers + _lines(filler, start, lines * (LINE + 1))


def _headers(number: int) -> bytes:
    return b"%s%d\n" % (MARK, number) + (
        f"Message-ID: <{number}.{SEED}@example.org>\n"
        f"Date: {formatdate(1_700_000_000 + number)}\n"
        f"From: Sender {number} <sender{number % 50}@example.org>\n"
        "To: bench@example.com\n"
        f"Subject: message {number}\n"
        "MIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=us-ascii\n"
        "\n"
    ).encode("ascii")


def _filler() -> bytes:
    """Return lines of text, one in 64 beginning with the dot that POP3 doubles."""
    text = base64.b64encode(random.Random(SEED).randbytes(FILLER_LINES * LINE * 3 // 4))
    lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
    return b"".join((b"." + line[1:] if not n % 64 else line) + b"\n" for n, line in enumerate(lines))


def _lines(filler: bytes, start: int, size: int) -> bytes:
    whole, rest = divmod(size, len(filler))
    turned = filler[start:] + filler[:start]
    return turned * whole + turned[:rest]


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, file.read(HEAD).find(MARK)))
        return hashlib.file_digest(file, "sha256").digest()
