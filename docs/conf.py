"""Sphinx settings; `make docs` builds with warnings as errors."""

from trackflow_core import __version__

project = "TrackFlow"
author = "TrackFlow contributors"
copyright = author
release = version = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "TrackFlow"
exclude_patterns = ["_build"]
