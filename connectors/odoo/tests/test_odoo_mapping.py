"""crm.lead records become leads and deals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.errors import InvalidEvent
from trackflow_core.hooks import load
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.testing import ConnectorContract, InvalidSample, Sample
from trackflow_odoo import (
    ADDON_FIELDS,
    FIELDS,
    STANDARD_FIELDS,
    OdooConnector,
    deal_from_record,
    lead_from_record,
)

UTC = timezone.utc


def record(**changes: Any) -> dict[str, Any]:
    """A won opportunity as `read(FIELDS)` gives it, with the company's currency."""
    values: dict[str, Any] = {
        "id": 17,
        "type": "opportunity",
        "name": "Zoë's façade",
        "contact_name": "Zoë Example",
        "email_from": "zoe@example.com",
        "phone": False,
        "partner_name": "Façade & Söhne",
        "active": True,
        "won_status": "won",
        "expected_revenue": 250.0,
        "create_date": datetime(2026, 3, 1, 8),
        "write_date": datetime(2026, 3, 9, 17, 30, 0, 5),
        "date_closed": datetime(2026, 3, 9, 17, 30),
        "date_conversion": "2026-03-02 10:00:00",
        "trackflow_lead_date": False,
        "trackflow_deal_date": False,
        "trackflow_closed_date": False,
        "currency_name": "EUR",
        "currency_digits": 2,
    }
    return {**values, **changes}


def facts(number: int = 17, **changes: Any) -> tuple[Lead, Deal]:
    """What `record(id=number)` tells."""
    written = datetime(2026, 3, 9, 17, 30, 0, 5, tzinfo=UTC)
    common: dict[str, Any] = {
        "ref": f"kit/shop/{number}",
        "event_id": f"kit/shop/{number}@2026-03-09T17:30:00.000005+00:00",
        "occurred_at": written,
        "name": "Zoë's façade",
    }
    lead = Lead(
        **common,
        created_at=datetime(2026, 3, 1, 8, tzinfo=UTC),
        contact_name="Zoë Example",
        email="zoe@example.com",
        company="Façade & Söhne",
    )
    deal: dict[str, Any] = {
        **common,
        "value": 25_000,
        "currency": "EUR",
        "lead_ref": f"kit/shop/{number}",
        "created_at": datetime(2026, 3, 2, 10, tzinfo=UTC),
        "closed_at": datetime(2026, 3, 9, 17, 30, tzinfo=UTC),
        "status": DealStatus.WON,
    }
    return lead, Deal(**{**deal, **changes})


class TestOdooConnector(ConnectorContract):
    connector = OdooConnector()
    required = (("id",), ("type",), ("currency_name",))

    def samples(self) -> Sequence[Sample]:
        earlier = "2026-03-05 09:00:00"
        when = datetime(2026, 3, 5, 9, tzinfo=UTC)
        event_id = "kit/shop/17@2026-03-05T09:00:00+00:00"
        lead, _ = facts()
        early_lead = Lead(
            ref="kit/shop/17",
            event_id=event_id,
            occurred_at=when,
            created_at=lead.created_at,
            name="Before",
        )
        early = record(
            type="lead",
            write_date=earlier,
            name="Before",
            contact_name=False,
            email_from=False,
            partner_name=False,
        )
        del early["currency_name"]
        huge = facts(18, value=9_007_199_254_740_993, currency="JPY", digits=0)
        return [
            Sample(record(), facts()),
            Sample(early, [early_lead]),
            Sample(
                record(
                    id=18,
                    expected_revenue=9_007_199_254_740_993,
                    currency_name="JPY",
                    currency_digits=0,
                ),
                huge,
            ),
        ]

    def invalid_samples(self) -> Sequence[InvalidSample]:
        return [
            InvalidSample({}, "type"),
            InvalidSample(record(type="task"), "type"),
            InvalidSample(record(id=0), "id"),
            InvalidSample(record(id="17"), "id"),
            InvalidSample(record(id=True), "id"),
            InvalidSample(record(write_date=False, create_date=False), "write_date"),
            InvalidSample(record(write_date="yesterday" * 50), "write_date"),
            InvalidSample(record(date_closed=5), "date_closed"),
            InvalidSample(record(expected_revenue=float("nan")), "expected_revenue"),
            InvalidSample(record(expected_revenue=[1]), "expected_revenue"),
            InvalidSample(record(won_status="maybe"), "won_status"),
            InvalidSample(record(currency_digits=2.5), "currency_digits"),
            InvalidSample(record(currency_name=7), "currency_name"),
        ]


