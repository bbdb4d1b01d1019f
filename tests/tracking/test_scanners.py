"""Clicks of mail gateways: several recipients, every link, known networks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.model import Click
from trackflow_core.testing.facts import at, click
from trackflow_core.tracking.scanners import Limits, Mail, find, gateway_of

LINKS = frozenset(("offer", "about", "unsubscribe"))
OFFICE = "203.0.113.0"


def hit(event_id: str, seconds: float, code: str = "offer", ip: str = OFFICE) -> Click:
    return click(event_id, 0, code, occurred_at=at(0) + timedelta(seconds=seconds), ip=ip)


def mails(*recipients: str, links: frozenset[str] = LINKS) -> Mapping[str, Mail]:
    """Mails of clicks c0, c1 ..., one recipient each."""
    return {f"c{number}": Mail(who, links) for number, who in enumerate(recipients)}


def test_links_of_three_recipients_at_once_are_a_machines() -> None:
    clicks = [hit(f"c{number}", number * 4) for number in range(3)]
    found = find(clicks, mails("anna", "ben", "cleo"))
    assert set(found) == {"c0", "c1", "c2"}
    assert found["c0"] == "one network opened the links of 3 recipients in 10 s"


def test_colleagues_have_time() -> None:
    clicks = [hit(f"c{number}", number * 6) for number in range(3)]
    assert find(clicks, mails("anna", "ben", "cleo")) == {}


def test_several_networks_are_several_people() -> None:
    clicks = [hit(f"c{number}", number, ip=f"203.0.{number}.0") for number in range(3)]
    assert find(clicks, mails("anna", "ben", "cleo")) == {}


def test_an_unknown_address_is_no_network() -> None:
    clicks = [hit(f"c{number}", number, ip="") for number in range(3)]
    assert find(clicks, mails("anna", "ben", "cleo")) == {}


def test_every_link_of_a_mail_at_once_is_a_machines() -> None:
    clicks = [hit(f"c{number}", number, code) for number, code in enumerate(sorted(LINKS))]
    found = find(clicks, mails("anna", "anna", "anna"))
    assert found == dict.fromkeys(
        ("c0", "c1", "c2"), "every link of one mail (3) was opened at once"
    )


def test_a_curious_reader_leaves_a_link_out_or_takes_longer() -> None:
    two = [hit("c0", 0, "offer"), hit("c1", 1, "about"), hit("c2", 2, "about")]
    assert find(two, mails("anna", "anna", "anna")) == {}
    slow = [hit(f"c{number}", number * 20, code) for number, code in enumerate(sorted(LINKS))]
    assert find(slow, mails("anna", "anna", "anna")) == {}


def test_a_mail_of_two_links_proves_nothing() -> None:
    clicks = [hit("c0", 0, "offer"), hit("c1", 1, "about")]
    both = mails("anna", "anna", links=frozenset(("offer", "about")))
    assert find(clicks, both) == {}
    assert len(find(clicks, both, Limits(links=2))) == 2


def test_clicks_without_a_mail_are_judged_by_network_only() -> None:
    clicks = [hit(f"c{number}", number) for number in range(9)]
    assert find(clicks) == {}
    assert find([hit("c0", 0, ip="67.231.144.0")]) == {"c0": "comes from the network of Proofpoint"}


@pytest.mark.parametrize(
    ("address", "gateway"),
    [
        ("40.94.1.0", ""),
        ("40.93.194.23", "Microsoft Exchange Online Protection"),
        ("2a01:111:f400::", "Microsoft Exchange Online Protection"),
        ("209.222.87.255", "Barracuda"),
        ("209.222.88.0", ""),
        ("", ""),
        ("not an address", ""),
    ],
)
def test_gateways_are_known_by_network(address: str, gateway: str) -> None:
    assert gateway_of(address) == gateway


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from("abcde")), max_size=25),
    st.randoms(use_true_random=False),
)
def test_bursts_are_what_their_definition_says(
    hits: list[tuple[int, str]], chance: random.Random
) -> None:
    clicks = [hit(f"c{number}", second) for number, (second, _) in enumerate(hits)]
    sent = mails(*(who for _, who in hits))
    expected = {
        f"c{number}"
        for number, (second, _) in enumerate(hits)
        for start, _ in hits
        if start <= second <= start + 10
        and len({who for other, who in hits if start <= other <= start + 10}) >= 3
    }
    chance.shuffle(clicks)
    assert set(find(clicks, sent)) == expected
