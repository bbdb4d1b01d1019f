"""`trackflow fit` learns from files what the rule learns from the same paths."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from trackflow_core import cli
from trackflow_core.attribution import Fit
from trackflow_core.attribution import Path as Journeys
from trackflow_core.attribution.fits import no_progress
from trackflow_data_driven import MARKOV_VALUE

TOUCHES = """journey_id,touch_id,occurred_at,channel
1,a,2026-01-01T09:00:00Z,Display
1,b,2026-01-02T09:00:00Z,Email
2,c,2026-01-01T09:00:00Z,Email
3,d,2026-01-01T09:00:00Z,Display
"""
CONVERSIONS = """journey_id,occurred_at,value,currency
1,2026-01-03T09:00:00Z,120.50,EUR
2,2026-01-03T09:00:00Z,80,EUR
"""


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, conversions: str, *options: str) -> int:
    (folder / "touches.csv").write_text(TOUCHES)
    (folder / "deals.csv").write_text(conversions)
    files = ["--touches", "touches.csv", "--conversions", "deals.csv", "--out", "fit.json"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["trackflow", "fit", *files, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_it_learns_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "markov_value", "--prior-conversions", "3"]
    assert run(tmp_path, monkeypatch, CONVERSIONS, *options) == 0
    found = Fit.from_json((tmp_path / "fit.json").read_text())
    paths = [
        Journeys(("Display", "Email"), 1, 1, 12_050),
        Journeys(("Email",), 1, 1, 8_000),
        Journeys(("Display",), 1),
    ]
    assert MARKOV_VALUE.learn is not None
    parameters = {"order": Decimal(1), "prior_conversions": Decimal(3)}
    assert found == MARKOV_VALUE.learn(paths, parameters, found.fitted_at, no_progress)
    assert "2 conversions in 3 journeys" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("conversions", "options", "words"),
    [
        (CONVERSIONS, ["--model", "shapley"], "no model 'shapley' to fit"),
        (CONVERSIONS, ["--order", "9"], "whole number from 1 to 4"),
        (CONVERSIONS.replace("currency", "money"), [], "no column 'currency'"),
        (CONVERSIONS.replace("80,EUR", "80,USD"), ["--model", "markov_value"], "in EUR and USD"),
        (CONVERSIONS, ["--currency", "CHF"], "No conversion in deals.csv is in CHF"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    conversions: str,
    options: list[str],
    words: str,
) -> None:
    assert run(tmp_path, monkeypatch, conversions, *options) in (1, 2)
    assert words in capsys.readouterr().err
