"""A fetcher as one writes it in an afternoon with poplib: a peer, and a reference for the others.

    poplib_fetch.py get|list|stat HOST PORT USER CA_FILE [--maildir DIR] [--record FILE] [--delete]

The password is in POPLIB_PASSWORD. Files are synced, one after the other, and the folder once;
the record is written at the end.
"""

from __future__ import annotations

import argparse
import os
import poplib
import ssl
from email.parser import BytesHeaderParser
from pathlib import Path


def _connect(options: argparse.Namespace) -> poplib.POP3_SSL:
    context = ssl.create_default_context(cafile=options.ca_file)
    server = poplib.POP3_SSL(options.host, options.port, context=context, timeout=60)
    server.user(options.user)
    server.pass_(os.environ["POPLIB_PASSWORD"])
    return server


def _uids(server: poplib.POP3_SSL) -> list[str]:
    return [line.split()[1].decode() for line in server.uidl()[1]]


def _write(maildir: Path, name: str, lines: list[bytes]) -> None:
    with open(maildir / "tmp" / name, "xb") as file:
        file.write(b"\n".join(lines) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(maildir / "tmp" / name, maildir / "new" / name)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def get(server: poplib.POP3_SSL, options: argparse.Namespace) -> None:
    """Fetch what the record does not name."""
    seen = set(options.record.read_text().split()) if options.record.exists() else set()
    uids = _uids(server)
    for number, uid in enumerate(uids, 1):
        if uid not in seen:
            _write(options.maildir, f"{number}.{uid}.poplib", server.retr(number)[1])
        if options.delete:
            server.dele(number)
    _sync_folder(options.maildir / "new")
    options.record.write_text("\n".join(uids))


def list_long(server: poplib.POP3_SSL) -> None:
    """Print number, size, UID, date, sender and subject of every message."""
    sizes = [line.split()[1].decode() for line in server.list()[1]]
    parser = BytesHeaderParser()
    for number, (size, uid) in enumerate(zip(sizes, _uids(server), strict=True), 1):
        headers = parser.parsebytes(b"\n".join(server.top(number, 0)[1]))
        print(number, size, uid, headers["Date"], headers["From"], headers["Subject"], sep="\t")


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser()
    for name in ("command", "host", "port", "user", "ca_file"):
        parser.add_argument(name)
    parser.add_argument("--maildir", type=Path)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--delete", action="store_true")
    options = parser.parse_args()
    server = _connect(options)
    if options.command == "get":
        get(server, options)
    elif options.command == "list":
        list_long(server)
    else:
        print(*server.stat(), sep="\t")
    server.quit()


if __name__ == "__main__":
    main()
