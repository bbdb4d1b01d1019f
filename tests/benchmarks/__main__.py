"""Run every benchmark, or those named: `python -m tests.benchmarks redirect_odoo`."""

from __future__ import annotations

import sys
from importlib import import_module

from tests.environment.failure import run_command

NAMES = (
    "redirect_odoo",
    "redirect_server",
    "api",
    "opportunity_odoo",
    "retention_odoo",
    "odoo_scale",
    "attribution",
    "markov",
    "warehouse",
    "agents",
    "intake",
    "intake_hosts",
    "backfill",
)


def main() -> int:
    chosen = sys.argv[1:] or NAMES
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        print(f"There is no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}.")
        return 2
    missed = [
        target for name in chosen for target in import_module(f"tests.benchmarks.{name}").main()
    ]
    print("\nmake bench: " + (f"missed: {'; '.join(missed)}" if missed else "every target reached"))
    return bool(missed)


if __name__ == "__main__":
    sys.exit(run_command(main))
