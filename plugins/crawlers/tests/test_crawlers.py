"""The list finds crawlers dressed as browsers and leaves people alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files

import pytest

import trackflow_crawlers
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Click, Verdict
from trackflow_core.testing import ClassifierContract, MemoryStore
from trackflow_core.testing.facts import LINKS, click
from trackflow_crawlers import Crawlers, crawler_of, literal_of

BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/100.0.4896.127 Safari/537.36"
)


class TestCrawlers(ClassifierContract):
    plugin = trackflow_crawlers

    def clicks(self) -> Sequence[Click]:
        return [click("readable", 1, user_agent=f"{BROWSER} Readable/1.1.4")]


@pytest.mark.parametrize(
    ("user_agent", "verdict", "reason"),
    [
        (f"{BROWSER} Readable/1.1.4", Verdict.BOT, "known crawler (Readable)"),
        (BROWSER, Verdict.HUMAN, "looks like a browser"),
        (f"{BROWSER} OPR/86.0", Verdict.HUMAN, "looks like a browser"),
        ("curl/8", Verdict.BOT, "names itself an automaton (curl)"),
        ("WhatsApp/2.23", Verdict.PREVIEW, "link preview (whatsapp)"),
        # The list has "Viber", "Sonic" and "008/" too.
        (f"{BROWSER} Viber/22.1", Verdict.HUMAN, "in-app browser (viber)"),
        (f"{BROWSER} Panasonic/1", Verdict.HUMAN, "looks like a browser"),
        (f"{BROWSER} Engine/0.008/x", Verdict.HUMAN, "looks like a browser"),
    ],
)
def test_crawlers_dressed_as_browsers(user_agent: str, verdict: Verdict, reason: str) -> None:
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks({"crawlers": trackflow_crawlers}))
    engine.record_click(click("c", 1, user_agent=user_agent))
    engine.process_clicks()
    [event] = store.click_events()
    assert (event.agent.verdict, event.agent.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (r"Googlebot\/", "googlebot/"),
        (r"[wW]get", "get"),
        (r"AdsBot-Google([^-]|$)", ""),
        (r"(sistrix) Crawler", " crawler"),
        (r"^BW\/", "bw/"),
        (r"colou?r\d+bot", "colo"),
        (r"x{2}longer", "longer"),
        (r"a|b", ""),
    ],
)
def test_literals_stand_in_all_that_a_pattern_matches(pattern: str, literal: str) -> None:
    assert literal_of(pattern) == literal


def test_patterns_without_a_long_literal_are_tried_too() -> None:
    crawlers = Crawlers(["^BW\\/", "Chirp|gotosocial"])
    assert crawlers.find("bw/1.2") == "^BW\\/"
    assert crawlers.find("x gotosocial") == "Chirp|gotosocial"
    assert crawlers.find("mozilla/5.0") == ""


def test_the_index_loses_no_pattern_of_the_list() -> None:
    path = files("crawleruseragents") / "crawler-user-agents.json"
    for entry in json.loads(path.read_text(encoding="utf-8")):
        alone = Crawlers([entry["pattern"]])
        for instance in entry["instances"]:
            low = instance.lower()
            starts = [found.start() for found in re.finditer(entry["pattern"], low, re.IGNORECASE)]
            inside = all(
                start and (low[start - 1].isalnum() or low[start - 1] == ".") for start in starts
            )
            assert bool(alone.find(low)) is not inside


def test_nothing_is_known_of_an_empty_user_agent() -> None:
    assert crawler_of("") == ""
