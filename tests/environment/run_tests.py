"""`make test`: everything, or the parts that are named."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.environment import bootstrap, chromium, odoo_server, odoo_suites, odoo_uninstall
from tests.environment.failure import SetupError, run_command
from tests.environment.odoo_databases import ADDONS, ROOT, our_addons
from tests.environment.progress import say

_ODOO_PYTEST = Path(__file__).with_name("odoo_tests.ini")


def _pytest(arguments: Sequence[str | Path]) -> tuple[bool, str]:
    """Run pytest in the open; whether it passed, and its closing line."""
    closing = "no result"
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.strip():
                closing = line.strip().strip("=").strip()
    return process.returncode == 0, closing


def core(extra: Sequence[str]) -> tuple[bool, str]:
    """Core, connectors and plugins."""
    bootstrap.ensure_engines()
    return _pytest(extra)


def addons(extra: Sequence[str]) -> tuple[bool, str]:
    """The addons' own tests, in a real Odoo on a fresh database without demo data."""
    chromium.ensure()
    with odoo_server.connected(durable=False) as databases:
        template = databases.template([*odoo_suites.MODULES, *our_addons()])
        with (
            databases.scratch(template) as database,
            tempfile.TemporaryDirectory(prefix="trackflow-tests-") as folder,
        ):
            # One process runs what a server spreads over workers, each with Odoo's limit of its own.
            configuration = databases.configuration(database, Path(folder), limit_memory_hard=0)
            return _pytest(
                [
                    "-c",
                    _ODOO_PYTEST,
                    f"--rootdir={ROOT}",
                    f"--odoo-config={configuration}",
                    "--odoo-http",
                    *(extra or [str(ADDONS)]),
                ]
            )


def suites(_extra: Sequence[str]) -> tuple[bool, str]:
    """Odoo's own tests, alone and beside our addons."""
    wrong, closing = odoo_suites.compare()
    return not wrong, closing


def uninstall(_extra: Sequence[str]) -> tuple[bool, str]:
    """Odoo after our addons are gone."""
    wrong, closing = odoo_uninstall.check()
    return not wrong, closing


_PARTS = {
    "core": core,
    "addons": addons,
    "uninstall": uninstall,
    "odoo-suites": suites,
}
_BESIDE = ("addons", "uninstall", "odoo-suites")


def _run(parts: Sequence[str], extra: Sequence[str]) -> tuple[list[str], list[str]]:
    """The closing line of each part, and the parts that failed."""
    closings, failed = [], []
    for name in parts:
        say(f"==> Tests: {name}")
        try:
            passed, closing = _PARTS[name](extra)
        except SetupError as error:
            passed, closing = False, f"could not run: {error}"
        closings.append(f"{name:16} {closing}")
        if not passed:
            failed.append(name)
    return closings, failed


def _run_all() -> tuple[list[str], list[str]]:
    """Core in the open and what needs Odoo beside it, told afterwards: half of the time."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told,
        subprocess.Popen(
            [sys.executable, "-m", "tests.environment.run_tests", *_BESIDE],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
        ) as beside,
    ):
        try:
            closings, failed = _run(["core"], [])
            say(f"... waiting for {', '.join(_BESIDE)}")
            if beside.wait():
                failed.append("what needs Odoo")
        except BaseException:
            beside.terminate()
            raise
        told.seek(0)
        for line in told:
            print(line, end="", flush=True)
    return closings, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(_PARTS)}; all by default")
    parser.add_argument("--pytest", default="", help="arguments for pytest, for a single part")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(_PARTS)
    if unknown:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    if arguments.parts:
        closings, failed = _run(arguments.parts, shlex.split(arguments.pytest))
    else:
        closings, failed = _run_all()
    say("")
    for closing in closings:
        say(closing)
    say(f"make test: {'FAILED in ' + ', '.join(failed) if failed else 'passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
