"""The quality scale: each check passes a good plugin and finds what it is there for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from trackflow_core import cli, quality
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import installed, manager
from trackflow_core.quality import Check, Level, Outcome, Report

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "plugin-quality.md"
EXAMINE = {name: examine for _, name, _, examine in quality.CHECKS}
PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN

METADATA = """\
Metadata-Version: 2.4
Name: trackflow-tried
Version: 1.2
Summary: Something to try.
License-Expression: MIT
Requires-Python: >=3.10
Requires-Dist: trackflow-core>=0.1
Description-Content-Type: text/markdown

# Tried
"""
RULE = '''\
"""A rule."""

from collections.abc import Iterable, Sequence

from trackflow_core.attribution import Journey, Rule
from trackflow_core.hooks import hookimpl


def weigh(journey: Journey) -> Sequence[int]:
    """Equal."""
    return [1 for touch in journey.touches]


@hookimpl
def trackflow_register_attribution_models() -> Iterable[Rule]:
    """The rule."""
    return [Rule("tried", "Tried", "Equal.", weigh)]
'''
CONNECTOR = """
from trackflow_core.hooks import hookimpl

class Shop:
    name = title = "shop"

    def map_events(self, payload, namespace):
        return []

@hookimpl
def trackflow_register_connectors():
    return [Shop()]
"""
LOCATOR = """
from trackflow_core.hooks import hookimpl

@hookimpl
def trackflow_geolocate(address):
    return {answer}
"""
LISTENER = """
from trackflow_core.hooks import hookimpl

@hookimpl
def trackflow_after_deal_attributed():
    pass
"""
TEST = "def test_it():\n    assert True\n"
KIT = """
import trackflow_tried
from trackflow_core.testing import ClassifierContract

class TestTried(ClassifierContract):
    plugin = trackflow_tried

    def setup_method(self):
        trackflow_tried.COUNTRY = "DE"
"""


class Tried:
    """A plugin in a folder, installed as far as Python can tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "trackflow_tried"
        self.package.mkdir()
        (self.package / "__init__.py").write_text(RULE)
        (self.package / "py.typed").touch()
        self.test = folder / "test_tried.py"
        self.test.write_text(TEST)
        self.info = folder / "trackflow_tried-1.2.dist-info"
        self.info.mkdir()
        (self.info / "METADATA").write_text(METADATA)
        (self.info / "entry_points.txt").write_text("[trackflow]\ntried = trackflow_tried\n")
        origin = {"url": folder.as_uri(), "dir_info": {"editable": True}}
        (self.info / "direct_url.json").write_text(json.dumps(origin))

    def module(self, code: str) -> None:
        (self.package / "__init__.py").write_text(code)

    def without(self, line: str) -> None:
        """Take the line of the metadata that begins so away."""
        changed = re.sub(f"^{line}.*\n", "", METADATA, flags=re.MULTILINE)
        (self.info / "METADATA").write_text(changed)

    def finding(self, check: str) -> tuple[Outcome, str]:
        [point] = [point for point in installed() if point.name == "tried"]
        assert isinstance(point.dist, Distribution)
        return EXAMINE[check](quality._Subject(point, point.dist))


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tried]:
    def fresh() -> None:
        manager._load.cache_clear()
        sys.modules.pop("trackflow_tried", None)

    folder = tmp_path / "tried"
    folder.mkdir()
    made = Tried(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:cacheprovider -p no:odoo")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    fresh()
    yield made
    fresh()


# -- whole reports -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [point.name for point in installed()])
def test_every_plugin_of_the_repository_is_platinum(name: str) -> None:
    report = quality.check(name)
    wanting = [check for check in report.checks if check.outcome in (FAILED, UNKNOWN)]
    assert (report.level, wanting) == (Level.PLATINUM, [])


@pytest.mark.slow
def test_a_good_plugin_passes_everything(tried: Tried) -> None:
    report = quality.check("tried")
    assert {check.outcome for check in report.checks} == {PASSED}
    assert (report.distribution, report.version) == ("trackflow-tried", "1.2")
    assert report.level is Level.PLATINUM


def test_a_plugin_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'nothing' is installed; installed: .*webhook"):
        quality.check("nothing")


@pytest.mark.parametrize(
    ("outcomes", "level"),
    [
        ((PASSED, PASSED, PASSED, PASSED), Level.PLATINUM),
        ((PASSED, Outcome.NOT_NEEDED, PASSED, FAILED), Level.GOLD),
        ((PASSED, UNKNOWN, PASSED, PASSED), Level.BRONZE),
        ((FAILED, PASSED, PASSED, PASSED), None),
    ],
)
def test_a_level_needs_all_checks_up_to_it(
    outcomes: Sequence[Outcome], level: Level | None
) -> None:
    checks = [
        Check(of, "check", "Title", outcome) for of, outcome in zip(Level, outcomes, strict=True)
    ]
    assert quality._level(checks) is level
    assert [quality.reaches(level, wanted) for wanted in Level] == [
        level is not None and place <= list(Level).index(level) for place in range(4)
    ]


# -- each check ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_the_kind", "cannot be imported: ModuleNotFoundError"),
        (LISTENER.replace("deal_att", "deal_at"), "unknown hook"),
    ],
)
def test_loads(tried: Tried, code: str, reason: str) -> None:
    tried.module(code)
    outcome, detail = tried.finding("loads")
    assert outcome is FAILED and reason in detail
    assert tried.finding("contract") == (UNKNOWN, "it must load first")
    assert tried.finding("explained") == (UNKNOWN, "it must load first")


