"""What a website's tracker tells becomes facts, or a clear refusal."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core import tracker
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import PAGE_VIEW, Tier
from trackflow_core.testing.facts import ANNA, BROWSER, at
from trackflow_core.tracking.collect import (
    MAX_BODY,
    MAX_EVENTS,
    OPEN,
    Observed,
    answer,
    clicks,
    may_call,
    opened,
    read,
)
from trackflow_core.tracking.consent import Consent
from trackflow_core.tracking.identity import cross, read_crossing, read_token

KEYS = ("a key of sixteen bytes at least",)
SEEN = Observed(at(1), ANNA, Tier.FULL, "203.0.113.0", BROWSER)
PAGE = "https://shop.example/prices?a=%20b#top"


def event(**changes: Any) -> dict[str, Any]:
    return {"id": "e" * 32, "type": PAGE_VIEW, "url": PAGE, "age": 1500, **changes}


def told(*events: Any, **more: Any) -> bytes:
    return json.dumps({"events": list(events), **more}).encode()


def test_a_page_view_is_a_fact() -> None:
    [click], _ = clicks(read(told(event(referrer="https://www.google.com/", data={"ü": 1}))), SEEN)
    assert (click.event_id, click.kind, click.destination) == ("e" * 32, PAGE_VIEW, PAGE)
    assert click.occurred_at == at(1) - timedelta(seconds=1.5)
    assert (click.visitor_id, click.ip, click.tier) == (ANNA, "203.0.113.0", Tier.FULL)
    assert (click.referrer, click.data) == ("https://www.google.com/", '{"ü": 1}')
    assert click.link_code == ""


def test_an_event_from_last_week_is_of_two_days_ago() -> None:
    [click], _ = clicks(read(told(event(age=7 * 86_400_000))), SEEN)
    assert click.occurred_at == at(-1)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "no JSON"),
        (b"[" * 60_000, "no JSON|no object"),
        (b"[]", "no object"),
        (b'{"events": {}}', "no object"),
        (b'{"events": [1]}', "no object"),
        (b'{"consent": "maybe"}', "none of granted"),
        (b" " * (MAX_BODY + 1), "bytes"),
        (told(*[event()] * (MAX_EVENTS + 1)), "51 events"),
    ],
)
def test_a_body_that_cannot_be_read(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidEvent, match=problem):
        read(body)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": "short"}, "'id'"),
        ({"id": None}, "'id'"),
        ({"type": "click"}, "'type'"),
        ({"type": "Sign Up"}, "lower-case letters"),
        ({"url": "javascript:alert(1)"}, "http"),
        ({"url": "https://shop.example/" + "a" * 2048}, "'url'"),
        ({"url": 1}, "'url'"),
        ({"age": -1}, "'age'"),
        ({"age": "1"}, "'age'"),
        ({"age": float("inf")}, "'age'"),
        ({"data": []}, "'data'"),
        ({"data": {"a": "x" * 5000}}, "4096 at most"),
    ],
)
def test_an_event_that_is_wrong_is_named(changes: dict[str, Any], problem: str) -> None:
    taken, problems = clicks(read(told(event(), event(**changes), event())), SEEN)
    assert len(taken) == 2
    assert len(problems) == 1 and problems[0].startswith("Event 2: ") and problem in problems[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_body_breaks_anything(value: Any) -> None:
    for body in (json.dumps(value), json.dumps({"events": value}), json.dumps({"events": [value]})):
        try:
            clicks(read(body.encode()), SEEN)
        except InvalidEvent as error:
            assert str(error)


def test_the_answer_knows_the_visitor() -> None:
    batch = read(told(event(), to="https://other.example/x?y=1", consent="granted"))
    assert (batch.consent, batch.page) == (Consent.GRANTED, PAGE)
    found = answer(batch, ANNA, KEYS, at(1), {"other.example"})
    assert read_token(found["token"], KEYS, at(1)) == ANNA
    assert read_crossing(found["to"], KEYS, at(1), {"other.example"}) == ANNA
    assert answer(batch, None, KEYS, at(1)) == {}
    assert answer(batch, None, KEYS, at(1), (), ["x"]) == {"errors": ["x"]}
    elsewhere = answer(batch, ANNA, KEYS, at(1), {"shop.example"})
    assert elsewhere["to"] == "https://other.example/x?y=1"
    assert answer(read(told(event())), ANNA, KEYS, at(1)).keys() == {"token"}


def test_what_is_kept_of_a_page_names_no_visitor() -> None:
    crossed = cross(PAGE, ANNA, KEYS, at(1), {"shop.example"})
    assert ANNA in crossed
    [click], _ = clicks(read(told(event(url=crossed, referrer=crossed))), SEEN)
    assert (click.destination, click.referrer) == (PAGE, PAGE)


def test_an_opened_mail_is_counted_for_nobody() -> None:
    url = "https://shop.example/trackflow/pixel.gif?utm_campaign=spring"
    click = opened("o" * 32, url, SEEN)
    assert (click.kind, click.tier, click.visitor_id, click.ip) == (OPEN, Tier.AGGREGATE, None, "")
    assert click.destination == url
    assert tracker.PIXEL.startswith(b"GIF89a") and tracker.PIXEL.endswith(b";")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("", True),
        ("https://shop.example", True),
        ("https://www.shop.example:8443", True),
        ("https://crm.example", True),
        ("https://notshop.example", False),
        ("https://shop.example.evil.example", False),
        ("null", False),
        ("https://[", False),
    ],
)
def test_who_may_call(origin: str, allowed: bool) -> None:
    assert may_call(origin, "crm.example:8069", {"shop.example"}) is allowed


def test_the_tracker_is_small() -> None:
    script = tracker.script()
    assert len(gzip.compress(script, 9)) <= 2048
    assert b"//" not in script and script.count(b"{") == script.count(b"}")
    assert tracker.etag().startswith('"')
