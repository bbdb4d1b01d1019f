"""What `trackflow new` makes installs, passes its own tests and is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.environment import bootstrap
from trackflow_core.errors import ConfigError
from trackflow_core.scaffold import Kind, create

ROOT = Path(__file__).parents[1]
TRACKFLOW = ["-c", "from trackflow_core.cli import main; main()"]


def run(*command: str | Path, folder: Path) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Nothing is asked of the network, and no other project's folders are on the path."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "UV_OFFLINE": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:odoo"}


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a fresh environment that also has the packages of this one."""
    venv = tmp_path / "venv"
    run(bootstrap.uv(), "venv", "--quiet", "--python", sys.executable, venv, folder=tmp_path)
    [packages] = venv.glob("lib/python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return venv / "bin" / "python"


def install(python: Path, folder: Path) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--python", str(python))
    run(bootstrap.uv(), "pip", "install", *options, "--editable", folder, folder=folder)


def printed(python: Path, folder: Path, *arguments: str) -> Sequence[dict[str, object]]:
    """The JSON that the command `trackflow` prints in the fresh environment."""
    found: list[dict[str, object]] = json.loads(
        run(python, *TRACKFLOW, *arguments, "--json", folder=folder)
    )
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "hook"),
    [
        (Kind.PLUGIN, "my_rule", "trackflow_register_attribution_models"),
        (Kind.CONNECTOR, "my-crm", "trackflow_register_connectors"),
    ],
)
def test_it_installs_passes_its_tests_and_is_found(
    tmp_path: Path, python: Path, kind: Kind, name: str, hook: str
) -> None:
    folder = create(kind, name, tmp_path)
    install(python, folder)
    assert " passed" in run(python, "-m", "pytest", "-q", folder=folder)
    [found] = [plugin for plugin in printed(python, tmp_path, "plugins") if plugin["name"] == name]
    assert (found["hooks"], found["problem"]) == ([hook], "")
    assert found["distribution"] == folder.name
    report = json.loads(
        run(python, *TRACKFLOW, "plugins", "check", name, "--json", folder=tmp_path)
    )
    assert report["level"] == "platinum", report
    connectors = {item["name"] for item in printed(python, tmp_path, "connector", "list")}
    assert (name in connectors) is (kind is Kind.CONNECTOR)


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
