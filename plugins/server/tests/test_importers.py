"""Exports of other shorteners become links under their own codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trackflow_core.api.storage import TrackedLink
from trackflow_core.errors import ConfigError
from trackflow_server import importers
from trackflow_server.importers import SOURCES
from trackflow_server.store import Database
from trackflow_server.store.catalog import SqlCatalog

URL = "https://shop.example/offer?utm_source=news&utm_medium=email&utm_campaign=spring&x=%20"

EXPORTS = {
    "bitly": f"Title,Long URL,Link,Created\nOffer,{URL},bit.ly/AbC12,2026-01-01\n",
    "dub": json.dumps(
        [{"shortLink": "https://dub.sh/AbC12", "key": "AbC12", "url": URL, "title": "Offer"}]
    ),
    "shlink": json.dumps(
        {
            "shortUrls": {
                "data": [
                    {
                        "shortCode": "AbC12",
                        "shortUrl": "https://s.test/AbC12",
                        "longUrl": URL,
                        "title": "Offer",
                    }
                ],
                "pagination": {"currentPage": 1},
            }
        }
    ),
    "yourls": json.dumps(
        {
            "links": {
                "link_1": {
                    "shorturl": "http://sho.rt/AbC12",
                    "url": URL,
                    "title": "Offer",
                    "clicks": "3",
                }
            },
            "statusCode": 200,
        }
    ),
    "kutt": json.dumps(
        {
            "limit": 10,
            "total": 1,
            "data": [
                {
                    "address": "AbC12",
                    "link": "https://kutt.it/AbC12",
                    "target": URL,
                    "description": "Offer",
                }
            ],
        }
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_export_becomes_links(name: str) -> None:
    [found] = importers.read(EXPORTS[name], SOURCES[name])
    assert isinstance(found, TrackedLink)
    assert (found.id, found.link.destination, found.title) == ("AbC12", URL, "Offer")
    assert (found.link.source, found.link.medium, found.link.campaign) == (
        "news",
        "email",
        "spring",
    )


def test_a_csv_file_may_have_semicolons_and_a_mark_at_its_beginning() -> None:
    text = f"\ufeffkeyword;url;title\r\nabc;{URL};Ü\r\n"
    [found] = importers.read(text, SOURCES["yourls"])
    assert isinstance(found, TrackedLink)
    assert (found.id, found.title) == ("abc", "Ü")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "it has the columns a, b"),
        ("{", "no valid JSON"),
        ('{"users": []}', "no list called links"),
        ("[1]", "it has no columns"),
    ],
)
def test_what_is_no_export_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        importers.read(text, SOURCES["bitly"])


def test_links_are_taken_over_once_and_none_is_overwritten(new_file: str) -> None:
    rows = ["key,url", "one,https://a.example", "two,https://b.example", "two,https://b.example"]
    rows += ["round,https://GO.example/r/round"]
    rows += ["bad,javascript:alert(1)", ",https://c.example", "a/b/c,https://d.example"]
    links = importers.read("\n".join(rows), SOURCES["dub"])
    database = Database(new_file)
    database.upgrade()
    with database.transaction() as store:
        catalog = SqlCatalog(store, "https://go.example", ())
        told = importers.save(catalog, links)
        assert (told.made, told.known, len(told.problems)) == (2, 1, 4)
        assert told.problems[-1].startswith("The code 'round': destination: https://GO.example/r/")
        assert "must begin with http" in told.problems[0]
        again = importers.save(catalog, [*links[:2]])
        assert (again.made, again.known, again.problems) == (0, 2, [])
        other = importers.read("key,url\none,https://other.example", SOURCES["dub"])
        assert importers.save(catalog, other).problems == [
            "The code 'one' is taken by a link to https://a.example."
        ]
        assert store.links(["one"])["one"].destination == "https://a.example"
    database.close()


def test_the_guide_names_every_source() -> None:
    guide = Path(__file__).parents[3] / "docs" / "guides" / "server.md"
    told = guide.read_text(encoding="utf-8")
    assert [name for name in SOURCES if f"`{name}`" not in told] == []


def test_codes_are_those_that_visitors_ask_for() -> None:
    rows = ["bit.ly/caf%C3%A9", "https://[bit.ly/x", "bit.ly/a%00b", "bit.ly/ok"]
    text = "link,long_url\n" + "".join(f"{row},https://shop.example/\n" for row in rows)
    made, *problems, last = importers.read(text, SOURCES["bitly"])
    assert isinstance(made, TrackedLink) and made.id == "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert [str(problem).partition(":")[0] for problem in problems] == ["Link 2", "Link 3"]
    assert isinstance(last, TrackedLink) and last.id == "ok"


@pytest.mark.parametrize("text", ["[" * 100_000, f"link,long_url\nbit.ly/x,{'x' * 200_000}\n"])
def test_an_export_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="The export is no valid"):
        importers.read(text, SOURCES["bitly"])
