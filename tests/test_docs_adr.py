"""Decisions are numbered once and written in one form."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

RECORDS = sorted((Path(__file__).parents[1] / "docs" / "adr").glob("*.md"))


def test_numbers_are_unique() -> None:
    numbers = Counter(record.name[:4] for record in RECORDS)
    assert RECORDS
    assert [number for number, count in numbers.items() if count > 1] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_the_four_parts(record: Path) -> None:
    number = re.match(r"([0-9]{4})-[a-z0-9-]+\.md\Z", record.name)
    text = record.read_text(encoding="utf-8")
    assert number and text.startswith(f"# {int(number[1])}. ")
    parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert parts == ["Status", "Context", "Decision", "Consequences"]
