"""A real Odoo 19 without our addon, read and written from elsewhere, by JSON-2 and by XML-RPC."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.environment import odoo_server
from tests.environment.odoo_server import RunningOdoo
from trackflow_core.connectors import Instance, Page, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent, TerminalError
from trackflow_core.model import Deal, Lead
from trackflow_core.options import configure
from trackflow_core.sync import pages
from trackflow_core.testing import RemoteContract
from trackflow_http import Pace
from trackflow_odoo import OdooConnection, OdooConnector, OdooOptions
from trackflow_odoo import rpc as rpc_module
from trackflow_odoo.remote import ADDON_FIELDS, FIELDS, TOKEN, _Ids

UTC = timezone.utc
QUICK = Pace(per_second=0, sleep=lambda seconds: None)
INSTANCE = Instance("odoo/main")
_KEYS = """
keys = env['res.users.apikeys'].with_user(env.ref('base.user_admin'))
print('KEYS', *(keys._generate('rpc', f'TrackFlow {n}', None) for n in range(2)))
env.cr.commit()
"""


class Proxy:
    """What stands before Odoo, tells our clock instead of its own, and answers in its place when a
    dial says so."""

    def __init__(self, target: str) -> None:
        self.failures = 0
        self.retry_after: float | None = None
        self.clock = datetime.now(UTC)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if proxy.failures > 0:
                    proxy.failures -= 1
                    self.send_response(503)
                    if proxy.retry_after is not None:
                        self.send_header("Retry-After", f"{proxy.retry_after:.0f}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                kept = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in ("host", "content-length", "accept-encoding")
                }
                answer = requests.post(target + self.path, data=body, headers=kept, timeout=60)
                self.send_response_only(answer.status_code)
                present = proxy.clock + timedelta(seconds=2)
                self.send_header("Date", format_datetime(present, usegmt=True))
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class OdooRemote:
    """The kit's hands on a database. Its clock is ours: stamps are set past Odoo, a minute each."""

    instance = INSTANCE

    def __init__(self, odoo: RunningOdoo, keys: Sequence[str], proxy: Proxy) -> None:
        self.odoo, self.keys, self.proxy = odoo, keys, proxy
        self.secrets = [*keys]
        self.clock = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=12)
        proxy.clock = self.clock
        self.key = keys[0]
        self.odoo.sql("UPDATE res_users_apikeys SET scope = 'rpc'")

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"bearer {self.key}", "X-Odoo-Database": self.odoo.database}
        url = f"{self.odoo.url}/json/2/{model}/{method}"
        answer = requests.post(url, json=arguments, headers=headers, timeout=60)
        assert answer.ok, answer.text[:500]
        return answer.json()

    def clean(self) -> None:
        context = {"active_test": False}
        leads = self.call("crm.lead", "search", domain=[], context=context)
        self.call("crm.lead", "unlink", ids=leads)
        names = [["model", "=", "crm.lead"], ["name", "in", [field.name for field in FIELDS]]]
        fields = self.call("ir.model.fields", "search", domain=names)
        if fields:
            self.call("ir.model.fields", "unlink", ids=fields)

    def stamp(self, number: int, *, made: bool = False, late: timedelta = timedelta()) -> None:
        self.clock += timedelta(minutes=1)
        self.proxy.clock = self.clock
        moment = (self.clock - late).replace(tzinfo=None)
        self.odoo.sql("UPDATE crm_lead SET write_date = %s WHERE id = %s", moment, number)
        if made:
            self.odoo.sql("UPDATE crm_lead SET create_date = %s WHERE id = %s", moment, number)

    def options(self) -> Mapping[str, Any]:
        return {
            "url": self.proxy.url,
            "database": self.odoo.database,
            "user": "admin",
            "api_key": self.key,
            "page_size": 2,
        }

    def now(self) -> datetime:
        return self.clock

    def make(self, late: timedelta = timedelta(), **values: Any) -> str:
        [number] = self.call("crm.lead", "create", vals_list=[values])
        self.stamp(number, made=True, late=late)
        return f"odoo/main/{number}"

    def change(self, ref: str, **values: Any) -> None:
        self.call("crm.lead", "write", ids=[_id(ref)], vals=values)
        self.stamp(_id(ref))

    def add_lead(self, name: str, visitor_token: str = "") -> str:
        token = {TOKEN: visitor_token} if visitor_token else {}
        return self.make(name=name, type="lead", **token)

    def add_deal(self, lead: str, value: int, currency: str) -> str:
        told = {"type": "opportunity", "expected_revenue": value / 100}
        [held] = self.call("crm.lead", "read", ids=[_id(lead)], fields=["type"])
        if held["type"] == "opportunity":
            return self.make(name="Another", **told)
        self.change(lead, **told)
        return lead

    def win(self, deal: str) -> None:
        self.call("crm.lead", "action_set_won", ids=[_id(deal)])
        self.stamp(_id(deal))

    def rename(self, lead: str, name: str) -> None:
        self.change(lead, name=name)

    def delete_deal(self, deal: str) -> None:
        self.call("crm.lead", "unlink", ids=[_id(deal)])

    def spoil_deal(self, deal: str) -> str:
        self.odoo.sql("UPDATE crm_lead SET won_status = 'maybe' WHERE id = %s", _id(deal))
        return "won_status"

    def add_late_lead(self, name: str) -> str:
        return self.make(late=timedelta(minutes=3), name=name, type="lead")

    def marketing(self, ref: str, kind: str) -> Mapping[str, Any]:
        fields = [field for field in FIELDS if field.kind == kind]
        names = [field.name for field in fields]
        [held] = self.call("crm.lead", "read", ids=[_id(ref)], fields=names)
        return {field.holds: _plain(field.type, held[field.name]) for field in fields}

    def changes(self) -> int:
        # Every write gives a row a new transaction.
        return int(self.odoo.sql("SELECT coalesce(sum(xmin::text::bigint), 0) FROM crm_lead")[0][0])

    def fail(self, times: int, retry_after: float | None = None) -> None:
        self.proxy.failures, self.proxy.retry_after = times, retry_after

    def expire_credentials(self) -> None:
        index = self.key[:8]
        self.odoo.sql("UPDATE res_users_apikeys SET scope = 'expired' WHERE index = %s", index)
        self.key = self.keys[1]


