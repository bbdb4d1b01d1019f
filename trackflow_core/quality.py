"""How good a plugin is, from executed checks: `trackflow plugins check`.

A plugin has a level when no check of that level or a lower one failed or could not be made.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit
from urllib.request import url2pathname

from trackflow_core import hooks
from trackflow_core.errors import ConfigError

_TIMEOUT = 600
# These prove that a connector's own tests include the kit.
_OF_THE_CONNECTOR_KIT = {
    "test_samples_map_to_their_facts",
    "test_invalid_samples_are_refused",
    "test_delivery_in_any_order_gives_one_state",
}
# Prints what the import of a module does besides defining things.
_IMPORT = """
import importlib, json, os, sys, threading
import trackflow_core.hooks
watched = (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "sqlite3.connect",
    "subprocess.Popen", "os.system", "os.fork", "os.posix_spawn", "os.putenv",
)
written = os.O_WRONLY | os.O_RDWR | os.O_CREAT
seen = []
def watch(event, arguments):
    if event in watched:
        seen.append(event)
    elif event == "open" and arguments[2] & written and arguments[0] != os.devnull:
        seen.append(f"writes {arguments[0]}")
sys.addaudithook(watch)
importlib.import_module(sys.argv[1])
if threading.active_count() > 1:
    seen.append("starts a thread")
print("\\n" + json.dumps(sorted(set(seen))), flush=True)
# A thread of its own must not keep us waiting.
os._exit(0)
"""


class Level(str, Enum):
    """The levels, from lowest to highest."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    PLATINUM = "platinum"


class Outcome(str, Enum):
    """What came of a check. Only what failed or is unknown keeps a plugin from a level."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "not checked"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True)
class Check:
    """One executed check: `detail` says what was found and, unless it passed, what to do."""

    level: Level
    name: str
    title: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """All checks of one plugin; `level` is None for a plugin below bronze."""

    plugin: str
    distribution: str
    version: str
    level: Level | None
    checks: tuple[Check, ...]


Finding = tuple[Outcome, str]


def check(name: str) -> Report:
    """Check the installed plugin `name`. Its own tests are run where its folder is known.

    Raises ConfigError when no plugin of that name is installed.
    """
    point = next((point for point in hooks.installed() if point.name == name), None)
    if point is None or point.dist is None:
        known = ", ".join(point.name for point in hooks.installed()) or "none"
        raise ConfigError(f"No plugin {name!r} is installed; installed: {known}.")
    subject = _Subject(point, point.dist)
    checks = tuple(
        Check(level, check_name, title, *examine(subject))
        for level, check_name, title, examine in CHECKS
    )
    return Report(name, point.dist.name, point.dist.version, _level(checks), checks)


def reaches(reached: Level | None, wanted: Level) -> bool:
    """Whether a plugin of level `reached` has `wanted`."""
    return reached is not None and list(Level).index(reached) >= list(Level).index(wanted)


def _level(checks: Sequence[Check]) -> Level | None:
    reached = None
    for level in Level:
        outcomes = {check.outcome for check in checks if check.level is level}
        if outcomes & {Outcome.FAILED, Outcome.UNKNOWN}:
            break
        reached = level
    return reached


@dataclass(frozen=True)
class _TestRun:
    """What the plugin's own tests said."""

    code: int
    passed: frozenset[str]
    summary: str


class _Subject:
    """The plugin under examination, with what several checks ask of it."""

    def __init__(self, point: EntryPoint, distribution: Distribution) -> None:
        self.point = point
        self.distribution = distribution
        self.package = point.module.partition(".")[0]

    @cached_property
    def problem(self) -> str:
        """Why the plugin is not in use; "" when it is."""
        try:
            return self.hooks.left_out.get(self.point.name, "")
        except ConfigError as error:
            return str(error)

    @cached_property
    def hooks(self) -> hooks.Hooks:
        """The plugin, alone. Raises ConfigError when it is written wrongly."""
        return hooks.load(frozenset({self.point.name}))

    @cached_property
    def folder(self) -> Path | None:
        """The folder it was installed from; None for one that came from an index."""
        told = json.loads(self.distribution.read_text("direct_url.json") or "{}")
        url = urlsplit(told.get("url", ""))
        if url.scheme != "file" or "dir_info" not in told:
            return None
        folder = Path(url2pathname(url.path))
        return folder if folder.is_dir() else None

    @cached_property
    def tests(self) -> _TestRun | str:
        """The run of its own tests, or why there was none."""
        if self.folder is None:
            return "its tests are not at hand: install it from its folder with pip install -e"
        if find_spec("pytest") is None:
            return "pytest is not installed: run pip install pytest"
        done = _python(
            "-m", "pytest", "-q", "-rp", "--tb=no", "-m", "not slow", ".", folder=self.folder
        )
        passed = re.findall(r"^PASSED \S*::(\w+)", done.stdout, re.MULTILINE)
        return _TestRun(done.returncode, frozenset(passed), _last_line(done))

    def modules(self) -> Iterator[ModuleType]:
        """Every module of its package."""
        package = importlib.import_module(self.package)
        yield package
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{self.package}."):
            yield importlib.import_module(found.name)


