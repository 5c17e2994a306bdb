"""The space of a search: parameters with their values, and their positions in the unit cube.

A point is an array of positions, one per parameter, each in [0, 1], or NaN for a parameter that does not apply. A
setting is a text per key, as typed on the command line. A setting holds rounded values, so that commands stay readable.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ch12cli.errors import Problem
from ch12cli.suggest import suggestion

Points = NDArray[np.float64]  # (n, parameters)
Setting = Mapping[str, str]  # value texts by key

DIGITS = 3  # of the width of an interval: its values are rounded to a thousandth of it, or finer
MOST_NAMED = 10  # values of a list in a message
SIGNIFICANT = 4  # digits of a value on a logarithmic scale


class Parameter(Protocol):
    """A key that is searched, and its values.

    count: the number of values, infinite for real numbers. categories: the number of values without an order; 0 if
    they have one.
    """

    @property
    def key(self) -> str: ...
    @property
    def count(self) -> float: ...
    @property
    def categories(self) -> int: ...
    def text(self, position: float) -> str:
        """Returns the value at a position in [0, 1], rounded and within the bounds."""
        ...

    def position(self, text: str) -> float | None:
        """Returns the position of a value, or None if it is not one of this parameter."""
        ...

    def texts(self) -> Sequence[str]:
        """Returns the outermost values of an interval, or all options."""
        ...


@dataclass(frozen=True)
class Interval:
    """Real numbers from `low` to `high`, both included. log: on a logarithmic scale, where `low` is above 0."""

    key: str
    low: float
    high: float
    log: bool = False

    @property
    def count(self) -> float:
        return 1 if self.low == self.high else math.inf

    @property
    def categories(self) -> int:
        return 0

    def text(self, position: float) -> str:
        if self.log:
            value = math.exp(math.log(self.low) + position * math.log(self.high / self.low))
            finer = math.floor(math.log10(math.log(self.high / self.low))) if self.low < self.high else 0
            value = float(f"%.{max(SIGNIFICANT, SIGNIFICANT - finer) - 1}e" % value)
        else:
            width = self.high - self.low
            value = self.low + position * width
            value = round(value, DIGITS - math.floor(math.log10(width))) if width else value
        return repr(min(self.high, max(self.low, value)) + 0.0)  # never -0.0, which is equal to 0.0

    def position(self, text: str) -> float | None:
        value = finite_number(text)
        if value is None or not self.low <= value <= self.high:
            return None
        if self.low == self.high:
            return 0.5
        if self.log:
            return min(1.0, max(0.0, math.log(value / self.low) / math.log(self.high / self.low)))
        return (value - self.low) / (self.high - self.low)

    def texts(self) -> Sequence[str]:
        return [repr(self.low), repr(self.high)]


@dataclass(frozen=True)
class WholeNumbers:
    """Whole numbers from `low` to `high`, both included. log: on a logarithmic scale, where `low` is at least 1."""

    key: str
    low: int
    high: int
    log: bool = False

    @property
    def count(self) -> float:
        return self.high - self.low + 1

    @property
    def categories(self) -> int:
        return 0

    def _scale(self) -> tuple[float, float]:
        """Returns the borders of the scale, half a number outside of the values, so that each has its share."""
        low, high = self.low - 0.5, self.high + 0.5
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def text(self, position: float) -> str:
        low, high = self._scale()
        value = low + position * (high - low)
        return str(min(self.high, max(self.low, round(math.exp(value) if self.log else value))))

    def position(self, text: str) -> float | None:
        value = finite_number(text)
        if value is None or value != round(value) or not self.low <= value <= self.high:
            return None
        low, high = self._scale()
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def texts(self) -> Sequence[str]:
        return [str(self.low), str(self.high)]


@dataclass(frozen=True)
class Options:
    """Values that are listed, as texts. ordered: they are steps of a scale, so that neighbours are alike."""

    key: str
    options: tuple[str, ...]
    ordered: bool = False

    @property
    def count(self) -> float:
        return len(self.options)

    @property
    def categories(self) -> int:
        return 0 if self.ordered else len(self.options)

    def text(self, position: float) -> str:
        return self.options[min(len(self.options) - 1, int(position * len(self.options)))]

    def position(self, text: str) -> float | None:
        return (self.options.index(text) + 0.5) / len(self.options) if text in self.options else None

    def texts(self) -> Sequence[str]:
        return self.options


def finite_number(text: str) -> float | None:
    """Returns the finite number that a text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Condition:
    """A parameter applies only where another key has one of these values."""

    key: str
    values: tuple[str, ...]

    def holds(self, setting: Setting) -> bool:
        return setting.get(self.key) in self.values


