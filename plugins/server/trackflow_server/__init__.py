"""TrackFlow's standalone host: redirects, tracking, REST and a dashboard in one small server."""
