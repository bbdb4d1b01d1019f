"""What `trackflow new` makes installs, passes its own tests and is found."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

from tests.authors import Environment, run
from trackflow_core.errors import ConfigError
from trackflow_core.scaffold import Kind, create

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "hook"),
    [
        (Kind.PLUGIN, "my_rule", "trackflow_register_attribution_models"),
        (Kind.CONNECTOR, "my-crm", "trackflow_register_connectors"),
    ],
)
def test_it_installs_passes_its_tests_and_is_found(
    tmp_path: Path, kind: Kind, name: str, hook: str
) -> None:
    author = Environment(tmp_path)
    folder = create(kind, name, tmp_path)
    author.install(folder)
    assert " passed" in author.pytest(folder)
    plugins = json.loads(author.trackflow("plugins", "--json"))
    [found] = [plugin for plugin in plugins if plugin["name"] == name]
    assert (found["hooks"], found["problem"]) == ([hook], "")
    assert found["distribution"] == folder.name
    report = json.loads(author.trackflow("plugins", "check", name, "--json"))
    assert report["level"] == "platinum", report
    connectors = json.loads(author.trackflow("connector", "list", "--json"))
    assert (name in {item["name"] for item in connectors}) is (kind is Kind.CONNECTOR)


@pytest.mark.slow
@pytest.mark.parametrize("kind", Kind)
def test_it_is_formatted_and_typed(tmp_path: Path, kind: Kind) -> None:
    folder = create(kind, "my-shop", tmp_path)
    settings = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    for check in (["format", "--check"], ["check"]):
        run(sys.executable, "-m", "ruff", *check, *settings, ".", folder=folder)
    strict = ("mypy", "--strict", "--cache-dir", os.devnull, "trackflow_my_shop")
    run(sys.executable, "-m", *strict, folder=folder)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/trackflow-mine cannot be written"):
        create(Kind.PLUGIN, "mine", tmp_path / "file")


@pytest.mark.slow
def test_the_template_is_in_the_wheel(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, folder=ROOT)
    [wheel] = tmp_path.glob("*.whl")
    source = ROOT / "trackflow_core" / "templates"
    names = {str(path.relative_to(ROOT)) for path in source.rglob("*") if path.is_file()}
    assert len(names) > 5
    assert names <= set(zipfile.ZipFile(wheel).namelist())
