"""Incoming webhooks over real HTTP: from a click to an attributed deal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from sqlalchemy import select

from trackflow_core.model import Link
from trackflow_core.tracking import identity
from trackflow_server import keys
from trackflow_server.store import schema
from trackflow_webhook import new_secret, sign

pytestmark = pytest.mark.slow
SECRET = new_secret()


@pytest.fixture(scope="module")
def hooked(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = {
        "webhooks": "webhook/shop",
        "webhook_secret_webhook_shop": SECRET,
        "without_consent": "full",
    }
    with serving(tmp_path_factory.mktemp("hooked"), **settings) as served:
        served.save(Link("offer22", "https://shop.example/", "google", "cpc", "spring"))
        yield served


def _send(served: Any, name: str, kind: str, data: dict[str, Any], **change: Any) -> int:
    now = datetime.now(timezone.utc)
    body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": data}).encode()
    signed = sign(body, change.get("secret", SECRET), name, change.get("at", now))
    path = f"/trackflow/hooks/{change.get('to', 'webhook/shop')}"
    return requests.post(served.url + path, data=body, headers=signed, timeout=20).status_code


def test_a_click_becomes_an_attributed_deal(hooked: Any) -> None:
    answer = hooked.get("/r/offer22")
    visitor_id = answer.cookies[identity.COOKIE_NAME].partition(".")[0]
    [click] = hooked.clicks(1)
    key = keys.derive("a secret of this test run", "visitor")
    token = identity.issue_token(visitor_id, [key], datetime.now(timezone.utc))
    lead = {"id": 5, "name": "Anna asks", "visitor_token": token}
    deal = {"id": 5, "lead_id": 5, "value": "250.00", "currency": "EUR"}
    assert _send(hooked, "m1", "lead.created", lead) == 202
    assert _send(hooked, "m2", "deal.won", deal) == 202
    assert _send(hooked, "m2", "deal.won", deal) == 202
    with hooked.database.reading() as store:
        credit = schema.credit.c
        found = store.connection.execute(select(credit.touch_id, credit.value, credit.channel))
        assert [tuple(row) for row in found] == [(click["event_id"], 25_000, "Paid Search")]


@pytest.mark.parametrize(
    "change",
    [
        {"secret": new_secret()},
        {"at": datetime.now(timezone.utc) - timedelta(hours=1)},
        {"to": "webhook/other"},
        {"to": "nothing/shop"},
    ],
    ids=["forged", "stale", "unknown instance", "unknown connector"],
)
def test_what_is_not_authentic_is_refused(hooked: Any, change: dict[str, Any]) -> None:
    assert _send(hooked, "m9", "lead.created", {"id": 9, "name": "Mallory"}, **change) == 401
    with hooked.database.reading() as store:
        assert store.leads({"webhook/shop/lead/9", "webhook/shop/9"}) == []


def test_a_body_without_end_is_cut(hooked: Any) -> None:
    answer = requests.post(
        f"{hooked.url}/trackflow/hooks/webhook/shop", data=b"x" * (1024 * 1024 + 1), timeout=20
    )
    assert answer.status_code == 413
