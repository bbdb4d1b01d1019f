"""`make lock`: pin every dependency of the workspace in `constraints.txt`.

Not `uv.lock`: that file records the address of the registry that it was made from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.environment import bootstrap, cache
from tests.environment.failure import run_command
from tests.environment.progress import run_logged, say, step

_HEADER = "# Made by `make lock`; which versions are allowed is said in the pyproject.toml files.\n"


def pins_of(compiled: str) -> list[str]:
    """The pinned versions in uv's output, without the workspace's own distributions."""
    return [line for line in compiled.splitlines() if re.match(r"[A-Za-z0-9][^ @]*==", line)]


def names_pinned(lines: Iterable[str]) -> set[str]:
    """The normalised distribution names in lines of `constraints.txt`."""
    found = (re.match(r"([A-Za-z0-9._-]+)==", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", match.group(1)).lower() for match in found if match}


def main() -> int:
    compiled = cache.root() / "constraints.compiled.txt"
    compiled.unlink(missing_ok=True)
    arguments: list[str | Path] = [
        bootstrap.uv(), "pip", "compile", "--universal", "--python-version", "3.10", "--all-extras",
        "--no-emit-index-url", "--no-annotate", "--no-header", "--output-file", compiled,
    ]  # fmt: skip
    for group in (*bootstrap.GROUPS, bootstrap.ENGINES):
        arguments += ["--group", f"{bootstrap.ROOT / 'pyproject.toml'}:{group}"]
    arguments += [folder / "pyproject.toml" for folder in bootstrap.distributions(bootstrap.ROOT)]
    with step("Resolving every dependency of the workspace"):
        run_logged(
            arguments,
            cache.root() / "logs" / "lock.log",
            "no set of versions satisfies every pyproject.toml: the lines above say why",
            env=bootstrap.uv_environment(),
            cwd=bootstrap.ROOT,
        )
    pins = pins_of(compiled.read_text(encoding="utf-8"))
    compiled.unlink()
    bootstrap.CONSTRAINTS.write_text(_HEADER + "".join(f"{pin}\n" for pin in pins))
    say(f"    {len(pins)} versions pinned in constraints.txt")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
