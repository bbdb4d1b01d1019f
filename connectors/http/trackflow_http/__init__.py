"""The HTTP client that TrackFlow's connectors share."""

from trackflow_http.client import Answer, Client, Pace, refusal

__all__ = ["Answer", "Client", "Pace", "refusal"]
