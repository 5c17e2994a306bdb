"""Rules for values. Each rule checks a value and describes what it allows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ch12cli.files.plain_values import is_finite_number, is_integer


class Rule(Protocol):
    """A condition on a value; `str(rule)` completes the sentence "must be …".

    An example in it is quoted for a shell, with KEY for the name of the key.
    """

    def allows(self, value: Any) -> bool: ...

    def __str__(self) -> str: ...


LARGEST_SEED = 2**32 - 1  # generators of torch (CPU) and numpy use 32 bits, so a larger seed would repeat a smaller one
LARGEST_SIZE = 10**7  # points of a generated data set; two features take 160 MB
LARGEST_NOISE = 1e6  # standard deviation
LARGEST_SIDE = 512  # pixels of an image
MOST_TRIALS = 10**6  # of a search
LARGEST = 10**9  # default upper bound of an integer, so that counts of epochs or rows fit in memory and int64


@dataclass(frozen=True)
class IntegerRule:
    """An integer from low to high, inclusive. If high is None, the bound is LARGEST and is omitted from the text."""

    low: int = 0
    high: int | None = None

    def allows(self, value: Any) -> bool:
        return is_integer(value) and self.low <= value <= (LARGEST if self.high is None else self.high)

    def __str__(self) -> str:
        return f"a whole number from {self.low}" + ("" if self.high is None else f" to {self.high}")


@dataclass(frozen=True)
class Odd:
    """An odd integer from 1 to high, inclusive."""

    high: int

    def allows(self, value: Any) -> bool:
        return is_integer(value) and 1 <= value <= self.high and value % 2 == 1

    def __str__(self) -> str:
        return f"an odd number from 1 to {self.high}"


@dataclass(frozen=True)
class Number:
    """A finite number: at least low, greater than above, at most high, and less than below, where these are given."""

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
    """The size of a subset of the rows: a fraction in [0, 1), or a number of rows."""

    def allows(self, value: Any) -> bool:
        return (is_integer(value) and value >= 0) or (is_finite_number(value) and 0 <= value < 1)

    def __str__(self) -> str:
        return "a fraction from 0 to less than 1, or a whole number of rows"


MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(i?)B?", re.IGNORECASE)


def size_in_bytes(value: Any) -> int | None:
    """The bytes that a whole number or a text such as 500MB, 2GB or 1.5GiB stands for; None if it is no such value."""
    found = MEMORY.fullmatch(str(value)) if isinstance(value, str) or is_integer(value) else None
    if found is None:
        return None
    size = float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " ")
    return int(size) if 1 <= size < 2**60 else None


@dataclass(frozen=True)
class MemoryRule:
    """An amount of memory, or auto."""

    def allows(self, value: Any) -> bool:
        return value == "auto" or size_in_bytes(value) is not None

    def __str__(self) -> str:
        return "auto, or a size greater than 0, such as 500MB or 2GB"


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
    """One of the strings in `words`."""

    words: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words

    def __str__(self) -> str:
        return "one of " + ", ".join(self.words)


@dataclass(frozen=True)
class PathRule:
    """A path, given as a non-empty string. what: the file or folder it names, for the text."""

    what: str

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and bool(value)

    def __str__(self) -> str:
        return f"the path of {self.what}"


@dataclass(frozen=True)
class Names:
    """A list of arbitrary names, or one of the strings in `words`."""

    words: tuple[str, ...] = ()

    def allows(self, value: Any) -> bool:
        return value in self.words or (isinstance(value, list) and all(isinstance(name, str) for name in value))

    def __str__(self) -> str:
        return ", ".join([*self.words, "or " * bool(self.words) + "a list of names, as 'KEY=[a,b]'"])


@dataclass(frozen=True)
class ItemsRule:
    """A list of any values. example: of what is in it."""

    example: str = "1,2"

    def allows(self, value: Any) -> bool:
        return isinstance(value, list)

    def __str__(self) -> str:
        return f"a list, as 'KEY=[{self.example}]'"


@dataclass(frozen=True)
class Some:
    """One of the strings in `words`, or a non-empty list of them."""

    words: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        values = value if isinstance(value, list) else [value]
        return bool(values) and all(isinstance(each, str) and each in self.words for each in values)

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}, or a list of them, as 'KEY=[{','.join(self.words[-2:])}]'"


@dataclass(frozen=True)
class Weights:
    """A list of numbers greater than 0. length: how many, None for any number of them."""

    length: int | None = None

    def allows(self, value: Any) -> bool:
        return (
            isinstance(value, list)
            and bool(value)
            and (self.length is None or len(value) == self.length)
            and all(map(is_weight, value))
        )

    def __str__(self) -> str:
        return "a list of numbers greater than 0, as [1,2.5]" if self.length is None else "a list of one, as [2.5]"


@dataclass(frozen=True)
class ClassWeights:
    """`balanced`, a list of numbers greater than 0, or a mapping of names to such numbers."""

    def allows(self, value: Any) -> bool:
        if isinstance(value, dict):
            return bool(value) and all(map(is_weight, value.values()))
        return value == "balanced" or Weights().allows(value)

    def __str__(self) -> str:
        return "balanced, or a number greater than 0 for each class, as [1,5] or {no:1,yes:5}"


def is_weight(value: Any) -> bool:
    """Returns whether a value is a number that a row may count by."""
    return is_finite_number(value) and 0 < value <= LARGEST


@dataclass(frozen=True)
class Device:
    """A torch device name, or `auto`."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None

    def __str__(self) -> str:
        return "auto, cpu, mps, cuda or cuda:N"


