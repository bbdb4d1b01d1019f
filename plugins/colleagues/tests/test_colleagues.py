"""Leads of our own people are bound to nobody."""

from __future__ import annotations

import pytest

import trackflow_colleagues
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import ANNA, LINKS, click, lead


@pytest.mark.parametrize(
    ("domains", "email", "bound"),
    [
        ("example.com, example.de", "Bo@Example.DE", False),
        ("example.com", "bo@mail.example.com", False),
        ("@example.com", "bo@example.com", False),
        ("example.com", "bo@notexample.com", True),
        ("example.com", "", True),
        ("", "bo@example.com", True),
    ],
)
def test_who_is_bound(
    monkeypatch: pytest.MonkeyPatch, domains: str, email: str, bound: bool
) -> None:
    monkeypatch.setenv(trackflow_colleagues.VARIABLE, domains)
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks({"colleagues": trackflow_colleagues}))
    engine.record_click(click("c1", 1))
    engine.apply_lead(lead(email=email))
    [held] = store.leads({"crm/lead-1"})
    assert held.visitor_ids == (frozenset({ANNA}) if bound else frozenset())
    summary = store.summary("crm/lead-1")
    assert summary is not None and summary.touch_count == int(bound)
