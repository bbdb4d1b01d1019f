"""The HTTP client that TrackFlow's connectors share.

`trackflow_http.guarded` is imported on its own, for it opens a socket.
"""

from trackflow_http.answers import Answer
from trackflow_http.client import Client, Pace, refusal

__all__ = ["Answer", "Client", "Pace", "refusal"]
