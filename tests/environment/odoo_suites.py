"""Odoo's own tests, on Odoo alone and with our addons: what passes alone must pass with ours."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.environment import cache, chromium, odoo_server
from tests.environment.failure import SetupError, run_command
from tests.environment.odoo_databases import OdooDatabases, our_addons
from tests.environment.progress import say, step

SUITES = ("link_tracker", "utm", "website_crm", "website_links")
# Each of these takes long, so each is run and told by itself.
LONG_SUITES = ("crm", "mass_mailing", "website")
# What is installed for every test, so that one template serves them all.
MODULES = (*SUITES, "crm")
DELIBERATE = Path(__file__).resolve().parents[1] / "odoo_suites" / "deliberate.txt"
# While a test runs `at_install`, our addons are in the database but not loaded yet, so that nothing
# fills their columns. Odoo lifts such conditions itself for the models that it updates.
_REQUIRED_OF_OURS = """
    SELECT table_name, column_name FROM information_schema.columns
     WHERE table_schema = 'public' AND is_nullable = 'NO'
       AND starts_with(column_name, 'trackflow_') AND NOT starts_with(table_name, 'trackflow_')
"""
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


def _run(
    databases: OdooDatabases, template: str, selection: Selection, log: Path, *, ours: bool
) -> Outcome:
    with databases.scratch(template) as database:
        for table, column in databases.server.run(_REQUIRED_OF_OURS, database=database):
            databases.server.run(
                f'ALTER TABLE "{table}" ALTER COLUMN "{column}" DROP NOT NULL', database=database
            )
        folder = Path(tempfile.mkdtemp(prefix="trackflow-suites-"))
        try:
            configuration = databases.configuration(
                database, folder, ours=ours, http_port=odoo_server.free_port()
            )
            with log.open("w", encoding="utf-8") as sink:
                # The exit code tells of any failure, also of those that Odoo has alone.
                subprocess.run(
                    [
                        sys.executable,
                        databases.script,
                        "--config",
                        configuration,
                        "--update",
                        ",".join(selection.suites),
                        "--test-tags",
                        selection.test_tags,
                        "--stop-after-init",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    with log.open(encoding="utf-8", errors="replace") as lines:
        outcome = outcome_of(lines)
    if not outcome.passed:
        raise SetupError(f"not one of Odoo's own tests passed (log: {log})")
    return outcome


def _alone(databases: OdooDatabases, selection: Selection, logs: Path) -> Outcome:
    """The result on Odoo alone, which only Odoo's version and the browser decide."""
    identity = f"{databases.source.version} {selection} {chromium.present()} {sys.version}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    kept = cache.root() / "odoo-suites" / f"{digest}.json"
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        return Outcome(**{name: frozenset(tests) for name, tests in known.items()})
    template = databases.template({*MODULES, *selection.suites})
    with step(f"{selection} on Odoo alone (kept for the next runs)"):
        log = logs / f"suites-{selection.label}-alone.log"
        outcome = _run(databases, template, selection, log, ours=False)
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
    with odoo_server.connected(durable=False) as databases:
        alone = _alone(databases, selection, logs)
        template = databases.template({*MODULES, *selection.suites, *our_addons()})
        with step(f"{selection} with our addons"):
            ours = _run(databases, template, selection, log, ours=True)
    listed = deliberate(DELIBERATE.read_text(encoding="utf-8"))
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
    closings, failed = [], False
    for suites in groups:
        selection = Selection(suites, tags)
        wrong, closing = compare(selection)
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
