"""The receipt of one deal: its credits, what they were computed from, and a digest of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any

from trackflow_core.attribution.allocation import allocate, from_minor_units
from trackflow_core.attribution.models import ChannelRule, Journey, Model
from trackflow_core.digest import digest_of
from trackflow_core.model import UNATTRIBUTED, Credit, Deal, Touch


@dataclass(frozen=True)
class Attribution:
    """The credits of one deal under one model, with everything needed to check them.

    `lead_created_at` is None where the model's rule does not look at milestones.
    """

    deal: Deal
    model: Model
    anchor: datetime
    credits: tuple[Credit, ...]
    lead_created_at: datetime | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON of all inputs: deal, model, anchor and touches.

        Equal inputs give equal digests on every host and for ever.
        """
        return digest_of(self._inputs())

    def _inputs(self) -> dict[str, Any]:
        rule = self.model.rule
        inputs: dict[str, Any] = {
            "deal": {
                "value": self.deal.value,
                "currency": self.deal.currency,
                "digits": self.deal.digits,
            },
            "rule": [rule.name, rule.version],
            "parameters": self._parameters(),
            "lookback_seconds": int(self.model.lookback.total_seconds()),
            "anchor": self.anchor.isoformat(),
            "touches": [
                _touch_inputs(credit.touch) for credit in self.credits if credit.touch is not None
            ],
        }
        # What does not bear on a result must not change its digest.
        if self.model.channel_rules:
            inputs["channel_rules"] = [
                [*_channel_rule(item).values()] for item in self.model.channel_rules
            ]
        if rule.milestones:
            inputs["milestones"] = list(self._milestones().values())
        if self.model.fit is not None:
            inputs["fit"] = self.model.fit.inputs()
        return inputs

    def receipt(self) -> dict[str, Any]:
        """Everything about this result as plain JSON values.

        Amounts are integers in minor units of `currency`, which has `digits` decimal places;
        weights are floats for display; moments are ISO 8601 in UTC. `milestones` is None for a
        rule that does not look at them, `fit` for one that does not learn or has not yet; `touch` is
        None for the `Unattributed` credit.
        """
        deal, model = self.deal, self.model
        return {
            "deal": deal.ref,
            "value": deal.value,
            "currency": deal.currency,
            "digits": deal.digits,
            "model": model.name,
            "rule": model.rule.name,
            "rule_version": model.rule.version,
            "rule_description": model.rule.description,
            "parameters": self._parameters(),
            "fit": model.fit.receipt() if model.fit else None,
            "channel_rules": [_channel_rule(item) for item in model.channel_rules],
            "lookback_seconds": int(model.lookback.total_seconds()),
            "anchor": self.anchor.isoformat(),
            "anchor_kind": model.anchor,
            "milestones": self._milestones() if model.rule.milestones else None,
            "credits": [_credit(credit) for credit in self.credits],
            "sum": sum(credit.value for credit in self.credits),
            "digest": self.digest,
        }

    def explain(self) -> str:
        """The receipt as text: the rule, every touch with its share and amount, and the sum."""
        receipt = self.receipt()
        currency, digits = receipt["currency"], receipt["digits"]
        parameters = ", ".join(f"{name}={value}" for name, value in receipt["parameters"].items())
        lines = [
            f"Deal {receipt['deal']}: {from_minor_units(receipt['value'], digits)} {currency}",
            f"Rule {receipt['rule']} v{receipt['rule_version']}"
            + (f" ({parameters})" if parameters else ""),
            f"Window {_days(self.model.lookback)} before {receipt['anchor']} "
            f"(deal {receipt['anchor_kind']})",
            receipt["rule_description"],
            *self._fit_lines(),
            *(_channel_rule_line(item) for item in self.model.channel_rules),
            *(
                f"{name.replace('_', ' ').capitalize()} {moment or '-'}"
                for name, moment in (receipt["milestones"] or {}).items()
            ),
            "",
        ]
        for number, credit in enumerate(receipt["credits"], 1):
            value = from_minor_units(credit["value"], digits)
            when = credit["occurred_at"] or "-"
            lines.append(
                f"{number:>3}. {when}  {credit['weight']:>8.2%}  {value:>14}  {_label(credit)}"
            )
        total = from_minor_units(receipt["sum"], digits)
        lines += ["", f"Sum {total} {currency}", f"Digest {receipt['digest']}"]
        return "\n".join(lines)

    def _fit_lines(self) -> list[str]:
        if self.model.rule.learn is None:
            return []
        fit = self.model.fit
        if fit is None:
            return ["Not fitted yet."]
        learned = ", ".join(f"{channel}={weight}" for channel, weight in fit.weights.items())
        return [
            f"Fit {fit.version} of {fit.fitted_at:%Y-%m-%d}: {learned}",
            *([fit.note] if fit.note else []),
        ]

    def _parameters(self) -> dict[str, str]:
        return {key: _plain(value) for key, value in sorted(self.model.parameters.items())}

    def _milestones(self) -> dict[str, str | None]:
        moments = {
            "lead_created": self.lead_created_at,
            "deal_created": self.deal.began_at,
            "deal_closed": self.deal.closed_at,
        }
        return {name: moment.isoformat() if moment else None for name, moment in moments.items()}


