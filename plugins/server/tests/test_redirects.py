"""Short links over real HTTP: what visitors get, and what is kept of them."""

from __future__ import annotations

import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from trackflow_core.model import Link, LinkRule, LinkStatus, Variant
from trackflow_core.tracking import identity
from trackflow_server.client import MAX_HEADER, Client, Networks

pytestmark = pytest.mark.slow

OFFER = Link("offer22", "https://shop.example/offer?a=1#top", "google", "cpc", "spring")
LINKS = (
    OFFER,
    Link("paused2", "https://shop.example/", status=LinkStatus.PAUSED),
    Link(
        "expired", "https://shop.example/", ends=datetime(2020, 1, 1, tzinfo=timezone.utc),
        fallback="https://shop.example/over",
    ),
    Link(
        "phones2",
        "https://shop.example/desk",
        rules=(LinkRule("https://shop.example/phone", device="mobile"),),
    ),
    Link(
        "halves2",
        "https://shop.example/",
        variants=(Variant("a", "https://shop.example/a"), Variant("b", "https://shop.example/b")),
    ),
)  # fmt: skip
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.fixture(scope="module", autouse=True)
def _links(server: Any) -> None:
    server.save(*LINKS)


def test_a_click_leads_on_and_is_recorded_once(server: Any) -> None:
    before = len(server.clicks(_count(server)))
    answer = server.get("/r/offer22?gclid=X%20y&a=2", headers={"Referer": "https://google.com/"})
    assert answer.status_code == 302
    assert answer.headers["Location"] == (
        "https://shop.example/offer?a=1&utm_source=google&utm_medium=cpc&utm_campaign=spring"
        "&gclid=X%20y#top"
    )
    assert answer.headers["Cache-Control"] == "no-store"
    visitor = answer.cookies[identity.COOKIE_NAME]
    again = server.get("/r/offer22", cookies={identity.COOKIE_NAME: visitor})
    assert again.cookies[identity.COOKIE_NAME] == visitor
    *_, first, second = server.clicks(before + 2)
    assert first["visitor_id"] == second["visitor_id"] == visitor.partition(".")[0]
    assert first["session_id"] == second["session_id"] == first["event_id"]
    assert (first["channel"], first["campaign"], first["ip"]) == (
        "Paid Search", "spring", "127.0.0.0",
    )  # fmt: skip
    assert first["destination"] == answer.headers["Location"]


def _count(server: Any) -> int:
    """The number of clicks that are recorded when all that were answered are."""
    told = requests.get(f"{server.url}/metrics", timeout=20).text
    line = next(line for line in told.splitlines() if line.startswith(_RECORDED))
    return int(float(line.removeprefix(_RECORDED)))


_RECORDED = 'trackflow_clicks_total{outcome="recorded"}'


def test_head_is_answered_and_not_counted(server: Any) -> None:
    before = _count(server)
    answer = requests.head(f"{server.url}/r/offer22", allow_redirects=False, timeout=20)
    assert (answer.status_code, answer.text) == (302, "")
    assert answer.headers["Location"].startswith("https://shop.example/offer")
    assert identity.COOKIE_NAME not in answer.cookies
    assert requests.post(f"{server.url}/r/offer22", timeout=20).status_code == 405
    assert _count(server) == before


@pytest.mark.parametrize("path", ["/r/nothing", "/r/", "/r/a/b", "/r/%00", "/r/" + "x" * 300])
def test_an_unknown_link_says_so(server: Any, path: str) -> None:
    answer = server.get(path)
    assert answer.status_code == 404
    assert "does not exist" in answer.text


def test_links_out_of_use(server: Any) -> None:
    before = _count(server)
    assert server.get("/r/paused2").status_code == 410
    over = server.get("/r/expired?x=1")
    assert (over.status_code, over.headers["Location"]) == (302, "https://shop.example/over")
    assert _count(server) == before


