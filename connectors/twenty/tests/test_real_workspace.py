"""The same story in a real workspace: TWENTY_URL and TWENTY_KEY (which may provision) name it.

It makes one person and one opportunity and removes them again, with fields and webhook. Use a
workspace for tests: other records are read, never written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from trackflow_core.connectors import Instance, WriteBack
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.sync import pages
from trackflow_http import Client
from trackflow_twenty import TwentyConnection, TwentyConnector, TwentyOptions

URL, KEY = os.environ.get("TWENTY_URL", ""), os.environ.get("TWENTY_KEY", "")
INSTANCE = Instance("twenty/real", "https://trackflow.invalid/hook", ("a-secret-of-the-test",))

pytestmark = pytest.mark.skipif(not (URL and KEY), reason="needs TWENTY_URL and TWENTY_KEY")


def fresh() -> TwentyConnection:
    return TwentyConnector().connect(TwentyOptions(url=URL, key=KEY, currency="EUR"), INSTANCE)


@pytest.fixture
def connection() -> Iterator[TwentyConnection]:
    connected = fresh()
    planned = connected.provision(dry_run=True)
    assert connected.provision(dry_run=False) == planned
    yield connected
    fresh().deprovision(False)


class Workspace:
    """The workspace as its users reach it, beside the connector."""

    def __init__(self) -> None:
        self._client = Client(URL, {"Authorization": f"Bearer {KEY}"})

    def make(self, plural: str, values: Mapping[str, Any]) -> str:
        [made] = self._client.send("POST", f"/rest/{plural}", json=values).json()["data"].values()
        return str(made["id"])

    def read(self, plural: str, record_id: str) -> Mapping[str, Any]:
        [found] = self._client.get(f"/rest/{plural}/{record_id}").json()["data"].values()
        return dict(found)

    def change(self, plural: str, record_id: str, values: Mapping[str, Any]) -> None:
        self._client.send("PATCH", f"/rest/{plural}/{record_id}", json=values)

    def delete(self, plural: str, record_id: str, soft: bool) -> None:
        query = {"soft_delete": str(soft).lower()}
        self._client.send("DELETE", f"/rest/{plural}/{record_id}", params=query)


def test_the_story_in_a_real_workspace(connection: TwentyConnection) -> None:
    assert not fresh().provision(dry_run=False), "provisioning twice made something anew"
    assert [finding.what for finding in fresh().check() if not finding.ok] == []
    workspace, name = Workspace(), f"Zoë Ünal {uuid4().hex[:8]}"
    told = {"name": {"firstName": name, "lastName": ""}, "trackflowToken": "token-of-zoe"}
    person = workspace.make("people", told)
    amount = {"amountMicros": 250_010_000, "currencyCode": "EUR"}
    values = {"name": name, "pointOfContactId": person, "amount": amount, "stage": "NEW"}
    opportunity = workspace.make("opportunities", values)
    try:
        read = [*pages(fresh(), "")]
        events = [event for page in read for event in page.events]
        [lead] = [event for event in events if isinstance(event, Lead) and name in event.name]
        assert lead.visitor_token == "token-of-zoe"
        [opened] = [event for event in events if getattr(event, "lead_ref", "") == lead.ref]
        assert isinstance(opened, Deal) and opened.value == 25_001

        workspace.change("opportunities", opportunity, {"stage": "CUSTOMER"})
        later = [event for page in pages(fresh(), read[-1].cursor) for event in page.events]
        won = [event for event in later if event.ref == opened.ref][-1]
        assert isinstance(won, Deal) and won.status is DealStatus.WON

        moment = lead.came_in_at
        for plural, ref, kind in (
            ("people", lead.ref, "lead"),
            ("opportunities", opened.ref, "deal"),
        ):
            fields = WriteBack(
                ref, kind, source="google", medium="cpc", campaign="Frühling <1>", touch_count=3,
                first_touch_at=moment, last_touch_at=moment, model="Linear", influenced=True,
            )  # fmt: skip
            fresh().write_back(fields)
            record_id = ref.rpartition("/")[2]
            held = workspace.read(plural, record_id)
            assert held["trackflowSource"] == "google" and held["trackflowTouchCount"] == 3
            fresh().write_back(fields)
            assert workspace.read(plural, record_id)["updatedAt"] == held["updatedAt"]

        workspace.delete("opportunities", opportunity, soft=True)
        gone = [event for page in pages(fresh(), read[-1].cursor) for event in page.events]
        last = [event for event in gone if event.ref == opened.ref][-1]
        assert isinstance(last, Deal) and (last.status, last.value) == (DealStatus.LOST, 0)
    finally:
        workspace.delete("opportunities", opportunity, soft=False)
        workspace.delete("people", person, soft=False)
