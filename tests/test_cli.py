"""The command `trackflow`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from trackflow_core import __version__, cli
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Command, Hooks, hookimpl
from trackflow_core.testing import FakeConnector

Run = Callable[..., tuple[int, str, str]]


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"trackflow {__version__}\n", "")


def test_plugins_as_a_table(run: Run) -> None:
    code, output, _ = run("plugins")
    lines = output.splitlines()
    assert code == 0
    assert lines[0].split() == ["Plugin", "Distribution", "Version", "Hooks"]
    assert any(
        line.split()[:2] == ["paid_touch", "trackflow-paid-touch"]
        and "trackflow_register_attribution_models" in line
        for line in lines
    )


def test_plugins_as_json(run: Run) -> None:
    code, output, _ = run("plugins", "--json")
    found = {plugin["name"]: plugin for plugin in json.loads(output)}
    assert code == 0
    assert found["webhook"]["hooks"] == ["trackflow_register_connectors"]
    assert found["webhook"]["distribution"] == "trackflow-webhook"
    assert found["webhook"]["problem"] == ""


def test_plugins_tells_why_one_is_not_in_use(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKFLOW_DISABLE_PLUGINS", "odoo")
    _, output, _ = run("plugins")
    assert "(disabled by TRACKFLOW_DISABLE_PLUGINS)" in output


def test_connector_list_as_a_table(run: Run) -> None:
    code, output, _ = run("connector", "list")
    assert code == 0
    assert "/trackflow/hooks/webhook/<instance>" in output
    assert any(line.split() == ["odoo", "Odoo", "-"] for line in output.splitlines())


def test_connector_list_as_json(run: Run) -> None:
    code, output, _ = run("connector", "list", "--json")
    assert code == 0
    assert {"name": "odoo", "title": "Odoo", "webhook": False} in json.loads(output)
    assert {"name": "webhook", "title": "Webhook", "webhook": True} in json.loads(output)


def test_nothing_installed_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackflow_core.hooks.load", Hooks)
    monkeypatch.setattr("trackflow_core.hooks.describe", lambda hooks: ())
    assert run("plugins")[:2] == (0, "No plugins are installed.\n")
    assert run("connector", "list")[:2] == (0, "No connectors are installed.\n")
    assert json.loads(run("connector", "list", "--json")[1]) == []


@pytest.mark.parametrize("arguments", [["plugins"], ["connector", "list", "--json"]])
def test_a_config_error_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def broken() -> Hooks:
        raise ConfigError("Two plugins clash: uninstall one.")

    monkeypatch.setattr("trackflow_core.hooks.load", broken)
    assert run(*arguments) == (
        1,
        "",
        "trackflow: commands of plugins are missing: Two plugins clash: uninstall one. "
        "Leave a plugin out by TRACKFLOW_DISABLE_PLUGINS=NAME.\n"
        "trackflow: Two plugins clash: uninstall one.\n",
    )
    assert run("--version")[0] == 0


class Commands:
    """A plugin with commands."""

    def __init__(self, *names: str) -> None:
        self.names = names

    @hookimpl
    def trackflow_register_cli_commands(self) -> Iterable[Command]:
        """Each prints whom it greets."""

        def greet(whom: str) -> None:
            print(f"Good day, {whom}")

        group = typer.Typer()
        group.command("one")(greet)
        group.command("two")(greet)
        return [Command(name, group if name == "many" else greet) for name in self.names]


@pytest.mark.parametrize(
    "arguments", [["greet"], ["connector", "greet"], ["people", "greet"], ["many", "two"]]
)
def test_plugins_add_commands(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    found = Hooks({"mine": Commands("greet", "connector greet", "people greet", "many")})
    monkeypatch.setattr("trackflow_core.hooks.load", lambda: found)
    assert run(*arguments, "Bonnie") == (0, "Good day, Bonnie\n", "")
    assert run("connector", "list")[0] == 0
    monkeypatch.setattr("trackflow_core.hooks.load", Hooks)
    assert run(*arguments, "Bonnie")[0] == 2


@pytest.mark.parametrize("name", ["plugins", "connector list"])
def test_a_plugin_cannot_take_a_command_of_the_core(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("trackflow_core.hooks.load", lambda: Hooks({"mine": Commands(name)}))
    code, _, error = run("--version")
    assert (code, f"{name!r} of a plugin is TrackFlow's own" in error) == (1, True)


@pytest.mark.parametrize("kind", ["plugin", "connector"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "cannot be used"),
        ("Newsletter", "cannot be used"),
        ("7up", "cannot be used"),
        ("a b", "cannot be used"),
        ("../up", "cannot be used"),
        ("a__b", "cannot be used"),
        ("a-", "cannot be used"),
        ("a" * 41, "cannot be used"),
        ("trackflow-mine", "Leave 'trackflow' out"),
        ("core", "TrackFlow's own"),
        ("linear", "TrackFlow's own"),
        ("webhook", "installed already"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    name: str,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, error = run("new", kind, name)
    assert (code, output) == (2, "")
    assert error.startswith("trackflow: ") and reason in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trackflow-mine").mkdir()
    code, output, error = run("new", "plugin", "mine")
    assert (code, output) == (1, "")
    assert error.startswith("trackflow: trackflow-mine exists already") and error.count("\n") == 1
    assert not list(Path("trackflow-mine").iterdir())


def test_without_copier_its_extra_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "copier", None)
    code, _, error = run("new", "connector", "mine")
    assert code == 1
    assert "pip install 'trackflow-core[new]'" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["new"], ["new", "plugin"], ["plugins", "--x"], ["connector"], []]
)
def test_misuse_is_two(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_an_option_that_would_be_ignored_is_misuse(run: Run) -> None:
    code, _, error = run("plugins", "--json", "check", "webhook")
    assert code == 2 and "put --json behind 'check'" in error


def test_a_plugin_to_check_must_be_installed(run: Run) -> None:
    code, output, error = run("plugins", "check", "nothing")
    assert (code, output) == (1, "") and "No plugin 'nothing' is installed" in error


def test_the_command_is_installed() -> None:
    [point] = entry_points(group="console_scripts", name="trackflow")
    assert point.load() is cli.main


def test_a_connector_describes_its_options(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithFake(Hooks):
        def __init__(self) -> None:
            super().__init__()
            self.connectors = {"fake": FakeConnector()}

    monkeypatch.setattr(cli.hooks, "load", WithFake)
    code, output, _ = run("connector", "describe", "fake")
    assert code == 0
    assert "Polling: yes\nWrite back: yes" in output
    assert output.splitlines()[-1].split()[:3] == ["key", "Key", "(required)"]
    described = json.loads(run("connector", "describe", "fake", "--json")[1])
    assert described["capabilities"]["webhooks"] == "events"
    assert described["options"][0]["secret"] is True
    code, _, error = run("connector", "describe", "none")
    assert (code, error) == (
        1,
        "trackflow: There is no connector 'none'; there are: fake.\n",
    )


def test_the_command_starts_without_the_kits() -> None:
    told = "import sys, trackflow_core.cli; sys.exit('trackflow_core.testing' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
