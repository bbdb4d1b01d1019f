"""Odoo's external API: JSON-2 from Odoo 19 on, XML-RPC for 14 to 18; which one is found out.

JSON-2 is `POST /json/2/<model>/<method>` with a bearer key and named arguments.
"""

from __future__ import annotations

import json
import re
import xmlrpc.client
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Protocol
from xml.parsers.expat import ExpatError

from trackflow_core.errors import ConfigError, TerminalError, TrackFlowError
from trackflow_http import Answer, Client, Pace, refusal

FIRST_JSON2 = 19
OLDEST = 14

_READING = ("search_read", "read", "search", "search_count", "fields_get", "context_get")
_RENEW = "Odoo refuses the API key: make a new one for the user."


class Denied(ConfigError):
    """The key's user may not do this."""


class Gone(TerminalError):
    """There is no such record any more."""


class Rpc(Protocol):
    """Calls of models' methods."""

    def call(
        self, model: str, method: str, ids: Sequence[int] | None = None, **arguments: Any
    ) -> Any:
        """What the method returns. Raises Denied, Gone, or another error by recovery."""


class Odoo:
    """One Odoo database, asked as the owner of an API key."""

    def __init__(self, url: str, database: str, user: str, key: str, pace: Pace | None) -> None:
        self._url, self._database, self._user, self._key = url, database, user, key
        self._pace = pace
        self._date = ""

    @property
    def present(self) -> datetime:
        """The server's clock by its last answer, in whole seconds of UTC; else our own."""
        try:
            return parsedate_to_datetime(self._date).astimezone(timezone.utc)
        except (TypeError, ValueError):
            return datetime.now(timezone.utc)

    @cached_property
    def version(self) -> int:
        """The server's major version. Raises ConfigError when it is older than `OLDEST`."""
        client = Client(self._url, pace=self._pace, explain=self._explain)
        try:
            answer = _post_xml(client, "common", "version", (), repeat=True)
        except Gone:
            # XML-RPC is going to be removed; what replaces it is already there.
            return FIRST_JSON2
        found = re.search(r"\d+", str(answer.get("server_version", "")))
        version = int(found[0]) if found else 0
        if version < OLDEST:
            raise ConfigError(
                f"{self._url} runs Odoo {answer.get('server_version')}; {OLDEST} is the oldest."
            )
        return version

    def call(
        self, model: str, method: str, ids: Sequence[int] | None = None, **arguments: Any
    ) -> Any:
        """What a model's method returns; dates are texts in UTC."""
        return self._rpc.call(model, method, ids, **arguments)

    @cached_property
    def _rpc(self) -> Rpc:
        if self.version >= FIRST_JSON2:
            headers = {
                "Authorization": f"bearer {self._key}",
                "X-Odoo-Database": self._database,
            }
            return _Json2(Client(self._url, headers, self._pace, self._explain))
        client = Client(self._url, pace=self._pace, explain=self._explain)
        return _XmlRpc(client, self._database, self._user, self._key)

    def _explain(self, answer: Answer) -> TrackFlowError | None:
        self._date = answer.headers.get("date", "")
        if answer.status < 400:
            return refusal(answer)
        told = _told(answer)
        where, name = answer.where, str(told.get("name", ""))
        says = " ".join(str(told.get("message", "")).split())[:200]
        if answer.status == 401:
            return ConfigError(f"{where}: {_RENEW}")
        if answer.status == 403:
            return Denied(f"{where}: the key's user may not do this: {says}")
        if answer.status == 404:
            return Gone(f"{where}: {says or 'there is nothing here: check address and database.'}")
        # A 500 with a name is an exception of Odoo's own, which will come again.
        if name and answer.status != 429 and not name.startswith("psycopg2"):
            return TerminalError(f"{where}: {name.rpartition('.')[2]}: {says}")
        return refusal(answer)


class _Json2:
    def __init__(self, client: Client) -> None:
        self._client = client

    def call(
        self, model: str, method: str, ids: Sequence[int] | None = None, **arguments: Any
    ) -> Any:
        content = {**arguments, **({} if ids is None else {"ids": list(ids)})}
        repeat = method in (*_READING, "write")
        path = f"/json/2/{model}/{method}"
        return self._client.send("POST", path, json=content, repeat=repeat).json()


class _XmlRpc:
    def __init__(self, client: Client, database: str, user: str, key: str) -> None:
        self._client, self._database, self._user, self._key = client, database, user, key

    def call(
        self, model: str, method: str, ids: Sequence[int] | None = None, **arguments: Any
    ) -> Any:
        if method == "create":
            # Before Odoo 17 the argument has another name.
            positional: list[Any] = [arguments.pop("vals_list")]
        else:
            positional = [] if ids is None else [list(ids)]
        parameters = (
            self._database, self._uid, self._key, model, method, positional, arguments,
        )  # fmt: skip
        repeat = method in (*_READING, "write")
        return _post_xml(self._client, "object", "execute_kw", parameters, repeat=repeat)

    @cached_property
    def _uid(self) -> int:
        parameters: tuple[Any, ...] = (self._database, self._user, self._key, {})
        uid = _post_xml(self._client, "common", "authenticate", parameters, repeat=True)
        if not uid:
            raise ConfigError(f"{_RENEW} Check the user's login, too.")
        return int(uid)


def _post_xml(
    client: Client, service: str, method: str, parameters: tuple[Any, ...], *, repeat: bool
) -> Any:
    body = xmlrpc.client.dumps(parameters, method, allow_none=True).encode()
    answer = client.send(
        "POST", f"/xmlrpc/2/{service}", body=body, headers={"Content-Type": "text/xml"}, repeat=repeat
    )  # fmt: skip
    try:
        [value], _ = xmlrpc.client.loads(answer.body, use_builtin_types=True)
    except xmlrpc.client.Fault as fault:
        raise _fault(answer.where, fault) from None
    except (ExpatError, ValueError, xmlrpc.client.ResponseError):
        raise TerminalError(f"{answer.where}: this is no Odoo: check the address.") from None
    return value


def _fault(where: str, fault: xmlrpc.client.Fault) -> TrackFlowError:
    """Odoo's faults: 3 access denied, 4 no access right, 2 refused for a reason, 1 a traceback."""
    lines = str(fault.faultString).strip().splitlines() or [""]
    says = lines[-1][:200]
    if fault.faultCode == 3:
        return ConfigError(f"{where}: {_RENEW}")
    if fault.faultCode == 4:
        return Denied(f"{where}: the key's user may not do this: {lines[0][:200]}")
    if "does not exist or has been deleted" in str(fault.faultString):
        return Gone(f"{where}: {lines[0][:200]}")
    return TerminalError(f"{where}: {says}")


def _told(answer: Answer) -> Mapping[str, Any]:
    try:
        told = json.loads(answer.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
