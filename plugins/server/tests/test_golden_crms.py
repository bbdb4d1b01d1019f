"""One story through every connector: click here, lead and deal in the CRM, credits, fields there.

Then the same facts in other orders, late and twice, on stores of their own: the same bytes.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests
from sqlalchemy import select

from tests.environment import odoo_server
from trackflow_core import hooks
from trackflow_core.connectors import Page
from trackflow_core.engine import Engine
from trackflow_core.model import Click, Link
from trackflow_core.ports import Event
from trackflow_core.sync import pages, take_in
from trackflow_core.tracking import identity
from trackflow_core.tracking.sessions import always
from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.site import Site
from trackflow_frappe.testing import FrappeDouble
from trackflow_server import config as configuration
from trackflow_server import keys
from trackflow_server.connections import Secrets, polling
from trackflow_server.store import Database, schema
from trackflow_server.switchboard import Switchboard
from trackflow_twenty.mapping import OPPORTUNITY, PERSON
from trackflow_twenty.testing import TwentyDouble
from trackflow_webhook import new_secret, sign

pytestmark = pytest.mark.slow
ENVIRONMENT = {"TRACKFLOW_SECRET": "a secret of this test run"}
LINKS = (
    Link("adSpr22", "https://shop.example/", "google", "cpc", "spring"),
    Link("nwsSpr2", "https://shop.example/", "newsletter", "email", "spring"),
)


class Crm(Protocol):
    """A CRM in which the story happens."""

    def add_to(self, board: Switchboard) -> str:
        """Connect it; returns the connector's name."""

    def story(self, url: str, token: str) -> None:
        """A lead with a visitor's token comes in, and its deal of 250.00 is won."""

    def written(self) -> tuple[str, str, int]:
        """What the deal's fields say: first touch's source, last touch's source; of the lead, how
        many touches."""


class WebhookCrm:
    """A system that only sends and takes webhooks."""

    def __init__(self) -> None:
        self.secret = new_secret()
        self.got: dict[str, Any] = {}
        crm = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                crm.got[told["type"]] = told["data"]
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def add_to(self, board: Switchboard) -> str:
        secrets = Secrets({"write_back_secret": new_secret()}, [self.secret])
        board.add("webhook", "main", {"write_back_url": self.url}, secrets, writes_back=True)
        return "webhook/main"

    def story(self, url: str, token: str) -> None:
        deal = {"id": 1, "lead_id": 1, "value": "250.00", "currency": "EUR"}
        self._send(url, "m1", "lead.created", {"id": 1, "name": "Zoë", "visitor_token": token})
        self._send(url, "m2", "deal.created", deal)
        self._send(url, "m3", "deal.won", deal)

    def _send(self, url: str, name: str, kind: str, data: Mapping[str, Any]) -> None:
        now = datetime.now(timezone.utc)
        body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": data}).encode()
        headers = sign(body, self.secret, name, now)
        answer = requests.post(
            f"{url}/trackflow/hooks/webhook/main", data=body, headers=headers, timeout=20
        )
        assert answer.status_code == 202

    def written(self) -> tuple[str, str, int]:
        deal, lead = self.got.get("deal.attributed", {}), self.got.get("lead.attributed", {})
        first, last = deal.get("first_touch_source", ""), deal.get("last_touch_source", "")
        return first, last, lead.get("touch_count", 0)


class FrappeCrm:
    """The double of a Frappe CRM site."""

    def __init__(self, site: FrappeDouble) -> None:
        self.site = site
        self.lead = self.deal = ""

    def add_to(self, board: Switchboard) -> str:
        settings, secrets = {"url": self.site.url}, Secrets({"token": self.site.token})
        board.add("frappe", "main", settings, secrets, writes_back=True)
        board.provision("frappe/main", dry_run=False)
        return "frappe/main"

    def story(self, url: str, token: str) -> None:
        # The double's clock stands still between writes.
        self.site.now = datetime.now(timezone.utc)
        site = Site(self.site.url, self.site.token)
        values = {"first_name": "Zoë", "trackflow_token": token}
        self.lead = site.create(LEAD, values)["name"]
        self.deal = self.site.convert(self.lead, {"deal_value": 250.0, "currency": "EUR"})
        site.update(DEAL, self.deal, {"status": "Won"})

    def written(self) -> tuple[str, str, int]:
        deal = self.site.document(DEAL, self.deal)
        lead = self.site.document(LEAD, self.lead)
        first, last = deal["trackflow_first_touch_source"], deal["trackflow_last_touch_source"]
        return first or "", last or "", lead["trackflow_touch_count"] or 0