@pytest.mark.parametrize(
    ("check", "line", "remedy"),
    [
        ("described", "Summary", "set project.description"),
        ("licensed", "License-Expression", "set project.license"),
        ("requires", "Requires-Dist", "add trackflow-core"),
        ("requires", "Requires-Python", "set project.requires-python"),
        ("documented", "# Tried", "set project.readme"),
    ],
)
def test_what_metadata_must_say(tried: Tried, check: str, line: str, remedy: str) -> None:
    assert tried.finding(check)[0] is PASSED
    tried.without(line)
    outcome, detail = tried.finding(check)
    assert outcome is FAILED and remedy in detail


@pytest.mark.parametrize(
    ("check", "line", "instead", "detail"),
    [
        ("licensed", "License-Expression: MIT", "License: BSD\n", "BSD"),
        ("licensed", "License-Expression: MIT", "Classifier: License :: OSI Approved\n", "OSI"),
        ("documented", "# Tried", "Project-URL: Documentation, https://x.example\n", "x.example"),
    ],
)
def test_other_ways_to_say_it(
    tried: Tried, check: str, line: str, instead: str, detail: str
) -> None:
    tried.without(line)
    metadata = tried.info / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.2\n", f"Version: 1.2\n{instead}"))
    outcome, found = tried.finding(check)
    assert outcome is PASSED and detail in found


def test_contract_of_a_rule(tried: Tried) -> None:
    assert tried.finding("contract") == (PASSED, "the rule tried")
    tried.module(RULE.replace("[1 for", "[0 for"))
    manager._load.cache_clear()
    sys.modules.pop("trackflow_tried")
    outcome, detail = tried.finding("contract")
    assert outcome is FAILED and "the rule tried: test_" in detail


def test_contract_of_a_notification_is_not_needed(tried: Tried) -> None:
    tried.module(LISTENER)
    assert tried.finding("contract")[0] is Outcome.NOT_NEEDED


@pytest.mark.slow
def test_contract_of_a_connector_needs_its_samples(tried: Tried) -> None:
    tried.module(CONNECTOR)
    outcome, detail = tried.finding("contract")
    assert outcome is FAILED and "no ConnectorContract" in detail
    (tried.info / "direct_url.json").unlink()
    outcome, detail = tried.finding("contract")
    assert outcome is UNKNOWN and "pip install -e" in detail


def test_contract_of_decisions(tried: Tried) -> None:
    tried.module(LOCATOR.format(answer="'Germany'"))
    outcome, detail = tried.finding("contract")
    assert outcome is FAILED and "test_answers_are_usable" in detail


@pytest.mark.slow
def test_contract_of_decisions_that_need_settings(tried: Tried) -> None:
    tried.module("COUNTRY = None\n" + LOCATOR.format(answer="COUNTRY"))
    outcome, detail = tried.finding("contract")
    assert outcome is FAILED and "no ClassifierContract" in detail
    tried.test.write_text(KIT)
    assert tried.finding("contract") == (PASSED, "its decisions")
    (tried.info / "direct_url.json").unlink()
    outcome, detail = tried.finding("contract")
    assert outcome is UNKNOWN and "need its settings" in detail


