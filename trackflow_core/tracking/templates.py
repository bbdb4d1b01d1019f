"""Link templates: URLs with variables such as `{campaign|slug}`, filled one by one or from rows.

A value is percent-encoded where it is inserted, so that no value can break out of its place. `{{`
and `}}` are braces of the URL itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from urllib.parse import quote

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.tracking.urls import safe_destination

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
# Letters that do not fall apart into a letter and a mark.
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "đ": "d", "ł": "l", "þ": "th"})


class Kind(str, Enum):
    """What the values of a variable must be."""

    TEXT = "text"
    SLUG = "slug"
    INTEGER = "integer"
    DATE = "date"
    CHOICE = "choice"
    URL = "url"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a template. Without `default` every row must give a value.

    `choices` are the allowed values of a choice. `pattern` is a regular expression that the whole
    value must match. `max_length` is in characters.

    Raises ConfigError when these cannot be used or `default` breaks them.
    """

    name: str
    kind: Kind = Kind.TEXT
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    max_length: int = 255

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigError(
                f"{self.name!r} cannot be a variable: use lower-case letters, digits and '_', "
                "beginning with a letter."
            )
        if (self.kind is Kind.CHOICE) != bool(self.choices):
            raise ConfigError(f"The variable {self.name!r}: choices go with the kind 'choice'.")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(
                f"The pattern of the variable {self.name!r} is not a regular expression: {error}."
            ) from error
        problem = self.problem_with(self.default) if self.default else ""
        if problem:
            raise ConfigError(f"The default of the variable {self.name!r} {problem}.")

    def problem_with(self, value: str) -> str:
        """Why `value` may not be used, as the end of a sentence; "" when it may."""
        if len(value) > self.max_length:
            return f"is longer than {self.max_length} characters"
        if self.kind is Kind.CHOICE and value not in self.choices:
            return f"is not one of {', '.join(self.choices)}"
        if self.kind in _TESTS:
            wanted, test = _TESTS[self.kind]
            if not test(value):
                return f"is not {wanted}"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"does not match {self.pattern}"
        return ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row gives no link: `row` counts from 1, `variable` is "" for the URL as a whole."""

    row: int
    variable: str
    reason: str

    def __str__(self) -> str:
        return f"Row {self.row}, {self.variable or 'URL'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of one row: `url`, or "" and every problem with it."""

    row: int
    url: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """A URL with variables: `https://shop.example/{page}?utm_campaign={campaign|slug}`.

    Filters: `slug`, `lower`, `upper`; `raw` inserts a variable of kind `url` as it is.

    Raises ConfigError when the text has a variable or filter that does not exist, or a brace
    without its other half.
    """

    text: str
    variables: tuple[Variable, ...] = ()
    _parts: tuple[str | tuple[Variable, str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {variable.name: variable for variable in self.variables}
        if len(known) < len(self.variables):
            raise ConfigError("A template's variables need names of their own.")
        parts: list[str | tuple[Variable, str]] = []
        end = 0
        for token in _TOKEN.finditer(self.text):
            parts.append(self.text[end : token.start()])
            parts.append(_part(token, known))
            end = token.end()
        parts.append(self.text[end:])
        object.__setattr__(self, "_parts", tuple(parts))

    def render(self, values: Mapping[str, str]) -> str:
        """The URL for `values`; an empty or missing one is the variable's default.

        Raises InvalidEvent, naming each variable and the reason.
        """
        rendered = self._render(1, values)
        if rendered.problems:
            reasons = (f"{item.variable or 'URL'}: {item.reason}" for item in rendered.problems)
            raise InvalidEvent("; ".join(reasons))
        return rendered.url

    def render_rows(self, rows: Iterable[Mapping[str, str]]) -> Sequence[Rendered]:
        """What becomes of each row; columns that are no variables are ignored."""
        return [self._render(number, row) for number, row in enumerate(rows, 1)]

    def _render(self, row: int, values: Mapping[str, str]) -> Rendered:
        chosen: dict[str, str] = {}
        problems = []
        for variable in self.variables:
            value = (values.get(variable.name) or "").strip() or variable.default
            reason = variable.problem_with(value) if value else "is missing"
            chosen[variable.name] = value
            if reason:
                problems.append(Problem(row, variable.name, reason))
        if problems:
            return Rendered(row, "", tuple(problems))
        pieces = []
        for part in self._parts:
            if isinstance(part, str):
                pieces.append(part)
                continue
            variable, name = part
            piece = _FILTERS[name](chosen[variable.name])
            if not piece:
                reason = "has no letter or digit for a slug"
                return Rendered(row, "", (Problem(row, variable.name, reason),))
            pieces.append(piece)
        try:
            return Rendered(row, safe_destination("".join(pieces)))
        except InvalidEvent as error:
            return Rendered(row, "", (Problem(row, "", str(error)),))


def slug(text: str) -> str:
    """`text` in lower-case ASCII letters, digits and single hyphens; "" when nothing is left."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")


def _part(token: re.Match[str], known: Mapping[str, Variable]) -> str | tuple[Variable, str]:
    if token.group() in ("{{", "}}"):
        return token.group()[0]
    if token.group(1) is None:
        raise ConfigError(
            f"The template has a single {token.group()!r} at character {token.start() + 1}: "
            "double it, or close the variable."
        )
    name, _, filter_name = (part.strip() for part in token.group(1).partition("|"))
    if name not in known:
        raise ConfigError(
            f"The template uses {name!r}, which is no variable of its own; "
            f"it has: {', '.join(sorted(known)) or 'none'}."
        )
    if filter_name not in _FILTERS:
        names = ", ".join(sorted(filter(None, _FILTERS)))
        raise ConfigError(f"There is no filter {filter_name!r}; use one of {names}.")
    if filter_name == "raw" and known[name].kind is not Kind.URL:
        raise ConfigError(f"Only a variable of kind 'url' may be raw; {name!r} is not.")
    return known[name], filter_name


def _encode(value: str) -> str:
    return quote(value, safe="")


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_url(value: str) -> bool:
    try:
        return bool(safe_destination(value))
    except InvalidEvent:
        return False


_TESTS: Mapping[Kind, tuple[str, Callable[[str], object]]] = {
    Kind.SLUG: ("a slug such as 'spring-sale'", _SLUG.match),
    Kind.INTEGER: ("a whole number", _INTEGER.match),
    Kind.DATE: ("a date such as 2026-03-31", _is_date),
    Kind.URL: ("an http or https URL", _is_url),
}
_FILTERS: Mapping[str, Callable[[str], str]] = {
    "": _encode,
    "slug": slug,
    "lower": lambda value: _encode(value.lower()),
    "upper": lambda value: _encode(value.upper()),
    "raw": str,
}