class TwentyCrm:
    """The double of a Twenty workspace."""

    def __init__(self, workspace: TwentyDouble) -> None:
        self.workspace = workspace
        self.person = self.opportunity = ""

    def add_to(self, board: Switchboard) -> str:
        settings = {"url": self.workspace.url, "currency": "EUR"}
        board.add(
            "twenty", "main", settings, Secrets({"key": self.workspace.key}), writes_back=True
        )
        board.provision("twenty/main", dry_run=False)
        return "twenty/main"

    def story(self, url: str, token: str) -> None:
        # The double's clock stands still between writes.
        self.workspace.now = datetime.now(timezone.utc)
        values = {"name": {"firstName": "Zoë"}, "trackflowToken": token}
        self.person = self.workspace.insert(PERSON, values)
        amount = {"amountMicros": 250_000_000, "currencyCode": "EUR"}
        deal = {"pointOfContactId": self.person, "amount": amount}
        self.opportunity = self.workspace.insert(OPPORTUNITY, deal)
        self.workspace.change(OPPORTUNITY, self.opportunity, {"stage": "CUSTOMER"})

    def written(self) -> tuple[str, str, int]:
        deal = self.workspace.record(OPPORTUNITY, self.opportunity)
        lead = self.workspace.record(PERSON, self.person)
        first, last = deal["trackflowFirstSource"], deal["trackflowLastSource"]
        return first, last, lead["trackflowTouchCount"] or 0


_KEY = """
keys = env['res.users.apikeys'].with_user(env.ref('base.user_admin'))
print('KEY', keys._generate('rpc', 'TrackFlow', None))
env.cr.commit()
"""


class OdooCrm:
    """A real Odoo 19 without our addon."""

    def __init__(self, odoo: odoo_server.RunningOdoo) -> None:
        self.odoo = odoo
        [self.key] = re.findall(r"^KEY (\S+)$", odoo.shell(_KEY), re.MULTILINE)
        self.number = 0

    def call(self, model: str, method: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"bearer {self.key}", "X-Odoo-Database": self.odoo.database}
        url = f"{self.odoo.url}/json/2/{model}/{method}"
        answer = requests.post(url, json=arguments, headers=headers, timeout=60)
        assert answer.ok, answer.text[:500]
        return answer.json()

    def add_to(self, board: Switchboard) -> str:
        settings = {"url": self.odoo.url, "database": self.odoo.database, "user": "admin"}
        board.add("odoo", "main", settings, Secrets({"api_key": self.key}), writes_back=True)
        board.provision("odoo/main", dry_run=False)
        return "odoo/main"

    def story(self, url: str, token: str) -> None:
        values = {"name": "Zoë", "type": "lead", "x_trackflow_token": token}
        [self.number] = self.call("crm.lead", "create", vals_list=[values])
        won = {"type": "opportunity", "expected_revenue": 250.0}
        self.call("crm.lead", "write", ids=[self.number], vals=won)
        self.call("crm.lead", "action_set_won", ids=[self.number])

    def written(self) -> tuple[str, str, int]:
        names = [
            "x_trackflow_first_touch_source",
            "x_trackflow_last_touch_source",
            "x_trackflow_touch_count",
        ]
        [held] = self.call("crm.lead", "read", ids=[self.number], fields=names)
        first, last, count = (held[name] for name in names)
        return first or "", last or "", count


@contextmanager
def _webhook() -> Iterator[Crm]:
    crm = WebhookCrm()
    yield crm
    crm.server.shutdown()
    crm.server.server_close()


@contextmanager
def _frappe() -> Iterator[Crm]:
    with FrappeDouble().running() as site:
        yield FrappeCrm(site)


@contextmanager
def _twenty() -> Iterator[Crm]:
    with TwentyDouble().running() as workspace:
        yield TwentyCrm(workspace)


@contextmanager
def _odoo() -> Iterator[Crm]:
    with odoo_server.fresh(["crm"]) as odoo:
        yield OdooCrm(odoo)


