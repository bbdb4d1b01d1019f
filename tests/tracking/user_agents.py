"""Real user agents, as the distributions that collect them ship them.

`device-detector` carries Matomo's fixtures, `crawler-user-agents` its list with examples of every
entry. Neither is part of TrackFlow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache(maxsize=1)
def _matomo() -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Matomo's fixtures with the names of their files."""
    import yaml_rs

    folder = files("device_detector") / "tests" / "fixtures" / "upstream"
    found: list[tuple[str, Mapping[str, Any]]] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yml"):
            text = path.read_text(encoding="utf-8").strip().removeprefix("---").strip()
            found += [(path.name, entry) for entry in yaml_rs.loads(text)]
    return found


def _of_client(kind: str) -> Iterable[str]:
    for _, entry in _matomo():
        client = entry.get("client")
        if "bot" not in entry and isinstance(client, dict) and client.get("type") == kind:
            yield entry["user_agent"]


def matomo_bots() -> Sequence[str]:
    """1,348 user agents of bots."""
    return [entry["user_agent"] for name, entry in _matomo() if name == "bots.yml"]


def matomo_browsers() -> Sequence[str]:
    """34,393 different user agents of browsers, on everything from a desktop to a car."""
    return sorted(set(_of_client("browser")))


def in_app_browsers() -> Sequence[str]:
    """1,162 different user agents of browsers inside apps: Instagram, Facebook, WeChat ..."""
    return sorted({agent for agent in _of_client("mobile app") if "ozilla/" in agent})


def listed_crawlers() -> Sequence[str]:
    """2,123 user agents that crawler-user-agents gives as examples of its entries."""
    path = files("crawleruseragents") / "crawler-user-agents.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [instance for entry in entries for instance in entry["instances"]]
