"""The source distribution and the wheel: the same octets whenever and wherever they are built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch import __version__
from tests.test_documents import PLACES

PROJECT = Path(__file__).parent.parent
NOT_SOURCES = (
    ".git",
    ".venv",
    ".*cache",
    ".hypothesis",
    ".coverage*",
    "__pycache__",
    "build",
    "dist",
    "mutants",
)
WHEEL = f"pop3fetch-{__version__}-py3-none-any.whl"
SDIST = f"pop3fetch-{__version__}.tar.gz"
COMMIT_TIME = "1700000000"


@dataclass(frozen=True, slots=True)
class Built:
    """A copy of the sources, and the folder that holds what was built from it."""

    sources: Path
    folder: Path

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file that was built."""
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.folder.iterdir()}


def _build(sources: Path, folder: Path, *, umask: int = 0o022) -> Built:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=sources,
        env={"PATH": os.defpath, "SOURCE_DATE_EPOCH": COMMIT_TIME},
        umask=umask,
        check=True,
        capture_output=True,
    )
    return Built(sources, folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build a copy of this project."""
    place = tmp_path_factory.mktemp("building")
    sources = place / "pop3fetch"
    shutil.copytree(PROJECT, sources, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    return _build(sources, place / "dist")


def test_another_time_folder_and_umask_build_the_same_octets(built: Built, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a folder" / "elsewhere"
    shutil.copytree(built.sources, elsewhere)
    for path in elsewhere.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert _build(elsewhere, tmp_path / "dist", umask=0o077).digests() == built.digests()
    assert built.digests().keys() == {WHEEL, SDIST}


def test_the_source_distribution_builds_the_same(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.folder / SDIST) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # came with Python 3.11.4
        archive.extractall(tmp_path)
    sources = tmp_path / SDIST.removesuffix(".tar.gz")
    python = sources / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
    python.chmod(0o755)
    (sources / ".venv/ready-for-dist").touch()
    environment = {"PATH": os.environ["PATH"], "GIT_DIR": os.devnull}  # as without git
    subprocess.run(["make", "dist"], cwd=sources, env=environment, check=True, capture_output=True)
    assert Built(sources, sources / "dist").digests() == built.digests()


def test_the_wheel_holds_the_package_the_licence_and_what_belongs_to_a_system(built: Built) -> None:
    with zipfile.ZipFile(built.folder / WHEEL) as wheel:
        names = set(wheel.namelist())
    package = {
        str(path.relative_to(built.sources))
        for path in (built.sources / "pop3fetch").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    data = {f"pop3fetch-{__version__}.data/data/{place}" for place in PLACES.values()}
    described = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert names == package | data | {f"pop3fetch-{__version__}.dist-info/{name}" for name in described}


def test_the_source_distribution_holds_tests_and_documents(built: Built) -> None:
    with tarfile.open(built.folder / SDIST) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"Makefile", "pyproject.toml", "README.md", "LICENSE", "tests/test_building.py", ".ci/run"}
    assert wanted | PLACES.keys() <= names


def test_the_wheel_installs_the_command_and_what_belongs_to_a_system(built: Built, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed"]
    subprocess.run([*pip, "--prefix", tmp_path, built.folder / WHEEL], check=True, capture_output=True)
    assert (tmp_path / "bin/pop3fetch").stat().st_mode & 0o100
    for source, place in PLACES.items():
        assert (tmp_path / place).read_bytes() == (PROJECT / source).read_bytes()


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"] == {"path": "pop3fetch/__init__.py"}
    sources = {
        path for path in (PROJECT / "pop3fetch").rglob("*.py") if f'"{__version__}"' in path.read_text()
    }
    assert sources == {PROJECT / "pop3fetch/__init__.py"}
