"""Clicks of the machines that check mail before people read it.

Mail gateways open the links of a mail from a data centre, dressed as an ordinary browser, so a
user agent cannot tell them. What tells them is what no person does: open the links of several
recipients at once, or every link of one mail within seconds, or come from a gateway's network.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.resources import files
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from trackflow_core.model import Click


@dataclass(frozen=True, slots=True)
class Mail:
    """The mail that a click came out of: who received it and the codes of all links in it."""

    recipient: str
    links: frozenset[str]


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on clicks are held for a machine's.

    `within` is the time in which they come. `recipients` is how many recipients' links one
    network opens in it, `links` how many links a mail must have for "every link" to mean
    something.
    """

    within: timedelta = timedelta(seconds=10)
    recipients: int = 3
    links: int = 3


def find(
    clicks: Iterable[Click], mails: Mapping[str, Mail] | None = None, limits: Limits | None = None
) -> Mapping[str, str]:
    """The clicks of mail scanners among `clicks`: a reason in words by event id.

    `mails` gives the mail of a click by its event id; clicks that it does not name are judged by
    their network only. Addresses may be anonymised to /24 or /48. The order of `clicks` changes
    nothing; each batch should hold all clicks of a stretch of time longer than `limits.within`.
    """
    limits = limits or Limits()
    found: dict[str, str] = {}
    named: list[tuple[Click, Mail]] = []
    for click in sorted(clicks, key=lambda click: (click.occurred_at, click.event_id)):
        if gateway := gateway_of(click.ip):
            found[click.event_id] = f"comes from the network of {gateway}"
        if mail := (mails or {}).get(click.event_id):
            named.append((click, mail))
    for burst in _bursts(named, _of_one_network, limits.within):
        recipients = {mail.recipient for _, mail in burst}
        if len(recipients) >= limits.recipients:
            seconds = limits.within.total_seconds()
            reason = (
                f"one network opened the links of {len(recipients)} recipients in {seconds:g} s"
            )
            found.update((click.event_id, reason) for click, _ in burst)
    for burst in _bursts(named, _of_one_mail, limits.within):
        links = burst[0][1].links
        if len(links) >= limits.links and links <= {click.link_code for click, _ in burst}:
            reason = f"every link of one mail ({len(links)}) was opened at once"
            found.update((click.event_id, reason) for click, _ in burst)
    return found


_Hit = tuple[Click, Mail]


def _of_one_network(hit: _Hit) -> Hashable:
    return hit[0].ip or None


def _of_one_mail(hit: _Hit) -> Hashable:
    return hit[1]


def _bursts(
    hits: Sequence[_Hit], key: Callable[[_Hit], Hashable], within: timedelta
) -> Iterator[Sequence[_Hit]]:
    """For each hit, those of the same key that follow it within the time; `hits` are in order."""
    groups: dict[Hashable, list[_Hit]] = defaultdict(list)
    for hit in hits:
        if (group := key(hit)) is not None:
            groups[group].append(hit)
    for group_hits in groups.values():
        end = 0
        for start, (first, _) in enumerate(group_hits):
            known = end
            while end < len(group_hits) and (
                group_hits[end][0].occurred_at - first.occurred_at <= within
            ):
                end += 1
            # A window inside the one before it could tell nothing new.
            if end > known:
                yield group_hits[start:end]


@lru_cache(maxsize=4096)
def gateway_of(address: str) -> str:
    """The mail gateway whose network `address` is in; "" when none, or when it is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    return _gateways(isinstance(ip, IPv6Address)).get(_network(ip), "")


def _network(ip: IPv4Address | IPv6Address) -> int:
    """What is left of an address when it is anonymised: /24 of the short ones, /48 of the long."""
    return int(ip) >> (8 if isinstance(ip, IPv4Address) else 80)


@lru_cache(maxsize=2)
def _gateways(long: bool) -> Mapping[int, str]:
    """The gateways' names by network."""
    path = files("trackflow_core.tracking") / "data" / "mail_gateways.json"
    return {
        _network(part.network_address): entry["name"]
        for entry in json.loads(path.read_text(encoding="utf-8"))
        for network in map(ip_network, entry["networks"])
        if (network.version == 6) is long
        for part in network.subnets(new_prefix=48 if long else 24)
    }
