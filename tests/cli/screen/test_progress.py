"""The progress line: what it shows at which width, and that it never shows too much."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.cli.screen.progress import REDRAW, ProgressLine
from pop3fetch.messages import Message
from tests.cli.screen.test_console import Tty


class Clock:
    """A clock that stops until it is set."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def line(*sizes: int, clock: Clock | None = None) -> ProgressLine:
    console = Console(io.StringIO(), Tty(), {"TERM": "xterm", "COLUMNS": "80"})
    messages = [Message(index, size, b"uid") for index, size in enumerate(sizes)]
    return ProgressLine(console, messages, clock or Clock())


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (
            200,
            f"3/10 messages  [{'=' * 10}{' ' * 30}]  2.5 MB of 10 MB  250 kB/s  0:30 left",
        ),
        (79, "3/10 messages  [======                  ]  2.5 MB of 10 MB  250 kB/s  0:30 left"),
        (60, "3/10 messages  2.5 MB of 10 MB  250 kB/s  0:30 left"),
        (42, "3/10 messages  2.5 MB of 10 MB  250 kB/s"),
        (39, "3/10 messages  2.5 MB of 10 MB"),
        (20, "3/10 messages"),
        (5, "3/10 "),
    ],
)
def test_what_matters_less_is_left_out_first(width: int, text: str) -> None:
    clock = Clock()
    shown = line(*[1_000_000] * 10, clock=clock)
    shown.advance(octets=2_500_000, messages=3)
    clock.seconds += 10
    assert shown.text(width) == text


def test_the_first_second_has_no_rate() -> None:
    clock = Clock()
    shown = line(1000, clock=clock)
    clock.seconds += 0.5
    shown.advance(octets=500)
    assert shown.text(79) == "0/1 messages  [====================                    ]  500 B of 1.0 kB"


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 3)), max_size=5),
    st.integers(0, 100_000),
    st.integers(1, 300),
)
def test_it_fits_and_never_shows_more_than_all(
    sizes: list[int], steps: list[tuple[int, int]], seconds: int, width: int
) -> None:
    clock = Clock()
    shown = line(*sizes, clock=clock)
    for octets, messages in steps:
        shown.advance(octets, messages)
    clock.seconds += seconds
    text = shown.text(width)
    assert len(text) <= width
    done, _, _ = text.partition("/")
    assert not done.isdigit() or int(done) <= len(sizes)
    assert "-" not in text, "no time is left that is below nothing"


def test_it_is_drawn_now_and_then() -> None:
    clock = Clock()
    console = Console(io.StringIO(), Tty(), {"COLUMNS": "40"})
    shown = ProgressLine(console, [Message(0, 10_000, b"uid")], clock)
    for _ in range(100):
        clock.seconds += REDRAW / 10
        shown.advance(octets=1)
    assert isinstance(console.err, Tty)
    drawn = console.err.getvalue().split("\x1b[K")[:-1]
    assert 8 <= len(drawn) <= 10
    assert all(len(each) <= 40 for each in drawn)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9960, "10 kB"), (999_499, "999 kB"),
        (999_500, "1.0 MB"), (1_500_000_000, "1.5 GB"), (10**15, "1.0 PB"), (2**63 - 1, "9.2 EB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits_at_most(octets: int, text: str) -> None:
    assert human_size(octets) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 messages"), (1, "1 message"), (2, "2 messages")])
def test_one_message_is_singular(count: int, text: str) -> None:
    assert counted(count) == text
