"""Bots found, people taken for bots, and what it costs, beside the packages that others use.

The user agents are real: Matomo's fixtures and the examples of crawler-user-agents, which their
distributions ship. A bot counts as found when it is held for a bot or for a link preview; people in
in-app browsers count as lost when they are called bots. The second table says by which rule of the
core, the first that applies.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from tests.environment.failure import SetupError
from tests.tracking import user_agents
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks, load
from trackflow_core.model import Click, ClickEvent, Context, Verdict
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import LINKS, click
from trackflow_core.tracking import agents, sessions

RECALL, FALSE_ALARMS = 0.99, 0.001
COLD_US, CACHED_US, CLICK_US = 100, 2, 60
# Of packages that are slow, every so manieth browser is asked; of the slowest, bots and
# in-app browsers as well.
SLOW = {"device-detector": 25, "crawlerdetect": 5, "crawler-user-agents": 5}
_TIMED = 400
_NOT_HUMAN = (Verdict.BOT, Verdict.PREVIEW)

IsBot = Callable[[str], bool]
Judge = Callable[[str], Verdict]


@dataclass(frozen=True)
class _Real:
    """The user agents by what is behind them."""

    matomo: Sequence[str]
    listed: Sequence[str]
    in_app: Sequence[str]
    browsers: Sequence[str]


def main() -> list[str]:
    """Print the tables; the targets that were missed, in words."""
    try:
        real = _Real(
            user_agents.matomo_bots(),
            user_agents.listed_crawlers(),
            user_agents.in_app_browsers(),
            user_agents.matomo_browsers(),
        )
        peers = _peers()
    except ImportError as error:
        raise SetupError(f"{error.name} is not installed: run make setup") from error
    print(
        f"\nUser agents: {len(real.matomo):,} bots of Matomo, {len(real.listed):,} of "
        f"crawler-user-agents, {len(real.in_app):,} in-app browsers, {len(real.browsers):,} browsers"
    )
    print(
        f"{'':36}{'Matomo':>8}{'listed':>8}{'in-app':>8}{'browsers':>10}{'µs each':>10}\n"
        f"{'':36}{'found':>8}{'found':>8}{'lost':>8}{'lost':>10}{'(median)':>10}"
    )
    missed = _missed(_measure("trackflow-core", *_ours(_core), real))
    plugin = load(frozenset({"crawlers"}))
    _measure("trackflow-core + trackflow-crawlers", *_ours(_with(plugin)), real)
    for name, is_bot in peers:
        _measure(name, is_bot, is_bot, real)
    _print_rules(real)
    return missed + _times(real)


def _core(user_agent: str) -> Verdict:
    return agents.judge(user_agent[: agents.MAX_LENGTH])[0]


def _with(hooks: Hooks) -> Judge:
    context = Context()

    def judge(user_agent: str) -> Verdict:
        found = agents.classify(user_agent)
        asked = click("c", 1, user_agent=user_agent)
        return hooks.is_bot(found, asked, context).verdict

    return judge


def _ours(judge: Judge) -> tuple[IsBot, IsBot]:
    """Whether we hold a user agent for no person's, and whether we call it a bot."""
    return lambda text: judge(text) in _NOT_HUMAN, lambda text: judge(text) is Verdict.BOT


def _peers() -> list[tuple[str, IsBot]]:
    from crawlerdetect import CrawlerDetect
    from device_detector import DeviceDetector

    listed = files("crawleruseragents") / "crawler-user-agents.json"
    joined = re.compile(
        "|".join(entry["pattern"] for entry in json.loads(listed.read_text(encoding="utf-8")))
    )
    detect = CrawlerDetect()
    found: list[tuple[str, IsBot]] = [
        ("crawlerdetect", lambda text: bool(detect.isCrawler(text))),
        ("crawler-user-agents", lambda text: bool(joined.search(text))),
        ("device-detector", lambda text: bool(DeviceDetector(text).parse().is_bot())),
    ]
    if words := _words_of_odoo():
        found.insert(0, ("Odoo 19", lambda text: any(word in text.lower() for word in words)))
    return found


def _words_of_odoo() -> Sequence[str]:
    """The words by which Odoo's `ir.http` tells bots, read from the Odoo that is installed."""
    spec = find_spec("odoo")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        source = Path(folder) / "addons" / "web" / "models" / "ir_http.py"
        if source.is_file():
            match = re.search(
                r"^    bots = (\[.*?\])", source.read_text(), re.MULTILINE | re.DOTALL
            )
            return ast.literal_eval(match[1]) if match else ()
    print("There is no Odoo here, so its row is left out.")
    return ()


