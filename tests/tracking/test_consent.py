"""What may be kept of whom, and what is left of an address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.model import Tier
from trackflow_core.testing.facts import ANNA, click
from trackflow_core.tracking.consent import Consent, IpPolicy, Policy, anonymise, limit, tier

OPT_OUT = Policy(unknown=Tier.FULL, denied=Tier.NONE, signal=Tier.SESSION)


@pytest.mark.parametrize(
    ("consent", "gpc", "dnt", "policy", "expected"),
    [
        (Consent.GRANTED, "", "", None, Tier.FULL),
        (Consent.GRANTED, "0", "0", None, Tier.FULL),
        (Consent.GRANTED, "1", "", None, Tier.AGGREGATE),
        (Consent.GRANTED, "", " 1 ", None, Tier.AGGREGATE),
        (Consent.GRANTED, "", "unspecified", None, Tier.FULL),
        (Consent.UNKNOWN, "", "", None, Tier.AGGREGATE),
        (Consent.DENIED, "", "", None, Tier.AGGREGATE),
        (Consent.UNKNOWN, "", "", OPT_OUT, Tier.FULL),
        (Consent.UNKNOWN, "1", "", OPT_OUT, Tier.SESSION),
        (Consent.DENIED, "1", "1", OPT_OUT, Tier.NONE),
    ],
)
def test_answer_and_signals_make_a_tier(
    consent: Consent, gpc: str, dnt: str, policy: Policy | None, expected: Tier
) -> None:
    assert tier(consent, gpc=gpc, dnt=dnt, policy=policy) is expected


@given(st.sampled_from(Consent), st.sampled_from(["", "0", "1"]), st.sampled_from(["", "1"]))
def test_an_objection_never_allows_more(consent: Consent, gpc: str, dnt: str) -> None:
    order = list(Tier)
    allowed, objected = tier(consent), tier(consent, gpc=gpc, dnt=dnt)
    assert order.index(objected) >= order.index(allowed)


@pytest.mark.parametrize(
    ("referrer", "left"),
    [
        ("https://news.example/story?reader=anna#top", "https://news.example/"),
        ("https://anna:secret@news.example:8443/", "https://news.example/"),
        ("android-app://com.example", "android-app://com.example/"),
        ("no url", ""),
        ("https://[broken", ""),
        ("", ""),
    ],
)
def test_an_aggregate_click_keeps_no_person(referrer: str, left: str) -> None:
    sent = click("c1", 1, ip="203.0.113.0", referrer=referrer, tier=Tier.AGGREGATE)
    kept = limit(sent)
    assert kept is not None
    assert (kept.visitor_id, kept.ip, kept.referrer) == (None, "", left)
    assert (kept.event_id, kept.user_agent) == ("c1", sent.user_agent)
    assert limit(kept) == kept


def test_the_other_tiers_keep_all_or_nothing() -> None:
    for kept in (Tier.FULL, Tier.SESSION):
        sent = click("c1", 1, visitor_id=ANNA, ip="203.0.113.0", tier=kept)
        assert limit(sent) == sent
    assert limit(click("c1", 1, tier=Tier.NONE)) is None


@pytest.mark.parametrize(
    ("address", "short", "off"),
    [
        ("203.0.113.77", "203.0.113.0", "203.0.113.77"),
        (" 203.0.113.77 ", "203.0.113.0", "203.0.113.77"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::", "2001:db8:1:2:3:4:5:6"),
        ("::ffff:203.0.113.77", "203.0.113.0", "203.0.113.77"),
        ("fe80::1%eth0", "fe80::", "fe80::1"),
        ("::1", "::", "::1"),
        ("unknown", "", ""),
        ("203.0.113.77:443", "", ""),
        ("", "", ""),
    ],
)
def test_addresses_are_cut_to_their_network(address: str, short: str, off: str) -> None:
    assert anonymise(address) == short
    assert anonymise(address, IpPolicy.OFF) == off
    assert anonymise(address, IpPolicy.FULL) == ""


@given(st.ip_addresses())
def test_a_short_address_says_no_more_than_its_network(address: object) -> None:
    short = anonymise(str(address))
    bits = int(ip_address(short))
    assert bits % (1 << (8 if "." in short else 80)) == 0
    assert anonymise(short) == short
