"""`trackflow new`: the folder of a new plugin or connector, from the template in `templates/`."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from trackflow_core import __version__
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Hooks, installed

_TEMPLATES = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_MAX_NAME = 40
_PREFIX = re.compile(r"trackflow[_-]")
_RESERVED = ("core", "trackflow")


class Kind(str, Enum):
    """What can be made."""

    PLUGIN = "plugin"
    CONNECTOR = "connector"


def problem_with(name: str) -> str:
    """What is wrong with the name of a new plugin and what to do, in a sentence; "" if nothing."""
    if _PREFIX.match(name):
        return f"Leave 'trackflow' out of the name {name!r}: it is put in front of it."
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        return (
            f"The name {name!r:.60} cannot be used: take up to {_MAX_NAME} lower-case letters and "
            "digits, beginning with a letter; '-' and '_' join words."
        )
    if name in _RESERVED or name in Hooks().rules:
        return f"The name {name!r} is TrackFlow's own: choose another."
    if name in {point.name for point in installed()}:
        return f"A plugin named {name!r} is installed already: choose another name."
    return ""


def create(kind: Kind, name: str, parent: Path) -> Path:
    """Make the folder of a new plugin in `parent` and return it; `name` has no `problem_with`.

    Raises ConfigError when the folder exists, cannot be written, or copier is not installed.
    """
    try:
        from copier import run_copy
    except ImportError:
        raise ConfigError(
            "A new plugin is made by copier, which is not installed: "
            "run pip install 'trackflow-core[new]'."
        ) from None
    target = parent / f"trackflow-{name.replace('_', '-')}"
    data = {"kind": kind.value, "name": name, "core_version": __version__}
    try:
        target.mkdir()
        run_copy(str(_TEMPLATES), target, data=data, defaults=True, quiet=True)
    except FileExistsError:
        raise ConfigError(f"{target} exists already: remove it or choose another name.") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror or error}.") from error
    return target
