"""The guide's pictures are what the demo's story gives today."""

from __future__ import annotations

import runpy
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def test_the_pictures_are_drawn_from_the_demo() -> None:
    drawn = runpy.run_path(str(PICTURES / "which_model.py"))["pictures"]()
    for name, drawing in drawn.items():
        kept = (PICTURES / name).read_text(encoding="utf-8")
        assert kept == drawing, f"draw {name} again: python docs/pictures/which_model.py"
