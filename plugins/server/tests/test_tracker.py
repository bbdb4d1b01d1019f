"""What a website tells the server, over real HTTP."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
import requests
from sqlalchemy import select

from trackflow_core import tracker
from trackflow_core.testing.facts import BROWSER
from trackflow_core.tracking import identity
from trackflow_server.store import schema

pytestmark = pytest.mark.slow

GRANTED = {"trackflow_consent": "granted"}


def event(**changes: Any) -> dict[str, Any]:
    told = {"id": secrets.token_hex(16), "type": "page_view", "url": "https://shop.example/p"}
    return {**told, "age": 0, **changes}


def tell(server: Any, *events: Any, **options: Any) -> requests.Response:
    body = json.dumps({"events": events, **options.pop("more", {})})
    headers = {"User-Agent": BROWSER, **options.pop("headers", {})}
    return requests.post(
        f"{server.url}/trackflow/collect", body, headers=headers, timeout=20, **options
    )


def test_the_script_is_served_and_kept(server: Any) -> None:
    answer = server.get("/trackflow/t.js")
    assert answer.content == tracker.script()
    assert answer.headers["Content-Type"].startswith("text/javascript")
    again = server.get("/trackflow/t.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_who_agreed_is_known(server: Any) -> None:
    before = _count(server)
    first = tell(server, event(), cookies=GRANTED)
    cookie = first.cookies[identity.COOKIE_NAME]
    assert first.json()["token"]
    told = event(type="signup", data={"plan": "größer"})
    tell(server, told, told, cookies={**GRANTED, identity.COOKIE_NAME: cookie})
    viewed, signed = server.clicks(before + 2)[-2:]
    assert (viewed["kind"], signed["kind"]) == ("page_view", "signup")
    assert viewed["visitor_id"] == signed["visitor_id"] == cookie[:32]
    assert signed["data"] == '{"plan": "größer"}'


def test_without_consent_events_are_mere_counts(server: Any) -> None:
    before = _count(server)
    for cookies in ({}, GRANTED):
        answer = tell(server, event(), more={"consent": "denied"}, cookies=cookies)
        assert (answer.json(), answer.cookies.get(identity.COOKIE_NAME)) == ({}, None)
    for row in server.clicks(before + 2)[-2:]:
        assert (row["visitor_id"], row["ip"], row["tier"]) == (None, "", "aggregate")


def test_what_is_wrong_is_said(server: Any) -> None:
    assert tell(server, event(id="x")).json()["errors"] == [
        "Event 1: 'id' is not 32 hexadecimal digits."
    ]
    assert tell(server, more={"events": 1}).status_code == 400
    assert tell(server, event(data={"a": "x" * 70_000})).status_code == 413
    evil = tell(server, event(), headers={"Origin": "https://evil.example"})
    assert evil.status_code == 403
    assert "Access-Control-Allow-Origin" not in evil.headers


def test_a_pixel_counts_opened_mails(server: Any) -> None:
    before = _count(server)
    answer = server.get("/trackflow/pixel.gif?utm_campaign=spring&utm_medium=email")
    assert answer.content == tracker.PIXEL
    [row] = server.clicks(before + 1)[-1:]
    assert (row["kind"], row["campaign"], row["visitor_id"]) == ("email_open", "spring", None)


def _count(server: Any) -> int:
    with server.database.reading() as store:
        return len(store.connection.execute(select(schema.click.c.event_id)).all())
