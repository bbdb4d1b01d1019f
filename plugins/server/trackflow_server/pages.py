"""Pages as HTML, from the templates beside this file."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@lru_cache(maxsize=1)
def templates() -> Environment:
    return Environment(
        loader=PackageLoader("trackflow_server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, **values: Any) -> str:
    return templates().get_template(name).render(**values)


def unknown_link() -> bytes:
    return render(
        "message.html",
        title="This link does not exist",
        message="Perhaps it was copied only in part. Please check it.",
    ).encode()


def link_out_of_use() -> bytes:
    return render(
        "message.html",
        title="This link is no longer valid",
        message="The offer behind it has ended.",
    ).encode()
