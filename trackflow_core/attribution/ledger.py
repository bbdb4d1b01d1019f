"""The receipt of one deal: its credits, what they were computed from, and a digest of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from trackflow_core.attribution.allocation import allocate, from_minor_units
from trackflow_core.attribution.models import Journey, Model
from trackflow_core.errors import ConfigError
from trackflow_core.model import UNATTRIBUTED, Credit, Deal, Touch


@dataclass(frozen=True)
class Attribution:
    """The credits of one deal under one model, with everything needed to check them."""

    deal: Deal
    model: Model
    anchor: datetime
    credits: tuple[Credit, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the canonical JSON of all inputs: deal, model, anchor and touches.

        Equal inputs give equal digests on every host and for ever.
        """
        canonical = json.dumps(self._inputs(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _inputs(self) -> dict[str, Any]:
        rule = self.model.rule
        return {
            "deal": {
                "value": self.deal.value,
                "currency": self.deal.currency,
                "digits": self.deal.digits,
            },
            "rule": [rule.name, rule.version],
            "parameters": {
                key: _plain(value) for key, value in sorted(self.model.parameters.items())
            },
            "lookback_seconds": int(self.model.lookback.total_seconds()),
            "anchor": self.anchor.isoformat(),
            "touches": [
                [
                    touch.id,
                    touch.occurred_at.isoformat(),
                    touch.channel,
                    touch.source,
                    touch.medium,
                    touch.campaign,
                    touch.content,
                    touch.term,
                ]
                for touch in (credit.touch for credit in self.credits)
                if touch is not None
            ],
        }

    def explain(self) -> str:
        """The receipt as text: the rule, every touch with its share and amount, and the sum."""
        deal, rule = self.deal, self.model.rule
        amount = f"{from_minor_units(deal.value, deal.digits)} {deal.currency}"
        parameters = ", ".join(f"{k}={_plain(v)}" for k, v in sorted(self.model.parameters.items()))
        lines = [
            f"Deal {deal.ref}: {amount}",
            f"Rule {rule.name} v{rule.version}" + (f" ({parameters})" if parameters else ""),
            f"Window {_days(self.model.lookback)} before {self.anchor.isoformat()} "
            f"(deal {self.model.anchor})",
            rule.description,
            "",
        ]
        for number, credit in enumerate(self.credits, 1):
            value = from_minor_units(credit.value, deal.digits)
            when = credit.touch.occurred_at.isoformat() if credit.touch else "-"
            what = _label(credit)
            lines.append(f"{number:>3}. {when}  {credit.weight:>8.2%}  {value:>14}  {what}")
        total = from_minor_units(sum(credit.value for credit in self.credits), deal.digits)
        lines += ["", f"Sum {total} {deal.currency}", f"Digest {self.digest}"]
        return "\n".join(lines)


def attribute(touches: Iterable[Touch], deal: Deal, model: Model) -> Attribution:
    """Split `deal.value` over `touches` by `model`.

    `touches` may come in any order and contain any number outside the window; the result is the
    same. A touch counts when `anchor - lookback <= occurred_at <= anchor`. Without one, a single
    credit on the channel `Unattributed` takes everything. Credits come in the order of
    `(occurred_at, id)` and sum to `deal.value` exactly.

    Raises ConfigError when the rule (a plugin's, say) returns weights that cannot be used.
    """
    anchor = model.anchor_of(deal)
    start = anchor - model.lookback
    journey = sorted(
        {touch.id: touch for touch in touches if start <= touch.occurred_at <= anchor}.values(),
        key=lambda touch: touch.order_key,
    )
    if not journey:
        whole = Credit(None, UNATTRIBUTED, 1.0, deal.value, "only")
        return Attribution(deal, model, anchor, (whole,))
    weights = list(model.rule.weigh(Journey(tuple(journey), anchor, model.parameters)))
    _check_weights(weights, len(journey), model)
    total = sum(weights)
    values = allocate(deal.value, weights)
    last = len(journey) - 1
    credits = tuple(
        Credit(touch, touch.channel, weight / total, value, _position(place, last))
        for place, (touch, weight, value) in enumerate(zip(journey, weights, values, strict=True))
    )
    return Attribution(deal, model, anchor, credits)


def _check_weights(weights: list[int], count: int, model: Model) -> None:
    usable = (
        len(weights) == count
        and all(isinstance(weight, int) and weight >= 0 for weight in weights)
        and any(weights)
    )
    if not usable:
        raise ConfigError(
            f"The rule {model.rule.name!r} must return {count} non-negative integers, "
            f"not all zero; it returned {weights!r:.200}."
        )


def _position(place: int, last: int) -> str:
    if last == 0:
        return "only"
    return "first" if place == 0 else "last" if place == last else "middle"


def _label(credit: Credit) -> str:
    if credit.touch is None:
        return credit.channel
    parts = [credit.touch.source, credit.touch.medium, credit.touch.campaign]
    return f"{credit.channel} ({' / '.join(part or '-' for part in parts)})"


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _days(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"