def _id(ref: str) -> int:
    return int(ref.rpartition("/")[2])


def _plain(kind: str, value: Any) -> Any:
    if kind == "datetime" and value:
        return datetime.fromisoformat(value).replace(tzinfo=UTC).isoformat()
    if kind == "char":
        return value or ""
    return value if kind != "datetime" else None


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[RunningOdoo, Sequence[str], Proxy]]:
    with odoo_server.fresh(["crm"]) as odoo:
        [keys] = re.findall(r"^KEYS (\S+) (\S+)$", odoo.shell(_KEYS), re.MULTILINE)
        proxy = Proxy(odoo.url)
        yield odoo, keys, proxy
        proxy.close()


@pytest.mark.slow
class TestJson2(RemoteContract):
    """The kit by JSON-2."""

    connector = OdooConnector(QUICK)
    currency = "USD"
    huge_value = 10**14 + 1

    @pytest.fixture(autouse=True)
    def _real(self, real: tuple[RunningOdoo, Sequence[str], Proxy]) -> None:
        self.real = real

    @contextmanager
    def remote(self) -> Iterator[OdooRemote]:
        remote = OdooRemote(*self.real)
        remote.clean()
        yield remote


@pytest.mark.slow
class TestXmlRpc(TestJson2):
    """The kit by XML-RPC, as an Odoo before 19 is asked: what lies above the transport is tested
    once."""

    test_every_page_may_be_the_last_before_a_crash = None  # type: ignore[assignment]
    test_catching_up_tells_what_changed = None  # type: ignore[assignment]
    test_what_was_committed_late_is_not_missed = None  # type: ignore[assignment]

    @pytest.fixture(autouse=True)
    def _older(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rpc_module, "FIRST_JSON2", 99)


