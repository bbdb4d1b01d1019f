"""Where a click goes: status, dates, rules, variants."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Link, LinkRule, LinkStatus, Variant
from trackflow_core.testing.facts import ANNA
from trackflow_core.tracking.links import Choice, Request, best_language, choose, refuse_short_urls

HOME = "https://shop.example/"
NOW = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)


def link(**changes: object) -> Link:
    return Link("adsGogl", HOME, **changes)


def page(name: str) -> str:
    return HOME + name


def go(link: Link, now: datetime = NOW, **request: object) -> str | None:
    return choose(link, Request(**request), now).destination


def test_a_plain_link_leads_to_its_destination() -> None:
    assert choose(link(), Request(), NOW) == Choice(HOME, "destination")


@pytest.mark.parametrize("status", [LinkStatus.PAUSED, LinkStatus.ARCHIVED])
def test_a_link_out_of_use_leads_to_its_fallback_or_nowhere(status: LinkStatus) -> None:
    rules = (LinkRule(page("rule")),)
    assert choose(link(status=status, rules=rules), Request(), NOW) == Choice(None, status.value)
    found = choose(link(status=status, fallback=page("over")), Request(), NOW)
    assert found == Choice(page("over"), status.value)


@pytest.mark.parametrize(
    ("zone", "last"),
    [
        ("UTC", datetime(2026, 3, 3, 0, tzinfo=timezone.utc)),
        ("Europe/Berlin", datetime(2026, 3, 2, 23, tzinfo=timezone.utc)),
        ("America/Los_Angeles", datetime(2026, 3, 3, 8, tzinfo=timezone.utc)),
    ],
)
def test_an_expiry_day_lasts_to_its_end_in_the_links_zone(zone: str, last: datetime) -> None:
    today = link(ends=date(2026, 3, 2), zone=zone, fallback=page("over"))
    moment = timedelta(microseconds=1)
    assert go(today, last - moment) == HOME
    assert choose(today, Request(), last) == Choice(page("over"), "expired")


def test_a_day_with_a_change_of_clocks_lasts_to_its_end() -> None:
    today = link(ends=date(2026, 3, 29), zone="Europe/Berlin")
    assert go(today, datetime(2026, 3, 29, 21, 59, tzinfo=timezone.utc)) == HOME
    assert go(today, datetime(2026, 3, 29, 22, 0, tzinfo=timezone.utc)) is None


def test_a_link_starts_with_its_day_and_at_its_moment() -> None:
    berlin = link(starts=date(2026, 3, 2), zone="Europe/Berlin")
    midnight = datetime(2026, 3, 1, 23, tzinfo=timezone.utc)
    assert go(berlin, midnight) == HOME
    early = choose(berlin, Request(), midnight - timedelta(seconds=1))
    assert early == Choice(None, "not started")
    exact = link(starts=NOW, ends=NOW + timedelta(hours=1))
    assert [go(exact, NOW + timedelta(minutes=m)) for m in (-1, 0, 59, 60)] == [
        None,
        HOME,
        HOME,
        None,
    ]


def test_a_link_refuses_what_it_cannot_use() -> None:
    with pytest.raises(InvalidEvent, match=r"Link\.ends has no time zone"):
        link(ends=NOW.replace(tzinfo=None))
    with pytest.raises(ConfigError, match="no time zone 'Mars'"):
        link(zone="Mars")
    with pytest.raises(ConfigError, match="'B' of the link 'adsGogl' has the weight -1"):
        link(variants=(Variant("B", HOME, -1),))


def test_the_first_rule_that_is_met_decides() -> None:
    rules = (
        LinkRule(page("ios"), device="mobile", countries=frozenset({"DE", "AT"})),
        LinkRule(page("mobile"), device="mobile"),
        LinkRule(page("german"), countries=frozenset({"DE"})),
    )
    found = choose(link(rules=rules), Request(device="mobile", country="de"), NOW)
    assert found == Choice(page("ios"), "rule", rule=0)
    assert go(link(rules=rules), device="mobile", country="FR") == page("mobile")
    assert go(link(rules=rules), device="desktop", country="DE") == page("german")
    assert go(link(rules=rules), device="desktop") == HOME


def test_rules_look_at_query_parameters() -> None:
    rules = (
        LinkRule(page("both"), query=(("ref", "a b"), ("vip", ""))),
        LinkRule(page("vip"), query=(("vip", ""),)),
    )
    assert go(link(rules=rules), query="vip=1&ref=a%20b") == page("both")
    assert go(link(rules=rules), query="vip=1&ref=a%20b%20c") == page("vip")
    assert go(link(rules=rules), query="vip") == page("vip")
    assert go(link(rules=rules), query="ref=a+b") == HOME


def test_rules_hold_on_days_of_the_links_zone() -> None:
    rules = (LinkRule(page("sale"), since=date(2026, 3, 2), until=date(2026, 3, 3)),)
    tokyo = link(rules=rules, zone="Asia/Tokyo")
    hours = (-19, -18, 29, 30)
    assert [go(tokyo, NOW + timedelta(hours=hour)) for hour in hours] == [
        HOME,
        page("sale"),
        page("sale"),
        HOME,
    ]


LANGUAGES = link(
    language="en",
    rules=(
        LinkRule(page("de"), language="de"),
        LinkRule(page("fr"), language="fr"),
        LinkRule(page("at"), language="de-AT"),
    ),
)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("de", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("fr;q=0.9, de;q=0.8", "fr"),
        ("fr;q=0.5, de;q=0.8", "de"),
        # Both are liked alike: the first rule.
        ("fr, de", "de"),
        # English is liked better, and the link speaks it.
        ("en-GB,en;q=0.9,de;q=0.8", ""),
        ("nl,en;q=0.3,de;q=0.6", "de"),
        ("de;q=0,fr;q=0.1", "fr"),
        ("de;q=0.1,de-AT", "at"),
        ("it,*;q=0.5", "de"),
        ("*;q=0", ""),
        ("de;q=high, fr;q=0.2", "fr"),
        ("de;q=1.5, fr;level=1;q=0.2", "fr"),
        (";q=1,,", ""),
        ("", ""),
    ],
)
def test_languages_are_chosen_by_quality(header: str, found: str) -> None:
    assert go(LANGUAGES, languages=header) == page(found)


@given(st.text(alphabet="de-ATfr;q=01.,* ", max_size=60))
def test_any_header_leads_somewhere(header: str) -> None:
    assert go(LANGUAGES, languages=header) in {HOME, page("de"), page("fr"), page("at")}


def test_of_languages_on_offer_the_best_liked_is_taken() -> None:
    assert best_language("fr;q=0.4, de-AT", ["en", "fr", "de"]) == "de"
    assert best_language("en;q=0.5, fr;q=0.5", ["fr", "en"]) == "fr"
    assert best_language("it", ["en", "fr"]) == "en"


def test_no_header_is_read_without_end() -> None:
    assert go(LANGUAGES, languages="x," * 500 + "de") == HOME


TEST = link(
    variants=(Variant("A", page("a"), 3), Variant("off", page("off"), 0), Variant("B", page("b")))
)


def test_variants_get_clicks_by_weight_and_visitors_keep_theirs() -> None:
    visitors = [f"{number:032x}" for number in range(4000)]
    first = [choose(TEST, Request(visitor_id=visitor), NOW) for visitor in visitors]
    later = NOW + timedelta(days=30)
    again = [
        choose(TEST, Request(visitor_id=visitor, draw=7, device="mobile"), later)
        for visitor in visitors
    ]
    assert first == again
    counts = Counter(choice.variant for choice in first)
    assert set(counts) == {"A", "B"}
    assert 2900 <= counts["A"] <= 3100
    assert {(c.variant, c.destination, c.reason) for c in first} == {
        ("A", page("a"), "variant"),
        ("B", page("b"), "variant"),
    }


def test_the_links_of_a_visitor_are_drawn_independently() -> None:
    drawn = {
        choose(
            Link(f"code{n}", HOME, variants=TEST.variants), Request(visitor_id=ANNA), NOW
        ).variant
        for n in range(40)
    }
    assert drawn == {"A", "B"}


def test_a_click_without_a_visitor_is_drawn() -> None:
    assert [go(TEST, draw=draw) for draw in range(5)] == [
        page("a"),
        page("a"),
        page("a"),
        page("b"),
        page("a"),
    ]


def test_without_a_weight_there_is_no_test() -> None:
    assert go(link(variants=(Variant("A", page("a"), 0),)), draw=3) == HOME


def test_a_rule_comes_before_a_test() -> None:
    both = link(variants=TEST.variants, rules=(LinkRule(page("vip"), query=(("vip", ""),)),))
    assert go(both, query="vip=1", visitor_id=ANNA) == page("vip")
    assert go(both, visitor_id=ANNA) in (page("a"), page("b"))


SHORT = "https://go.example/r/spring"


@pytest.mark.parametrize(
    ("looped", "field"),
    [
        (Link("", SHORT), "destination"),
        (link(fallback=SHORT), "fallback"),
        (link(variants=(Variant("A", HOME), Variant("B", SHORT))), "variants[1].destination"),
        (link(rules=(LinkRule(SHORT, device="mobile"),)), "rules[0].destination"),
    ],
)
def test_a_link_to_a_short_url_is_refused(looped: Link, field: str) -> None:
    bases = ["https://go.example/r/"]
    with pytest.raises(InvalidEvent) as refused:
        refuse_short_urls(looped, bases)
    assert str(refused.value).startswith(f"{field}: {SHORT} is a short URL")
    refuse_short_urls(replace(looped, status=LinkStatus.PAUSED), bases, held=looped)
    refuse_short_urls(looped, ["https://other.example/r/"])
