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


@dataclass(frozen=True)
class AxisScale:
    """The range of an axis, low < high."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[Values], axis: Axis, *, margin: float = 0.0) -> Self:
        """Returns a scale that covers all finite values, extended by `margin` of the range on both sides."""
        log = axis.log
        flat = np.concatenate([np.ravel(each) for each in values] or [np.zeros(0)])
        flat = flat[np.isfinite(flat) & ((flat > 0) | (not log))]
        if axis.names is not None:
            return cls(-0.5, max(len(axis.names), 1) - 0.5)
        if not len(flat):
            return cls(1.0, 10.0, log) if log else cls(0.0, 1.0)
        low, high = float(flat.min()), float(flat.max())
        if low == high:
            room = 1.0 if log else abs(low) * 0.1 or 0.5
            return cls(low / 10, high * 10, log) if log else cls(low - room, high + room)
        if log:
            more = (high / low) ** margin if high / low < math.inf else 1.0
            return cls(low / more or low, high * more, log)
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
    return ticks[::stride]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Returns the ticks as texts with enough digits to distinguish them: 0.25, 0.50; 1e-05, 0.001."""
    if not ticks:
        return []
    steps = [abs(b - a) for a, b in pairwise(ticks) if b != a]
    largest = max(map(abs, ticks))
    if steps and (
        max(steps) / min(steps) > 1.5 or not min(steps) > 1e-5 or not largest < 1e6
    ):  # logarithmic, very small or very large
        return [f"{tick:.4g}" for tick in ticks]
    decimals = 0
    while steps and decimals < 8 and abs(round(min(steps), decimals) - min(steps)) > min(steps) * 1e-6:
        decimals += 1
    return [f"{tick:z.{decimals}f}" for tick in ticks]


def is_wide(values: Iterable[float], *, spread: float = SPREAD) -> bool:
    """Returns whether a logarithmic axis suits the values: all positive, with a ratio of at least `spread`."""
    finite = [value for value in values if math.isfinite(value)]
    return len(finite) > 1 and min(finite) > 0 and max(finite) / min(finite) >= spread