@dataclass(frozen=True)
class Space:
    """The parameters of a search, each after those that its condition depends on.

    conditions: by key of the parameter. fixed: the values of keys that are not searched, which conditions may read.
    """

    parameters: tuple[Parameter, ...]
    conditions: Mapping[str, Condition]
    fixed: Setting

    @staticmethod
    def of(
        parameters: Sequence[Parameter],
        conditions: Mapping[str, Condition] | None = None,
        *,
        fixed: Setting | None = None,
    ) -> "Space":
        """Returns the space, with its parameters in an order in which conditions can be decided.

        conditions: each of a parameter; none may depend on itself (see `condition_problems`).
        """
        known = conditions or {}
        left, ordered = list(parameters), list[Parameter]()
        while left:
            waiting = {parameter.key for parameter in left}
            ready = [each for each in left if each.key not in known or known[each.key].key not in waiting]
            ordered += ready
            left = [each for each in left if each not in ready]
        return Space(tuple(ordered), known, fixed or {})

    @property
    def categories(self) -> NDArray[np.int64]:
        """The number of categories of each parameter, 0 for those with an order, (parameters,)."""
        return np.array([parameter.categories for parameter in self.parameters], dtype=np.int64)

    @property
    def count(self) -> float:
        """The number of settings, at most: conditions leave fewer."""
        return math.prod(parameter.count for parameter in self.parameters)

    def setting(self, point: NDArray[np.float64]) -> dict[str, str]:
        """Returns the values at a point, (parameters,), of the parameters that apply there."""
        found: dict[str, str] = {}
        for parameter, position in zip(self.parameters, point.tolist(), strict=True):
            if self.applies(parameter, found):
                found[parameter.key] = parameter.text(0.5 if math.isnan(position) else position)
        return found

    def point(self, setting: Setting) -> NDArray[np.float64] | None:
        """Returns the positions of a setting, (parameters,), NaN where a parameter does not apply.

        None if a value is missing or is not one of the space. Further keys are ignored.
        """
        point = np.full(len(self.parameters), np.nan)
        for index, parameter in enumerate(self.parameters):
            if not self.applies(parameter, setting):
                continue
            position = parameter.position(setting[parameter.key]) if parameter.key in setting else None
            if position is None:
                return None
            point[index] = position
        return point

    def without_inapplicable(self, points: Points) -> Points:
        """Returns points, (n, parameters), with NaN where a parameter does not apply."""
        if not self.conditions:
            return points
        rows = [self.point(self.setting(point)) for point in points]
        applies = np.array([~np.isnan(row) for row in rows if row is not None])
        return np.where(applies.reshape(points.shape), points, np.nan)

    def settings(self) -> Iterator[dict[str, str]]:
        """Yields every setting of a finite space once."""
        positions = [[parameter.position(text) for text in _every_text(parameter)] for parameter in self.parameters]
        seen: set[tuple[tuple[str, str], ...]] = set()
        for point in product(*positions):
            setting = self.setting(np.array(point, np.float64))
            if (key := tuple(setting.items())) not in seen:
                seen.add(key)
                yield setting

    def applies(self, parameter: Parameter, setting: Setting) -> bool:
        """Returns whether a parameter has a value in a setting, by what it depends on."""
        condition = self.conditions.get(parameter.key)
        return condition is None or condition.holds({**self.fixed, **setting})


def _every_text(parameter: Parameter) -> Sequence[str]:
    if isinstance(parameter, WholeNumbers):
        return [str(value) for value in range(parameter.low, parameter.high + 1)]
    return parameter.texts()[: int(parameter.count)]


def setting_faults(space: Space, setting: Setting) -> list[str]:
    """Returns why a setting is none of a space: unknown keys, values out of range, keys without a value."""
    by_key = {parameter.key: parameter for parameter in space.parameters}
    found = []
    for key, text in setting.items():
        if key not in by_key:
            found.append(f"{key} is not searched{f' ({hint})' if (hint := suggestion(key, by_key)) else ''}")
        elif not space.applies(by_key[key], setting):
            condition = space.conditions[key]
            found.append(f"{key} applies only for {condition.key}={','.join(condition.values)}")
        elif by_key[key].position(text) is None:
            found.append(f"{key}={text} is not {describe_values(by_key[key])}")
    missing = [key for key in by_key if key not in setting and space.applies(by_key[key], setting)]
    return [*found, *(f"{key} has no value" for key in missing)]


def describe_values(parameter: Parameter) -> str:
    match parameter:
        case Interval(low=low, high=high):
            return f"from {low:g} to {high:g}"
        case WholeNumbers(low=low, high=high):
            return f"a whole number from {low} to {high}"
    texts = parameter.texts()
    return f"one of {', '.join(texts[:MOST_NAMED])}{' …' if len(texts) > MOST_NAMED else ''}"


def interval_problem(key: str, low: float, high: float, *, log: bool, whole: bool) -> Problem | None:
    """Returns what is wrong with the bounds of an interval, or None."""
    shown = f"interval({low:g},{high:g})"
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        return Problem(key, shown, "its bounds must be finite numbers")
    if low > high:
        return Problem(key, shown, "its first bound must not be greater than its second", "exchange them")
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        return Problem(key, shown, "the bounds of whole numbers must be whole numbers")
    if log and (low < 1 if whole else low <= 0):
        rule = f"a logarithmic scale starts {'at 1 or above' if whole else 'above 0'}"
        return Problem(key, shown, rule, "raise its first bound, or leave out tag(log, …)")
    if log and not math.isfinite(high / low):
        return Problem(key, shown, "its bounds are too far apart", "bring them nearer")
    return None


def condition_problems(parameters: Sequence[Parameter], conditions: Mapping[str, Condition]) -> list[Problem]:
    """Returns what is wrong with conditions: unknown keys, values that cannot occur, circles."""
    by_key = {parameter.key: parameter for parameter in parameters}
    problems = []
    for key, condition in conditions.items():
        if key not in by_key:
            problems.append(Problem(f"search.when.{key}", None, f"{key} is not searched", "leave it out"))
            continue
        above: Parameter | None = by_key.get(condition.key)
        impossible = [value for value in condition.values if above is not None and above.position(value) is None]
        if impossible:
            rule = f"{condition.key} cannot be {impossible[0]}; its values are {', '.join(list(above.texts())[:10])}"  # type: ignore[union-attr]
            problems.append(Problem(f"search.when.{key}", None, rule))
        path = [key]
        while path[-1] in conditions and conditions[path[-1]].key in by_key and path.count(path[-1]) == 1:
            path.append(conditions[path[-1]].key)
        if path.count(path[-1]) > 1:
            rule = f"the conditions go in a circle: {' depends on '.join(path)}"
            problems.append(Problem(f"search.when.{key}", None, rule))
    return problems
