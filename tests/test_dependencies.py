"""The libraries that a run may load are those that were reviewed.

A new one, even one that a library requires, fails here: check what it is, who maintains it and under which
licence, before it sees passwords and mail. `make audit` lists the known vulnerabilities of their versions.
"""

from __future__ import annotations

from importlib.metadata import PackageMetadata, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("", "oauth")  # what a user may install

# By licence; those behind the first line of each are brought along by others.
LIBRARIES = {
    "Apache": {
        "cryptography", "python-socks",
        "importlib-metadata", "lazy-importer",
    },
    "BSD": {
        "click", "idna", "oauthlib", "webencodings",
        "pycparser", "pygments", "secretstorage",
    },
    "ISC": {"dnspython"},
    "MIT": {
        "keyring", "platformdirs", "rich", "scramp", "tomlkit",
        "asn1crypto", "backports-tarfile", "cffi", "jaraco-classes", "jaraco-context", "jaraco-functools",
        "jeepney", "markdown-it-py", "mdurl", "more-itertools", "zipp",
    },
}  # fmt: skip


def needed_by(name: str, extras: tuple[str, ...] = ("",)) -> set[str]:
    """Return what a distribution needs here, and what that needs, by canonical names."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        for requirement in map(Requirement, distribution(name).requires or []):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                needed = canonicalize_name(requirement.name)
                if needed not in found:
                    found.add(needed)
                    waiting.append((needed, ("", *requirement.extras)))
    return found


def licence(metadata: PackageMetadata) -> str:
    """Return all that a distribution declares of its licence; authors do so in three ways."""
    said = (metadata.get_all(field) or [] for field in ("License-Expression", "License", "Classifier"))
    return " ".join(line for lines in said for line in lines if "\n" not in line)


def test_every_library_was_looked_at() -> None:
    assert needed_by("pop3fetch", EXTRAS) <= set().union(*LIBRARIES.values())


def test_every_library_has_the_licence_that_was_looked_at() -> None:
    needed = needed_by("pop3fetch", EXTRAS)
    wrong = {
        name: licence(distribution(name).metadata)
        for family, names in LIBRARIES.items()
        for name in names & needed
        if family not in licence(distribution(name).metadata)
    }
    assert wrong == {}
