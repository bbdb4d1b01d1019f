"""The networks whose people are no visitors: one's own offices and machines."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from trackflow_core.errors import ConfigError

Network = IPv4Network | IPv6Network


def parse(text: str) -> Network:
    """The network that `text` names in CIDR notation ("192.0.2.0/24", "2001:db8::/32").

    A single address is a network of one. Raises ConfigError when it is neither, or when it has
    bits beyond its prefix.
    """
    try:
        return ip_network(text.strip())
    except ValueError:
        raise ConfigError(
            f"{text.strip()!r} is no network: write an address, or the network's first address "
            "and the length of its prefix, such as 192.0.2.0/24 or 2001:db8::/32."
        ) from None


def contains(networks: Iterable[Network], address: str) -> bool:
    """Whether one of `networks` has `address`; an IPv4 address inside IPv6 counts as IPv4.

    What is no address is in none.
    """
    try:
        found = ip_address(address.strip().partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in networks)
