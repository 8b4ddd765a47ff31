"""The program and what it imports in one file: ``python -m release.zipapp FILE``.

It is made of what is installed beside it, and runs on this Python and newer ones. Compiled libraries
cannot be imported from an archive and stay out: cryptography, which the program takes from the Python
that runs it, or does without. Nothing is taken from the metadata of an installed pop3fetch, as they may be
older than the sources.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pop3fetch

PACKAGE = Path(pop3fetch.__file__).parent
LICENSE = PACKAGE.parent / "LICENSE"
MAIN = b"from pop3fetch.cli import main\n\nmain()\n"
EXTRA = "oauth"  # small and pure; it cannot be installed into a file
THEN = (1980, 1, 1, 0, 0, 0)  # a zip archive has no earlier time; any fixed one is enough

COMPILED = (".so", ".pyd", ".dylib")
OF_THE_INSTALLATION = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def build(target: Path, python: str = "/usr/bin/env python3") -> None:
    """Write the single-file program to ``target``: the same octets for the same libraries."""
    files = dict(_all_files())
    # Until Python 3.13 a package without __init__.py, such as jaraco of keyring, is only found by its folder.
    folders = {f"{folder}/" for name in files for folder in Path(name).parents if folder.name}
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        stream.write(f"#!{python}\n".encode())
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({*files, *folders}):
                _add(archive, name, files.get(name, b""))
    target.chmod(0o755)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, THEN)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o40755 if entry.is_dir() else 0o644) << 16
    archive.writestr(entry, content)


def _all_files() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", MAIN
    yield LICENSE.name, LICENSE.read_bytes()
    for source in (*PACKAGE.rglob("*.py"), PACKAGE / "py.typed"):
        yield str(source.relative_to(PACKAGE.parent)), source.read_bytes()
    for library in libraries():
        yield from _files(library)


def libraries() -> list[Distribution]:
    """Return all that the program requires here, directly or not, without the compiled ones."""
    seen = {"pop3fetch"}
    return [library for name in _required("pop3fetch", EXTRA) for library in _with_required(name, seen)]


def _with_required(name: str, seen: set[str]) -> Iterator[Distribution]:
    if name in seen:
        return
    seen.add(name)
    library = distribution(name)
    if any(file.suffix in COMPILED for file in library.files or ()):
        return
    yield library
    for other in _required(name):
        yield from _with_required(other, seen)


def _required(name: str, extra: str = "") -> Iterator[str]:
    for requirement in map(Requirement, distribution(name).requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield canonicalize_name(requirement.name)


def _files(library: Distribution) -> Iterator[tuple[str, bytes]]:
    for file in library.files or ():
        outside = ".." in file.parts or file.suffix in (".pyc", ".pth")
        if not outside and file.name not in OF_THE_INSTALLATION:
            yield str(file), file.read_binary()


if __name__ == "__main__":
    build(Path(sys.argv[1]))
