"""What is prepared once per machine and used again by every checkout.

Two `make` runs may meet here. Whatever is built is built under a lock, in a folder of its own,
and renamed into place when it is complete: a reader never sees half of it, and an interrupted
build leaves nothing that the next one would trust.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.environment.progress import say


def root() -> Path:
    """The cache folder: `TRACKFLOW_CACHE`, or `~/.cache/trackflow`."""
    chosen = os.environ.get("TRACKFLOW_CACHE")
    folder = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "trackflow"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`; says so when it has to wait for another run."""
    path = root() / "locks" / f"{name}.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"    waiting for another make that prepares {name} ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def prepare(target: Path, build: Callable[[Path], None]) -> Path:
    """Return `target`, built by `build(folder)` if it is not there yet.

    The caller holds the lock that belongs to `target`.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    building.chmod(0o755)
    try:
        build(building)
        building.rename(target)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return target
