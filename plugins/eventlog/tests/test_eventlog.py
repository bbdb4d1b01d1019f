"""What is recorded is logged, one line of JSON each."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import trackflow_eventlog
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Context, DealStatus, Message, Outgoing
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import LINKS, at, click, deal, lead, page_view


def test_each_happening_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(context=Context(host="memory", tenant="shop"))
    engine = Engine(MemoryStore(LINKS), Hooks({"eventlog": trackflow_eventlog}), settings)
    with caplog.at_level(logging.INFO, "trackflow.events"):
        engine.record_events([click("c1", 1, ip="203.0.113.0"), page_view("p1", 1, 1)])
        engine.process_clicks()
        engine.apply([lead(email="anna@example.com")], [deal(status=DealStatus.WON)])
    assert "anna" not in caplog.text.lower() and "203.0.113" not in caplog.text
    lines: dict[str, dict[str, Any]] = {}
    for record in caplog.records:
        line = json.loads(record.getMessage())
        assert (line["host"], line["tenant"]) == ("memory", "shop")
        lines.setdefault(line["event"], line)
    assert set(lines) == {
        "click.recorded",
        "page_view.recorded",
        "lead.attributed",
        "conversion.recorded",
        "deal.attributed",
    }
    assert lines["click.recorded"]["channel"] == "Paid Search"
    assert lines["lead.attributed"]["first"] == lines["lead.attributed"]["last"]
    assert lines["lead.attributed"]["last"]["id"] == "c1"
    assert (lines["deal.attributed"]["value"], lines["deal.attributed"]["credits"]) == (10_000, 1)


def test_a_failed_write_back_is_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    message = Message("msg_1", Outgoing("connector/crm", "deal.attributed", "crm/1", "{}"), at(), 2)
    hooks = Hooks({"eventlog": trackflow_eventlog})
    with caplog.at_level(logging.INFO, "trackflow.events"):
        hooks.on_writeback_error(message, "The CRM answered 500.", False, Context())
    line = json.loads(caplog.records[0].getMessage())
    assert (line["event"], line["ref"], line["attempts"]) == ("writeback.failed", "crm/1", 3)
    assert (line["reason"], line["final"]) == ("The CRM answered 500.", False)


def test_a_lead_without_a_touch_says_so(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(MemoryStore(LINKS), Hooks({"eventlog": trackflow_eventlog}))
    with caplog.at_level(logging.INFO, "trackflow.events"):
        engine.apply([lead(visitor_ids=frozenset())])
    [record] = caplog.records
    assert json.loads(record.getMessage())["first"] is None
