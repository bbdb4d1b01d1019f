"""The connector of the guide, followed as printed, passes the kit and is described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.authors import Environment
from trackflow_core.scaffold import Kind, create

GUIDE = (Path(__file__).parents[1] / "docs" / "guides" / "write-a-connector.md").read_text("utf-8")
BLOCKS = dict(
    re.findall(r"```\{code-block\} \w+\n:caption: ([^\n]+)\n\n(.*?)```", GUIDE, re.DOTALL)
)
[NAME] = re.findall(r"^\$ trackflow new connector (\S+)$", GUIDE, re.MULTILINE)
IN_CLASS = f"trackflow_{NAME}/__init__.py, in the class"
IMPORTS = f"trackflow_{NAME}/__init__.py, below its imports"
[REQUIRED] = re.findall(r"add `(\S+)` to `dependencies`", GUIDE)


def followed(tmp_path: Path) -> Path:
    """The folder after the guide's last step."""
    folder = create(Kind.CONNECTOR, NAME, tmp_path)
    for name, content in BLOCKS.items():
        if name not in (IN_CLASS, IMPORTS):
            (folder / name).write_text(content, encoding="utf-8")
    module = folder / f"trackflow_{NAME}" / "__init__.py"
    written = module.read_text(encoding="utf-8")
    title = f'    title = "{NAME.capitalize()}"\n'
    assert written.count(title) == 1
    written = written.replace(title, f"{title}{BLOCKS[IN_CLASS]}")
    imported = "from trackflow_core.ports import Connector, Event\n"
    assert written.count(imported) == 1
    module.write_text(written.replace(imported, imported + BLOCKS[IMPORTS]), encoding="utf-8")
    project = folder / "pyproject.toml"
    declared = project.read_text(encoding="utf-8")
    assert declared.count("dependencies = [") == 1
    project.write_text(
        declared.replace("dependencies = [", f"dependencies = [{REQUIRED}, "), encoding="utf-8"
    )
    return folder


@pytest.mark.slow
def test_its_tests_pass_and_it_is_described(tmp_path: Path) -> None:
    author = Environment(tmp_path)
    author.install(followed(tmp_path))
    assert " passed" in author.pytest(tmp_path / f"trackflow-{NAME}")
    described = author.trackflow("connector", "describe", NAME)
    assert "Polling: yes" in described and "API Key" in described
    report = author.trackflow("plugins", "check", NAME)
    assert ": platinum" in report.splitlines()[0], report
