"""The dashboard over the demo's story: every page renders, and nothing without a login."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import requests

from trackflow_core.attribution import BUILTIN_RULES
from trackflow_core.config import Settings
from trackflow_core.hooks import Hooks
from trackflow_server import story
from trackflow_server.store import Database

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
END = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def site(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("dashboard")
    database = Database(str(folder / "trackflow.sqlite"))
    database.upgrade()
    story.tell(database, Hooks(), Settings(), END, "https://go.example")
    database.close()
    settings = {"password": PASSWORD, "base_url": "https://go.example"}
    with serving(folder, **settings) as served:
        yield served


@pytest.fixture(scope="module")
def person(site: Any) -> requests.Session:
    """Somebody who has signed in."""
    session = requests.Session()
    answer = session.post(f"{site.url}/login", data={"password": PASSWORD}, timeout=20)
    assert answer.url == f"{site.url}/", answer.text
    return session


def _page(site: Any, person: requests.Session, path: str) -> str:
    answer = person.get(site.url + path, timeout=20)
    assert answer.status_code == 200, site.log.read_text()
    return answer.text


@pytest.mark.parametrize(
    "path",
    ["/", "/campaigns", "/links", "/links/adWork2", "/links/adWork2/qr.png", "/visitors",
     "/visitors/x", "/deals", "/deals/webhook/shop/deal/1", "/models", "/connectors",
     "/connectors/webhook/shop", "/connectors/webhook/shop/events/1"],
)  # fmt: skip
def test_nothing_is_shown_without_a_login(site: Any, path: str) -> None:
    for cookies in ({}, {"trackflow_login": "ImFkbWluIg.aaaaaa.forged"}):
        answer = site.get(path, cookies=cookies)
        assert (answer.status_code, answer.headers["Location"], answer.text) == (303, "/login", "")


def test_each_amount_says_its_model_where_a_phone_hides_the_heads(
    site: Any, person: requests.Session
) -> None:
    page = _page(site, person, "/models")
    for rule in BUILTIN_RULES:
        assert f'data-model="{rule.title}"' in page


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "What won deals were earned by"),
        ("/campaigns", "newsletter"),
        ("/links", "https://go.example/r/nwsMar2"),
        ("/links?search=PARTNER", "blogPa2"),
        ("/links?search=nothing", "No link has that"),
        ("/links/adWork2", "https://www.example.com/workshops"),
        ("/visitors", "/visitors/"),
        ("/deals", "webhook/shop/deal/1"),
        ("/models", "Position based"),
    ],
)
def test_pages_tell_the_story(site: Any, person: requests.Session, path: str, told: str) -> None:
    assert told in _page(site, person, path)


def test_every_deal_has_a_receipt_that_adds_up(site: Any, person: requests.Session) -> None:
    refs = sorted(set(re.findall(r'href="(/deals/[^"]+)"', _page(site, person, "/deals"))))
    assert len(refs) == 34
    for ref in refs[:6]:
        receipt, _, _ = _page(site, person, ref).partition("Under other models")
        *credits, total = [
            Decimal(found.replace(",", "")) for found in re.findall(r">(-?[\d,.]+) EUR<", receipt)
        ]
        assert sum(credits) == total > 0


def test_every_model_adds_up_to_the_same(site: Any, person: requests.Session) -> None:
    rows = re.findall(r"<tr><th scope=.*?</tr>", _page(site, person, "/models"))
    columns = zip(
        *(
            [Decimal(n.replace(",", "")) for n in re.findall(r">([\d,.]+)</td>", row)]
            for row in rows
        ),
        strict=True,
    )
    assert len({sum(column) for column in columns}) == 1
    assert len(BUILTIN_RULES) >= 7


def test_a_visitor_is_shown_with_the_lead(site: Any, person: requests.Session) -> None:
    rows = re.findall(r"<tr><td>.*?</tr>", _page(site, person, "/visitors"))
    row = next(row for row in rows if "<td>\N{EN DASH}</td>" not in row)
    [path] = re.findall(r'href="(/visitors/[0-9a-f]{32})"', row)
    assert "Lead: " in _page(site, person, path)


def test_qr_codes(site: Any, person: requests.Session) -> None:
    png = person.get(f"{site.url}/links/adWork2/qr.png", timeout=20)
    assert (png.headers["Content-Type"], png.content[:4]) == ("image/png", b"\x89PNG")
    assert b"<svg" in person.get(f"{site.url}/links/adWork2/qr.svg", timeout=20).content


def test_a_form_is_read_up_to_a_limit(site: Any) -> None:
    fields = {f"field{number}": "x" * 1000 for number in range(70)}
    answer = requests.post(f"{site.url}/login", data=fields, timeout=20)
    assert (answer.status_code, answer.text) == (413, "The form is too long.")


def test_a_link_is_made_in_a_form_of_this_site_only(site: Any, person: requests.Session) -> None:
    form = {"destination": "https://www.example.com/new", "campaign": "summer", "title": "<New>"}
    foreign = person.post(
        f"{site.url}/links", data=form, headers={"Origin": "https://evil.example"}, timeout=20
    )
    assert foreign.status_code == 403
    own = {"Origin": site.url}
    made = person.post(f"{site.url}/links", data=form, headers=own, timeout=20)
    assert "&lt;New&gt;" in made.text
    assert "<New>" not in made.text
    bad = person.post(
        f"{site.url}/links", data={"destination": "javascript:alert(1)"}, headers=own, timeout=20
    )
    assert "must begin with http" in bad.text
    assert "summer" in _page(site, person, "/links?search=new")


def test_what_is_not_there(site: Any, person: requests.Session) -> None:
    for path in ("/links/nothing", "/visitors/nothing", "/deals/nothing"):
        assert person.get(site.url + path, timeout=20).status_code == 404


def test_without_a_password_there_is_no_dashboard(server: Any) -> None:
    answer = requests.post(f"{server.url}/login", data={"password": ""}, timeout=20)
    assert answer.status_code == 403
    assert "TRACKFLOW_PASSWORD" in answer.text


def test_the_same_moment_tells_the_same_story(tmp_path: Any) -> None:
    digests = []
    for name in ("one", "two"):
        database = Database(str(tmp_path / name))
        database.upgrade()
        story.tell(database, Hooks(), Settings(), END + timedelta(seconds=1), "https://go.example")
        with database.reading() as store:
            digests.append([(deal.ref, deal.value) for deal in store.deals()])
        database.close()
    assert digests[0] == digests[1]


def test_a_wrong_password_is_refused_and_not_for_ever(site: Any) -> None:
    for _ in range(40):
        answer = requests.post(f"{site.url}/login", data={"password": "guess"}, timeout=20)
    assert answer.status_code == 429
    assert "too many attempts" in answer.text
