"""The limits that no fetcher can pass: its work with one half left out.

    limits.py drain HOST PORT USER CA_FILE COUNT [--delete]    retrieves in one pipeline, drops all
    limits.py write MAILDIR SIZES [--threads N]                writes files of these sizes, safely

The password is in LIMITS_PASSWORD; SIZES is a file of numbers. Runs as a program, measured like the
others, and imports nothing of the project.
"""

from __future__ import annotations

import argparse
import base64
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BLOCK = 1 << 18
BATCH = 500  # files written before they are synced
WHOLE = 1 << 20  # octets a write


def drain(options: argparse.Namespace) -> None:
    """Request all messages in one write, and read until the server closes the connection, unexamined."""
    context = ssl.create_default_context(cafile=options.ca_file)
    buffer = memoryview(bytearray(BLOCK))
    with (
        socket.create_connection((options.host, options.port)) as plain,
        context.wrap_socket(plain, server_hostname=options.host) as server,
    ):
        server.sendall(_script(options))
        while server.recv_into(buffer):
            pass


def _script(options: argparse.Namespace) -> bytes:
    secret = f"\0{options.user}\0{os.environ['LIMITS_PASSWORD']}".encode()
    commands = [f"AUTH PLAIN {base64.b64encode(secret).decode()}"]
    for number in range(1, options.count + 1):
        commands += [f"RETR {number}", f"DELE {number}"] if options.delete else [f"RETR {number}"]
    return "".join(f"{command}\r\n" for command in [*commands, "QUIT"]).encode()


def write(options: argparse.Namespace) -> None:
    """Write the files batch by batch: all of a batch, then each synced, moved, and the folder synced."""
    sizes = [int(size) for size in options.sizes.read_text().split()]
    data = os.urandom(WHOLE)
    folder = os.open(options.maildir / "new", os.O_RDONLY)
    with ThreadPoolExecutor(options.threads) as pool:
        for start in range(0, len(sizes), BATCH):
            names = range(start, min(start + BATCH, len(sizes)))
            files = [_written(f"{options.maildir}/tmp/{name}", sizes[name], data) for name in names]
            list(pool.map(_sync, [files[thread :: options.threads] for thread in range(options.threads)]))
            for name in names:
                os.rename(f"{options.maildir}/tmp/{name}", f"{options.maildir}/new/{name}")
            os.fsync(folder)


def _written(path: str, size: int, data: bytes) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    for start in range(0, size, WHOLE):
        os.write(file, data[: size - start])
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)  # begins to write, so that the sync is short
    return file


def _sync(files: list[int]) -> None:
    for file in files:
        os.fsync(file)
        os.close(file)


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    draining = commands.add_parser("drain")
    draining.set_defaults(run=drain)
    for name, kind in (("host", str), ("port", int), ("user", str), ("ca_file", str), ("count", int)):
        draining.add_argument(name, type=kind)
    draining.add_argument("--delete", action="store_true")
    writing = commands.add_parser("write")
    writing.set_defaults(run=write)
    writing.add_argument("maildir", type=Path)
    writing.add_argument("sizes", type=Path)
    writing.add_argument("--threads", type=int, default=16)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