@pytest.mark.parametrize("opened", [_webhook, _frappe, _twenty, _odoo])
def test_the_golden_story(
    serving: Any, tmp_path: Path, opened: Callable[[], AbstractContextManager[Crm]]
) -> None:
    store = str(tmp_path / "trackflow.sqlite")
    board, database = _board(store)
    with opened() as crm:
        name = crm.add_to(board)
        with serving(tmp_path, without_consent="full") as served:
            served.save(*LINKS)
            crm.story(served.url, _clicks_and_token(served))
            _wait(lambda: _is_told(database, name), served)
            _wait(lambda: crm.written() == ("google", "newsletter", 2), served)
        events = _events(board, database, name)
    expected = _credits(database)
    assert [credit["value"] for credit in expected["credits"]] == [12_500, 12_500]
    clicks = _recorded(database)
    for seed in range(1, 4):
        again = str(tmp_path / f"again-{seed}.sqlite")
        assert _bytes(_replayed(again, clicks, events, seed)) == _bytes(expected), seed
    database.close()


def _board(store: str) -> tuple[Switchboard, Database]:
    database = Database(store)
    database.upgrade()
    config = configuration.load(environment=ENVIRONMENT, store=store)
    return Switchboard(config, database), database


def _clicks_and_token(served: Any) -> str:
    """Two clicks of one visitor; the token that the site puts into its form."""
    first = served.get("/r/adSpr22")
    cookie = first.cookies[identity.COOKIE_NAME]
    served.get("/r/nwsSpr2", cookies={identity.COOKIE_NAME: cookie})
    served.clicks(2)
    # Odoo knows whole seconds: the lead must not be older than its clicks.
    time.sleep(1.1)
    key = keys.derive(ENVIRONMENT["TRACKFLOW_SECRET"], "visitor")
    visitor = cookie.partition(".")[0]
    return identity.issue_token(visitor, [key], datetime.now(timezone.utc))


def _wait(done: Callable[[], bool], served: Any) -> None:
    for _ in range(300):
        if done():
            return
        time.sleep(0.2)
    raise AssertionError(served.log.read_text())


def _is_told(database: Database, name: str) -> bool:
    """Whether the deal is known as won; otherwise the CRM is polled once more."""
    with database.reading() as store:
        if any(deal.won_at for deal in store.deals()):
            return True
    with database.transaction() as store:
        store.poll_soon(name, datetime.now(timezone.utc))
    return False


def _events(board: Switchboard, database: Database, name: str) -> Sequence[Event]:
    """All that the CRM tells: by its webhooks as they were kept, or by reading it anew."""
    with database.reading() as store:
        connection = board.connections.named(store, name)
        received = store.events(name, 100)
    if received:
        return [event for item in received for event in connection.map_events(item.payload)]
    # What a remote Odoo wrote in this second is left to the next reading.
    time.sleep(2.1)
    return [event for page in pages(polling(connection), "") for event in page.events]


def _recorded(database: Database) -> Sequence[Click]:
    with database.reading() as store:
        return [
            event.click
            for visitor in store.connection.scalars(select(schema.click.c.visitor_id).distinct())
            for event in store.recorded({always(visitor)})
        ]


def _replayed(path: str, clicks: Sequence[Click], events: Sequence[Event], seed: int) -> Any:
    """The credits of the same facts in another order, some of them twice."""
    _, database = _board(path)
    chance = random.Random(seed)
    facts: list[Click | Event] = [*clicks, *events]
    facts += chance.choices(facts, k=4)
    chance.shuffle(facts)
    settings = configuration.load(environment=ENVIRONMENT).settings(hooks.load().rules)
    with database.transaction() as store:
        store.save_links(LINKS)
    for fact in facts:
        with database.transaction() as store:
            engine = Engine(store, hooks.load(), settings)
            if isinstance(fact, Click):
                engine.record_click(fact)
            else:
                take_in(engine, Page("", False, [fact]))
            if chance.random() < 0.5:
                engine.process_clicks()
    with database.transaction() as store:
        Engine(store, hooks.load(), settings).process_clicks()
    found = _credits(database)
    database.close()
    return found


def _credits(database: Database) -> Mapping[str, Any]:
    with database.reading() as store:
        [receipt] = store.connection.scalars(select(schema.attribution.c.receipt))
    return dict(receipt)


def _bytes(receipt: Mapping[str, Any]) -> bytes:
    return json.dumps(receipt, sort_keys=True).encode()
