"""The Debian package of the single-file program: ``python -m release.deb FOLDER``.

It has what the wheel installs beside the program, where Debian looks for it, and no scripts that run at
installation. SOURCE_DATE_EPOCH is the time that its files bear, and DEBFULLNAME and DEBEMAIL name who
builds it, as for Debian's own tools.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from importlib.metadata import Distribution
from pathlib import Path

from pop3fetch import __version__
from release import zipapp

PROJECT = Path(__file__).parent.parent
NAME = "pop3fetch"
VERSION = f"{__version__}-1"
FILE = f"{NAME}_{VERSION}_all.deb"
PROGRAM = "usr/bin/pop3fetch"
DOCUMENTS = "usr/share/doc/pop3fetch"

# Folders of the wheel that have another place in Debian.
MOVED = {
    "share/zsh/site-functions/": "share/zsh/vendor-completions/",
    "share/systemd/": "lib/systemd/",
}
CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3:any (>= {python})
Recommends: ca-certificates, python3-cryptography
Suggests: gnome-keyring
Section: mail
Priority: optional
Description: fetch mail over POP3: exactly once, safely, and fast
 pop3fetch lists, fetches and deletes the messages on a POP3 server, from a
 shell, a script or cron. It delivers each message to a maildir or an mbox
 exactly once, even if the server, the network, the disk or the power fails.
 .
 Without python3-cryptography, the details of a certificate are not shown and
 the password cannot be kept in the keyring of the desktop.
"""
HISTORY = """\
{name} ({version}) unstable; urgency=medium

  * Package version {upstream}; see changelog.gz.

 -- {maintainer}  {date}
"""
COPYRIGHT = """\
pop3fetch is under this licence:

{own}
/{program} also contains these libraries, each under its own licence:
"""
APACHE = "The licence is the Apache License, version 2.0: /usr/share/common-licenses/Apache-2.0.\n"


def build(folder: Path) -> Path:
    """Build the package in ``folder``: the same octets for the same libraries, time and maintainer."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    maintainer = "{} <{}>".format(
        os.environ.get("DEBFULLNAME", "The pop3fetch authors"),
        os.environ.get("DEBEMAIL", "pop3fetch@pop3fetch.invalid"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as staging:
        files = dict(_files(Path(staging), maintainer, epoch))
        root = Path(staging) / "root"
        for name, content in (*files.items(), *_control(files, maintainer)):
            _write(root, name, content)
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(folder / FILE)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return folder / FILE


def _files(staging: Path, maintainer: str, epoch: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file that the package installs."""
    single = staging / NAME
    zipapp.build(single, "/usr/bin/python3")
    yield PROGRAM, single.read_bytes()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for source, place in shared.items():
        for folder, moved in MOVED.items():
            place = place.replace(folder, moved)
        content = (PROJECT / source).read_bytes()
        yield _compressed(f"usr/{place}", content) if "/man/" in place else (f"usr/{place}", content)
    yield f"{DOCUMENTS}/copyright", _copyright().encode()
    yield f"{DOCUMENTS}/README.md", (PROJECT / "README.md").read_bytes()
    yield _compressed(f"{DOCUMENTS}/changelog", (PROJECT / "CHANGELOG.md").read_bytes())
    history = HISTORY.format(
        name=NAME, version=VERSION, upstream=__version__, maintainer=maintainer, date=formatdate(epoch)
    )
    yield _compressed(f"{DOCUMENTS}/changelog.Debian", history.encode())


def _compressed(name: str, content: bytes) -> tuple[str, bytes]:
    return f"{name}.gz", gzip.compress(content, mtime=0)


def _copyright() -> str:
    libraries = sorted(zipapp.libraries(), key=lambda library: library.name.lower())
    own = COPYRIGHT.format(own=zipapp.LICENSE.read_text("utf-8"), program=PROGRAM)
    others = (f"\n\n{library.name} {library.version}\n\n{_licence(library)}" for library in libraries)
    return own + "".join(others)


def _licence(library: Distribution) -> str:
    if "Apache-2.0" in (library.metadata.get_all("License-Expression") or ()):
        return APACHE
    [*texts] = (file.read_text("utf-8") for file in library.files or () if "LICENSE" in file.name)
    if not texts:
        raise LookupError(f"{library.name} comes without its licence")
    return "\n".join(texts)


def _control(files: Mapping[str, bytes], maintainer: str) -> Iterator[tuple[str, bytes]]:
    size = sum(-(-len(content) // 1024) for content in files.values())
    python = ".".join(map(str, sys.version_info[:2]))  # of which the single file is made
    fields = CONTROL.format(name=NAME, version=VERSION, maintainer=maintainer, size=size, python=python)
    yield "DEBIAN/control", fields.encode()
    sums = "".join(
        f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, content in files.items()
    )
    yield "DEBIAN/md5sums", sums.encode()


def _write(root: Path, name: str, content: bytes) -> None:
    path = root / name
    for folder in reversed(path.parents):
        if folder.is_relative_to(root) and not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
    path.write_bytes(content)
    path.chmod(0o755 if name == PROGRAM else 0o644)


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
