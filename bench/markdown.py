"""Lays out Markdown tables so that they can be read as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a column whose title ends in a colon is aligned to the right, as in Markdown."""
    titles = [column.removesuffix(":") for column in columns]
    right = [column.endswith(":") for column in columns]
    cells = [titles, *rows]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    first, *rest = (_line(_padded(row, widths, right)) for row in cells)
    rule = ["-" * (width - 1) + ("-:"[to_right]) for width, to_right in zip(widths, right, strict=True)]
    return "\n".join([first, _line(rule), *rest])


def bullets(sentences: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _padded(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    return [
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(row, widths, right, strict=True)
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
