"""Fixtures for authors of plugins; installed with trackflow-core.

def test_my_rule(trackflow_hooks):
    hooks = trackflow_hooks({"mine": my_plugin})
    assert "my_rule" in hooks.rules
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trackflow_core.hooks import Hooks

HooksFactory = Callable[[Mapping[str, object]], "Hooks"]


@pytest.fixture
def trackflow_hooks() -> HooksFactory:
    """Makes hooks with the plugins of a dict, by name, and no installed ones.

    Unlike in a host, an exception in a notification or a decision is raised: a test must see it.
    """
    # Imported here, so that a test run that does not use it pays nothing.
    from trackflow_core.hooks import Hooks

    class RaisingHooks(Hooks):
        def _notify(self, hook: str, **arguments: object) -> None:
            for _, call in self._calls(hook):
                call(**arguments)

        def _decide(
            self,
            hook: str,
            ours: Any,
            check: Callable[[Any], None] = lambda answer: None,
            **arguments: object,
        ) -> Any:
            for _, call in self._calls(hook):
                answer = call(**arguments)
                if answer is not None:
                    check(answer)
                    return answer
            return ours

    return RaisingHooks
