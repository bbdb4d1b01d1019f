"""Where a visit ends, and that the order of arrival leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Hooks
from trackflow_core.model import Agent, ClickEvent, Session, Source, Verdict
from trackflow_core.testing.facts import ANNA, BEN, LINKS, at, click
from trackflow_core.testing.memory import MemoryStore
from trackflow_core.tracking import sessions

BERLIN = ZoneInfo("Europe/Berlin")


def event(name: str, minutes: float, campaign: str = "", visitor: str = ANNA) -> ClickEvent:
    hit = click(
        name,
        0,
        occurred_at=at(0, minutes),
        destination=f"https://x.example/{name}",
        visitor_id=visitor,
    )
    return ClickEvent(hit, Agent(Verdict.HUMAN, "test"), Source(source=name, campaign=campaign))


def names(*events: ClickEvent, zone: ZoneInfo = sessions.UTC) -> list[str]:
    return [
        "".join(member.click.event_id for member in members)
        for _, members in sessions.split(events, zone=zone)
    ]


def test_a_pause_of_more_than_thirty_minutes_ends_a_session() -> None:
    assert names(event("a", 0), event("b", 30), event("c", 60.1)) == ["ab", "c"]


def test_a_session_knows_its_entry_exit_duration_and_bounce() -> None:
    events = event("b", 10), event("a", 0), event("c", 25), event("z", 90)
    (visit, _), (bounce, _) = sessions.split(events)
    assert (visit.id, visit.visitor_id, visit.hits) == ("a", ANNA, 3)
    assert (visit.entry_page, visit.exit_page) == ("https://x.example/a", "https://x.example/c")
    assert (visit.started_at, visit.ended_at) == (at(0), at(0, 25))
    assert (visit.duration, visit.is_bounce) == (timedelta(minutes=25), False)
    assert visit.source.source == "a"
    assert (bounce.id, bounce.duration, bounce.is_bounce) == ("z", timedelta(0), True)


def test_midnight_in_the_sites_zone_ends_a_session() -> None:
    # Nine in the morning UTC plus thirteen hours is eleven at night in Berlin, in winter.
    late = [event(name, 13 * 60 + minutes) for name, minutes in (("a", 59), ("b", 60), ("c", 61))]
    assert names(*late, zone=BERLIN) == ["a", "bc"]
    assert names(*late) == ["abc"]


def test_another_campaign_ends_a_session_and_none_continues_it() -> None:
    assert names(event("a", 0, "spring"), event("b", 1), event("c", 2, "spring")) == ["abc"]
    assert names(event("a", 0, "spring"), event("b", 1, "brand"), event("c", 2)) == ["a", "bc"]
    assert names(event("a", 0), event("b", 1, "brand")) == ["a", "b"]
    apart = event("a", 0, "spring"), event("b", 1), event("c", 2, "brand"), event("d", 3, "spring")
    assert names(*apart) == ["ab", "c", "d"]


def test_visitors_never_share_a_session() -> None:
    assert names(event("a", 0), event("b", 1, visitor=BEN), event("c", 2)) == ["ac", "b"]
    assert names() == []


def test_equal_times_are_ordered_by_id() -> None:
    ((found, _),) = sessions.split([event("b", 0), event("a", 0)])
    assert (found.id, found.entry_page[-1], found.exit_page[-1]) == ("a", "a", "b")


ZONES = [
    "UTC",
    "Europe/Berlin",
    "Pacific/Apia",  # skipped 30 December 2011
    "America/St_Johns",  # put clocks back at one minute past midnight until 2011
    "America/Sao_Paulo",  # put them forward at midnight until 2018
    "America/Havana",  # puts them back at one o'clock
    "Asia/Kathmandu",
]


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc)),
    st.sampled_from(ZONES),
)
def test_every_moment_lies_in_its_day_and_days_meet(moment: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    span = sessions.day_of(ANNA, moment, zone)
    assert span.start <= moment < span.end
    assert timedelta(hours=20) <= span.end - span.start <= timedelta(hours=49)
    assert sessions.day_of(ANNA, span.start, zone) == span
    assert sessions.day_of(ANNA, span.end, zone).start == span.end
    assert sessions.always(ANNA).start < span.start < span.end < sessions.always(ANNA).end


def test_an_hour_that_comes_twice_over_midnight_belongs_to_the_new_day() -> None:
    zone = ZoneInfo("America/St_Johns")
    # 7 November 2010, 00:01 -> 6 November, 23:01.
    before, after = (
        datetime(2010, 11, 7, 2, 29, tzinfo=timezone.utc),
        datetime(2010, 11, 7, 2, 40, tzinfo=timezone.utc),
    )
    assert after.astimezone(zone).day == 6
    assert sessions.day_of(ANNA, before, zone).end == sessions.day_of(ANNA, after, zone).start


CODES = [link.code for link in LINKS]
hits = st.lists(
    st.tuples(st.integers(0, 3000), st.sampled_from(CODES), st.sampled_from([ANNA, BEN])),
    max_size=25,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(hits, st.randoms(use_true_random=False), st.data())
def test_sessions_are_the_same_for_any_order_and_any_batches(
    told: Sequence[tuple[int, str, str]], chance: object, data: st.DataObject
) -> None:
    clicks = [
        click(f"c{number:02}", 0, code, occurred_at=at(0, minutes), visitor_id=visitor)
        for number, (minutes, code, visitor) in enumerate(told)
    ]
    zone = data.draw(st.sampled_from(["UTC", "Asia/Tokyo"]))
    found = []
    for arranged in (clicks, chance.sample(clicks, len(clicks))):
        store = MemoryStore(LINKS)
        engine = Engine(store, Hooks(), Settings(zone=zone))
        waiting = list(arranged)
        while waiting:
            size = data.draw(st.integers(1, 6))
            for item in waiting[:size]:
                engine.record_click(item)
            engine.process_clicks()
            waiting = waiting[size:]
        found.append((_kept(store), {e.click.event_id: e.session_id for e in store.click_events()}))
    assert found[0] == found[1]
    expected = sessions.split(store.click_events(), zone=ZoneInfo(zone))
    assert found[0][0] == {session.id: session for session, _ in expected}


def _kept(store: MemoryStore) -> dict[str, Session]:
    return {session.id: session for session in store.sessions({ANNA, BEN})}


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd"])
def test_a_zone_that_does_not_exist_is_named(zone: str) -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        Settings(zone=zone)