def attribute(
    touches: Iterable[Touch],
    deal: Deal,
    model: Model,
    *,
    lead_created_at: datetime | None = None,
) -> Attribution:
    """Split `deal.value` over `touches` by `model`.

    `touches` may come in any order and contain any number outside the window; the result is the
    same. A touch counts when `anchor - lookback <= occurred_at <= anchor`. Without one, a single
    credit on the channel `Unattributed` takes everything. Credits come in the order of
    `(occurred_at, id)` and sum to `deal.value` exactly. `lead_created_at` is when the deal's lead
    came in; only rules with `milestones` look at it.

    Raises ConfigError when the rule (a plugin's, say) returns weights that cannot be used.
    """
    return Splitting(touches, deal, lead_created_at).attribute(model)


class Splitting:
    """One deal and its touches, to be split by one model after another; see `attribute`.

    What models of the same window and anchor share is done once.
    """

    def __init__(
        self, touches: Iterable[Touch], deal: Deal, lead_created_at: datetime | None = None
    ) -> None:
        self._touches = tuple(touches)
        self._deal = deal
        self._lead_created_at = lead_created_at
        self._windows: dict[tuple[datetime, timedelta], tuple[Touch, ...]] = {}

    def attribute(self, model: Model) -> Attribution:
        """The credits under `model`.

        Raises ConfigError when the rule (a plugin's, say) returns weights that cannot be used.
        """
        deal, anchor = self._deal, model.anchor_of(self._deal)
        known = self._lead_created_at if model.rule.milestones else None
        journey = self._window(anchor, model.lookback)
        if not journey:
            whole = Credit(None, UNATTRIBUTED, 1.0, deal.value, "only")
            return Attribution(deal, model, anchor, (whole,), known)
        weights = model.weigh(journey_of(journey, deal, model, known))
        total = sum(weights)
        credits = tuple(
            Credit(touch, touch.channel, weight / total, value, position)
            for touch, weight, value, position in zip(
                journey,
                weights,
                allocate(deal.value, weights),
                _positions(len(journey)),
                strict=True,
            )
        )
        return Attribution(deal, model, anchor, credits, known)

    def parts(self, model: Model) -> Iterable[tuple[Touch | None, int]]:
        """Each touch with its part of the value under `model`, as `attribute` gives it but without
        the receipt: for sums over many deals. No touch takes the value of a deal without any.

        Raises ConfigError when the rule (a plugin's, say) returns weights that cannot be used.
        """
        journey = self._window(model.anchor_of(self._deal), model.lookback)
        if not journey:
            return ((None, self._deal.value),)
        weights = model.weights_of(len(journey)) or model.weigh(
            journey_of(journey, self._deal, model, self._lead_created_at)
        )
        return zip(journey, allocate(self._deal.value, weights), strict=True)

    def _window(self, anchor: datetime, lookback: timedelta) -> tuple[Touch, ...]:
        """The touches that count, in order, none of them twice."""
        key = (anchor, lookback)
        if key not in self._windows:
            start = anchor - lookback
            inside = {t.id: t for t in self._touches if start <= t.occurred_at <= anchor}
            self._windows[key] = tuple(sorted(inside.values(), key=lambda touch: touch.order_key))
        return self._windows[key]


def journey_of(
    touches: tuple[Touch, ...], deal: Deal, model: Model, lead_created_at: datetime | None
) -> Journey:
    """What the rule of `model` sees of `touches`, which are in order and inside the window."""
    anchor = model.anchor_of(deal)
    if not model.rule.milestones:
        return Journey(touches, anchor, model.parameters, fit=model.fit)
    return Journey(
        touches,
        anchor,
        model.parameters,
        lead_created_at,
        deal.began_at,
        deal.closed_at,
        model.fit,
    )


def _touch_inputs(touch: Touch) -> list[str]:
    inputs = [
        touch.id,
        touch.occurred_at.isoformat(),
        touch.channel,
        touch.source,
        touch.medium,
        touch.campaign,
        touch.content,
        touch.term,
    ]
    # A click is what a touch is unless it says otherwise.
    return inputs if touch.kind == "click" else [*inputs, touch.kind]


@lru_cache(maxsize=256)
def _positions(count: int) -> Sequence[str]:
    if count == 1:
        return ("only",)
    return ("first", *("middle",) * (count - 2), "last")


def _credit(credit: Credit) -> dict[str, Any]:
    touch = credit.touch
    return {
        "touch": touch.id if touch else None,
        "kind": touch.kind if touch else "",
        "occurred_at": touch.occurred_at.isoformat() if touch else None,
        "channel": credit.channel,
        "source": touch.source if touch else "",
        "medium": touch.medium if touch else "",
        "campaign": touch.campaign if touch else "",
        "content": touch.content if touch else "",
        "term": touch.term if touch else "",
        "position": credit.position,
        "weight": credit.weight,
        "value": credit.value,
    }


def _label(credit: Mapping[str, Any]) -> str:
    if credit["touch"] is None:
        return str(credit["channel"])
    parts = " / ".join(credit[name] or "-" for name in ("source", "medium", "campaign"))
    kind = "" if credit["kind"] == "click" else f"{credit['kind']}: "
    return f"{kind}{credit['channel']} ({parts})"


def _channel_rule(rule: ChannelRule) -> dict[str, Any]:
    return {
        "channel": rule.channel,
        "source": rule.source,
        "medium": rule.medium,
        "campaign": rule.campaign,
        "weight": _plain(rule.weight),
        "priority": rule.priority,
    }


def _channel_rule_line(rule: ChannelRule) -> str:
    conditions = ", ".join(f"{name} {pattern}" for name, pattern in rule.conditions.items())
    return f"Times {_plain(rule.weight)} for {conditions or 'every touch'} ({rule.priority})"


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"
