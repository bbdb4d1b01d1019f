"""Rows of the tables to facts of the core and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from trackflow_core.attribution import Attribution, ChannelRule, Model, Rule
from trackflow_core.errors import ConfigError
from trackflow_core.model import (
    CLICK,
    Agent,
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
    Verdict,
)

Row = Mapping[str, Any]
_SOURCE = ("source", "medium", "campaign", "channel", "content", "term")
_AGENT = ("verdict", "reason", "device", "browser", "os")
_CLICK = (
    "event_id",
    "occurred_at",
    "link_code",
    "destination",
    "visitor_id",
    "ip",
    "user_agent",
    "referrer",
    "internal",
    "prefetch",
    "kind",
    "data",
)
_LEAD = ("ref", "event_id", "occurred_at", "created_at", "name", "contact_name", "email", "phone")
_TOUCH = ("id", "occurred_at", *_SOURCE, "visitor_id", "link_code", "kind")


def _values(fact: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in names}


def click_values(click: Click) -> dict[str, Any]:
    """The columns of a click."""
    return {**_values(click, _CLICK), "tier": click.tier.value}


def click_of(row: Row) -> Click:
    """The click that a row holds."""
    return Click(**{name: row[name] for name in _CLICK}, tier=Tier(row["tier"]))


def source_of(row: Row) -> Source:
    """The source that a row holds."""
    return Source(**{name: row[name] for name in _SOURCE})


def agent_of(row: Row) -> Agent:
    """The agent that a row holds."""
    return Agent(Verdict(row["verdict"]), *(row[name] for name in _AGENT[1:]))


def _agent_values(agent: Agent) -> dict[str, Any]:
    return {**_values(agent, _AGENT), "verdict": agent.verdict.value}


def event_values(event: ClickEvent) -> dict[str, Any]:
    """The columns of an event."""
    return {
        **click_values(event.click),
        **_agent_values(event.agent),
        **_values(event.source, _SOURCE),
        "counts": event.counts,
        "returns": event.returns,
        "session_id": event.session_id,
    }


def event_of(row: Row) -> ClickEvent:
    """The event that a row holds."""
    return ClickEvent(
        click_of(row), agent_of(row), source_of(row), row["session_id"], row["returns"]
    )


def session_values(session: Session) -> dict[str, Any]:
    """The columns of a session."""
    own = ("id", "visitor_id", "started_at", "ended_at", "hits", "entry_page", "exit_page")
    return {
        **_values(session, own),
        **_values(session.source, _SOURCE),
        **_agent_values(session.agent),
    }


def session_of(row: Row) -> Session:
    """The session that a row holds."""
    return Session(
        id=row["id"],
        visitor_id=row["visitor_id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        hits=row["hits"],
        source=source_of(row),
        agent=agent_of(row),
        entry_page=row["entry_page"],
        exit_page=row["exit_page"],
    )


def touch_of_click(row: Row) -> Touch:
    """The touch that a click which counts is."""
    return Touch(
        id=row["event_id"],
        occurred_at=row["occurred_at"],
        **{name: row[name] for name in _SOURCE},
        visitor_id=row["visitor_id"] or "",
        link_code=row["link_code"],
        kind=CLICK if row["kind"] == CLICK else "visit",
    )


def touch_values(touch: Touch) -> dict[str, Any]:
    """The columns of a touch."""
    return _values(touch, _TOUCH)


def touch_of(row: Row) -> Touch:
    """The touch that a row holds."""
    return Touch(**{name: row[name] for name in _TOUCH})


def touch_json(touch: Touch | None) -> dict[str, Any] | None:
    """A touch as plain JSON values; None for none."""
    if touch is None:
        return None
    return {**touch_values(touch), "occurred_at": touch.occurred_at.isoformat()}


def touch_of_json(value: Mapping[str, Any] | None) -> Touch | None:
    """The inverse of `touch_json`."""
    if value is None:
        return None
    return Touch(**{**value, "occurred_at": datetime.fromisoformat(value["occurred_at"])})


def _day_or_moment(text: str | None) -> date | None:
    if text is None:
        return None
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def link_values(link: Link) -> dict[str, Any]:
    """The columns of a link."""
    plain = ("code", "destination", "source", "medium", "campaign", "content", "term", "zone")
    return {
        **_values(link, (*plain, "fallback", "language")),
        "status": link.status.value,
        "starts": link.starts.isoformat() if link.starts else None,
        "ends": link.ends.isoformat() if link.ends else None,
        "variants": [_values(item, ("name", "destination", "weight")) for item in link.variants],
        "rules": [_rule_values(rule) for rule in link.rules],
    }


def _rule_values(rule: LinkRule) -> dict[str, Any]:
    return {
        **_values(rule, ("destination", "device", "language")),
        "countries": sorted(rule.countries),
        "query": [list(pair) for pair in rule.query],
        "since": rule.since.isoformat() if rule.since else None,
        "until": rule.until.isoformat() if rule.until else None,
    }


def link_of(row: Row) -> Link:
    """The link that a row holds."""
    plain = ("code", "destination", "source", "medium", "campaign", "content", "term", "zone")
    return Link(
        **{name: row[name] for name in (*plain, "fallback", "language")},
        status=LinkStatus(row["status"]),
        starts=_day_or_moment(row["starts"]),
        ends=_day_or_moment(row["ends"]),
        variants=tuple(Variant(**item) for item in row["variants"]),
        rules=tuple(_rule_of(item) for item in row["rules"]),
    )


def _rule_of(item: Mapping[str, Any]) -> LinkRule:
    return LinkRule(
        destination=item["destination"],
        device=item["device"],
        language=item["language"],
        countries=frozenset(item["countries"]),
        query=tuple((name, value) for name, value in item["query"]),
        since=_day_or_moment(item["since"]),
        until=_day_or_moment(item["until"]),
    )


def lead_values(lead: Lead) -> dict[str, Any]:
    """The columns of a lead."""
    return _values(lead, (*_LEAD, "company", "account"))


def lead_of(row: Row, visitor_ids: frozenset[str]) -> Lead:
    """The lead that a row holds."""
    fields = {name: row[name] for name in (*_LEAD, "company", "account")}
    return Lead(**fields, visitor_ids=visitor_ids)


_DEAL = (
    "ref",
    "event_id",
    "occurred_at",
    "value",
    "currency",
    "lead_ref",
    "lead_told_at",
    "digits",
    "created_at",
    "closed_at",
    "name",
)


def deal_values(deal: Deal) -> dict[str, Any]:
    """The columns of a deal."""
    return {**_values(deal, _DEAL), "status": deal.status.value}


def deal_of(row: Row) -> Deal:
    """The deal that a row holds."""
    return Deal(**{name: row[name] for name in _DEAL}, status=DealStatus(row["status"]))


def model_values(model: Model) -> dict[str, Any]:
    """The columns of a model."""
    return {
        "name": model.name,
        "rule": model.rule.name,
        "parameters": {name: str(value) for name, value in model.parameters.items()},
        "lookback_seconds": int(model.lookback.total_seconds()),
        "anchor": model.anchor,
        "channel_rules": [
            {
                **_values(rule, ("channel", "source", "medium", "campaign", "priority")),
                "weight": str(rule.weight),
            }
            for rule in model.channel_rules
        ],
    }


def model_of(row: Row, rules: Mapping[str, Rule]) -> Model:
    """Raises ConfigError when the plugin that brings the model's rule is not in use."""
    if row["rule"] not in rules:
        raise ConfigError(
            f"The attribution model {row['name']!r} needs the rule {row['rule']!r}, which no "
            "plugin in use brings: install or enable its plugin, or change the model."
        )
    return Model(
        rule=rules[row["rule"]],
        parameters={name: Decimal(value) for name, value in row["parameters"].items()},
        lookback=timedelta(seconds=row["lookback_seconds"]),
        anchor=row["anchor"],
        name=row["name"],
        channel_rules=tuple(
            ChannelRule(**{**rule, "weight": Decimal(rule["weight"])})
            for rule in row["channel_rules"]
        ),
    )


