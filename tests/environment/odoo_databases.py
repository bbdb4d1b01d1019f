"""Odoo databases that are prepared once and copied in seconds.

A template has two layers. The lower one holds Odoo's own modules and depends on Odoo alone; the
upper one adds the addons of this checkout and is made again whenever their sources, the core or
a plugin change.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from tests.environment import cache
from tests.environment.failure import SetupError
from tests.environment.odoo_source import OdooSource
from tests.environment.postgres import Server
from tests.environment.progress import run_logged, say, step

ROOT = Path(__file__).resolve().parents[2]
ADDONS = ROOT / "odoo_addon"
_SOURCES = ("odoo_addon", "trackflow_core", "connectors", "plugins")
_NOT_SOURCES = frozenset(("__pycache__", "tests", "docs", "i18n"))
_TEMPLATES_KEPT = 3
# Raise it when the way templates are made changes.
_RECIPE = 1


def our_addons() -> dict[str, list[str]]:
    """The addons of this checkout, each with the modules that it depends on."""
    found = {}
    for manifest in sorted(ADDONS.glob("*/__manifest__.py")):
        content = ast.literal_eval(manifest.read_text(encoding="utf-8"))
        found[manifest.parent.name] = list(content.get("depends", []))
    return found


def sources_digest(root: Path) -> str:
    """A digest of everything that decides what is in a database with our addons."""
    digest = hashlib.sha256()
    for area in _SOURCES:
        for folder, names, files in os.walk(root / area):
            names[:] = sorted(name for name in names if name not in _NOT_SOURCES)
            for name in sorted(files):
                path = Path(folder) / name
                if path.suffix not in {".pyc", ".md"}:
                    digest.update(f"{path.relative_to(root)}\0".encode())
                    digest.update(path.read_bytes())
    return digest.hexdigest()


def loading_progress(line: str) -> str | None:
    """What to tell of a line of Odoo's log: every module that it starts to install."""
    match = re.search(r"odoo\.modules\.loading: Loading module (\S+) \((\d+/\d+)\)", line)
    return f"{match.group(2)} {match.group(1)}" if match else None


