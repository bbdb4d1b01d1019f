"""CRMs on the server: added, read, told apart from their secrets, and written back to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trackflow_core import hooks
from trackflow_core.cli import _extended
from trackflow_core.connectors import Page, Rejected
from trackflow_core.errors import ConfigError, TrackFlowError
from trackflow_core.testing.facts import deal, lead
from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.site import Site
from trackflow_frappe.testing import FrappeDouble
from trackflow_server import config as configuration
from trackflow_server.config import ServerConfig
from trackflow_server.connections import Connections, Secrets
from trackflow_server.inbox import Inbox
from trackflow_server.polling import Polls
from trackflow_server.store import Database
from trackflow_server.store.connectors import Configured, Received
from trackflow_server.switchboard import Switchboard

ENVIRONMENT = {"TRACKFLOW_SECRET": "a secret of this test run"}
NOW = datetime(2026, 3, 12, 9, tzinfo=timezone.utc)
NAME = "frappe/acme"


@pytest.fixture
def config(new_file: str) -> ServerConfig:
    return configuration.load(environment=ENVIRONMENT, store=new_file)


@pytest.fixture
def database(config: ServerConfig) -> Iterator[Database]:
    opened = Database(config.store)
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture
def board(config: ServerConfig, database: Database) -> Switchboard:
    return Switchboard(config, database)


@pytest.fixture
def site() -> Iterator[FrappeDouble]:
    with FrappeDouble().running() as running:
        yield running


def _add(board: Switchboard, site: FrappeDouble, **choices: Any) -> Configured:
    return board.add("frappe", "acme", {"url": site.url}, Secrets({"token": site.token}), **choices)


def _create(site: FrappeDouble, doctype: str, values: Mapping[str, Any]) -> Any:
    return Site(site.url, site.token).create(doctype, values)


def _polls(config: ServerConfig, database: Database) -> Polls:
    loaded = hooks.load()
    settings = config.settings(loaded.rules)
    return Polls(database, loaded, settings, Connections(config, loaded))


def _inbox(config: ServerConfig, database: Database) -> Inbox:
    loaded = hooks.load()
    settings = config.settings(loaded.rules)
    return Inbox(database, loaded, settings, Connections(config, loaded))


def _held(database: Database, name: str = NAME) -> Configured:
    with database.reading() as store:
        found = store.connector(name)
    assert found is not None
    return found


def test_secrets_are_kept_apart_and_encrypted(
    board: Switchboard, site: FrappeDouble, config: ServerConfig
) -> None:
    _add(board, site)
    written = b"".join(path.read_bytes() for path in Path(config.store).parent.iterdir())
    assert site.url.encode() in written
    assert b"secret-4711" not in written
    assert "secret-4711" not in json.dumps(board.rows())


def test_the_environment_is_asked_first_and_not_stored(
    database: Database, new_file: str, site: FrappeDouble
) -> None:
    site.token = "key:of-the-environment"
    known = {**ENVIRONMENT, "TRACKFLOW_CONNECTOR_FRAPPE_ACME_TOKEN": site.token}
    board = Switchboard(configuration.load(environment=known, store=new_file), database)
    board.add("frappe", "acme", {"url": site.url}, Secrets())
    assert board.check(NAME)[0].ok
    without = Switchboard(configuration.load(environment=ENVIRONMENT, store=new_file), database)
    with pytest.raises(ConfigError, match="Token is missing"):
        without.check(NAME)


@pytest.mark.parametrize(
    ("instance", "settings", "told"),
    [
        ("Acme GmbH", {}, "lower-case"),
        ("acme", {"url": "ftp://x"}, "Address"),
        ("acme", {"nothing": "1"}, "There is no option 'nothing'"),
    ],
)
def test_what_is_wrong_is_not_kept(
    board: Switchboard, instance: str, settings: Mapping[str, str], told: str
) -> None:
    given = {"url": "https://crm.example", **settings}
    with pytest.raises(ConfigError, match=told):
        board.add("frappe", instance, given, Secrets({"token": "a:b"}))
    assert board.rows() == []


def test_the_cursor_survives_changed_settings_and_renewed_credentials(
    board: Switchboard, site: FrappeDouble, database: Database
) -> None:
    _add(board, site)
    _create(site, LEAD, {"first_name": "Zoë"})
    assert sum(len(page.events) for page in board.poll(NAME)) == 1
    cursor = _held(database).cursor
    site.token = "key:renewed-4712"
    with pytest.raises(ConfigError):
        board.check(NAME)
    board.change(NAME, {"page_size": "7"}, Secrets({"token": site.token}))
    assert (_held(database).cursor, _held(database).settings["page_size"]) == (cursor, "7")
    _create(site, LEAD, {"first_name": "Ben"})
    assert [event.name for page in board.poll(NAME) for event in page.events][-1] == "Ben"


def test_a_second_connector_of_one_name_is_refused(board: Switchboard, site: FrappeDouble) -> None:
    _add(board, site)
    with pytest.raises(ConfigError, match="connector change frappe acme"):
        _add(board, site)


def test_provisioning_is_shown_first(board: Switchboard, site: FrappeDouble) -> None:
    _add(board, site)
    planned = board.provision(NAME, dry_run=True)
    assert planned == board.provision(NAME, dry_run=False)
    assert board.provision(NAME, dry_run=True) == []
    assert len(board.provision(NAME, dry_run=False, undo=True)) == len(planned)


def test_polling_in_the_background_waits_after_a_fault_and_says_why(
    board: Switchboard, site: FrappeDouble, config: ServerConfig, database: Database
) -> None:
    _add(board, site)
    polls = _polls(config, database)
    site.token = "key:renewed-4712"
    assert polls.step()
    held = _held(database)
    assert held.problem and "4711" not in held.problem
    assert held.attempts == 1 and held.due_at and held.due_at > datetime.now(timezone.utc)
    assert not polls.step(), "it is not due yet"
    board.change(NAME, {}, Secrets({"token": site.token}))
    while polls.step():
        pass
    held = _held(database)
    assert (held.problem, held.attempts) == ("", 0)
    assert held.polled_at and held.due_at and held.due_at > held.polled_at


def test_a_disabled_connector_is_not_polled(
    board: Switchboard, site: FrappeDouble, config: ServerConfig, database: Database
) -> None:
    _add(board, site, enabled=False)
    assert not _polls(config, database).step()


def test_two_processes_that_poll_at_once_keep_one_page(database: Database) -> None:
    with database.transaction() as store:
        store.save_connector(Configured(NAME, {}, due_at=NOW), "")
        polled = store.claim_poll(NOW, NOW + timedelta(minutes=10))
        assert polled and store.claim_poll(NOW, NOW + timedelta(minutes=10)) is None
        assert store.keep_page(polled, Page("2", True), NOW)
        assert not store.keep_page(polled, Page("3", True), NOW)
        held = store.connector(NAME)
        assert held and (held.cursor, held.polled_at, held.due_at) == ("2", None, NOW)


def test_a_hint_during_a_round_is_not_forgotten(database: Database) -> None:
    with database.transaction() as store:
        store.save_connector(Configured(NAME, {}, due_at=NOW), "")
        polled = store.claim_poll(NOW, NOW + timedelta(minutes=10))
        assert polled
        store.poll_soon(NAME, NOW + timedelta(seconds=1))
        store.keep_page(polled, Page("2", False), NOW + timedelta(seconds=2))
        held = store.connector(NAME)
        assert held and held.due_at == NOW + timedelta(seconds=1)


def test_records_that_cannot_be_understood_are_set_aside_once(database: Database) -> None:
    page = Page("1", False, rejected=[Rejected("CRM Deal 7", "deal_value is wrong.", {"a": 1})])
    again = Page("2", False, rejected=page.rejected)
    with database.transaction() as store:
        store.save_connector(Configured(NAME, {}, due_at=NOW), "")
        for cursor, told in (("", page), ("1", again)):
            assert store.keep_page(Configured(NAME, {}, cursor=cursor), told, NOW)
        [failed] = store.events(NAME, 10)
    assert (failed.state, failed.via, failed.reason) == ("failed", "poll", "deal_value is wrong.")


def test_failed_events_keep_their_payload_and_are_tried_again(
    board: Switchboard, config: ServerConfig, database: Database
) -> None:
    board.add("webhook", "shop", {}, Secrets(signing=["whsec_" + "A" * 32]))
    told = {"type": "deal.won", "data": {"id": "7", "value": "much", "currency": "EUR"}}
    payload = {**told, "timestamp": NOW.isoformat(), "webhook_id": "m1"}
    with database.transaction() as store:
        for _ in range(2):
            store.receive([Received("webhook/shop", "m1", NOW, payload)])
    _inbox(config, database).drain()
    with database.reading() as store:
        [failed] = store.events("webhook/shop", 10)
    assert failed.state == "failed" and "value" in failed.reason and failed.payload == payload
    [tried] = board.retry("webhook/shop", failed.place)
    assert (tried.state, tried.attempts) == ("failed", 2)
    with pytest.raises(ConfigError, match="no failed event 99"):
        board.retry("webhook/shop", 99)


def test_old_events_are_forgotten_and_failures_stay(database: Database) -> None:
    with database.transaction() as store:
        store.receive([Received(NAME, name, NOW, {}) for name in ("good", "bad", "late")])
        good, bad, late = store.waiting_events(9)
        store.settle_event(good, NOW)
        store.settle_event(bad, NOW, "No.")
        store.settle_event(late, NOW + timedelta(days=2))
        assert store.forget_events(NOW + timedelta(days=1)) == 1
        assert [event.event_id for event in store.events(NAME, 9)] == ["late", "bad"]


def test_facts_are_traced_to_their_event(database: Database) -> None:
    with database.transaction() as store:
        store.keep_facts("crm", [lead()], NOW, 5)
        store.keep_facts("crm", [lead(), deal()], NOW + timedelta(hours=1))
        assert [fact.kind for fact in store.facts_of_event(5)] == ["lead"]
        found = store.facts_of_refs({"crm/deal-1", "crm/lead-1"})
        assert [(fact.ref, fact.event) for fact in found] == [
            ("crm/deal-1", None),
            ("crm/lead-1", 5),
        ]


def test_a_connector_that_is_removed_leaves_nothing(
    board: Switchboard, site: FrappeDouble, database: Database
) -> None:
    _add(board, site)
    board.remove(NAME)
    with database.reading() as store:
        assert (store.connectors(), store.connector_secrets(NAME)) == ([], "")


# -- the command line ------------------------------------------------------------------------


class Run:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
        for name, value in {**ENVIRONMENT, "TRACKFLOW_STORE": store}.items():
            monkeypatch.setenv(name, value)
        self._app = _extended()

    def __call__(self, *arguments: str, input: str | None = None) -> tuple[int, str]:
        result = CliRunner().invoke(self._app, ["connector", *arguments], input=input)
        if isinstance(result.exception, TrackFlowError):
            return 1, str(result.exception)
        return result.exit_code, result.output


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, new_file: str) -> Run:
    return Run(monkeypatch, new_file)


def test_options_of_the_command_are_those_of_the_connector(run: Run) -> None:
    code, output = run("add", "frappe", "--help")
    assert code == 0
    assert all(name in output for name in ("--url", "--token-file", "--currency", "--page-size"))
    assert "--token " not in output, "a secret may not stand on the command line"


def test_a_crm_by_the_command_line(run: Run, site: FrappeDouble) -> None:
    _create(site, LEAD, {"first_name": "Zoë"})
    adding = ("add", "frappe", "acme", "--url", site.url)
    assert "TRACKFLOW_CONNECTOR_FRAPPE_ACME_TOKEN" in run(*adding)[1]
    assert run(*adding, "--token-file", "-", "--write-back", input=site.token)[0] == 0
    assert run("check", NAME)[0] == 1, "nothing is provisioned yet"
    code, output = run("provision", NAME, input="n\n")
    assert (code, "TrackFlow Source" in output) == (1, True)
    assert run("check", NAME)[0] == 1, "it was only shown"
    assert run("provision", NAME, "--yes")[0] == 0
    code, output = run("check", NAME)
    assert code == 0, output
    assert "secret-4711" not in output
    assert run("poll", NAME) == (0, "1 leads and deals read, 0 records set aside.\n")
    [row] = json.loads(run("status", "--json")[1])
    assert (row["name"], row["problem"], row["writes_back"]) == (NAME, "", True)
    assert json.loads(run("retry", NAME, "--json")[1]) == []
    assert run("deprovision", NAME, "--yes", "--json")[0] == 0
    assert run("remove", NAME, "--yes")[0] == 0
    assert "there are: none" in run("check", NAME)[1]


def test_a_signing_secret_is_shown_once_and_the_one_before_stays_good(
    run: Run, new_file: str, database: Database
) -> None:
    assert run("add", "webhook", "shop")[0] == 0
    first, second, third = (run("secret", "webhook/shop")[1].strip() for _ in range(3))
    config = configuration.load(environment=ENVIRONMENT, store=new_file)
    with database.reading() as store:
        known = Connections(config, hooks.load()).secrets(store, "webhook/shop")
    assert known.signing == [third, second] != [third, first]
    assert third not in run("status", "--json")[1]


def test_the_double_speaks_of_deals_too(board: Switchboard, site: FrappeDouble) -> None:
    made = _create(site, LEAD, {"first_name": "Zoë"})
    _create(site, DEAL, {"lead": made["name"], "deal_value": 12.5})
    _add(board, site)
    facts = [event for page in board.poll(NAME) for event in page.events]
    assert [event.ref.split("/")[2] for event in facts] == ["lead", "deal"]
