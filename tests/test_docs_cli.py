"""docs/reference/cli.md names every option of the commands it describes, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from trackflow_core import cli

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/cli.md"
SECTIONS = dict(
    re.findall(r"^## `trackflow (.+?)`\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
)


def commands() -> dict[str, set[str]]:
    """The options of every command with its plugins, by the command's words."""
    found: dict[str, set[str]] = {}

    def walk(command: object, words: tuple[str, ...]) -> None:
        options = {
            option
            for parameter in command.params
            for option in parameter.opts
            if option.startswith("--") and option != "--help"
        }
        found[" ".join(words)] = options
        for name, item in getattr(command, "commands", {}).items():
            walk(item, (*words, name))

    walk(typer.main.get_command(cli._extended()), ())
    return found


@pytest.mark.parametrize("name", SECTIONS)
def test_the_options_of_a_command_are_described(name: str) -> None:
    described = {
        option
        for row in re.findall(r"^\| (`--.+?`) \|", SECTIONS[name], re.M)
        for option in re.findall(r"--[a-z-]+", row)
    }
    assert described == commands()[name]


@pytest.mark.parametrize("name", ["attribute", "explain", "check-receipt"])
def test_a_command_has_a_section(name: str) -> None:
    assert name in SECTIONS
