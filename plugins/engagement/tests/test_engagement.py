"""The engagement of a lead is the core's formula over its touches, explained."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import ApiCall, Hooks, load
from trackflow_core.model import Context, Touch
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import LINKS, click, lead
from trackflow_core.tracking.engagement import Formula
from trackflow_engagement import engagement

CTX = Context(host="memory", tenant="shop")


def asked(store: MemoryStore, ref: str, **settings: Any) -> ApiCall:
    return ApiCall({"ref": ref}, None, None, store, CTX, settings=Settings(**settings))


@pytest.fixture
def store() -> MemoryStore:
    """A lead who clicked two half-lives ago and was met one half-life ago."""
    now = datetime.now(timezone.utc)
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks())
    for number in range(2):
        moment = now - timedelta(days=28, seconds=number)
        engine.record_click(replace(click(f"c{number}", 0), occurred_at=moment))
    engine.apply_lead(replace(lead(), occurred_at=now - timedelta(days=20)))
    engine.process_clicks()
    met = Touch("met", now - timedelta(days=14), "", kind="meeting")
    engine.record_touch("crm/lead-1", met)
    engine.process_clicks()
    return store


def test_a_score_comes_with_its_parts(store: MemoryStore) -> None:
    told = engagement(asked(store, "crm/lead-1"))
    assert (told.lead, told.score, told.half_life_days) == ("crm/lead-1", 5.5, 14.0)
    assert [part.model_dump() for part in told.parts] == [
        {"kind": "meeting", "touches": 1, "weight": 10.0, "points": 5.0},
        {"kind": "click", "touches": 2, "weight": 1.0, "points": 0.5},
    ]


def test_the_hosts_formula_is_used(store: MemoryStore) -> None:
    formula = Formula({"meeting": 0, "click": 4}, timedelta(days=28))
    assert engagement(asked(store, "crm/lead-1", engagement=formula)).score == 4.0


def test_a_lead_that_is_not_there_is_not_found(store: MemoryStore) -> None:
    with pytest.raises(LookupError, match="crm/lead-9"):
        engagement(asked(store, "crm/lead-9"))


def test_it_is_found_by_its_entry_point() -> None:
    hooks = load(frozenset({"engagement"}))
    assert hooks.implemented_by("engagement") == ("trackflow_register_api_routes",)
    assert list(hooks.api_routes) == ["get_engagement"]
