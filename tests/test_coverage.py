"""The pure modules, on which every figure rests, have no branch that their tests leave out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Reads and writes files, so it is tried where that is done, in test_cli_attribution.
NOT_PURE = "trackflow_core/attribution/files.py"


@pytest.mark.slow
def test_every_branch_of_the_pure_modules_is_tried(tmp_path: Path) -> None:
    def coverage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=ROOT,
            env={**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")},
            capture_output=True,
            text=True,
            check=False,
        )

    source = "--source=trackflow_core/attribution,trackflow_core/tracking"
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/attribution", "tests/tracking")
    run = coverage("run", "--branch", source, *tests)
    assert run.returncode == 0, run.stdout
    report = coverage("report", "--fail-under=100", "--skip-covered", "-m", f"--omit={NOT_PURE}")
    assert report.returncode == 0, report.stdout