@dataclass(frozen=True)
class HalvingRule:
    """null, or {metric, min_epochs, factor} for successive halving, with `by` if wanted.

    metric: the metric to compare runs by; min_epochs: the epoch of the first comparison; factor: 1/factor of the runs
    continue after each comparison; by: `setting` to compare settings by the mean over their seeds and folds.
    """

    metrics: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return value is None or (
            isinstance(value, dict)
            and {"metric", "min_epochs", "factor"} <= set(value) <= {"metric", "min_epochs", "factor", "by"}
            and value.get("by", "run") in ("run", "setting")
            and value["metric"] in self.metrics
            and is_integer(value["min_epochs"])
            and value["min_epochs"] >= 1
            and is_integer(value["factor"])
            and value["factor"] >= 2
        )

    def __str__(self) -> str:
        return (
            "null, or 'KEY={metric: valid_loss, min_epochs: 5, factor: 3}' "
            f"(a metric of {', '.join(self.metrics)}; whole numbers, factor from 2; by: setting, if wanted)"
        )


@dataclass(frozen=True)
class Factors:
    """A list of numbers above 0, at least one."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(map(Number(above=0).allows, value))

    def __str__(self) -> str:
        return "a list of numbers above 0"


PBT_OPTIONS: Mapping[str, Rule] = {
    "every": IntegerRule(1),
    "quantile": Number(above=0, high=0.5),
    "factors": Factors(),
    "resample": Number(low=0, high=1),
}
PBT_LIMITS = "whole epochs from 1; quantile above 0, 0.5 at most; factors above 0; resample from 0 to 1"


def allows_each(rules: Mapping[str, Rule], values: Mapping[str, Any]) -> bool:
    """Returns whether each value is allowed by the rule of its name."""
    return all(name in rules and rules[name].allows(value) for name, value in values.items())


@dataclass(frozen=True)
class PopulationRule:
    """null, or {metric, every, numbers} for population-based training, with `quantile`, `factors`, `resample`, `seed`.

    metric: the metric to compare runs by; every: epochs between comparisons; numbers: the lowest and the highest value
    of each key that is perturbed, and `log` for a logarithmic scale; the others: as in PopulationSettings.
    """

    metrics: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        if value is None:
            return True
        if not isinstance(value, dict) or not {"metric", "every", "numbers"} <= value.keys():
            return False
        rules = {**PBT_OPTIONS, "metric": OneOf(self.metrics), "seed": IntegerRule(0)}
        numbers = value["numbers"]
        return (
            allows_each(rules, {name: option for name, option in value.items() if name != "numbers"})
            and isinstance(numbers, dict)
            and bool(numbers)
            and all(map(is_range, numbers.values()))
        )

    def __str__(self) -> str:
        return (
            "null, or 'KEY={metric: valid_loss, every: 5, numbers: {optimizer.lr: [1e-4, 0.1, log]}}' with bounds "
            "above 0, and, if wanted, quantile: 0.2, factors: [0.8, 1.2], resample: 0.25, seed: 1 "
            f"({PBT_LIMITS})"
        )


def is_range(value: Any) -> bool:
    """Returns whether a value is `[low, high]` or `[low, high, log]`, with bounds above 0 in order."""
    return (
        isinstance(value, list)
        and len(value) in (2, 3)
        and all(map(Number(above=0).allows, value[:2]))
        and value[0] <= value[1]
        and value[2:] in ([], ["log"])
    )


@dataclass(frozen=True)
class AugmentRule:
    """null, or a mapping of changes of pictures, whose values are checked where they are used; or a `_target_`."""

    changes: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        own = isinstance(value, dict) and "_target_" in value
        return value is None or own or (isinstance(value, dict) and set(value) <= set(self.changes))

    def __str__(self) -> str:
        return f"null, or 'KEY={{flip: true, shift: 2}}' (of {', '.join(self.changes)}, or the _target_ of a callable)"


@dataclass(frozen=True)
class TargetRule:
    """A mapping with `_target_`, from which an object is built."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, dict) and isinstance(value.get("_target_"), str)

    def __str__(self) -> str:
        return "a mapping such as 'KEY={_target_: my.module.MyDataset}'"


