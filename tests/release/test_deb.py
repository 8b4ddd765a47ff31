"""The Debian package: what it holds, installed and purged in a root of its own."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pop3fetch import __version__
from release import deb, zipapp
from tests.support.command import Run
from tests.test_documents import PLACES

PROJECT = Path(__file__).parent.parent.parent
COMMIT_TIME = 1_700_000_000
OTHER = {"share/zsh/site-functions": "share/zsh/vendor-completions", "share/systemd": "lib/systemd"}
DOCUMENTS = ("README.md", "copyright", "changelog.gz", "changelog.Debian.gz")

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="there is no dpkg-deb")


def _build(folder: Path, *, umask: int = 0o022, time_zone: str = "UTC", processors: str = "0") -> Path:
    program = [sys.executable, "-m", "release.deb", str(folder)]
    pinned = ["taskset", "--cpu-list", processors] if shutil.which("taskset") else []
    environment = {"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": str(COMMIT_TIME), "TZ": time_zone}
    subprocess.run(
        [*pinned, *program], cwd=PROJECT, env=environment, umask=umask, check=True, capture_output=True
    )
    return folder / deb.FILE


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package."""
    return _build(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack what the package installs."""
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return folder


def _field(package: Path, name: str) -> str:
    command = ["dpkg-deb", "--field", str(package), name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip("\n")


def _place(wheel: str) -> str:
    """Return where Debian looks for what the wheel puts there."""
    for folder, other in OTHER.items():
        wheel = wheel.replace(folder, other)
    return f"usr/{wheel}.gz" if "/man/" in wheel else f"usr/{wheel}"


@pytest.mark.slow  # there is a test of the single file in it, which is most of the package
def test_it_is_built_of_the_same_octets_again(package: Path, tmp_path: Path) -> None:
    every = f"0-{(os.cpu_count() or 1) - 1}"
    again = _build(tmp_path / "again", umask=0o077, time_zone="Asia/Tokyo", processors=every)
    assert again.read_bytes() == package.read_bytes()


def test_it_needs_the_python_that_its_file_was_built_by(package: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert _field(package, "Depends") == f"python3:any (>= {version})"
    assert _field(package, "Recommends") == "ca-certificates, python3-cryptography"
    assert _field(package, "Version") == f"{__version__}-1"


@pytest.mark.slow
def test_the_builder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(COMMIT_TIME))
    monkeypatch.setenv("DEBFULLNAME", "Alice Example")
    monkeypatch.setenv("DEBEMAIL", "alice@example.org")
    assert _field(deb.build(tmp_path), "Maintainer") == "Alice Example <alice@example.org>"


def test_it_holds_what_the_wheel_holds_in_places_of_debian(unpacked: Path) -> None:
    for source, wheel in PLACES.items():
        content = (unpacked / _place(wheel)).read_bytes()
        plain = gzip.decompress(content) if "/man/" in wheel else content
        assert plain == (PROJECT / source).read_bytes()
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    documents = {f"usr/share/doc/pop3fetch/{name}" for name in DOCUMENTS}
    assert files == {"usr/bin/pop3fetch", *map(_place, PLACES.values()), *documents}


def test_it_belongs_to_root_and_everybody_can_read_it(package: Path) -> None:
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    listing = subprocess.run(
        ["tar", "--list", "--verbose", "--numeric-owner"], input=packed, check=True, capture_output=True
    )
    shown = {tuple(line.split()[:2]) for line in listing.stdout.decode().splitlines()}
    assert shown == {("drwxr-xr-x", "0/0"), ("-rw-r--r--", "0/0"), ("-rwxr-xr-x", "0/0")}


def test_its_sums_are_of_its_files(package: Path, unpacked: Path) -> None:
    sums = subprocess.run(
        ["dpkg-deb", "--info", package, "md5sums"], check=True, capture_output=True, text=True
    ).stdout
    for line in sums.splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.md5((unpacked / name).read_bytes(), usedforsecurity=False).hexdigest() == digest
    assert len(sums.splitlines()) == sum(path.is_file() for path in unpacked.rglob("*"))


def test_it_has_the_licence_of_every_library(unpacked: Path) -> None:
    text = (unpacked / "usr/share/doc/pop3fetch/copyright").read_text("utf-8")
    assert (PROJECT / "LICENSE").read_text("utf-8") in text
    for library in zipapp.libraries():
        assert f"\n{library.name} {library.version}\n\n" in text


def test_its_program_runs(unpacked: Path, run: Run) -> None:
    program = unpacked / "usr/bin/pop3fetch"
    assert program.read_bytes().startswith(b"#!/usr/bin/python3\n")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", program, "demo"], env=run.environment, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.slow
def test_lintian_finds_nothing(package: Path) -> None:
    if not shutil.which("lintian"):
        pytest.skip("there is no lintian")
    # No one has requested this package from Debian.
    command = ["lintian", "--allow-root", "--suppress-tags", "initial-upload-closes-no-bugs", str(package)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.findall("^[EW]: .*", ended.stdout + ended.stderr, re.MULTILINE) == []
    assert ended.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install a package")
def test_it_is_installed_and_purged_without_a_trace(package: Path, unpacked: Path, tmp_path: Path) -> None:
    database = tmp_path / "root/var/lib/dpkg"
    for folder in ("info", "updates", "triggers"):
        (database / folder).mkdir(parents=True)
    (database / "status").touch()
    root = tmp_path / "root"

    def files() -> set[str]:
        paths = (path.relative_to(root) for path in root.rglob("*") if not path.is_relative_to(database))
        return {str(path) for path in paths if (root / path).is_file()}

    def dpkg(*words: str | Path) -> None:
        # There is no Python in this root.
        command = ["dpkg", "--root", str(root), "--force-depends", "--log", os.devnull, *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)

    dpkg("--install", package)
    assert files() == {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    dpkg("--purge", "pop3fetch")
    assert files() == set()
