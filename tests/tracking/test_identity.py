"""A visitor id is believed only with our signature, for its own use, and while it is fresh."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.testing.facts import ANNA, START
from trackflow_core.tracking import identity

KEYS = ["old-key", "new-key"]


def test_ids_are_random_and_well_formed() -> None:
    ids = {identity.new_visitor_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(visitor) == 32 and int(visitor, 16) >= 0 for visitor in ids)


def test_a_cookie_round_trips_and_outlives_a_key_rotation() -> None:
    assert identity.read_cookie(identity.sign_cookie(ANNA, KEYS), KEYS) == ANNA
    assert identity.read_cookie(identity.sign_cookie(ANNA, ["old-key"]), KEYS) == ANNA
    assert identity.read_cookie(identity.sign_cookie(ANNA, ["gone"]), KEYS) is None


def test_a_token_round_trips_until_it_expires() -> None:
    token = identity.issue_token(ANNA, KEYS, START)
    day = timedelta(days=1)
    assert identity.read_token(token, KEYS, START + day) == ANNA
    assert identity.read_token(token, KEYS, START - timedelta(minutes=4)) == ANNA
    for moment in (START + day + timedelta(seconds=1), START - timedelta(minutes=6)):
        with pytest.raises(InvalidEvent, match="expired"):
            identity.read_token(token, KEYS, moment)


def test_cookie_and_token_never_stand_in_for_each_other() -> None:
    cookie, token = identity.sign_cookie(ANNA, KEYS), identity.issue_token(ANNA, KEYS, START)
    assert identity.read_cookie(token, KEYS) is None
    with pytest.raises(InvalidEvent, match="not signed"):
        identity.read_token(cookie, KEYS, START)


@given(st.text(max_size=300))
def test_any_other_text_is_no_cookie_and_no_token(text: str) -> None:
    assert identity.read_cookie(text, KEYS) is None
    with pytest.raises(InvalidEvent) as refusal:
        identity.read_token(text, KEYS, START)
    assert len(text) < 12 or text not in str(refusal.value)


def test_a_changed_character_breaks_the_signature() -> None:
    cookie = identity.sign_cookie(ANNA, KEYS)
    assert identity.read_cookie("b" + cookie[1:], KEYS) is None
    assert identity.read_cookie(None, KEYS) is None


def test_what_is_signed_must_still_be_a_visitor_id() -> None:
    odd = identity.sign_cookie("not-an-id", KEYS)
    assert identity.read_cookie(odd, KEYS) is None
    undated = identity._signer(KEYS, "token").sign(f"{ANNA}-soon").decode()
    with pytest.raises(InvalidEvent, match="malformed"):
        identity.read_token(undated, KEYS, START)


def test_without_a_key_nothing_is_signed() -> None:
    with pytest.raises(ConfigError, match="signing key"):
        identity.sign_cookie(ANNA, [])


OWN = ["shop.example", "Docs.Example", "news.shop.example"]
NOW = START


def test_a_crossing_leads_from_one_own_domain_to_another() -> None:
    url = identity.cross("https://docs.example/a%20b?x=1#top", ANNA, KEYS, NOW, OWN)
    assert url.startswith(f"https://docs.example/a%20b?x=1&{identity.CROSSING}={ANNA}-")
    assert url.endswith("#top")
    assert identity.read_crossing(url, KEYS, NOW + timedelta(minutes=2), OWN) == ANNA
    assert identity.read_crossing(url, ["old-key"], NOW, OWN) is None
    assert identity.read_crossing(url, KEYS, NOW + timedelta(minutes=3), OWN) is None
    # Once crossed, a URL is not signed again.
    assert identity.cross(url, "b" * 32, KEYS, NOW, OWN) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/",
        "https://shop.example.evil.example/",
        "https://notshop.example/",
        "http://shop.example/",
        "https://[broken",
        "//shop.example/",
        "",
    ],
)
def test_no_id_leaves_our_domains(url: str) -> None:
    assert identity.cross(url, ANNA, KEYS, NOW, OWN) == url
    assert identity.read_crossing(url, KEYS, NOW, OWN) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.example/a%20b?x=1#top",
        "https://docs.example/",
        "https://docs.example/#top",
        "https://docs.example/?a&b=%26",
    ],
)
def test_a_crossing_is_taken_out_again(url: str) -> None:
    crossed = identity.cross(url, ANNA, KEYS, NOW, OWN)
    assert crossed != url
    assert identity.without_visitor(crossed) == url
    assert identity.without_visitor(url) == url


def test_a_token_in_the_address_is_taken_out() -> None:
    token = identity.issue_token(ANNA, KEYS, NOW)
    sent = f"https://shop.example/thanks?a=1&{identity.FORM_FIELD}={token}#top"
    assert identity.without_visitor(sent) == "https://shop.example/thanks?a=1#top"


def test_a_crossing_is_believed_where_it_leads_only() -> None:
    url = identity.cross("https://www.shop.example/", ANNA, KEYS, NOW, OWN)
    assert identity.read_crossing(url, KEYS, NOW, OWN) == ANNA
    elsewhere = url.replace("www.shop.example", "docs.example")
    assert identity.read_crossing(elsewhere, KEYS, NOW, OWN) is None
    inside = url.replace("www.shop.example", "news.shop.example")
    assert identity.read_crossing(inside, KEYS, NOW, OWN) is None
    token = url.partition(f"{identity.CROSSING}=")[2]
    with pytest.raises(InvalidEvent, match="not signed"):
        identity.read_token(token, KEYS, NOW)
    plain = f"https://shop.example/?{identity.CROSSING}={ANNA}"
    assert identity.read_crossing(plain, KEYS, NOW, OWN) is None
    assert identity.read_crossing("https://shop.example/?x=1", KEYS, NOW, OWN) is None


def test_a_lead_is_matched_by_token_then_cookie_then_email() -> None:
    token = identity.issue_token(ANNA, KEYS, NOW)
    cookie = identity.sign_cookie("b" * 32, KEYS)
    email = {"c" * 32}
    proofs = {"token": token, "cookie": cookie, "email_visitor_ids": email}

    def match(**given: object) -> identity.Match:
        return identity.match(keys=KEYS, now=NOW, **given)

    assert match(**proofs) == identity.Match(frozenset({ANNA}), "token")
    del proofs["token"]
    assert match(**proofs) == identity.Match(frozenset({"b" * 32}), "cookie")
    forged = match(token="forged", **proofs)
    assert (forged.by, len(forged.problems)) == ("cookie", 1)
    assert "token: The visitor token is not signed" in forged.problems[0]
    del proofs["cookie"]
    assert match(**proofs) == identity.Match(frozenset(email), "email")
    unknown = match(cookie="forged", **proofs)
    assert (unknown.by, unknown.problems) == (
        "email",
        ("cookie: It is not signed by this installation.",),
    )
    assert match() == identity.Match()


def test_a_link_in_a_mail_proves_its_address_and_does_not_show_it() -> None:
    proof = identity.email_proof(" Anna@Example.org ", KEYS)
    assert "anna" not in proof.lower()
    assert identity.proves_email(proof, "anna@example.org", KEYS)
    assert identity.proves_email(proof, "anna@example.org", [*KEYS, "newest"])
    assert not identity.proves_email(proof, "ben@example.org", KEYS)
    assert not identity.proves_email(proof, "anna@example.org", ["other"])
    assert not identity.proves_email("forged", "anna@example.org", KEYS)
    assert not identity.proves_email("ü", "anna@example.org", KEYS)
    assert not identity.proves_email("a" * 300, "anna@example.org", KEYS)
    with pytest.raises(ConfigError, match="signing key"):
        identity.email_proof("anna@example.org", [])


def test_signatures_stay_those_of_earlier_versions() -> None:
    """Cookies that are out there must go on being recognised."""
    plain = Signer(
        KEYS[-1], salt="trackflow.visitor.cookie", key_derivation="hmac", digest_method=sha256
    )
    assert identity.sign_cookie("a" * 32, KEYS) == plain.sign("a" * 32).decode()
