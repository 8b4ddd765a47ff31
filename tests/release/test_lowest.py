"""The lowest versions that are allowed."""

from __future__ import annotations

import pytest

from release.lowest import PYPROJECT, constraints

PROJECT = """\
[project]
dependencies = ["click>=8.1.7", "scramp>=1.5,<2"]

[project.optional-dependencies]
oauth = ["oauthlib>=3.3"]
test = ["pytest>=8.0"]
"""


def test_the_floors_become_constraints() -> None:
    assert list(constraints(PROJECT)) == ["click==8.1.7", "scramp==1.5", "oauthlib==3.3"]


def test_a_requirement_without_a_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        list(constraints(PROJECT.replace("click>=8.1.7", "click")))


def test_every_requirement_of_ours_has_a_floor() -> None:
    assert len(list(constraints(PYPROJECT.read_text("utf-8")))) >= 10