@pytest.mark.parametrize(
    ("effect", "seen"),
    [
        ("import pathlib; pathlib.Path('left-behind').touch()", "writes"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
        ("import sqlite3; sqlite3.connect(':memory:')", "sqlite3.connect"),
        ("import socket; socket.getaddrinfo('localhost', 1)", "socket.getaddrinfo"),
        ("import threading; threading.Timer(1, print).start()", "starts a thread"),
        ("raise OSError('no')", "OSError: no"),
    ],
)
def test_quiet(
    tried: Tried, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, effect: str, seen: str
) -> None:
    monkeypatch.setattr(quality.tempfile, "gettempdir", lambda: str(tmp_path))
    tried.module(f"{RULE}\n{effect}\n")
    outcome, detail = tried.finding("quiet")
    assert outcome is FAILED and seen in detail


def test_typed(tried: Tried) -> None:
    (tried.package / "py.typed").unlink()
    outcome, detail = tried.finding("typed")
    assert outcome is FAILED and "py.typed" in detail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tests", "summary"),
    [("def test_it():\n    assert False\n", "1 failed"), ("", "no tests ran")],
)
def test_tested(tried: Tried, tests: str, summary: str) -> None:
    tried.test.write_text(tests)
    outcome, detail = tried.finding("tested")
    assert outcome is FAILED and summary in detail


def test_tests_that_take_too_long_have_failed(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried.test.write_text("import time\n\ndef test_it():\n    time.sleep(60)\n")
    monkeypatch.setattr(quality, "_TIMEOUT", 0.5)
    assert tried.finding("tested") == (FAILED, "not done after 0.5 s")


@pytest.mark.parametrize("url", ["https://shop.example/tried.whl", "file:///gone"])
def test_tests_of_a_plugin_from_elsewhere_are_not_checked(tried: Tried, url: str) -> None:
    (tried.info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}))
    assert tried.finding("tested")[0] is UNKNOWN


@pytest.mark.slow
def test_strict(tried: Tried) -> None:
    tried.module(RULE.replace("(journey: Journey) -> Sequence[int]", "(journey)"))
    outcome, detail = tried.finding("strict")
    assert outcome is FAILED and "missing a type annotation" in detail


@pytest.mark.parametrize(("tool", "check"), [("mypy", "strict"), ("pytest", "tested")])
def test_without_its_tool_nothing_is_claimed(
    tried: Tried, monkeypatch: pytest.MonkeyPatch, tool: str, check: str
) -> None:
    monkeypatch.setattr(
        quality, "find_spec", lambda name: None if name == tool else find_spec(name)
    )
    assert tried.finding(check) == (UNKNOWN, f"{tool} is not installed: run pip install {tool}")


@pytest.mark.parametrize(
    ("text", "where"), [("A rule.", "trackflow_tried has"), ("Equal.", "trackflow_tried.weigh has")]
)
def test_explained(tried: Tried, text: str, where: str) -> None:
    tried.module(RULE.replace(f'"""{text}"""', "0"))
    assert tried.finding("explained") == (FAILED, f"{where} no docstring")


def test_every_module_is_explained(tried: Tried) -> None:
    (tried.package / "more.py").write_text("x = 1\n")
    assert tried.finding("explained") == (FAILED, "trackflow_tried.more has no docstring")


# -- the page and the command --------------------------------------------------------------


def test_the_page_lists_the_checks() -> None:
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(level.value, name) for level, name, *_ in quality.CHECKS]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs `trackflow plugins check` on a plugin of level silver: its exit code and output."""
    checks = (
        Check(Level.SILVER, "quiet", "Importing it has no effects", PASSED),
        Check(Level.GOLD, "typed", "It ships its types", FAILED, "put py.typed into it"),
    )
    report = Report("tried", "trackflow-tried", "1.2", Level.SILVER, checks)
    monkeypatch.setattr(quality, "check", lambda name: report)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["trackflow", "plugins", "check", "tried", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    return call


def test_the_report_as_text(command: Callable[..., tuple[int, str]]) -> None:
    code, output = command()
    assert code == 0
    assert output.splitlines()[0] == "tried (trackflow-tried 1.2): silver"
    assert "gold    typed  failed   It ships its types: put py.typed into it" in output


def test_the_report_as_json(command: Callable[..., tuple[int, str]]) -> None:
    code, output = command("--json")
    report = json.loads(output)
    assert (code, report["level"]) == (0, "silver")
    assert report["checks"][1]["outcome"] == "failed"


@pytest.mark.parametrize(("level", "code"), [("silver", 0), ("gold", 1), ("wood", 2)])
def test_a_level_may_be_demanded(
    command: Callable[..., tuple[int, str]], level: str, code: int
) -> None:
    assert command("--at-least", level)[0] == code
