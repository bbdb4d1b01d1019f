"""Odoo's own tests, on Odoo alone and with our addons: what passes alone must pass with ours."""

from __future__ import annotations

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
# These take the better part of an hour.
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


def _run(
    databases: OdooDatabases, template: str, suites: Sequence[str], log: Path, *, ours: bool
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
                        ",".join(suites),
                        "--test-tags",
                        ",".join(f"/{suite}" for suite in suites),
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


def _alone(databases: OdooDatabases, suites: Sequence[str], logs: Path) -> Outcome:
    """The result on Odoo alone, which only Odoo's version and the browser decide."""
    identity = f"{databases.source.version} {suites} {chromium.present()} {sys.version}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    kept = cache.root() / "odoo-suites" / f"{digest}.json"
    if kept.is_file():
        known = json.loads(kept.read_text(encoding="utf-8"))
        return Outcome(**{name: frozenset(tests) for name, tests in known.items()})
    template = databases.template({*MODULES, *suites})
    with step(f"{', '.join(suites)} on Odoo alone (kept for the next runs)"):
        outcome = _run(databases, template, suites, logs / "suites-alone.log", ours=False)
    kept.parent.mkdir(exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps({k: sorted(v) for k, v in vars(outcome).items()}, indent=1))
    partial.replace(kept)
    return outcome


def compare(suites: Sequence[str] = SUITES) -> tuple[list[str], str]:
    """Run these suites both ways; return the complaints and the closing line."""
    began = time.monotonic()
    chromium.ensure()
    logs = cache.root() / "logs"
    logs.mkdir(exist_ok=True)
    allowed = {
        name
        for name in deliberate(DELIBERATE.read_text(encoding="utf-8"))
        if name.partition("/")[0] in suites
    }
    with odoo_server.connected(durable=False) as databases:
        alone = _alone(databases, suites, logs)
        template = databases.template({*MODULES, *suites, *our_addons()})
        with step(f"{', '.join(suites)} with our addons"):
            ours = _run(databases, template, suites, logs / "suites-ours.log", ours=True)
    wrong = complaints(alone, ours, allowed)
    for complaint in wrong:
        say(f"FAILED {complaint} (log: {logs / 'suites-ours.log'})")
    closing = (
        f"{len(alone.passed & ours.passed)} of {len(alone.passed)} tests that pass on Odoo alone "
        f"pass with our addons, {len(allowed - ours.passed)} changed on purpose, "
        f"{len(ours.skipped)} skipped in {time.monotonic() - began:.0f} s"
    )
    return wrong, closing


def main() -> int:
    wrong, closing = compare()
    say(closing)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
