"""A Frappe site's REST API, as far as the connector needs it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from trackflow_core.errors import ConfigError, TerminalError, TrackFlowError
from trackflow_http import Answer, Client, Pace, refusal

_NAMES_AT_A_TIME = 100
"""Names in one filter: the query must fit into a proxy's 8 KB for a request line."""


class Denied(ConfigError):
    """The token's user may not do this."""


class Missing(TerminalError):
    """There is no such document."""


class Site:
    """The site at `url`, asked with a token "<api_key>:<api_secret>"."""

    def __init__(self, url: str, token: str, pace: Pace | None = None) -> None:
        credentials = {"Authorization": f"token {token}", "Accept": "application/json"}
        self._client = Client(url, credentials, pace, _explain)
        self._clock: datetime | None = None

    @property
    def clock(self) -> datetime | None:
        """The site's present by its last answer, in UTC and whole seconds, where it told one."""
        return self._clock

    # -- documents -------------------------------------------------------------------------

    def documents(
        self,
        doctype: str,
        fields: Iterable[str],
        filters: Sequence[Sequence[Any]] = (),
        *,
        order_by: str = "",
        limit: int = 0,
        parent: str = "",
    ) -> list[dict[str, Any]]:
        """The documents that meet all filters; 0 for no limit."""
        params = {
            "fields": json.dumps([*fields]),
            "filters": json.dumps([*filters]),
            "limit_page_length": limit,
        }
        params |= {"order_by": order_by} if order_by else {}
        params |= {"parent": parent} if parent else {}
        return self._data("GET", _path(doctype), params=params)  # type: ignore[no-any-return]

    def documents_named(
        self,
        doctype: str,
        fields: Iterable[str],
        names: Iterable[str],
        by: str = "name",
        parent: str = "",
    ) -> list[dict[str, Any]]:
        """The documents whose field `by` is one of `names`."""
        wanted, found = sorted(set(names)), []
        for start in range(0, len(wanted), _NAMES_AT_A_TIME):
            part = wanted[start : start + _NAMES_AT_A_TIME]
            found += self.documents(doctype, fields, [[by, "in", part]], parent=parent)
        return found

    def document(self, doctype: str, name: str) -> dict[str, Any]:
        """A document with its child tables; empty fields are left out. Raises Missing."""
        return self._data("GET", _path(doctype, name))  # type: ignore[no-any-return]

    def exists(self, doctype: str, name: str) -> bool:
        """Whether there is a document of this name."""
        try:
            self.document(doctype, name)
        except Missing:
            return False
        return True

    def create(self, doctype: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Make a document."""
        return self._data("POST", _path(doctype), values)  # type: ignore[no-any-return]

    def update(self, doctype: str, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change a document; returns all of it. A field that does not exist is ignored by Frappe."""
        return self._data("PUT", _path(doctype, name), values)  # type: ignore[no-any-return]

    def delete(self, doctype: str, name: str) -> None:
        """Delete a document."""
        self._data("DELETE", _path(doctype, name))

    # -- the site itself -------------------------------------------------------------------

    def user(self) -> str:
        """Whose token it is."""
        return str(self._call("frappe.auth.get_logged_user"))

    def versions(self) -> Mapping[str, str]:
        """The version of each installed app."""
        told = self._call("frappe.utils.change_log.get_versions")
        return {app: str(about.get("version", "")) for app, about in dict(told).items()}

    def time_zone(self) -> str:
        """The IANA name of the zone in which the site writes its times."""
        return str(self._call("frappe.client.get_time_zone")["time_zone"])

    def count(self, doctype: str) -> int:
        """How many documents there are, whether the user may see them or not."""
        return int(self._call("frappe.client.get_count", {"doctype": doctype}))

    def fields_of(self, doctype: str) -> frozenset[str]:
        """The names of all fields of a doctype, custom ones too."""
        answer = self._send(
            "GET", "/api/method/frappe.desk.form.load.getdoctype", params={"doctype": doctype}
        )
        for found in answer.json().get("docs", ()):
            if found.get("name") == doctype:
                return frozenset(field["fieldname"] for field in found["fields"])
        return frozenset()

    def _call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._send("GET", f"/api/method/{method}", params=params).json()["message"]

    def _data(
        self,
        method: str,
        path: str,
        values: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        return self._send(method, path, values, params).json()["data"]

    def _send(
        self,
        method: str,
        path: str,
        values: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        answer = self._client.send(method, path, params=params, json=values)
        sent = answer.headers.get("date", "")
        try:
            self._clock = parsedate_to_datetime(sent).astimezone(timezone.utc)
        except (TypeError, ValueError):
            self._clock = None
        return answer


def _path(doctype: str, name: str = "") -> str:
    path = f"/api/resource/{quote(doctype, safe='')}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _explain(answer: Answer) -> TrackFlowError | None:
    """What Frappe's errors mean: 417 and 409 are final, and so is a 500 about a value."""
    if answer.status < 400:
        return refusal(answer)
    told = _told(answer)
    where, says = answer.where, _says(told)
    kind = str(told.get("exc_type", ""))
    if answer.status == 401:
        return ConfigError(
            f"{where}: Frappe refuses the token: make a new API secret for its user. {says}".strip()
        )
    if answer.status == 403:
        return Denied(
            f"{where}: the token's user may not do this: give it the role Sales Manager, "
            f"and System Manager to prepare the CRM. {says}".strip()
        )
    if answer.status == 404 and not kind:
        # Frappe names the type of every error of its own.
        return ConfigError(f"{where}: no Frappe answers here: check the address.")
    if answer.status == 404:
        return Missing(f"{where}: Frappe has no such document. {says}".strip())
    if answer.status == 500 and "Incorrect datetime value" in str(told.get("exception", "")):
        return TerminalError(f"{where}: Frappe refuses a time.")
    if answer.status == 429 or answer.status >= 500:
        return refusal(answer)
    return TerminalError(f"{where}: Frappe refuses this ({answer.status} {kind}). {says}".strip())


def _told(answer: Answer) -> Mapping[str, Any]:
    try:
        told = json.loads(answer.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _says(told: Mapping[str, Any]) -> str:
    """Frappe's own words for people, without markup; they are JSON in JSON."""
    try:
        messages = [json.loads(item)["message"] for item in json.loads(told["_server_messages"])]
    except (KeyError, TypeError, ValueError):
        return ""
    plain = html.unescape(re.sub(r"<[^>]*>", "", " ".join(map(str, messages))))
    return " ".join(plain.split())[:200]
