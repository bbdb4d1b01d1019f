"""A company's own naming conventions: one spelling for each source, and channels of its own.

The conventions are in the TOML file named by TRACKFLOW_NAMING, which is read when it is first
needed and again when it changes.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trackflow_core.hooks import hookimpl
from trackflow_core.model import Source
from trackflow_core.tracking.channels import channel_group

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VARIABLE = "TRACKFLOW_NAMING"
FIELDS = ("source", "medium", "campaign")

_log = logging.getLogger("trackflow.naming")


@dataclass(frozen=True)
class Rule:
    """Touches whose fields fit all `patterns` (by field, with * and ?) belong to `channel`."""

    channel: str
    patterns: Mapping[str, str]

    def fits(self, source: Source) -> bool:
        return all(
            fnmatchcase(getattr(source, field).strip().lower(), pattern)
            for field, pattern in self.patterns.items()
        )


@dataclass(frozen=True)
class Conventions:
    """What one file says."""

    lower_case: bool
    sources: Mapping[str, str]
    mediums: Mapping[str, str]
    rules: tuple[Rule, ...]

    def apply(self, source: Source) -> Source:
        """`source` by the company's names, with the channel that follows from them."""
        named = replace(
            source,
            source=self._named(source.source, self.sources),
            medium=self._named(source.medium, self.mediums),
            campaign=source.campaign.lower() if self.lower_case else source.campaign,
        )
        if (named.source, named.medium) != (source.source, source.medium):
            channel = channel_group(named.source, named.medium, named.campaign)
            named = replace(named, channel=channel)
        for rule in self.rules:
            if rule.fits(named):
                return replace(named, channel=rule.channel)
        return named

    def _named(self, written: str, names: Mapping[str, str]) -> str:
        known = names.get(written.strip().lower())
        if known is not None:
            return known
        return written.lower() if self.lower_case else written


def read(text: str) -> Conventions:
    """The conventions in a TOML text. Raises ValueError, which says where and what to do."""
    data = tomllib.loads(text)
    _only(data, ("lower_case", "sources", "mediums", "channels"), "the file")
    lower_case = data.get("lower_case", False)
    if not isinstance(lower_case, bool):
        raise ValueError("lower_case must be true or false.")
    rules = data.get("channels", [])
    if not isinstance(rules, list):
        raise ValueError("channels must be written as [[channels]], once for each rule.")
    return Conventions(
        lower_case,
        _names(data.get("sources", {}), "sources"),
        _names(data.get("mediums", {}), "mediums"),
        tuple(_rule(number, entry) for number, entry in enumerate(rules, 1)),
    )


def _names(table: Any, name: str) -> Mapping[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise ValueError(f"[{name}] must give a name in quotes for each spelling.")
    return {written.strip().lower(): shown for written, shown in table.items()}


def _rule(number: int, entry: Mapping[str, Any]) -> Rule:
    where = f"[[channels]] number {number}"
    _only(entry, ("channel", *FIELDS), where)
    if not all(isinstance(value, str) for value in entry.values()) or not entry.get("channel"):
        raise ValueError(f"{where} must name its channel, and all its values go in quotes.")
    patterns = {field: entry[field].strip().lower() for field in FIELDS if field in entry}
    if not patterns:
        raise ValueError(f"{where} fits everything: add source, medium or campaign.")
    return Rule(entry["channel"], patterns)


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"{where} has an unknown entry {unknown[0]!r}; known: {', '.join(known)}.")


class File:
    """The conventions in a file, read again when it changes."""

    def __init__(self) -> None:
        self._read: tuple[str, int] | None = None
        self._conventions: Conventions | None = None

    def conventions(self, path: str) -> Conventions | None:
        """What the file says; None when it is wrong or cannot be read, which is logged once."""
        try:
            version = (path, Path(path).stat().st_mtime_ns)
        except OSError:
            version = (path, 0)
        if version != self._read:
            self._read = version
            try:
                self._conventions = read(Path(path).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                self._conventions = None
                _log.error("Naming conventions in %s are not in use: %s", path, error)
        return self._conventions


_file = File()


@hookimpl
def trackflow_classify_touch(source: Source) -> Source | None:
    """The touch by the company's conventions, where there are some."""
    path = os.environ.get(VARIABLE)
    conventions = _file.conventions(path) if path else None
    return conventions.apply(source) if conventions else None
