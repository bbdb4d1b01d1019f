"""Referrer, UTM parameters and click ids -> source, medium and channel.

Channels are Google Analytics 4's default channel group, by its public definitions, with
"AI Assistant" added.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from trackflow_core.model import Source
from trackflow_core.tracking.urls import parse_click_ids, parse_utm

# Registrable names without their top-level domain; a host belongs when one of its labels, next to
# a public suffix, is in here.
_SEARCH = {"google", "bing", "yahoo", "duckduckgo", "ecosia", "baidu", "yandex", "qwant", "naver"}
_SOCIAL = {
    "facebook",
    "instagram",
    "linkedin",
    "twitter",
    "x",
    "t",
    "pinterest",
    "reddit",
    "tiktok",
    "threads",
    "mastodon",
    "bsky",
    "xing",
    "snapchat",
    "fb",
    "lnkd",
}
_VIDEO = {"youtube", "youtu", "vimeo", "twitch", "dailymotion"}
_SHOPPING = {"amazon", "ebay", "etsy", "idealo", "shopify", "walmart", "alibaba"}
_ASSISTANTS = {
    "chatgpt.com",
    "chat.openai.com",
    "perplexity.ai",
    "claude.ai",
    "copilot.microsoft.com",
}
_ASSISTANTS |= {"gemini.google.com", "chat.mistral.ai", "chat.deepseek.com"}

_PAID = re.compile(r"^(.*cp.*|ppc|retargeting|paid.*)$", re.IGNORECASE)
_SHOP_CAMPAIGN = re.compile(r"^(.*(([^a-df-z]|^)shop|shopping).*)$", re.IGNORECASE)
_DISPLAY = {"display", "banner", "expandable", "interstitial", "cpm"}
_SOCIAL_MEDIUM = {
    "social",
    "social-network",
    "social-media",
    "sm",
    "social network",
    "social media",
}
_EMAIL = {"email", "e-mail", "e_mail", "e mail", "newsletter"}
_CLICK_ID_SOURCE = {
    "gclid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"),
    "ttclid": ("tiktok", "paid"),
    "li_fat_id": ("linkedin", "paid"),
}


def classify(
    url: str,
    referrer: str = "",
    *,
    utm: Mapping[str, str] | None = None,
    own_hosts: Collection[str] = (),
) -> Source:
    """Where a visit to `url` came from.

    UTM parameters come first (`utm`, the link's own fields by name, before those in `url`), then
    ad click ids, then the referrer; a referrer on one of `own_hosts` says nothing.
    """
    fields = {**parse_utm(url), **{key: value for key, value in (utm or {}).items() if value}}
    source, medium = fields.get("source", ""), fields.get("medium", "")
    if not source and not medium:
        source, medium = _untagged(url, referrer, own_hosts)
    campaign = fields.get("campaign", "")
    return Source(
        source=source,
        medium=medium,
        campaign=campaign,
        channel=channel_group(source, medium, campaign),
        content=fields.get("content", ""),
        term=fields.get("term", ""),
    )


def _untagged(url: str, referrer: str, own_hosts: Collection[str]) -> tuple[str, str]:
    for name in parse_click_ids(url):
        if name in _CLICK_ID_SOURCE:
            return _CLICK_ID_SOURCE[name]
    host = _host(referrer)
    if not host or host in own_hosts:
        return "", ""
    if host in _ASSISTANTS:
        return host, "ai-assistant"
    brand = _brand(host)
    if brand in _SEARCH:
        return brand, "organic"
    if brand in _SOCIAL:
        return brand, "social"
    return host, "referral"


def channel_group(source: str, medium: str, campaign: str = "") -> str:
    """The default channel of a source, medium and campaign name."""
    source, medium = source.strip().lower(), medium.strip().lower()
    if (not source or source in ("direct", "(direct)")) and medium in ("", "(none)", "(not set)"):
        return "Direct" if not campaign else "Unassigned"
    kind = _kind(source)
    if _PAID.match(medium) and medium not in _DISPLAY:
        return _paid(kind, campaign)
    if medium in _DISPLAY:
        return "Display"
    return _organic(kind, source, medium, campaign)


def _paid(kind: str, campaign: str) -> str:
    if kind == "Shopping" or _SHOP_CAMPAIGN.match(campaign):
        return "Paid Shopping"
    return f"Paid {kind}" if kind in ("Search", "Social", "Video") else "Paid Other"


def _organic(kind: str, source: str, medium: str, campaign: str) -> str:
    by_medium = {
        "affiliate": "Affiliates",
        "audio": "Audio",
        "sms": "SMS",
        "ai-assistant": "AI Assistant",
        "organic": "Organic Search",
        "qr": "Offline",
        "print": "Offline",
    }
    if source in _ASSISTANTS or medium == "ai-assistant":
        return "AI Assistant"
    if medium in _EMAIL or source in _EMAIL:
        return "Email"
    if kind == "Shopping" or _SHOP_CAMPAIGN.match(campaign):
        return "Organic Shopping"
    if medium in _SOCIAL_MEDIUM or kind == "Social":
        return "Organic Social"
    if "video" in medium or kind == "Video":
        return "Organic Video"
    if medium in by_medium:
        return by_medium[medium]
    if kind == "Search":
        return "Organic Search"
    if medium in ("referral", "app", "link") or (source and not medium):
        return "Referral"
    if medium.endswith("push") or "mobile" in medium or "notification" in medium:
        return "Mobile Push"
    return "Unassigned"


def _kind(source: str) -> str:
    brand = _brand(source)
    for name, brands in (
        ("Search", _SEARCH),
        ("Social", _SOCIAL),
        ("Video", _VIDEO),
        ("Shopping", _SHOPPING),
    ):
        if brand in brands:
            return name
    return ""


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _brand(host: str) -> str:
    labels = host.removeprefix("www.").split(".")
    if len(labels) == 1:
        return labels[0]
    # google.co.uk and google.com.au: a short second-level label is part of the suffix.
    second_level = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return labels[-3] if second_level else labels[-2]
