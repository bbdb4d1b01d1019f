"""Receipts are appended, one JSON line each, and only when something changed."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import trackflow_receipts
from trackflow_core.attribution import BUILTIN_RULES, Attribution, Model, attribute
from trackflow_core.hooks import ApiCall, Hooks, load
from trackflow_core.model import Context
from trackflow_core.testing import MemoryStore
from trackflow_core.testing.facts import deal, touch
from trackflow_receipts import VARIABLE, Receipts, history

RULES = {rule.name: rule for rule in BUILTIN_RULES}
CTX = Context(host="memory", tenant="shop")


def attribution(touches: int = 2, **changes: Any) -> Attribution:
    model = Model(RULES["time_decay"], {"half_life_days": Decimal(3)})
    return attribute([touch(f"t{n}", n) for n in range(touches)], deal(**changes), model)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def notify(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trackflow_hooks: Callable[..., Hooks],
) -> Callable[[Attribution], Path]:
    """Calls the hook as a host does, with a fresh file."""
    path = tmp_path / "receipts.jsonl"
    monkeypatch.setenv(VARIABLE, str(path))
    hooks = trackflow_hooks({"receipts": trackflow_receipts})

    def call(fact: Attribution) -> Path:
        hooks.after_deal_attributed(fact, CTX)
        return path

    return call


def test_a_receipt_tells_how_the_value_was_split(notify: Callable[[Attribution], Path]) -> None:
    fact = attribution()
    [line] = lines(notify(fact))
    credits = line["credits"]
    expected = {
        "deal": "crm/deal-1",
        "model": "time_decay",
        "rule": "time_decay",
        "rule_version": "1",
        "parameters": {"half_life_days": "3"},
        "lookback_seconds": 90 * 86400,
        "anchor": "2026-03-14T09:00:00+00:00",
        "value": 10_000,
        "currency": "EUR",
        "digits": 2,
        "digest": fact.digest,
        "host": "memory",
        "tenant": "shop",
    }
    assert {name: line[name] for name in expected} == expected
    assert [credit["touch"] for credit in credits] == ["t0", "t1"]
    assert sum(credit["value"] for credit in credits) == 10_000


def test_an_unattributed_deal_has_a_receipt_too(notify: Callable[[Attribution], Path]) -> None:
    [line] = lines(notify(attribution(touches=0, ref="crm/Zoë")))
    assert line["deal"] == "crm/Zoë"
    [credit] = line["credits"]
    assert (credit["touch"], credit["channel"], credit["value"]) == (None, "Unattributed", 10_000)


def test_only_a_change_is_written(notify: Callable[[Attribution], Path]) -> None:
    for fact in (attribution(), attribution(), attribution(value=5), attribution()):
        path = notify(fact)
    assert [line["value"] for line in lines(path)] == [10_000, 5, 10_000]


def test_tenants_and_deals_are_told_apart(tmp_path: Path) -> None:
    path, receipts = tmp_path / "receipts.jsonl", Receipts()
    receipts.append(attribution(), CTX, str(path))
    receipts.append(attribution(), replace(CTX, tenant="other"), str(path))
    receipts.append(attribution(ref="crm/deal-2"), CTX, str(path))
    assert len(lines(path)) == 3


def test_without_the_variable_nothing_happens(
    notify: Callable[[Attribution], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    assert not notify(attribution()).exists()


def test_a_file_that_cannot_be_written_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receipts, path = Receipts(), tmp_path / "missing" / "receipts.jsonl"
    with caplog.at_level(logging.ERROR):
        receipts.append(attribution(), CTX, str(path))
        receipts.append(attribution(value=7), CTX, str(path))
    [entry] = caplog.records
    assert str(path) in entry.getMessage() and VARIABLE in entry.getMessage()
    path.parent.mkdir()
    receipts.append(attribution(value=7), CTX, str(path))
    assert len(lines(path)) == 1
    path.parent.rename(tmp_path / "moved")
    receipts.append(attribution(), CTX, str(path))
    assert len(caplog.records) == 2


def _write_many(path: str, process: int) -> None:
    receipts = Receipts()
    for number in range(50):
        receipts.append(attribution(touches=20, ref=f"crm/{process}-{number}"), CTX, path)


def test_several_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "receipts.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(str(path), n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len({line["deal"] for line in lines(path)}) == 200


def test_the_api_tells_how_a_split_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, receipts = tmp_path / "receipts.jsonl", Receipts()
    monkeypatch.setenv(VARIABLE, str(path))
    call = ApiCall({"ref": "crm/deal-1"}, None, None, MemoryStore(), CTX)
    with pytest.raises(LookupError, match="crm/deal-1"):
        history(call)
    receipts.append(attribution(), CTX, str(path))
    receipts.append(attribution(value=7), CTX, str(path))
    receipts.append(attribution(value=8), Context(tenant="other"), str(path))
    receipts.append(attribution(ref="crm/deal-2"), CTX, str(path))
    assert [item["value"] for item in history(call).items] == [attribution().deal.value, 7]


def test_it_is_found_by_its_entry_point() -> None:
    hooks = load(frozenset({"receipts"}))
    assert hooks.implemented_by("receipts") == (
        "trackflow_after_deal_attributed",
        "trackflow_register_api_routes",
    )
    assert list(hooks.api_routes) == ["get_receipts"]
