"""A real Odoo 19: `ODOO_SRC`, or Debian's package unpacked into the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.environment import cache, debian
from tests.environment.failure import SetupError, run_command
from tests.environment.progress import say, step

SERIES = "19.0"
_SUITE = "sid"
_PACKAGES = (
    "odoo-19",
    # The package replaces bundled assets by relative links into these; without jquery every
    # page answers 500.
    "libjs-jquery",
    "libjs-underscore",
    "libjs-jquery-form",
    "fonts-font-awesome",
    "fonts-roboto-unhinted",
    "fonts-montserrat",
)
# Stripped from the package for its licence; every page logs a browser error without it, and an
# error in the browser fails a tour.
_STRIPPED = "addons/mail/static/lib/selfie_segmentation/selfie_segmentation.js"
# Raise it when the steps below change, so that prefixes prepared by older ones are not used.
_RECIPE = 1


@dataclass(frozen=True)
class OdooSource:
    """Where Odoo is: `path` goes on sys.path, `version` identifies it in cache keys."""

    path: Path
    version: str

    @property
    def addons_paths(self) -> list[Path]:
        """Odoo's own addons folders: one in the package, in a checkout one beside it as well."""
        candidates = (self.path / "odoo" / "addons", self.path / "addons")
        return [path for path in candidates if path.is_dir()]


def series_of(release: str) -> str | None:
    """`19.0` from the text of an `odoo/release.py`."""
    match = re.search(r"^version_info\s*=\s*\(\s*(\d+)\s*,\s*(\d+)", release, re.MULTILINE)
    return f"{match.group(1)}.{match.group(2)}" if match else None


def _checkout(folder: Path) -> OdooSource:
    release = folder / "odoo" / "release.py"
    if not release.is_file():
        raise SetupError(f"ODOO_SRC={folder} holds no odoo/release.py: is it a checkout of Odoo?")
    series = series_of(release.read_text(encoding="utf-8"))
    if series != SERIES:
        raise SetupError(f"ODOO_SRC={folder} is Odoo {series}; TrackFlow needs {SERIES}")
    described = subprocess.run(
        ["git", "-C", str(folder), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    identity = f"{folder.resolve()} {described.stdout.strip()}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return OdooSource(folder.resolve(), f"{SERIES}-{digest}")


def _build(folder: Path) -> None:
    work = folder / "apt"
    archives = debian.unpack(_PACKAGES, _SUITE, folder / "prefix", work)
    package = next(archive.name for archive in archives if archive.name.startswith("odoo-19_"))
    odoo = folder / "prefix/usr/lib/python3/dist-packages/odoo"
    stripped = odoo / _STRIPPED
    stripped.parent.mkdir(parents=True, exist_ok=True)
    stripped.touch()
    series = series_of((odoo / "release.py").read_text(encoding="utf-8"))
    if series != SERIES:
        raise SetupError(f"Debian's odoo-19 holds Odoo {series}; TrackFlow needs {SERIES}")
    (folder / "version").write_text(package.split("_")[1])
    shutil.rmtree(work)


def obtain() -> OdooSource:
    """Odoo's source, fetched when this machine has none yet."""
    chosen = os.environ.get("ODOO_SRC")
    if chosen:
        return _checkout(Path(chosen).expanduser())
    with cache.lock("odoo"):
        target = cache.root() / "odoo" / f"{SERIES}-{_RECIPE}"
        if not target.exists():
            with step("Fetching Odoo 19 from Debian (about 130 MB, once per machine)"):
                cache.prepare(target, _build)
    return OdooSource(
        target / "prefix/usr/lib/python3/dist-packages",
        f"{(target / 'version').read_text()}-{_RECIPE}",
    )


def link(source: OdooSource) -> Path:
    """Make `import odoo` work in this virtual environment; return its `odoo` script.

    Prefork needs the script: under `python -m odoo` its event process respawns without end.
    """
    if sys.prefix == sys.base_prefix:
        raise SetupError("run this with the project's .venv/bin/python, which `make setup` makes")
    pth = Path(sysconfig.get_path("purelib")) / "odoo_source.pth"
    _write_if_changed(pth, f"{source.path}\n")
    script = Path(sys.executable).parent / "odoo"
    _write_if_changed(script, f"#!{sys.executable}\nimport odoo.cli\n\nodoo.cli.main()\n")
    script.chmod(0o755)
    return script


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        # Another run may be importing through it: never half written.
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def main() -> int:
    source = obtain()
    link(source)
    say(f"Odoo {source.version}: {source.path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
