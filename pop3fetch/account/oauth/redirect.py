"""The loopback redirect of a browser's login (RFC 8252 section 7.3): one request, taken on 127.0.0.1.

Any program of the machine, and any page in the browser, can send a request here: only one with the state of
this login counts, and all others are ignored.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Lock, Thread
from typing import Any, Self

HOST = "127.0.0.1"  # not `localhost`, which may resolve to another address (RFC 8252 section 8.3)
PATH = "/"
KNOCK_LIMIT = 10.0  # seconds for a browser to send its request; some connect in advance, and send nothing
POLL = 0.02  # seconds until a stop is noticed

PAGE = b"""\
<!DOCTYPE html>
<meta charset="utf-8">
<title>pop3fetch</title>
<p>pop3fetch has got the answer. You may close this page and go back to the terminal.
"""


class Redirect:
    """A listener on a free port, open from ``with`` to its end."""

    def __init__(self) -> None:
        self._is_ours: Callable[[str], bool] = lambda target: True
        self._targets: queue.Queue[str] = queue.Queue()
        taken = Lock()
        self._server = _Server(
            (HOST, 0), lambda *arguments: _Handler(self._targets, taken, self._is_ours, *arguments)
        )

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(POLL,), name="redirect", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def uri(self) -> str:
        """The redirection URI to register with the request."""
        return f"http://{HOST}:{self._server.server_address[1]}{PATH}"

    def expect(self, is_ours: Callable[[str], bool]) -> None:
        """Ignore requests that are not ours from now on; ``is_ours`` gets path and query."""
        self._is_ours = is_ours

    def target(self, limit: float) -> str | None:
        """Return path and query of the request that is ours, None if there was none in ``limit`` seconds."""
        try:
            return self._targets.get(timeout=limit)
        except queue.Empty:
            return None


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a browser that hung up: the traceback would show its request."""


class _Handler(BaseHTTPRequestHandler):
    timeout = KNOCK_LIMIT

    def __init__(
        self, targets: queue.Queue[str], taken: Lock, is_ours: Callable[[str], bool], *arguments: Any
    ) -> None:
        """``taken``: locked once a request that is ours has come."""
        self._targets = targets
        self._taken = taken
        self._is_ours = is_ours
        super().__init__(*arguments)

    def do_GET(self) -> None:
        # Browsers ask for an icon, too.
        if self.path.partition("?")[0] != PATH or not self._is_ours(self.path):
            self._reply(404, b"")
            return
        if not self._taken.acquire(blocking=False):
            self._reply(410, b"")
            return
        try:
            self._reply(200, PAGE)
        finally:  # only now, because the process may end at once
            self._targets.put(self.path)

    def _reply(self, status: int, page: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        # The page's address contains the code.
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(page)

    def version_string(self) -> str:
        return "pop3fetch"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing: the request line contains the code."""
