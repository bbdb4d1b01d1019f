"""Largest remainder in 64-bit integers, as an expression that every engine computes alike.

Engines disagree on the division of wide integers and on rounding, so nothing here needs more than
the remainder of two 64-bit integers and the division of two that go into each other.
"""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir

from trackflow_core.errors import InvalidEvent

# A quotient below this survives the division of doubles that engines make of `/`.
LARGEST_VALUE = 2**51
_BITS = 62


def one_if(condition: Any) -> Any:
    """1 where `condition` holds, else 0, also where it is null."""
    return ibis.ifelse(condition, 1, 0).cast("int64")


def quotient(dividend: Any, divisor: Any) -> ir.IntegerValue:
    """How often `divisor` goes into `dividend`, both not negative; below 2^51."""
    return ((dividend - dividend % divisor) / divisor).round().cast("int64")


def check_room(largest_total: int) -> int:
    """How many bits the weights of a journey leave for those of its value.

    Raises InvalidEvent when they leave none.
    """
    room = _BITS - largest_total.bit_length()
    if room < 2:
        raise InvalidEvent(
            "A journey has too many touches, or its weights and channel rules too many digits, to "
            "be split in 64 bits: use --engine core."
        )
    return room


def share(
    size: Any, weight: Any, total: Any, *, largest_weight: int, largest_total: int
) -> tuple[Any, Any]:
    """The whole part and the remainder of `size * weight / total`.

    By hand, digit by digit of the weight, because the product may have more than 64 bits. The
    digits are as long as `largest_total` leaves room for.

    Raises InvalidEvent when it leaves none.
    """
    room = check_room(largest_total)
    digits = -(-largest_weight.bit_length() // room)
    base = 2**room
    whole, left = quotient(size, total) * weight, size % total
    part: Any = ibis.literal(0, "int64")
    carry: Any = ibis.literal(0, "int64")
    for place in reversed(range(digits)):
        digit = weight if digits == 1 else quotient(weight % base ** (place + 1), base**place)
        step = carry * base + left * digit
        part, carry = part * base + quotient(step, total), step % total
    return whole + part, carry
