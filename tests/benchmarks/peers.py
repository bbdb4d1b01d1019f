"""Programs to measure with and beside, taken out of Debian's archive without installing them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.environment import cache, debian

_PACKAGES = {
    "wrk": ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"],
    "nginx": ["nginx"],
    "redis-server": [
        "redis-server",
        "redis-tools",
        "libjemalloc2",
        "liblua5.1-0",
        "liblzf1",
        "libatomic1",
        "lua-cjson",
        "lua-bitop",
    ],
}


def program(name: str) -> Path:
    """The path of `wrk`, `nginx` or `redis-server`; its libraries are beside it (see `environment_of`)."""
    return next(_folder(name).glob(f"usr/*bin/{name}"))


def _folder(name: str) -> Path:
    with cache.lock(f"peer-{name}"):
        return cache.prepare(cache.root() / "peers" / name, lambda into: _unpack(name, into))


def environment_of(program: Path) -> dict[str, str]:
    """Environment variables under which `program` finds its libraries."""
    libraries = [str(path) for path in program.parents[2].glob("usr/lib/*-linux-gnu*")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


def _unpack(name: str, into: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        suite = _suite()
        # By the suite, because the machine may have a version that the archive has not.
        wanted = [f"{package}/{suite}" for package in _PACKAGES[name]]
        debian.unpack(wanted, suite, into, Path(work))


def _suite() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME" and value.strip('"') in debian.RELEASES:
            return value.strip('"')
    return "stable"
