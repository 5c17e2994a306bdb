"""Checks of a data set's arguments: each returns the problems of one value, and names its configuration key."""

import math
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral, Real

from ch12cli.errors import Problem

LARGEST_SEED = 2**32 - 1  # numpy.random.RandomState takes 32 bits
LARGEST_SIZE = 10_000_000  # points of a generated data set; two features take 160 MB
LARGEST_NOISE = 1e6  # standard deviation


def choice_problems(key: str, value: object, allowed: Sequence[str]) -> list[Problem]:
    """An empty list if value is one of `allowed`, else a problem with the most similar name."""
    if isinstance(value, str) and value in allowed:
        return []
    near = get_close_matches(str(value), allowed, n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    return [Problem(key, str(value), f"must be one of {', '.join(allowed)}", hint)]


def integer_problems(key: str, value: object, *, low: int, high: int) -> list[Problem]:
    """An empty list if value is a whole number from low to high, else a problem."""
    if is_integer(value) and low <= int(value) <= high:  # type: ignore[call-overload]
        return []
    return [Problem(key, str(value), f"must be a whole number from {low} to {high}")]


def number_problems(key: str, value: object, *, low: float, high: float) -> list[Problem]:
    """An empty list if value is a number from low to high, else a problem."""
    if is_number(value) and low <= float(value) <= high:  # type: ignore[arg-type]
        return []
    return [Problem(key, str(value), f"must be a number from {low:g} to {high:g}")]


def seed_problems(key: str, value: object) -> list[Problem]:
    """An empty list if value can seed numpy's generator, else a problem."""
    return integer_problems(key, value, low=0, high=LARGEST_SEED)


def is_integer(value: object) -> bool:
    """Whether value has the type of a whole number; True and False have not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether value is a finite number; True and False are not."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than any float
        return False
