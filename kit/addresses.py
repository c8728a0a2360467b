"""Which hosts may be called, and which of their addresses."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Final

import httpx

from kit.partners import HostRefused, Partner

_HIGHEST_PORT: Final = 65_535


async def checked_address(host: str, port: int, *, allowed: Iterable[str], private: bool) -> str:
    """Return the address to connect to.

    The caller connects to this address and not to the name: a name that is resolved twice may
    be public when it is checked and private when it is used.

    Args:
        allowed: host names that may be called.
        private: also loopback, private and link-local addresses (development and tests).

    Raises:
        HostRefused: the host is not allowed, or one of its addresses is not.
        OSError: the name does not resolve.
    """
    if host.lower() not in {name.lower() for name in allowed}:
        raise HostRefused(f"{host} is not an allowed host")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not _may_be_called(address, private=private):
            raise HostRefused(f"{host} resolves to {address}, which is not a public address")
    return addresses[0]


def _may_be_called(text: str, *, private: bool) -> bool:
    address = ipaddress.ip_address(text.split("%", maxsplit=1)[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_multicast or address.is_unspecified:
        return False
    return private or (address.is_global and not address.is_reserved)


def url_of(partner: Partner, path: str, *, params: Mapping[str, str] | None) -> httpx.URL:
    """Return where a call to a partner goes.

    Raises:
        HostRefused: the address that is noted for the partner is none.
    """
    try:
        url = httpx.URL(partner.url.rstrip("/") + path, params=params)
    except httpx.InvalidURL as error:
        raise HostRefused(f"{partner.code} has no proper address: {error}") from error
    if url.port is not None and not 0 < url.port <= _HIGHEST_PORT:
        raise HostRefused(f"{partner.code} has no proper address: there is no port {url.port}")
    return url
