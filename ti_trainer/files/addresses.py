"""Addresses of the public internet, and a client for https that connects to no others."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any


def is_public(address: str) -> bool:
    """Whether an IP address, such as 93.184.216.34, belongs to the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])  # fe80::1%eth0
    ip = getattr(ip, "ipv4_mapped", None) or ip  # ::ffff:127.0.0.1
    return ip.is_global and not ip.is_multicast


def leads_inside(host: str) -> bool:
    """Whether a host has an address that is not public; False where nobody knows the host."""
    try:
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: a name that cannot be one
        return False
    return any(not is_public(str(each[4][0])) for each in found)


async def public_client(**settings: Any) -> Any:
    """A session of aiohttp that connects to public addresses only; fsspec makes its own from this function.

    Each connection is judged by the address it goes to, so a redirect, or a name that leads elsewhere when it is asked
    for again, makes no difference.
    """
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=public_socket), **settings)


def public_socket(found: Any) -> socket.socket:
    """The socket for an entry of `socket.getaddrinfo`; raises PermissionError where its address is not public."""
    family, kind, protocol, _, address = found
    if not is_public(str(address[0])):
        raise PermissionError(errno.EACCES, f"{address[0]} is no address of the public internet")
    return socket.socket(family, kind, protocol)
