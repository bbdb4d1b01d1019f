"""What a connection with a Frappe CRM site needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trackflow_core.options import option, web_address

_TOKEN = re.compile(r"[\x21-\x39\x3b-\x7e]+:[\x21-\x7e]+\Z")


def _token(value: str) -> str:
    return "" if _TOKEN.match(value) else "use API key and API secret with a colon between them"


def _currency(value: str) -> str:
    return "" if re.fullmatch(r"[A-Za-z]{3}", value) else "use an ISO 4217 code such as EUR"


def _page(value: int) -> str:
    return "" if 1 <= value <= 1000 else "use 1 to 1000"


@dataclass(frozen=True)
class FrappeOptions:
    """Where the site is and as whom it is asked."""

    url: str = option(
        "Site Address", "The site's address, such as https://crm.example.", check=web_address
    )
    token: str = option(
        "API Token",
        "API key and API secret of a user with the role Sales Manager (System Manager to "
        "prepare the CRM), with a colon between them.",
        secret=True,
        check=_token,
    )
    currency: str = option(
        "Currency",
        "The currency of deals that name none; read from Frappe CRM's settings when it is empty.",
        default="",
        check=_currency,
    )
    page_size: int = option(
        "Page Size", "How many documents are read at a time.", default=500, check=_page
    )