@dataclass(frozen=True)
class _Shares:
    """Bots that are found and people who are lost, as shares, in-app browsers as a number."""

    matomo: float
    listed: float
    in_app: int
    browsers: float


def _measure(name: str, is_bot: IsBot, calls_bot: IsBot, real: _Real) -> _Shares:
    step = SLOW.get(name, 1)
    of_others = step if step > 10 else 1
    some = [*real.matomo[::20], *real.browsers[:: len(real.browsers) // _TIMED]]
    # Before caches know them.
    cost = _each(is_bot, some)
    found = _Shares(
        _share(is_bot, real.matomo[::of_others]),
        _share(is_bot, real.listed[::of_others]),
        sum(map(calls_bot, real.in_app[::of_others])),
        _share(is_bot, real.browsers[::step]),
    )
    print(
        f"{name:36}{found.matomo:>8.1%}{found.listed:>8.1%}{found.in_app:>8,}"
        f"{found.browsers:>10.3%}{cost:>10,.0f}"
        + (f"  (of every {step}th{' browser' if of_others == 1 else ''})" if step > 1 else "")
    )
    return found


def _missed(ours: _Shares) -> list[str]:
    missed = []
    for share, whose in ((ours.matomo, "Matomo's bots"), (ours.listed, "listed crawlers")):
        if share < RECALL:
            missed.append(f"only {share:.2%} of {whose} are found")
    if ours.in_app:
        missed.append(f"{ours.in_app} people in in-app browsers are called bots")
    if ours.browsers > FALSE_ALARMS:
        missed.append(f"{ours.browsers:.3%} of people's browsers are called bots")
    return missed


def _share(is_bot: IsBot, texts: Sequence[str]) -> float:
    return sum(map(is_bot, texts)) / len(texts)


def _print_rules(real: _Real) -> None:
    """What each rule of the core finds, the first that applies being responsible."""
    bots = {*real.matomo, *real.listed}
    found, wrong = Counter(map(_rule, bots)), Counter(map(_rule, real.browsers))
    print(f"\nRules, on the {len(bots):,} different bots and {len(real.browsers):,} browsers:")
    for rule, count in found.most_common():
        print(f"{rule:>60} {count:6,} bots  {wrong[rule]:6,} browsers")


def _rule(user_agent: str) -> str:
    verdict, reason = agents.judge(user_agent[: agents.MAX_LENGTH])
    return f"{verdict.value}: {reason.partition(' (')[0]}"


def _times(real: _Real) -> list[str]:
    some = [*real.matomo[::10], *real.browsers[:: len(real.browsers) // _TIMED]]
    agents.classify("the engine is built at the first")
    agents._classify.cache_clear()
    cold = _each(agents.classify, some)
    cached = _each(agents.classify, some)
    hits = _clicks(some)
    engine = Engine(MemoryStore(LINKS), Hooks())
    links = {link.code: link for link in LINKS}

    def classified(hit: Click) -> ClickEvent:
        return engine._classify(hit, links[hit.link_code])

    # The click that is timed is the third of its visitor's day.
    before = [classified(replace(hit, event_id=f"{hit.event_id}-0")) for hit in hits[:2]]

    def whole(hit: Click) -> None:
        sessions.split([*before, classified(hit)])

    _each(whole, hits)
    warm = _each(whole, hits)
    print(
        f"\nDevice, browser, system and verdict of one user agent: {cold:.0f} µs cold "
        f"({COLD_US}), {cached:.2f} µs cached ({CACHED_US})\n"
        f"Agent, channel and session of one click, warm: {warm:.0f} µs ({CLICK_US})"
    )
    return [
        f"{what} takes {took:.1f} µs, not {allowed}"
        for what, took, allowed in (
            ("a new user agent", cold, COLD_US),
            ("a known user agent", cached, CACHED_US),
            ("a click", warm, CLICK_US),
        )
        if took > allowed
    ]


def _clicks(texts: Sequence[str]) -> Sequence[Click]:
    referrers = ("", "https://www.google.com/", "https://l.facebook.com/", "https://a.example/x")
    return [
        click(
            f"c{number}",
            1,
            LINKS[number % len(LINKS)].code,
            user_agent=text,
            ip="203.0.113.0",
            referrer=referrers[number % len(referrers)],
            destination=f"https://shop.example/offer?utm_source=google&utm_medium=cpc&n={number}",
        )
        for number, text in enumerate(texts)
    ]


def _each(act: Callable[..., object], things: Sequence[object]) -> float:
    taken = []
    for thing in things:
        start = perf_counter_ns()
        act(thing)
        taken.append(perf_counter_ns() - start)
    return median(taken) / 1000