@pytest.fixture
def remote(real: tuple[RunningOdoo, Sequence[str], Proxy]) -> OdooRemote:
    made = OdooRemote(*real)
    made.clean()
    return made


def test_whose_key_it_is_has_to_be_said() -> None:
    with pytest.raises(ConfigError, match="user"):
        configure(OdooOptions, {"url": "https://odoo.example", "database": "x", "api_key": "k"})


def connect(remote: OdooRemote, **changes: Any) -> OdooConnection:
    options = OdooOptions(
        **{**remote.options(), **changes}  # type: ignore[arg-type]
    )
    return OdooConnector(QUICK).connect(options, INSTANCE)


def read(remote: OdooRemote, cursor: str = "") -> list[Page]:
    return list(pages(connect(remote), cursor))


@pytest.mark.slow
def test_many_records_of_one_second_are_all_read(remote: OdooRemote) -> None:
    refs = {remote.make(name=f"Zoë {number}", type="lead") for number in range(7)}
    moment = remote.clock.replace(tzinfo=None)
    remote.odoo.sql("UPDATE crm_lead SET write_date = %s", moment)
    assert {event.ref for page in read(remote) for event in page.events} == refs


@pytest.mark.slow
def test_what_was_written_this_second_waits_for_the_next_round(remote: OdooRemote) -> None:
    [number] = remote.call("crm.lead", "create", vals_list=[{"name": "Zoë", "type": "lead"}])
    soon = remote.clock.replace(tzinfo=None) + timedelta(seconds=30)
    remote.odoo.sql("UPDATE crm_lead SET write_date = %s WHERE id = %s", soon, number)
    found = read(remote)
    assert not [event for page in found for event in page.events]
    settled = soon - timedelta(minutes=1)
    remote.odoo.sql("UPDATE crm_lead SET write_date = %s WHERE id = %s", settled, number)
    [lead] = [event for page in read(remote, found[-1].cursor) for event in page.events]
    assert lead.name == "Zoë"


@pytest.mark.slow
def test_archived_and_lost_records_are_read(remote: OdooRemote) -> None:
    deal = remote.make(name="Zoë", type="opportunity", expected_revenue=5)
    remote.call("crm.lead", "action_set_lost", ids=[_id(deal)])
    remote.stamp(_id(deal))
    [found] = [e for page in read(remote) for e in page.events if isinstance(e, Deal)]
    assert found.status.value == "lost"


@pytest.mark.slow
def test_other_companies_and_currencies_are_read(remote: OdooRemote) -> None:
    [euro] = remote.call(
        "res.currency", "search", domain=[["name", "=", "EUR"]], context={"active_test": False}
    )
    remote.call("res.currency", "write", ids=[euro], vals={"active": True})
    [company] = remote.call(
        "res.company", "create", vals_list=[{"name": "Zweite GmbH", "currency_id": euro}]
    )
    remote.call("res.users", "write", ids=[2], vals={"company_ids": [[4, company]]})
    ref = remote.make(
        name="Zoë", type="opportunity", expected_revenue=5.5, company_id=company, team_id=False
    )
    [deal] = [e for page in read(remote) for e in page.events if isinstance(e, Deal)]
    assert (deal.ref, deal.value, deal.currency) == (ref, 550, "EUR")


@pytest.mark.slow
def test_a_merge_leaves_one_deal_worth_something(remote: OdooRemote) -> None:
    deals = [remote.make(name="Zoë", type="opportunity", expected_revenue=5) for _ in range(2)]
    found = read(remote)
    remote.call("crm.lead", "merge_opportunity", ids=[_id(ref) for ref in deals])
    [kept] = remote.call("crm.lead", "search", domain=[])
    remote.stamp(kept)
    told = [event for page in read(remote, found[-1].cursor) for event in page.events]
    last = {event.ref: event for event in told if isinstance(event, Deal)}
    assert {ref: bool(deal.value) for ref, deal in last.items()} == {
        ref: _id(ref) == kept for ref in deals
    }


