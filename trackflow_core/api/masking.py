"""What of requests and answers may stand in the request log."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

MASK = "…"
# Secrets, and what tells who a person is.
_HIDDEN = frozenset(
    {
        "address",
        "authorization",
        "company",
        "contact_name",
        "cookie",
        "email",
        "key",
        "name",
        "password",
        "phone",
        "secret",
        "token",
        "visitor_cookie",
        "visitor_keys",
        "visitor_token",
    }
)
# Bodies of these resources are about things, whose names are no person's.
_THINGS = ("/campaigns", "/links", "/templates", "/attribution")
_OF_THINGS = _HIDDEN - {"name"}


def masked(body: bytes, path: str, limit: int) -> str:
    """`body` for the log, at most `limit` characters: JSON with its private values hidden.

    Of what is no JSON only the size is told.
    """
    if not body or not limit:
        return ""
    try:
        document = from_json(body)
    except ValueError:
        return f"({len(body)} bytes)"
    shown = _hide(document, _OF_THINGS if path.startswith(_THINGS) else _HIDDEN)
    text = to_json(shown).decode()
    return text if len(text) <= limit else text[: limit - 1] + MASK


def _hide(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if name.lower() in hidden and item else _hide(item, hidden)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_hide(item, hidden) for item in value]
    return value
