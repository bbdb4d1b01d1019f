"""Odoo's own tests, on Odoo alone and with our addons: what passes alone must pass with ours."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import tomli

from tests.environment import cache, chromium, odoo_server
from tests.environment.failure import SetupError, run_command
from tests.environment.odoo_databases import ROOT, OdooDatabases, our_addons
from tests.environment.progress import say, step

SUITES = ("link_tracker", "utm", "website_crm", "website_links")
# Each of these takes long, so each is run and told by itself.
LONG_SUITES = ("crm", "mass_mailing", "website")
# What is installed for every test, so that one template serves them all.
MODULES = (*SUITES, "crm")
DELIBERATE = Path(__file__).resolve().parents[1] / "odoo_suites" / "deliberate.txt"
# A tour gives up after some minutes; a test that writes nothing for longer waits for ever.
_SILENT_SECONDS = 900
# Raise it when what is kept of Odoo alone means something else.
_RECIPE = 2
_NAME = r"(?P<test>\w+\.\w+)"
_TEST_LOGGER = r"odoo\.addons\.(?P<module>\w+)\.tests\.(?P<file>\w+): "
_STARTED = re.compile(rf"{_TEST_LOGGER}Starting {_NAME} \.\.\.")
_FAILED = re.compile(rf"{_TEST_LOGGER}(?:FAIL|ERROR): (?:Subtest )?{_NAME}")
_SKIPPED = re.compile(rf"{_TEST_LOGGER}skipped {_NAME}")
_CLASS_FAILED = re.compile(
    r"ERROR: (?:setUpClass|tearDownClass) \((?:odoo\.addons\.)?(?P<class>\S+)\)"
)


@dataclass(frozen=True)
class Outcome:
    """Which tests of a run passed, which did not, and which were skipped."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]

    def or_else(self, second: Outcome) -> Outcome:
        """What is known once some of the tests have had a second try."""
        passed = self.passed | second.passed
        return Outcome(
            passed=passed,
            failed=(self.failed | second.failed) - passed,
            skipped=(self.skipped | second.skipped) - passed,
        )


def outcome_of(log: Iterable[str]) -> Outcome:
    """Read an Odoo log written by `--test-tags`. Tests are named `module/file/Class.method`."""
    started: set[str] = set()
    failed: set[str] = set()
    skipped: set[str] = set()
    for line in log:
        for pattern, found in ((_STARTED, started), (_FAILED, failed), (_SKIPPED, skipped)):
            match = pattern.search(line)
            if match:
                found.add("{module}/{file}/{test}".format(**match.groupdict()))
        match = _CLASS_FAILED.search(line)
        if match:
            # module.tests.file.Class: none of its tests starts.
            parts = match.group("class").split(".")
            failed.add(f"{parts[0]}/{parts[-2]}/{parts[-1]}.setUpClass")
    return Outcome(
        passed=frozenset(started - failed - skipped),
        failed=frozenset(failed),
        skipped=frozenset(skipped),
    )


def deliberate(text: str) -> dict[str, str]:
    """Tests that assert what we change on purpose: `module/file/Class.method: reason` a line."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.partition(":")
        if not reason.strip():
            raise SetupError(f"{DELIBERATE.name} line {number} gives no reason")
        found[name.strip()] = reason.strip()
    return found


def complaints(alone: Outcome, ours: Outcome, allowed: Collection[str]) -> list[str]:
    """What is wrong with the run with our addons, a sentence each."""
    broken = [
        f"{name} passes on Odoo alone and {'fails' if name in ours.failed else 'does not run'} "
        "with our addons"
        for name in sorted(alone.passed - ours.passed - set(allowed))
    ]
    stale = [
        f"{name} is listed in {DELIBERATE.name} but passes"
        for name in sorted(set(allowed) & ours.passed)
    ]
    return broken + stale


@dataclass(frozen=True)
class Selection:
    """Suites that run together; `tags` are Odoo's test tags that choose among their tests."""

    suites: Sequence[str]
    tags: Sequence[str] = ()

    def __str__(self) -> str:
        return ", ".join((*self.suites, *self.tags))

    @property
    def label(self) -> str:
        """A part of a file's name that no other selection has."""
        told = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{'-'.join(self.suites)}-{told}"

    @property
    def test_tags(self) -> str:
        """What Odoo is told with `--test-tags`: tags that only leave out leave out of the suites'
        tests; others name the tests themselves."""
        named = [tag for tag in self.tags if not tag.startswith("-")]
        whole = [] if named else [f"/{suite}" for suite in self.suites]
        return ",".join([*whole, *self.tags])


def tags_of(tests: Iterable[str]) -> str:
    """Odoo's test tags for tests named `module/file/Class.method`.

    A class that could not be set up stands for all of its tests.
    """
    named = (test.removesuffix(".setUpClass").split("/") for test in tests)
    return ",".join(sorted(f"/{module}/tests/{file}.py:{name}" for module, file, name in named))


def last_started(log: Iterable[str]) -> str:
    """The test that an Odoo log begins last."""
    started = [match for match in map(_STARTED.search, log) if match]
    return "{module}/{file}/{test}".format(**started[-1].groupdict()) if started else ""