@dataclass(frozen=True)
class OdooDatabases:
    """The databases of one server, for one Odoo, with the files that Odoo keeps beside them."""

    server: Server
    source: OdooSource
    script: Path
    data_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        folder = cache.root() / "odoo-data" / self.server.label
        folder.mkdir(parents=True, exist_ok=True)
        object.__setattr__(self, "data_dir", folder)

    def configuration(
        self, database: str, folder: Path, *, ours: bool = True, **options: object
    ) -> Path:
        """Write the configuration file of an Odoo on `database`; `options` are added to it."""
        addons = [*self.source.addons_paths, *([ADDONS] if ours else [])]
        content = {
            "addons_path": ",".join(str(path) for path in addons),
            "data_dir": self.data_dir,
            "db_host": self.server.host,
            "db_port": self.server.port,
            "db_user": self.server.user,
            "db_password": self.server.password or False,
            "db_name": database,
            "list_db": False,
            "http_interface": "127.0.0.1",
            **options,
        }
        path = folder / "odoo.conf"
        path.touch(mode=0o600)
        lines = [f"{name} = {str(value).replace('%', '%%')}\n" for name, value in content.items()]
        path.write_text("[options]\n" + "".join(lines), encoding="utf-8")
        return path

    def names(self, prefix: str) -> list[str]:
        rows = self.server.run(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", prefix
        )
        return [row[0] for row in rows]

    def exists(self, name: str) -> bool:
        return bool(self.server.run("SELECT 1 FROM pg_database WHERE datname = %s", name))

    def note(self, name: str) -> str | None:
        """The comment on a database."""
        rows = self.server.run(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", name
        )
        return rows[0][0] if rows else None

    def set_note(self, name: str, note: str) -> None:
        self.server.run(f'COMMENT ON DATABASE "{name}" IS %s', note)

    def drop(self, name: str) -> None:
        self.server.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        shutil.rmtree(self.data_dir / "filestore" / name, ignore_errors=True)

    def copy(self, template: str, name: str) -> None:
        """Make `name` out of `template`, with its files."""
        self.drop(name)
        self.server.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        files = self.data_dir / "filestore" / template
        if files.is_dir():
            # The store is addressed by content and never writes into a file: links suffice.
            shutil.copytree(files, files.with_name(name), copy_function=os.link)

    @contextmanager
    def scratch(self, template: str) -> Iterator[str]:
        """A copy of `template` for the duration of the block."""
        name = f"trackflow_run_{uuid.uuid4().hex[:12]}"
        with cache.lock(f"templates-{self.server.label}"):
            self.copy(template, name)
        try:
            yield name
        finally:
            self.drop(name)

    def install(self, database: str, modules: Sequence[str], *, demo: bool, ours: bool) -> None:
        """Install `modules`, making `database` if need be; anything less than all is an error."""
        folder = cache.root() / "logs" / f"install-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        log = folder.with_suffix(".log")
        failures: list[str] = []

        def notable(line: str) -> str | None:
            if "demo data failed to install" in line:
                failures.append(line)
            return loading_progress(line)

        try:
            run_logged(
                [
                    sys.executable,
                    self.script,
                    "--config",
                    self.configuration(database, folder, ours=ours),
                    "--init",
                    ",".join(modules),
                    "--with-demo" if demo else "--without-demo=True",
                    "--stop-after-init",
                    "--no-http",
                ],
                log,
                f"Odoo could not install {', '.join(modules)}",
                notable=notable,
            )
        finally:
            shutil.rmtree(folder)
        if failures:
            raise SetupError(f"the demo data of an addon could not be loaded (log: {log})")
        installed = self.server.run(
            "SELECT name FROM ir_module_module WHERE state = 'installed'", database=database
        )
        missing = sorted(set(modules) - {row[0] for row in installed})
        if missing:
            raise SetupError(f"Odoo did not install {', '.join(missing)} (log: {log})")
        log.unlink()

    def shell(self, configuration: Path, script: str) -> str:
        """What a Python `script` prints in an Odoo shell (`env`); it commits what it wants kept."""
        done = subprocess.run(
            [sys.executable, self.script, "shell", "--config", configuration, "--no-http"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or "Traceback (most recent call last)" in done.stderr:
            sys.stderr.write(done.stderr)
            raise SetupError("a script for Odoo's shell failed: the lines above say why")
        return done.stdout

    def template(self, modules: Iterable[str], *, demo: bool = False, afterwards: str = "") -> str:
        """The name of a database with `modules` installed, made now if there is none yet.

        `afterwards` is run in Odoo's shell once they are.
        """
        wanted = sorted(set(modules))
        addons = our_addons()
        ours = [name for name in wanted if name in addons]
        theirs = {name for name in wanted if name not in addons}
        for name in ours:
            theirs.update(needed for needed in addons[name] if needed not in addons)
        kind = "demo" if demo else "plain"
        lower_key = self._key(self.source.version, kind, *sorted(theirs))
        upper_key = self._key(lower_key, sources_digest(ROOT), afterwards, *ours)
        lower = f"trackflow_base_{kind}_{lower_key}"
        upper = f"trackflow_addons_{kind}_{upper_key}"
        with cache.lock(f"templates-{self.server.label}"):
            if ours and self._usable(upper):
                return upper
            if not self._usable(lower):
                with step(f"Installing Odoo's own {', '.join(sorted(theirs))}"):
                    self._build(lower, sorted(theirs), base=None, demo=demo)
            if not ours:
                return lower
            with step(f"Installing {', '.join(ours)}"):
                self._build(upper, ours, base=lower, demo=demo, afterwards=afterwards)
            return upper

    def _build(
        self,
        name: str,
        modules: list[str],
        *,
        base: str | None,
        demo: bool,
        afterwards: str = "",
    ) -> None:
        building = f"{name}_building"
        self.drop(building)
        try:
            if base:
                self.copy(base, building)
            self.install(building, modules, demo=demo, ours=base is not None)
            if afterwards:
                with tempfile.TemporaryDirectory() as folder:
                    self.shell(self.configuration(building, Path(folder)), afterwards)
        except BaseException:
            self.drop(building)
            raise
        files = self.data_dir / "filestore" / building
        if files.is_dir():
            shutil.rmtree(files.with_name(name), ignore_errors=True)
            files.rename(files.with_name(name))
        self.server.run(f'ALTER DATABASE "{building}" RENAME TO "{name}"')
        self._usable(name)
        self._forget_old(name.rsplit("_", 1)[0])

    def _usable(self, name: str) -> bool:
        if not self.exists(name):
            return False
        self.set_note(name, f"{time.time():.0f}")
        return True

    def _forget_old(self, prefix: str) -> None:
        by_last_use = sorted(
            (name for name in self.names(f"{prefix}_")),
            key=lambda name: self.note(name) or "",
        )
        for name in by_last_use[:-_TEMPLATES_KEPT]:
            say(f"    dropping the outdated template {name}")
            try:
                self.drop(name)
            except psycopg2.Error as error:
                say(f"    {str(error).strip()}")

    def _key(self, *parts: str) -> str:
        text = "\0".join((str(_RECIPE), *parts))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
