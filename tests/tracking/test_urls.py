"""What a marketer stored comes back byte for byte; what a visitor brings is added, never obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.errors import InvalidEvent
from trackflow_core.tracking import urls

UTM = {"source": "google", "medium": "cpc", "campaign": "spring sale", "term": ""}


def test_codes_are_long_enough_unlike_each_other_and_easy_to_read() -> None:
    codes = {urls.new_code() for _ in range(2000)}
    assert len(codes) == 2000
    assert {len(code) for code in codes} == {7}
    assert not set("".join(codes)) & set("0O1lI")
    assert len(urls.new_code(12)) == 12


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/a%20b?x=1&x=2&empty=&flag#frag?not=query",
        "http://user@shop.example:8080/",
        "HTTPS://SHOP.EXAMPLE",
        "https://shop.example/?q=ünïcode",
        "https://[2001:db8::1]/",
    ],
)
def test_a_good_destination_is_returned_unchanged(url: str) -> None:
    assert urls.safe_destination(url) == url
    assert urls.build_destination(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//shop.example/",
        "/relative",
        "https://",
        "https://[broken/",
        "https://shop.example/\r\nSet-Cookie: a=b",
        "https://shop.example/\x7f",
        "http://not a host/",
        'http://=HYPERLINK("https://shop.example/")',
        'http://=hyperlink("x")',
        "http://a,b/",
        "",
    ],
)
def test_a_destination_that_a_redirect_must_not_lead_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidEvent):
        urls.safe_destination(url)


SHORT_URLS = ("https://go.example/r/", "http://127.0.0.1:8069/t/r/", "https://kö.example/r/")


@pytest.mark.parametrize(
    ("url", "short"),
    [
        ("https://go.example/r/spring", True),
        ("http://GO.Example./r/spring?a=b#c", True),
        ("https://go.example:443/r/spring", True),
        ("http://go.example:80/r/spring/m/12", True),
        ("https://user@go.example/r/spring", True),
        ("https://go.example//r/spring", True),
        ("https://go.example/x/../r/spring", True),
        ("https://go.example/%72/spring", True),
        ("https:\\\\go.example\\r\\spring", True),
        ("http://127.0.0.1:8069/t/r/spring", True),
        ("https://xn--k-1ga.example/r/spring", True),
        ("https://KÖ.example/r/spring", True),
        ("https://go.example/", False),
        ("https://go.example/r/", False),
        ("https://go.example/r", False),
        ("https://go.example/R/spring", False),
        ("https://go.example/rest/spring", False),
        ("https://go.example:8443/r/spring", False),
        ("https://shop.go.example/r/spring", False),
        ("https://go.example.org/r/spring", False),
        ("https://shop.example/?to=https://go.example/r/spring", False),
        ("http://127.0.0.1:8069/r/spring", False),
        ("https://[broken/r/spring", False),
        ("https://go.example:port/r/spring", False),
    ],
)
def test_our_own_short_urls_are_known(url: str, short: bool) -> None:
    assert urls.is_short_url(url, SHORT_URLS) is short


@pytest.mark.parametrize(
    ("stored", "utm", "incoming", "result"),
    [
        ("https://x.example/", {}, "gclid=a_b", "https://x.example/?gclid=a_b"),
        (
            "https://x.example/p?b=2&a=%20+&b=3&#top",
            {},
            "z=1&a=9&z=2",
            "https://x.example/p?b=2&a=%20+&b=3&z=1&z=2#top",
        ),
        (
            "https://x.example/?utm_source=mine",
            UTM,
            "utm_medium=theirs&UTM_Source=theirs",
            "https://x.example/?utm_source=mine&utm_medium=cpc&utm_campaign=spring+sale",
        ),
        ("https://x.example/#f", {}, "a=1", "https://x.example/?a=1#f"),
        ("https://x.example/?", {}, "a=1", "https://x.example/?a=1"),
        ("https://x.example/", {}, "a=%C3%BC&b=%2F", "https://x.example/?a=%C3%BC&b=%2F"),
        ("https://x.example/", {}, "&&a=1&&", "https://x.example/?a=1"),
        (
            "https://x.example/",
            {},
            f"a={'x' * 8192}&gclid=g&UTM_Term=t&fbclid={'y' * 2000}",
            "https://x.example/?gclid=g&UTM_Term=t",
        ),
        ("https://x.example/", {}, "utm_source=%00x&b=\0&c=1", "https://x.example/?c=1"),
        ("https://x.example/", {}, 'a="<\r\n>', "https://x.example/?a=%22%3C%0D%0A%3E"),
    ],
)
def test_collision_rule(stored: str, utm: dict[str, str], incoming: str, result: str) -> None:
    assert urls.build_destination(stored, utm, incoming) == result


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.text(alphabet="xyz%20+=/?", max_size=6))),
    st.text(alphabet='abcdefgh=&%+#\r\n"<>ü', max_size=60),
)
def test_the_stored_part_is_a_prefix_and_headers_stay_safe(
    stored: list[tuple[str, str]], incoming: str
) -> None:
    query = "&".join(f"{name}={value}" for name, value in stored)
    base = "https://x.example/p" + (f"?{query}" if query else "")
    result = urls.build_destination(base, {}, incoming)
    assert result.startswith(base)
    assert not any(ord(character) <= 0x20 for character in result)
    added = {pair for pair in urls.query_pairs(result)}
    assert {name for name, _ in urls.query_pairs(base)} <= {name for name, _ in added}


def test_utm_fields_are_read_as_people_write_them() -> None:
    url = (
        "https://x.example/?UTM_SOURCE=first&utm_source=News%20letter&utm_medium=+email+"
        "&utm_campaign={campaignid}&utm_term=%FF%00x&utm_content=" + "c" * 300 + "&utm_id=7"
    )
    found = urls.parse_utm(url)
    assert found == {
        "source": "News letter",
        "medium": "email",
        "term": "\ufffdx",
        "content": "c" * 255,
    }


def test_click_ids_are_kept_by_their_proper_names() -> None:
    url = "https://x.example/?GCLID=Cj0&scCid=s&fbclid=&li_fat_id=l&other=1#?msclkid=no"
    assert urls.parse_click_ids(url) == {"gclid": "Cj0", "ScCid": "s", "li_fat_id": "l"}


def test_a_query_keeps_its_bytes() -> None:
    assert urls.raw_query(b"a=%20b&gclid=X_-.~!") == "a=%20b&gclid=X_-.~!"
    assert urls.raw_query("q=ü x".encode()) == "q=%C3%BC%20x"


def test_a_location_is_ascii() -> None:
    plain = "https://shop.example/a?b=%zz"
    assert urls.header_safe(plain) == plain
    assert (
        urls.header_safe("https://bücher.example/ü b?q=ä")
        == "https://xn--bcher-kva.example/%C3%BC%20b?q=%C3%A4"
    )
    assert urls.header_safe("https://shop.example/a b") == "https://shop.example/a%20b"
    assert urls.header_safe("https://ü..example/") == "https://%C3%BC..example/"
