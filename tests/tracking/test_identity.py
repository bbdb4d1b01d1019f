"""A visitor id is believed only with our signature, for its own use, and while it is fresh."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
