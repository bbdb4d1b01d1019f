"""Attribution rules that learn from journeys: Markov chains, solved exactly, and the Shapley value.

What each computes, its source and its limits: docs/guides/which-model.md. Chains for themselves are
in `trackflow_data_driven.chains`, which needs numpy and scipy; splitting deals needs neither.
"""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.attribution import Rule
from trackflow_core.hooks import Command, hookimpl
from trackflow_data_driven.command import fit
from trackflow_data_driven.games import Worth, ordered_shapley, shapley
from trackflow_data_driven.rules import MARKOV, MARKOV_VALUE, SHAPLEY

__all__ = ["MARKOV", "MARKOV_VALUE", "SHAPLEY", "Worth", "ordered_shapley", "shapley"]


@hookimpl
def trackflow_register_attribution_models() -> Iterable[Rule]:
    """The rules `markov`, `markov_value` and `shapley`."""
    return (MARKOV, MARKOV_VALUE, SHAPLEY)


@hookimpl
def trackflow_register_cli_commands() -> Iterable[Command]:
    """`trackflow fit`, which learns a model from files."""
    return [Command("fit", fit)]