# -- bronze --------------------------------------------------------------------------------


def _loads(subject: _Subject) -> Finding:
    if subject.problem:
        return Outcome.FAILED, subject.problem
    return Outcome.PASSED, ", ".join(subject.hooks.implemented_by(subject.point.name))


def _described(subject: _Subject) -> Finding:
    told = subject.distribution.metadata.json
    if not told.get("summary"):
        return Outcome.FAILED, "there is no summary: set project.description"
    return Outcome.PASSED, f"{told['name']} {told['version']}"


def _licensed(subject: _Subject) -> Finding:
    told = subject.distribution.metadata.json
    classifiers = told.get("classifier", [])
    named = [line for line in classifiers if line.startswith("License ::")]
    licence = told.get("license_expression") or told.get("license") or ", ".join(named)
    if not licence:
        return Outcome.FAILED, "set project.license, for instance to 'Apache-2.0'"
    return Outcome.PASSED, str(licence).splitlines()[0]


def _requires(subject: _Subject) -> Finding:
    needed = subject.distribution.requires or []
    if not any(re.match(r"trackflow[-_.]core\b", line, re.IGNORECASE) for line in needed):
        return Outcome.FAILED, "add trackflow-core to project.dependencies"
    python = subject.distribution.metadata.json.get("requires_python")
    if not python:
        return Outcome.FAILED, "set project.requires-python"
    return Outcome.PASSED, f"Python {python}"


# -- silver --------------------------------------------------------------------------------


# The kits are imported where they run: every start of `trackflow` would pay for them.


def _keeps_contracts(subject: _Subject) -> Finding:
    if subject.problem:
        return Outcome.UNKNOWN, "it must load first"
    findings = [*_rules(subject), *_classifiers(subject), *_connectors(subject)]
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        for found, detail in findings:
            if found is outcome:
                return outcome, detail
    if not findings:
        return Outcome.NOT_NEEDED, "there is no kit for its hooks"
    return Outcome.PASSED, ", ".join(detail for _, detail in findings)


def _rules(subject: _Subject) -> Iterator[Finding]:
    from trackflow_core.testing import AttributionModelContract

    for name in sorted(subject.hooks.rules.keys() - hooks.Hooks().rules.keys()):
        case = type(
            "Rule",
            (AttributionModelContract, unittest.TestCase),
            {"rule": subject.hooks.rules[name]},
        )
        yield _kit(case, f"the rule {name}")


def _classifiers(subject: _Subject) -> Iterator[Finding]:
    from trackflow_core.testing import ClassifierContract
    from trackflow_core.testing.classifiers import DECISIONS

    if not set(DECISIONS) & set(subject.hooks.implemented_by(subject.point.name)):
        return
    kit = (ClassifierContract, unittest.TestCase)
    loaded = {"plugin": subject.point.load()}
    outcome, detail = _kit(type("Classifier", kit, loaded), "its decisions")
    if "test_it_decides_something" in detail:
        # Without its settings it has no opinion; its own tests set them.
        tests = subject.tests
        if isinstance(tests, str):
            outcome, detail = Outcome.UNKNOWN, f"its decisions need its settings: {tests}"
        elif tests.code or "test_it_decides_something" not in tests.passed:
            detail = "its decisions: its tests fail or have no ClassifierContract"
        else:
            silent = {**loaded, "test_it_decides_something": None}
            outcome, detail = _kit(type("Classifier", kit, silent), "its decisions")
    yield outcome, detail


def _kit(case: type[unittest.TestCase], what: str) -> Finding:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    for test, trace in (*result.errors, *result.failures):
        return Outcome.FAILED, f"{what}: {test.id().rpartition('.')[2]}: {_short(trace)}"
    return Outcome.PASSED, what


