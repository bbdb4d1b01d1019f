"""The Java that Spark runs on: this machine's, or Debian's out of the cache."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.environment import cache, debian
from tests.environment.failure import SetupError
from tests.environment.progress import step

# What Spark 4 supports.
_RELEASES = ("17", "21")
# An old Debian's programs run on newer ones, too.
_SUITE = "bookworm"
_PACKAGE = "openjdk-17-jre-headless"


def major(release: str) -> str:
    """The major version in the file `release` of a Java; empty when there is none."""
    found = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return found.group(1) if found else ""


def _installed() -> Iterator[Path]:
    if named := os.environ.get("JAVA_HOME"):
        yield Path(named)
    if program := shutil.which("java"):
        yield Path(program).resolve().parents[1]


def _suits(home: Path) -> bool:
    told = home / "release"
    return told.is_file() and major(told.read_text(encoding="utf-8")) in _RELEASES


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        debian.unpack([_PACKAGE], _SUITE, folder, Path(work))
    for link in folder.rglob("*"):
        # Its settings are links into /etc, where nothing was installed.
        target = link.readlink() if link.is_symlink() else Path()
        if target.is_absolute():
            link.unlink()
            link.symlink_to(os.path.relpath(folder / target.relative_to("/"), link.parent))
    for default in folder.glob("usr/lib/jvm/*/lib/jvm.cfg-default"):
        # The installation would copy it.
        default.with_name("jvm.cfg").unlink(missing_ok=True)
        shutil.copy(default, default.with_name("jvm.cfg"))


def home() -> Path:
    """The folder of a Java that Spark can use.

    Raises SetupError when there is none and Debian's cannot be fetched.
    """
    for installed in _installed():
        if _suits(installed):
            return installed
    with cache.lock("java"):
        target = cache.root() / "java" / _PACKAGE
        if not target.exists():
            try:
                with step("Fetching Java from Debian for Spark (once per machine)"):
                    cache.prepare(target, _build)
            except SetupError as error:
                raise SetupError(
                    f"Spark needs Java {' or '.join(_RELEASES)}: install it, or set JAVA_HOME "
                    f"({error})"
                ) from error
    return next((target / "usr/lib/jvm").glob("*/release")).parent
