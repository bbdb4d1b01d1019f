"""What a CRM's call is answered and what is kept of it, whoever serves the request."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from odoo.tools import SQL

from trackflow_core.api.messages import TITLES
from trackflow_core.connectors import UNCHECKED, UNCHECKED_SECONDS
from trackflow_core.errors import ConfigError, RetriableError, TrackFlowError
from trackflow_core.ports import Delivery, IncomingRequest

from . import proxies

_logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
# An event that waits since less has called the job.
_CALLED = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A connector whose CRM calls us.

    `verify` decodes what is authentic and fresh, and raises TrackFlowError of all else. It holds
    until `until`, when the secret before the present one ends.
    """

    connector_id: int
    verify: Callable[[IncomingRequest, datetime], Delivery]
    until: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True)
class Reply:
    """What the caller is answered, as JSON of `data`."""

    status: int
    data: dict[str, Any]
    content_type: str = "application/json"
    retry_after: int = 0

    @property
    def headers(self) -> list[tuple[str, str]]:
        headers = [("Content-Type", self.content_type), ("Cache-Control", "no-store")]
        if self.retry_after:
            headers.append(("Retry-After", str(self.retry_after)))
        return headers


def _problem(status, detail, retry_after=0):
    title = TITLES[status]
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Reply(status, problem, "application/problem+json", retry_after)


ACCEPTED = Reply(202, {"status": "accepted"})
_REFUSED = _problem(401, "The request could not be authenticated.")
_UNCHECKED = _problem(503, UNCHECKED, UNCHECKED_SECONDS)


def incoming(http) -> IncomingRequest:
    """A request of Werkzeug, or Odoo's likeness of it, as connectors verify it."""
    return IncomingRequest(
        http.get_data(),
        {name.lower(): value for name, value in http.headers.items()},
        proxies.are_trusted(peer(http.environ)),
    )


def refused(connector: str, instance: str, error: TrackFlowError) -> Reply:
    """The answer to a call that is not taken: the reason is told to the log alone."""
    if isinstance(error, (ConfigError, RetriableError)):
        # Nothing is wrong with the call: the sender is to try again.
        _logger.warning("A webhook to %s/%s cannot be checked: %s", connector, instance, error)
        return _UNCHECKED
    _logger.warning("A webhook to %s/%s is refused: %s", connector, instance, error)
    return _REFUSED


def keeping(receiver: Receiver, delivery: Delivery, now: datetime) -> SQL:
    """The statement that puts a delivery into the inbox, once however often it is executed.

    It returns a row for what is new: whether the job that takes it in must be called.
    """
    moment = now.replace(tzinfo=None)
    return SQL(
        """
        WITH newest AS (
             SELECT received_at FROM trackflow_connector_event
              WHERE state = 'queued' ORDER BY id DESC LIMIT 1)
        INSERT INTO trackflow_connector_event
            (connector_id, event_id, received_at, payload, state, origin, attempts, create_date)
        VALUES (%(connector)s, %(event)s, %(now)s, %(payload)s, 'queued', 'webhook', 0, %(now)s)
        ON CONFLICT (connector_id, event_id) DO NOTHING
        RETURNING COALESCE((SELECT received_at FROM newest) < %(lately)s, TRUE)
        """,
        connector=receiver.connector_id,
        event=delivery.event_id,
        now=moment,
        lately=moment - _CALLED,
        payload=json.dumps(delivery.payload),
    )


def peer(environ) -> str:
    """Who is at the other end of the connection, whatever a forwarding header says."""
    forwarded = environ.get("werkzeug.proxy_fix.orig") or {}
    return forwarded.get("REMOTE_ADDR") or environ.get("REMOTE_ADDR") or ""
