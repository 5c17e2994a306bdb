"""Conversion between values and positions along an axis, and tick values."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from ch12cli.plots.plot import Axis, Values

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
SPREAD = 20  # ratio of the maximum to the minimum from which an axis of settings is logarithmic
MOST_SWEPT = 12  # values of a key that may all be labelled
METRIC_SPREAD = 100  # the same for an axis of metrics
STRIDES = (2, 3, 4, 5, 10, 20, 25, 50, 100, 200)  # decades between ticks
SAME = 1e-13  # relative difference up to which values count as equal
FLAT = (
    20  # outliers are cut off if the axis would be longer than so many times the range of the middle 60 % of the values
)
FLAT_CURVE = 1000  # the same for learning curves, whose first epochs are far from the others without being outliers
BETTER = 3  # times that a logarithmic axis must be less flat than a linear one that is flat
FEWEST = 10  # values from which some can be outliers of the others
NEAR = 3  # such ranges by which a shortened axis may exceed the middle values


@dataclass(frozen=True)
class AxisScale:
    """The range of an axis, low < high."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[Values], axis: Axis, *, margin: float = 0.0) -> Self:
        """Returns a scale that covers all finite values, extended by `margin` of the range on both sides.

        If the axis has limits, they are covered in place of the values.
        """
        log = axis.log
        flat = np.concatenate([np.ravel(each) for each in values] or [np.zeros(0)])
        absent = () if axis.absent is None else axis.absent[:1]
        flat = np.array([*(flat if axis.limits is None else axis.limits), *axis.ticks, *absent], np.float64)
        flat = flat[np.isfinite(flat) & ((flat > 0) | (not log))]
        if axis.names is not None:
            return cls(-0.5, max(len(axis.names), 1) - 0.5)
        if not len(flat):
            return cls(1.0, 10.0, log) if log else cls(0.0, 1.0)
        low, high = float(flat.min()), float(flat.max())
        if high - low <= max(abs(low), abs(high)) * SAME:
            room = 0.5 if axis.integer else abs(low) * 0.1 or 0.5
            return cls(low / 10, high * 10, log) if log else cls(low - room, high + room)
        if log:
            more = (high / low) ** margin if high / low < math.inf else 1.0
            return cls(low / more or low, high * more if high * more < math.inf else high, log)
        room = (high / 2 - low / 2) * 2 * margin
        wide = (low - room, high + room)
        return cls(*wide) if math.isfinite(wide[1] - wide[0]) else cls(low, high)

    def share(self, values: Values) -> Values:
        """Returns the position of each value: 0 at the low end, 1 at the high end, NaN if it is not on the axis."""
        values = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            if self.log:
                low, high = math.log10(self.low), math.log10(self.high)
                shares = (np.log10(np.where(values > 0, values, np.nan)) - low) / (high - low)
            else:
                shares = (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return np.where(np.isfinite(shares), shares, np.nan)

    def at(self, shares: Values) -> Values:
        """Returns the values at these positions."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return np.asarray(10 ** (low + (high - low) * shares))
        return self.low * (1 - shares) + self.high * shares

    def ticks(self, most: int) -> list[float]:
        """Returns round values on the axis, at most about `most`, and at least two if possible."""
        found = log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)
        return [float(tick) for tick in found]


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    span = high - low
    if not math.isfinite(span) or span <= abs(high) * 1e-12:
        return [low, high]
    size = 10.0 ** math.floor(math.log10(span / most)) if span / most > 0 else 0.0
    for step in (size * factor for factor in (*STEPS, 20.0, 25.0, 50.0, 100.0)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [number * step for number in range(first, last + 1)]
    return [low, high]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = (low * (1 - 1e-9), high * (1 + 1e-9))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**power for power in range(first, last + 1) for f in factors]
        ticks = [tick for tick in ticks if inside[0] <= tick <= inside[1]]
        if len(ticks) <= most:
            return ticks if len(ticks) > 1 else linear_ticks(low, high, most)
    stride = math.ceil(len(ticks) / most)
    stride = next((step for step in STRIDES if step >= stride), stride)
    return [tick for tick in ticks if round(math.log10(tick)) % stride == 0] or ticks[::stride]


def whole_ticks(ticks: Sequence[float], axis: Axis) -> list[float]:
    """Returns the whole numbers among the ticks, after the first value of an axis that does not begin with zero.

    Epochs have 1, 10, 20, and 1, 3, 5 in place of 1, 2, 4.
    """
    whole = [tick for tick in ticks if tick.is_integer()]
    if axis.limits is None:
        return whole
    first, last = axis.limits
    later = [tick for tick in whole if tick > first]
    step = later[1] - later[0] if len(later) > 1 else 0.0
    if later and later[0] - first <= step / 2:
        return [first + number * step for number in range(int((last - first) / step) + 1)]
    return [first, *later]


def with_absent(ticks: Sequence[float], axis: Axis) -> tuple[list[float], list[str]]:
    """Returns the ticks of an axis and their texts, first that of what has no value, if there is one."""
    if axis.absent is None:
        return list(ticks), tick_texts(ticks)
    found = [tick for tick in ticks if tick >= min(axis.ticks)]
    return [axis.absent[0], *found], [axis.absent[1], *tick_texts(found)]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Returns the ticks as texts with enough digits to distinguish them: 0.25, 0.50; 1e-5, 1e-3."""
    if not ticks:
        return []
    steps = [abs(b - a) for a, b in pairwise(ticks) if b != a]
    largest = max(map(abs, ticks))
    if steps and (
        max(steps) / min(steps) > 1.5 or not min(steps) > 1e-5 or not largest < 1e6
    ):  # logarithmic, very small or very large
        least = min([abs(tick) for tick in ticks if tick], default=1.0)
        far = largest >= 1e6 or least < 1e-4 or largest > 1e5 * least
        texts = [with_exponent(tick) if far else f"{tick:.{4 if largest < 1e4 else 6}g}" for tick in ticks]
        return texts if len(set(texts)) == len(set(ticks)) else [f"{tick:.15g}" for tick in ticks]
    decimals = 0
    while steps and decimals < 8 and abs(round(min(steps), decimals) - min(steps)) > min(steps) * 1e-6:
        decimals += 1
    texts = [f"{tick:z.{decimals}f}" for tick in ticks]
    return texts if len(set(texts)) == len(set(ticks)) else [f"{tick:.15g}" for tick in ticks]


def with_exponent(value: float, *, digits: int = 3) -> str:
    """Returns a number with a short exponent: 2.5e-5, 1e12, 0."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value else "0"


def metric_axis(label: str, values: Iterable[Values], *, log: bool | None = None, flat: float = FLAT) -> Axis:
    """Returns the axis of a metric with these values. log: the choice of the user, if any.

    It is logarithmic if the range asks for it, or if it is far less flat than a linear one. Where a few
    outliers would still flatten all other values, its limits leave them out. flat: the ratio of the whole range to that
    of the middle values from which they do.
    """
    found = np.concatenate([np.ravel(each) for each in values] or [np.zeros(0)])
    found = found[np.isfinite(found)]
    if log is None:
        log = is_wide(found.tolist(), spread=METRIC_SPREAD) or (
            len(found) > 0 and found.min() > 0 and flatness(found) > max(FLAT, BETTER * flatness(np.log10(found)))
        )
    if log:
        found = found[found > 0]
    places = np.log10(found) if log else found
    if len(found) < FEWEST or flatness(places, least=float(log)) <= flat:
        return Axis(label, log=log)
    low, high = middle_of(places)
    reach = NEAR * max(high - low, float(log))
    shown = found[(places >= low - reach) & (places <= high + reach)]
    return Axis(label, log=log, limits=(float(shown.min()), float(shown.max())))


def middle_of(values: Values) -> tuple[float, float]:
    """Returns the ends of the middle 60 % of the values."""
    return float(np.percentile(values, 20, method="higher")), float(np.percentile(values, 80, method="lower"))


def flatness(values: Values, *, least: float = 0.0) -> float:
    """Returns the ratio of the whole range to that of the middle values, 0 if that is empty. least: of the latter."""
    low, high = middle_of(values)
    span = max(high - low, least)
    return (float(values.max()) / 2 - float(values.min()) / 2) / span * 2 if span > 0 else 0.0


def beyond(values: Iterable[Values], axis: Axis) -> int:
    """Returns the number of finite values that the axis leaves out."""
    if axis.limits is None:
        return 0
    low, high = axis.limits
    return sum(int((np.isfinite(each) & ((each < low) | (each > high))).sum()) for each in values)


def is_wide(values: Iterable[float], *, spread: float = SPREAD) -> bool:
    """Returns whether a logarithmic axis suits the values: all positive, with a ratio of at least `spread`."""
    finite = [value for value in values if math.isfinite(value)]
    return len(finite) > 1 and min(finite) > 0 and max(finite) / min(finite) >= spread
