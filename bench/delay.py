"""A TCP relay that makes loopback as slow to answer as a real line, without making it narrow.

Each direction is delayed by half a round trip. The handshake of TCP is the kernel's and takes no time
on loopback, so the first octets of a client are held back by the round trip that it would have cost.
What arrives is stamped and queued, and leaves when its time has come: octets in flight do not wait for
each other. Bandwidth, loss and congestion are not imitated.

    python -m bench.delay PORT SECONDS      relays to PORT on loopback, prints its own port
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Queue
from threading import Thread

HOST = "127.0.0.1"
BLOCK = 1 << 16
IN_FLIGHT = 256  # blocks a direction, 16 MiB: more than a line of this delay would hold


@dataclass
class Relay:
    """A running relay, as a process of its own so that it takes no time from the benchmark's."""

    port: int
    _process: subprocess.Popen[str]

    @classmethod
    def start(cls, port: int, round_trip: float) -> Relay:
        """Relay to ``port`` on loopback with ``round_trip`` seconds of delay."""
        argv = [sys.executable, "-I", __file__, str(port), str(round_trip)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return cls(int(process.stdout.readline()), process)

    def stop(self) -> None:
        """End the relay and its connections."""
        self._process.kill()
        self._process.communicate()


def _receive(
    source: socket.socket, queue: Queue[tuple[float, bytes]], not_before: float, delay: float
) -> None:
    data = b"x"
    while data:
        try:
            data = source.recv(BLOCK)
        except OSError:
            data = b""
        queue.put((max(time.perf_counter(), not_before) + delay, data))


def _send(queue: Queue[tuple[float, bytes]], sink: socket.socket) -> None:
    data = b"x"
    while data:
        due, data = queue.get()
        time.sleep(max(0.0, due - time.perf_counter()))
        with suppress(OSError):  # the reader has gone: what it does not want is dropped
            sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)


def _carry(source: socket.socket, sink: socket.socket, not_before: float, delay: float) -> None:
    queue: Queue[tuple[float, bytes]] = Queue(IN_FLIGHT)
    Thread(target=_receive, args=(source, queue, not_before, delay), daemon=True).start()
    _send(queue, sink)


def _serve(client: socket.socket, port: int, round_trip: float) -> None:
    accepted = time.perf_counter()
    half = round_trip / 2
    with client, socket.create_connection((HOST, port)) as server:
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = Thread(target=_carry, args=(server, client, accepted + half, half), daemon=True)
        back.start()
        _carry(client, server, accepted + round_trip, half)
        back.join()


def main(port: int, round_trip: float) -> None:
    """Relay every connection to ``port`` until killed."""
    with socket.create_server((HOST, 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            Thread(target=_serve, args=(client, port, round_trip), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
