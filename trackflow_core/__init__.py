"""TrackFlow's engine: from clicks, leads and deals to credits, without knowing any host."""

__version__ = "0.1.0"
