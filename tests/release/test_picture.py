"""The picture in the README shows what the program prints today."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

from release.picture import svg, transcript

PROJECT = Path(__file__).parent.parent.parent
PICTURE = PROJECT / "docs/picture.svg"


def _text(picture: str) -> str:
    """Return what a picture shows, without blanks, because a long line is cut anywhere."""
    texts = re.findall(r'<text class="pop3fetch-r\d+"[^>]*>([^<]*)</text>', picture)
    return "".join("".join(map(unescape, texts)).split())


def test_the_picture_is_of_a_run_of_today() -> None:
    lines = transcript()
    shown = _text(PICTURE.read_text("utf-8"))
    assert shown == "".join("".join(line.plain for line in lines).split()), "run `make picture`"
    assert _text(svg(lines)) == shown


def test_the_picture_is_whole_and_loads_nothing() -> None:
    picture = PICTURE.read_text("utf-8")
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert "url(http" not in picture
    assert "href" not in picture


def test_the_readme_shows_it() -> None:
    assert "](docs/picture.svg)" in (PROJECT / "README.md").read_text("utf-8")
