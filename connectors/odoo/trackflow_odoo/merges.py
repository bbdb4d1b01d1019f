"""Which leads of a remote Odoo were merged into which.

Odoo deletes the leads that it merges and keeps no note of their ids. But it moves their messages to
the lead that stays, under a new subject, and every lead has a message of its creation. Ids of leads
and of those messages rise together: a message that was moved stands between those of its lead's
neighbours, which tells the lead that it belonged to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from trackflow_core.connectors import Merge
from trackflow_odoo.rpc import Denied, Odoo

_MESSAGE = "mail.message"
# Only the note of a lead's creation is hidden.
_CREATION: Sequence[Any] = (
    ["model", "=", "crm.lead"],
    ["subtype_id.res_model", "=", "crm.lead"],
    ["subtype_id.hidden", "=", True],
)
_MOVED: Sequence[Any] = (*_CREATION, ["subject", "!=", False])
_UNMOVED: Sequence[Any] = (*_CREATION, ["subject", "=", False])


def merges_since(odoo: Odoo, since: str, namespace: str) -> Sequence[Merge]:
    """The merges after `since`, a naive time in UTC; none where it is "", for then nobody was told
    of the leads that are gone.

    A lead that cannot be told from another one that is gone is left out.
    """
    if not since:
        return ()
    try:
        moved = _read(odoo, [*_MOVED, ["write_date", ">=", since]])
    except Denied:
        return ()
    losers: dict[int, set[int]] = defaultdict(set)
    for low, high in sorted({_neighbours(odoo, message["id"]) for message in moved}):
        for loser, winner in _between(odoo, low, high).items():
            losers[winner].add(loser)
    return [
        Merge(f"{namespace}/{winner}", frozenset(f"{namespace}/{loser}" for loser in gone))
        for winner, gone in sorted(losers.items())
    ]


_Place = tuple[int, int]
"""A message and its lead, by their ids; zeros where there is none."""


def _neighbours(odoo: Odoo, message: int) -> tuple[_Place, _Place]:
    """The creations that were not moved, right before and right after a message."""
    before = _read(odoo, [*_UNMOVED, ["id", "<", message]], "id desc", 1)
    after = _read(odoo, [*_UNMOVED, ["id", ">", message]], "id asc", 1)
    return _place(before), _place(after)


def _place(found: Sequence[Mapping[str, Any]]) -> _Place:
    return (found[0]["id"], found[0]["res_id"]) if found else (0, 0)


def _between(odoo: Odoo, low: _Place, high: _Place) -> Mapping[int, int]:
    """Each lead that was merged away between two neighbours, with the one that it means now."""
    domain = [*_MOVED, ["id", ">", low[0]], *([["id", "<", high[0]]] if high[0] else [])]
    moved = _read(odoo, domain, "id asc")
    # After the newest lead that is left there is no telling how many are gone: as many as moved.
    end = high[1] or low[1] + len(moved) + 1
    gone = [*range(low[1] + 1, end)]
    if len(gone) != len(moved):
        return {}
    return dict(zip(gone, (message["res_id"] for message in moved), strict=True))


def _read(
    odoo: Odoo, domain: Sequence[Any], order: str = "id asc", limit: int = 0
) -> Sequence[Mapping[str, Any]]:
    options: dict[str, Any] = {"limit": limit} if limit else {}
    found: Sequence[Mapping[str, Any]] = odoo.call(
        _MESSAGE, "search_read", domain=list(domain), fields=["res_id"], order=order, **options
    )
    return found
