"""`trackflow check-receipt` over files and standard input."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from trackflow_core.attribution import BUILTIN_RULES, Model, attribute
from trackflow_core.testing.facts import deal, touch

Run = Callable[..., tuple[int, str, str]]
RECEIPT = attribute(
    [touch("a", 1), touch("b", 2)], deal(value=101), Model(BUILTIN_RULES[3])
).receipt()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a receipt."""
    found = tmp_path / "receipt.json"
    found.write_text(json.dumps(RECEIPT))
    return found


def test_a_receipt_adds_up(run: Run, path: Path) -> None:
    assert run("check-receipt", str(path)) == (0, "The receipt adds up.\n", "")
    code, output, _ = run("check-receipt", str(path), "--json")
    assert (code, json.loads(output)) == (0, {"adds_up": True, "differences": []})


def test_a_receipt_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.BytesIO(json.dumps(RECEIPT).encode("utf-8-sig"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=text))
    assert run("check-receipt", "-") == (0, "The receipt adds up.\n", "")


def test_what_differs_is_named(run: Run, path: Path) -> None:
    first, second = RECEIPT["credits"]
    path.write_text(json.dumps({**RECEIPT, "credits": [first, {**second, "value": 51}]}))
    line = "credits[1].value is 51, but the receipt's inputs give 50."
    assert run("check-receipt", str(path)) == (1, f"{line}\n", "")
    code, output, _ = run("check-receipt", str(path), "--json")
    assert (code, json.loads(output)) == (1, {"adds_up": False, "differences": [line]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is no JSON"),
        ("\udcff", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "This is no receipt of TrackFlow: it is no JSON object."),
        ('{"status": 404}', "This is no receipt of TrackFlow: it lacks 'rule'."),
        (json.dumps({**RECEIPT, "rule": "strange"}), "rule 'strange' is not installed"),
        (json.dumps({**RECEIPT, "anchor": "2026-03-14"}), "has no time zone"),
    ],
    ids=["half", "bytes", "deep", "list", "problem", "rule", "zone"],
)
def test_what_cannot_be_checked_is_misuse(run: Run, path: Path, text: str, message: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    code, output, error = run("check-receipt", str(path))
    assert (code, output) == (2, "")
    assert error.startswith("trackflow: ")
    assert message in error


def test_a_missing_file_is_misuse(run: Run, path: Path) -> None:
    code, _, error = run("check-receipt", str(path.with_name("none.json")))
    assert code == 2
    assert "No such file" in error
