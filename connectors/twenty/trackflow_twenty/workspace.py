"""A Twenty workspace's REST API, as far as the connector needs it.

Answers of the metadata API have had several shapes: a list, a list in `data`, and a list or an
object in `data` under a name of its own. All are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trackflow_core.errors import ConfigError, RetriableError, TerminalError, TrackFlowError
from trackflow_http import Answer, Client, Pace, refusal
from trackflow_twenty.mapping import OPPORTUNITY, PERSON

PAGE = 200
"""How many records are asked for at a time; a server that allows fewer sends fewer."""

_PLURALS = {PERSON: "people", OPPORTUNITY: "opportunities"}
_METADATA = "/rest/metadata"
_IDS_AT_A_TIME = 60
"""Ids in one filter: the fewest records that any version returns at a time."""


class Denied(ConfigError):
    """The key's role may not do this."""


class Missing(TerminalError):
    """There is no such record."""


@dataclass(frozen=True, slots=True)
class Schema:
    """What an object is made of: the id of each field by name, and the stages there are."""

    id: str
    fields: Mapping[str, str]
    stages: Sequence[str] = ()


class Workspace:
    """The workspace whose API answers at `url`, asked with an API key."""

    def __init__(self, url: str, key: str, pace: Pace | None = None) -> None:
        credentials = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._client = Client(url, credentials, pace, _explain)

    # -- records ---------------------------------------------------------------------------

    def page(self, kind: str, where: str, order: str) -> tuple[list[dict[str, Any]], bool]:
        """The first records that meet a filter, in order, and whether there are more.

        Deleted ones are among them when the filter names `deletedAt`.
        """
        plural = _PLURALS[kind]
        params = {"order_by": order, "limit": PAGE, "depth": 0}
        params |= {"filter": where} if where else {}
        told = self._client.get(f"/rest/{plural}", params).json()
        return _list(told, plural), bool((told.get("pageInfo") or {}).get("hasNextPage"))

    def company_names(self, ids: Iterable[str]) -> Mapping[str, str]:
        """The name of each company that can be seen."""
        wanted, found = sorted(set(ids)), {}
        for start in range(0, len(wanted), _IDS_AT_A_TIME):
            part = ",".join(wanted[start : start + _IDS_AT_A_TIME])
            params = {"filter": f"id[in]:[{part}]", "limit": _IDS_AT_A_TIME, "depth": 0}
            for row in _list(self._client.get("/rest/companies", params).json(), "companies"):
                found[str(row["id"])] = str(row.get("name") or "")
        return found

    def record(self, kind: str, record_id: str) -> dict[str, Any]:
        """A record with all fields that the key's role may see. Raises Missing."""
        told = self._client.get(f"/rest/{_PLURALS[kind]}/{record_id}", {"depth": 0}).json()
        return _one(told, kind)

    def update(self, kind: str, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record."""
        path = f"/rest/{_PLURALS[kind]}/{record_id}"
        self._client.send("PATCH", path, json=values, repeat=True)

    # -- the workspace itself --------------------------------------------------------------

    def schemas(self) -> Mapping[str, Schema]:
        """What people and opportunities are made of, by object."""
        return {
            told["nameSingular"]: Schema(
                id=told["id"],
                fields={field["name"]: field["id"] for field in told["fields"]},
                stages=_stages(told["fields"]),
            )
            for told in self._all(f"{_METADATA}/objects", "objects")
            if told["nameSingular"] in _PLURALS
        }

    def create_field(self, schema: Schema, name: str, label: str, kind: str) -> None:
        """Make a custom field of a type such as TEXT."""
        values = {"objectMetadataId": schema.id, "name": name, "label": label, "type": kind}
        self._client.send("POST", f"{_METADATA}/fields", json=values)

    def delete_field(self, field_id: str) -> None:
        """Delete a custom field with what it holds; Twenty wants it to be inactive before."""
        path = f"{_METADATA}/fields/{field_id}"
        self._client.send("PATCH", path, json={"isActive": False}, repeat=True)
        self._client.send("DELETE", path)

    def webhooks(self) -> Sequence[Mapping[str, Any]]:
        """All webhooks of the workspace."""
        return [*self._all(f"{_METADATA}/webhooks", "webhooks")]

    def create_webhook(self, values: Mapping[str, Any]) -> None:
        """Make a webhook."""
        self._client.send("POST", f"{_METADATA}/webhooks", json=values)

    def update_webhook(self, webhook_id: str, values: Mapping[str, Any]) -> None:
        """Change a webhook."""
        path = f"{_METADATA}/webhooks/{webhook_id}"
        self._client.send("PATCH", path, json=values, repeat=True)

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook."""
        self._client.send("DELETE", f"{_METADATA}/webhooks/{webhook_id}")

    def _all(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        params: dict[str, Any] = {"limit": PAGE}
        while True:
            told = self._client.get(path, params).json()
            yield from _list(told, name)
            page = told.get("pageInfo") or {} if isinstance(told, dict) else {}
            if not page.get("hasNextPage"):
                return
            params["starting_after"] = page["endCursor"]


def _list(told: Any, name: str) -> list[dict[str, Any]]:
    data = told.get("data") if isinstance(told, dict) else told
    found = data.get(name) if isinstance(data, dict) else data
    if not isinstance(found, list):
        raise TerminalError(f"Twenty answered without {name}: check that the address is its API's.")
    return found


def _one(told: Any, name: str) -> dict[str, Any]:
    data = told.get("data") if isinstance(told, dict) else None
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise Missing(f"Twenty has no such {name}.")
    return found


def _stages(fields: Iterable[Mapping[str, Any]]) -> Sequence[str]:
    options = next((field.get("options") for field in fields if field["name"] == "stage"), None)
    return [str(option["value"]) for option in options or ()]


def _explain(answer: Answer) -> TrackFlowError | None:
    """What Twenty's errors mean; a missing record is 404 or, in some versions, 400."""
    if answer.status < 400:
        return refusal(answer)
    where, says = answer.where, _says(answer)
    if answer.status == 401:
        return ConfigError(f"{where}: Twenty refuses the API key: make a new one. {says}".strip())
    if answer.status == 403:
        return Denied(
            f"{where}: the API key's role may not do this: let it read and edit people and "
            f"opportunities and, to prepare the CRM, edit the data model and webhooks. {says}".strip()
        )
    if "imit reached" in says:
        return RetriableError(f"{where} is asked too often.", retry_after=answer.retry_after)
    if answer.status == 429 or answer.status >= 500:
        return refusal(answer)
    if answer.status == 404 or "not found" in says or "Could not find" in says:
        return Missing(f"{where}: Twenty has no such record. {says}".strip())
    return TerminalError(f"{where}: Twenty refuses this ({answer.status}). {says}".strip())


def _says(answer: Answer) -> str:
    """Twenty's own words for people."""
    try:
        told = json.loads(answer.body)
        messages = told.get("messages") or [told.get("message", "")]
        return " ".join(" ".join(map(str, messages)).split())[:200]
    except (AttributeError, TypeError, ValueError):
        return ""
