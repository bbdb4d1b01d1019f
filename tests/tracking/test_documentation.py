"""What the pages on links and tracking say is so."""

from __future__ import annotations

import re
from pathlib import Path

from trackflow_core.model import LinkStatus, Tier
from trackflow_core.testing.facts import at, touch
from trackflow_core.tracking import engagement, templates
from trackflow_core.tracking.consent import Consent, tier

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"
LINKS = (REFERENCE / "links.md").read_text()
TRACKING = (REFERENCE / "tracking.md").read_text()


def rows(page: str) -> list[list[str]]:
    lines = (line for line in page.splitlines() if line.startswith("|"))
    return [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]


def test_the_templates_example_is_right() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", LINKS, re.DOTALL)
    names: dict[str, object] = {}
    exec(code.replace("template.render(", "url = template.render("), names)  # noqa: S102
    assert f"# {names['url']}\n" in code
    (problem,) = names["template"].render_rows([{"campaign": "x"}])[0].problems
    assert problem.reason == "is missing"
    second = names["template"].render_rows([{}, {"campaign": "x", "content": "video"}])[1]
    assert f"    {second.problems[0]}\n" in LINKS


def test_every_kind_filter_and_status_is_documented() -> None:
    assert {row[0] for row in rows(LINKS)} >= {kind.value for kind in templates.Kind}
    assert all(f"`{name}`" in LINKS for name in templates._FILTERS if name)
    assert all(f"`{item.value}`" in LINKS for item in LinkStatus if item is not LinkStatus.ACTIVE)


def test_tiers_and_answers_are_documented() -> None:
    told = rows(TRACKING)
    assert {row[0] for row in told} >= {item.value for item in Tier}
    answers = {
        "granted": Consent.GRANTED,
        "not asked yet": Consent.UNKNOWN,
        "denied": Consent.DENIED,
    }
    for row in told:
        if row[0] in answers:
            consent = answers[row[0]]
            assert row[1:] == [tier(consent).value, tier(consent, gpc="1").value]


def test_the_weights_of_engagement_are_documented() -> None:
    told = {row[0]: row[1] for row in rows(TRACKING) if len(row) == 2}
    for kind, weight in engagement.WEIGHTS.items():
        assert float(told[kind]) == weight
    daily = [touch(f"t{day}", -day) for day in range(1000)]
    assert f"approaches {engagement.score(daily, at(0)):.1f}" in TRACKING