@dataclass(frozen=True)
class Pair:
    """A list of two values that both satisfy the rule `each`."""

    each: Rule

    def allows(self, value: Any) -> bool:
        return isinstance(value, Sequence) and len(value) == 2 and all(map(self.each.allows, value))

    def __str__(self) -> str:
        return f"a list of two, each {self.each}"


@dataclass(frozen=True)
class Word:
    """Text, or a number that stands for itself, such as that of an account."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, str | int) and not isinstance(value, bool)

    def __str__(self) -> str:
        return "text"


@dataclass(frozen=True)
class ShellLines:
    """A list of lines of text."""

    def allows(self, value: Any) -> bool:
        return isinstance(value, list | tuple) and all(isinstance(line, str) for line in value)

    def __str__(self) -> str:
        return """a list of lines, as 'KEY=["module load cuda"]'"""


@dataclass(frozen=True)
class MappingRule:
    """A mapping of names to values. example: what it may hold, for the text."""

    example: str

    def allows(self, value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)

    def __str__(self) -> str:
        return f"a mapping, as 'KEY={{{self.example}}}'"


@dataclass(frozen=True)
class Or:
    """A special string (or null), or a value that `rule` allows."""

    word: str | None
    rule: Rule

    def allows(self, value: Any) -> bool:
        return (value is None if self.word is None else value == self.word) or self.rule.allows(value)

    def __str__(self) -> str:
        return f"{'null' if self.word is None else self.word}, or {self.rule}"


def describe_rule(path: str, rule: Rule) -> str:
    """Returns what a key's value must be, with the key's name in the example."""
    return str(rule).replace("'KEY=", f"'{path}=")


def describe_choices(rule: Rule | None) -> tuple[str, ...]:
    """Returns the strings that a rule allows, for completion and suggestions; empty for a rule without any."""
    match rule:
        case OneOf(words) | Some(words) | Names(words):
            return words
        case Truth():
            return ("true", "false")
        case ClassWeights():
            return ("balanced",)
        case Device():
            return ("auto", "cpu", "cuda", "mps")
        case Or(word, inner):
            return ("null" if word is None else word, *describe_choices(inner))
    return ()
