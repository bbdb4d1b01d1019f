"""User agents as people would judge them, and the targets on real ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking import user_agents
from trackflow_core.model import Verdict
from trackflow_core.tracking import agents

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 14; {}) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Mobile Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko)"
)
FACEBOOK = "[FBAN/FBIOS;FBAV/450.0;FBDV/iPhone14,5;FBCR/Telekom.de;FBLC/de_DE]"
HUMANS = [
    (CHROME, "looks like a browser"),
    (f"{CHROME} Edg/126.0.0.0", "looks like a browser"),
    (f"{CHROME} OPR/112.0.0.0", "looks like a browser"),
    (ANDROID.format("Pixel 8"), "looks like a browser"),
    # Device makers may call their devices what they like.
    (ANDROID.format("CUBOT_X18_Plus Build/O00623"), "looks like a browser"),
    (ANDROID.format("M bot 54; wv") + " Viber/22.1", "in-app browser (viber)"),
    (
        f"{IPHONE} Mobile/15E148 Instagram 333.0.0.33.111 (iPhone14,5; iOS 17_5)",
        "in-app browser (instagram)",
    ),
    (
        ANDROID.format("wv") + " Instagram 267.0 Android (31/12; HTC; htc_botdugls; qcom)",
        "in-app browser (instagram)",
    ),
    (f"{IPHONE} Mobile/15E148 [Pinterest/iOS]", "in-app browser (pinterest)"),
    # Apps are called after their packages, and after what people do with them.
    (ANDROID.format("wv") + " com.example.shop.app", "looks like a browser"),
    (ANDROID.format("wv") + " QR-Scanner/2.0", "looks like a browser"),
    (f"{CHROME} QIHU 360SE", "looks like a browser"),
    # The operator's name looks like a host.
    (f"{IPHONE} Mobile/15E148 {FACEBOOK}", "in-app browser (fban)"),
    (
        "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET CLR 3.5.30729; rv:11.0) "
        "like Gecko",
        "looks like a browser",
    ),
    ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1; U; en) Presto/2.8.119", "looks like a browser"),
    (f"BrightSign/8.0 (LS424) {CHROME}", "looks like a browser"),
    ("Mozilla/5.0 (PlayStation 4 Pro 5.0)", "looks like a browser"),
    ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)", "looks like a browser"),
    ("Mozilla/5.0 (X11; U; Linux i686; th-TH@calendar=gregorian) Gecko/1", "looks like a browser"),
]
PREVIEWS = [
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "facebook"),
    ("WhatsApp/2.23.20.0 A", "whatsapp"),
    ("Viber", "viber"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "slackbot"),
    ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "ms-office"),
    ("Microsoft Office Existence Discovery", "existence discovery"),
]
BOTS = [
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "(googlebot)"),
    (f"{ANDROID.format('Nexus 5X')} (compatible; AhrefsBot/7.0; +http://a.example)", "(ahrefsbot)"),
    ("Mozilla/5.0 (compatible; YandexImages/3.0; ...)", "names a product"),
    ("curl/8.5.0", "(curl)"),
    ("python-requests/2.32", "(python)"),
    (f"{CHROME} ExampleCrawler/1.0", "(crawl)"),
    (f"{CHROME} PortScan/1.0", "(scan)"),
    (f"{CHROME} (Example)", "ends as no desktop browser does"),
    (CHROME.replace("Chrome", "HeadlessChrome"), "(headless)"),
    (CHROME.replace("like Gecko", "like Gecko; ProductFinder"), "names a product"),
    (f"{CHROME} (+https://example.org/why)", "an address"),
    (f"{CHROME} quality.example.com", "an address"),
    (f"{CHROME} me@example.org", "an address"),
    (f"{CHROME} nobody(at)example.org", "an address"),
    (f"{CHROME} PingdomTMS/2020.2", "known automaton (pingdom)"),
    (f"{CHROME} ExampleAgent/2", "an agent"),
    (f"{CHROME} LinkTiger", "ends as no desktop browser does"),
    ("Zeno", "neither a browser nor a device"),
    ("Mozilla/5.0 (Mixnode) AppleWebKit/537.36 (KHTML, like Gecko)", "no system"),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:66.0) WhatNot/1.0", "no engine"),
    ("${jndi:ldap://x}", "an address"),
]


@pytest.mark.parametrize(("user_agent", "reason"), HUMANS)
def test_people_are_human(user_agent: str, reason: str) -> None:
    assert agents.judge(user_agent) == (Verdict.HUMAN, reason)


@pytest.mark.parametrize(("user_agent", "name"), PREVIEWS)
def test_link_previews_are_named(user_agent: str, name: str) -> None:
    verdict, reason = agents.judge(user_agent)
    assert verdict is Verdict.PREVIEW
    assert reason.startswith("link preview (") and name in reason


@pytest.mark.parametrize(("user_agent", "reason"), BOTS)
def test_bots_are_found_and_the_reason_says_by_what(user_agent: str, reason: str) -> None:
    verdict, found = agents.judge(user_agent)
    assert verdict is Verdict.BOT
    assert reason in found


def test_no_user_agent_is_unknown() -> None:
    for nothing in ("", "   "):
        agent = agents.classify(nothing)
        assert (agent.verdict, agent.reason, agent.device) == (
            Verdict.UNKNOWN,
            "no user agent",
            "",
        )


def test_signals_of_the_request_count_unless_a_bot_made_it() -> None:
    assert agents.classify(CHROME, prefetch=True).reason == "fetched ahead of a person"
    assert agents.classify(CHROME, method="HEAD").reason == "asked for the headers only"
    assert agents.classify(CHROME, method="HEAD").verdict is Verdict.PREVIEW
    assert agents.classify("curl/8", prefetch=True, method="HEAD").verdict is Verdict.BOT


@pytest.mark.parametrize(
    ("user_agent", "device", "browser", "system"),
    [
        (CHROME, "desktop", "Chrome", "Windows"),
        (ANDROID.format("Pixel 8"), "mobile", "Chrome Mobile", "Android"),
        (ANDROID.format("SM-X710").replace(" Mobile", ""), "tablet", "Chrome", "Android"),
        (f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1", "mobile", "Mobile Safari", "iOS"),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
            "tablet",
            "Mobile Safari",
            "iOS",
        ),
        (
            "Mozilla/5.0 (PlayBook; U; RIM Tablet OS 2.1.0; en-US) AppleWebKit/536.2+ "
            "(KHTML, like Gecko) Version/7.2.1.0 Safari/536.2+",
            "tablet",
            "BlackBerry WebKit",
            "BlackBerry Tablet OS",
        ),
        ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36", "other", "Other", "Web0S"),
        ("Zeno", "other", "Other", "Other"),
    ],
)
def test_device_browser_and_system(user_agent: str, device: str, browser: str, system: str) -> None:
    agent = agents.classify(user_agent)
    assert (agent.device, agent.browser, agent.os) == (device, browser, system)


def test_a_plain_browser_carries_no_other_name() -> None:
    chrome = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
    )
    assert agents.is_plain(f" {chrome} Safari/537.36")
    assert not agents.is_plain(f"{chrome} Safari/537.36 Bytespider")


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_has_a_verdict_with_a_reason(user_agent: str) -> None:
    verdict, reason = agents.judge(user_agent)
    assert verdict in Verdict
    assert reason


@settings(deadline=None)
@given(st.text(max_size=80), st.integers(min_value=1, max_value=500))
def test_only_the_beginning_counts(start: str, more: int) -> None:
    long = start + "x" * agents.MAX_LENGTH
    assert agents.classify(long) == agents.classify(long + "bot" * more)


def _not_human(user_agents: Sequence[str]) -> float:
    """The share of those that are held for a bot or a preview."""
    machines = (Verdict.BOT, Verdict.PREVIEW)
    return sum(agents.judge(one)[0] in machines for one in user_agents) / len(user_agents)


@pytest.mark.slow
def test_bots_of_both_lists_are_recognised() -> None:
    assert _not_human(user_agents.matomo_bots()) >= 0.99
    assert _not_human(user_agents.listed_crawlers()) >= 0.99


@pytest.mark.slow
def test_people_with_browsers_are_not_taken_for_bots() -> None:
    assert _not_human(user_agents.matomo_browsers()) <= 0.001
    verdicts = {one: agents.judge(one)[0] for one in user_agents.in_app_browsers()}
    assert len(verdicts) > 1000
    assert [one for one, verdict in verdicts.items() if verdict is Verdict.BOT] == []
