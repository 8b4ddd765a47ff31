"""The lowest versions that pyproject.toml allows, as constraints for pip: ``python -m release.lowest``."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def constraints(pyproject: str) -> Iterator[str]:
    """Yield ``name==version`` for what the program requires, and for its extra ``oauth``."""
    project = tomllib.loads(pyproject)["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["oauth"]):
        requirement = Requirement(text)
        [floor] = [each.version for each in requirement.specifier if each.operator == ">="]
        yield f"{requirement.name}=={floor}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in constraints(PYPROJECT.read_text("utf-8")))
