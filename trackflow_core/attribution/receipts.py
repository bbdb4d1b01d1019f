"""Checking a receipt by itself: what was split is split again from what the receipt tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import isclose
from typing import Any

from trackflow_core.attribution.fits import Fit
from trackflow_core.attribution.ledger import Attribution, attribute
from trackflow_core.attribution.models import ChannelRule, Model, Rule
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Deal, DealStatus, Touch

_CHECKED = ("rule_version", "parameters", "anchor", "milestones", "credits", "sum", "digest")


def check(receipt: Mapping[str, Any], rules: Mapping[str, Rule]) -> Sequence[str]:
    """What does not add up in `receipt`, a sentence for each value; none where everything does.

    `receipt` is what `Attribution.receipt` gave, or the REST API, which writes moments with `Z`.
    `rules` are the known rules by name. Raises InvalidEvent when it is no receipt, ConfigError when
    its rule is not known or cannot be used as it says.
    """
    try:
        name = receipt["rule"]
        if name not in rules:
            raise ConfigError(
                f"The receipt's rule {name!r} is not installed: install the plugin that brings it. "
                f"There are: {', '.join(sorted(rules))}."
            )
        expected = _again(receipt, rules[name]).receipt()
        return [
            f"{place} is {told!r}, but the receipt's inputs give {due!r}."
            for name in _CHECKED
            for place, told, due in _differences(name, receipt[name], expected[name])
        ]
    except KeyError as error:
        raise InvalidEvent(f"This is no receipt of TrackFlow: it lacks {error}.") from error
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise InvalidEvent(f"This is no receipt of TrackFlow: {error}.") from error


def _again(receipt: Mapping[str, Any], rule: Rule) -> Attribution:
    """The same split, made from what `receipt` tells."""
    anchor = _moment(receipt["anchor"])
    milestones = {
        name: _moment(moment) if moment else None
        for name, moment in (receipt["milestones"] or {}).items()
    }
    closed_at = milestones.get("deal_closed")
    deal = Deal(
        ref=receipt["deal"],
        event_id=receipt["deal"],
        occurred_at=anchor,
        value=_integer(receipt["value"]),
        currency=receipt["currency"],
        digits=_integer(receipt["digits"]),
        created_at=milestones.get("deal_created") or anchor,
        closed_at=closed_at,
        status=_status(closed_at, anchor),
    )
    model = Model(
        rule,
        {name: Decimal(value) for name, value in receipt["parameters"].items()},
        timedelta(seconds=_integer(receipt["lookback_seconds"])),
        receipt["anchor_kind"],
        receipt["model"],
        tuple(_channel_rule(item) for item in receipt["channel_rules"]),
        _fit(receipt["fit"], rule) if receipt["fit"] else None,
    )
    touches = [_touch(credit) for credit in receipt["credits"] if credit["touch"] is not None]
    return attribute(touches, deal, model, lead_created_at=milestones.get("lead_created"))


def _status(closed_at: datetime | None, anchor: datetime) -> DealStatus:
    """Of a closed deal no more is asked than whether the window ends at its winning."""
    if closed_at is None:
        return DealStatus.OPEN
    return DealStatus.WON if closed_at == anchor else DealStatus.LOST


def _touch(credit: Mapping[str, Any]) -> Touch:
    return Touch(
        id=credit["touch"],
        occurred_at=_moment(credit["occurred_at"]),
        channel=credit["channel"],
        source=credit["source"],
        medium=credit["medium"],
        campaign=credit["campaign"],
        content=credit["content"],
        term=credit["term"],
        kind=credit["kind"],
    )


def _channel_rule(item: Mapping[str, Any]) -> ChannelRule:
    return ChannelRule(
        Decimal(item["weight"]),
        item["channel"],
        item["source"],
        item["medium"],
        item["campaign"],
        _integer(item["priority"]),
    )


def _fit(told: Mapping[str, Any], rule: Rule) -> Fit:
    return Fit(
        rule.name,
        _moment(told["fitted_at"]),
        told["weights"],
        told["unseen"],
        told["journeys"],
        told["conversions"],
        version=told["version"],
    )


def _moment(text: str) -> datetime:
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _differences(place: str, told: Any, due: Any) -> Iterator[tuple[str, Any, Any]]:
    """The values that are not the same in both, each with its place."""
    if isinstance(due, Mapping) and isinstance(told, Mapping):
        for name in due:
            yield from _differences(f"{place}.{name}", told.get(name), due[name])
    elif isinstance(due, list) and isinstance(told, list) and len(due) == len(told):
        for number, (one, other) in enumerate(zip(told, due, strict=True)):
            yield from _differences(f"{place}[{number}]", one, other)
    elif isinstance(due, list) and isinstance(told, list):
        yield f"The number of {place}", len(told), len(due)
    elif not _same(told, due):
        yield place, told, due


def _same(told: Any, due: Any) -> bool:
    if isinstance(due, float) and isinstance(told, (int, float)):
        return isclose(told, due, rel_tol=1e-9)
    if isinstance(due, str) and isinstance(told, str):
        return told == due or told.removesuffix("Z") + "+00:00" == due
    return type(told) is type(due) and told == due
