"""Logs each click, attributed lead, conversion, deal and failed write-back as a line of JSON.

The logger is `trackflow.events` at level INFO; where the lines go is the host's logging
configuration. Amounts are integers in the currency's minor unit, times are UTC. No line holds an
address, a name, a user agent or another thing that tells who somebody is.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from trackflow_core.attribution import Attribution
from trackflow_core.hooks import hookimpl
from trackflow_core.model import (
    ClickEvent,
    Context,
    Conversion,
    Lead,
    LeadSummary,
    Message,
    Source,
    Touch,
)

_log = logging.getLogger("trackflow.events")


@hookimpl
def trackflow_after_click_recorded(event: ClickEvent, ctx: Context) -> None:
    """A click or another event, with who was behind it and where it came from."""
    _write(
        f"{event.click.kind}.recorded",
        ctx,
        id=event.click.event_id,
        occurred_at=event.click.occurred_at.isoformat(),
        link=event.click.link_code,
        counts=event.counts,
        verdict=event.agent.verdict.value,
        device=event.agent.device,
        **_came_from(event.source),
    )


@hookimpl
def trackflow_after_lead_attributed(lead: Lead, summary: LeadSummary, ctx: Context) -> None:
    """A lead with its first and last touch."""
    _write(
        "lead.attributed",
        ctx,
        ref=lead.ref,
        touches=summary.touch_count,
        first=_touch(summary.first),
        last=_touch(summary.last),
    )


@hookimpl
def trackflow_after_conversion_recorded(conversion: Conversion, ctx: Context) -> None:
    """A lead that came in, or a deal that was won."""
    _write(
        "conversion.recorded",
        ctx,
        ref=conversion.ref,
        kind=conversion.kind,
        occurred_at=conversion.occurred_at.isoformat(),
        value=conversion.value,
        currency=conversion.currency,
        touch=_touch(conversion.touch),
    )


@hookimpl
def trackflow_after_deal_attributed(attribution: Attribution, ctx: Context) -> None:
    """A deal with the number of its credits; the `receipts` plugin writes them whole."""
    _write(
        "deal.attributed",
        ctx,
        ref=attribution.deal.ref,
        value=attribution.deal.value,
        currency=attribution.deal.currency,
        model=attribution.model.rule.name,
        credits=len(attribution.credits),
        digest=attribution.digest,
    )


@hookimpl
def trackflow_on_writeback_error(message: Message, reason: str, final: bool, ctx: Context) -> None:
    """A CRM that did not take its attribution."""
    _write(
        "writeback.failed",
        ctx,
        id=message.id,
        target=message.outgoing.target,
        ref=message.outgoing.ref,
        attempts=message.attempts + 1,
        reason=reason,
        final=final,
    )


def _write(event: str, ctx: Context, **fields: Any) -> None:
    line = {"event": event, "host": ctx.host, "tenant": ctx.tenant, **fields}
    _log.info("%s", json.dumps(line, ensure_ascii=False))


def _touch(touch: Touch | None) -> dict[str, str] | None:
    if touch is None:
        return None
    return {"id": touch.id, "kind": touch.kind, **_came_from(touch)}


def _came_from(origin: Source | Touch) -> dict[str, str]:
    return {
        "channel": origin.channel,
        "source": origin.source,
        "medium": origin.medium,
        "campaign": origin.campaign,
    }
