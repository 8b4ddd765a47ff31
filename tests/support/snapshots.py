"""What a person sees, kept for review: one file per kind, a section per situation and width.

``UPDATE_SNAPSHOTS=1 pytest tests/cli/test_screens.py`` writes the sections anew.
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
    """Compare the lines that ``name`` shows at each width with the file ``kind``.

    ``order``: the names of all situations of the kind, in which the file lists them.
    """
    sections = _folded(name, shown)
    if UPDATE:
        _update(kind, name, sections, order)
    known = read(kind)
    assert sections == {title: lines for title, lines in known.items() if title[0] == name}


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


def _update(kind: str, name: str, sections: Sections, order: Sequence[str]) -> None:
    path = FOLDER / f"{kind}.txt"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # other situations of the kind may be tested at the same time
        known = {title: lines for title, lines in read(kind).items() if title[0] != name}
        known |= sections
        titles = sorted(known, key=lambda title: order.index(title[0]) if title[0] in order else -1)
        texts = (["──── {} ({})".format(*title), *known[title], ""] for title in titles if title[0] in order)
        path.write_text("".join(line + "\n" for text in texts for line in text), "utf-8")
