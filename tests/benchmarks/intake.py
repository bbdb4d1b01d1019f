"""Webhook intake, the pure side: a request verified, decoded and mapped, without any storage."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

from trackflow_core.connectors import Instance
from trackflow_core.ports import IncomingRequest
from trackflow_webhook import GenericWebhook, WebhookOptions, new_secret, sign
from trackflow_webhook.presets import SCHEMES
from trackflow_webhook.verification import sign as sign_hmac

PER_SECOND = 5_000
_SECONDS = 2.0
_NOW = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)
_URL = "https://trackflow.example/trackflow/hooks/webhook/shop"
_OWN = {
    "type": "deal.won",
    "timestamp": "2026-03-01T12:00:00Z",
    "data": {"id": "D-7", "lead_id": "L-17", "value": "250.00", "currency": "EUR"},
}
_STRIPE = {
    "id": "evt_1", "type": "checkout.session.completed", "created": 1772366400,
    "data": {
        "object": {
            "id": "cs_1", "amount_total": 25010, "currency": "eur", "customer": "cus_101",
            "customer_details": {"email": "zoe@example.com", "name": "Zoë"},
            "metadata": {"trackflow_token": "tok"}, "payment_intent": "pi_7",
            "payment_status": "paid",
        }
    },
}  # fmt: skip


def main() -> list[str]:
    print("intake: webhooks verified and decoded per second, one process (and mapped as well)")
    secret = new_secret()
    own, stripe = json.dumps(_OWN).encode(), json.dumps(_STRIPE).encode()
    requests = {
        "trackflow": IncomingRequest(own, sign(own, secret, "msg_1", _NOW)),
        "stripe": IncomingRequest(stripe, sign_hmac(stripe, SCHEMES["stripe"], secret, _URL, _NOW)),
    }
    missed = []
    for preset, request in requests.items():
        instance = Instance("webhook/shop", _URL, (secret,))
        connection = GenericWebhook().connect(WebhookOptions(preset=preset), instance)
        verified = mapped = 0
        begin = time.perf_counter()
        while time.perf_counter() - begin < _SECONDS:
            delivery = connection.verify(request, _NOW)
            verified += 1
        begin = time.perf_counter()
        while time.perf_counter() - begin < _SECONDS:
            connection.map_events(connection.verify(request, _NOW).payload)
            mapped += 1
        assert connection.map_events(delivery.payload)
        rates = (verified / _SECONDS, mapped / _SECONDS)
        print(f"  {preset}: {rates[0]:,.0f}/s ({rates[1]:,.0f}/s), target {PER_SECOND:,}/s")
        if rates[0] < PER_SECOND:
            missed.append(f"intake: {PER_SECOND:,} webhooks/s from {preset}")
    return missed
