"""The reference of hooks says what the code does: signatures, examples and users."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from trackflow_core.attribution import Model, attribute
from trackflow_core.hooks import Hooks, describe, load, specs
from trackflow_core.model import Context
from trackflow_core.testing.facts import deal, touch

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "hooks.md"
HOOKS = {name: hook for name, hook in vars(specs).items() if name.startswith("trackflow_")}
SECTIONS = {
    re.match(r"\w+", section)[0]: section  # type: ignore[index]
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
}


def example_of(hook: str) -> ModuleType:
    """The example of a hook's section, run as a module."""
    [code] = re.findall(r"```python\n(.*?)```", SECTIONS[hook], re.DOTALL)
    module = ModuleType(f"example_{hook}")
    exec(compile(code, f"{PAGE}:{hook}", "exec"), vars(module))  # noqa: S102 - our own page
    return module


def test_every_hook_has_a_section_and_nothing_else_has() -> None:
    assert list(SECTIONS) == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_heading_is_the_signature(hook: str) -> None:
    arguments = ", ".join(inspect.signature(HOOKS[hook]).parameters)
    assert SECTIONS[hook].splitlines()[0] == f"{hook}({arguments})"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_argument_is_explained(hook: str) -> None:
    for argument in inspect.signature(HOOKS[hook]).parameters:
        assert f"\n`{argument}` (" in SECTIONS[hook]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_is_a_working_plugin(hook: str) -> None:
    hooks = Hooks({"example": example_of(hook)})
    assert hooks.implemented_by("example") == (hook,)
    for name in set(hooks.rules) - set(Hooks().rules):
        credits = attribute([touch("a", 1)], deal(), Model(hooks.rules[name])).credits
        assert sum(credit.value for credit in credits) == deal().value
    for connector in hooks.connectors.values():
        payload = {"number": 7, "when": "2026-03-01T12:00:00+00:00"}
        [event] = connector.map_events(payload, "ledger")
        assert event.ref == "ledger/7"


def test_the_example_of_a_notification_hears_of_big_deals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks = Hooks({"example": example_of("trackflow_after_deal_attributed")})
    with caplog.at_level("INFO", "big_deals"):
        for value in (1, 2_000_000):
            fact = attribute([], deal(value=value), Model(hooks.rules["linear"]))
            hooks.after_deal_attributed(fact, Context(tenant="shop"))
    [entry] = caplog.records
    assert "20000.00 EUR" in entry.getMessage()


@pytest.mark.parametrize("hook", HOOKS)
def test_the_named_users_use_it(hook: str) -> None:
    [line] = re.findall(r"\*\*Used by\*\* (.*)\.", SECTIONS[hook])
    named = set(re.findall(r"`([\w-]+)`", line))
    users = {found.distribution for found in describe(load()) if hook in found.hooks}
    assert named == users
