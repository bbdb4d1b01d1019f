"""Clicks on links to a site in several languages go to the visitor's own.

`TRACKFLOW_LANGUAGES` names the sites and their languages: `shop.example=en,de,fr` for a site whose
English pages are at `/`, the German ones at `/de/` and the French ones at `/fr/`. Sites are
separated by spaces.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

from trackflow_core.hooks import hookimpl
from trackflow_core.tracking.links import Choice, Request, best_language

VARIABLE = "TRACKFLOW_LANGUAGES"


@hookimpl
def trackflow_choose_destination(choice: Choice, request: Request) -> Choice | None:
    """The page in the language that the browser asks for, unless a rule or variant chose it."""
    sites = _sites(os.environ.get(VARIABLE, ""))
    if not sites or choice.reason != "destination" or not choice.destination:
        return None
    parts = urlsplit(choice.destination)
    languages = sites.get((parts.hostname or "").removeprefix("www."))
    if not languages:
        return None
    language = best_language(request.languages, languages)
    if language == languages[0] or parts.path.split("/")[1:2] in [[known] for known in languages]:
        return None
    # Not put together anew from its parts: the rest must stay as it is, byte for byte.
    begin = choice.destination.index(parts.netloc) + len(parts.netloc)
    rest = choice.destination[begin:]
    slash = "" if rest.startswith("/") else "/"
    return replace(choice, destination=f"{choice.destination[:begin]}/{language}{slash}{rest}")


@lru_cache(maxsize=8)
def _sites(text: str) -> Mapping[str, Sequence[str]]:
    sites = (entry.partition("=") for entry in text.split())
    return {
        host.lower().removeprefix("www."): tuple(filter(None, languages.split(",")))
        for host, _, languages in sites
    }