@pytest.mark.slow
def test_the_journeys_of_merged_leads_are_joined(remote: OdooRemote) -> None:
    alone = remote.make(name="Ida", type="lead")
    first, second = (remote.make(name="Zoë", type=kind) for kind in ("lead", "opportunity"))
    other = remote.make(name="Ben", type="lead")
    third, fourth = (remote.make(name="Ben", type="lead") for _ in range(2))
    gone = remote.make(name="Max", type="lead")
    found = read(remote)
    assert not [merge for page in found for merge in page.merges]
    remote.delete_deal(gone)
    for refs in ((first, second), (other, third, fourth)):
        remote.call("crm.lead", "merge_opportunity", ids=[_id(ref) for ref in refs])
    for kept in remote.call("crm.lead", "search", domain=[]):
        remote.stamp(kept)
    remote.odoo.sql("UPDATE mail_message SET write_date = %s", remote.clock.replace(tzinfo=None))
    merged = {
        merge.winner: merge.losers
        for page in read(remote, found[-1].cursor)
        for merge in page.merges
    }
    kept = {f"odoo/main/{number}" for number in remote.call("crm.lead", "search", domain=[])}
    assert set(merged) == kept - {alone}
    groups = [frozenset({winner}) | losers for winner, losers in merged.items()]
    assert sorted(groups, key=len) == [{first, second}, {other, third, fourth}]


@pytest.mark.slow
def test_odoos_own_utm_fields_are_filled_where_they_are_empty(remote: OdooRemote) -> None:
    connect(remote).provision(dry_run=False)
    ref = remote.make(name="Zoë", type="lead")
    [newsletter] = remote.call("utm.source", "create", vals_list=[{"name": "Newsletter 100%_x"}])
    told = WriteBack(ref, "lead", source="newsletter 100%_x", medium="tfm-new", touch_count=1)
    connect(remote).write_back(told)
    fields = ["source_id", "medium_id", "x_trackflow_source"]
    [held] = remote.call("crm.lead", "read", ids=[_id(ref)], fields=fields)
    assert held["source_id"][0] == newsletter and held["medium_id"] is False
    connect(remote, create_utm=True).write_back(told)
    [held] = remote.call("crm.lead", "read", ids=[_id(ref)], fields=fields)
    assert held["medium_id"][1] == "tfm-new"
    other = WriteBack(ref, "lead", source="google", medium="cpc", touch_count=2)
    connect(remote, create_utm=True).write_back(other)
    [held] = remote.call("crm.lead", "read", ids=[_id(ref)], fields=fields)
    assert held["source_id"][0] == newsletter, "what somebody chose is kept"
    assert held["x_trackflow_source"] == "google"


@pytest.mark.slow
def test_a_user_without_the_right_is_told(remote: OdooRemote) -> None:
    script = """
user = env['res.users'].create({'name': 'Sam', 'login': 'sam', 'group_ids': [
    (4, env.ref('sales_team.group_sale_salesman_all_leads').id)]})
print('KEY', env['res.users.apikeys'].with_user(user).sudo()._generate('rpc', 'Sam', None))
env.cr.commit()
"""
    [key] = re.findall(r"^KEY (\S+)$", remote.odoo.shell(script), re.MULTILINE)
    sam = connect(remote, api_key=key, user="sam")
    remote.make(name="Zoë", type="lead")
    [lead] = [event for page in pages(sam, "") for event in page.events]
    assert isinstance(lead, Lead)
    with pytest.raises(ConfigError, match="may not do this"):
        sam.provision(dry_run=False)


@pytest.mark.slow
def test_an_address_that_is_no_odoo_is_told() -> None:
    proxy = Proxy("http://127.0.0.1:9")
    proxy.failures, proxy.retry_after = 10**6, 3600
    options = OdooOptions(url=proxy.url, database="x", user="admin", api_key="k")
    with pytest.raises(Exception, match="503"):
        OdooConnector(QUICK).connect(options, INSTANCE).check()
    proxy.close()


def test_ids_are_written_in_few_letters() -> None:
    ids = _Ids([*range(1, 500), 502, 504, 505])
    assert str(ids) == "1-499,502,504-505"
    assert str(_Ids.read(str(ids))) == str(ids)
    ids.remove([2])
    assert str(ids) == "1,3-499,502,504-505" and ids.without([*range(1, 505)]) == [505]


