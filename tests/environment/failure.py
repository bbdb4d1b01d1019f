"""A set-up problem that the person at the keyboard can act on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType


class SetupError(Exception):
    """Its text is one sentence that says what is wrong and what to do about it."""


def run_command(command: Callable[[], int]) -> int:
    """Run a make target: a `SetupError` becomes one line on stderr and exit code 1.

    SIGTERM is treated like Ctrl-C, so that every `with` block stops what it started; and Ctrl-C
    is heard also where a shell started us in the background, with the signal ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return command()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        return 130
