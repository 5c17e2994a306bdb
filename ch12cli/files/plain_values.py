"""Type tests for numbers that were read from a file or typed by a user."""

import math
from numbers import Integral, Real
from typing import Any, TypeGuard


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
