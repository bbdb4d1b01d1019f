"""A configuration declared once, as a frozen dataclass whose fields are options.

From the one declaration come validation, command-line help, the hosts' forms and the docs:

    @dataclass(frozen=True)
    class ShopOptions:
        url: str = option("Address", "The shop's address.", check=web_address)
        token: str = option("Token", "A key that may read orders.", secret=True)

    ShopOptions.url                    # typed, for the code that uses it
    options_of(ShopOptions)            # what a form needs to know
    configure(ShopOptions, {"url": …}) # validated, from a form, a file or the environment
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from trackflow_core.errors import ConfigError

Check = Callable[[Any], str]
"""Says in a few words what a value should be instead ("use …"), or "" when it is right."""

_Options = TypeVar("_Options")
_OPTION = "trackflow.option"
_YES = {"1": True, "true": True, "yes": True, "on": True}
_NO = {"0": False, "false": False, "no": False, "off": False, "": False}


@dataclass(frozen=True, slots=True)
class Option:
    """One option as forms, help texts and docs need it.

    `kind` is str, int or bool. `choices`, where there are some, are the only values. `lines` asks
    for a field of several lines. A `secret` is stored encrypted and never shown again.
    """

    name: str
    title: str
    help: str
    kind: type
    required: bool
    default: Any = None
    secret: bool = False
    choices: tuple[str, ...] = ()
    lines: bool = False


def option(
    title: str,
    help: str,
    *,
    default: Any = MISSING,
    secret: bool = False,
    choices: Sequence[str] = (),
    lines: bool = False,
    check: Check | None = None,
) -> Any:
    """A field of a configuration; required unless it has a `default`."""
    told = {
        "title": title,
        "help": help,
        "secret": secret,
        "choices": tuple(choices),
        "lines": lines,
        "check": check,
    }
    return field(default=default, repr=not secret, metadata={_OPTION: told}, kw_only=True)


def options_of(configuration: type) -> tuple[Option, ...]:
    """The options of a configuration, in the order in which they are declared."""
    kinds = get_type_hints(configuration)
    return tuple(
        Option(
            name=item.name,
            title=item.metadata[_OPTION]["title"],
            help=item.metadata[_OPTION]["help"],
            kind=kinds[item.name],
            required=item.default is MISSING,
            default=None if item.default is MISSING else item.default,
            secret=item.metadata[_OPTION]["secret"],
            choices=item.metadata[_OPTION]["choices"],
            lines=item.metadata[_OPTION]["lines"],
        )
        for item in _declared(configuration)
    )


def configure(configuration: type[_Options], values: Mapping[str, Any]) -> _Options:
    """The configuration of these values, which may all be text.

    None and "" count as not given. Raises ConfigError that names every option at fault and what
    to do, and shows no value of a secret.
    """
    known = {item.name: item for item in options_of(configuration)}
    problems = [
        f"There is no option {name!r}; there are {', '.join(known) or 'none'}."
        for name in sorted(values.keys() - known.keys())
    ]
    read: dict[str, Any] = {}
    for item in _declared(configuration):
        told = known[item.name]
        value = values.get(item.name)
        if value is None or value == "":
            if told.required:
                problems.append(f"{told.title} is missing: {told.help}")
            continue
        try:
            read[item.name] = _read(told, value, item.metadata[_OPTION]["check"])
        except ValueError as error:
            shown = "" if told.secret else f" is {value!r:.60}"
            problems.append(f"{told.title}{shown}: {error}.")
    if problems:
        raise ConfigError(" ".join(problems))
    return configuration(**read)


def web_address(value: str) -> str:
    """Whether `value` is the address of a site, such as https://crm.example."""
    try:
        parts = urlsplit(value)
        right = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment or "@" in parts.netloc)
        )
    except ValueError:
        right = False
    return "" if right else "use an address such as https://crm.example, without a user or '?'"


def _declared(configuration: type) -> Sequence[Field[Any]]:
    declared = fields(configuration)
    for item in declared:
        if _OPTION not in item.metadata:
            raise TypeError(f"{configuration.__name__}.{item.name} is not declared by option().")
    return declared


def _read(told: Option, value: Any, check: Check | None) -> Any:
    """`value` as the option's kind; ValueError says what to use instead."""
    read = _READERS[told.kind](value)
    if told.choices and read not in told.choices:
        raise ValueError(f"use one of {', '.join(told.choices)}")
    problem = check(read) if check else ""
    if problem:
        raise ValueError(problem)
    return read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("use a text")
    return value.strip()


def _number(value: Any) -> int:
    try:
        if isinstance(value, (bool, float)):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("use a whole number") from None


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    read = (_YES | _NO).get(str(value).strip().lower())
    if read is None:
        raise ValueError("use yes or no")
    return read


_READERS: Mapping[type, Callable[[Any], Any]] = {str: _text, int: _number, bool: _switch}
