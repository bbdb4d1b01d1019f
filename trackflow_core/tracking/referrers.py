"""Referrer -> the place it names: a search engine with its keyword, a social network, a webmail …

Hosts are compared label by label from the right, the longest known one wins, so `notgoogle.com` is
not Google and `gemini.google.com` is no search. The lists and where they come from are in `data/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

_MAX_URL = 2048
_MAX_TERM = 255
# No listed host has more, and whoever sends a thousand wants to keep us busy.
_MAX_LABELS = 8


class Kind(str, Enum):
    """What sort of place a host is."""

    SEARCH = "search"
    SOCIAL = "social"
    VIDEO = "video"
    SHOPPING = "shopping"
    EMAIL = "email"
    ASSISTANT = "assistant"
    PAID = "paid"
    PAYMENT = "payment"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Referrer:
    """A referrer that could be read: `host` without "www.", and what is known of it.

    `name` is the place's usual name ("Yahoo! Images"), `source` its short one for reports
    ("yahoo"). `medium` follows Google Analytics: organic, social, email, referral, cpc, display,
    and ai-assistant. `term` is what was searched for, where the engine still tells.
    """

    host: str
    kind: Kind
    name: str
    source: str
    medium: str
    term: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    kind: Kind
    name: str
    path: str = ""
    params: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    charsets: tuple[str, ...] = ()
    medium: str = ""


_MEDIUMS = {
    Kind.SEARCH: "organic",
    Kind.SOCIAL: "social",
    Kind.EMAIL: "email",
    Kind.ASSISTANT: "ai-assistant",
}
_SECTION = re.compile(r"[ -](?:images?|videos?|news|maps|shopping|suche|search|toolbar|custom)\b.*")
_SEARCHING = re.compile(r"search|suche|recherche|busca|cerca|find|query|results")
_WEBMAIL = re.compile(
    r"(?:web|w|e|x)?mail(?:er)?\d*[a-z]?|messagerie\w*|owa|outlook|roundcube|zimbra"
)
# A country's name space below which companies register: google.co.uk is google.{}.
_SECOND_LEVEL = frozenset(("com", "co", "org", "net", "edu", "it", "ne", "or"))


@lru_cache(maxsize=10_000)
def look_up(url: str) -> Referrer | None:
    """What is known of the referrer `url`; None when it is empty or names no host.

    Only the first 2,048 characters are looked at. Android's `android-app://package` counts as
    the host `package`. The last 10,000 answers are remembered.
    """
    try:
        parts = urlsplit(url[:_MAX_URL])
        host = (parts.hostname or "").strip(".").removeprefix("www.")
    except ValueError:
        return None
    if not host:
        return None
    labels = host.split(".")
    for below, place in _places_of(labels, parts.path):
        if place.kind is not Kind.SEARCH:
            return _referrer(host, place)
        term = _searched(place, host, below, parts.path, parts.query)
        if term is not None:
            return _referrer(host, place, term)
    if len(labels) > 2 and _WEBMAIL.fullmatch(labels[0]):
        name = _mail_providers().get(".".join(labels[1:]), host)
        return _referrer(host, _Place(Kind.EMAIL, name))
    return Referrer(host, Kind.OTHER, host, host, "referral")


def kind_of_host(host: str) -> Kind | None:
    """The kind of the place to which `host` belongs, whatever was done there; None if unknown."""
    for _, place in _places_of(host.lower().removeprefix("www.").split("."), "/"):
        return place.kind
    return None


def _referrer(host: str, place: _Place, term: str = "") -> Referrer:
    medium = place.medium or _MEDIUMS.get(place.kind, "referral")
    name = place.name.lower().replace("!", "")
    if place.kind in (Kind.SEARCH, Kind.SHOPPING):
        name = _SECTION.sub("", name)
    own_name = place.kind not in (Kind.ASSISTANT, Kind.OTHER)
    source = name.strip().replace(" ", "-") if own_name else host
    return Referrer(host, place.kind, place.name, source, medium, term)


def _places_of(labels: Sequence[str], path: str) -> Iterator[tuple[bool, _Place]]:
    """Every place that holds this host, the longest name first, and whether it is above the host."""
    index = _index()
    for size in range(min(len(labels), _MAX_LABELS), min(len(labels), 2) - 1, -1):
        for key in _spellings(labels[len(labels) - size :]):
            for place in index.get(key, ()):
                if path.startswith(place.path):
                    yield size < len(labels), place


def _spellings(labels: Sequence[str]) -> Iterator[str]:
    """The host, then with its country written "{}", as the lists write "any country"."""
    yield ".".join(labels)
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:
        yield ".".join([*labels[:-2], "{}"])
    for position, label in enumerate(labels):
        if len(label) == 2:
            yield ".".join([*labels[:position], "{}", *labels[position + 1 :]])


def _searched(place: _Place, host: str, below: bool, path: str, query: str) -> str | None:
    """What was searched for, "" where the engine hides it, None where this is no search."""
    page = f"{path}?{query}" if query else path
    for param in place.params:
        raw = _match(param, page) if _is_pattern(param) else _parameter(query, param)
        term = _decode(raw, place.charsets)[:_MAX_TERM]
        # A redirect names its target in the same parameter.
        if term and "://" not in term:
            return term
    if any(_hides(pattern, page) for pattern in place.hidden):
        return ""
    if below or page not in ("", "/"):
        # Another service on the engine's domain, unless it says that it is about searching.
        left = host + path if below else path
        return "" if _SEARCHING.search(left.lower()) else None
    # Only the origin is known. Lists hold portals on which one can also search: those do not
    # carry the engine's name.
    plain = re.sub(r"[^a-z\d]", "", host)
    if re.sub(r"[^a-z\d]", "", place.name.lower().partition(" ")[0]) in plain:
        return ""
    return "" if _SEARCHING.search(host) else None


def _is_pattern(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == "/"


def _match(pattern: str, page: str) -> str:
    found = re.search(pattern[1:-1], page)
    return found[1] if found and found.re.groups else ""


def _hides(pattern: str, page: str) -> bool:
    if _is_pattern(pattern):
        return bool(re.search(pattern[1:-1], page))
    return page == pattern


def _parameter(query: str, name: str) -> str:
    for piece in query.split("&"):
        key, _, value = piece.partition("=")
        if key == name and value:
            return value
    return ""


def _decode(raw: str, charsets: Sequence[str]) -> str:
    data = unquote_to_bytes(raw.replace("+", " "))
    for charset in ("utf-8", *charsets):
        try:
            return data.decode(charset)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")


@lru_cache(maxsize=1)
def _index() -> Mapping[str, Sequence[_Place]]:
    """Places by host: those with a path first, then what is no search, ours before Matomo's."""
    found: dict[str, list[_Place]] = {}
    for kind, entry in _entries():
        for address in entry["hosts"]:
            host, slash, path = address.partition("/")
            place = _Place(
                Kind(kind),
                entry["name"],
                slash + path,
                tuple(entry.get("params", ())),
                tuple(entry.get("hidden", ())),
                tuple(entry.get("charsets", ())),
                entry.get("medium", ""),
            )
            found.setdefault(host, []).append(place)
    for places in found.values():
        places.sort(key=lambda place: (-len(place.path), place.kind is Kind.SEARCH))
    return found


def _entries() -> Iterable[tuple[str, Mapping[str, Any]]]:
    yield from ((entry["kind"], entry) for entry in _read("places.json"))
    yield from (("search", entry) for entry in _read("search_engines.json"))
    yield from (("social", entry) for entry in _read("social_networks.json"))


def _read(name: str) -> Sequence[Mapping[str, Any]]:
    text = (files("trackflow_core.tracking") / "data" / name).read_text(encoding="utf-8")
    entries: Sequence[Mapping[str, Any]] = json.loads(text)
    return entries


@lru_cache(maxsize=1)
def _mail_providers() -> Mapping[str, str]:
    """Names of mail providers by the domain their webmail hosts are in."""
    return {
        host.partition(".")[2]: place.name
        for host, places in _index().items()
        for place in places
        if place.kind is Kind.EMAIL
    }
