"""A configuration is declared once and validated in words."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from trackflow_core.errors import ConfigError
from trackflow_core.options import Option, configure, option, options_of, web_address


@dataclass(frozen=True)
class Shop:
    url: str = option("Address", "The shop's address.", check=web_address)
    token: str = option("Token", "A key that may read.", secret=True)
    days: int = option("Days", "How far back.", default=30)
    strict: bool = option("Strict", "Refuse more.", default=False)
    kind: str = option("Kind", "Which one.", default="a", choices=("a", "b"))


GIVEN = {"url": "https://shop.example", "token": "abc"}


def test_options_tell_what_a_form_needs() -> None:
    options = {item.name: item for item in options_of(Shop)}
    assert list(options) == ["url", "token", "days", "strict", "kind"]
    assert options["token"] == Option(
        "token", "Token", "A key that may read.", str, True, None, True
    )
    assert options["days"].default == 30 and not options["days"].required
    assert options["kind"].choices == ("a", "b")


def test_texts_become_what_is_declared() -> None:
    shop = configure(Shop, {**GIVEN, "days": "7", "strict": "yes", "kind": "b"})
    assert shop == Shop(url="https://shop.example", token="abc", days=7, strict=True, kind="b")
    assert "abc" not in repr(shop)
    assert configure(Shop, {**GIVEN, "days": "", "strict": None}) == configure(Shop, GIVEN)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "Address is missing: The shop's address. Token is missing"),
        ({**GIVEN, "url": "shop"}, "Address is 'shop': use an address such as"),
        ({**GIVEN, "url": "https://u:p@shop.example"}, "without a user"),
        ({**GIVEN, "url": "https://[bad"}, "Address"),
        ({**GIVEN, "days": "many"}, "Days is 'many': use a whole number."),
        ({**GIVEN, "days": True}, "Days"),
        ({**GIVEN, "strict": "maybe"}, "Strict is 'maybe': use yes or no."),
        ({**GIVEN, "kind": "c"}, "Kind is 'c': use one of a, b."),
        ({**GIVEN, "token": 5}, "Token: use a text."),
        ({**GIVEN, "colour": "red"}, "There is no option 'colour'; there are url, token"),
    ],
)
def test_what_is_wrong_is_said_in_words(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(Shop, values)
    assert says in str(caught.value)


def test_a_field_that_is_no_option_is_a_programmers_error() -> None:
    @dataclass(frozen=True)
    class Wrong:
        url: str = ""

    with pytest.raises(TypeError, match="url"):
        options_of(Wrong)
