"""One link serves a site in several languages."""

from __future__ import annotations

import pytest

import trackflow_localise
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Link, LinkRule
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import at
from trackflow_core.tracking.links import Request


def chosen(link: Link, languages: str) -> str | None:
    engine = Engine(MemoryStore(), Hooks({"localise": trackflow_localise}))
    return engine.choose_destination(link, Request(languages=languages), at()).destination


@pytest.fixture(autouse=True)
def sites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trackflow_localise.VARIABLE, "www.shop.example=en,de,fr")


@pytest.mark.parametrize(
    ("stored", "languages", "expected"),
    [
        ("https://shop.example/a%2Fb?x=%20#f", "de-AT,de;q=0.9", "/de/a%2Fb?x=%20#f"),
        ("https://shop.example", "fr", "/fr/"),
        ("https://shop.example?utm=1", "fr", "/fr/?utm=1"),
        ("https://shop.example/a", "en,de;q=0.5", "/a"),
        ("https://shop.example/a", "ja", "/a"),
        ("https://shop.example/a", "", "/a"),
        ("https://shop.example/fr/a", "de", "/fr/a"),
        ("https://shop.example/freight", "de", "/de/freight"),
    ],
)
def test_a_click_lands_in_its_language(stored: str, languages: str, expected: str) -> None:
    assert chosen(Link("code", stored), languages) == f"https://shop.example{expected}"


def test_other_sites_and_rules_stay() -> None:
    assert chosen(Link("code", "https://other.example/a"), "de") == "https://other.example/a"
    ruled = LinkRule("https://shop.example/ruled", language="de")
    assert chosen(Link("code", "https://shop.example/", rules=(ruled,)), "de") == ruled.destination


def test_a_link_out_of_use_stays_so() -> None:
    link = Link(
        "code", "https://shop.example/a", ends=at(-3).date(), fallback="https://shop.example/f"
    )
    assert chosen(link, "de") == "https://shop.example/f"


def test_without_the_variable_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trackflow_localise.VARIABLE)
    assert chosen(Link("code", "https://shop.example/a"), "de") == "https://shop.example/a"
