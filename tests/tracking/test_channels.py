"""Channels by Google Analytics' definitions, click ids that prove something, and returns."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.tracking.channels import Channel, channel_group, classify, is_return


@pytest.mark.parametrize(
    ("source", "medium", "campaign", "channel"),
    [
        ("", "", "", "Direct"),
        ("(direct)", "(none)", "", "Direct"),
        ("", "", "spring", "Unassigned"),
        ("google", "cpc", "Spring Cross-network", "Cross-network"),
        ("amazon", "cpc", "", "Paid Shopping"),
        ("google", "cpc", "eu-shopping", "Paid Shopping"),
        ("google", "cpc", "workshop", "Paid Search"),
        ("google", "cpc", "", "Paid Search"),
        ("bing", "ppc", "", "Paid Search"),
        ("google", "cpm", "", "Paid Search"),
        ("fb", "paid_social", "", "Paid Social"),
        ("l.instagram.com", "retargeting", "", "Paid Social"),
        ("youtube", "cpc", "", "Paid Video"),
        ("criteo", "cpm", "", "Display"),
        ("partner", "Banner", "", "Display"),
        ("partner", "cpa", "", "Paid Other"),
        ("mail.google.com", "cpc", "", "Paid Other"),
        ("Google Ads", "google adwords", "", "Paid Search"),
        ("ebay", "", "", "Organic Shopping"),
        ("blog", "post", "spring-shop", "Organic Shopping"),
        ("linkedin.com", "referral", "", "Organic Social"),
        ("intranet", "Social Media", "", "Organic Social"),
        ("vimeo", "", "", "Organic Video"),
        ("blog", "video-post", "", "Organic Video"),
        ("duckduckgo", "organic", "", "Organic Search"),
        ("intranet", "organic", "", "Organic Search"),
        ("blog", "link", "", "Referral"),
        ("blog", "", "", "Referral"),
        ("facebook", "e-mail", "", "Email"),
        ("Newsletter", "", "", "Email"),
        ("mail.google.com", "referral", "", "Email"),
        ("partner", "affiliate", "", "Affiliates"),
        ("spotify", "audio", "", "Audio"),
        ("campaign", "SMS", "", "SMS"),
        ("sms", "text", "", "SMS"),
        ("app", "web push", "", "Mobile Push"),
        ("app", "notification", "", "Mobile Push"),
        ("firebase", "x", "", "Mobile Push"),
        ("stand", "qr", "", "Offline"),
        ("chatgpt.com", "", "", "AI Assistant"),
        ("perplexity", "referral", "", "AI Assistant"),
        ("intranet", "AI assistant", "", "AI Assistant"),
        ("partner", "odd", "", "Unassigned"),
    ],
)
def test_channels(source: str, medium: str, campaign: str, channel: str) -> None:
    assert channel_group(source, medium, campaign) == channel


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_every_combination_has_one_of_the_channels(source: str, medium: str, campaign: str) -> None:
    assert channel_group(source, medium, campaign) in get_args(Channel)


@pytest.mark.parametrize(
    ("query", "referrer", "expected"),
    [
        ("gclid=1", "", ("google", "cpc", "Paid Search")),
        ("GCLID=1", "https://www.google.de/", ("google", "cpc", "Paid Search")),
        ("gclid=1", "https://www.youtube.com/", ("youtube", "cpc", "Paid Video")),
        ("gclid=1", "https://ad.doubleclick.net/x", ("google", "display", "Display")),
        # Somebody shared the address they had come to by an advertisement.
        ("gclid=1", "https://www.facebook.com/", ("facebook", "social", "Organic Social")),
        ("gclid=1", "https://www.paypal.com/", ("google", "cpc", "Paid Search")),
        ("utm_source=google&gclid=1", "", ("google", "cpc", "Paid Search")),
        ("utm_source=newsletter&gclid=1", "", ("newsletter", "", "Email")),
        (
            "utm_source=google&utm_medium=organic&gclid=1",
            "",
            ("google", "organic", "Organic Search"),
        ),
        ("dclid=1", "", ("google", "display", "Display")),
        ("msclkid=1", "https://duckduckgo.com/", ("duckduckgo", "cpc", "Paid Search")),
        ("ScCid=1", "", ("snapchat", "paid", "Paid Social")),
        ("gclid=", "", ("", "", "Direct")),
        ("fbclid=1", "", ("", "", "Direct")),
        ("fbclid=1&gclid=1", "", ("google", "cpc", "Paid Search")),
        ("fbclid=1", "https://l.instagram.com/", ("instagram", "social", "Organic Social")),
        ("epik=1", "https://www.pinterest.com/", ("pinterest", "social", "Organic Social")),
    ],
)
def test_click_ids_count_where_they_prove_something(
    query: str, referrer: str, expected: tuple[str, str, str]
) -> None:
    found = classify(f"https://x.example/?{query}", referrer)
    assert (found.source, found.medium, found.channel) == expected


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("https://mail.yahoo.com/d/folders/1", ("yahoo-mail", "email", "Email")),
        ("https://www.ebay.de/itm/1", ("ebay", "referral", "Organic Shopping")),
        ("https://vimeo.com/1", ("vimeo", "referral", "Organic Video")),
        ("https://chatgpt.com/", ("chatgpt.com", "ai-assistant", "AI Assistant")),
        ("https://partner.example/", ("partner.example", "referral", "Referral")),
        ("https://checkout.stripe.com/x", ("", "", "Direct")),
        ("https://shop.example/cart", ("", "", "Direct")),
        ("https://blog.shop.example/post", ("", "", "Direct")),
        ("https://notshop.example/", ("notshop.example", "referral", "Referral")),
    ],
)
def test_referrers_become_sources(referrer: str, expected: tuple[str, str, str]) -> None:
    found = classify("https://shop.example/", referrer, own_hosts={"www.shop.example"})
    assert (found.source, found.medium, found.channel) == expected


def test_the_keyword_becomes_the_term_unless_a_parameter_names_one() -> None:
    searched = "https://www.bing.com/search?q=+red+shoes"
    assert classify("https://x.example/", searched).term == "red shoes"
    assert classify("https://x.example/?utm_term=boots", searched).term == "boots"


@pytest.mark.parametrize(
    ("referrer", "returns"),
    [
        ("https://www.paypal.com/checkoutnow", True),
        ("https://shop.app/checkouts/1", True),
        ("https://shop.app/search", False),
        ("https://pay.example/", False),
        ("https://SHOP.example/", True),
        ("", False),
    ],
)
def test_buyers_who_come_back_from_paying_make_no_new_touch(referrer: str, returns: bool) -> None:
    assert is_return(referrer, {"shop.example"}) is returns
