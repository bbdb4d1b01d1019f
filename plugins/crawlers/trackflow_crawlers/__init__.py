"""Crawlers by name: the list crawler-user-agents, which its contributors keep current.

The core tells most bots by how they describe themselves. This list knows more of those that dress
as browsers, and names all. It is asked only where the core saw a person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import files

from trackflow_core.hooks import hookimpl
from trackflow_core.model import Agent, Click, Verdict
from trackflow_core.tracking.agents import MAX_LENGTH, is_plain, without_devices

# Listed for what their makers' servers fetch; the same words are in the user agents of people.
_APPS = ("sogou", "viber", "metaiab", "instagram", "code/1", "trae/", "whatsapp", "fluid/")
_GRAM = 4
# Grams of ordinary browsers would select a pattern for nearly every user agent.
_ORDINARY = (
    "mozilla/5.0 (windows nt 10.0; win64; x64; linux; android 14; iphone; cpu iphone os 17_5 like "
    "mac os x; macintosh; intel; ipad; x11; cros x86_64) applewebkit/537.36 (khtml, like gecko) "
    "chrome/126.0.0.0 mobile/15e148 safari/537.36 version/4.0 firefox/126.0 edg/ build/ browser/"
)

_PART = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.")


@dataclass(frozen=True)
class Crawler:
    """One entry: `literal` is in every user agent that its `pattern` matches."""

    pattern: str
    literal: str

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Compiled when first needed: few of the 1,500 ever are."""
        return re.compile(self.pattern, re.IGNORECASE)


class Crawlers:
    """The list, by short pieces of text, so that a user agent meets few patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._by_gram: dict[str, list[Crawler]] = {}
        self._short: list[Crawler] = []
        for pattern in patterns:
            crawler = Crawler(pattern, literal_of(pattern))
            grams = _grams(crawler.literal)
            if grams:
                rare = next((gram for gram in grams if gram not in _ORDINARY), grams[0])
                self._by_gram.setdefault(rare, []).append(crawler)
            else:
                self._short.append(crawler)

    def find(self, text: str) -> str:
        """The pattern that matches `text`, which is lower-case; "" when none does."""
        found = self._by_gram.keys() & _grams(text)
        for crawlers in (self._short, *(self._by_gram[gram] for gram in sorted(found))):
            for crawler in crawlers:
                if crawler.literal in text and _begins_a_word(crawler.regex, text):
                    return crawler.pattern
        return ""


def _begins_a_word(regex: re.Pattern[str], text: str) -> bool:
    # "Sonic" is a crawler, "Panasonic" is not; neither is the end of a version "008/".
    return any(
        not start or not (text[start - 1].isalnum() or text[start - 1] == ".")
        for start in (match.start() for match in regex.finditer(text))
    )


def literal_of(pattern: str) -> str:
    """The longest text, in lower case, that stands in all that `pattern` matches; maybe none."""
    parts = _PART.findall(pattern)
    pieces, depth = [""], 0
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if part == "|":
            return ""
        depth += {"(": 1, ")": -1}.get(part, 0)
        special = part[0] in "()[{.^$*+?" or (part[0] == "\\" and part[1].isalnum())
        if special or depth or following[:1] in ("*", "?", "{"):
            pieces.append("")
        else:
            pieces[-1] += part[-1]
    return max(pieces, key=len).lower()


def _grams(text: str) -> list[str]:
    return [text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1)]


@lru_cache(maxsize=1)
def _crawlers() -> Crawlers:
    path = files("crawleruseragents") / "crawler-user-agents.json"
    patterns = [entry["pattern"] for entry in json.loads(path.read_text(encoding="utf-8"))]
    return Crawlers(
        pattern for pattern in patterns if not pattern.lower().replace("\\", "").startswith(_APPS)
    )


@lru_cache(maxsize=20_000)
def crawler_of(user_agent: str) -> str:
    """The list's pattern for this user agent; "" when it is not on the list."""
    if is_plain(user_agent):
        return ""
    return _crawlers().find(without_devices(user_agent))


@hookimpl
def trackflow_is_bot(agent: Agent, click: Click) -> Agent | None:
    """A bot, where the list knows the user agent and the core saw a person."""
    if agent.verdict not in (Verdict.HUMAN, Verdict.UNKNOWN):
        return None
    pattern = crawler_of(click.user_agent[:MAX_LENGTH])
    if not pattern:
        return None
    return replace(agent, verdict=Verdict.BOT, reason=f"known crawler ({_plain(pattern)})")


def _plain(pattern: str) -> str:
    return pattern.replace("\\", "").rstrip("/")
