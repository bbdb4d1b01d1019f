"""`trackflow attribute` and `trackflow explain` over files."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra 'tables' is not installed")

import pyarrow as pa
import pyarrow.parquet as pq

from trackflow_core.attribution import BUILTIN_RULES, Model, attribute
from trackflow_core.testing.facts import at, deal, touch

Run = Callable[..., tuple[int, str, str]]

TOUCHES = """journey_id,touch_id,occurred_at,channel,campaign,page
a,1,2026-03-01T09:00:00Z,Email,spring,/
a,2,2026-03-02 10:00:00,Direct,,/
a,3,2026-03-03,Paid Search,brand,/
lost,4,2026-03-01T09:00:00Z,Email,spring,/
,5,2026-03-01T09:00:00Z,Email,spring,/
"""
CONVERSIONS = """journey_id,occurred_at,value,currency
a,2026-03-05T01:00:00+01:00,100.00,EUR
bare,2026-03-05T00:00:00Z,-50,eur
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with both files."""
    monkeypatch.chdir(tmp_path)
    Path("touches.csv").write_text(TOUCHES)
    Path("conversions.csv").write_text(CONVERSIONS)
    return tmp_path


def call(run: Run, *arguments: str, touches: str = "touches.csv") -> tuple[int, str, str]:
    return run("attribute", "--touches", touches, "--conversions", "conversions.csv", *arguments)


def test_credits_are_written_to_the_cent(run: Run) -> None:
    code, output, error = call(run, "--out", "credits.csv")
    assert (code, output, error) == (0, "Wrote 4 rows to credits.csv.\n", "")
    with Path("credits.csv").open(newline="") as lines:
        rows = [*csv.reader(lines)]
    assert rows == [
        ["journey_id", "touch_id", "channel", "weight", "value"],
        ["a", "1", "Email", "0.3333333333333333", "33.34"],
        ["a", "2", "Direct", "0.3333333333333333", "33.33"],
        ["a", "3", "Paid Search", "0.3333333333333333", "33.33"],
        ["bare", "", "Unattributed", "1", "-50.00"],
    ]


def test_parquet_in_and_out(run: Run) -> None:
    moment = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)
    pq.write_table(
        pa.table({"journey_id": [7], "touch_id": [1], "occurred_at": [moment], "channel": ["x"]}),
        "touches.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "journey_id": [7],
                "occurred_at": [date(2026, 3, 2)],
                "value": [0.285],
                "currency": ["EUR"],
            }
        ),
        "conversions.parquet",
    )
    code, output, _ = run(
        "attribute",
        *("--touches", "touches.parquet", "--conversions", "conversions.parquet"),
        *("--out", "credits.parquet", "--json"),
    )
    assert code == 0
    assert json.loads(output) == {"out": "credits.parquet", "rows": 1, "conversions": 1}
    table = pq.read_table("credits.parquet")
    assert table.schema.field("value").type == pa.decimal128(38, 2)
    assert table.to_pylist() == [
        {"journey_id": "7", "touch_id": "1", "channel": "x", "weight": 1, "value": Decimal("0.29")}
    ]


def test_a_folder_of_parquet_and_a_compressed_csv(run: Run) -> None:
    Path("parts").mkdir()
    for part in range(2):
        name = f"{part}"
        row = {"journey_id": ["a"], "touch_id": [name], "channel": ["Email"]}
        pq.write_table(
            pa.table({**row, "occurred_at": [datetime(2026, 3, 1)]}), f"parts/{name}.parquet"
        )
    with gzip.open("conversions.csv.gz", "wt") as lines:
        lines.write("\ufeff" + CONVERSIONS)
    code, output, _ = run(
        "attribute",
        *("--touches", "parts", "--conversions", "conversions.csv.gz", "--json"),
    )
    assert code == 0
    assert [row["value"] for row in json.loads(output)] == [50.0, 50.0, -50.0]


def test_the_summary_has_a_row_for_each_channel(run: Run) -> None:
    code, output, _ = call(run, "--summary")
    assert code == 0
    assert [line.split("  ")[0] for line in output.splitlines()] == [
        *("channel", "Email", "Direct", "Paid Search", "Unattributed")
    ]
    assert json.loads(call(run, "--summary", "--json")[1])[3] == {
        "channel": "Unattributed",
        "conversions": 1.0,
        "value": -50.0,
    }


def test_currencies_are_never_added_up(run: Run) -> None:
    Path("conversions.csv").write_text(CONVERSIONS + "yen,2026-03-05,1001,JPY\n")
    code, _, error = call(run, "--summary")
    assert code == 1 and "in EUR and JPY, which cannot be added up" in error
    code, output, _ = call(run, "--summary", "--json", "--currency", "jpy")
    assert code == 0
    assert json.loads(output) == [{"channel": "Unattributed", "conversions": 1.0, "value": 1001.0}]
    assert json.loads(call(run, "--json")[1])[-1]["value"] == 1001.0
    code, _, error = call(run, "--currency", "USD")
    assert code == 2 and "there are: EUR, JPY" in error


@pytest.mark.parametrize("rule", BUILTIN_RULES, ids=lambda rule: rule.name)
def test_every_built_in_model_gives_what_the_deal_gives(run: Run, rule: object) -> None:
    Path("conversions.csv").write_text(
        "journey_id,occurred_at,value,currency,lead_created_at,closed_at\n"
        f"a,{at(12)},100.01,EUR,{at(4)},{at(12.5)}\n"
        f"b,{at(12)},7.77,EUR,,\n"
    )
    moments = {"a": [1, 3, 3, 5, 11], "b": [2, 2.5], "none": [4]}
    told = {
        name: [
            touch(f"{name}{n}", day, "Direct" if n == 4 else "Email") for n, day in enumerate(days)
        ]
        for name, days in moments.items()
    }
    lines = ["journey_id,touch_id,occurred_at,channel"]
    lines += [
        f"{name},{item.id},{item.occurred_at},{item.channel}"
        for name, touches in told.items()
        for item in touches
    ]
    Path("touches.csv").write_text("\n".join(lines))
    code, output, _ = call(run, "--model", rule.name, "--json")
    assert code == 0
    found = defaultdict(list)
    for row in json.loads(output):
        found[row["journey_id"]].append((row["touch_id"], row["weight"], row["value"]))
    closed = {"closed_at": at(12.5), "status": "lost"}
    for name, value, more, lead in (("a", 10001, closed, at(4)), ("b", 777, {}, None)):
        credits = attribute(
            told[name], deal(name, value=value, **more), Model(rule), lead_created_at=lead
        ).credits
        assert found[name] == [(c.touch.id, c.weight, c.value / 100) for c in credits]


def test_parameters_and_windows(run: Run) -> None:
    code, output, _ = call(
        run, "--model", "position-based", "--set", "first_percent=70", "--lookback", "2.6", "--json"
    )
    rows = json.loads(output)
    assert (code, [row["touch_id"] for row in rows]) == (0, ["2", "3", None])
    assert [row["value"] for row in rows] == [63.64, 36.36, -50.0]


def test_moments_without_an_offset_are_in_the_zone(run: Run) -> None:
    # Ten in the morning in Honolulu is 20:00 UTC, sixteen hours after this window begins.
    arguments = ("--lookback", "2.2", "--json", "--zone")
    assert len(json.loads(call(run, *arguments, "UTC")[1])) == 2
    assert len(json.loads(call(run, *arguments, "Pacific/Honolulu")[1])) == 3
    code, _, error = call(run, "--zone", "Atlantis")
    assert code == 2 and "no time zone 'Atlantis'" in error


def test_channel_rules_make_a_custom_model(run: Run) -> None:
    Path("rules.csv").write_text("weight,channel,campaign\n0,direct,\n0.5,,BR*\n")
    code, output, _ = call(run, "--channel-rules", "rules.csv", "--json")
    assert code == 0
    assert [row["value"] for row in json.loads(output)] == [66.67, 0.0, 33.33, -50.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("channel\nDirect\n", "has no column 'weight'"),
        ("weight,chanel\n1,x\n", "has a column 'chanel'; channel rules have: weight, channel"),
        ("weight,channel\nhalf,x\n", "row 1 holds a weight or priority that is no number"),
        ("weight,channel\n-1,x\n", "must be zero or more"),
        ("weight,channel\n1,x,y\n", "has a column None"),
    ],
)
def test_channel_rules_that_cannot_be_used(run: Run, text: str, reason: str) -> None:
    Path("rules.csv").write_text(text)
    code, _, error = call(run, "--channel-rules", "rules.csv")
    assert code == 1 and reason in error and error.count("\n") == 1


def test_a_milestone_that_is_not_told_is_said(run: Run) -> None:
    assert "no lead_created_at" in call(run, "--model", "w_shaped")[2]
    assert "no closed_at" in call(run, "--model", "full_path")[2]


def test_explain_prints_the_receipt(run: Run) -> None:
    files = ("--touches", "touches.csv", "--conversions", "conversions.csv")
    code, output, _ = run("explain", "a", *files, "--model", "first_touch")
    assert code == 0
    assert "Deal a: 100.00 EUR" in output and "100.00%          100.00  Email" in output
    receipt = json.loads(run("explain", "bare", *files, "--json")[1])
    assert (receipt["sum"], receipt["credits"][0]["channel"]) == (-5000, "Unattributed")
    code, _, error = run("explain", "nobody", *files)
    assert code == 1 and "no conversion of the journey 'nobody'" in error


def test_explain_counts_back_from_the_close_where_the_file_does(run: Run) -> None:
    Path("conversions.csv").write_text(
        "journey_id,occurred_at,value,currency,deal_created_at,closed_at\n"
        "a,2026-03-05,100,EUR,2026-03-02,2026-03-05\n"
    )
    files = ("--touches", "touches.csv", "--conversions", "conversions.csv", "--json")
    receipt = json.loads(run("explain", "a", *files, "--model", "full_path")[1])
    rows = json.loads(run("attribute", *files, "--model", "full_path")[1])
    assert receipt["anchor_kind"] == "won"
    assert [credit["value"] / 100 for credit in receipt["credits"]] == [
        row["value"] for row in rows
    ]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (
            "touches.csv",
            TOUCHES.replace("channel", "chanel"),
            "touches.csv has no column 'channel': add it, or rename the one that holds it "
            "(there are: journey_id, touch_id, occurred_at, chanel, campaign, page).",
        ),
        ("conversions.csv", "", "conversions.csv has no column 'journey_id'"),
        (
            "touches.csv",
            TOUCHES.replace("2026-03-02 10", "yesterday 10"),
            "touches.csv: row 2, column 'occurred_at' holds 'yesterday 10:00:00', which is no moment",
        ),
        ("touches.csv", TOUCHES.replace("2026-03-03", ""), "'occurred_at' has empty rows"),
        ("touches.csv", TOUCHES.replace("a,2", "a,"), "'touch_id' has empty rows"),
        ("conversions.csv", CONVERSIONS.replace("bare", ""), "'journey_id' has empty rows"),
        ("conversions.csv", CONVERSIONS.replace("bare", "a"), "journey 'a' has two conversions"),
        (
            "conversions.csv",
            CONVERSIONS.replace("-50", "fifty"),
            "row 2, column 'value' holds 'fifty', which is no amount of money",
        ),
        ("conversions.csv", CONVERSIONS.replace("-50", ""), "is no amount of money"),
        ("conversions.csv", CONVERSIONS.replace("-50", "1e18"), "which is too much"),
        (
            "conversions.csv",
            "journey_id,occurred_at,value,currency,deal_created_at\na,2026-03-05,1,EUR,2026-03-01\n",
            "'occurred_at' of the journey 'a' is neither",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(run: Run, name: str, text: str, reason: str) -> None:
    Path(name).write_text(text)
    code, output, error = call(run)
    assert (code, output) == (1, "")
    assert reason in error and error.startswith("trackflow: ") and error.count("\n") == 1


def test_a_column_of_another_kind_is_named(run: Run) -> None:
    row = {"journey_id": ["a"], "touch_id": ["1"], "occurred_at": [3], "channel": ["x"]}
    pq.write_table(pa.table(row), "touches.parquet")
    code, _, error = call(run, touches="touches.parquet")
    assert code == 1 and "touches.parquet: column 'occurred_at' holds int64, not moments" in error


@pytest.mark.parametrize("name", ["touches.parquet", "touches.xlsx"])
def test_a_file_of_another_kind_is_named(run: Run, name: str) -> None:
    Path(name).write_text("no table")
    code, _, error = call(run, touches=name)
    assert code == 1 and name in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "best"], "no model 'best'; there are: first_touch, "),
        (["--set", "half_life_days=3"], "'linear' has no parameter 'half_life_days'"),
        (["--model", "time_decay", "--set", "half_life_days=7d"], "is not NAME=NUMBER"),
        (["--model", "time_decay", "--set", "half_life_days=-1"], "must be zero or more"),
        (["--lookback", "1e12"], "longer than time"),
        (["--lookback", "-1"], "--lookback"),
        (["--channel-rules", "none.csv"], "none.csv"),
    ],
)
def test_misuse_is_two(run: Run, arguments: list[str], reason: str) -> None:
    code, output, error = call(run, *arguments)
    assert (code, output) == (2, "") and reason in error


def test_a_file_that_does_not_exist_is_misuse(run: Run) -> None:
    assert call(run, touches="nothing.csv")[0] == 2


@pytest.mark.parametrize("out", ["credits.xlsx", "nowhere/credits.csv"])
def test_a_result_that_cannot_be_written(run: Run, out: str) -> None:
    code, _, error = call(run, "--out", out)
    assert code == 1 and out in error and error.count("\n") == 1


def test_without_pyarrow_its_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("trackflow_core.attribution.files", raising=False)
    monkeypatch.delitem(sys.modules, "trackflow_core.attribution.files", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, error = call(run)
    assert code == 1 and "pip install 'trackflow-core[tables]'" in error


FIT = {
    "trackflow_fit": 1,
    "rule": "markov",
    "version": 3,
    "fitted_at": "2026-01-01T00:00:00+00:00",
    "journeys": 9,
    "conversions": 4,
    "weights": {"Direct": 0, "Email": 3, "Paid Search": 1},
    "unseen": 1,
    "enough": True,
    "note": "",
    "parameters": {"order": "1", "prior_conversions": "0"},
    "draws": [],
}


def test_a_fit_splits_by_what_was_learned(run: Run) -> None:
    Path("fit.json").write_text(json.dumps(FIT))
    code, output, _ = call(run, "--model", "fit.json", "--json")
    assert code == 0
    values = {row["touch_id"]: row["value"] for row in json.loads(output)}
    assert values == {"1": 75.0, "2": 0.0, "3": 25.0, None: -50.0}
    files = ("--touches", "touches.csv", "--conversions", "conversions.csv")
    code, output, _ = run("explain", "a", *files, "--model", "fit.json")
    assert code == 0 and "Fit 3 of 2026-01-01: Direct=0, Email=3, Paid Search=1" in output


@pytest.mark.parametrize(
    ("text", "options", "code", "reason"),
    [
        (None, [], 2, "There is no file fit.json"),
        ("{}", [], 1, "fit.json: This is not a fitted model"),
        (json.dumps({**FIT, "rule": "linear"}), [], 2, "is one of 'linear'"),
        (json.dumps(FIT), ["--set", "order=2"], 2, "fit again to change 'order=2'"),
    ],
)
def test_a_fit_that_cannot_be_used(
    run: Run, text: str | None, options: list[str], code: int, reason: str
) -> None:
    if text is not None:
        Path("fit.json").write_text(text)
    found = call(run, "--model", "fit.json", *options)
    assert found[0] == code and reason in found[2] and found[2].count("\n") == 1
