"""What the pages on attribution say is so."""

from __future__ import annotations

from pathlib import Path

from trackflow_core import attribution
from trackflow_core.attribution import BUILTIN_RULES, Model, attribute
from trackflow_core.testing.facts import deal, touch

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = (DOCS / "reference/attribution.md").read_text()
GUIDE = (DOCS / "guides/attribution-models.md").read_text()
RULES = {rule.name: rule for rule in BUILTIN_RULES}


def test_every_rule_parameter_and_public_name_is_documented() -> None:
    for rule in BUILTIN_RULES:
        (row,) = (line for line in REFERENCE.splitlines() if line.startswith(f"| `{rule.name}` |"))
        assert all(f"`{name}` {value}" in row for name, value in rule.parameters.items())
        assert f"| {rule.title} |" in GUIDE
    assert all(name in REFERENCE for name in attribution.__all__)


def test_every_key_of_a_receipt_is_documented() -> None:
    receipt = attribute([touch("t", 1)], deal(), Model(RULES["w_shaped"])).receipt()
    keys = {*receipt, *receipt["milestones"], *receipt["credits"][0]}
    assert [key for key in keys if f"`{key}`" not in REFERENCE] == []


def test_the_guide_shows_a_real_receipt() -> None:
    journey = (
        touch("c1", 1, source="google", medium="cpc", campaign="spring"),
        touch("c2", 4, "Email", source="newsletter", medium="email"),
        touch("c3", 9, "Direct"),
    )
    assert attribute(journey, deal(), Model(RULES["linear"])).explain() in GUIDE


def test_the_guides_example_is_right() -> None:
    journey = [
        touch("a", 1),
        touch("b", 4, "Email"),
        touch("c", 6, "Organic Search"),
        touch("d", 9, "Email"),
    ]
    for line in GUIDE.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        rule = next((rule for rule in BUILTIN_RULES if cells[1:2] == [rule.title]), None)
        if rule and "·" in cells[2]:
            found = attribute(journey, deal(value=1000), Model(rule)).credits
            shown = [int(part.replace(",", "")) for part in cells[2].split("·")]
            assert [credit.value for credit in found] == shown, rule.name
