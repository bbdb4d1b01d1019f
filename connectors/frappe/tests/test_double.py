"""The double answers what a real site was recorded to answer (`frappe_samples.json`).

The recording is of Frappe 15.55.1 with Frappe CRM 1.81.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from trackflow_core.ports import IncomingRequest
from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.signature import check, sign
from trackflow_frappe.testing import FrappeDouble

SAMPLES = json.loads((Path(__file__).parent / "frappe_samples.json").read_text("utf-8"))
REST: Mapping[str, Any] = SAMPLES["rest"]
DELIVERIES: Mapping[str, Any] = SAMPLES["webhook_deliveries"]
SECRET: str = SAMPLES["webhook_secret_used"]

# What the connector asks for, and what it must survive.
REPLAYED = (
    "auth_ok", "auth_bad_key", "auth_none_resource", "time_zone", "versions",
    "custom_field_create", "custom_field_duplicate_417", "lead_create_full", "lead_create_minimal",
    "lead_err_empty", "lead_err_no_first_name", "lead_err_bad_status", "lead_err_bad_email",
    "lead_err_bad_source", "lead_put_status", "lead_put_stale_modified_417",
    "lead_put_lost_without_reason_417", "lead_list_unknown_field_417", "lead_get_404",
    "lead_delete_202", "lead_delete_linked_417", "convert_ok", "deal_get_after_convert",
    "deal_create_empty", "deal_put_won", "deal_put_lost_no_reason_417", "org_create",
    "org_duplicate_409", "lead_source_create", "deal_statuses",
)  # fmt: skip
# The double makes up no traces, and a document's own names and numbers are not compared.
_NOT_COMPARED = {"exc", "_exc_source", "_error_message"}


@pytest.fixture
def site() -> Iterator[FrappeDouble]:
    with FrappeDouble().running() as running:
        yield running


def arrange(site: FrappeDouble, name: str) -> None:
    """What the recorded site held when the request was made."""
    if name != "custom_field_create":
        for field in ("utm_source", "gclid", "attr_json", "attr_first_touch_at"):
            kind = "Datetime" if field.endswith("_at") else "Data"
            for doctype in (LEAD, DEAL):
                site.insert("Custom Field", {"dt": doctype, "fieldname": field, "fieldtype": kind})
    if name != "lead_get_404":
        for number in range(6):
            site.insert(LEAD, {"first_name": f"Anna {number}"})
    if name in ("lead_delete_linked_417", "deal_get_after_convert") or name.startswith("deal_put"):
        site.convert("CRM-LEAD-2026-00005")
    if name == "org_duplicate_409":
        site.insert("CRM Organization", {"organization_name": "Foo USD GmbH"})


def ask(site: FrappeDouble, name: str) -> requests.Response:
    request = REST[name]["request"]
    token = {"auth_bad_key": "token key:wrong", "auth_none_resource": ""}.get(
        name, f"token {site.token}"
    )
    headers = {"Authorization": token} if token else {}
    return requests.request(
        request["method"],
        site.url + request["path"],
        json=request["body"],
        headers=headers,
        timeout=10,
    )


@pytest.mark.parametrize("name", REPLAYED)
def test_it_answers_as_recorded(site: FrappeDouble, name: str) -> None:
    recorded = REST[name]
    arrange(site, name)
    answer = ask(site, name)
    assert answer.status_code == recorded["status"], answer.text
    told, expected = answer.json(), recorded["response"]
    assert told.get("exc_type") == expected.get("exc_type")
    if recorded["status"] >= 400:
        assert told.keys() >= expected.keys() - {*_NOT_COMPARED, "_server_messages", "exception"}
        return
    assert told.keys() == expected.keys()
    for key in told:
        _alike(told[key], expected[key])


def _alike(told: Any, expected: Any) -> None:
    """The same shape: every field that the recorded answer has, of the same type."""
    if not isinstance(expected, dict):
        assert type(told) is type(expected)
        return
    for name, value in expected.items():
        if isinstance(value, dict):
            _alike(told[name], value)
        elif name in told and value is not None and told[name] is not None:
            number = (int, float)
            same = type(told[name]) is type(value)
            assert same or (isinstance(told[name], number) and isinstance(value, number)), name
    for name in ("name", "creation", "modified", "status", "status_change_log", "lead"):
        if name in expected:
            assert told.get(name), f"{name} is missing"


def test_time_stamps_have_the_recorded_form(site: FrappeDouble) -> None:
    site.insert(LEAD, {"first_name": "Anna"})
    held = site.document(LEAD, "CRM-LEAD-2026-00001")
    recorded = REST["lead_create_minimal"]["response"]["data"]
    assert len(held["creation"]) == len(recorded["creation"]) == 26
    row, seen = held["status_change_log"][0], recorded["status_change_log"][0]
    # The site's time is hours ahead of the log's own dates, which are the operating system's.
    assert (row["creation"] > row["from_date"]) == (seen["creation"] > seen["from_date"])
    assert row.keys() <= {*seen, "to_date", "duration"}


@pytest.mark.parametrize(
    "path", [path for path, sent in DELIVERIES.items() if sent["path"] != "/hook/lead-nostruct"]
)
def test_recorded_deliveries_are_verified(path: str) -> None:
    sent = DELIVERIES[path]
    headers = {name.lower(): value for name, value in sent["headers"]}
    body = sent["body"].encode()
    if "x-frappe-webhook-signature" not in headers:
        assert path == "/hook/org-cond" or "signature" not in str(headers)
        return
    assert headers["x-frappe-webhook-signature"] == sign(body, SECRET)
    delivery = check(IncomingRequest(body, headers), [SECRET])
    assert delivery.payload == json.loads(sent["body"], parse_float=str)


def test_webhooks_look_as_recorded(site: FrappeDouble) -> None:
    recorded = DELIVERIES["/hook/lead-after-insert"]
    body = json.loads(recorded["body"])
    fields = ", ".join(f'"{name}": {{{{ doc.{name} | tojson }}}}' for name in list(body)[1:])
    site.insert(
        "Webhook",
        {
            "name": "lead-after-insert",
            "webhook_doctype": LEAD,
            "webhook_docevent": "after_insert",
            "request_url": "http://127.0.0.1:9/hook",
            "webhook_json": f'{{"event": "after_insert", {fields}}}',
            "enabled": 1,
            "enable_security": 1,
            "webhook_secret": SECRET,
            "webhook_headers": [{"key": "Content-Type", "value": "application/json"}],
        },
    )
    kept = {name: body[name] for name in ("status", "email", "organization")}
    site.insert(LEAD, {"first_name": "Björn", **kept})
    [sent] = site.queue
    told = json.loads(sent.body)
    assert list(told) == list(body)
    assert {name: told[name] for name in kept} == kept
    # Byte for byte as Frappe writes JSON.
    assert sent.body == json.dumps(told).encode()
    assert sent.headers["X-Frappe-Webhook-Signature"] == sign(sent.body, SECRET)
