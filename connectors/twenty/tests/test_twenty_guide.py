"""The guide lists the options and fields that there are."""

from __future__ import annotations

import re
from pathlib import Path

from trackflow_core.options import options_of
from trackflow_twenty import TwentyOptions
from trackflow_twenty.provision import FIELDS

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "twenty.md").read_text("utf-8")


def test_it_lists_every_option_with_its_help() -> None:
    rows = dict(re.findall(r"^\| ([A-Z][\w ]+) \| (.+\.) \|$", GUIDE, re.MULTILINE))
    assert rows == {item.title: item.help for item in options_of(TwentyOptions)}


def test_it_lists_every_field() -> None:
    assert set(re.findall(r"`(trackflow[A-Z]\w+)`", GUIDE)) == {field.name for field in FIELDS}
