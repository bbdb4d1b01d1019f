"""A table of touches becomes the paths that one would read from it by hand."""

from __future__ import annotations

import random
from datetime import timedelta

import pyarrow as pa
import pytest

from trackflow_core.attribution import Path
from trackflow_core.errors import InvalidEvent
from trackflow_core.testing.facts import at
from trackflow_data_driven.chains import markov
from trackflow_data_driven.tables import paths_of

MOMENT = pa.timestamp("us", tz="UTC")
DAY = timedelta(days=30)
TOUCHES = [
    ("won", "t1", 1, "Display"),
    ("won", "t2", 2, "Email"),
    ("won", "late", 99, "Direct"),
    ("won", "early", -40, "Direct"),
    # Touches of one moment follow by id.
    ("tie", "b", 3, "Email"),
    ("tie", "a", 3, "Display"),
    # Nobody bought: the window counts back from the last touch.
    ("lost", "t5", 50, "Display"),
    ("lost", "t6", 10, "Email"),
]
DEALS = [("won", 5, 300), ("tie", 4, 100), ("nobody", 4, 700)]


def touches(rows: list[tuple[str, str, float, str]]) -> pa.Table:
    journeys, ids, days, channels = zip(*rows, strict=True)
    moments = pa.array([at(day) for day in days], MOMENT)
    return pa.table(
        {"journey_id": journeys, "touch_id": ids, "occurred_at": moments, "channel": channels}
    )


def deals(rows: list[tuple[str, float, int]]) -> pa.Table:
    journeys, days, values = zip(*rows, strict=True)
    moments = pa.array([at(day) for day in days], MOMENT)
    return pa.table({"journey_id": journeys, "occurred_at": moments, "value": values})


@pytest.mark.parametrize("seed", range(5))
def test_tables_are_paths(seed: int) -> None:
    rows = random.Random(seed).sample(TOUCHES, len(TOUCHES))
    found = paths_of(touches(rows), deals(DEALS), DAY)
    expected = [
        Path(("Display", "Email"), 1, 1, 300),
        Path(("Display", "Email"), 1, 1, 100),
        Path(("Display",), 1),
    ]
    assert markov(found, 2) == markov(expected, 2)
    assert (found.journeys.sum(), found.value.sum()) == (3, 400)


def test_ties_are_settled_by_id() -> None:
    found = paths_of(touches(TOUCHES[4:6]), deals([("tie", 4, 100)]), DAY)
    assert [found.channels[code] for code in found.codes] == ["Display", "Email"]


def test_a_window_leaves_old_touches_out() -> None:
    found = paths_of(touches(TOUCHES[:4]), deals(DEALS), timedelta(days=46))
    assert [found.channels[code] for code in found.codes] == ["Direct", "Display", "Email"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, d: (t.drop_columns("channel"), d), "no column 'channel'"),
        (lambda t, d: (t, d.drop_columns("value")), "no column 'value'"),
        (lambda t, d: (t, pa.concat_tables([d, d])), "two deals"),
        (lambda t, d: (t, d.set_column(2, "value", pa.array(["a", "b", "c"]))), "'value'"),
        (
            lambda t, d: (t.set_column(3, "channel", pa.array(["Email", *[None] * 7])), d),
            "empty rows",
        ),
    ],
)
def test_what_is_no_table_of_journeys_is_refused(change, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidEvent, match=words):
        paths_of(*change(touches(TOUCHES), deals(DEALS)), DAY)
