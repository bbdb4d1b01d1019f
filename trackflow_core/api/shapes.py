"""Between the records of hosts and the API's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from secrets import token_hex
from typing import Any

from trackflow_core.api import schemas, storage
from trackflow_core.attribution import Model
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import (
    Click,
    ClickEvent,
    Conversion,
    Deal,
    DealStatus,
    Lead,
    Link,
    LinkRule,
    LinkStatus,
    Session,
    Source,
    Tier,
    Touch,
    Variant,
)
from trackflow_core.tracking.consent import anonymise
from trackflow_core.tracking.templates import Kind, Template, Variable

State = dict[str, Any]
"""What can be changed of a record, as the JSON of its request body."""


# -- campaigns ------------------------------------------------------------------------------------


def campaign_state(record: storage.Campaign) -> State:
    return {
        "name": record.name,
        "title": record.title,
        "description": record.description,
        "budget": record.budget,
        "currency": record.currency,
        "starts": _day(record.starts),
        "ends": _day(record.ends),
    }


def campaign_answer(record: storage.Campaign) -> schemas.CampaignAnswer:
    return schemas.CampaignAnswer(id=record.id, **campaign_state(record))


def campaign_record(
    body: schemas.Campaign, held: storage.Campaign | None = None
) -> storage.Campaign:
    return storage.Campaign(id=held.id if held else "", **body.model_dump())


# -- links ----------------------------------------------------------------------------------------


def link_state(record: storage.TrackedLink) -> State:
    link = record.link
    return {
        "destination": link.destination,
        "title": record.title,
        "source": link.source,
        "medium": link.medium,
        "campaign": link.campaign,
        "content": link.content,
        "term": link.term,
        "status": link.status.value,
        "starts": _day(link.starts),
        "ends": _day(link.ends),
        "fallback": link.fallback,
        "language": link.language,
        "variants": [
            {"name": item.name, "destination": item.destination, "weight": item.weight}
            for item in link.variants
        ],
        "rules": [
            {
                "destination": rule.destination,
                "device": rule.device,
                "language": rule.language,
                "countries": sorted(rule.countries),
                "query": dict(rule.query),
                "since": _day(rule.since),
                "until": _day(rule.until),
            }
            for rule in link.rules
        ],
    }


def link_answer(record: storage.TrackedLink) -> schemas.LinkAnswer:
    # Without validation: pages hold many, and every value comes from a typed record.
    return schemas.LinkAnswer.model_construct(
        code=record.id,
        short_url=record.short_url,
        **link_state(record),
        created_at=record.created_at,
        clicks=record.clicks,
        visitors=record.visitors,
        last_click_at=record.last_click_at,
    )


def link_told(record: storage.TrackedLink) -> dict[str, Any]:
    """A link as webhooks tell of it: as the API shows it, in plain JSON."""
    return link_answer(record).model_dump(mode="json", warnings=False)


def link_record(
    body: schemas.LinkState, held: storage.TrackedLink | None = None
) -> storage.TrackedLink:
    code = held.id if held else body.code if isinstance(body, schemas.Link) else ""
    link = Link(
        code=code,
        destination=body.destination,
        source=body.source,
        medium=body.medium,
        campaign=body.campaign,
        content=body.content,
        term=body.term,
        status=LinkStatus(body.status),
        starts=body.starts,
        ends=body.ends,
        zone=held.link.zone if held else "UTC",
        fallback=body.fallback,
        language=body.language,
        variants=tuple(Variant(**item.model_dump()) for item in body.variants),
        rules=tuple(_rule(item) for item in body.rules),
    )
    if held is None:
        return storage.TrackedLink(link, body.title)
    return replace(held, link=link, title=body.title)


def _rule(body: schemas.Rule) -> LinkRule:
    values = body.model_dump()
    values["countries"] = frozenset(body.countries)
    values["query"] = tuple(body.query.items())
    return LinkRule(**values)


def link_copy(link: Link) -> schemas.LinkCopy:
    """A link for whoever keeps a copy; `link_of_copy` is the inverse."""
    state = link_state(storage.TrackedLink(link))
    del state["title"]
    return schemas.LinkCopy.model_construct(code=link.code, zone=link.zone, **state)


def link_of_copy(told: Mapping[str, Any]) -> Link:
    """The link that the JSON of a `schemas.LinkCopy` tells."""
    return Link(
        **{
            **told,
            "status": LinkStatus(told["status"]),
            "starts": _day_of(told["starts"]),
            "ends": _day_of(told["ends"]),
            "variants": tuple(Variant(**item) for item in told["variants"]),
            "rules": tuple(
                LinkRule(
                    **{
                        **item,
                        "countries": frozenset(item["countries"]),
                        "query": tuple(item["query"].items()),
                        "since": _day_of(item["since"]),
                        "until": _day_of(item["until"]),
                    }
                )
                for item in told["rules"]
            ),
        }
    )


def stats_answer(stats: storage.Stats) -> schemas.StatsAnswer:
    return schemas.StatsAnswer(
        clicks=stats.clicks,
        visitors=stats.visitors,
        conversions=stats.conversions,
        ignored=stats.ignored,
        last_click_at=stats.last_click_at,
        days=dict(stats.days),
        channels=dict(stats.channels),
        devices=dict(stats.devices),
        browsers=dict(stats.browsers),
    )


# -- templates --------------------------------------------------------------------------------------


def template_state(record: storage.LinkTemplate) -> State:
    return {
        "name": record.name,
        "text": record.template.text,
        "description": record.description,
        "variables": [
            {
                "name": item.name,
                "kind": item.kind.value,
                "default": item.default,
                "choices": list(item.choices),
                "pattern": item.pattern,
                "max_length": item.max_length,
            }
            for item in record.template.variables
        ],
    }


def template_answer(record: storage.LinkTemplate) -> schemas.TemplateAnswer:
    return schemas.TemplateAnswer.model_construct(id=record.id, **template_state(record))


def _variable(place: int, item: schemas.Variable) -> Variable:
    try:
        return Variable(
            item.name,
            Kind(item.kind),
            item.default,
            tuple(item.choices),
            item.pattern,
            item.max_length,
        )
    except ConfigError as error:
        raise InvalidEvent(str(error), field=f"variables[{place}]") from None


def template_record(
    body: schemas.Template, held: storage.LinkTemplate | None = None
) -> storage.LinkTemplate:
    variables = tuple(_variable(place, item) for place, item in enumerate(body.variables))
    try:
        template = Template(body.text, variables)
    except ConfigError as error:
        raise InvalidEvent(str(error), field="text") from None
    return storage.LinkTemplate(held.id if held else "", body.name, template, body.description)


# -- webhooks ----------------------------------------------------------------------------------------


def endpoint_state(record: storage.WebhookEndpoint) -> State:
    return {
        "url": record.url,
        "events": sorted(record.events),
        "description": record.description,
        "enabled": record.enabled,
    }


def endpoint_answer(record: storage.WebhookEndpoint) -> schemas.WebhookEndpointAnswer:
    return schemas.WebhookEndpointAnswer(
        id=record.id, problem=record.problem, **endpoint_state(record)
    )


def message_item(record: storage.WebhookMessage) -> schemas.WebhookMessage:
    return schemas.WebhookMessage.model_construct(**_message_values(record))


def message_answer(record: storage.WebhookMessage) -> schemas.WebhookMessageAnswer:
    values = _message_values(record)
    return schemas.WebhookMessageAnswer.model_construct(**values, data=json.loads(record.body))


def _message_values(record: storage.WebhookMessage) -> dict[str, Any]:
    return {
        "id": record.id,
        "endpoint": record.endpoint,
        "event": record.event,
        "status": "failed" if record.state == "dead" else record.state,
        "attempts": record.attempts,
        "created_at": record.created_at,
        "next_attempt_at": record.due_at if record.state == "waiting" else None,
        "delivered_at": record.sent_at,
        "problem": record.reason,
    }


def endpoint_record(
    body: schemas.WebhookEndpoint, held: storage.WebhookEndpoint | None = None
) -> storage.WebhookEndpoint:
    values = {**body.model_dump(), "events": frozenset(body.events)}
    if held is None:
        return storage.WebhookEndpoint(id="", **values)
    return replace(held, **values, problem="" if body.enabled else held.problem)


# -- journeys ----------------------------------------------------------------------------------------


def source_answer(source: Source) -> schemas.SourceAnswer:
    return schemas.SourceAnswer(**_source(source))


def event_answer(event: ClickEvent) -> schemas.EventAnswer:
    click = event.click
    return schemas.EventAnswer(
        id=click.event_id,
        type=click.kind,
        data=json.loads(click.data) if click.data else None,
        occurred_at=click.occurred_at,
        link=click.link_code,
        visitor=click.visitor_id,
        session=event.session_id,
        url=click.destination,
        referrer=click.referrer,
        device=event.agent.device,
        browser=event.agent.browser,
        os=event.agent.os,
        verdict=event.agent.verdict.value,
        counts=event.counts,
        **_source(event.source),
    )


def event_record(body: schemas.Event, now: datetime) -> Click:
    return Click(
        event_id=body.id or token_hex(16),
        occurred_at=min(body.occurred_at or now, now),
        link_code=body.link,
        destination=body.url,
        visitor_id=body.visitor or None,
        ip=anonymise(body.address),
        user_agent=body.user_agent,
        referrer=body.referrer,
        internal=body.internal,
        prefetch=body.prefetch,
        tier=Tier(body.consent) if body.visitor else Tier.AGGREGATE,
        kind=body.type,
        data=json.dumps(body.data, ensure_ascii=False) if body.data else "",
    )


def touch_answer(touch: Touch) -> schemas.TouchAnswer:
    return schemas.TouchAnswer(
        id=touch.id,
        kind=touch.kind,
        occurred_at=touch.occurred_at,
        link=touch.link_code,
        visitor=touch.visitor_id,
        **_source(touch),
    )


def session_answer(session: Session) -> schemas.SessionAnswer:
    return schemas.SessionAnswer(
        id=session.id,
        started_at=session.started_at,
        ended_at=session.ended_at,
        hits=session.hits,
        device=session.agent.device,
        browser=session.agent.browser,
        os=session.agent.os,
        **_source(session.source),
    )


def visitor_answer(visitor: storage.Visitor) -> schemas.VisitorAnswer:
    return schemas.VisitorAnswer(
        id=visitor.id,
        first_seen=visitor.first_seen,
        last_seen=visitor.last_seen,
        clicks=visitor.clicks,
        first=source_answer(visitor.source),
    )


def conversion_answer(conversion: Conversion) -> schemas.ConversionAnswer:
    return schemas.ConversionAnswer(
        ref=conversion.ref,
        kind=conversion.kind,
        occurred_at=conversion.occurred_at,
        value=conversion.value,
        currency=conversion.currency,
        touch=touch_answer(conversion.touch) if conversion.touch else None,
    )


def _source(of: Source | Touch) -> dict[str, str]:
    return {
        "channel": of.channel,
        "source": of.source,
        "medium": of.medium,
        "campaign": of.campaign,
        "content": of.content,
        "term": of.term,
    }


# -- leads, deals, models -----------------------------------------------------------------------------


def lead_answer(lead: Lead) -> schemas.LeadAnswer:
    return schemas.LeadAnswer(
        ref=lead.ref,
        occurred_at=lead.occurred_at,
        created_at=lead.came_in_at,
        name=lead.name,
        contact_name=lead.contact_name,
        email=lead.email,
        phone=lead.phone,
        company=lead.company,
        visitors=sorted(lead.visitor_ids),
    )


def deal_answer(deal: Deal) -> schemas.DealAnswer:
    return schemas.DealAnswer(
        ref=deal.ref,
        lead=deal.lead_ref,
        name=deal.name,
        value=deal.value,
        currency=deal.currency,
        digits=deal.digits,
        status=deal.status.value,
        occurred_at=deal.occurred_at,
        created_at=deal.began_at,
        closed_at=deal.closed_at,
    )


@dataclass(frozen=True, slots=True)
class Told:
    """Which fact a request tells: its id and moment."""

    event_id: str
    occurred_at: datetime


def lead_record(ref: str, body: schemas.Lead, told: Told) -> Lead:
    return Lead(
        ref=ref,
        event_id=told.event_id,
        occurred_at=told.occurred_at,
        created_at=body.created_at,
        visitor_ids=frozenset(body.visitors),
        name=body.name,
        contact_name=body.contact_name,
        email=body.email,
        phone=body.phone,
        company=body.company,
        visitor_token=body.visitor_token,
        visitor_cookie=body.visitor_cookie,
    )


def deal_record(ref: str, lead_ref: str, digits: int, body: schemas.Deal, told: Told) -> Deal:
    return Deal(
        ref=ref,
        event_id=told.event_id,
        occurred_at=told.occurred_at,
        value=body.value,
        currency=body.currency,
        lead_ref=lead_ref,
        digits=digits,
        created_at=body.created_at,
        closed_at=body.closed_at,
        status=DealStatus(body.status),
        name=body.name,
    )


def model_answer(model: Model) -> schemas.ModelAnswer:
    return schemas.ModelAnswer(
        name=model.name,
        rule=model.rule.name,
        rule_version=model.rule.version,
        title=model.rule.title,
        description=model.rule.description,
        parameters={name: str(value) for name, value in sorted(model.parameters.items())},
        lookback_days=model.lookback.total_seconds() / 86400,
        anchor=model.anchor,
    )


def receipt_answer(receipt: Mapping[str, Any]) -> schemas.AttributionAnswer:
    return schemas.AttributionAnswer.model_validate(receipt)


def _day_of(text: str | None) -> date | datetime | None:
    if text is None:
        return None
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def _day(when: date | None) -> str | None:
    return when.isoformat() if when is not None else None
