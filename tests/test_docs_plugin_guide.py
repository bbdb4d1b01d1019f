"""The plugin of the guide works as printed: it is found, and its tests pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "write-a-plugin.md"
BLOCK = re.compile(r"```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)```", re.DOTALL)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with the files of the guide, installed as far as Python can tell."""
    for name, content in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    [(name, module)] = project["entry-points"]["trackflow"].items()
    (metadata / "entry_points.txt").write_text(f"[trackflow]\n{name} = {module}\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_its_tests_pass(plugin: Path) -> None:
    done = run(plugin, "-m", "pytest", "-q", "-p", "no:odoo", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_lists_it_as_printed(plugin: Path) -> None:
    command = "from trackflow_core.cli import main; main()"
    done = run(plugin, "-c", command, "plugins", "--json")
    found = {item["name"]: item for item in json.loads(done.stdout)}["newsletter"]
    printed = GUIDE.read_text(encoding="utf-8").split("$ trackflow plugins\n")[1].splitlines()[1]
    assert printed.split() == [
        found["name"], found["distribution"], found["version"], *found["hooks"]
    ]  # fmt: skip
