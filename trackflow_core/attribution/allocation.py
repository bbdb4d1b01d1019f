"""Splitting money without losing a cent."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from trackflow_core.errors import InvalidEvent

# ISO 4217: currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
    ),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}


def currency_digits(currency: str) -> int:
    """Decimal places of an ISO 4217 currency code: 2 for EUR, 0 for JPY, 3 for KWD."""
    return _DIGITS.get(currency.upper(), 2)


def to_minor_units(amount: Decimal | int | float | str, digits: int) -> int:
    """`amount` in major units as an integer of minor units, rounded half up.

    A float is read by its shortest decimal form, so 0.29 means 29 cents.

    Raises InvalidEvent when `amount` is not a finite number.
    """
    try:
        exact = Decimal(str(amount))
        return int(exact.scaleb(digits).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    except (ArithmeticError, ValueError) as error:
        raise InvalidEvent(
            f"{amount!r} is not an amount of money: send a number such as 250.00."
        ) from error


def from_minor_units(value: int, digits: int) -> Decimal:
    """`value` in minor units as a decimal of major units with exactly `digits` places."""
    return Decimal(value).scaleb(-digits)


def allocate(value: int, weights: Sequence[int]) -> list[int]:
    """Split `value` in proportion to `weights` by largest remainder; ties go to the earlier place.

    `value` may be negative or zero; a negative value is split as its positive and negated. The
    parts always sum to `value`. Source: Hamilton's method of apportionment.

    Raises ValueError when a weight is negative or all are zero.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("weights must be non-negative integers, not all zero")
    if value < 0:
        return [-part for part in allocate(-value, weights)]
    if total in weights:
        return [value if weight else 0 for weight in weights]
    shares = [value * weight for weight in weights]
    parts = [share // total for share in shares]
    left = value - sum(parts)
    if left:
        remainders = [share % total for share in shares]
        # The order of equal ones stays, also in reverse.
        largest = sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)
        for place in largest[:left]:
            parts[place] += 1
    return parts