def _earned_by(touch: Touch | None, channel: str) -> dict[str, Any]:
    """The columns of a credit or conversion that tell its touch."""
    if touch is None:
        return {**dict.fromkeys(_SOURCE, ""), "channel": channel, "touch_id": None, "link_code": ""}
    return {
        **_values(touch, _SOURCE),
        "channel": channel,
        "touch_id": touch.id,
        "link_code": touch.link_code,
    }


def attribution_values(attribution: Attribution) -> dict[str, Any]:
    """The columns of an attribution."""
    return {
        "deal_ref": attribution.deal.ref,
        "model": attribution.model.name or attribution.model.rule.name,
        "anchor": attribution.anchor,
        "digest": attribution.digest,
        "receipt": attribution.receipt(),
    }


def credit_values(attribution: Attribution) -> list[dict[str, Any]]:
    """The columns of a credit."""
    return [
        {
            **_earned_by(credit.touch, credit.channel),
            "deal_ref": attribution.deal.ref,
            "place": place,
            "occurred_at": credit.touch.occurred_at if credit.touch else None,
            "kind": credit.touch.kind if credit.touch else "",
            "position": credit.position,
            "weight": credit.weight,
            "value": credit.value,
        }
        for place, credit in enumerate(attribution.credits)
    ]


def conversion_values(conversion: Conversion) -> dict[str, Any]:
    """The columns of a conversion."""
    touch = conversion.touch
    names = ("ref", "kind", "occurred_at", "value", "currency", "digits")
    return {
        **_earned_by(touch, touch.channel if touch else ""),
        **_values(conversion, names),
        "visitor_id": touch.visitor_id if touch else "",
        "touch": touch_json(touch),
    }


def conversion_of(row: Row) -> Conversion:
    """The conversion that a row holds."""
    names = ("ref", "kind", "occurred_at", "value", "currency", "digits")
    return Conversion(**{name: row[name] for name in names}, touch=touch_of_json(row["touch"]))
