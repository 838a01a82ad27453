"""Addresses of the public internet, judged by the published registries, and a client that connects to no others."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from ti_trainer.files.addresses import is_public, leads_inside, public_client, public_socket

# IANA's special-purpose registries (RFC 6890), and multicast
INSIDE = (
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
)
OUTSIDE = ("1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:2800:220:1::1", "::ffff:1.1.1.1")


def test_public_addresses() -> None:
    assert {address: is_public(address) for address in (*INSIDE, *OUTSIDE)} == {
        **dict.fromkeys(INSIDE, False),
        **dict.fromkeys(OUTSIDE, True),
    }


def test_hosts() -> None:
    assert leads_inside("localhost")
    assert leads_inside("127.1")
    assert leads_inside("::1")
    assert not leads_inside("1.1.1.1")
    assert not leads_inside("no-such-host.invalid")
    assert not leads_inside("a" * 70 + ".org")  # no name at all


def test_sockets() -> None:
    found = socket.getaddrinfo("1.1.1.1", 443, type=socket.SOCK_STREAM)[0]
    with public_socket(found) as opened:
        assert opened.family == socket.AF_INET
    inside = socket.getaddrinfo("127.0.0.1", 443, type=socket.SOCK_STREAM)[0]
    with pytest.raises(PermissionError, match=r"127\.0\.0\.1 is no address of the public internet"):
        public_socket(inside)


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server of this machine, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/x", paths
        server.shutdown()
        thread.join()


def test_the_client_connects_to_no_server_inside(asked: tuple[str, list[str]]) -> None:
    """An address in the URL itself, and a name that leads to one."""
    aiohttp = pytest.importorskip("aiohttp")
    url, paths = asked

    async def ask(client: object) -> int:
        async with client as session, session.get(url) as answer:  # type: ignore[attr-defined]
            return int(answer.status)

    async def attempt() -> None:
        with pytest.raises(aiohttp.ClientConnectorError, match="no address of the public internet"):
            await ask(await public_client())
        assert paths == []
        assert await ask(aiohttp.ClientSession()) == 200

    asyncio.run(attempt())
    assert paths == ["/x"]
