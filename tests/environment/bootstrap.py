"""`make setup`: the virtual environment of the whole workspace.

Standard library only: it runs under the machine's own python3, before anything is installed.
Nothing changes when neither a `pyproject.toml` nor `constraints.txt` has changed.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.environment import cache, debian
from tests.environment.failure import SetupError, run_command
from tests.environment.progress import environment, run_logged, say, step

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"
_STAMP = VENV / "trackflow-setup.stamp"
GROUPS = ("build", "odoo", "test", "check", "docs", "bench")
# A gigabyte that only the tests of the warehouse need: `make test` installs it.
ENGINES = "engines"
_UV = "uv>=0.8,<1"
_UNREACHABLE = "is the Python package index reachable from here?"


def distributions(root: Path) -> list[Path]:
    """The folders of the workspace that hold a distribution, the core first."""
    members = [
        manifest.parent
        for area in ("connectors", "plugins")
        for manifest in sorted((root / area).glob("*/pyproject.toml"))
    ]
    return [root, *members]


def fingerprint(files: Iterable[Path], root: Path) -> str:
    """A digest of this interpreter and of the names and contents of `files`."""
    digest = hashlib.sha256(f"{sys.version} {sys.executable}\0".encode())
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes() + b"\0" if path.is_file() else b"missing\0")
    return digest.hexdigest()


def uv_settings(pip_settings: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """uv's name for an index or a certificate that only pip has been told about."""
    wanted = {
        "UV_DEFAULT_INDEX": env.get("PIP_INDEX_URL") or pip_settings.get("index-url"),
        "SSL_CERT_FILE": env.get("PIP_CERT") or pip_settings.get("cert"),
    }
    taken = "UV_INDEX_URL" in env
    return {
        name: value
        for name, value in wanted.items()
        if value and name not in env and not (name == "UV_DEFAULT_INDEX" and taken)
    }


def _pip_settings() -> dict[str, str]:
    """The `[global]` section of the pip configuration files that apply here."""
    files = ["/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf"]
    named = os.environ.get("PIP_CONFIG_FILE")
    parser = configparser.RawConfigParser()
    parser.read([Path(name).expanduser() for name in [*files, *([named] if named else [])]])
    return dict(parser["global"]) if parser.has_section("global") else {}


def uv_environment() -> dict[str, str]:
    """The process environment, with which uv uses this Python and this machine's index."""
    # Its own Pythons come from a site that is not a package registry.
    mine = {"UV_PYTHON_DOWNLOADS": "never", "UV_PYTHON": sys.executable}
    return {**environment(), **mine, **uv_settings(_pip_settings(), os.environ)}


def _uv_by_venv(folder: Path) -> bool:
    """A virtual environment with its own pip, where Python has `ensurepip`."""
    if importlib.util.find_spec("ensurepip") is None:
        return False
    made = subprocess.run(
        [sys.executable, "-m", "venv", folder / "python"], capture_output=True, check=False
    )
    return made.returncode == 0 and _pip_install(
        [folder / "python/bin/python", "-m", "pip"], folder
    )


def _uv_by_pip(folder: Path) -> bool:
    """The pip of this Python."""
    if importlib.util.find_spec("pip") is None:
        return False
    return _pip_install([sys.executable, "-m", "pip"], folder)


def _uv_by_wheel(folder: Path) -> bool:
    """Debian's pip wheel, run from the archive that it is: for a bare python3."""
    with tempfile.TemporaryDirectory() as work:
        debian.unpack(
            ["python3-pip-whl"], _debian_suite(), Path(work) / "wheel", Path(work) / "apt"
        )
        wheel = next((Path(work) / "wheel").rglob("pip-*.whl"))
        return _pip_install([sys.executable, wheel / "pip"], folder)


def _debian_suite() -> str:
    """The release whose pip wheel suits this Python: the machine's own, else stable."""
    release = Path("/etc/os-release")
    if release.is_file():
        for line in release.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name == "VERSION_CODENAME" and value.strip('"') in debian.RELEASES:
                return value.strip('"')
    return "stable"


def _pip_install(pip: Sequence[str | Path], folder: Path) -> bool:
    log = cache.root() / "logs" / "uv.log"
    try:
        run_logged(
            [*pip, "install", "--quiet", "--target", folder / "uv", _UV],
            log,
            f"uv could not be installed from the Python package index: {_UNREACHABLE}",
            env=environment(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore"),
        )
    except SetupError as error:
        say(f"    {error}")
        return False
    return (folder / "uv/bin/uv").is_file()


def _build_uv(folder: Path) -> None:
    for way in (_uv_by_venv, _uv_by_pip, _uv_by_wheel):
        if way(folder):
            shutil.rmtree(folder / "python", ignore_errors=True)
            return
    raise SetupError(f"uv, which installs everything else, could not be installed: {_UNREACHABLE}")


def uv() -> Path:
    """The program uv, out of the cache."""
    version = "{}.{}".format(*sys.version_info[:2])
    with cache.lock("uv"):
        target = cache.root() / "uv" / version
        if not target.exists():
            with step("Fetching uv (once per machine)"):
                cache.prepare(target, _build_uv)
    return target / "uv/bin/uv"


def _quiet_but_notable(line: str) -> str | None:
    words = ("Resolved", "Prepared", "Installed", "Uninstalled", "Downloading", "Building")
    return line.strip() if line.strip().startswith(words) else None


def _lock() -> AbstractContextManager[None]:
    return cache.lock(f"venv-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}")


def _install() -> None:
    program = uv()
    if not (VENV / "bin/python").exists():
        with step(f"Making {VENV.name} with Python {sys.version.split()[0]}"):
            run_logged(
                [program, "venv", "--quiet", "--allow-existing", VENV],
                cache.root() / "logs" / "venv.log",
                "the virtual environment could not be made",
                env=uv_environment(),
            )
    with step("Installing the workspace and its tools into .venv"):
        _install_groups(GROUPS, distributions(ROOT))


def _install_groups(groups: Iterable[str], editable: Iterable[Path] = ()) -> None:
    arguments: list[str | Path] = [uv(), "pip", "install"]
    for group in groups:
        arguments += ["--group", group]
    if CONSTRAINTS.is_file():
        arguments += ["--constraint", CONSTRAINTS, "--build-constraint", CONSTRAINTS]
    for folder in editable:
        arguments += ["--editable", folder]
    run_logged(
        arguments,
        cache.root() / "logs" / "install.log",
        "the Python packages could not be installed: the lines above say why",
        env={
            **uv_environment(),
            "VIRTUAL_ENV": str(VENV),
            "UV_PYTHON": str(VENV / "bin/python"),
        },
        cwd=ROOT,
        notable=_quiet_but_notable,
    )


def ensure_engines() -> None:
    """Spark with its Java, and ClickHouse, in the virtual environment that is there."""
    with _lock(), step("Spark and ClickHouse for the warehouse's tests"):
        _install_groups([ENGINES])


def main() -> int:
    inputs = [folder / "pyproject.toml" for folder in distributions(ROOT)]
    with _lock():
        wanted = fingerprint([*inputs, CONSTRAINTS, Path(__file__).resolve()], ROOT)
        if _STAMP.is_file() and _STAMP.read_text() == wanted and (VENV / "bin/python").exists():
            return 0
        _install()
        _STAMP.write_text(wanted)
    say("    .venv is ready")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
