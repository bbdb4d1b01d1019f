"""The contract kit for catalogs: what the API relies on in a host's `api.storage.Catalog`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

from trackflow_core.api.storage import (
    FILTERS,
    ApiKey,
    Campaign,
    Catalog,
    Conflict,
    Idempotency,
    LinkTemplate,
    LoggedRequest,
    Page,
    Query,
    TrackedLink,
    Visitor,
    WebhookEndpoint,
)
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import InvalidEvent
from trackflow_core.hooks import Hooks
from trackflow_core.model import (
    ClickEvent,
    Conversion,
    Deal,
    DealStatus,
    Lead,
    Link,
    LinkRule,
    LinkStatus,
    Variant,
)
from trackflow_core.ports import Store
from trackflow_core.testing.facts import ANNA, BEN, LINKS, START, at, click, deal, lead
from trackflow_core.tracking.templates import Kind, Template, Variable

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

RICH_LINK = Link(
    "Rich234",
    "https://shop.example/a?b=%20c&d=ü#e",
    source="google",
    medium="cpc",
    campaign="spring",
    content="banner",
    term="shoes",
    status=LinkStatus.PAUSED,
    starts=date(2026, 3, 1),
    ends=date(2026, 4, 30),
    fallback="https://shop.example/over",
    variants=(
        Variant("A", "https://shop.example/a", 3),
        Variant("B", "https://shop.example/b", 0),
    ),
    rules=(
        LinkRule(
            "https://shop.example/at",
            device="mobile",
            language="de-AT",
            countries=frozenset({"AT", "CH"}),
            query=(("x", "1"), ("y", "")),
            since=date(2026, 3, 2),
            until=date(2026, 3, 9),
        ),
        LinkRule("https://shop.example/en", language="en"),
    ),
)


class CatalogContract:
    """Mix into a test case and implement `new_host`.

    `currency` is one that the host's campaigns may have. `link` is what the links of the kit
    become in the host before they are compared, where it cannot keep all of them.
    """

    currency = "EUR"

    @abstractmethod
    def new_host(self, links: Iterable[Link]) -> tuple[Catalog, Store]:
        """An empty host that knows `links`, whose codes may be used as they are."""

    def settings(self) -> Settings:
        """The settings under which the kit runs its engine."""
        return Settings()

    def link(self, link: Link) -> Link:
        """`link` as it comes back from the host."""
        return link

    def _told(self) -> tuple[Catalog, Store]:
        """A host with six clicks (one of a bot, one of staff) of two visitors, a lead, a deal."""
        catalog, store = self.new_host(LINKS)
        engine = Engine(store, Hooks(), self.settings())
        engine.record_click(click("c1", 1))
        engine.record_click(click("c2", 1, occurred_at=at(1, minutes=10)))
        engine.record_click(click("c3", 2, "mailNws"))
        engine.record_click(click("b1", 3, visitor_id=BEN))
        engine.record_click(click("x1", 3, visitor_id=None, user_agent=BOT))
        engine.record_click(click("x2", 3, visitor_id=None, internal=True))
        engine.process_clicks()
        engine.apply_lead(lead())
        engine.apply_deal(deal(days=13, status=DealStatus.WON))
        return catalog, store

    # -- records that people make -------------------------------------------------------------

    def test_campaigns_come_back_as_they_were(self) -> None:
        catalog, _ = self.new_host(())
        sent = Campaign(
            "",
            "Spring Sale",
            title="Our spring sale",
            description="All of it\nmust go.",
            budget=123_456,
            currency=self.currency,
            starts=date(2026, 3, 1),
            ends=date(2026, 3, 31),
        )
        [made] = catalog.create([sent])
        assert made.id
        assert replace(made, id="") == sent
        assert catalog.read(Campaign, {made.id, "12345678"}) == {made.id: made}
        changed = replace(made, title="Sale", description="", budget=0, ends=None)
        assert list(catalog.update([changed])) == [changed]
        assert catalog.read(Campaign, [made.id], lock=True) == {made.id: changed}
        catalog.delete(Campaign, [made.id, "12345678"])
        assert catalog.read(Campaign, [made.id]) == {}

    def test_names_are_unique(self) -> None:
        catalog, store = self.new_host(())
        catalog.create([Campaign("", "spring", currency=self.currency)])
        catalog.create([LinkTemplate("", "ads", Template("https://shop.example"))])
        for record in (
            Campaign("", "spring", currency=self.currency),
            LinkTemplate("", "ads", Template("https://shop.example/other")),
        ):
            self._conflicts(catalog, store, record, "name")

    def _conflicts(self, catalog: Catalog, store: Store, record: Any, field: str) -> None:
        try:
            with store.atomic():
                catalog.create([record])
        except Conflict as conflict:
            assert conflict.field == field, conflict.field
            assert str(conflict)
        else:
            raise AssertionError(f"{record} was kept twice")

    def test_a_campaign_with_links_cannot_be_deleted(self) -> None:
        catalog, store = self.new_host(LINKS)
        [made] = [
            found
            for found in catalog.page(Campaign, Query(search="brand")).items
            if found.name == "brand"
        ] or catalog.create([Campaign("", "brand", currency=self.currency)])
        try:
            with store.atomic():
                catalog.delete(Campaign, [made.id])
        except Conflict:
            assert catalog.read(Campaign, [made.id])
        else:
            raise AssertionError("the campaign is gone")

    def test_links_come_back_as_they_were(self) -> None:
        catalog, store = self.new_host(())
        [made] = catalog.create([TrackedLink(RICH_LINK, "Rich")])
        assert (made.link, made.title) == (self.link(RICH_LINK), "Rich")
        assert made.short_url.endswith("/r/Rich234")
        assert made.created_at is not None
        assert (made.clicks, made.visitors, made.last_click_at) == (0, 0, None)
        assert store.links(["Rich234"])["Rich234"].destination == RICH_LINK.destination
        assert catalog.page(Campaign, Query(search="spring")).items[0].name == "spring"
        plain = Link("Rich234", "https://shop.example/", campaign="other")
        [changed] = catalog.update([replace(made, link=plain, title="Plain")])
        assert (changed.link, changed.title) == (self.link(plain), "Plain")
        assert changed.created_at == made.created_at
        assert catalog.read(TrackedLink, ["Rich234", "none"]) == {"Rich234": changed}

    def test_the_host_chooses_missing_codes(self) -> None:
        catalog, store = self.new_host(())
        told = [TrackedLink(Link("", f"https://shop.example/{number}")) for number in range(5)]
        made = catalog.create(told)
        assert [item.link.destination for item in made] == [item.link.destination for item in told]
        assert len({item.id for item in made} - {""}) == 5
        assert store.links([item.id for item in made]).keys() == {item.id for item in made}

    def test_a_code_is_unique(self) -> None:
        catalog, store = self.new_host(LINKS)
        taken = TrackedLink(Link(LINKS[0].code, "https://shop.example/other"))
        self._conflicts(catalog, store, taken, "code")
        assert store.links([LINKS[0].code])[LINKS[0].code].destination == LINKS[0].destination

    def test_a_link_leads_to_no_short_url_of_ours(self) -> None:
        catalog, store = self.new_host(LINKS)
        [held] = catalog.read(TrackedLink, [LINKS[0].code]).values()
        shop = "https://shop.example/"
        for link in (
            Link("", held.short_url),
            Link("", shop, fallback=held.short_url),
            Link("", shop, variants=(Variant("B", held.short_url),)),
            Link("", shop, rules=(LinkRule(held.short_url, device="mobile"),)),
        ):
            for write, told in (
                (catalog.create, TrackedLink(link)),
                (catalog.update, replace(held, link=replace(link, code=held.id))),
            ):
                try:
                    with store.atomic():
                        write([told])
                except InvalidEvent as refused:
                    assert held.short_url in str(refused)
                else:
                    raise AssertionError(f"{link} leads to a short URL")
        assert catalog.read(TrackedLink, [held.id]) == {held.id: held}

    def test_links_tell_their_clicks(self) -> None:
        catalog, _ = self._told()
        found = catalog.read(TrackedLink, ["adsGogl", "postFbk"])
        clicked, idle = found["adsGogl"], found["postFbk"]
        assert (clicked.clicks, clicked.visitors, clicked.last_click_at) == (3, 2, at(3))
        assert (idle.clicks, idle.visitors, idle.last_click_at) == (0, 0, None)

    def test_templates_come_back_as_they_were(self) -> None:
        catalog, _ = self.new_host(())
        template = Template(
            "https://shop.example/{page}?utm_campaign={campaign|slug}",
            (
                Variable("page", default="home", pattern="[a-z]+", max_length=20),
                Variable("campaign", Kind.CHOICE, choices=("spring", "autumn")),
            ),
        )
        [made] = catalog.create([LinkTemplate("", "Pages", template, "For pages")])
        assert (made.name, made.template, made.description) == ("Pages", template, "For pages")
        fewer = replace(made, template=Template("https://shop.example/x"), description="")
        assert list(catalog.update([fewer])) == [fewer]
        assert catalog.read(LinkTemplate, [made.id]) == {made.id: fewer}
        catalog.delete(LinkTemplate, [made.id])
        assert catalog.read(LinkTemplate, [made.id]) == {}

    def test_endpoints_come_back_with_their_secrets(self) -> None:
        catalog, _ = self.new_host(())
        sent = WebhookEndpoint(
            "",
            "https://hooks.example/in?a=b",
            frozenset({"lead.attributed", "click.recorded"}),
            "Ours",
            secrets=("whsec_bmV3ZXIgc2VjcmV0IG9mIG91cnM=", "whsec_b2xkZXIgc2VjcmV0IG9mIG91cnM="),
        )
        [made] = catalog.create([sent])
        assert replace(made, id="") == sent
        changed = replace(made, enabled=False, problem="It answers 410.", secrets=made.secrets[:1])
        assert list(catalog.update([changed])) == [changed]
        assert catalog.read(WebhookEndpoint, [made.id]) == {made.id: changed}
        catalog.delete(WebhookEndpoint, [made.id])
        assert catalog.page(WebhookEndpoint, Query()).items == ()

    def test_keys_come_back_as_they_were(self) -> None:
        catalog, _ = self.new_host(())
        sent = ApiKey(
            "k3yPrefix",
            "Shop",
            "0" * 64,
            frozenset({"links:read", "links:write"}),
            networks=("192.0.2.0/24", "2001:db8::/32"),
            created_at=START,
            expires_at=at(30),
            hourly_limit=50,
        )
        [made] = catalog.create([sent])
        assert made == sent
        changed = replace(
            made,
            hashed="1" * 64,
            scopes=frozenset({"events:read"}),
            networks=(),
            expires_at=None,
            revoked_at=at(3),
            previous_hashed="0" * 64,
            previous_until=at(2),
            usage_count=99,
            last_used_at=at(9),
        )
        [kept] = catalog.update([changed])
        assert kept == replace(changed, usage_count=0, last_used_at=None)
        assert catalog.read(ApiKey, ["k3yPrefix", "other"]) == {"k3yPrefix": kept}

    # -- requests -------------------------------------------------------------------------------

    def test_the_log_counts_on_its_keys(self) -> None:
        catalog, _ = self.new_host(())
        catalog.create([ApiKey(name, name, "0" * 64, frozenset()) for name in ("keyOne", "keyTwo")])
        sent = [
            LoggedRequest(
                at(minutes=number),
                "POST",
                "/trackflow/api/v1/links",
                201,
                12,
                key_id=key,
                address="192.0.2.0",
                request='{"destination": "https://shop.example/ü"}',
                response="{}",
            )
            for number, key in enumerate(("keyOne", "", "keyOne", "keyTwo"))
        ]
        catalog.log(sent[:2])
        catalog.log(sent[2:])
        keys = catalog.read(ApiKey, ["keyOne", "keyTwo"])
        assert (keys["keyOne"].usage_count, keys["keyOne"].last_used_at) == (2, at(minutes=2))
        assert (keys["keyTwo"].usage_count, keys["keyTwo"].last_used_at) == (1, at(minutes=3))
        held = catalog.page(LoggedRequest, Query(since=at(minutes=1))).items
        assert [replace(entry, id="") for entry in held] == sent[:0:-1]
        assert catalog.purge(LoggedRequest, at(minutes=2)) == 2
        assert len(catalog.page(LoggedRequest, Query()).items) == 2

    def test_a_request_may_be_counted_only(self) -> None:
        catalog, _ = self.new_host(())
        catalog.create([ApiKey("keyOne", "One", "0" * 64, frozenset())])
        poll = LoggedRequest(at(minutes=1), "GET", "/edge/links", 200, 3, "keyOne", kept=False)
        catalog.log([poll])
        assert catalog.read(ApiKey, ["keyOne"])["keyOne"].usage_count == 1
        assert catalog.page(LoggedRequest, Query()).items == ()

    def test_an_answer_is_kept_once(self) -> None:
        catalog, store = self.new_host(())
        begun = Idempotency("keyOne:abc", "f" * 64, START)
        [kept] = catalog.create([begun])
        assert kept == begun
        self._conflicts(catalog, store, replace(begun, fingerprint="0" * 64), "id")
        done = replace(begun, status=201, headers={"location": "/x"}, body='{"a": "ü"}')
        catalog.update([done])
        assert catalog.read(Idempotency, ["keyOne:abc", "other"]) == {"keyOne:abc": done}
        assert catalog.purge(Idempotency, START) == 0
        assert catalog.purge(Idempotency, at(minutes=1)) == 1
        assert catalog.read(Idempotency, ["keyOne:abc"]) == {}

    # -- pages -----------------------------------------------------------------------------------

    def test_pages_hold_each_record_once(self) -> None:
        catalog, _ = self.new_host(())
        self._make_links(catalog, range(7))
        first = catalog.page(TrackedLink, Query(limit=3))
        assert [item.title for item in first.items] == ["6", "5", "4"]
        self._make_links(catalog, range(7, 9))
        second = catalog.page(TrackedLink, Query(limit=3, after=first.next))
        third = catalog.page(TrackedLink, Query(limit=3, after=second.next))
        assert [item.title for item in (*second.items, *third.items)] == ["3", "2", "1", "0"]
        assert (bool(first.next), bool(second.next), third.next) == (True, True, "")

    def test_a_full_last_page_is_the_last(self) -> None:
        catalog, _ = self.new_host(())
        self._make_links(catalog, range(3))
        assert catalog.page(TrackedLink, Query(limit=3)).next == ""
        assert catalog.page(Campaign, Query(search="none of that name")) == Page((), "")

    def _make_links(self, catalog: Catalog, numbers: Iterable[int]) -> None:
        for number in numbers:
            link = Link("", f"https://shop.example/{number}", campaign=f"c{number % 2}")
            catalog.create([TrackedLink(link, str(number))])

    def test_a_cursor_of_no_page_is_refused(self) -> None:
        catalog, _ = self.new_host(())
        for kind in FILTERS:
            try:
                catalog.page(kind, Query(after="no cursor"))
            except InvalidEvent as error:
                assert "cursor" in str(error)
            else:
                raise AssertionError(f"a page of {kind.__name__} after nothing")

    def test_searches_look_into_names(self) -> None:
        catalog, _ = self.new_host(())
        catalog.create(
            [TrackedLink(RICH_LINK, "Rich one"), TrackedLink(Link("", "https://plain.example"))]
        )
        for search in ("rICH", "SHOP.example", "one"):
            [found] = catalog.page(TrackedLink, Query(search=search)).items
            assert found.id == "Rich234"
        assert catalog.page(TrackedLink, Query(search="_")).items == ()
        [of_campaign] = catalog.page(TrackedLink, Query(campaign="spring")).items
        assert of_campaign.id == "Rich234"
        assert catalog.page(TrackedLink, Query(campaign="pring")).items == ()

    # -- facts -------------------------------------------------------------------------------------

    def test_clicks_are_found(self) -> None:
        catalog, _ = self._told()
        for query, expected in (
            (Query(), {"c1", "c2", "c3", "b1", "x1", "x2"}),
            (Query(link_code="mailNws"), {"c3"}),
            (Query(campaign="spring", visitor_id=ANNA), {"c1", "c2", "c3"}),
            (Query(campaign="brand"), set()),
            (Query(since=at(2), until=at(3)), {"c3"}),
            (Query(since=at(1, minutes=10), until=at(2)), {"c2"}),
        ):
            found = catalog.page(ClickEvent, query).items
            assert {event.click.event_id for event in found} == expected, query
            assert len(found) == len(expected)
        [event] = catalog.page(ClickEvent, Query(link_code="mailNws")).items
        assert (event.click.visitor_id, event.counts) == (ANNA, True)
        assert event.source.source.lower() == "newsletter"

    def test_pages_of_clicks_follow_each_other(self) -> None:
        catalog, _ = self._told()
        seen: list[str] = []
        query = Query(limit=4)
        while True:
            page = catalog.page(ClickEvent, query)
            seen += [event.click.event_id for event in page.items]
            if not page.next:
                break
            query = replace(query, after=page.next)
        assert sorted(seen) == ["b1", "c1", "c2", "c3", "x1", "x2"]

    def test_visitors_are_found(self) -> None:
        catalog, _ = self._told()
        found = catalog.read(Visitor, [ANNA, BEN, "0" * 32])
        assert found.keys() == {ANNA, BEN}
        anna = found[ANNA]
        assert (anna.first_seen, anna.last_seen, anna.clicks) == (at(1), at(2), 3)
        assert (anna.source.source, anna.source.campaign) == ("google", "spring")
        [ben] = catalog.page(Visitor, Query(since=at(3))).items
        assert (ben.id, ben.clicks) == (BEN, 1)
        [only] = catalog.page(Visitor, Query(until=at(3))).items
        assert only == anna

    def test_conversions_are_found(self) -> None:
        catalog, _ = self._told()
        for query, kinds in (
            (Query(), {"lead", "won"}),
            (Query(link_code="mailNws"), {"lead", "won"}),
            (Query(campaign="spring", visitor_id=ANNA), {"lead", "won"}),
            (Query(link_code="adsGogl"), set()),
            (Query(visitor_id=BEN), set()),
            (Query(until=at(11)), {"lead"}),
            (Query(since=at(11)), {"won"}),
        ):
            found = catalog.page(Conversion, query).items
            assert {conversion.kind for conversion in found} == kinds, query
        [won] = catalog.page(Conversion, Query(since=at(11))).items
        assert (won.occurred_at, won.value, won.touch and won.touch.id) == (at(13), 10_000, "c3")

    def test_leads_and_deals_are_found(self) -> None:
        catalog, store = self._told()
        [found_lead] = catalog.page(Lead, Query(since=at(10), until=at(11))).items
        assert found_lead.ref in {item.ref for item in store.leads({found_lead.ref})}
        assert found_lead.visitor_ids == {ANNA}
        assert catalog.read(Lead, ["crm/lead-1", "crm/lead-9"]) == {"crm/lead-1": found_lead}
        [found_deal] = catalog.page(Deal, Query(since=at(12), until=at(13))).items
        assert (found_deal.value, found_deal.status) == (10_000, DealStatus.WON)
        assert catalog.read(Deal, ["crm/deal-1", "crm/deal-9"]) == {"crm/deal-1": found_deal}
        assert catalog.page(Lead, Query(until=at(10))).items == ()
        assert catalog.page(Deal, Query(since=at(13))).items == ()

    def test_other_events_are_events_and_no_clicks(self) -> None:
        catalog, store = self._told()
        engine = Engine(store, Hooks(), self.settings())
        page = {"kind": "page_view", "destination": "https://shop.example/page"}
        engine.record_events(
            [click("p1", 4, "", **page), click("p2", 4, "", kind="signup", data='{"plan": "ü"}')]
        )
        engine.process_clicks()
        found = {e.click.event_id: e.click for e in catalog.page(ClickEvent, Query()).items}
        assert (found["p1"].kind, found["p1"].destination) == ("page_view", page["destination"])
        assert (found["p2"].kind, found["p2"].data) == ("signup", '{"plan": "ü"}')
        assert catalog.stats(Query()).clicks == 4
        anna = catalog.read(Visitor, [ANNA])[ANNA]
        assert (anna.clicks, anna.last_seen) == (3, at(4))

    def test_an_edge_is_told_of_links_as_they_change(self) -> None:
        catalog, _ = self.new_host(LINKS)
        rich = replace(RICH_LINK, content="a copy")
        made = catalog.create([TrackedLink(rich), TrackedLink(replace(rich, code="", content=""))])
        told, cursor = self._changes(catalog, "")
        assert told.keys() >= {link.code for link in LINKS}
        for record in made:
            assert told[record.id] == catalog.read(TrackedLink, [record.id])[record.id].link
        moved = replace(made[0].link, destination="https://new.example/")
        catalog.update([replace(made[0], link=moved)])
        told, cursor = self._changes(catalog, cursor)
        assert told[moved.code].destination == "https://new.example/"
        self._changes(catalog, cursor)
        try:
            catalog.changed_links("nonsense", 10)
        except InvalidEvent as error:
            assert "cursor" in str(error)
        else:
            raise AssertionError("changes since nothing")

    def _changes(self, catalog: Catalog, cursor: str) -> tuple[dict[str, Link], str]:
        """All that changed since `cursor`, two at a time, and where to go on."""
        found: dict[str, Link] = {}
        for _ in range(1000):
            told = catalog.changed_links(cursor, 2)
            found.update((link.code, link) for link in told.links)
            cursor = told.cursor
            if not told.more:
                return found, cursor
        raise AssertionError("the changes have no end")

    def test_stats_count_people(self) -> None:
        catalog, _ = self._told()
        all_, one = catalog.stats(Query()), catalog.stats(Query(link_code="adsGogl"))
        assert (all_.clicks, all_.visitors, all_.ignored, all_.conversions) == (4, 2, 2, 2)
        assert (one.clicks, one.visitors, one.ignored, one.conversions) == (3, 2, 2, 0)
        assert one.last_click_at == at(3)
        days = {at(1).date().isoformat(): 2, at(3).date().isoformat(): 1}
        assert dict(one.days) == days
        assert dict(one.channels) == {"Paid Search": 3}
        assert sum(one.devices.values()) == sum(one.browsers.values()) == 3
        campaign = catalog.stats(Query(campaign="spring", since=at(2)))
        assert (campaign.clicks, campaign.ignored, campaign.conversions) == (2, 2, 2)
        nothing = catalog.stats(Query(campaign="brand"))
        assert (nothing.clicks, dict(nothing.days), nothing.last_click_at) == (0, {}, None)
