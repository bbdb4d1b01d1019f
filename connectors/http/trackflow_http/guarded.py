"""POST to an address that a stranger may have chosen: an endpoint of outgoing webhooks.

Private, link-local, loopback and metadata addresses are refused, at the moment of connecting and
for every address that the name has, so that a name that changes its mind gains nothing (SSRF).
Redirects are not followed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from threading import Lock, Timer
from types import TracebackType
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, SSLError

from trackflow_core.errors import ConfigError, RetriableError
from trackflow_core.outbox import Answer

Network = IPv4Network | IPv6Network

# Where Azure and Oracle's older cloud answer their machines, under addresses that count as public;
# other clouds' are link-local, shared (RFC 6598) or unique local ones.
_METADATA = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))


class _Refused(OSError):
    """The address may not be asked."""


@dataclass(frozen=True, slots=True)
class GuardedPost:
    """`outbox.Post`. `allowed` networks may be asked although they are private. `timeout` is in
    seconds, for the whole delivery: a receiver that sends a byte now and then gains no time.

    Raises ConfigError for an address that may not be asked and for a certificate that is not
    trusted, RetriableError without an answer.
    """

    allowed: Collection[Network] = ()
    timeout: float = 15

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = _origin(url)
        deadline = _Deadline(self.timeout)
        pool = _pools(self._permits, deadline)
        try:
            with deadline:
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
            if deadline.is_over:
                # What was cut off within its headers looks like an answer.
                raise RetriableError(f"{where} did not answer in time.")
        except (HTTPError, OSError, UnicodeError) as error:
            # What is cut off while it shakes hands looks like a certificate's fault.
            if isinstance(error, SSLError) and not deadline.is_over:
                raise ConfigError(f"The certificate of {where} is not trusted.") from None
            if _is_refused(error):
                raise ConfigError(
                    f"{where} is an address inside a private network, which TrackFlow does not "
                    "call: use a public one, or allow the network in the settings."
                ) from None
            why = "in time" if deadline.is_over else f"({type(error).__name__})"
            raise RetriableError(f"{where} did not answer {why}.") from None
        finally:
            pool.clear()
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, names)

    def _permits(self, address: str) -> bool:
        ip = ip_address(address.partition("%")[0])
        if any(ip in network for network in self.allowed):
            return True
        return _is_public(ip)


class _Deadline:
    """Breaks the connections that it watches when its time is over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._timer = Timer(seconds, self._break)
        self._timer.daemon = True
        self._lock = Lock()
        self._watched: list[socket.socket] = []

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        return not self.left

    def watch(self, connection: socket.socket) -> None:
        with self._lock:
            # A second handle: TLS takes the first one over.
            self._watched.append(connection.dup())

    def _break(self) -> None:
        with self._lock:
            for connection in self._watched:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._watched:
                connection.close()
            self._watched.clear()


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
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _METADATA)


def _is_refused(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _Refused):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _pools(permits: Callable[[str], bool], deadline: _Deadline) -> urllib3.PoolManager:
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
            if deadline.is_over:
                break
            try:
                # The address itself, so that the name is not looked up once more.
                made = socket.create_connection((address, connection.port or 0), seconds)
            except OSError as error:
                problem = error
            else:
                deadline.watch(made)
                return made
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
