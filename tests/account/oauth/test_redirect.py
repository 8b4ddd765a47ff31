"""The loopback redirect: one request at one path, of which nothing is printed."""

from __future__ import annotations

import socket
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import pytest

from pop3fetch.account.oauth.redirect import Redirect

SOON = 0.05  # seconds in which nothing comes
PATIENCE = 10.0  # seconds for what does come


def ask(redirect: Redirect, target: str, method: str = "GET") -> HTTPResponse:
    parts = urlsplit(redirect.uri)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    connection.request(method, target)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_the_one_request_is_handed_over_and_answered_with_a_page() -> None:
    with Redirect() as redirect:
        response = ask(redirect, "/?code=c0de&state=x")
        assert redirect.target(PATIENCE) == "/?code=c0de&state=x"
    assert response.status == 200
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Server"] == "pop3fetch"


def test_it_listens_on_loopback_alone_and_on_a_port_of_its_own() -> None:
    with Redirect() as first, Redirect() as second:
        assert first.uri != second.uri
        assert first.uri.startswith("http://127.0.0.1:") and first.uri.endswith("/")


@pytest.mark.parametrize("target", ["/favicon.ico", "/x?code=c0de", "/callback", "http://127.0.0.1/"])
def test_another_path_is_not_found_and_does_not_count(target: str) -> None:
    with Redirect() as redirect:
        assert ask(redirect, target).status == 404
        assert ask(redirect, "/?code=c0de").status == 200
        assert redirect.target(PATIENCE) == "/?code=c0de"


def test_a_second_request_is_too_late() -> None:
    with Redirect() as redirect:
        assert ask(redirect, "/?code=first").status == 200
        assert ask(redirect, "/?code=second").status == 410
        assert redirect.target(PATIENCE) == "/?code=first"


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
def test_other_methods_do_not_count(method: str) -> None:
    with Redirect() as redirect:
        assert ask(redirect, "/?code=c0de", method).status == 501
        assert redirect.target(SOON) is None


def test_a_silent_connection_does_not_block_others() -> None:
    with Redirect() as redirect:
        port = urlsplit(redirect.uri).port
        with socket.create_connection(("127.0.0.1", port)):
            assert ask(redirect, "/?code=c0de").status == 200


def test_no_request_comes_in_time() -> None:
    with Redirect() as redirect:
        assert redirect.target(SOON) is None


def test_nothing_is_written_about_a_request(capfd: pytest.CaptureFixture[str]) -> None:
    with Redirect() as redirect:
        ask(redirect, "/?code=c0de")
        ask(redirect, "/elsewhere")
        with socket.create_connection(("127.0.0.1", urlsplit(redirect.uri).port)) as connection:
            connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            connection.recv(1024)
    assert capfd.readouterr() == ("", "")


def test_the_port_is_closed_at_the_end() -> None:
    with Redirect() as redirect:
        port = urlsplit(redirect.uri).port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
