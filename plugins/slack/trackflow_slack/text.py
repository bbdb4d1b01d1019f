"""What is said, in Slack's mrkdwn."""

from __future__ import annotations

from trackflow_core.attribution import Attribution
from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.model import Message


def of_deal(attribution: Attribution) -> str:
    """The deal, and beneath it each campaign's share with where its touches came from."""
    deal = attribution.deal
    shares: dict[str, int] = {}
    origins: dict[str, dict[str, None]] = {}
    for credit in attribution.credits:
        touch = credit.touch
        name = (touch.campaign if touch else "") or "no campaign"
        shares[name] = shares.get(name, 0) + credit.value
        if touch:
            origin = " / ".join(filter(None, (touch.source, touch.medium))) or touch.kind
            origins.setdefault(name, {})[origin] = None
    lines = [
        f"*{_escaped(deal.name or deal.ref)}* was won: "
        f"{from_minor_units(deal.value, deal.digits):,} {deal.currency}"
    ]
    for name, value in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        whence = _escaped(", ".join(origins.get(name, {})))
        amount = f"{from_minor_units(value, deal.digits):,}"
        lines.append(f"• {_escaped(name)}: {amount}" + (f" ({whence})" if whence else ""))
    return "\n".join(lines)


def of_failure(message: Message, reason: str) -> str:
    """What could not be written back, and why."""
    what = f"{message.outgoing.event} of {message.outgoing.ref}"
    return (
        f":warning: TrackFlow gave up writing {_escaped(what)} back: {_escaped(reason)} "
        "Mend the cause and retry it from the dead letters."
    )


def _escaped(text: str) -> str:
    # The three characters that Slack reads as markup of its own.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
