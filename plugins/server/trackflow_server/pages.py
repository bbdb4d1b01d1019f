"""Pages as HTML, from the templates beside this file."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trackflow_core.attribution.allocation import from_minor_units


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates of all pages."""
    environment = Environment(
        loader=PackageLoader("trackflow_server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(amount=_amount, money=_money, when=_when)
    return environment


def _amount(value: int, digits: int) -> str:
    return f"{from_minor_units(value, digits):,}"


def _money(value: int, currency: str, digits: int) -> str:
    return f"{from_minor_units(value, digits):,} {currency}"


def _when(moment: datetime | str) -> str:
    """A moment as people read it, in UTC."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{found:%d %b %Y, %H:%M}"


def render(name: str, **values: Any) -> str:
    """A page made of a template."""
    return templates().get_template(name).render(**values)


def unknown_link() -> bytes:
    """The page of a link that does not exist, as UTF-8."""
    return render(
        "message.html",
        title="This link does not exist",
        message="Perhaps it was copied only in part. Please check it.",
    ).encode()


def link_out_of_use() -> bytes:
    """The page of a link that is paused, over or archived, as UTF-8."""
    return render(
        "message.html",
        title="This link is no longer valid",
        message="The offer behind it has ended.",
    ).encode()
