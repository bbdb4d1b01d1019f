"""Say what a long step is doing while it does it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.environment.failure import SetupError

_HEARTBEAT_SECONDS = 15.0


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print `title`, a heartbeat while the block runs, and how long it took."""
    say(f"==> {title}")
    began = time.monotonic()
    done = threading.Event()

    def heartbeat() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            say(f"    ... {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=heartbeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    elapsed = time.monotonic() - began
    if elapsed >= 1:
        say(f"    done in {elapsed:.0f} s")


def run_logged(
    arguments: Sequence[str | Path],
    log: Path,
    failure: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    notable: Callable[[str], str | None] | None = None,
) -> None:
    """Run a program with its output in `log`; tell `notable` lines, and on failure the last ones.

    `failure` is the sentence for people; it ends in the path of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as sink,
        subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(env) if env is not None else None,
            cwd=cwd,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sink.write(line)
                told = notable(line) if notable else None
                if told:
                    say(f"    {told}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        with log.open(encoding="utf-8") as text:
            tail = text.readlines()[-15:]
        sys.stderr.write("".join(tail))
        raise SetupError(f"{failure} (log: {log})")


def environment(**changes: str) -> dict[str, str]:
    """The process environment with `changes`."""
    return {**os.environ, **changes}
