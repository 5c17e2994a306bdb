"""Rules that a value must obey, each of which can say what it wants."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ch12cli.files.plain_values import is_finite_number, is_integer


class Rule(Protocol):
    """What a value must be; `str(rule)` completes the sentence "must be …"."""

    def allows(self, value: Any) -> bool: ...

    def __str__(self) -> str: ...


LARGEST = 10**9  # of a whole number without a bound of its own: what counts epochs or rows fits in memory and in int64


@dataclass(frozen=True)
class IntegerRule:
    """A whole number between low and high, both included; high None: up to LARGEST, which goes without saying."""

    low: int = 0
    high: int | None = None

    def allows(self, value: Any) -> bool:
        return is_integer(value) and self.low <= value <= (LARGEST if self.high is None else self.high)

    def __str__(self) -> str:
        return f"a whole number from {self.low}" + ("" if self.high is None else f" to {self.high}")


@dataclass(frozen=True)
class Odd:
    """An odd whole number from 1 to high."""

    high: int

    def allows(self, value: Any) -> bool:
        return is_integer(value) and 1 <= value <= self.high and value % 2 == 1

    def __str__(self) -> str:
        return f"an odd number from 1 to {self.high}"


@dataclass(frozen=True)
class Number:
    """A finite number: at least low or greater than above, at most high or less than below."""

    low: float | None = None
    above: float | None = None
    high: float | None = None
    below: float | None = None

    def allows(self, value: Any) -> bool:
        return (
            is_finite_number(value)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (
                ("at least", self.low),
                ("greater than", self.above),
                ("at most", self.high),
                ("less than", self.below),
            )
            if bound is not None
        ]
        return " ".join(["a number", " and ".join(bounds)]).strip()


@dataclass(frozen=True)
class Size:
    """A part of the rows: a fraction in [0, 1), or a whole number of rows."""

    def allows(self, value: Any) -> bool:
        return (is_integer(value) and value >= 0) or (is_finite_number(value) and 0 <= value < 1)

    def __str__(self) -> str:
        return "a fraction from 0 to less than 1, or a whole number of rows"


@dataclass(frozen=True)
class Truth:
    def allows(self, value: Any) -> bool:
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Text:
    def allows(self, value: Any) -> bool:
        return isinstance(value, str)

    def __str__(self) -> str:
        return "text"


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words

    def __str__(self) -> str:
        return "one of " + ", ".join(self.words)


@dataclass(frozen=True)
class PathRule:
    """A path."""

    what: str

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and bool(value)

    def __str__(self) -> str:
        return f"the path of {self.what}"


@dataclass(frozen=True)
class Names:
    """A list of names that the user has given things, or one of some words."""

    words: tuple[str, ...] = ()

    def allows(self, value: Any) -> bool:
        return value in self.words or (isinstance(value, list) and all(isinstance(name, str) for name in value))

    def __str__(self) -> str:
        return ", ".join([*self.words, "or " * bool(self.words) + "a list of names, as [a,b]"])


@dataclass(frozen=True)
class ItemsRule:
    """A list of whatever."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, list)

    def __str__(self) -> str:
        return "a list, as [1,2]"


@dataclass(frozen=True)
class Some:
    """One of some words, or a list of them."""

    words: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        values = value if isinstance(value, list) else [value]
        return bool(values) and all(isinstance(each, str) and each in self.words for each in values)

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}, or a list of them, as [{','.join(self.words[-2:])}]"


@dataclass(frozen=True)
class Device:
    """A device as torch writes it, or auto."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None

    def __str__(self) -> str:
        return "auto, cpu, mps, cuda or cuda:N"


@dataclass(frozen=True)
class HalvingRule:
    """null, or {metric, min_epochs, factor}: what is compared, from which epoch on, and the share that stays."""

    metrics: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return value is None or (
            isinstance(value, dict)
            and set(value) == {"metric", "min_epochs", "factor"}
            and value["metric"] in self.metrics
            and is_integer(value["min_epochs"])
            and value["min_epochs"] >= 1
            and is_integer(value["factor"])
            and value["factor"] >= 2
        )

    def __str__(self) -> str:
        return (
            "null, or {metric: valid_loss, min_epochs: 5, factor: 3} "
            f"(a metric of {', '.join(self.metrics)}; whole numbers, factor from 2)"
        )


@dataclass(frozen=True)
class Pair:
    """A list of two values that each obey one rule."""

    each: Rule

    def allows(self, value: Any) -> bool:
        return isinstance(value, Sequence) and len(value) == 2 and all(map(self.each.allows, value))

    def __str__(self) -> str:
        return f"a list of two, each {self.each}"


@dataclass(frozen=True)
class Or:
    """A word (or null) that stands for something by itself, or else the rule."""

    word: str | None
    rule: Rule

    def allows(self, value: Any) -> bool:
        return (value is None if self.word is None else value == self.word) or self.rule.allows(value)

    def __str__(self) -> str:
        return f"{'null' if self.word is None else self.word}, or {self.rule}"


def describe_choices(rule: Rule | None) -> tuple[str, ...]:
    """The words that a rule allows, for completion and suggestions."""
    match rule:
        case OneOf(words) | Some(words) | Names(words):
            return words
        case Truth():
            return ("true", "false")
        case Device():
            return ("auto", "cpu", "cuda", "mps")
        case Or(word, inner):
            return ("null" if word is None else word, *describe_choices(inner))
    return ()
