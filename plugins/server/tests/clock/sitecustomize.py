"""Lets the clock of a Python program run ahead by the seconds in the file TEST_CLOCK/ahead.

Python imports this before the program, by PYTHONPATH. A change of the file moves the clock of a
running program; each tells which seconds it runs ahead by in TEST_CLOCK/by-<its process>.
"""

import os
import threading
import time
from pathlib import Path

import time_machine

_SECONDS = 0.02
_FOLDER = Path(os.environ["TEST_CLOCK"])


def _follow(clock: time_machine.Traveller, told: str) -> None:
    while True:
        time.sleep(_SECONDS)
        if (now_told := (_FOLDER / "ahead").read_text()) != told:
            clock.move_to(time_machine.escape_hatch.time.time() + float(now_told))
            told = _answer(now_told)


def _answer(told: str) -> str:
    answer = _FOLDER / f"by-{os.getpid()}"
    part = answer.with_name(f"part-{os.getpid()}")
    part.write_text(told)
    part.replace(answer)
    return told


def _start() -> None:
    told = (_FOLDER / "ahead").read_text()
    clock = time_machine.travel(time.time() + float(told), tick=True).start()
    threading.Thread(target=_follow, args=(clock, _answer(told)), daemon=True).start()


_start()
