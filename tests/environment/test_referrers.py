"""Matomo's definitions become the lists that the channels read."""

from __future__ import annotations

from typing import Any

from tests.environment.referrers import search_engines, social_networks


def test_search_engines_keep_hosts_keywords_and_charsets() -> None:
    definitions: dict[Any, Any] = {
        1: [
            {
                "urls": ["www.one.example", "One.{}"],
                "params": ["q", r"/s\/([^\/]+)/"],
                "hiddenkeyword": ["/^$/", "/"],
                "charsets": ["gb2312"],
                "backlink": "search?q={k}",
            },
            {"urls": ["two.example/path/"], "params": ["p"]},
        ]
    }
    assert list(search_engines(definitions)) == [
        {
            "name": "1",
            "hosts": ["one.example", "one.{}"],
            "params": ["q", "/s/([^/]+)/"],
            "hidden": ["/^$/", "/"],
            "charsets": ["gb2312"],
        },
        {"name": "1", "hosts": ["two.example/path"], "params": ["p"]},
    ]


def test_social_networks_keep_names_and_hosts() -> None:
    assert list(social_networks({"Google%2B": ["plus.google.com"]})) == [
        {"name": "Google+", "hosts": ["plus.google.com"]}
    ]
