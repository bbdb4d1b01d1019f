"""The browser of the tours: the one on PATH, or as root Debian's."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.environment import cache
from tests.environment.failure import SetupError
from tests.environment.progress import environment, run_logged, say, step

# The names under which Odoo's test runner looks for one.
_NAMES = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")


def version() -> str:
    """What the browser says of itself; empty where there is none."""
    found = _executable()
    if not found:
        return ""
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def _executable() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


def ensure() -> bool:
    """Whether tours can run here; as root, Chromium is installed when there is none."""
    if _executable():
        return True
    if os.geteuid() == 0 and shutil.which("apt-get"):
        logs = cache.root() / "logs"
        env = environment(DEBIAN_FRONTEND="noninteractive")
        try:
            with step("Installing Debian's chromium for the browser tours"):
                for name, arguments in (
                    ("update", ["update"]),
                    ("install", ["install", "--yes", "--no-install-recommends", "chromium"]),
                ):
                    run_logged(
                        ["apt-get", "-q", *arguments],
                        logs / f"chromium-{name}.log",
                        f"apt-get {name} failed",
                        env=env,
                    )
        except SetupError as error:
            say(f"    {error}")
    if not _executable():
        say("!!! NO BROWSER: every browser tour is SKIPPED; install chromium to run them !!!")
        return False
    return True
