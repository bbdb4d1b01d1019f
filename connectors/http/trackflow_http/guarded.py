"""POST to an address that a stranger may have chosen: an endpoint of outgoing webhooks.

Private, link-local, loopback and metadata addresses are refused, at the moment of connecting and
for every address that the name has, so that a name that changes its mind gains nothing (SSRF).
Redirects are not followed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, SSLError

from trackflow_core.errors import ConfigError, RetriableError
from trackflow_core.outbox import Answer

Network = IPv4Network | IPv6Network


class _Refused(OSError):
    """The address may not be asked."""


@dataclass(frozen=True, slots=True)
class GuardedPost:
    """`outbox.Post`. `allowed` networks may be asked although they are private. `timeout` is in
    seconds, for connecting and for each wait for data.

    Raises ConfigError for an address that may not be asked and for a certificate that is not
    trusted, RetriableError without an answer.
    """

    allowed: Collection[Network] = ()
    timeout: float = 15

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = _origin(url)
        pool = _pools(self._permits)
        try:
            response = pool.request(
                "POST",
                url,
                body=body,
                headers=dict(headers),
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(connect=min(self.timeout, 5), read=self.timeout),
                preload_content=False,
            )
            # What else it says is of no interest, and may never end.
            response.close()
        except SSLError:
            raise ConfigError(f"The certificate of {where} is not trusted.") from None
        except (HTTPError, OSError, UnicodeError) as error:
            if _is_refused(error):
                raise ConfigError(
                    f"{where} is an address inside a private network, which TrackFlow does not "
                    "call: use a public one, or allow the network in the settings."
                ) from None
            raise RetriableError(f"{where} did not answer ({type(error).__name__}).") from None
        finally:
            pool.clear()
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names)

    def _permits(self, address: str) -> bool:
        ip = ip_address(address.partition("%")[0])
        if any(ip in network for network in self.allowed):
            return True
        return _is_public(ip)


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address):
        for inside in (ip.ipv4_mapped, ip.sixtofour, ip.teredo[1] if ip.teredo else None):
            if inside is not None:
                return _is_public(inside)
        # NAT64 (RFC 6052) reaches the IPv4 address in its last 32 bits.
        if ip in IPv6Network("64:ff9b::/96"):
            return _is_public(IPv4Address(int(ip) & 0xFFFFFFFF))
        # All that is public so far (RFC 4291): others may be a network's own NAT64, or site-local.
        if ip not in IPv6Network("2000::/3"):
            return False
    return ip.is_global and not ip.is_multicast


def _is_refused(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _Refused):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _pools(permits: Callable[[str], bool]) -> urllib3.PoolManager:
    """Connections that are made to permitted addresses only; no proxy, which would connect for us."""

    def connect(connection: HTTPConnection) -> socket.socket:
        found = socket.getaddrinfo(connection.host, connection.port or 0, type=socket.SOCK_STREAM)
        addresses = [str(item[4][0]) for item in found]
        if not addresses or not all(permits(address) for address in addresses):
            raise _Refused(f"{connection.host} may not be asked")
        timeout = connection.timeout
        seconds = timeout if isinstance(timeout, int | float) else None
        problem = OSError()
        for address in addresses:
            try:
                # The address itself, so that the name is not looked up once more.
                return socket.create_connection((address, connection.port or 0), seconds)
            except OSError as error:
                problem = error
        raise problem

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = urllib3.PoolManager()
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("A webhook endpoint's address begins with https:// or http://.")
    return f"{parts.scheme}://{parts.hostname}"
