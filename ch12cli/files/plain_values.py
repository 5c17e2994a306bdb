"""Values that were read from a file or typed by a user: type tests, and the value that a text stands for."""

import math
from numbers import Integral, Real
from typing import Any, TypeGuard

MOST_DIGITS = 18  # of a whole number
LITERALS: dict[str, Any] = {"true": True, "false": False, "null": None}  # as overrides have them, in any case


def whole_number_in(text: str) -> int | None:
    """Returns the whole number from 0 that a text stands for; None if it does not, or has more than 18 digits."""
    # Python takes other digits than ASCII's, such as ٣, and int() not all of those
    return int(text) if text.isdigit() and text.isascii() and len(text) <= MOST_DIGITS else None


def number_in_text(text: str) -> float | None:
    """Returns the number that a text stands for, a whole one as int; None if it stands for none."""
    whole = whole_number_in(text)
    if whole is not None:
        return whole
    try:
        return float(text)
    except ValueError:
        return None


def is_integer(value: Any) -> TypeGuard[int]:
    """Returns whether a value has an integer type other than bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite_number(value: Any) -> bool:
    """Returns whether a value is a finite real number other than a bool."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than any float
        return False


def typed_value(text: str) -> Any:
    """Returns the value of an override as int, float, bool, None or str."""
    if not text:
        return None
    if text.lower() in LITERALS:
        return LITERALS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else text
        except ValueError:
            continue
    return text
