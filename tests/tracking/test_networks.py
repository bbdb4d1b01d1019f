"""One's own networks."""

from __future__ import annotations

import pytest

from trackflow_core.errors import ConfigError
from trackflow_core.tracking.networks import contains, parse

OFFICE = (parse("192.0.2.0/24"), parse(" 2001:db8:7::/48 "), parse("198.51.100.7"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.1", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("::ffff:192.0.2.9", True),
        ("2001:db8:7:1::5", True),
        ("2001:db8:8::5", False),
        ("fe80::1%eth0", False),
        (" 192.0.2.4 ", True),
        ("", False),
        ("not an address", False),
    ],
)
def test_an_address_is_in_a_network_or_not(address: str, expected: bool) -> None:
    assert contains(OFFICE, address) is expected


@pytest.mark.parametrize("text", ["", "office", "192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.0/24"):
        parse(text)
