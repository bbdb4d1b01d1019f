"""The plugin of the guide, followed as printed, passes its tests and is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.authors import Environment
from trackflow_core.scaffold import Kind, create, problem_with

GUIDE = (Path(__file__).parents[1] / "docs" / "guides" / "write-a-plugin.md").read_text("utf-8")
FILES = dict(re.findall(r"```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)```", GUIDE, re.DOTALL))
[NAME] = re.findall(r"^\$ trackflow new plugin (\S+)$", GUIDE, re.MULTILINE)


def printed(command: str) -> list[str]:
    """The lines that the guide prints below a command."""
    below = GUIDE.split(f"$ {command}\n")[1]
    return below[: below.index("```")].splitlines()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder after the guide's second step."""
    assert problem_with(NAME) == ""
    folder = create(Kind.PLUGIN, NAME, tmp_path)
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_it_explains_the_files_that_there_are(tmp_path: Path) -> None:
    folder = create(Kind.PLUGIN, NAME, tmp_path)
    assert f"$ cd {folder.name}\n" in GUIDE
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(re.findall(r"^\| `(\S+)` \|", GUIDE, re.MULTILINE)) == made
    assert FILES.keys() <= made


@pytest.mark.slow
def test_its_tests_pass_and_the_command_says_what_is_printed(project: Path, tmp_path: Path) -> None:
    author = Environment(tmp_path)
    author.install(project)
    assert " passed" in author.pytest(project)
    listed = [line.split() for line in author.trackflow("plugins").splitlines()]
    for line in printed("trackflow plugins"):
        assert line.split() in listed
    report = author.trackflow("plugins", "check", NAME).splitlines()
    assert report[:1] == printed(f"trackflow plugins check {NAME}")
