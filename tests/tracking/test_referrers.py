"""Referrers: engines and their keywords, look-alikes, and the lists themselves."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.tracking import referrers
from trackflow_core.tracking.referrers import Kind, kind_of_host, look_up


@pytest.mark.parametrize(
    ("url", "kind", "source", "term"),
    [
        # Browsers mostly tell the origin only.
        ("https://www.google.com/", Kind.SEARCH, "google", ""),
        ("https://www.google.co.uk/", Kind.SEARCH, "google", ""),
        ("https://www.google.com.au", Kind.SEARCH, "google", ""),
        ("https://cn.bing.com/", Kind.SEARCH, "bing", ""),
        ("https://www.ecosia.org/", Kind.SEARCH, "ecosia", ""),
        ("https://r.search.yahoo.com/x", Kind.SEARCH, "yahoo", ""),
        ("https://s3-us3.ixquick.com/do/search", Kind.SEARCH, "ixquick", ""),
        ("https://www.baidu.com/link?url=x", Kind.SEARCH, "baidu", ""),
        ("https://suche.web.de/", Kind.SEARCH, "web.de", ""),
        ("https://search.zonealarm.com/", Kind.SEARCH, "google", ""),
        ("android-app://com.google.android.googlequicksearchbox/", Kind.SEARCH, "google", ""),
        # Some still tell what was searched for.
        ("https://www.bing.com/search?q=red+shoes", Kind.SEARCH, "bing", "red shoes"),
        ("https://www.bing.com/images/search?q=cat", Kind.SEARCH, "bing", "cat"),
        ("https://yandex.ru/search/?text=%D0%BA%D0%BE%D1%82", Kind.SEARCH, "yandex", "кот"),
        ("http://1.cz/s/ko%E8ka/", Kind.SEARCH, "1.cz", "kočka"),
        ("https://www.bing.com/search?q=%FF%FE", Kind.SEARCH, "bing", "\ufffd\ufffd"),
        ("https://www.google.com/url?q=https://x.example/", Kind.SEARCH, "google", ""),
        # Look-alikes and other services of the same company.
        ("https://notgoogle.com/", Kind.OTHER, "notgoogle.com", ""),
        ("https://google.com.evil.example/", Kind.OTHER, "google.com.evil.example", ""),
        ("https://google.zip/", Kind.OTHER, "google.zip", ""),
        ("https://docs.google.com/document/d/1", Kind.OTHER, "docs.google.com", ""),
        ("https://news.yahoo.com/", Kind.OTHER, "news.yahoo.com", ""),
        ("https://gemini.google.com/app", Kind.ASSISTANT, "gemini.google.com", ""),
        ("https://x.com/i/grok", Kind.ASSISTANT, "x.com", ""),
        ("https://x.com/someone", Kind.SOCIAL, "twitter", ""),
        # A portal that Matomo lists because one can also search there.
        ("https://www.cnn.com/", Kind.OTHER, "cnn.com", ""),
        ("https://www.cnn.com/search?query=cats", Kind.SEARCH, "google", "cats"),
        ("https://t.co/abc", Kind.SOCIAL, "twitter", ""),
        ("https://lm.facebook.com/l.php?u=x", Kind.SOCIAL, "facebook", ""),
        ("https://old.reddit.com/r/x", Kind.SOCIAL, "reddit", ""),
        ("https://news.ycombinator.com/", Kind.SOCIAL, "hacker-news", ""),
        ("https://m.youtube.com/watch", Kind.VIDEO, "youtube", ""),
        ("https://www.amazon.co.uk/dp/1", Kind.SHOPPING, "amazon", ""),
        ("https://www.google.de/shopping/x", Kind.SHOPPING, "google", ""),
        ("https://mail.google.com/mail/u/0/?q=x", Kind.EMAIL, "gmail", ""),
        ("https://webmail1m.orange.fr/webmail/x", Kind.EMAIL, "orange-webmail", ""),
        ("https://webmail.firma.example/", Kind.EMAIL, "webmail.firma.example", ""),
        ("https://tpc.googlesyndication.com/x", Kind.PAID, "google", ""),
        ("https://checkout.stripe.com/pay", Kind.PAYMENT, "stripe", ""),
        ("https://partner.example:8443/a?b#c", Kind.OTHER, "partner.example", ""),
        ("https://localhost/", Kind.OTHER, "localhost", ""),
    ],
)
def test_places_and_keywords(url: str, kind: Kind, source: str, term: str) -> None:
    found = look_up(url)
    assert found is not None
    assert (found.kind, found.source, found.term) == (kind, source, term)


@pytest.mark.parametrize("url", ["", "about:blank", "https://[broken", "/path", "https:///x"])
def test_what_names_no_host_is_no_referrer(url: str) -> None:
    assert look_up(url) is None


def test_names_are_as_people_know_them() -> None:
    names = {
        "http://it.images.search.yahoo.com/images/view;_x?p=Earth+Magic": "Yahoo! Images",
        "https://suche.1und1.de": "1und1",
        "https://email.ionos.co.uk": "Ionos",
        "https://claude.ai": "Claude.ai",
        "https://go.bsky.app/redirect?u=x": "Bluesky",
    }
    assert {url: found.name for url in names if (found := look_up(url))} == names


def test_hosts_alone_have_a_kind_too() -> None:
    assert kind_of_host("www.Google.co.uk") is Kind.SEARCH
    assert kind_of_host("chatgpt.com") is Kind.ASSISTANT
    assert kind_of_host("partner.example") is None


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_can_be_a_referrer(url: str) -> None:
    for text in (url, f"https://{url}", f"https://www.google.com/{url}"):
        found = look_up(text)
        assert found is None or (found.host and found.medium)


@settings(deadline=None)
@given(st.from_regex(r"[a-z]{1,12}", fullmatch=True))
def test_a_longer_name_is_another_company(prefix: str) -> None:
    found = look_up(f"https://{prefix}-facebook.com/")
    assert found is not None and found.kind is Kind.OTHER


def test_every_listed_place_is_found_by_its_own_hosts() -> None:
    for kind, entry in referrers._entries():
        for address in entry["hosts"]:
            host, slash, path = address.replace("{}", "de").partition("/")
            places = [place for _, place in referrers._places_of(host.split("."), slash + path)]
            assert any(place.name == entry["name"] for place in places), (kind, address)


def test_a_host_of_a_thousand_labels_keeps_nobody_busy() -> None:
    began = time.perf_counter()
    found = look_up("https://" + "aa." * 600 + "google.com/search?q=x")
    assert found is not None and (found.kind, found.term) == (Kind.SEARCH, "x")
    assert time.perf_counter() - began < 0.5