def test_a_lead_is_no_deal() -> None:
    assert deal_from_record(record(type="lead"), "crm.lead") is None
    assert lead_from_record(record(type="lead"), "crm.lead").ref == "crm.lead/17"


def test_empty_fields_are_empty_texts() -> None:
    lead = lead_from_record({"id": 1, "write_date": "2026-01-01 00:00:00"}, "crm.lead")
    assert (lead.name, lead.email, lead.phone, lead.company, lead.contact_name) == ("",) * 5
    assert lead.created_at == lead.occurred_at == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "created_at"),
    [
        ({}, datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ({"date_conversion": False}, datetime(2026, 3, 1, 8, tzinfo=UTC)),
        (
            {"trackflow_deal_date": datetime(2025, 12, 31, 23, 59, 59, 999999)},
            datetime(2025, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
    ],
)
def test_a_deal_begins_where_it_was_converted(
    changes: dict[str, Any], created_at: datetime
) -> None:
    deal = deal_from_record(record(**changes), "crm.lead")
    assert deal is not None and deal.created_at == created_at


def test_the_addons_dates_go_before_odoos() -> None:
    changed = record(
        trackflow_lead_date="2026-02-01 00:00:00", trackflow_closed_date="2026-03-08 00:00:00"
    )
    deal = deal_from_record(changed, "crm.lead")
    assert deal is not None and deal.closed_at == datetime(2026, 3, 8, tzinfo=UTC)
    lead = lead_from_record(changed, "crm.lead")
    assert lead.created_at == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_reopened_deal_has_no_end() -> None:
    deal = deal_from_record(record(won_status="pending"), "crm.lead")
    assert deal is not None
    assert (deal.status, deal.closed_at) == (DealStatus.OPEN, None)


@pytest.mark.parametrize("active", [True, False])
def test_won_status_decides_not_active(active: bool) -> None:
    deal = deal_from_record(record(won_status="lost", active=active), "crm.lead")
    assert deal is not None and deal.status is DealStatus.LOST


@pytest.mark.parametrize(
    ("revenue", "currency", "digits", "value"),
    [
        (0.29, "EUR", 2, 29),
        (False, "EUR", 2, 0),
        (-12.345, "EUR", 2, -1235),
        (1000, "JPY", 0, 1000),
        (1.234, "KWD", 3, 1234),
        (10.0, "EUR", False, 1000),
    ],
)
def test_revenue_becomes_minor_units(
    revenue: object, currency: str, digits: object, value: int
) -> None:
    deal = deal_from_record(
        record(expected_revenue=revenue, currency_name=currency, currency_digits=digits), "n"
    )
    assert deal is not None and deal.value == value


@pytest.mark.parametrize("pair", [(1, "USD"), [1, "USD"]])
def test_the_currency_may_come_as_odoo_reads_a_many2one(pair: object) -> None:
    remote = record(company_currency=pair)
    del remote["currency_name"], remote["currency_digits"]
    deal = deal_from_record(remote, "n")
    assert deal is not None and (deal.currency, deal.digits) == ("USD", 2)


def test_a_bare_currency_id_is_not_enough() -> None:
    remote = record(company_currency=1)
    del remote["currency_name"]
    with pytest.raises(InvalidEvent, match="currency_name"):
        deal_from_record(remote, "n")


@settings(deadline=None)
@given(
    st.datetimes(
        min_value=datetime(1990, 1, 1),
        max_value=datetime(2100, 1, 1),
        timezones=st.sampled_from([None, timezone(timedelta(hours=-5))]),
    )
)
def test_a_date_reads_the_same_in_every_form(moment: datetime) -> None:
    utc = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    forms = [moment, utc.replace(tzinfo=None), str(utc.replace(tzinfo=None))]
    read = {lead_from_record({"id": 1, "write_date": form}, "n").occurred_at for form in forms}
    assert read == {utc}


def test_the_fields_are_those_of_odoo_and_the_addon() -> None:
    assert (*STANDARD_FIELDS, *ADDON_FIELDS) == FIELDS
    assert len(set(FIELDS)) == len(FIELDS)
    assert set(FIELDS) <= set(record())


def test_it_is_found_by_its_entry_point() -> None:
    assert isinstance(load(frozenset({"odoo"})).connectors["odoo"], OdooConnector)