def test_rules_and_variants_choose_the_destination(server: Any) -> None:
    def leads(path: str, **options: Any) -> str:
        return str(server.get(path, **options).headers["Location"])

    assert leads("/r/phones2") == "https://shop.example/desk"
    assert leads("/r/phones2", headers={"User-Agent": PHONE}) == "https://shop.example/phone"
    first = server.get("/r/halves2")
    cookies = {identity.COOKIE_NAME: first.cookies[identity.COOKIE_NAME]}
    chosen = {leads("/r/halves2", cookies=cookies) for _ in range(5)}
    assert len(chosen) == 1
    assert {leads("/r/halves2") for _ in range(40)} == {
        "https://shop.example/a",
        "https://shop.example/b",
    }


def test_a_forged_cookie_makes_a_new_visitor(server: Any) -> None:
    forged = f"{'a' * 32}.{'A' * 43}"
    answer = server.get("/r/offer22", cookies={identity.COOKIE_NAME: forged})
    assert not answer.cookies[identity.COOKIE_NAME].startswith("a" * 32)


def test_what_consent_and_signals_allow(server: Any) -> None:
    before = _count(server)
    denied = server.get("/r/offer22", cookies={"trackflow_consent": "denied"})
    objecting = server.get("/r/offer22", headers={"Sec-GPC": "1"})
    for answer in (denied, objecting):
        assert answer.status_code == 302
        assert "Set-Cookie" not in answer.headers
    for click in server.clicks(before + 2)[-2:]:
        assert (click["visitor_id"], click["ip"], click["tier"]) == (None, "", "aggregate")


def test_a_changed_link_is_answered_within_seconds(server: Any) -> None:
    server.save(Link("changes", "https://shop.example/old"))
    assert server.get("/r/changes").headers["Location"] == "https://shop.example/old"
    server.save(Link("changes", "https://shop.example/new"))
    assert server.get("/r/changes").headers["Location"] == "https://shop.example/new"


def test_a_forwarded_address_is_believed_of_proxies_only(
    serving: Any, server: Any, tmp_path: Path
) -> None:
    before = _count(server)
    forwarded = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9", "X-Forwarded-Proto": "https"}
    assert "Secure" not in server.get("/r/offer22", headers=forwarded).headers["Set-Cookie"]
    assert server.clicks(before + 1)[-1]["ip"] == "127.0.0.0"
    with serving(
        tmp_path,
        trusted_proxies="127.0.0.0/8,203.0.113.0/24",
        internal_networks="198.51.100.0/24",
        without_consent="session",
    ) as behind:
        behind.save(OFFER)
        staff = behind.get("/r/offer22", headers=forwarded)
        assert "Set-Cookie" not in staff.headers
        visitor = behind.get("/r/offer22", headers={**forwarded, "X-Forwarded-For": "192.0.2.77"})
        assert "Secure" in visitor.headers["Set-Cookie"]
        assert "Max-Age" not in visitor.headers["Set-Cookie"]
        found = behind.clicks(2)
        assert [click["ip"] for click in found] == ["198.51.100.0", "192.0.2.0"]
        assert [click["internal"] for click in found] == [True, False]


def test_a_long_forwarded_header_does_not_hide_who_asks() -> None:
    header = b"192.0.2.1" + b"," * MAX_HEADER + b"198.51.100.7"
    behind = Client({"headers": [(b"x-forwarded-for", header)], "client": ("127.0.0.1", 1)})
    assert behind.address(Networks(("127.0.0.0/8",))) == "198.51.100.7"


def test_nothing_answered_is_lost_when_the_server_stops(serving: Any, tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.save(OFFER)
        assert {first.get("/r/offer22").status_code for _ in range(20)} == {302}
        assert first.stop() == 0, first.log.read_text()
    with serving(tmp_path) as second:
        assert second.get("/r/offer22").status_code == 302
        second.clicks(21)
        second.process.send_signal(signal.SIGKILL)


def test_health_and_metrics(server: Any) -> None:
    health = server.get("/trackflow/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    told = server.get("/metrics").text
    assert 'trackflow_redirects_total{outcome="redirected"}' in told
    assert "trackflow_spooled_facts" in told
