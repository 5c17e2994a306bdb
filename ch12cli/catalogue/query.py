"""Filters for runs: `test_accuracy>0.95 and not (optimizer.lr<0.1 or status=failed)`. Evaluates nothing as code."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from ch12cli.errors import InputError

TOKEN = re.compile(
    r"""\s*(?:(?P<sign>[()])|(?P<compare>==|!=|<=|>=|<|>|=|~)|(?P<quoted>'[^']*'|"[^"]*")|(?P<word>[^\s()=!<>~'"]+))"""
)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
DEEPEST = 50  # maximum nesting of parentheses
EXAMPLE = 'such as "test_accuracy>0.95 and optimizer.lr<0.1"'
WORDS = {"true": True, "false": False, "null": None, "none": None}

Values = Mapping[str, Any]
Condition = Callable[[Values], bool]


class Query:
    """A filter. comparisons: tuples of (name, sign, value)."""

    def __init__(self, text: str, *, option: str = "--filter") -> None:
        """Raises InputError if the text is not a valid filter. option: where it was given."""
        self.text, self.comparisons, self.option = text, list[tuple[str, str, str]](), option
        self._tokens, self._index = tokens_of(text, option=option), 0
        self._condition = self._any(0)
        if self._index < len(self._tokens):
            raise self._problem(f"`{self._tokens[self._index][1]}` is unexpected; join comparisons with and, or")

    def matches(self, values: Values) -> bool:
        return self._condition(values)

    def _any(self, depth: int) -> Condition:
        conditions = [self._all(depth)]
        while self._take("or"):
            conditions.append(self._all(depth))
        return conditions[0] if len(conditions) == 1 else lambda values: any(holds(values) for holds in conditions)

    def _all(self, depth: int) -> Condition:
        conditions = [self._one(depth)]
        while self._take("and"):
            conditions.append(self._one(depth))
        return conditions[0] if len(conditions) == 1 else lambda values: all(holds(values) for holds in conditions)

    def _one(self, depth: int) -> Condition:
        if depth > DEEPEST:
            raise self._problem("has too many parentheses inside each other")
        if self._take("not"):
            inner = self._one(depth + 1)
            return lambda values: not inner(values)
        if self._take("("):
            inner = self._any(depth + 1)
            if not self._take(")"):
                raise self._problem("a `(` is not closed")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        kind, name = self._next("a name")
        if kind != "word":
            raise self._problem(f"expected a name before `{name}`")
        kind, sign = self._next(f"a comparison after `{name}`")
        if kind != "compare":
            raise self._problem(f"expected a comparison (= != < <= > >= ~) after `{name}`, not `{sign}`")
        kind, text = self._next(f"a value after `{name}{sign}`")
        if kind not in ("word", "quoted"):
            raise self._problem(f"expected a value after `{name}{sign}`, not `{text}`")
        wanted = text[1:-1] if kind == "quoted" else text
        self.comparisons.append((name, sign, wanted))
        if sign == "~":
            return lambda values: name in values and wanted.lower() in str(values[name]).lower()
        return lambda values: name in values and holds(values[name], sign, wanted)

    def _next(self, expected: str) -> tuple[str, str]:
        if self._index == len(self._tokens):
            raise self._problem(f"ends where {expected} is expected")
        self._index += 1
        return self._tokens[self._index - 1]

    def _take(self, text: str) -> bool:
        token = self._tokens[self._index] if self._index < len(self._tokens) else ("", "")
        found = token[0] in ("word", "sign") and token[1].lower() == text
        self._index += found
        return found

    def _problem(self, what: str) -> InputError:
        return InputError(f"{self.option} {self.text!r}: {what}; {EXAMPLE}")


def tokens_of(text: str, *, option: str = "--filter") -> list[tuple[str, str]]:
    """Returns the tokens of a filter as (kind, text). Raises InputError if part of the text is not a token."""
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise InputError(f"{option} {text!r}: cannot be read from `{text[position:][:20].strip()}` on; {EXAMPLE}")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


def holds(value: Any, sign: str, wanted: str) -> bool:
    """Returns whether a comparison holds. Compares as numbers if both are numbers, else as text.

    Ordering a number against a text is False.
    """
    if isinstance(value, bool) or value is None:
        same = value is WORDS.get(wanted.lower(), wanted)
        return same if sign in ("=", "==") else not same if sign == "!=" else False
    number = as_number(wanted)
    left = value if isinstance(value, int | float) else as_number(str(value))
    if left is not None and number is not None:
        return COMPARE[sign](left, number)
    if sign in ("=", "==", "!="):
        return COMPARE[sign](str(value), wanted)
    return left is None and number is None and COMPARE[sign](str(value), wanted)


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def sort_key(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then text, then missing values."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return (2, 0.0, "")
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))
