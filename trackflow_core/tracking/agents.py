"""User agent -> device, browser, operating system, and whether a person is behind it."""

from __future__ import annotations

import re
from functools import lru_cache

from user_agents import parse

from trackflow_core.model import Agent, Verdict

_PREVIEW = re.compile(
    r"facebookexternalhit|facebookcatalog|whatsapp/|telegrambot|twitterbot|linkedinbot|slackbot"
    r"|slack-imgproxy|discordbot|skypeuripreview|microsoftpreview|redditbot|embedly|iframely"
    r"|vkshare|viber|bitlybot|snapchat.*preview|google-pagerenderer|cardyb",
    re.IGNORECASE,
)
_BOT = re.compile(
    r"bot\b|bot[/_-]|crawl|spider|slurp|headlesschrome|phantomjs|lighthouse|monitor|uptime|scan"
    r"|curl/|wget/|python-|python/|aiohttp|httpx|okhttp/|java/|go-http-client|libwww|perl"
    r"|ruby|php/|guzzle|axios|node-fetch|postman|scrapy|http[_-]?client|fetch/|check_http",
    re.IGNORECASE,
)
# In-app browsers of people; their names must not be taken for those of crawlers.
_IN_APP = re.compile(
    r"instagram|fban|fbav|fb_iab|pinterest/(?:ios|android)|\[pinterest|tiktok|musical_ly|bytedance"
    r"|snapchat|linkedinapp|line/|micromessenger|twitter for|gsa/|cubot",
    re.IGNORECASE,
)


def classify(user_agent: str, *, prefetch: bool = False) -> Agent:
    """The agent behind a hit.

    `prefetch` says that the request announced itself as made ahead of a person (a `Purpose` or
    `Sec-Purpose` header): its verdict is `preview` whatever the user agent.
    """
    agent = _classify(user_agent[:1024])
    if prefetch and agent.verdict is not Verdict.BOT:
        return Agent(
            Verdict.PREVIEW, "fetched ahead of a person", agent.device, agent.browser, agent.os
        )
    return agent


@lru_cache(maxsize=20_000)
def _classify(user_agent: str) -> Agent:
    if not user_agent.strip():
        return Agent(Verdict.UNKNOWN, "no user agent")
    verdict, reason = _judge(user_agent)
    parsed = parse(user_agent)
    device = (
        "tablet"
        if parsed.is_tablet
        else "mobile"
        if parsed.is_mobile
        else "desktop"
        if parsed.is_pc
        else "other"
    )
    if verdict is Verdict.HUMAN and parsed.is_bot and not _IN_APP.search(user_agent):
        verdict, reason = Verdict.BOT, f"known crawler {parsed.browser.family}"
    return Agent(verdict, reason, device, parsed.browser.family, parsed.os.family)


def _judge(user_agent: str) -> tuple[Verdict, str]:
    if match := _PREVIEW.search(user_agent):
        return Verdict.PREVIEW, f"link preview ({match.group()})"
    if match := _IN_APP.search(user_agent):
        return Verdict.HUMAN, f"in-app browser ({match.group()})"
    if match := _BOT.search(user_agent):
        return Verdict.BOT, f"names itself an automaton ({match.group()})"
    return Verdict.HUMAN, "looks like a browser"
