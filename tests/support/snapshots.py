"""What a person sees, kept for review: one file per kind, a section per situation and width.

``UPDATE_SNAPSHOTS=1 .venv/bin/python -m pytest tests/cli/test_screens.py`` writes the sections anew.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "cli" / "snapshots"
UPDATE = "UPDATE_SNAPSHOTS" in os.environ
_TITLE = re.compile(r"^──── (?P<name>.*) \((?P<widths>[\d, ]+ columns)\)$")

Sections = dict[tuple[str, str], list[str]]  # by name and widths


def check(kind: str, name: str, shown: Mapping[int, Sequence[str]], order: Sequence[str]) -> None:
    """Compare the lines that ``name`` shows at some widths with the file ``kind``.

    ``order``: the names of all situations of the kind, in which the file lists them.
    """
    if UPDATE:
        _update(kind, name, shown, order)
    known = _unfolded(name, read(kind))
    assert shown == {columns: known.get(columns) for columns in shown}


def read(kind: str) -> Sections:
    """Return the sections of a file."""
    sections: Sections = {}
    lines: list[str] = []
    for line in (FOLDER / f"{kind}.txt").read_text("utf-8").splitlines():
        if title := _TITLE.match(line):
            lines = sections.setdefault((title["name"], title["widths"]), [])
        else:
            lines.append(line)
    for lines in sections.values():
        assert lines.pop() == ""  # between two sections
    return sections


def _folded(name: str, shown: Mapping[int, Sequence[str]]) -> Sections:
    """Return one section for all widths that show the same."""
    widths: dict[tuple[str, ...], list[int]] = {}
    for columns, lines in shown.items():
        widths.setdefault(tuple(lines), []).append(columns)
    return {(name, f"{', '.join(map(str, at))} columns"): list(lines) for lines, at in widths.items()}


def _unfolded(name: str, sections: Sections) -> dict[int, list[str]]:
    """Return what a file has of a situation, by width."""
    return {
        int(columns): lines
        for (known, widths), lines in sections.items()
        if known == name
        for columns in re.findall(r"\d+", widths)
    }


def _update(kind: str, name: str, shown: Mapping[int, Sequence[str]], order: Sequence[str]) -> None:
    path = FOLDER / f"{kind}.txt"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # other situations of the kind may be tested at the same time
        sections = read(kind)
        widest_first = sorted((_unfolded(name, sections) | {**shown}).items(), reverse=True)
        known = {title: lines for title, lines in sections.items() if title[0] != name}
        known |= _folded(name, dict(widest_first))
        titles = sorted(known, key=lambda title: order.index(title[0]) if title[0] in order else -1)
        texts = (["──── {} ({})".format(*title), *known[title], ""] for title in titles if title[0] in order)
        path.write_text("".join(line + "\n" for text in texts for line in text), "utf-8")