@pytest.mark.parametrize("cursor", ["no json", "[]", '{"colour": "red"}'])
def test_a_cursor_of_another_connector_is_refused(cursor: str) -> None:
    options = OdooOptions(url="http://127.0.0.1:9", database="x", user="admin", api_key="k")
    with pytest.raises(ConfigError, match="begin anew"):
        OdooConnector(QUICK).connect(options, INSTANCE).poll(cursor)


def test_a_ref_of_another_crm_is_refused() -> None:
    options = OdooOptions(url="http://127.0.0.1:9", database="x", user="admin", api_key="k")
    connection = OdooConnector(QUICK).connect(options, INSTANCE)
    for ref in ("odoo/main/", "odoo/main/x", "frappe/acme/1"):
        with pytest.raises((InvalidEvent, TerminalError), match="no lead of odoo/main"):
            connection.write_back(WriteBack(ref, "lead"))


@pytest.fixture(scope="module")
def with_addon() -> Iterator[OdooRemote]:
    with odoo_server.fresh(["trackflow"]) as odoo:
        [keys] = re.findall(r"^KEYS (\S+) (\S+)$", odoo.shell(_KEYS), re.MULTILINE)
        proxy = Proxy(odoo.url)
        yield OdooRemote(odoo, keys, proxy)
        proxy.close()


@pytest.mark.slow
def test_where_the_addon_is_installed_its_fields_are_written(with_addon: OdooRemote) -> None:
    remote = with_addon
    [change] = connect(remote).provision(dry_run=False)
    assert change.what == "the field TrackFlow Token on leads"
    findings = connect(remote).check()
    assert all(finding.ok for finding in findings)
    assert any("TrackFlow is installed there" in finding.what for finding in findings)
    ref = remote.add_lead("Zoë asks", visitor_token="abc")
    [lead] = [event for page in read(remote) for event in page.events]
    assert isinstance(lead, Lead) and lead.visitor_token == "abc"

    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    told = WriteBack(
        ref, "lead", touch_count=2, first_touch_at=moment, last_touch_at=moment, influenced=True,
        source="google", first_touch_source="google", last_touch_source="newsletter",
        last_touch_medium="email", last_touch_campaign="Frühling",
    )  # fmt: skip
    names = [
        *(field.name for field in ADDON_FIELDS),
        "trackflow_attributed_elsewhere",
        "trackflow_attribution_model_id",
    ]

    def held() -> Mapping[str, Any]:
        [found] = remote.call("crm.lead", "read", ids=[_id(ref)], fields=names)
        return {name: value for name, value in found.items() if name != "id"}

    connect(remote).write_back(told)
    expected = {
        "trackflow_source": "newsletter",
        "trackflow_medium": "email",
        "trackflow_campaign": "Frühling",
        "trackflow_first_touch_source": "google",
        "trackflow_last_touch_source": "newsletter",
        "trackflow_first_touch_date": "2026-03-01 12:00:00",
        "trackflow_last_touch_date": "2026-03-01 12:00:00",
        "trackflow_touch_count": 2,
        "trackflow_marketing_influenced": True,
        "trackflow_attributed_elsewhere": True,
        "trackflow_attribution_model_id": False,
    }
    assert held() == expected
    before = remote.changes()
    connect(remote).write_back(told)
    connect(remote).write_back(WriteBack(ref, "deal", model="Linear", touch_count=2))
    assert remote.changes() == before

    remote.change(ref, type="opportunity", expected_revenue=250.0)
    remote.win(ref)
    assert held() == expected, "its own TrackFlow, which knows of no touch, took it away"

    connect(remote).write_back(WriteBack(ref, "lead"))
    assert not any(held().values())

    remote.odoo.sql("UPDATE crm_lead SET trackflow_touch_count = 1 WHERE id = %s", _id(ref))
    connect(remote).write_back(told)
    assert held()["trackflow_touch_count"] == 1, "that Odoo saw the visitor itself"
