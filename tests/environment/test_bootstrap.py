"""When the virtual environment is made again, and with which index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from tests.environment import bootstrap
from tests.environment.constraints import names_pinned, pins_of


def test_the_fingerprint_follows_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "pyproject.toml", tmp_path / "constraints.txt"
    one.write_text("a")
    before = bootstrap.fingerprint([one, two], tmp_path)
    assert bootstrap.fingerprint([two, one], tmp_path) == before
    two.write_text("")
    with_empty = bootstrap.fingerprint([one, two], tmp_path)
    assert with_empty != before
    one.write_text("b")
    assert bootstrap.fingerprint([one, two], tmp_path) != with_empty


def test_a_folder_without_a_manifest_is_no_distribution(tmp_path: Path) -> None:
    (tmp_path / "connectors/odoo").mkdir(parents=True)
    (tmp_path / "connectors/odoo/pyproject.toml").touch()
    (tmp_path / "connectors/started").mkdir()
    assert bootstrap.distributions(tmp_path) == [tmp_path, tmp_path / "connectors/odoo"]


@pytest.mark.parametrize(
    ("pip", "env", "expected"),
    [
        ({}, {}, {}),
        ({"index-url": "https://a.example"}, {}, {"UV_DEFAULT_INDEX": "https://a.example"}),
        (
            {"index-url": "https://a.example"},
            {"PIP_INDEX_URL": "https://b.example"},
            {"UV_DEFAULT_INDEX": "https://b.example"},
        ),
        ({"index-url": "https://a.example"}, {"UV_DEFAULT_INDEX": "https://c.example"}, {}),
        ({"index-url": "https://a.example"}, {"UV_INDEX_URL": "https://c.example"}, {}),
        ({"cert": "/a.pem"}, {}, {"SSL_CERT_FILE": "/a.pem"}),
        ({"cert": "/a.pem"}, {"SSL_CERT_FILE": "/b.pem"}, {}),
    ],
)
def test_uv_is_told_what_only_pip_knows(
    pip: dict[str, str], env: dict[str, str], expected: dict[str, str]
) -> None:
    assert bootstrap.uv_settings(pip, env) == expected


def test_pins_leave_out_the_workspace() -> None:
    compiled = (
        "-e file:///home/someone/checkout\n"
        "trackflow-core @ file:///home/someone/checkout\n"
        "exceptiongroup==1.3.0 ; python_full_version < '3.11'\n"
        "PyYAML==6.0\n"
        "    # via something\n"
    )
    pins = pins_of(compiled)
    assert pins == ["exceptiongroup==1.3.0 ; python_full_version < '3.11'", "PyYAML==6.0"]
    assert names_pinned(pins) == {"exceptiongroup", "pyyaml"}


def test_every_dependency_of_the_workspace_is_pinned() -> None:
    """A dependency was added without `make lock` if this fails."""
    wanted: set[str] = set()
    own: set[str] = set()
    for folder in bootstrap.distributions(bootstrap.ROOT):
        content = tomli.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        own.add(content["project"]["name"])
        lists = [content["project"].get("dependencies", [])]
        lists += content["project"].get("optional-dependencies", {}).values()
        lists += content.get("dependency-groups", {}).values()
        for requirements in lists:
            for requirement in requirements:
                name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
                wanted.add(re.sub(r"[-_.]+", "-", name).lower())
    pinned = names_pinned(bootstrap.CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    assert wanted - own - pinned == set()


def test_constraints_name_no_registry_and_no_path() -> None:
    text = bootstrap.CONSTRAINTS.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text
