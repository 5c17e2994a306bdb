"""Checks of a data set's arguments: each returns the problems of one value, and names its configuration key."""

from collections.abc import Sequence
from difflib import get_close_matches

from ch12cli.errors import Problem
from ch12cli.files.plain_values import is_finite_number, is_integer
from ch12cli.rules import LARGEST_SEED


def choice_problems(key: str, value: object, allowed: Sequence[str]) -> list[Problem]:
    """An empty list if value is one of `allowed`, else a problem with the most similar name."""
    if isinstance(value, str) and value in allowed:
        return []
    near = get_close_matches(str(value), allowed, n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    return [Problem(key, str(value), f"must be one of {', '.join(allowed)}", hint)]


def integer_problems(key: str, value: object, *, low: int, high: int) -> list[Problem]:
    """An empty list if value is a whole number from low to high, else a problem."""
    if is_integer(value) and low <= int(value) <= high:
        return []
    return [Problem(key, str(value), f"must be a whole number from {low} to {high}")]


def number_problems(key: str, value: object, *, low: float, high: float) -> list[Problem]:
    """An empty list if value is a number from low to high, else a problem."""
    if is_finite_number(value) and low <= float(value) <= high:  # type: ignore[arg-type]
        return []
    return [Problem(key, str(value), f"must be a number from {low:g} to {high:g}")]


def seed_problems(key: str, value: object) -> list[Problem]:
    """An empty list if value can seed numpy's generator, else a problem."""
    return integer_problems(key, value, low=0, high=LARGEST_SEED)
