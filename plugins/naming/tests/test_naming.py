"""Conventions tidy sources and name channels; a mistake in them is said and changes nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import trackflow_naming
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Link, Source
from trackflow_core.testing import ClassifierContract, MemoryStore
from trackflow_core.testing.facts import click

README = Path(__file__).parents[1] / "README.md"
[EXAMPLE] = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def naming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "naming.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.setenv(trackflow_naming.VARIABLE, str(path))
    monkeypatch.setattr(trackflow_naming, "_file", trackflow_naming.File())
    return path


def classified(source: str, medium: str = "", campaign: str = "") -> Source:
    link = Link("code", "https://shop.example/", source, medium, campaign)
    store = MemoryStore([link])
    engine = Engine(store, Hooks({"naming": trackflow_naming}))
    engine.record_click(click("c", 1, "code", visitor_id=None))
    engine.process_clicks()
    [event] = store.click_events()
    return event.source


@pytest.mark.usefixtures("naming")
class TestNaming(ClassifierContract):
    plugin = trackflow_naming


@pytest.mark.usefixtures("naming")
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (("fb", "Paid-Social", "Spring"), ("facebook", "cpc", "spring", "Paid Social")),
        (("FB_ads", "cpc"), ("facebook", "cpc", "", "Paid Social")),
        (("Facebook", "Social"), ("facebook", "social", "", "Organic Social")),
        (("Partner-Smith", "referral"), ("partner-smith", "referral", "", "Partners")),
        (("google", "cpc", "DE Brand 2026"), ("google", "cpc", "de brand 2026", "Brand Search")),
        (("google", "organic", "brand"), ("google", "organic", "brand", "Organic Search")),
    ],
)
def test_the_example_of_the_readme(
    written: tuple[str, ...], shown: tuple[str, str, str, str]
) -> None:
    found = classified(*written)
    assert (found.source, found.medium, found.campaign, found.channel) == shown


def test_without_conventions_touches_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trackflow_naming.VARIABLE, raising=False)
    assert classified("FB", "Social").source == "FB"


def test_case_stays_unless_told_otherwise(naming: Path) -> None:
    naming.write_text('[sources]\n"fb" = "Facebook"\n', encoding="utf-8")
    found = classified("FB", "Social", "Spring")
    assert (found.source, found.medium, found.campaign) == ("Facebook", "Social", "Spring")


def test_a_changed_file_is_read_anew(naming: Path) -> None:
    assert classified("fb").source == "facebook"
    naming.write_text('[sources]\nfb = "meta"\n', encoding="utf-8")
    os.utime(naming, ns=(1, 1))
    assert classified("fb").source == "meta"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("source = [", "Invalid"),
        ("surces = 1", "unknown entry 'surces'"),
        ("lower_case = 1", "lower_case must be true or false"),
        ("sources = 1", "[sources] must give a name"),
        ("[mediums]\nx = 1", "[mediums] must give a name"),
        ("channels = 1", "must be written as [[channels]]"),
        ("[[channels]]\nsource = 'x'", "number 1 must name its channel"),
        ("[[channels]]\nchannel = 'x'\nsource = 1", "values go in quotes"),
        ("[[channels]]\nchannel = 'x'", "number 1 fits everything"),
        ("[[channels]]\nchannel = 'x'\nterm = 'y'", "unknown entry 'term'"),
    ],
)
def test_a_mistake_is_said_once_and_nothing_changes(
    naming: Path, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    naming.write_text(text, encoding="utf-8")
    assert [classified("FB").source for _ in range(2)] == ["FB", "FB"]
    [entry] = caplog.records
    assert reason in entry.getMessage()


def test_a_missing_file_is_said(naming: Path, caplog: pytest.LogCaptureFixture) -> None:
    naming.unlink()
    assert classified("FB").source == "FB"
    assert "not in use" in caplog.text
