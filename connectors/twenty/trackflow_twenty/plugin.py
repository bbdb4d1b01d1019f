"""Announces the Twenty connector to every TrackFlow host."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.hooks import hookimpl
from trackflow_core.ports import Connector
from trackflow_twenty.connector import TwentyConnector


@hookimpl
def trackflow_register_connectors() -> Iterable[Connector]:
    """Twenty."""
    return (TwentyConnector(),)
