"""Agents, channels and sessions as people would judge them."""

from __future__ import annotations

import pytest

from trackflow_core.model import Source, Verdict
from trackflow_core.testing.facts import BROWSER
from trackflow_core.tracking import agents, channels, qr

INSTAGRAM = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/15E148 Instagram 333.0.0.33.111 (iPhone14,5; iOS 17_5; en_US)"
)
PINTEREST = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/15E148 [Pinterest/iOS]"
)


@pytest.mark.parametrize(
    ("user_agent", "verdict"),
    [
        (BROWSER, Verdict.HUMAN),
        (INSTAGRAM, Verdict.HUMAN),
        (PINTEREST, Verdict.HUMAN),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Verdict.BOT),
        ("curl/8.5.0", Verdict.BOT),
        ("python-requests/2.32", Verdict.BOT),
        ("facebookexternalhit/1.1", Verdict.PREVIEW),
        ("WhatsApp/2.23.20.0", Verdict.PREVIEW),
        ("", Verdict.UNKNOWN),
        ("   ", Verdict.UNKNOWN),
    ],
)
def test_verdicts_come_with_a_reason(user_agent: str, verdict: Verdict) -> None:
    agent = agents.classify(user_agent)
    assert agent.verdict is verdict
    assert agent.reason


def test_device_browser_and_system_are_named() -> None:
    agent = agents.classify(BROWSER)
    assert (agent.device, agent.browser, agent.os) == ("desktop", "Chrome", "Windows")
    assert agents.classify(INSTAGRAM).device == "mobile"


def test_a_prefetch_is_a_preview_whoever_made_it() -> None:
    assert agents.classify(BROWSER, prefetch=True).verdict is Verdict.PREVIEW
    assert agents.classify("curl/8", prefetch=True).verdict is Verdict.BOT


@pytest.mark.parametrize(
    ("url", "referrer", "expected"),
    [
        ("https://x.example/", "", ("", "", "Direct")),
        (
            "https://x.example/?utm_source=google&utm_medium=cpc",
            "",
            ("google", "cpc", "Paid Search"),
        ),
        ("https://x.example/?gclid=1", "", ("google", "cpc", "Paid Search")),
        ("https://x.example/?fbclid=1", "", ("", "", "Direct")),
        (
            "https://x.example/?fbclid=1",
            "https://l.facebook.com/",
            ("facebook", "social", "Organic Social"),
        ),
        (
            "https://x.example/",
            "https://www.google.co.uk/",
            ("google", "organic", "Organic Search"),
        ),
        ("https://x.example/", "https://notgoogle.com/", ("notgoogle.com", "referral", "Referral")),
        (
            "https://x.example/",
            "https://gemini.google.com/app",
            ("gemini.google.com", "ai-assistant", "AI Assistant"),
        ),
        ("https://x.example/", "https://x.example/other", ("", "", "Direct")),
        ("https://x.example/", "https://[broken", ("", "", "Direct")),
        ("https://x.example/?utm_source=fb&utm_medium=paid", "", ("fb", "paid", "Paid Social")),
        ("https://x.example/?utm_source=n&utm_medium=email", "", ("n", "email", "Email")),
        ("https://x.example/?utm_source=p&utm_medium=banner", "", ("p", "banner", "Display")),
        ("https://x.example/?utm_source=p&utm_medium=odd", "", ("p", "odd", "Unassigned")),
        ("https://x.example/?utm_source=partner", "", ("partner", "", "Referral")),
        (
            "https://x.example/?utm_source=youtube&utm_medium=v",
            "",
            ("youtube", "v", "Organic Video"),
        ),
    ],
)
def test_sources_and_channels(url: str, referrer: str, expected: tuple[str, str, str]) -> None:
    found = channels.classify(url, referrer, own_hosts={"x.example"})
    assert (found.source, found.medium, found.channel) == expected


def test_the_links_own_fields_come_before_the_url() -> None:
    found = channels.classify(
        "https://x.example/?utm_source=theirs&utm_content=banner",
        utm={"source": "newsletter", "medium": "email", "campaign": ""},
    )
    assert found == Source("newsletter", "email", "", "Email", "banner", "")


def test_qr_codes_are_pictures() -> None:
    assert qr.png("https://x.example/r/abc").startswith(b"\x89PNG\r\n\x1a\n")
    assert b"<svg" in qr.svg("https://x.example/r/abc")
    assert len(qr.png("https://x.example/r/abc", box_size=20)) > len(qr.png("x", box_size=2))
