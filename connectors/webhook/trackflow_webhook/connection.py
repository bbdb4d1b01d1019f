"""One sender of webhooks: its calls verified and mapped, attribution sent to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from trackflow_core.connectors import Finding, Instance, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_http import Client, Pace
from trackflow_webhook import mapping, signature, verification
from trackflow_webhook import payload as shape
from trackflow_webhook.options import WebhookOptions

BODY = "body"
"""Where a mapped delivery's body is kept, which need not be an object."""

_FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 1000


class WebhookConnection:
    """The connection with one sender; made by `GenericWebhook.connect`."""

    def __init__(self, options: WebhookOptions, instance: Instance, pace: Pace | None) -> None:
        self._options = options
        self._scheme, self._rules = options.scheme, options.rules
        self._instance = instance
        self._pace = pace

    def check(self) -> Sequence[Finding]:
        """Whether the sender can reach us, and by which secret; nothing is asked of anybody."""
        scheme = self._scheme
        return (
            Finding(f"Requests prove who sent them by {scheme.kind}."),
            Finding(
                f"{len(self._instance.secrets)} secrets are known.",
                bool(self._instance.secrets),
                "Generate a secret and give it to the sender, or enter the sender's.",
            ),
            Finding(
                f"Attribution goes to {urlsplit(self._options.write_back_url).hostname}."
                if self._options.write_back_url
                else "Attribution is sent to nobody.",
            ),
        )

    def verify(self, request: IncomingRequest, now: datetime) -> Delivery:
        """Check that a request is authentic and fresh, then decode it.

        Raises InvalidEvent when it is not, ConfigError when there is no usable secret.
        """
        delivery_id = verification.check(
            request, self._scheme, self._instance.secrets, self._instance.webhook_url, now
        )
        content_type = request.headers.get("content-type", "")
        if self._rules is None:
            return Delivery(delivery_id, shape.decode(_text(request.body), delivery_id))
        body = decode(request.body, content_type)
        return Delivery(delivery_id, {BODY: body, shape.EVENT_ID: delivery_id})

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """The leads and deals that a delivery tells; `payload` is `Delivery.payload`."""
        rules, namespace = self._rules, self._instance.namespace
        if rules is None:
            return (shape.event_from_payload(payload, namespace),)
        delivery_id = payload.get(shape.EVENT_ID)
        if BODY not in payload or not isinstance(delivery_id, str) or not delivery_id:
            raise InvalidEvent("body or webhook_id is missing: hand over what was verified.")
        return tuple(mapping.events_of(rules, payload[BODY], delivery_id, namespace))

    def write_back(self, told: WriteBack) -> None:
        """Send `told`; its id is the same each time, so that the receiver can tell a repetition.

        Raises ConfigError when there is no address to send to.
        """
        if not self._options.write_back_url:
            raise ConfigError("Write-back Address is missing: give it, or switch writing back off.")
        content = {"type": f"{told.kind}.attributed", "data": told.to_json()}
        body = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
        now = datetime.now(timezone.utc)
        headers = signature.sign(
            body, self._options.write_back_secret, f"msg_{sha256(body).hexdigest()[:32]}", now
        )
        Client(self._options.write_back_url, pace=self._pace).send(
            "POST", "", body=body, headers={**headers, "Content-Type": "application/json"},
            repeat=True,
        )  # fmt: skip


def decode(body: bytes, content_type: str = "") -> Any:
    """The value in a body that is JSON or a form; a form's field that comes twice is a list.

    Raises InvalidEvent when it cannot be decoded.
    """
    text = _text(body)
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return shape.parse(text)
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidEvent(f"The form has more than {_MAX_FIELDS} fields: send fewer.") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    form = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    shape.check_text(form)
    return form


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidEvent("The body is not UTF-8: encode it as UTF-8.") from None