def _connectors(subject: _Subject) -> Iterator[Finding]:
    for name in sorted(subject.hooks.connectors):
        tests = subject.tests
        if isinstance(tests, str):
            yield Outcome.UNKNOWN, f"the connector {name} needs its samples: {tests}"
        elif tests.code or not tests.passed >= _OF_THE_CONNECTOR_KIT:
            yield (
                Outcome.FAILED,
                f"the connector {name}: its tests fail or have no ConnectorContract",
            )
        else:
            yield Outcome.PASSED, f"the connector {name}"


def _documented(subject: _Subject) -> Finding:
    told = subject.distribution.metadata.json
    urls = [line.partition(",")[2].strip() for line in told.get("project_url", [])]
    labels = [line.partition(",")[0].strip().lower() for line in told.get("project_url", [])]
    if "documentation" in labels:
        return Outcome.PASSED, urls[labels.index("documentation")]
    if str(told.get("description", "")).strip():
        return Outcome.PASSED, "it has a README"
    return Outcome.FAILED, "set project.readme, or Documentation in project.urls"


def _imports_quietly(subject: _Subject) -> Finding:
    done = _python("-B", "-c", _IMPORT, subject.point.module, folder=Path(tempfile.gettempdir()))
    if done.returncode:
        return Outcome.FAILED, _last_line(done)
    if seen := json.loads(done.stdout.splitlines()[-1]):
        return Outcome.FAILED, f"importing it does more than define things: {', '.join(seen)}"
    return Outcome.PASSED, ""


# -- gold ----------------------------------------------------------------------------------


def _has_types(subject: _Subject) -> Finding:
    spec = find_spec(subject.package)
    places = list(spec.submodule_search_locations or []) if spec else []
    if any((Path(place) / "py.typed").is_file() for place in places):
        return Outcome.PASSED, ""
    return Outcome.FAILED, "make it a package and put an empty file py.typed into it"


def _is_tested(subject: _Subject) -> Finding:
    tests = subject.tests
    if isinstance(tests, str):
        return Outcome.UNKNOWN, tests
    return (Outcome.FAILED if tests.code else Outcome.PASSED), tests.summary


# -- platinum ------------------------------------------------------------------------------


def _is_strict(subject: _Subject) -> Finding:
    if find_spec("mypy") is None:
        return Outcome.UNKNOWN, "mypy is not installed: run pip install mypy"
    options = (
        "--strict",
        "--config-file=",
        f"--cache-dir={os.devnull}",
        # That a library has no types is not its user's fault.
        "--disable-error-code=import-untyped",
    )
    with tempfile.TemporaryDirectory() as elsewhere:
        done = _python("-m", "mypy", *options, "-p", subject.package, folder=Path(elsewhere))
    if done.returncode:
        return Outcome.FAILED, _short(done.stdout or done.stderr, first=True)
    return Outcome.PASSED, ""


def _is_explained(subject: _Subject) -> Finding:
    if subject.problem:
        return Outcome.UNKNOWN, "it must load first"
    for module in subject.modules():
        if not module.__doc__:
            return Outcome.FAILED, f"{module.__name__} has no docstring"
        for name, item in vars(module).items():
            ours = getattr(item, "__module__", "") == module.__name__
            public = inspect.isclass(item) or inspect.isfunction(item)
            if ours and public and not name.startswith("_") and not item.__doc__:
                return Outcome.FAILED, f"{module.__name__}.{name} has no docstring"
    return Outcome.PASSED, ""


CHECKS: tuple[tuple[Level, str, str, Callable[[_Subject], Finding]], ...] = (
    (Level.BRONZE, "loads", "It is imported and its hooks are valid", _loads),
    (Level.BRONZE, "described", "It declares a version and a summary", _described),
    (Level.BRONZE, "licensed", "It declares its licence", _licensed),
    (Level.BRONZE, "requires", "It declares that it needs trackflow-core and Python", _requires),
    (Level.SILVER, "contract", "All that it brings passes the contract kit", _keeps_contracts),
    (Level.SILVER, "documented", "It has a README or names its documentation", _documented),
    (Level.SILVER, "quiet", "Importing it has no effects", _imports_quietly),
    (Level.GOLD, "typed", "It ships its types (py.typed)", _has_types),
    (Level.GOLD, "tested", "It has tests, and they pass", _is_tested),
    (Level.PLATINUM, "strict", "mypy --strict finds nothing", _is_strict),
    (Level.PLATINUM, "explained", "Modules, public functions and classes explained", _is_explained),
)
"""Every check: its level, name, title, and what it examines."""


def _python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A run of this Python; one that takes too long counts as failed."""
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not done after {_TIMEOUT} s")


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return _short(done.stdout.strip() or done.stderr)


def _short(text: str, first: bool = False) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return lines[0 if first else -1][:200]
