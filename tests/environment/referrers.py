"""Bring `trackflow_core/tracking/data` up to date: `python -m tests.environment.referrers`.

The lists of search engines and social networks are those of Matomo, given to the public domain
(CC0-1.0), as Debian packages them. PyYAML reads them; it comes with `make setup`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from tests.environment import debian
from tests.environment.failure import run_command

_PACKAGE = "matomo-searchengine-and-social-list"
_SUITE = "sid"
_DATA = Path(__file__).parents[2] / "trackflow_core" / "tracking" / "data"


def search_engines(definitions: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """What the channels need of Matomo's definitions: hosts, keyword parameters, hidden keywords.

    Parameters and hidden keywords written between slashes are regular expressions; they keep
    their slashes.
    """
    for name, blocks in definitions.items():
        for block in blocks:
            entry = {"name": _text(name), "hosts": sorted(map(_host, block["urls"]))}
            for key, field in (
                ("params", "params"),
                ("hidden", "hiddenkeyword"),
                ("charsets", "charsets"),
            ):
                if block.get(field):
                    entry[key] = [_text(value).replace(r"\/", "/") for value in block[field]]
            yield entry


def social_networks(definitions: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Names and hosts of Matomo's social networks."""
    for name, hosts in definitions.items():
        yield {"name": unquote(_text(name)), "hosts": sorted(map(_host, hosts))}


def _host(host: object) -> str:
    return _text(host).lower().removeprefix("www.").rstrip("/")


def _text(value: object) -> str:
    return str(value).strip()


def _write(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(entry, ensure_ascii=False) for entry in entries)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "root"
        [archive] = debian.unpack([_PACKAGE], _SUITE, into, Path(folder) / "work")
        lists = into / "usr/share/php/matomo/searchengine-and-social-list"
        for source, target, convert in (
            ("SearchEngines.yml", "search_engines.json", search_engines),
            ("Socials.yml", "social_networks.json", social_networks),
        ):
            definitions = yaml.safe_load((lists / source).read_text(encoding="utf-8"))
            _write(_DATA / target, convert(definitions))
        print(f"{_DATA}: written from {archive.name}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
