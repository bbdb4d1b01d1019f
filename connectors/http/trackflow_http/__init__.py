"""The HTTP client that TrackFlow's connectors share."""

from trackflow_http.client import Answer, Client, Pace, refusal
from trackflow_http.guarded import GuardedPost

__all__ = ["Answer", "Client", "GuardedPost", "Pace", "refusal"]
