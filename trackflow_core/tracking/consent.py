"""How much of a person may be kept: consent, GPC and DNT -> a tier; and IP addresses cut short."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from trackflow_core.model import Click, Tier

_ORDER = (Tier.FULL, Tier.SESSION, Tier.AGGREGATE, Tier.NONE)


class Consent(str, Enum):
    """What a person has said in the site's consent dialogue."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"


class IpPolicy(str, Enum):
    """What is kept of an IP address: `off` all of it, `short` its network, `full` nothing."""

    OFF = "off"
    SHORT = "short"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Policy:
    """The tier that each answer allows; `signal` caps it where the browser sends GPC or DNT."""

    granted: Tier = Tier.FULL
    unknown: Tier = Tier.AGGREGATE
    denied: Tier = Tier.AGGREGATE
    signal: Tier = Tier.AGGREGATE


def tier(consent: Consent, *, gpc: str = "", dnt: str = "", policy: Policy | None = None) -> Tier:
    """How much may be kept of a person who has answered `consent`.

    `gpc` and `dnt` are the values of the request headers `Sec-GPC` and `DNT`; "1" is the only one
    that objects. An objection never allows more than the answer does, nor does consent outweigh it.
    """
    policy = policy or Policy()
    answer = {
        Consent.GRANTED: policy.granted,
        Consent.UNKNOWN: policy.unknown,
        Consent.DENIED: policy.denied,
    }[consent]
    objects = "1" in (gpc.strip(), dnt.strip())
    return max(answer, policy.signal, key=_ORDER.index) if objects else answer


def limit(click: Click) -> Click | None:
    """What may be kept of `click` by its tier; None for tier `none`.

    `full` and `session` keep it as it is: how long its visitor id lasts is the cookie's matter.
    `aggregate` takes away the visitor, the IP address, an event's data and all of the referrer but
    its host. The user agent stays, because only it tells a person from a bot.
    """
    if click.tier is Tier.NONE:
        return None
    if click.tier is Tier.AGGREGATE:
        return replace(click, visitor_id=None, ip="", referrer=_origin(click.referrer), data="")
    return click


def anonymise(address: str, policy: IpPolicy = IpPolicy.SHORT) -> str:
    """`address` cut to its /24 (IPv4) or /48 (IPv6) network address, or by another policy.

    An IPv4 address inside IPv6 counts as IPv4. What is no address becomes "".
    """
    if policy is IpPolicy.FULL:
        return ""
    try:
        found = ip_address(address.strip().partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if policy is IpPolicy.OFF:
        return str(found)
    host_bits = 8 if found.version == 4 else 80
    return str(type(found)(int(found) >> host_bits << host_bits))


def _origin(referrer: str) -> str:
    try:
        parts = urlsplit(referrer)
        host = parts.hostname
    except ValueError:
        return ""
    return f"{parts.scheme}://{host}/" if parts.scheme and host else ""