def falls_silent(process: subprocess.Popen[bytes], log: Path, seconds: float) -> bool:
    """Wait until `process` ends (False) or has written nothing to `log` for `seconds` (True)."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(5, seconds / 4))
            return False
        if size != log.stat().st_size:
            size, since = log.stat().st_size, time.monotonic()
    return True


@dataclass(frozen=True)
class _Suites:
    """The suites of a selection beside some modules; each run has a fresh database."""

    databases: OdooDatabases
    modules: Set[str]
    selection: Selection
    log: Path
    ours: bool

    def outcome(self, again: Callable[[Outcome], Set[str]]) -> Outcome:
        """What came of all tests, of those in `again` at the second try if not at the first: on a
        busy machine a browser starts late and a tour runs out of time."""
        first = self._run(self.selection.test_tags, self.log)
        if not first.passed:
            raise SetupError(f"not one of Odoo's own tests passed (log: {self.log})")
        missing = again(first)
        if not missing:
            return first
        log = self.log.with_suffix(".again.log")
        say(f"    once more: {', '.join(sorted(missing))} (log: {log})")
        second = self._run(tags_of(missing), log)
        for name in sorted(missing & second.passed):
            say(f"    {name} passes at the second try")
        return first.or_else(second)

    def _run(self, test_tags: str, log: Path) -> Outcome:
        databases = self.databases
        with (
            # Asked for each time: other checkouts may have dropped it during the hour before.
            databases.scratch(databases.template(self.modules)) as database,
            tempfile.TemporaryDirectory(prefix="trackflow-suites-") as folder,
        ):
            configuration = databases.configuration(
                database, Path(folder), ours=self.ours, http_port=odoo_server.free_port()
            )
            options = ["--update", ",".join(self.selection.suites), "--test-tags", test_tags]
            # The exit code tells of any failure, also of those that Odoo has alone.
            with odoo_server.process(
                databases, configuration, [*options, "--stop-after-init"], log
            ) as odoo:
                hangs = falls_silent(odoo, log, _SILENT_SECONDS)
                if hangs:
                    # Odoo answers with the stacks of its threads.
                    odoo.send_signal(signal.SIGQUIT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        odoo.wait(10)
        with log.open(encoding="utf-8", errors="replace") as lines:
            if not hangs:
                return outcome_of(lines)
            raise SetupError(
                f"{last_started(lines) or 'Odoo'} wrote nothing for {_SILENT_SECONDS} s and was "
                "stopped: leave it out with TAGS, and see the end of the log for where it waits "
                f"(log: {log})"
            )


def _odoos_modules(selection: Selection) -> set[str]:
    """Odoo's modules of both runs: ours need some, with which a few of Odoo's own tests fail."""
    ours = our_addons()
    return {*MODULES, *selection.suites, *chain.from_iterable(ours.values())} - ours.keys()


def _alone(databases: OdooDatabases, selection: Selection, logs: Path) -> Outcome:
    """The result on Odoo alone, which Odoo, its libraries and the browser decide."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    libraries = project["dependency-groups"]["odoo"]
    modules = _odoos_modules(selection)
    identity = (
        f"{_RECIPE} {databases.source.version} {sorted(modules)} {libraries} {selection} "
        f"{chromium.version()} {sys.version}"
    )
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    kept = cache.root() / "odoo-suites" / f"{digest}.json"
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        return Outcome(**{name: frozenset(tests) for name, tests in known.items()})
    # Made here, so that the step below tells of the tests' time alone.
    databases.template(modules)
    log = logs / f"suites-{selection.label}-alone.log"
    with step(f"{selection} on Odoo alone (kept for the next runs)"):
        outcome = _Suites(databases, modules, selection, log, ours=False).outcome(
            again=lambda first: first.failed | first.skipped
        )
    kept.parent.mkdir(exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps({k: sorted(v) for k, v in vars(outcome).items()}, indent=1))
    partial.replace(kept)
    return outcome


def compare(selection: Selection = Selection(SUITES)) -> tuple[list[str], str]:
    """Run the tests of `selection` both ways; return the complaints and the closing line."""
    began = time.monotonic()
    chromium.ensure()
    logs = cache.root() / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"suites-{selection.label}-ours.log"
    listed = deliberate(DELIBERATE.read_text(encoding="utf-8"))
    with odoo_server.connected(durable=False) as databases:
        alone = _alone(databases, selection, logs)
        modules = {*_odoos_modules(selection), *our_addons()}
        databases.template(modules)
        with step(f"{selection} with our addons"):
            ours = _Suites(databases, modules, selection, log, ours=True).outcome(
                again=lambda first: alone.passed - first.passed - listed.keys()
            )
    allowed = (alone.passed | ours.passed) & listed.keys()
    wrong = complaints(alone, ours, allowed)
    for complaint in wrong:
        say(f"FAILED {complaint} (log: {log})")
    closing = (
        f"{len(alone.passed & ours.passed)} of {len(alone.passed)} tests that pass on Odoo alone "
        f"pass with our addons, {len(allowed - ours.passed)} changed on purpose, "
        f"{len(ours.skipped)} skipped in {time.monotonic() - began:.0f} s"
    )
    return wrong, closing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "suites", nargs="*", help="modules of Odoo, each run by itself; by default all that matter"
    )
    parser.add_argument(
        "--tags", default="", help="Odoo's test tags, e.g. -/website:TestUi or /website:TestPage"
    )
    arguments = parser.parse_args()
    tags = tuple(tag for tag in arguments.tags.split(",") if tag)
    groups: list[tuple[str, ...]] = [(suite,) for suite in arguments.suites or LONG_SUITES]
    if not arguments.suites:
        groups.insert(0, SUITES)
    chromium.prefer_earlier()
    closings, failed = [], False
    for suites in groups:
        selection = Selection(suites, tags)
        try:
            wrong, closing = compare(selection)
        except SetupError as error:
            wrong, closing = [str(error)], f"could not be run: {error}"
        failed = failed or bool(wrong)
        closings.append(f"{selection}: {closing}")
        say(closings[-1])
    if len(closings) > 1:
        say("")
        for closing in closings:
            say(closing)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
