"""Twenty's people and opportunities in TrackFlow, and their attribution in Twenty."""

from trackflow_twenty.connection import TwentyConnection
from trackflow_twenty.connector import TwentyConnector
from trackflow_twenty.options import TwentyOptions

__all__ = ["TwentyConnection", "TwentyConnector", "TwentyOptions"]
