"""Plugins are found, checked at load, called in order, and cannot hurt each other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from trackflow_core.attribution import Attribution, Journey, Model, Rule, attribute
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.hooks import (
    ApiRoute,
    Command,
    Hooks,
    describe,
    hookimpl,
    installed,
    load,
    manager,
    specs,
)
from trackflow_core.model import (
    Agent,
    Click,
    ClickEvent,
    Context,
    Conversion,
    DealStatus,
    Lead,
    LeadSummary,
    Link,
    LinkStatus,
    Message,
    Outgoing,
    Source,
    Verdict,
)
from trackflow_core.ports import Event
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import ANNA, BEN, LINKS, at, click, deal, lead, touch
from trackflow_core.tracking.links import Choice, Request

WORKSPACE = {
    "crawlers",
    "data_driven",
    "geo",
    "naming",
    "odoo",
    "paid_touch",
    "engagement",
    "receipts",
    "slack",
    "twenty",
    "warehouse",
    "webhook",
    "colleagues",
    "localise",
    "eventlog",
}
CTX = Context()


def _equal(journey: Journey) -> Sequence[int]:
    return [1] * len(journey.touches)


def rule(name: str = "mine") -> Rule:
    return Rule(name, name.title(), "Every touch earns the same.", _equal)


class Shop:
    """The least that a connector needs."""

    name = "shop"
    title = "Shop"

    def map_events(self, payload: Any, namespace: str) -> Sequence[Event]:
        return ()


def plugin(hook: Callable[..., object]) -> SimpleNamespace:
    """A plugin of one function."""
    return SimpleNamespace(**{hook.__name__: hookimpl(hook)})


def rules_plugin(*rules: Rule) -> SimpleNamespace:
    def trackflow_register_attribution_models() -> Sequence[Rule]:
        return rules

    return plugin(trackflow_register_attribution_models)


def classified(module: SimpleNamespace, *clicks: Click) -> MemoryStore:
    """A store after these clicks were processed with one plugin."""
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks({"mine": module}), Settings(context=Context(tenant="shop")))
    for fact in clicks:
        engine.record_click(fact)
    engine.process_clicks()
    return store


def attribution() -> Attribution:
    return attribute([touch("t", 1)], deal(), Model(rule()))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    manager._load.cache_clear()
    yield
    manager._load.cache_clear()


# -- each hook -----------------------------------------------------------------------------


def test_hook_trackflow_register_attribution_models() -> None:
    hooks = Hooks({"mine": rules_plugin(rule("one"), rule("two"))})
    assert list(hooks.rules)[-2:] == ["one", "two"]
    assert "linear" in hooks.rules


def test_hook_trackflow_register_connectors() -> None:
    shop = Shop()

    def trackflow_register_connectors() -> Iterator[Shop]:
        yield shop

    assert Hooks({"mine": plugin(trackflow_register_connectors)}).connectors == {"shop": shop}


def test_hook_trackflow_register_api_routes() -> None:
    route = ApiRoute("count", "GET", "/totals", "totals:read", "Count", lambda call: None)

    def trackflow_register_api_routes() -> Sequence[ApiRoute]:
        return [route]

    assert Hooks({"mine": plugin(trackflow_register_api_routes)}).api_routes == {"count": route}


def test_hook_trackflow_register_table_engines() -> None:
    engine = SimpleNamespace(name="far", schemes=("far",), split=print, paths=print, write=print)

    def trackflow_register_table_engines() -> Sequence[object]:
        return [engine]

    found = Hooks({"mine": plugin(trackflow_register_table_engines)}).table_engines
    assert found == {"far": engine}
    del engine.split
    with pytest.raises(ConfigError, match="not a TableEngine object"):
        Hooks({"mine": plugin(trackflow_register_table_engines)})


def test_hook_trackflow_register_cli_commands() -> None:
    def trackflow_register_cli_commands() -> Sequence[Command]:
        return [Command("greet", print), Command("connector greet", print)]

    assert list(Hooks({"mine": plugin(trackflow_register_cli_commands)}).commands) == [
        "greet",
        "connector greet",
    ]


@pytest.mark.parametrize("name", ["", "Greet", "a b c", "--help"])
def test_a_command_has_a_name_that_can_be_typed(name: str) -> None:
    def trackflow_register_cli_commands() -> Sequence[Command]:
        return [Command(name, print)]

    with pytest.raises(ConfigError, match="one word, or a group and a word"):
        Hooks({"mine": plugin(trackflow_register_cli_commands)})


def test_hook_trackflow_is_bot() -> None:
    def trackflow_is_bot(agent: Agent, click: Click, ctx: Context) -> Agent | None:
        if ctx.tenant == "shop" and click.referrer == "https://loadtest.example/":
            return replace(agent, verdict=Verdict.BOT, reason="our own load test")
        return None

    store = classified(
        plugin(trackflow_is_bot),
        click("ours", 1, referrer="https://loadtest.example/"),
        click("theirs", 2),
    )
    assert [(event.agent.verdict, event.agent.device) for event in store.click_events()] == [
        (Verdict.BOT, "desktop"),
        (Verdict.HUMAN, "desktop"),
    ]
    assert store.click_events()[0].agent.reason == "our own load test"


def test_hook_trackflow_classify_touch() -> None:
    def trackflow_classify_touch(source: Source, click: Click) -> Source | None:
        return replace(source, channel="Fairs") if "fair" in click.destination else None

    store = classified(
        plugin(trackflow_classify_touch),
        click("ours", 1, destination="https://shop.example/fair"),
        click("theirs", 2),
    )
    assert [event.source.channel for event in store.click_events()] == ["Fairs", "Paid Search"]


def test_hook_trackflow_geolocate() -> None:
    def trackflow_geolocate(address: str) -> str | None:
        return {"203.0.113.0": "DE", "203.0.113.9": "Germany"}.get(address)

    engine = Engine(MemoryStore(), Hooks({"mine": plugin(trackflow_geolocate)}))
    assert engine.country_of("203.0.113.0") == "DE"
    assert engine.country_of("198.51.100.0") == ""
    assert Engine(MemoryStore(), Hooks()).country_of("203.0.113.0") == ""


def test_a_country_is_two_letters(caplog: pytest.LogCaptureFixture) -> None:
    def trackflow_geolocate(address: str) -> str:
        return "Germany"

    assert Hooks({"mine": plugin(trackflow_geolocate)}).geolocate("203.0.113.9", CTX) == ""
    assert "'mine' returned from trackflow_geolocate" in caplog.text
    assert "'Germany' is no country code" in caplog.text


def test_the_first_plugin_with_an_answer_decides(caplog: pytest.LogCaptureFixture) -> None:
    def answering(answer: object) -> SimpleNamespace:
        def trackflow_geolocate(address: str) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return plugin(trackflow_geolocate)

    hooks = Hooks(
        {
            "broken": answering(OSError("the disk is gone")),
            "silent": answering(None),
            "wrong": answering(49),
            "unusable": answering("Germany"),
            "right": answering("DE"),
            "late": answering("AT"),
        }
    )
    assert hooks.geolocate("203.0.113.0", CTX) == "DE"
    assert "'broken' failed in trackflow_geolocate" in caplog.text
    assert "'wrong' returned 49 from trackflow_geolocate, not str or None" in caplog.text


def test_clicks_of_mail_gateways_are_kept_and_are_no_touches() -> None:
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks())
    for fact in (click("c1", 1, ip="67.231.144.0"), click("c2", 2, ip="203.0.113.0")):
        engine.record_click(fact)
    engine.process_clicks()
    assert [event.counts for event in store.click_events()] == [False, True]
    assert store.click_events()[0].agent.reason == "comes from the network of Proofpoint"


def test_hook_trackflow_resolve_visitor() -> None:
    def trackflow_resolve_visitor(visitor_ids: frozenset[str], lead: Lead) -> frozenset[str] | None:
        if lead.company == "Known":
            return visitor_ids | {BEN}
        return frozenset() if lead.company == "Ours" else None

    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks({"mine": plugin(trackflow_resolve_visitor)}))
    for company, expected in (("", {ANNA}), ("Known", {ANNA, BEN}), ("Ours", set())):
        engine.apply_lead(lead(f"crm/{company}", company=company))
        [held] = store.leads({f"crm/{company}"})
        assert held.visitor_ids == expected


def test_hook_trackflow_choose_destination(caplog: pytest.LogCaptureFixture) -> None:
    def trackflow_choose_destination(choice: Choice, link: Link, request: Request) -> Choice | None:
        places = {"CH": "https://shop.example.ch/", "XX": "javascript:alert(1)"}
        found = places.get(request.country)
        return replace(choice, destination=found) if found and link.code == "adsGogl" else None

    engine = Engine(MemoryStore(), Hooks({"mine": plugin(trackflow_choose_destination)}))

    def chosen(country: str, link: Link = LINKS[0]) -> str | None:
        return engine.choose_destination(link, Request(country=country), at()).destination

    assert chosen("CH") == "https://shop.example.ch/"
    assert chosen("DE") == chosen("XX") == LINKS[0].destination
    assert "'mine' returned from trackflow_choose_destination" in caplog.text
    assert "must begin with http:// or https://" in caplog.text
    assert chosen("CH", replace(LINKS[0], status=LinkStatus.PAUSED)) is None


def test_hook_trackflow_after_click_recorded() -> None:
    told: list[tuple[str, str | None, bool]] = []

    def trackflow_after_click_recorded(event: ClickEvent, ctx: Context) -> None:
        told.append((event.click.event_id, event.session_id, event.counts))

    classified(
        plugin(trackflow_after_click_recorded),
        click("late", 2, internal=True),
        click("early", 1),
        click("same", 1, occurred_at=at(1, 5)),
    )
    assert told == [("early", "early", True), ("same", "early", True), ("late", None, False)]


def test_hook_trackflow_after_lead_attributed() -> None:
    told: list[tuple[str, int]] = []

    def trackflow_after_lead_attributed(lead: Lead, summary: LeadSummary) -> None:
        told.append((lead.ref, summary.touch_count))

    engine = Engine(MemoryStore(LINKS), Hooks({"mine": plugin(trackflow_after_lead_attributed)}))
    engine.apply_lead(lead())
    engine.record_click(click("c1", 1))
    engine.process_clicks()
    assert told == [("crm/lead-1", 0), ("crm/lead-1", 1)]


def test_hook_trackflow_after_conversion_recorded() -> None:
    told: list[tuple[str, str, int]] = []

    def trackflow_after_conversion_recorded(conversion: Conversion) -> None:
        told.append((conversion.ref, conversion.kind, conversion.value))

    hooks = Hooks({"mine": plugin(trackflow_after_conversion_recorded)})
    engine = Engine(MemoryStore(LINKS), hooks)
    engine.apply([lead("crm/lead-2", visitor_ids=frozenset())])
    engine.record_click(click("c1", 1))
    engine.apply([lead()], [deal(status=DealStatus.WON)])
    assert told == [("crm/lead-1", "lead", 0), ("crm/deal-1", "won", 10_000)]


def test_hook_trackflow_after_deal_attributed() -> None:
    told: list[tuple[str, Context]] = []

    def trackflow_after_deal_attributed(attribution: Attribution, ctx: Context) -> None:
        told.append((attribution.deal.ref, ctx))

    hooks = Hooks({"mine": plugin(trackflow_after_deal_attributed)})
    context = Context(host="memory", tenant="shop")
    Engine(MemoryStore(), hooks, Settings(context=context)).apply([lead()], [deal()])
    assert told == [("crm/deal-1", context)]


def test_hook_trackflow_on_writeback_error() -> None:
    told: list[tuple[str, str, bool]] = []

    def trackflow_on_writeback_error(message: Message, reason: str, final: bool) -> None:
        told.append((message.outgoing.ref, reason, final))

    message = Message("msg_1", Outgoing("connector/crm", "deal.attributed", "crm/1", "{}"), at())
    hooks = Hooks({"mine": plugin(trackflow_on_writeback_error)})
    hooks.on_writeback_error(message, "It is gone.", True, CTX)
    assert told == [("crm/1", "It is gone.", True)]


def test_every_hook_has_a_test() -> None:
    hooks = {name for name in vars(specs) if name.startswith("trackflow_")}
    tested = {name.removeprefix("test_hook_") for name in globals() if name.startswith("test_hook")}
    assert tested == hooks


def test_every_hook_has_a_user_in_this_repository() -> None:
    used = {hook for found in describe(load()) for hook in found.hooks}
    assert used == {name for name in vars(specs) if name.startswith("trackflow_")}


# -- arguments and order -------------------------------------------------------------------


def test_an_implementation_may_take_fewer_arguments() -> None:
    told: list[str] = []

    def trackflow_after_deal_attributed(ctx: Context) -> None:
        told.append(ctx.host)

    Hooks({"mine": plugin(trackflow_after_deal_attributed)}).after_deal_attributed(
        attribution(), CTX
    )
    assert told == ["memory"]


def test_plugins_are_called_in_the_order_of_registration() -> None:
    told: list[str] = []

    def telling(name: str) -> SimpleNamespace:
        def trackflow_after_deal_attributed() -> None:
            told.append(name)

        return plugin(trackflow_after_deal_attributed)

    hooks = Hooks({name: telling(name) for name in "bac"})
    hooks.after_deal_attributed(attribution(), CTX)
    assert told == ["b", "a", "c"]


def test_one_plugin_may_be_an_object_that_cannot_be_hashed() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        @hookimpl
        def trackflow_register_attribution_models(self) -> Sequence[Rule]:
            return [rule()]

    assert "mine" in Hooks({"mine": Unhashable(), "other": rules_plugin(rule("other"))}).rules


def test_a_hook_may_be_implemented_under_another_name() -> None:
    told: list[str] = []

    def telling(name: str) -> SimpleNamespace:
        @hookimpl(specname="trackflow_after_deal_attributed")
        def remember() -> None:
            told.append(name)

        return SimpleNamespace(remember=remember)

    hooks = Hooks({"one": telling("one"), "two": telling("two")})
    hooks.after_deal_attributed(attribution(), CTX)
    assert told == ["one", "two"]


# -- what is wrong with a plugin -----------------------------------------------------------


def refusal(**plugins: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Hooks(plugins)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_name_clash_names_both_plugins() -> None:
    message = refusal(one=rules_plugin(rule()), two=rules_plugin(rule()))
    assert all(part in message for part in ("'mine'", "'one'", "'two'"))


def test_a_clash_with_a_built_in_names_it() -> None:
    assert "'trackflow-core'" in refusal(one=rules_plugin(rule("linear")))


def test_a_plugin_cannot_take_the_name_of_the_core() -> None:
    assert "trackflow-core" in refusal(**{manager.BUILTIN: rules_plugin(rule())})


def test_a_misspelt_hook_is_named() -> None:
    def trackflow_register_atribution_models() -> Sequence[Rule]:
        return []

    message = refusal(mine=plugin(trackflow_register_atribution_models))
    assert message == (
        "The plugin 'mine' implements the unknown hook trackflow_register_atribution_models: "
        "did you mean trackflow_register_attribution_models?"
    )


def test_a_hook_of_a_later_version_is_named() -> None:
    def trackflow_foresee() -> None:
        pass

    assert "trackflow_foresee: update trackflow-core" in refusal(mine=plugin(trackflow_foresee))


def test_a_hook_of_a_later_version_may_be_optional() -> None:
    @hookimpl(optionalhook=True)
    def trackflow_foresee() -> None:
        pass

    later = rules_plugin(rule("early"))
    later.trackflow_foresee = trackflow_foresee
    assert "early" in Hooks({"mine": later}).rules


def test_an_unknown_argument_is_named() -> None:
    def trackflow_after_deal_attributed(attribution: Attribution, request: object) -> None:
        pass

    message = refusal(mine=plugin(trackflow_after_deal_attributed))
    assert message == (
        "The plugin 'mine' takes request in trackflow_after_deal_attributed, which has "
        "attribution, ctx: remove or rename it."
    )


def test_a_coroutine_is_refused() -> None:
    async def trackflow_after_deal_attributed() -> None:
        pass

    assert "remove 'async'" in refusal(mine=plugin(trackflow_after_deal_attributed))


def test_an_async_generator_is_refused() -> None:
    async def trackflow_register_connectors() -> Any:
        yield Shop()

    assert "remove 'async'" in refusal(mine=plugin(trackflow_register_connectors))


def test_a_notification_that_would_never_run_is_refused() -> None:
    def trackflow_after_deal_attributed() -> Iterator[None]:
        yield

    assert "remove 'yield'" in refusal(mine=plugin(trackflow_after_deal_attributed))


def test_a_wrapper_is_refused() -> None:
    @hookimpl(wrapper=True)
    def trackflow_register_connectors() -> Iterator[Any]:
        return (yield)

    message = refusal(
        mine=SimpleNamespace(trackflow_register_connectors=trackflow_register_connectors)
    )
    assert "remove 'wrapper'" in message


def test_a_class_instead_of_an_instance_is_refused() -> None:
    class Mine:
        @hookimpl
        def trackflow_register_attribution_models(self) -> Sequence[Rule]:
            return []

    assert "add '()'" in refusal(mine=Mine)


def test_a_forgotten_decorator_is_noticed() -> None:
    def trackflow_register_connectors() -> Sequence[Shop]:
        return [Shop()]

    message = refusal(
        mine=SimpleNamespace(trackflow_register_connectors=trackflow_register_connectors)
    )
    assert "decorate it" in message


def test_a_plugin_without_hooks_is_refused() -> None:
    assert "no hook" in refusal(mine=SimpleNamespace())


@pytest.mark.parametrize(
    "returned", [rule(), "linear", [None], [Rule], ["linear"], [Shop()], 5, [rule("Not A Slug")]]
)
def test_what_is_no_list_of_rules_is_refused(returned: object) -> None:
    def trackflow_register_attribution_models() -> object:
        return returned

    message = refusal(mine=plugin(trackflow_register_attribution_models))
    assert "'mine'" in message and "trackflow_register_attribution_models" in message


@pytest.mark.parametrize("returned", [[Shop], [object()], [rule()], Shop()])
def test_what_is_no_list_of_connectors_is_refused(returned: object) -> None:
    def trackflow_register_connectors() -> object:
        return returned

    message = refusal(mine=plugin(trackflow_register_connectors))
    assert "'mine'" in message and "trackflow_register_connectors" in message


def test_registering_nothing_is_fine() -> None:
    def trackflow_register_connectors() -> None:
        return None

    assert Hooks({"mine": plugin(trackflow_register_connectors)}).connectors == {}


@pytest.mark.parametrize("late", [False, True])
def test_a_raising_registration_is_named(late: bool) -> None:
    def early() -> Sequence[Rule]:
        raise LookupError("no file")

    def lazily() -> Iterator[Rule]:
        yield rule()
        raise LookupError("no file")

    broken = lazily if late else early
    broken.__name__ = "trackflow_register_attribution_models"
    message = refusal(mine=plugin(broken))
    assert "'mine'" in message and "no file" in message


# -- isolation -----------------------------------------------------------------------------


def test_a_raising_notification_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def raising() -> None:
        raise LookupError("broken on purpose")

    def telling() -> None:
        told.append("told")

    raising.__name__ = telling.__name__ = "trackflow_after_deal_attributed"
    hooks = Hooks({"a": plugin(telling), "bad": plugin(raising), "c": plugin(telling)})
    hooks.after_deal_attributed(attribution(), CTX)
    assert told == ["told", "told"]
    [entry] = caplog.records
    assert "'bad'" in entry.getMessage() and entry.exc_info


def test_a_slow_plugin_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trackflow_geolocate(address: str) -> str:
        return "DE"

    def trackflow_after_deal_attributed() -> None:
        pass

    slow = plugin(trackflow_geolocate)
    slow.trackflow_after_deal_attributed = hookimpl(trackflow_after_deal_attributed)
    hooks = Hooks({"mine": slow})
    seconds = iter([0.0, 0.5, 10.0, 12.5, 20.0, 21.5])
    monkeypatch.setattr(manager, "perf_counter", lambda: next(seconds))
    assert hooks.geolocate("203.0.113.0", CTX) == "DE"
    assert not caplog.records
    assert hooks.geolocate("203.0.113.0", CTX) == "DE"
    hooks.after_deal_attributed(attribution(), CTX)
    assert [entry.getMessage() for entry in caplog.records] == [
        "The plugin 'mine' took 2.5 seconds in trackflow_geolocate.",
        "The plugin 'mine' took 1.5 seconds in trackflow_after_deal_attributed.",
    ]


def test_the_fixture_for_authors_raises_instead(trackflow_hooks: Callable[..., Hooks]) -> None:
    def trackflow_after_deal_attributed() -> None:
        raise LookupError("broken on purpose")

    hooks = trackflow_hooks({"mine": plugin(trackflow_after_deal_attributed)})
    with pytest.raises(LookupError):
        hooks.after_deal_attributed(attribution(), CTX)

    def trackflow_geolocate(address: str) -> str | None:
        return {"203.0.113.0": "DE"}[address] if address else None

    hooks = trackflow_hooks({"mine": plugin(trackflow_geolocate)})
    assert (hooks.geolocate("203.0.113.0", CTX), hooks.geolocate("", CTX)) == ("DE", "")
    with pytest.raises(LookupError):
        hooks.geolocate("203.0.113.1", CTX)

    def trackflow_geolocate_by_name(address: str) -> str:
        return "Germany"

    trackflow_geolocate_by_name.__name__ = "trackflow_geolocate"
    with pytest.raises(InvalidEvent, match="no country code"):
        trackflow_hooks({"mine": plugin(trackflow_geolocate_by_name)}).geolocate("", CTX)


# -- installed plugins ---------------------------------------------------------------------


def test_installed_plugins_are_found() -> None:
    hooks = load()
    assert {point.name for point in installed()} >= WORKSPACE
    assert "paid_touch" in hooks.rules
    assert {"odoo", "webhook"} <= set(hooks.connectors)
    described = {found.name: found for found in describe(hooks)}
    assert described["receipts"].distribution == "trackflow-receipts"
    assert described["receipts"].version
    assert described["receipts"].summary.startswith("Appends every TrackFlow attribution")
    assert described["receipts"].hooks == (
        "trackflow_after_deal_attributed",
        "trackflow_register_api_routes",
    )
    assert not any(found.problem for found in described.values())


def test_only_enabled_plugins_are_loaded() -> None:
    hooks = load(frozenset({"paid_touch"}))
    assert "paid_touch" in hooks.rules
    assert not hooks.connectors
    assert hooks.left_out["odoo"] == "not enabled here"
    assert [found.name for found in describe(hooks, {"paid_touch"})] == ["paid_touch"]


def test_databases_with_different_plugins_do_not_mix() -> None:
    paid, none = load(frozenset({"paid_touch"})), load(frozenset())
    assert "paid_touch" in paid.rules and "paid_touch" not in none.rules
    assert load(frozenset({"paid_touch"})) is paid


def test_the_environment_disables_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "paid_touch" in load().rules
    monkeypatch.setenv(manager.DISABLE, " paid_touch , odoo")
    hooks = load()
    assert "paid_touch" not in hooks.rules
    assert set(hooks.connectors) >= {"webhook"} and "odoo" not in hooks.connectors
    problems = {found.name: found.problem for found in describe(hooks)}
    assert manager.DISABLE in problems["odoo"] and problems["webhook"] == ""


def test_an_unknown_name_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(manager.DISABLE, "paid_tuch")
    load(frozenset({"gone"}))
    told = " ".join(entry.getMessage() for entry in caplog.records)
    assert "'paid_tuch'" in told and "'gone'" in told


def test_the_environment_traces_plugins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(manager.TRACE, "1")
    with caplog.at_level(logging.WARNING, "trackflow.plugins"):
        load().after_deal_attributed(attribution(), CTX)
    told = [entry.getMessage() for entry in caplog.records]
    assert any("receipts" in line and "trackflow_after_deal_attributed" in line for line in told)


def announce(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """Let these entry points be the only installed ones."""
    found = [EntryPoint(name, value, specs.PROJECT) for name, value in points]
    monkeypatch.setattr(manager, "entry_points", lambda group: found)


@pytest.mark.parametrize(
    "value", ["no_such_module_of_a_plugin", "trackflow_paid_touch:no_such_object"]
)
def test_a_plugin_that_cannot_be_imported_is_left_out(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    announce(monkeypatch, ("broken", value), ("paid_touch", "trackflow_paid_touch"))
    hooks = load()
    assert "paid_touch" in hooks.rules
    [entry] = caplog.records
    assert "'broken'" in entry.getMessage() and "no_such" in entry.getMessage()
    assert "no_such" in {found.name: found.problem for found in describe(hooks)}["broken"]


@pytest.mark.parametrize("failure", [RuntimeError, SystemExit])
def test_a_plugin_that_fails_while_importing_is_left_out(
    failure: type[BaseException], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackflow_exploding.py").write_text(f"raise {failure.__name__}('boom')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    announce(monkeypatch, ("exploding", "trackflow_exploding"))
    assert f"{failure.__name__}: boom" in load().left_out["exploding"]


def test_two_plugins_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, ("same", "trackflow_paid_touch"), ("same", "trackflow_receipts"))
    with pytest.raises(ConfigError, match=r"trackflow_paid_touch.*trackflow_receipts"):
        load()


def test_one_plugin_found_twice_on_the_path_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, ("same", "trackflow_paid_touch"), ("same", "trackflow_paid_touch"))
    assert "paid_touch" in load().rules
