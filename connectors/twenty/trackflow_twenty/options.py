"""What a connection with a Twenty workspace needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trackflow_core.options import option, web_address


def _currency(value: str) -> str:
    return "" if re.fullmatch(r"[A-Za-z]{3}", value) else "use an ISO 4217 code such as EUR"


def _stages(value: str) -> str:
    names = names_of(value)
    right = all(re.fullmatch(r"[A-Z0-9_]+", name) for name in names)
    return "" if right else "use the stages' API names, such as CUSTOMER, with commas between them"


def names_of(value: str) -> tuple[str, ...]:
    """The names in a text with commas between them."""
    return tuple(name for part in value.split(",") if (name := part.strip()))


@dataclass(frozen=True)
class TwentyOptions:
    """Where the workspace is and what its stages mean."""

    url: str = option(
        "Address",
        "Where the API answers, such as https://api.twenty.com or your own server's address.",
        check=web_address,
    )
    key: str = option(
        "API Key",
        "Made under Settings, APIs & Webhooks; its role reads and edits people and opportunities "
        "(and, to prepare the CRM, the data model and webhooks).",
        secret=True,
    )
    currency: str = option(
        "Currency", "The currency of opportunities that name none.", check=_currency
    )
    won: str = option(
        "Won Stages",
        "API names of the stages that mean won, with commas between them.",
        default="CUSTOMER",
        check=_stages,
    )
    lost: str = option(
        "Lost Stages",
        "API names of the stages that mean lost, with commas between them.",
        default="",
        check=_stages,
    )
