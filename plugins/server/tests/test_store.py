"""The SQL store keeps the contract of stores on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, select

from trackflow_core.api.storage import WebhookEndpoint
from trackflow_core.attribution import BUILTIN_RULES, ChannelRule, Model
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, InvalidEvent, RetriableError
from trackflow_core.hooks import Hooks
from trackflow_core.model import Link, LinkRule, LinkStatus, Variant
from trackflow_core.testing.catalogs import CatalogContract
from trackflow_core.testing.facts import LINKS, at, click, deal, lead
from trackflow_core.testing.stores import Shares, StoreContract
from trackflow_server.store import Database, SqlStore, schema
from trackflow_server.store.catalog import SqlCatalog


def assert_totals(store: SqlStore) -> None:
    """What is summed up of links is what their clicks come to."""
    click = schema.click.c
    counted = store.connection.execute(
        select(
            click.link_code,
            func.count(),
            func.count(click.visitor_id.distinct()),
            func.max(click.occurred_at),
        )
        .where(click.counts, click.link_code != "")
        .group_by(click.link_code)
    )
    total = schema.link_total
    kept = store.connection.execute(select(total).where(total.c.clicks > 0))
    assert {tuple(row) for row in kept} == {tuple(row) for row in counted}


class SqlStoreContract(StoreContract):
    """Each store is a transaction that is rolled back."""

    database: Database

    @pytest.fixture(autouse=True)
    def _opened(self) -> Iterator[None]:
        with ExitStack() as self.opened:
            yield

    def new_store(self, links: Iterable[Link]) -> SqlStore:
        self.opened.close()
        connection = self.opened.enter_context(self.database.connect())
        self.transaction = connection.begin()
        self.opened.callback(lambda: self.transaction.rollback())
        store = SqlStore(connection, {})
        # Whatever a test did to clicks and visitors, the totals are what counting would give.
        self.opened.callback(lambda: assert_totals(store))
        store.save_links([*links])
        return store

    def credits_of(self, store: SqlStore, deal_ref: str) -> Shares:
        credit = schema.credit.c
        found = store.connection.execute(
            select(credit.touch_id, credit.value)
            .where(credit.deal_ref == deal_ref)
            .order_by(credit.place)
        )
        return tuple((row[0], row[1]) for row in found)

    def digest_of(self, store: SqlStore, deal_ref: str) -> str:
        attribution = schema.attribution.c
        query = select(attribution.digest).where(attribution.deal_ref == deal_ref)
        return store.connection.scalars(query).one()

    def summary_of(self, store: SqlStore, lead_ref: str) -> tuple[str | None, str | None, int]:
        lead = schema.lead.c
        query = select(lead.first_touch, lead.last_touch, lead.touch_count)
        first, last, count = store.connection.execute(query.where(lead.ref == lead_ref)).one()
        return (first and first["id"], last and last["id"], count)

    def recorded_clicks(self, store: SqlStore) -> Sequence[str]:
        return list(store.connection.scalars(select(schema.click.c.event_id)))

    def rejected_clicks(self, store: SqlStore) -> dict[str, str]:
        queue = schema.click_queue.c
        query = select(queue.event_id, queue.rejected).where(queue.rejected.is_not(None))
        return {row[0]: row[1] for row in store.connection.execute(query)}

    def conversion_of(self, store: SqlStore, ref: str, kind: str) -> int | None:
        conversion = schema.conversion.c
        query = select(conversion.value).where(conversion.ref == ref, conversion.kind == kind)
        return store.connection.scalars(query).one_or_none()

    def commit(self, store: SqlStore) -> None:
        store.committed()


class TestOnSqlite(SqlStoreContract):
    @pytest.fixture(autouse=True)
    def _database(self, sqlite_database: Database) -> None:
        self.database = sqlite_database


@pytest.mark.slow
class TestOnPostgres(SqlStoreContract):
    shuffles = 2

    @pytest.fixture(autouse=True)
    def _database(self, postgres_database: Database) -> None:
        self.database = postgres_database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database that is emptied afterwards."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    yield found
    with found.transaction() as store:
        for table in schema.metadata.sorted_tables:
            store.connection.execute(table.delete())


def test_the_migrations_make_the_tables_of_the_schema(database: Database) -> None:
    assert database.is_current()
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, schema.metadata) == []


def test_upgrading_twice_at_once_makes_the_tables_once(new_file: str) -> None:
    databases = [Database(new_file) for _ in range(3)]
    errors: list[BaseException] = []

    def upgrade(database: Database) -> None:
        try:
            database.upgrade()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=upgrade, args=(each,)) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(each.is_current() for each in databases)
    for each in databases:
        each.close()


def test_a_failed_transaction_leaves_nothing_and_tells_nobody(database: Database) -> None:
    heard: list[str] = []
    with pytest.raises(LookupError), database.transaction() as store:
        store.append_clicks([click("c1", 1)])
        store.after_commit(lambda: heard.append("committed"))
        raise LookupError
    with database.reading() as store:
        assert list(store.claim_clicks(1)) == []
    assert heard == []


def test_callbacks_run_when_others_can_see_what_was_written(database: Database) -> None:
    seen: list[Any] = []

    def look() -> None:
        with database.reading() as other:
            seen.extend(other.links({"adsGogl"}).values())

    with database.transaction() as store:
        store.save_links(LINKS)
        store.after_commit(look)
    assert seen == [LINKS[0]]


def test_text_that_the_database_refuses_spoils_its_part_only(database: Database) -> None:
    with database.transaction() as store:
        store.append_clicks([click("c1", 1)])
        with pytest.raises(InvalidEvent, match="refuses"), store.atomic():
            store.append_clicks([click("c2", 2, user_agent="\ud800")])
        store.append_clicks([click("c3", 3)])
        assert [found.event_id for found in store.claim_clicks(9)] == ["c1", "c3"]


def test_a_link_comes_back_as_it_was(database: Database) -> None:
    sent = Link(
        "code123",
        "https://shop.example/ü?a=%20",
        "google",
        "cpc",
        "spring",
        "banner",
        "shoes",
        LinkStatus.PAUSED,
        date(2026, 3, 1),
        at(3, minutes=0.00001),
        "Europe/Berlin",
        "https://shop.example/over",
        "de",
        (Variant("a", "https://shop.example/a", 3), Variant("b", "https://shop.example/b", 0)),
        (
            LinkRule(
                "https://shop.example/at",
                "mobile",
                "de-AT",
                frozenset({"AT", "DE"}),
                (("beta", ""), ("x", "1")),
                date(2026, 1, 1),
                date(2026, 12, 31),
            ),
        ),
    )
    with database.transaction() as store:
        store.save_links([sent])
        store.save_links([sent])
        assert store.links({"code123", "other"}) == {"code123": sent}


def test_a_deal_may_choose_its_own_model(database: Database) -> None:
    rules = {rule.name: rule for rule in BUILTIN_RULES}
    chosen = Model(
        rules["position_based"],
        lookback=timedelta(days=30),
        anchor="won",
        name="Ours",
        channel_rules=(ChannelRule(Decimal("1.5"), channel="Paid*", priority=3),),
    )
    with database.transaction() as store:
        store.save_links(LINKS)
        engine = Engine(store, Hooks())
        for day in (1, 2, 3, 4):
            engine.record_click(click(f"c{day}", day, occurred_at=at(day)))
        engine.apply(leads=[lead()], deals=[deal()])
        store.save_models([chosen])
        store.choose_model("crm/deal-1", "Ours")
        assert store.models({"crm/deal-1"}) == {"crm/deal-1": chosen}
        engine.recompute()
        values = store.connection.scalars(
            select(schema.credit.c.value).order_by(schema.credit.c.place)
        ).all()
    assert values == [4000, 1000, 1000, 4000]


def test_a_model_whose_plugin_is_gone_says_what_to_do(sqlite_database: Database) -> None:
    model = Model(BUILTIN_RULES[0], name="Lost")
    with sqlite_database.connect() as connection, connection.begin() as transaction:
        store = SqlStore(connection, {})
        store.save_deals([deal()])
        store.save_models([model])
        store.choose_model("crm/deal-1", "Lost")
        with pytest.raises(ConfigError, match=r"'Lost' needs the rule"):
            store.models({"crm/deal-1"})
        transaction.rollback()


def test_lists_may_be_longer_than_a_statement_has_parameters(database: Database) -> None:
    with database.transaction() as store:
        store.save_links(LINKS)
        wanted = {f"unknown{number}" for number in range(70_000)} | {"adsGogl"}
        assert store.links(wanted).keys() == {"adsGogl"}


def test_two_writers_take_turns(database: Database) -> None:
    """Deal and click told at the same moment: whoever comes second sees the first."""
    with database.transaction() as store:
        store.save_links(LINKS)
        Engine(store, Hooks()).apply_lead(lead())
    barrier = threading.Barrier(2)

    def tell(number: int) -> None:
        barrier.wait()
        with database.transaction() as store:
            engine = Engine(store, Hooks())
            if number:
                engine.record_click(click("c1", 1))
                engine.process_clicks()
            else:
                engine.apply_deal(deal())

    threads = [threading.Thread(target=tell, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as store:
        found = store.connection.execute(select(schema.credit.c.touch_id, schema.credit.c.value))
        assert [tuple(row) for row in found] == [("c1", 10_000)]


def test_addresses_of_stores() -> None:
    assert Database("/var/lib/x.sqlite").is_sqlite
    assert Database("sqlite:///relative.sqlite").url.database == "relative.sqlite"
    for wrong in ("mysql://me:geheim@host/db", "postgresql://me:geheim@host:port/db", "://"):
        with pytest.raises(ConfigError) as caught:
            Database(wrong)
        assert "geheim" not in str(caught.value)


def test_a_store_that_does_not_answer_says_so_without_its_password() -> None:
    database = Database("postgresql://me:geheim@127.0.0.1:1/db")
    with pytest.raises(RetriableError, match="cannot be opened") as caught, database.connect():
        pass
    assert "geheim" not in str(caught.value)


class SqlCatalogContract(CatalogContract):
    """Each host is a transaction that is rolled back."""

    database: Database

    @pytest.fixture(autouse=True)
    def _opened(self) -> Iterator[None]:
        with ExitStack() as self.opened:
            yield

    def new_host(self, links: Iterable[Link]) -> tuple[SqlCatalog, SqlStore]:
        self.opened.close()
        connection = self.opened.enter_context(self.database.connect())
        transaction = connection.begin()
        self.opened.callback(lambda: transaction.rollback())
        store = SqlStore(connection, {})
        store.save_links([*links])
        return SqlCatalog(store, "https://go.example", ("a secret of this test run",)), store


class TestCatalogOnSqlite(SqlCatalogContract):
    @pytest.fixture(autouse=True)
    def _database(self, sqlite_database: Database) -> None:
        self.database = sqlite_database

    def test_secrets_are_not_stored_readable(self) -> None:
        catalog, store = self.new_host(())
        sent = WebhookEndpoint("", "https://x.example", frozenset(), secrets=("whsec_geheim",))
        catalog.create([sent])
        stored = store.connection.scalars(select(schema.webhook_endpoint.c.secrets)).one()
        assert "geheim" not in str(stored)


@pytest.mark.slow
class TestCatalogOnPostgres(SqlCatalogContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres_database: Database) -> None:
        self.database = postgres_database
