"""Who is at the other end: what headers say, believed only as far as the peer is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from trackflow_core.tracking import consent
from trackflow_core.tracking.consent import Consent, IpPolicy

MAX_HEADER = 2048
_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
Scope = Mapping[str, Any]


@dataclass(frozen=True)
class Networks:
    """Some networks in CIDR form."""

    written: tuple[str, ...]

    @cached_property
    def _parsed(self) -> Sequence[IPv4Network | IPv6Network]:
        return [ip_network(network) for network in self.written]

    def hold(self, address: str) -> bool:
        """Whether `address` is in one of them; what is no address is in none."""
        if not self.written:
            return False
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._parsed)


class Client:
    """One request's client by its ASGI scope."""

    def __init__(self, scope: Scope) -> None:
        self._headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            # Over HTTP/2 cookies may come in pieces.
            known = self._headers.get(name) if name == b"cookie" else None
            self._headers[name] = value if known is None else known + b"; " + value
        peer = scope.get("client")
        self._peer = str(peer[0]) if peer else ""
        self._scheme = str(scope.get("scheme", "http"))

    def header(self, name: str) -> str:
        """A header as text without NUL, cut at `MAX_HEADER`; "" where it is missing."""
        value = self._headers.get(name.encode())
        if value is None:
            return ""
        return value[:MAX_HEADER].decode("utf-8", "replace").replace("\0", "")

    def cookie(self, name: str) -> str:
        """The value of a cookie; "" where it is missing."""
        sent = self._headers.get(b"cookie")
        if sent is None:
            return ""
        prefix = f"{name}="
        for piece in sent.decode("latin-1").split(";"):
            piece = piece.strip()
            if piece.startswith(prefix):
                return piece[len(prefix) :].strip('"')
        return ""

    def address(self, proxies: Networks) -> str:
        """The client's address: the last in `X-Forwarded-For` that is no proxy of ours."""
        address = self._peer
        if proxies.hold(address):
            sent = self._headers.get(b"x-forwarded-for", b"")
            # The end is our proxies': whatever a visitor sends before it must not push it out.
            for named in reversed(sent[-MAX_HEADER:].decode("latin-1").split(",")):
                address = named.strip() or address
                if not proxies.hold(address):
                    break
        return address

    def is_behind(self, proxies: Networks) -> bool:
        """Whether one of `proxies` handed the request on, so that its headers may be believed."""
        return proxies.hold(self._peer)

    def is_https(self, proxies: Networks) -> bool:
        """Whether the client came by https, as far as it is known."""
        if proxies.hold(self._peer):
            forwarded = self.header("x-forwarded-proto").split(",")[-1].strip()
            if forwarded:
                return forwarded == "https"
        return self._scheme == "https"

    def consent(self, cookie: str) -> Consent:
        """What the visitor has answered in the site's dialogue, by the cookie of that name."""
        answer = self.cookie(cookie)
        if answer in (Consent.GRANTED.value, Consent.DENIED.value):
            return Consent(answer)
        return Consent.UNKNOWN

    @property
    def is_prefetch(self) -> bool:
        """Whether a browser or previewer asks ahead of a person."""
        for name in _PURPOSES:
            if name.encode() in self._headers:
                purpose = self.header(name).lower()
                if "prefetch" in purpose or "preview" in purpose:
                    return True
        return False


@lru_cache(maxsize=8192)
def anonymised(address: str, policy: IpPolicy) -> str:
    """`consent.anonymise`, remembered, because a crowd comes from few networks."""
    return consent.anonymise(address, policy)
