"""Referrer, UTM parameters and click ids -> source, medium and channel.

Channels are Google Analytics 4's default channel group by its public definitions, asked in its
order, with these differences: "AI Assistant" comes after Direct and before all others; an e-mail
medium is believed whatever the source; "newsletter" counts as e-mail, Odoo's medium "Google
Adwords" as paid, qr and print as "Offline", and a source without a medium as Referral.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal

from trackflow_core.model import Source
from trackflow_core.tracking import referrers
from trackflow_core.tracking.referrers import Kind, Referrer
from trackflow_core.tracking.urls import parse_click_ids, parse_utm

Channel = Literal[
    "Direct",
    "AI Assistant",
    "Cross-network",
    "Paid Shopping",
    "Paid Search",
    "Paid Social",
    "Paid Video",
    "Paid Other",
    "Display",
    "Email",
    "Organic Shopping",
    "Organic Social",
    "Organic Video",
    "Organic Search",
    "Referral",
    "Affiliates",
    "Audio",
    "Offline",
    "SMS",
    "Mobile Push",
    "Unassigned",
]
"""Every channel that `channel_group` knows."""

# What marketers write in utm_source for places; hosts are looked up in the lists of referrers.
_NAMES: Mapping[str, Kind] = {
    name: kind
    for kind, names in (
        (
            Kind.SEARCH,
            "google bing yahoo duckduckgo ecosia baidu yandex qwant naver brave kagi startpage ask"
            " aol msn adwords google-ads googleads google_ads google-adwords bingads bing-ads"
            " microsoft-ads seznam daum sogou",
        ),
        (
            Kind.SOCIAL,
            "facebook fb meta meta-ads facebook-ads fb-ads instagram ig insta linkedin lnkd"
            " linkedin-ads twitter x t.co pinterest reddit tiktok threads mastodon bluesky bsky"
            " xing snapchat whatsapp telegram discord quora tumblr vk vkontakte weibo wechat line"
            " nextdoor messenger hootsuite buffer",
        ),
        (Kind.VIDEO, "youtube yt vimeo twitch dailymotion wistia rumble bilibili"),
        (
            Kind.SHOPPING,
            "amazon ebay etsy idealo shopify walmart alibaba aliexpress rakuten zalando temu"
            " google-shopping googleshopping mercadolibre kelkoo geizhals check24 pricerunner",
        ),
        (
            Kind.ASSISTANT,
            "chatgpt openai perplexity claude anthropic gemini copilot mistral lechat deepseek"
            " grok meta-ai metaai poe",
        ),
    )
    for name in names.split()
}

_PAID = re.compile(r".*cp.*|ppc|retargeting|paid.*|google[ _-]?ad(?:s|words)|adwords")
_SHOP_CAMPAIGN = re.compile(r".*(?:(?:[^a-df-z]|^)shop|shopping).*", re.IGNORECASE)
_DISPLAY = {"display", "banner", "expandable", "interstitial", "cpm"}
_SOCIAL = {"social", "social-network", "social-media", "sm", "social network", "social media"}
_EMAIL = {"email", "e-mail", "e_mail", "e mail", "newsletter"}
_ASSISTANT = {"ai-assistant", "ai assistant", "ai", "llm", "chatbot"}
_BY_MEDIUM: Mapping[str, Channel] = {
    "affiliate": "Affiliates",
    "audio": "Audio",
    "qr": "Offline",
    "print": "Offline",
}

# A click id proves an advertisement only where its network shows them: here, with the kinds of
# referrer that a click on one can come from. `fbclid`, `epik` and `igshid` are put on every link
# that leaves the network, so they prove nothing.
_Evidence = tuple[str, str, frozenset[str]]
_GOOGLE = frozenset(("google", "youtube"))
_MICROSOFT = frozenset(("bing", "msn", "yahoo", "duckduckgo", "ecosia", "aol", "qwant"))
_CLICK_IDS: Mapping[str, _Evidence] = {
    "gclid": ("google", "cpc", _GOOGLE),
    "wbraid": ("google", "cpc", _GOOGLE),
    "gbraid": ("google", "cpc", _GOOGLE),
    "dclid": ("google", "display", _GOOGLE),
    "msclkid": ("bing", "cpc", _MICROSOFT),
    "yclid": ("yandex", "cpc", frozenset(("yandex",))),
    "ttclid": ("tiktok", "paid", frozenset(("tiktok",))),
    "li_fat_id": ("linkedin", "paid", frozenset(("linkedin",))),
    "twclid": ("twitter", "paid", frozenset(("twitter",))),
    "ScCid": ("snapchat", "paid", frozenset(("snapchat",))),
    "rdt_cid": ("reddit", "paid", frozenset(("reddit",))),
}
_CLICK_ID_NAMES = tuple(name.lower() for name in _CLICK_IDS)


def classify(
    url: str,
    referrer: str = "",
    *,
    utm: Mapping[str, str] | None = None,
    own_hosts: Collection[str] = (),
) -> Source:
    """Where a visit to `url` came from.

    UTM parameters come first (`utm`, the link's own fields by name, before those in `url`), then
    ad click ids, then the referrer. A referrer on one of `own_hosts` or at a payment provider says
    nothing. What was searched for becomes the term where no UTM field names one.
    """
    fields = {**parse_utm(url), **{key: value for key, value in (utm or {}).items() if value}}
    came_from = None if is_return(referrer, own_hosts) else referrers.look_up(referrer)
    source, medium = fields.get("source", ""), fields.get("medium", "")
    advertised = _advertised(url, came_from)
    if not source and not medium:
        if advertised:
            source, medium = advertised
        elif came_from:
            source, medium = came_from.source, came_from.medium
    elif not medium and advertised and source.lower() == advertised[0]:
        medium = advertised[1]
    campaign = fields.get("campaign", "")
    return Source(
        source=source,
        medium=medium,
        campaign=campaign,
        channel=channel_group(source, medium, campaign),
        content=fields.get("content", ""),
        term=fields.get("term", "") or (came_from.term.strip() if came_from else ""),
    )


def is_return(referrer: str, own_hosts: Collection[str] = ()) -> bool:
    """Whether a visit with this referrer goes on with an earlier one and is no new touch.

    True for `own_hosts` and their subdomains, and for payment providers, from where buyers come
    back.
    """
    found = referrers.look_up(referrer)
    if not found:
        return False
    return found.kind is Kind.PAYMENT or any(
        f".{found.host}".endswith(f".{host.lower().removeprefix('www.')}") for host in own_hosts
    )


def _advertised(url: str, came_from: Referrer | None) -> tuple[str, str] | None:
    """Source and medium that a click id proves, together with the referrer."""
    low = url.lower()
    # Most links carry none, and looking is ten times cheaper than parsing.
    if not any(name in low for name in _CLICK_ID_NAMES):
        return None
    for name in parse_click_ids(url):
        source, medium, shown_on = _CLICK_IDS.get(name, ("", "", frozenset[str]()))
        if source and came_from is None:
            return source, medium
        if came_from and came_from.source in shown_on:
            return came_from.source, came_from.medium if came_from.kind is Kind.PAID else medium
    return None


def channel_group(source: str, medium: str, campaign: str = "") -> Channel:
    """The default channel of a source, medium and campaign name."""
    source, medium = source.strip().lower(), medium.strip().lower()
    if (not source or source in ("direct", "(direct)")) and medium in ("", "(none)", "(not set)"):
        return "Direct" if not campaign else "Unassigned"
    kind = _kind(source)
    if kind is Kind.ASSISTANT or medium in _ASSISTANT:
        return "AI Assistant"
    if "cross-network" in campaign.lower():
        return "Cross-network"
    if _PAID.fullmatch(medium) and (kind in _PAID_KINDS or medium not in _DISPLAY):
        return _paid(kind, campaign)
    if medium in _DISPLAY:
        return "Display"
    return _organic(kind, source, medium, campaign)


_PAID_KINDS: Mapping[Kind, Channel] = {
    Kind.SEARCH: "Paid Search",
    Kind.SOCIAL: "Paid Social",
    Kind.VIDEO: "Paid Video",
}


def _paid(kind: Kind | None, campaign: str) -> Channel:
    if kind is Kind.SHOPPING or _SHOP_CAMPAIGN.fullmatch(campaign):
        return "Paid Shopping"
    return _PAID_KINDS.get(kind, "Paid Other") if kind else "Paid Other"


def _organic(kind: Kind | None, source: str, medium: str, campaign: str) -> Channel:
    # What the marketer says of the medium is believed before what is known of the source.
    if medium in _EMAIL or source in _EMAIL or kind is Kind.EMAIL:
        return "Email"
    if kind is Kind.SHOPPING or _SHOP_CAMPAIGN.fullmatch(campaign):
        return "Organic Shopping"
    if kind is Kind.SOCIAL or medium in _SOCIAL:
        return "Organic Social"
    if kind is Kind.VIDEO or "video" in medium:
        return "Organic Video"
    if kind is Kind.SEARCH or medium == "organic":
        return "Organic Search"
    if medium in ("referral", "app", "link") or (source and not medium):
        return "Referral"
    return _by_medium(source, medium)


def _by_medium(source: str, medium: str) -> Channel:
    if medium in _BY_MEDIUM:
        return _BY_MEDIUM[medium]
    if "sms" in (source, medium):
        return "SMS"
    if medium.endswith("push") or "mobile" in medium or "notification" in medium:
        return "Mobile Push"
    return "Mobile Push" if source == "firebase" else "Unassigned"


def _kind(source: str) -> Kind | None:
    if known := _NAMES.get(source.replace(" ", "-")):
        return known
    return referrers.kind_of_host(source) if "." in source else None
