"""One story, told by signed webhooks or by Odoo's records, in any order: the same credits."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from trackflow_core.attribution import BUILTIN_RULES, Attribution, Model
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Deal, Lead
from trackflow_core.ports import Event, IncomingRequest
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import ANNA, LINKS, at, click
from trackflow_core.tracking.identity import issue_token
from trackflow_odoo import OdooConnector
from trackflow_webhook import GenericWebhook, new_secret, sign

KEYS = ("a key of sixteen bytes at least",)
SECRET = new_secret()
WEBHOOK, ODOO = GenericWebhook(), OdooConnector()
MODELS = {rule.name: Model(rule) for rule in BUILTIN_RULES}


def deliver(webhook_id: str, kind: str, when: datetime, **data: Any) -> Sequence[Event]:
    """A webhook as a sender signs it, verified and mapped."""
    told = {"type": kind, "timestamp": when.isoformat(), "data": data}
    body = json.dumps(told).encode()
    request = IncomingRequest(body, sign(body, SECRET, webhook_id, when))
    delivery = WEBHOOK.verify(request, [SECRET], when)
    return WEBHOOK.map_events(delivery.payload, "webhook/shop")


def webhook_story() -> list[Event]:
    token = issue_token(ANNA, KEYS, at(10))
    deal = {"id": 5, "lead_id": 5, "currency": "EUR"}
    return [
        *deliver("m1", "lead.created", at(10), id=5, name="Zoë asks", visitor_token=token),
        *deliver("m2", "deal.created", at(12), value="100.00", **deal),
        *deliver("m3", "deal.won", at(14), value=250.00, **deal),
    ]


def odoo_story() -> list[Event]:
    lead = {
        "id": 5,
        "type": "lead",
        "name": "Zoë asks",
        "create_date": at(10).replace(tzinfo=None),
        "write_date": at(10).replace(tzinfo=None),
    }
    opportunity = {
        **lead,
        "type": "opportunity",
        "won_status": "pending",
        "expected_revenue": 100.0,
        "currency_name": "EUR",
        "currency_digits": 2,
        "date_conversion": f"{at(12):%Y-%m-%d %H:%M:%S}",
        "write_date": f"{at(12):%Y-%m-%d %H:%M:%S}",
    }
    won = {
        **opportunity,
        "won_status": "won",
        "expected_revenue": 250.0,
        "date_closed": f"{at(14):%Y-%m-%d %H:%M:%S}",
        "write_date": f"{at(14):%Y-%m-%d %H:%M:%S}",
    }
    events = [
        event for record in (lead, opportunity, won) for event in ODOO.map_events(record, "crm")
    ]
    # Inside Odoo the host knows the visitor by the cookie.
    return [
        replace(event, visitor_ids=frozenset({ANNA})) if isinstance(event, Lead) else event
        for event in events
    ]


def credits_of(events: Sequence[Event], model: Model, seed: int = 0) -> Attribution:
    """The credits after the events and Anna's clicks; with a seed shuffled and partly repeated."""
    clicks = [click(f"c{n}", n, LINKS[n].code) for n in range(3)]
    facts = [*clicks, *events]
    if seed:
        chance = random.Random(seed)
        facts += chance.choices(facts, k=5)
        chance.shuffle(facts)
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks(), Settings(model=model, keys=KEYS))
    for fact in facts:
        if isinstance(fact, Lead):
            engine.apply_lead(fact)
        elif isinstance(fact, Deal):
            engine.apply_deal(fact)
        else:
            engine.record_click(fact)
    engine.process_clicks()
    [deal] = store.deals()
    attribution = store.attribution(deal.ref)
    assert attribution is not None
    return attribution


@pytest.mark.parametrize("name", MODELS)
def test_both_tellings_give_the_same_credits(name: str) -> None:
    model = MODELS[name]
    by_webhook = credits_of(webhook_story(), model)
    by_odoo = credits_of(odoo_story(), model)
    assert by_webhook.credits == by_odoo.credits
    assert by_webhook.digest == by_odoo.digest
    assert sum(credit.value for credit in by_webhook.credits) == 25_000
    assert len(by_webhook.credits) == 3


@pytest.mark.parametrize("story", [webhook_story, odoo_story])
def test_order_and_repetition_change_nothing(story: Any) -> None:
    model, events = MODELS["linear"], story()
    expected = credits_of(events, model)
    assert [credit.value for credit in expected.credits] == [8334, 8333, 8333]
    for seed in range(1, 30):
        again = credits_of(events, model, seed)
        assert (again.credits, again.digest) == (expected.credits, expected.digest), seed


def test_a_forged_token_loses_no_lead() -> None:
    forged = issue_token(ANNA, ("another key of another house",), at(10))
    events = [
        *deliver("m1", "lead.created", at(10), id=5, visitor_token=forged),
        *deliver("m2", "deal.won", at(12), id=5, lead_id=5, value=1, currency="EUR"),
    ]
    [credit] = credits_of(events, MODELS["linear"]).credits
    assert (credit.touch, credit.value) == (None, 100)


def test_an_event_from_the_past_changes_no_state() -> None:
    events = webhook_story()
    late = deliver("m4", "deal.updated", at(13), id=5, lead_id=5, value="999.00", currency="EUR")
    attribution = credits_of([*events, *late], MODELS["linear"])
    assert attribution.deal.value == 25_000
    assert attribution.deal.won_at == at(14)
    later = deliver("m5", "deal.updated", at(15), id=5, lead_id=5, value="9.00", currency="EUR")
    reopened = credits_of([*events, *later], MODELS["linear"]).deal
    assert (reopened.value, reopened.won_at) == (900, None)
    assert timedelta(0) < reopened.occurred_at - attribution.deal.occurred_at
