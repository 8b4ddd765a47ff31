"""What a host is called by DNS, by a proxy and in a certificate."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.errors import UnknownHost
from pop3fetch.net.dial import Endpoint, certificate_name, dial, wire_name
from pop3fetch.net.tunnel import Tunnel


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mail.example.org", "mail.example.org"),
        ("_pop3s._tcp.example.org", "_pop3s._tcp.example.org"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\N{COMBINING DIAERESIS}cher.example", "xn--bcher-kva.example"),
        ("ｂücher。example", "xn--bcher-kva.example"),
        ("почта.рф", "xn--80a1acny.xn--p1ai"),
    ],
)
def test_a_name_goes_out_in_ascii(host: str, name: str) -> None:
    assert wire_name(host) == name


def test_a_sharp_s_is_a_letter_of_its_own_and_leads_to_no_other_host() -> None:
    assert wire_name("straße.example") == "xn--strae-oqa.example"


@pytest.mark.parametrize("host", ["bü..example", "-ü-.example", "ü" * 64, "x\u202e.example", "☃️⃝.example"])
def test_a_host_that_is_not_a_name_is_unknown(host: str) -> None:
    with pytest.raises(UnknownHost):
        wire_name(host)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mail.example.org", "mail.example.org"),
        ("mail.example.org.", "mail.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unix:/run/pop3.sock", None),
    ],
)
def test_a_certificate_must_have_the_name_without_what_is_ours(host: str, name: str | None) -> None:
    assert certificate_name(host) == name


def test_a_tunnel_needs_a_valid_name(tmp_path: Path) -> None:
    tunnel = Tunnel(("touch", str(tmp_path / "ran")), {"PATH": os.environ["PATH"]})
    with pytest.raises(UnknownHost):
        dial(Endpoint("bü..example", 995, tunnel=tunnel), 1)
    assert not (tmp_path / "ran").exists()


def test_a_name_is_resolved_by_its_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def getaddrinfo(host: Any, *rest: Any) -> list[Any]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(UnknownHost, match=r"bücher\.example: no such name"):
        dial(Endpoint("bücher.example", 995), 1)
    assert asked == [b"xn--bcher-kva.example"]
