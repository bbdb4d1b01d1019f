"""The reference of agents, channels and referrers says what the code does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from trackflow_core.tracking import agents, channels, referrers, scanners

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "classification.md"
FUNCTIONS = {
    "agents.classify": agents.classify,
    "channels.classify": channels.classify,
    "referrers.look_up": inspect.unwrap(referrers.look_up),
    "scanners.find": scanners.find,
}
SECTIONS = dict(
    (section.partition("(")[0], section)
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
)


@pytest.mark.parametrize(("name", "function"), FUNCTIONS.items())
def test_headings_are_signatures(name: str, function: Callable[..., object]) -> None:
    shown, keyword_only = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            shown.append("*")
        shown.append(parameter.name)
    assert SECTIONS[name].splitlines()[0] == f"{name}({', '.join(shown)})"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_are_true(name: str) -> None:
    [code] = re.findall(r"```python\n(.*?)```", SECTIONS[name], re.DOTALL)
    exec(compile(code, f"{PAGE}:{name}", "exec"), {})  # noqa: S102 - our own page
